//! More relations at once than are asked about one by one: the answer comes from one copy of the lock table, and is the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::Session;

use super::mode::Mode;
use super::probe::{Answer, Who, ask, locks_on};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_table_of_sixty_partitions_is_told_as_each_of_them_is,
    ]
}

fn a_table_of_sixty_partitions_is_told_as_each_of_them_is(world: &World) {
    let database = world.database();
    let observer = database.session("observer");
    observer.run(
        "CREATE TABLE m (id int PRIMARY KEY, t text) PARTITION BY LIST (id); \
         DO $$BEGIN FOR i IN 1..60 LOOP EXECUTE format('CREATE TABLE m_%s PARTITION OF m FOR VALUES IN (%s)', i, i); END LOOP; END$$",
    );
    let [reader, writer, strong, queued, second, whole] =
        ["reader", "writer", "strong", "queued", "second", "whole"]
            .map(|name| database.session(name));
    reader.run("BEGIN; SELECT * FROM m_7; SELECT * FROM m_8");
    writer.run("BEGIN; INSERT INTO m_31 VALUES (31); PREPARE TRANSACTION 'thirty-one'");
    // The slot of the prepared transaction's session goes on with a transaction of its own.
    writer.run("BEGIN; INSERT INTO m_8 VALUES (8)");
    strong.run(
        "BEGIN; LOCK TABLE m_60 IN SHARE MODE; LOCK TABLE m_60 IN SHARE UPDATE EXCLUSIVE MODE",
    );
    queued.run("BEGIN; SELECT * FROM m_31");
    let upgrade = queued.spawn("LOCK TABLE m_31 IN SHARE MODE");
    upgrade.wait_until_queued();
    let behind = second.spawn("BEGIN; LOCK TABLE m_60 IN ACCESS EXCLUSIVE MODE");
    behind.wait_until_queued();
    whole.run("BEGIN; LOCK TABLE ONLY m IN ROW SHARE MODE");

    let locked = observer.run(
        "SELECT DISTINCT relation FROM pg_locks JOIN pg_class ON pg_class.oid = relation \
         WHERE relname ~ '^m(_[0-9]+)?(_pkey)?$'",
    );
    let locked: Vec<u32> = locked
        .iter()
        .map(|row| row.text("relation").parse().unwrap())
        .collect();
    assert!(locked.len() > 5, "{locked:?}");
    let mut told = 0;
    for mode in Mode::all() {
        let expected: BTreeMap<u32, BTreeMap<Who, Answer>> = locked
            .iter()
            .map(|oid| (*oid, in_the_way(&observer, *oid, mode)))
            .filter(|(_, blockers)| !blockers.is_empty())
            .collect();
        let rows = observer.run(&format!(
            "SELECT count(*) FROM lockguard.blockers_of(ARRAY['m'::regclass], '{}')",
            mode.name()
        ));
        let count: usize = expected.values().map(BTreeMap::len).sum();
        told += count;
        assert_eq!(
            rows.value(),
            Some(count.to_string().as_str()),
            "{mode:?}: {expected:#?}"
        );
        for (oid, expected) in expected {
            let at_once = ask(&observer, "'m'", oid, mode).unwrap();
            assert_eq!(at_once, expected, "relation {oid}, {mode:?}");
            let alone = ask(&observer, &oid.to_string(), oid, mode).unwrap();
            let without_mode = |told: &BTreeMap<Who, Answer>| -> Vec<(Who, bool)> {
                told.iter()
                    .map(|(who, answer)| (who.clone(), answer.granted))
                    .collect()
            };
            assert_eq!(
                without_mode(&alone),
                without_mode(&at_once),
                "relation {oid}, {mode:?}"
            );
        }
    }
    assert!(told > 20, "{told}");
    assert!(!upgrade.is_finished() && !behind.is_finished());
    database
        .session("finisher")
        .run("ROLLBACK PREPARED 'thirty-one'");
}

/// What `blockers_of` should tell, by `pg_locks`.
pub fn in_the_way(observer: &Session, oid: u32, mode: Mode) -> BTreeMap<Who, Answer> {
    locks_on(observer, oid, observer.pid())
        .into_iter()
        .filter_map(|(who, held)| Some((who, held.against(mode)?)))
        .collect()
}
