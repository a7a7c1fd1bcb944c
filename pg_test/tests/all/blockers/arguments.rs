//! What can be asked about, and how: modes in either spelling, every kind of relation; and what is refused.

use std::sync::Arc;

use libtest_mimic::Trial;

use super::{blockers_in, blockers_of, summary};
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_mode_is_read_in_either_spelling_and_any_case,
        an_unknown_mode_is_refused_with_the_nearest,
        nulls_are_refused,
        what_is_no_relation_is_refused,
        no_relations_have_no_blockers,
        views_sequences_and_materialized_views_are_asked_about_like_tables,
        system_catalogs_are_asked_about_like_tables,
        a_shared_catalog_is_locked_from_every_database,
        the_same_oid_in_another_database_is_another_relation,
        a_temporary_table_of_another_session_is_asked_about_like_any,
        every_object_has_a_comment,
    ]
}

fn a_mode_is_read_in_either_spelling_and_any_case(world: &World) {
    let database = world.database();
    let (observer, holder) = (database.session("observer"), database.session("holder"));
    observer.run("CREATE TABLE t ()");
    holder.run("BEGIN; LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE");
    for mode in [
        "ShareUpdateExclusiveLock",
        "shareupdateexclusivelock",
        "SHARE UPDATE EXCLUSIVE",
        " share  update\texclusive ",
    ] {
        assert_eq!(blockers_in(&observer, "t", mode).len(), 1, "{mode}");
    }
    for mode in ["RowExclusiveLock", "row exclusive"] {
        assert_eq!(blockers_in(&observer, "t", mode).len(), 0, "{mode}");
    }
    let default = observer.run("SELECT * FROM lockguard.blockers_of(ARRAY['t'::regclass])");
    assert_eq!(
        summary(&default),
        summary(&blockers_in(&observer, "t", "ACCESS EXCLUSIVE"))
    );
}

fn an_unknown_mode_is_refused_with_the_nearest(world: &World) {
    let session = world.database().session("app");
    for (mode, hint) in [
        (
            "AccesExclusivLock",
            "Perhaps you meant \"AccessExclusiveLock\".",
        ),
        (
            "shared update exclusive",
            "Perhaps you meant \"SHARE UPDATE EXCLUSIVE\".",
        ),
        (
            "8",
            "Valid are: AccessShareLock, RowShareLock, RowExclusiveLock, ShareUpdateExclusiveLock, ShareLock, ShareRowExclusiveLock, ExclusiveLock, AccessExclusiveLock.",
        ),
        (
            "",
            "Valid are: AccessShareLock, RowShareLock, RowExclusiveLock, ShareUpdateExclusiveLock, ShareLock, ShareRowExclusiveLock, ExclusiveLock, AccessExclusiveLock.",
        ),
    ] {
        let error = session.error(&format!(
            "SELECT * FROM lockguard.blockers_of('{{}}', '{mode}')"
        ));
        assert_eq!(error.code().code(), "22023", "{mode}");
        assert_eq!(error.message(), format!("unknown lock mode \"{mode}\""));
        assert_eq!(error.hint(), Some(hint), "{mode}");
    }
}

fn nulls_are_refused(world: &World) {
    let session = world.database().session("app");
    for (arguments, what) in [
        ("NULL", "relations"),
        ("NULL, 'ShareLock'", "relations"),
        (
            "ARRAY['pg_class'::regclass, NULL]",
            "an element of relations",
        ),
        ("ARRAY[NULL]::regclass[]", "an element of relations"),
        ("ARRAY['pg_class'::regclass], NULL", "mode"),
    ] {
        let error = session.error(&format!("SELECT * FROM lockguard.blockers_of({arguments})"));
        assert_eq!(error.code().code(), "22004", "{arguments}");
        assert_eq!(
            error.message(),
            format!("{what} must not be null"),
            "{arguments}"
        );
    }
}

fn what_is_no_relation_is_refused(world: &World) {
    let session = world.database().session("app");
    session.run("CREATE TABLE t ()");
    for (relations, oid) in [
        ("ARRAY[0]::regclass[]", "0"),
        ("ARRAY[4294967295]::oid[]::regclass[]", "4294967295"),
        ("ARRAY['t'::regclass, 1]", "1"),
        // A type's OID, which is none of a relation.
        ("ARRAY[25]::regclass[]", "25"),
    ] {
        let error = session.error(&format!("SELECT * FROM lockguard.blockers_of({relations})"));
        assert_eq!(error.code().code(), "42P01", "{relations}");
        assert_eq!(
            error.message(),
            format!("relation with OID {oid} does not exist")
        );
    }
}

fn no_relations_have_no_blockers(world: &World) {
    let session = world.database().session("app");
    assert!(
        session
            .run("SELECT * FROM lockguard.blockers_of('{}')")
            .is_empty()
    );
    assert!(
        session
            .run("SELECT * FROM lockguard.blockers_of(ARRAY[]::regclass[], 'SHARE')")
            .is_empty()
    );
}

