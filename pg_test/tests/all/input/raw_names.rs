//! Names that are no text: in a database of SQL_ASCII they are bytes, and two of them may differ in a byte that
//! means nothing in UTF-8. Each is looked up as what it is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::sync::Arc;

use libtest_mimic::Trial;
use pg_test::process::{Ending, Process};
use pg_test::{Cluster, Database, Running, Session, wait_until};

use super::SOON;
use super::encodings::database;
use super::hostile::way_in;
use crate::preempt::scene::rows_once_written;
use crate::world::{World, scenarios};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        guard_mode_acts_on_the_very_table_whose_name_is_no_text,
        a_statement_means_the_very_table_whose_name_is_no_text,
        relations_are_the_very_ones_whose_names_are_no_text,
        locks_of_tells_names_that_are_no_text_apart,
        a_stored_policy_is_the_one_whose_name_was_given,
        what_is_no_text_reads_differently_wherever_it_is_told,
        a_rule_means_the_very_role_whose_name_is_no_text,
        the_way_to_end_a_prepared_transaction_whose_name_is_no_text_ends_that_one,
        a_client_in_sjis_of_a_database_in_euc_jp_means_what_it_says,
    ]
}

/// Two names that read the same in UTF-8, and the one that both would be written as.
const NAMES: [&[u8]; 3] = [b"\xe9", b"\xe8", "\u{fffd}".as_bytes()];

fn of_ascii(cluster: &Cluster) -> Database {
    let database = database(cluster, "SQL_ASCII");
    for name in NAMES {
        raw(&database, &[b"CREATE TABLE \"t", name, b"\" (i int)"]);
    }
    database
}

/// The statement of those pieces, sent as it is.
fn piece(pieces: &[&[u8]]) -> Vec<u8> {
    pieces.concat()
}

/// Runs statements with nobody between them and the server who would ask what the bytes mean.
fn try_all(database: &Database, statements: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    try_all_in("SQL_ASCII", database, statements)
}

