//! A real Django project whose migrations clear their way, run by `manage.py` while a backup is at work.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pg_test::process::{self, Captured, Ending, Process};
use pg_test::{Database, Session, SlowReader, wait_until, workspace};

use crate::world::{World, scenarios};

mod guarded;

const SOON: Duration = Duration::from_secs(20);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    scenarios![
        world;
        a_migration_that_clears_its_way_goes_through,
        a_migration_that_is_not_atomic_goes_through_as_well,
        a_migration_that_does_not_clear_its_way_hangs,
        a_migration_that_cannot_clear_its_way_says_why_and_leaves_all_as_it_was,
        sqlmigrate_prints_the_call_as_written,
        a_migration_is_reversed_and_done_again,
    ]
    .into_iter()
    .chain(guarded::trials(world))
    .collect()
}

/// The project, and a database that its first migration has been applied to.
struct Shop {
    python: PathBuf,
    folder: PathBuf,
    database: Database,
    admin: Session,
}

impl Shop {
    fn open(world: &World) -> Self {
        // Made once: a virtual environment takes a second or two.
        static MADE: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
        let (python, folder) = MADE.get_or_init(|| {
            let project = workspace::root().join("pg_test/django");
            let requirements = std::fs::read_to_string(project.join("requirements.txt")).unwrap();
            let packages: Vec<&str> = requirements.lines().collect();
            let installation = world.installation();
            (
                installation.virtual_environment(&packages).unwrap(),
                installation.copy_in(&project).unwrap(),
            )
        });
        let database = world.database();
        let admin = database.session("admin");
        let shop = Self {
            python: python.clone(),
            folder: folder.clone(),
            database,
            admin,
        };
        shop.migrate_to("0001").expect_success();
        shop
    }

    fn manage(&self, arguments: &[&str]) -> Command {
        let mut command = self.database.command(Path::new(&self.python));
        command
            .arg(self.folder.join("manage.py"))
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(&self.folder);
        command
    }

    fn run(&self, arguments: &[&str]) -> Captured {
        process::run(self.manage(arguments)).unwrap()
    }

    fn migrate_to(&self, migration: &str) -> Captured {
        self.run(&["migrate", "field_history", migration])
    }

    /// A slowly read `pg_dump` in the midst of that table, which it fills first.
    fn slow_dump_of(&self, table: &str, columns: &str, row: &str) -> SlowReader {
        self.admin.run(&format!(
            "INSERT INTO {table} ({columns}) SELECT {row} FROM generate_series(1, 20000) i"
        ));
        let mut backup = self.database.pg_dump();
        backup.env("PGAPPNAME", "Heroku Postgres Backups");
        let dump = SlowReader::spawn(backup, 500_000).unwrap();
        wait_until("the dump is in the midst of the table", SOON, || {
            let held_up = self.admin.run(&format!(
                "SELECT FROM pg_stat_activity WHERE application_name = 'Heroku Postgres Backups' \
                 AND query LIKE 'COPY public.{table} %' AND wait_event = 'ClientWrite'"
            ));
            !held_up.is_empty()
        });
        dump
    }

    fn exists(&self, table: &str) -> bool {
        let found = self.admin.run(&format!("SELECT to_regclass('{table}')"));
        found.value().is_some()
    }
}

const HISTORY: &str = "field_history_fieldhistory";
const VISITS: &str = "field_history_pagevisit";
const SEARCHES: &str = "field_history_searchlog";

fn a_slow_dump_of_the_history(shop: &Shop) -> SlowReader {
    shop.slow_dump_of(
        HISTORY,
        "object_id, field_name, serialized_data, date_created, content_type_id",
        "i, 'price', repeat(md5(i::text), 30), now(), (SELECT min(id) FROM django_content_type)",
    )
}

/// It ended, not well, and says that it was made to.
#[track_caller]
fn assert_was_preempted(mut dump: SlowReader) {
    dump.set_rate(u64::MAX / 2);
    let status = dump.wait(SOON).expect("pg_dump ends");
    let said = dump.finish();
    assert!(!status.success());
    let how = [
        "canceling statement due to user request",
        "terminating connection due to administrator command",
    ];
    assert!(how.iter().any(|words| said.contains(words)), "{said}");
}