fn views_sequences_and_materialized_views_are_asked_about_like_tables(world: &World) {
    let database = world.database();
    let (observer, holder) = (database.session("observer"), database.session("holder"));
    observer.run(
        "CREATE TABLE t (id int); CREATE VIEW v AS SELECT * FROM t; CREATE SEQUENCE s; \
         CREATE MATERIALIZED VIEW m AS SELECT 1 AS id; CREATE UNIQUE INDEX i ON m (id)",
    );
    holder.run(
        "BEGIN; SELECT * FROM v; SELECT nextval('s'); REFRESH MATERIALIZED VIEW CONCURRENTLY m",
    );
    let pid = holder.pid();
    // What the view reads is not locked with it.
    assert_eq!(
        summary(&blockers_of(&observer, "v")),
        [format!("v {pid} AccessShareLock")]
    );
    assert_eq!(
        summary(&blockers_of(&observer, "s")),
        [format!("s {pid} RowExclusiveLock")]
    );
    let of_m = summary(&blockers_of(&observer, "m"));
    assert!(of_m.contains(&format!("m {pid} ExclusiveLock")), "{of_m:?}");
}

fn system_catalogs_are_asked_about_like_tables(world: &World) {
    let database = world.database();
    let (observer, holder) = (database.session("observer"), database.session("holder"));
    holder.run("BEGIN; LOCK TABLE pg_statistic IN ROW EXCLUSIVE MODE");
    let rows = summary(&blockers_of(&observer, "pg_statistic"));
    assert_eq!(
        rows,
        [format!("pg_statistic {} RowExclusiveLock", holder.pid())]
    );
}

fn a_shared_catalog_is_locked_from_every_database(world: &World) {
    let (here, there) = (world.database(), world.database());
    let (observer, holder) = (here.session("observer"), there.session("holder"));
    holder.run("BEGIN; LOCK TABLE pg_tablespace IN SHARE UPDATE EXCLUSIVE MODE");
    let expected = [format!(
        "pg_tablespace {} ShareUpdateExclusiveLock",
        holder.pid()
    )];
    assert_eq!(
        summary(&blockers_in(
            &observer,
            "pg_tablespace",
            "ShareUpdateExclusiveLock"
        )),
        expected
    );
    // The same through a copy of the lock table.
    let many = observer.run(
        "SELECT * FROM lockguard.blockers_of((SELECT array_agg(oid::regclass) FROM pg_class), 'ShareUpdateExclusiveLock') \
         WHERE relation = 'pg_tablespace'::regclass",
    );
    assert_eq!(summary(&many), expected);
}

fn the_same_oid_in_another_database_is_another_relation(world: &World) {
    let original = world.database();
    let session = original.session("schema");
    session.run("CREATE TABLE t (id int PRIMARY KEY)");
    drop(session);
    let copy = format!("{}_copy", original.name());
    let oid = "SELECT 't'::regclass::oid";
    original.ask(&format!(
        "CREATE DATABASE {copy} TEMPLATE {}",
        original.name()
    ));
    let (here, there) = (
        original.session("observer"),
        world.cluster().database(&copy).session("holder"),
    );
    assert_eq!(here.run(oid).value(), there.run(oid).value());
    there.run("BEGIN; LOCK TABLE t; SELECT * FROM t");
    let waiter = world.cluster().database(&copy).session("waiter");
    let queued = waiter.spawn("SELECT * FROM t");
    queued.wait_until_queued();
    assert!(blockers_of(&here, "t").is_empty());
    let many = here.run("SELECT * FROM lockguard.blockers_of((SELECT array_agg(oid::regclass) FROM pg_class)) WHERE relation::oid > 16384");
    let foreign = |row: &&pg_test::Row| row.get("pid") == Some(&there.pid().to_string());
    assert_eq!(many.iter().filter(foreign).count(), 0, "{many:?}");
}

fn a_temporary_table_of_another_session_is_asked_about_like_any(world: &World) {
    let database = world.database();
    let (observer, holder) = (database.session("observer"), database.session("holder"));
    holder.run("CREATE TEMP TABLE mine ()");
    holder.run("BEGIN; LOCK TABLE mine IN SHARE MODE");
    let rows = observer.run(
        "SELECT * FROM lockguard.blockers_of((SELECT array_agg(oid::regclass) FROM pg_class WHERE relname = 'mine'))",
    );
    assert_eq!(rows.only().text("pid"), holder.pid().to_string());
    assert_eq!(rows.only().text("mode"), "ShareLock");
}

fn every_object_has_a_comment(world: &World) {
    let session = world.database().session("app");
    let bare = session.run(
        "SELECT pg_describe_object(classid, objid, objsubid) AS object FROM pg_depend d \
         WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' \
           AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'lockguard') \
           AND classid <> 'pg_type'::regclass AND obj_description(objid, classid::regclass::name) IS NULL",
    );
    assert!(bare.is_empty(), "{bare:?}");
}