fn try_all_in(
    encoding: &str,
    database: &Database,
    statements: &[Vec<u8>],
) -> Result<Vec<u8>, String> {
    let mut psql = database.psql();
    psql.env("PGCLIENTENCODING", encoding)
        .env("PGOPTIONS", "-c statement_timeout=10s")
        .args(["-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]);
    for statement in statements {
        psql.arg("-c").arg(OsStr::from_bytes(statement));
    }
    let output = psql.output().unwrap();
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn all(database: &Database, statements: &[Vec<u8>]) -> Vec<u8> {
    try_all(database, statements).unwrap_or_else(|error| panic!("{error}"))
}

fn raw(database: &Database, pieces: &[&[u8]]) -> Vec<u8> {
    all(database, &[piece(pieces)])
}

/// A backup of one table.
struct Backup {
    _session: Session,
    busy: Running,
}

fn backup_of(database: &Database, name: &[u8]) -> Backup {
    let session = database.session("pg_dump");
    let escaped: String = name.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    session.run(&format!(
        "BEGIN; DO $$BEGIN EXECUTE format('LOCK TABLE %I IN ACCESS SHARE MODE', E't{escaped}'); END$$"
    ));
    let busy = session.spawn("SELECT pg_sleep(50)");
    wait_until("it is in its statement", SOON, || {
        busy.wait_event()
            .is_some_and(|(_, event)| event == "PgSleep")
    });
    Backup {
        _session: session,
        busy,
    }
}

/// What that does to the table of each of those names in turn, with a backup of each table, ends its backup and
/// nobody else's.
fn ends_the_right_one(database: &Database, statements: impl Fn(&[u8]) -> Vec<Vec<u8>>) {
    for name in &NAMES[..2] {
        let mut backups: Vec<(&[u8], Backup)> = NAMES
            .iter()
            .map(|name| (*name, backup_of(database, name)))
            .collect();
        let done = try_all(database, &statements(name));
        let at = backups.iter().position(|(of, _)| of == name).unwrap();
        for (of, backup) in backups.iter().filter(|(of, _)| of != name) {
            assert!(
                !backup.busy.is_finished(),
                "{name:?} ends the backup of {of:?}"
            );
        }
        done.unwrap_or_else(|error| panic!("{name:?}: {error}"));
        let (_, backup) = backups.remove(at);
        assert!(
            backup.busy.wait(SOON).is_err(),
            "{name:?} does not end its backup"
        );
    }
}

fn guard_mode_acts_on_the_very_table_whose_name_is_no_text(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = of_ascii(&cluster);
    let on = || b"SET lockguard.policy = 'on'".to_vec();
    ends_the_right_one(&database, |name| {
        let add = piece(&[
            b"ALTER TABLE \"t",
            name,
            b"\" ADD COLUMN \"c",
            name,
            b"\" int",
        ]);
        vec![on(), add]
    });
    ends_the_right_one(&database, |name| {
        // The next round needs it again.
        let made_again = piece(&[b"CREATE TABLE \"t", name, b"\" (i int)"]);
        vec![on(), piece(&[b"DROP TABLE \"t", name, b"\""]), made_again]
    });
}

fn a_statement_means_the_very_table_whose_name_is_no_text(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = of_ascii(&cluster);
    ends_the_right_one(&database, |name| {
        vec![piece(&[
            b"SELECT verdict FROM lockguard.preempt_maintenance($${\"statement\": \"DROP TABLE \\\"t",
            name,
            b"\\\"\"}$$)",
        ])]
    });
}

fn relations_are_the_very_ones_whose_names_are_no_text(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = of_ascii(&cluster);
    for quote in [&b""[..], b"\\\""] {
        ends_the_right_one(&database, |name| {
            vec![piece(&[
                b"SELECT verdict FROM lockguard.preempt_maintenance($${\"relations\": [\"",
                quote,
                b"t",
                name,
                quote,
                b"\"]}$$)",
            ])]
        });
    }
    let gone = try_all(
        &database,
        &[b"SELECT lockguard.preempt_maintenance('{\"relations\": [\"t\xea\"]}')".to_vec()],
    );
    let error = gone.unwrap_err();
    assert!(error.contains(r#""t\xea" does not exist"#), "{error}");
}

fn locks_of_tells_names_that_are_no_text_apart(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = of_ascii(&cluster);
    for name in NAMES {
        let made: [&[&[u8]]; 4] = [
            &[b"CREATE SCHEMA \"s", name, b"\""],
            &[
                b"CREATE TABLE \"s",
                name,
                b"\".\"t\" (\"a",
                name,
                b"\" int CONSTRAINT \"k",
                name,
                b"\" PRIMARY KEY)",
            ],
            &[b"CREATE ROLE \"r", name, b"\" SUPERUSER"],
            &[b"CREATE SCHEMA \"r", name, b"\" CREATE TABLE \"u\" (i int)"],
        ];
        for pieces in made {
            raw(&database, pieces);
        }
    }
    // The name, what is asked about it, and which relation is locked first.
    type Of = fn(&[u8]) -> (Vec<u8>, Vec<u8>);
    let statements: [Of; 9] = [
        |name| {
            let table = piece(&[b"\"t", name, b"\""]);
            (piece(&[b"DROP TABLE ", &table]), table)
        },
        |name| {
            let table = piece(&[b"\"s", name, b"\".\"t\""]);
            (piece(&[b"DROP TABLE ", &table]), table)
        },
        |name| {
            let table = piece(&[b"\"s", name, b"\".\"t\""]);
            let path = piece(&[b"SET search_path = \"s", name, b"\"; DROP TABLE t"]);
            (path, table)
        },
        |name| {
            let table = piece(&[b"\"s", name, b"\".\"t\""]);
            let renamed = piece(&[
                b"ALTER SCHEMA \"s",
                name,
                b"\" RENAME TO \"z",
                name,
                b"\"; DROP TABLE \"z",
                name,
                b"\".t",
            ]);
            (renamed, table)
        },
        |name| {
            let table = piece(&[b"\"r", name, b"\".u"]);
            let role = piece(&[b"SET ROLE \"r", name, b"\"; DROP TABLE u"]);
            (role, table)
        },
        |name| {
            let table = piece(&[b"\"t", name, b"\""]);
            let rename = piece(&[
                b"ALTER TABLE ",
                &table,
                b" RENAME TO \"x",
                name,
                b"\"; LOCK TABLE \"x",
                name,
                b"\"",
            ]);
            (rename, table)
        },
        |name| {
            let index = piece(&[b"\"s", name, b"\".\"k", name, b"\""]);
            (piece(&[b"DROP INDEX ", &index]), index)
        },
        |name| {
            let table = piece(&[b"\"t", name, b"\""]);
            let back = piece(&[
                b"BEGIN; SAVEPOINT \"\xe9\"; DROP TABLE ",
                &table,
                b"; SAVEPOINT \"\xe8\"; ROLLBACK TO \"\xe9\"; LOCK TABLE ",
                &table,
            ]);
            (back, table)
        },
        |name| {
            let table = piece(&[b"\"t", name, b"\""]);
            (piece(&[b"SELECT nextval('", &table, b"')"]), table)
        },
    ];
    for name in NAMES {
        for (number, of) in statements.iter().enumerate() {
            let (statement, relation) = of(name);
            let told = raw(
                &database,
                &[
                    b"SELECT bool_and(relation = '",
                    &relation,
                    b"'::regclass OR relation IN (SELECT unnest(ARRAY[indexrelid, indrelid]) FROM pg_index WHERE indexrelid = '",
                    &relation,
                    b"'::regclass OR indrelid = '",
                    &relation,
                    b"'::regclass)), count(*), max(statement) FROM lockguard.locks_of($l$",
                    &statement,
                    b"$l$)",
                ],
            );
            let statements = statement.split(|byte| *byte == b';').count();
            let told = String::from_utf8(told).unwrap();
            let told: Vec<&str> = told.trim().split('|').collect();
            assert_eq!(told[0], "t", "{number}, {name:?}: {told:?}");
            assert_ne!(told[1], "0", "{number}, {name:?}: {told:?}");
            assert_eq!(
                told[2],
                statements.to_string(),
                "{number}, {name:?}: {told:?}"
            );
        }
        // What is wanted of a column is looked up by its name as well.
        let index = raw(
            &database,
            &[
                b"SELECT count(*) FROM lockguard.locks_of($l$ALTER TABLE \"s",
                name,
                b"\".t ALTER COLUMN \"a",
                name,
                b"\" TYPE bigint$l$) WHERE relation = '\"s",
                name,
                b"\".\"k",
                name,
                b"\"'::regclass",
            ],
        );
        assert_eq!(index, b"1\n", "{name:?}");
    }
}

fn a_stored_policy_is_the_one_whose_name_was_given(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = of_ascii(&cluster);
    let labels = [&b"1"[..], b"2", b"3"];
    for (name, label) in NAMES.into_iter().zip(labels) {
        let store = piece(&[
            b"SELECT lockguard.store_policy('p",
            name,
            b"', '{\"label\": \"",
            label,
            name,
            b"\"}')",
        ]);
        let role = piece(&[b"CREATE ROLE \"b", name, b"\""]);
        let lend = piece(&[
            b"SELECT lockguard.lend_policy('p",
            name,
            b"', 'b",
            name,
            b"')",
        ]);
        all(&database, &[store, role, lend]);
    }
    let lent = raw(
        &database,
        &[b"SELECT count(*) FROM lockguard.policy_loans WHERE substr(policy, 2) = substr(pg_get_userbyid(role), 2)"],
    );
    assert_eq!(lent, b"3\n");
    let kept = raw(
        &database,
        &[b"SELECT count(*) FROM lockguard.policies WHERE substr(policy ->> 'label', 2) = substr(name, 2)"],
    );
    assert_eq!(kept, b"3\n");
    for (name, label) in NAMES[..2].iter().zip(labels) {
        let calls = [
            piece(&[
                b"SELECT FROM lockguard.preempt_maintenance($${\"policy\": \"p",
                name,
                b"\", \"relations\": [\"t",
                name,
                b"\"]}$$)",
            ]),
            piece(&[b"SET lockguard.policy = 'p", name, b"'"]),
            piece(&[b"SET lockguard.policy = '{\"policy\": \"p", name, b"\"}'"]),
        ];
        for (number, call) in calls.into_iter().enumerate() {
            let backup = backup_of(&database, name);
            let alter = piece(&[b"ALTER TABLE \"t", name, b"\" ALTER i SET NOT NULL"]);
            let statements = match number {
                0 => vec![call],
                _ => vec![call, alter],
            };
            all(&database, &statements);
            assert!(backup.busy.wait(SOON).is_err());
        }
        let count = || {
            raw(
                &database,
                &[
                    b"SELECT count(*) FROM lockguard.preemptions WHERE label LIKE '",
                    label,
                    b"%'",
                ],
            )
        };
        wait_until("the rows are written", SOON, || count() == b"3\n");
    }
    for name in &NAMES[..2] {
        raw(
            &database,
            &[b"SELECT lockguard.drop_policy('p", name, b"')"],
        );
    }
    let left = raw(
        &database,
        &[b"SELECT name = E'p\\xef\\xbf\\xbd' FROM lockguard.policies"],
    );
    assert_eq!(left, b"t\n");
}

fn what_is_no_text_reads_differently_wherever_it_is_told(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = of_ascii(&cluster);
    // A client that wants UTF-8 can read all of it.
    let caller = database.session("migration");
    for name in [r"\xe9", r"\xe8"] {
        let holder = database.session("pg_dump");
        holder.run(&format!(
            "BEGIN; DO $$BEGIN EXECUTE format('LOCK TABLE %I IN ACCESS SHARE MODE', E't{name}'); END$$"
        ));
        caller.take_notices();
        caller.run(&format!(
            "SELECT verdict FROM lockguard.preempt_maintenance(E'{{\"relations\": [\"t{name}\"]}}')"
        ));
        let told = caller.take_notices();
        let is_told = told
            .iter()
            .any(|notice| notice.message.contains(&format!("\"t{name}\"")));
        assert!(is_told, "{told:?}");
        let reasons = caller.run(&format!(
            "SELECT reason FROM lockguard.locks_of(E'LOCK TABLE \"t{name}\"; CREATE INDEX ON \"t{name}\" (\"c{name}\"); LOCK TABLE \"n{name}\"') WHERE statement = 3"
        ));
        assert_eq!(
            reasons.only().text("reason"),
            format!("relation \"n{name}\" does not exist")
        );
    }
    let rows = rows_once_written(
        &caller,
        2,
        "SELECT relation FROM lockguard.preemptions ORDER BY 1",
    );
    assert_eq!(
        rows.column("relation"),
        [Some(r#""t\xe8""#), Some(r#""t\xe9""#)]
    );
}

fn a_rule_means_the_very_role_whose_name_is_no_text(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = of_ascii(&cluster);
    for name in NAMES {
        raw(
            &database,
            &[b"CREATE ROLE \"u", name, b"\" SUPERUSER LOGIN"],
        );
    }
    let holders = NAMES.map(|name| {
        let mut holder = database.psql();
        holder
            .env("PGUSER", OsStr::from_bytes(&piece(&[b"u", name])))
            .args(["-c", "BEGIN; SELECT FROM t; SELECT pg_sleep(50)"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Process::spawn(holder, Ending::Client).unwrap()
    });
    let caller = database.session("migration");
    wait_until("they hold their locks", SOON, || {
        caller.run("SELECT FROM lockguard.blockers_of('{t}')").len() == 3
    });
    for key in ["preempt", "spare"] {
        let all = match key {
            "spare" => ", \"preempt\": [{\"usename\": \"u*\"}]",
            _ => "",
        };
        let named = match key {
            "spare" => "spared",
            _ => "would cancel",
        };
        for name in NAMES {
            let escaped: String = name.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            let rows = caller.run(&format!(
                "SELECT verdict, count(*) FROM lockguard.preempt_maintenance(E'{{\"relations\": [\"t\"], \"{key}\": [{{\"usename\": \"u{escaped}\"}}]{all}, \"dry_run\": true}}') GROUP BY 1 ORDER BY verdict = '{named}'"
            ));
            let last = &rows[rows.len() - 1];
            assert_eq!(last.text("verdict"), named, "{key} {name:?}");
            assert_eq!(last.text("count"), "1", "{key} {name:?}");
        }
    }
    drop(holders);
}

fn the_way_to_end_a_prepared_transaction_whose_name_is_no_text_ends_that_one(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = of_ascii(&cluster);
    let caller = database.session("migration");
    for (number, name) in NAMES.into_iter().enumerate() {
        let prepare = [
            b"BEGIN".to_vec(),
            b"LOCK TABLE t IN SHARE MODE".to_vec(),
            piece(&[b"PREPARE TRANSACTION 'g''\\", name, b"'"]),
        ];
        all(&database, &prepare);
        // Its row gives the name as the server has it.
        let same = "SELECT count(*) FROM lockguard.blockers_of('{t}') b \
                    JOIN pg_prepared_xacts p USING (gid) WHERE p.database = current_database()";
        assert_eq!(caller.run(same).value(), Some(&*(number + 1).to_string()));
    }
    for left in (0..NAMES.len()).rev() {
        let rows = caller.run(
            "SELECT reason FROM lockguard.preempt_maintenance('{\"relations\": [\"t\"], \"timeout\": \"1ms\", \"on_timeout\": \"report\"}')",
        );
        assert_eq!(rows.len(), left + 1);
        caller.run(way_in(rows[0].text("reason")));
        let count = caller.run("SELECT count(*) FROM lockguard.blockers_of('{t}')");
        assert_eq!(count.value(), Some(&*left.to_string()));
    }
}

fn a_client_in_sjis_of_a_database_in_euc_jp_means_what_it_says(world: &World) {
    let cluster = world.start_cluster(&[]);
    let database = database(&cluster, "EUC_JP");
    // Each ends with the byte of a backslash there.
    let names: [(&str, &[u8]); 2] = [("表", b"\x95\x5c"), ("十", b"\x8f\x5c")];
    let setup = database.session("setup");
    for (name, _) in names {
        setup.run(&format!("CREATE TABLE \"{name}\" (\"{name}\" int)"));
    }
    type Calls = fn(&[u8]) -> Vec<Vec<u8>>;
    let calls: [Calls; 3] = [
        |name| {
            let alter = piece(&[
                b"ALTER TABLE \"",
                name,
                b"\" ALTER \"",
                name,
                b"\" TYPE bigint",
            ]);
            vec![b"SET lockguard.policy = 'on'".to_vec(), alter]
        },
        |name| {
            vec![piece(&[
                b"SELECT FROM lockguard.preempt_maintenance('{\"relations\": [\"",
                name,
                b"\"]}')",
            ])]
        },
        |name| {
            vec![piece(&[
                b"SELECT FROM lockguard.preempt_maintenance('{\"statement\": \"LOCK TABLE ",
                name,
                b"\"}')",
            ])]
        },
    ];
    for call in calls {
        for (name, in_sjis) in names {
            let holders = names.map(|(of, _)| {
                let session = database.session("pg_dump");
                session.run(&format!("BEGIN; SELECT FROM \"{of}\""));
                let busy = session.spawn("SELECT pg_sleep(50)");
                wait_until("it is in its statement", SOON, || {
                    busy.wait_event()
                        .is_some_and(|(_, event)| event == "PgSleep")
                });
                (of, session, busy)
            });
            try_all_in("SJIS", &database, &call(in_sjis)).unwrap_or_else(|error| panic!("{error}"));
            for (of, _session, busy) in holders {
                match of == name {
                    true => assert!(busy.wait(SOON).is_err(), "{of}"),
                    false => assert!(!busy.is_finished(), "{of}"),
                }
            }
        }
    }
}