fn a_migration_that_clears_its_way_goes_through(world: &World) {
    let shop = Shop::open(world);
    let dump = a_slow_dump_of_the_history(&shop);
    let before = Instant::now();
    let migrated = shop.migrate_to("0002").expect_success();
    println!(
        "manage.py migrate took {} ms in all",
        before.elapsed().as_millis()
    );
    assert!(!shop.exists(HISTORY));
    assert!(
        migrated
            .stdout
            .contains("Applying field_history.0002_drop_fieldhistory... OK"),
        "{}",
        migrated.stdout
    );
    // Through shop/notices.py.
    for told in [
        "lockguard: in the way of AccessExclusiveLock on field_history_fieldhistory, django_content_type: pid",
        "(backup, \"Heroku Postgres Backups\")",
        "holds AccessExclusiveLock on field_history_fieldhistory, django_content_type after",
    ] {
        assert!(
            migrated.stderr.contains(told),
            "no {told:?} in {}",
            migrated.stderr
        );
    }
    assert_was_preempted(dump);
}

fn a_migration_that_is_not_atomic_goes_through_as_well(world: &World) {
    let shop = Shop::open(world);
    shop.migrate_to("0002").expect_success();
    let dump = shop.slow_dump_of(VISITS, "url", "repeat(md5(i::text), 30)");
    shop.migrate_to("0003").expect_success();
    assert!(!shop.exists(VISITS));
    assert_was_preempted(dump);
}

fn a_migration_that_does_not_clear_its_way_hangs(world: &World) {
    let shop = Shop::open(world);
    shop.migrate_to("0003").expect_success();
    let mut dump = shop.slow_dump_of(SEARCHES, "words", "repeat(md5(i::text), 30)");
    let mut migrate = shop.manage(&["migrate", "field_history", "0004"]);
    migrate.stdout(Stdio::null()).stderr(Stdio::null());
    let mut migrate = Process::spawn(migrate, Ending::Client).unwrap();
    wait_until("the migration waits for the table", SOON, || {
        let queued = shop.admin.run(&format!(
            "SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE relation = '{SEARCHES}'::regclass \
             AND mode = 'AccessExclusiveLock' AND NOT granted AND application_name = 'manage.py'"
        ));
        !queued.is_empty()
    });
    assert_eq!(migrate.try_wait(), None);
    assert_eq!(dump.status(), None, "the dump goes on");
    assert!(shop.exists(SEARCHES));

    // The next session sets it free.
    shop.admin.run(&format!(
        r#"SELECT lockguard.preempt_maintenance('{{"relations": ["{SEARCHES}"]}}')"#
    ));
    let status = migrate.wait(SOON).expect("the migration goes on");
    assert!(status.success());
    assert!(!shop.exists(SEARCHES));
    assert_was_preempted(dump);
}

fn a_migration_that_cannot_clear_its_way_says_why_and_leaves_all_as_it_was(world: &World) {
    let shop = Shop::open(world);
    shop.migrate_to("0002").expect_success();
    let application = shop.database.session("web");
    application.run(&format!("BEGIN; SELECT FROM {VISITS}"));
    let failed = shop.migrate_to("0003");
    assert!(!failed.status.success());
    // The traceback ends with the server's error, the rest came as notices.
    for told in [
        format!("could not clear the way to AccessExclusiveLock on {VISITS} within 4.0 s"),
        format!(
            "DETAIL:  pid {} (idle_in_transaction, \"web\") holds AccessShareLock",
            application.pid()
        ),
        "HINT:  ".to_owned(),
        "policy does not preempt it".to_owned(),
    ] {
        assert!(
            failed.stderr.contains(&told),
            "no {told:?} in {}",
            failed.stderr
        );
    }
    application.run(&format!("SELECT count(*) FROM {VISITS}; COMMIT"));
    shop.migrate_to("0003").expect_success();
}

fn sqlmigrate_prints_the_call_as_written(world: &World) {
    let shop = Shop::open(world);
    let printed = shop
        .run(&["sqlmigrate", "field_history", "0002"])
        .expect_success()
        .stdout;
    let call = "SELECT lockguard.preempt_maintenance('{\n    \
                \"relations\": [\"field_history_fieldhistory\", \"django_content_type\"],\n    \
                \"timeout\": \"20s\"\n}')";
    let place = printed.find(call);
    assert!(place.is_some(), "{printed}");
    let drop = printed.find("DROP TABLE \"field_history_fieldhistory\" CASCADE");
    assert!(place < drop, "{printed}");

    // What is printed can be run by psql.
    let mut psql = shop.database.psql();
    psql.args(["-c", &printed]);
    process::run(psql).unwrap().expect_success();
    assert!(!shop.exists(HISTORY));
}

fn a_migration_is_reversed_and_done_again(world: &World) {
    let shop = Shop::open(world);
    shop.migrate_to("0003").expect_success();
    assert!(!shop.exists(HISTORY) && !shop.exists(VISITS));
    shop.migrate_to("0001").expect_success();
    assert!(shop.exists(HISTORY) && shop.exists(VISITS));
    shop.migrate_to("0003").expect_success();
    assert!(!shop.exists(HISTORY) && !shop.exists(VISITS));
}
