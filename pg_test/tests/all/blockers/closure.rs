//! What is locked with a relation: indexes, TOAST, partitions, children. Asked of one, it tells of all.

use std::sync::Arc;

use libtest_mimic::Trial;

use super::{blockers_of, summary};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_table_comes_with_its_indexes,
        a_table_comes_with_its_toast_table_and_that_ones_index,
        a_table_comes_with_partitions_of_partitions,
        a_partitioned_table_comes_with_its_partitions_indexes,
        a_table_comes_with_its_inheritance_children,
        a_partition_comes_without_its_parent,
        an_index_comes_with_its_table,
        what_is_asked_twice_is_told_once,
    ]
}

fn a_table_comes_with_its_indexes(world: &World) {
    let database = world.database();
    let (observer, holder) = (database.session("observer"), database.session("holder"));
    observer.run("CREATE TABLE t (id int); CREATE INDEX i ON t (id)");
    // Locks the index alone.
    holder.run("BEGIN; ALTER INDEX i SET (fillfactor = 70)");
    let expected = format!("i {} ShareUpdateExclusiveLock", holder.pid());
    assert_eq!(summary(&blockers_of(&observer, "t")), [expected]);
}

fn a_table_comes_with_its_toast_table_and_that_ones_index(world: &World) {
    let database = world.database();
    let (observer, holder) = (database.session("observer"), database.session("holder"));
    observer.run("CREATE TABLE t (big text)");
    let toast = observer.run("SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 't'");
    let toast = toast.value().unwrap();
    holder.run(&format!("BEGIN; SELECT * FROM {toast} WHERE chunk_id = 1"));
    let pid = holder.pid();
    let expected = [
        format!("{toast} {pid} AccessShareLock"),
        format!("{toast}_index {pid} AccessShareLock"),
    ];
    assert_eq!(summary(&blockers_of(&observer, "t")), expected);
}

const TREE: &str = "
    CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id);
    CREATE TABLE branch PARTITION OF root FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id);
    CREATE TABLE leaf PARTITION OF branch FOR VALUES FROM (0) TO (10);
    CREATE TABLE other PARTITION OF root FOR VALUES FROM (100) TO (200);
";

fn a_table_comes_with_partitions_of_partitions(world: &World) {
    let database = world.database();
    let (observer, holder) = (database.session("observer"), database.session("holder"));
    observer.run(TREE);
    holder.run("BEGIN; LOCK TABLE leaf IN ROW SHARE MODE");
    let expected = [format!("leaf {} RowShareLock", holder.pid())];
    assert_eq!(summary(&blockers_of(&observer, "root")), expected);
    assert_eq!(summary(&blockers_of(&observer, "branch")), expected);
    assert!(blockers_of(&observer, "other").is_empty());
}

fn a_partitioned_table_comes_with_its_partitions_indexes(world: &World) {
    let database = world.database();
    let (observer, holder) = (database.session("observer"), database.session("holder"));
    observer.run(TREE);
    holder.run("BEGIN; ALTER INDEX leaf_pkey SET (fillfactor = 70)");
    let expected = [format!(
        "leaf_pkey {} ShareUpdateExclusiveLock",
        holder.pid()
    )];
    assert_eq!(summary(&blockers_of(&observer, "root")), expected);
    assert_eq!(summary(&blockers_of(&observer, "root_pkey")), expected);
}

fn a_table_comes_with_its_inheritance_children(world: &World) {
    let database = world.database();
    let (observer, holder) = (database.session("observer"), database.session("holder"));
    observer.run(
        "CREATE TABLE animal (name text); CREATE TABLE bird () INHERITS (animal); CREATE TABLE wren () INHERITS (bird)",
    );
    holder.run("BEGIN; LOCK TABLE ONLY wren IN EXCLUSIVE MODE");
    let expected = [format!("wren {} ExclusiveLock", holder.pid())];
    assert_eq!(summary(&blockers_of(&observer, "animal")), expected);
}

fn a_partition_comes_without_its_parent(world: &World) {
    let database = world.database();
    let (observer, holder) = (database.session("observer"), database.session("holder"));
    observer.run(TREE);
    holder.run("BEGIN; LOCK TABLE ONLY root IN ACCESS SHARE MODE");
    assert!(blockers_of(&observer, "leaf").is_empty());
    assert_eq!(
        summary(&blockers_of(&observer, "root")),
        [format!("root {} AccessShareLock", holder.pid())]
    );
}

fn an_index_comes_with_its_table(world: &World) {
    let database = world.database();
    let (observer, holder) = (database.session("observer"), database.session("holder"));
    observer.run("CREATE TABLE t (id int); CREATE INDEX i ON t (id); CREATE INDEX other ON t (id)");
    holder.run("BEGIN; SELECT * FROM t WHERE id = 1");
    let pid = holder.pid();
    // DROP INDEX locks the table as well, and no other index.
    let expected = [
        format!("i {pid} AccessShareLock"),
        format!("t {pid} AccessShareLock"),
    ];
    assert_eq!(summary(&blockers_of(&observer, "i")), expected);
}

fn what_is_asked_twice_is_told_once(world: &World) {
    let database = world.database();
    let (observer, holder) = (database.session("observer"), database.session("holder"));
    observer.run(TREE);
    holder.run("BEGIN; LOCK TABLE root IN ACCESS SHARE MODE");
    let once = observer.run(
        "SELECT relation, pid, count(*) FROM lockguard.blockers_of(ARRAY['root', 'leaf', 'root_pkey', 'root', 'leaf']::regclass[]) \
         GROUP BY 1, 2 ORDER BY relation::text",
    );
    assert_eq!(
        once.column("relation"),
        ["branch", "leaf", "other", "root"].map(Some)
    );
    assert_eq!(once.column("count"), [Some("1"); 4]);
}
