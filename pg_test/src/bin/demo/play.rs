//! The two acts: the migration as it is written today, and with one statement more. All times are measured.

use std::time::{Duration, Instant};

use pg_test::wait::becomes_true;
use pg_test::{Cluster, Database, During, Failure, Rows, Session, SessionOptions};

use crate::application::Application;
use crate::incident::{self, BACKUP, Backup, DROP, HISTORY, History, LOCKED_BY_THE_DROP};
use crate::stage::{self, BAD, FAINT, GOOD, PLAIN};
use crate::trail;

/// How long the play is.
pub struct Tempo {
    /// Rows in the history.
    pub rows: u64,
    /// At which the backup's output is read: as over a line to somewhere far away.
    pub bytes_per_second: u64,
    /// How long the application is watched while nothing else happens.
    calm: Duration,
    /// How long the first act's migration is left hanging.
    hang: Duration,
    /// How often we look at it meanwhile.
    look: Duration,
}

impl Tempo {
    pub const FULL: Self = Self {
        rows: 90_000,
        bytes_per_second: 700_000,
        calm: Duration::from_secs(2),
        hang: Duration::from_secs(5),
        look: Duration::from_secs(1),
    };

    pub const QUICK: Self = Self {
        rows: 10_000,
        bytes_per_second: 700_000,
        calm: Duration::from_millis(300),
        hang: Duration::from_secs(1),
        look: Duration::from_millis(500),
    };
}

/// Plays it.
pub fn run(cluster: &Cluster, database: &Database, tempo: &Tempo) -> Result<(), Failure> {
    let observer = database.connect(SessionOptions::named("psql"))?;
    let version = observer
        .try_run("SHOW server_version")
        .during("ask for the version")?;
    let version = version.value().unwrap_or_default().to_owned();
    let version = version.split(' ').next().unwrap_or_default();
    stage::heading("lockguard: a migration, a backup, and who has to wait")?;
    stage::paragraph(
        FAINT,
        &format!(
            "PostgreSQL {version} on a throw-away server. Every time below was measured in this very run."
        ),
    )?;
    let history = incident::build(&observer, tempo.rows)?;
    let backup = Backup::start(database, tempo.bytes_per_second)?;
    let application = Application::start(database)?;
    std::thread::sleep(tempo.calm);
    scene(&history, &backup, &application, tempo)?;
    let first = first_act(database, &observer, &backup, &application, tempo)?;
    calm_down(&application)?;
    let second = second_act(cluster, database, &backup, &application)?;
    calm_down(&application)?;
    epilogue(&observer, backup, &application, [first, second])
}

/// From the first statement of an act's migration to its end.
#[derive(Clone, Copy)]
struct Span {
    from: Instant,
    to: Instant,
}

fn scene(
    history: &History,
    backup: &Backup,
    application: &Application,
    tempo: &Tempo,
) -> Result<(), Failure> {
    let now = Instant::now();
    stage::heading("The scene")?;
    let megabytes = history.bytes / 1_000_000;
    let seconds = history.bytes / tempo.bytes_per_second;
    stage::entry(
        HISTORY,
        &format!(
            "{megabytes} MB, {} rows; references auth_user and django_content_type",
            pg_test::figures::grouped(history.rows.into())
        ),
    )?;
    stage::entry(
        "the nightly backup",
        &format!(
            "a pg_dump named \"{BACKUP}\", pid {}, in the midst of that table; read at {} kB/s, the {megabytes} MB take {}",
            backup.pid,
            tempo.bytes_per_second / 1000,
            match seconds {
                0..60 => format!("{seconds} s"),
                _ => format!("{} min {} s", seconds / 60, seconds % 60),
            }
        ),
    )?;
    for (name, what, visitor) in [
        (
            "the application",
            "a reader: account pages with the latest changes",
            &application.reader,
        ),
        (
            "",
            "a writer: logins, each with a line for the history",
            &application.writer,
        ),
    ] {
        let usual = stage::milliseconds(visitor.usual(now));
        stage::entry(name, &format!("{what}; median {usual}"))?;
    }
    stage::entry(
        "tonight's release",
        "no longer keeps a history: its migration drops the table",
    )
}

fn first_act(
    database: &Database,
    observer: &Session,
    backup: &Backup,
    application: &Application,
    tempo: &Tempo,
) -> Result<Span, Failure> {
    stage::heading("First act: the migration as it is written today")?;
    stage::statement(&format!("BEGIN;\n{DROP};\nCOMMIT;"))?;
    stage::line("")?;
    let migration = database.connect(SessionOptions::named("manage.py migrate"))?;
    let from = Instant::now();
    migration.try_run("BEGIN").during("begin the migration")?;
    let dropping = migration.spawn(DROP);
    let is_stuck = || blocking(database, migration.pid()).contains(&backup.pid);
    if !becomes_true(Duration::from_secs(10), is_stuck) {
        return Err(Failure::new(
            "the DROP TABLE does not wait for the backup, as it should here",
        ));
    }
    stage::at(
        from.elapsed(),
        PLAIN,
        &format!("DROP TABLE waits for pid {}, the backup", backup.pid),
    )?;
    while from.elapsed() < tempo.hang {
        std::thread::sleep(tempo.look.min(tempo.hang.saturating_sub(from.elapsed())));
        stage::at(
            from.elapsed(),
            PLAIN,
            &format!(
                "still waiting. Behind it: a page for {}, a login for {}",
                stage::milliseconds(application.reader.waiting()),
                stage::milliseconds(application.writer.waiting()),
            ),
        )?;
    }
    if dropping.is_finished() {
        return Err(Failure::new(
            "the DROP TABLE got its lock, though the backup had not ended",
        ));
    }
    stage::line("")?;
    stage::paragraph(PLAIN, "Somebody looks who is in the way:")?;
    let columns = "pid, granted, mode, class, preempt, application_name, blocked_by";
    let question = format!("SELECT {columns}\n  FROM lockguard.blockers_of('{{{HISTORY}}}');");
    stage::statement(&question)?;
    let blockers = observer
        .try_run(&question)
        .during("ask who is in the way")?;
    stage::table(&blockers)?;
    stage::line("")?;
    stage::paragraph(PLAIN, &verdict(&blockers, migration.pid()))?;
    stage::line("")?;
    stage::at(
        from.elapsed(),
        PLAIN,
        "Ctrl-C and ROLLBACK: this release is not to be",
    )?;
    dropping.cancel();
    let cancelled = dropping.wait(Duration::from_secs(10));
    if cancelled.is_ok() {
        return Err(Failure::new(
            "the DROP TABLE went through at the last moment",
        ));
    }
    migration.try_run("ROLLBACK").during("roll back")?;
    let to = Instant::now();
    calm_down(application)?;
    stage::at(
        to - from,
        BAD,
        &format!(
            "nothing is dropped; the page arrives after {}, the login after {}",
            stage::milliseconds(application.reader.slowest(from, to)),
            stage::milliseconds(application.writer.slowest(from, to)),
        ),
    )?;
    Ok(Span { from, to })
}

/// Who is at fault, from what `blockers_of` says.
fn verdict(blockers: &Rows, migration: i32) -> String {
    let granted = |row: &&pg_test::Row| row.get("granted") == Some("t");
    let holders: Vec<String> = blockers
        .iter()
        .filter(granted)
        .map(|row| {
            format!(
                "pid {} (\"{}\")",
                row.get("pid").unwrap_or_default(),
                row.get("application_name").unwrap_or_default()
            )
        })
        .collect();
    let queued = blockers.iter().filter(|row| !granted(row)).count();
    format!(
        "The lock is held by {} alone. The {queued} others stand in the queue: the migration (pid {migration}) waits for \
         the backup, and the application waits for the migration, which has not even begun.",
        holders.join(" and ")
    )
}

fn second_act(
    cluster: &Cluster,
    database: &Database,
    backup: &Backup,
    application: &Application,
) -> Result<Span, Failure> {
    let [history, users, types] = LOCKED_BY_THE_DROP;
    let preempt = format!(
        "SELECT * FROM lockguard.preempt_maintenance(\n  '{{\"relations\": [\"{history}\", \"{users}\", \"{types}\"]}}');"
    );
    stage::heading("Second act: the same migration, the same backup, one statement more")?;
    stage::statement(&format!("BEGIN;\n{preempt}\n{DROP};\nCOMMIT;"))?;
    stage::paragraph(
        FAINT,
        "(DROP TABLE locks the tables that its foreign keys reference too: so all three are named.)",
    )?;
    stage::line("")?;
    let migration = database.connect(SessionOptions::named("manage.py migrate"))?;
    let said_before = cluster.log().len();
    let began = trail::time_of_day();
    let from = Instant::now();
    let mut story = Story::default();
    migration.try_run("BEGIN").during("begin the migration")?;
    let rows = migration.try_run(&preempt).during("preempt the backup")?;
    story.add(from.elapsed(), PLAIN, "the call returns");
    migration.try_run(DROP).during("drop the table")?;
    story.add(from.elapsed(), PLAIN, "DROP TABLE is done");
    migration.try_run("COMMIT").during("commit")?;
    let to = Instant::now();
    story.add(to - from, GOOD, "COMMIT: the table is gone");
    // What is told twice need not name the three tables each time.
    let lock = format!("AccessExclusiveLock on {}", LOCKED_BY_THE_DROP.join(", "));
    let notices = migration.take_notices();
    for notice in &notices {
        let text = notice.message.replace(&lock, "the lock");
        story.add(
            notice.at - from,
            PLAIN,
            &format!("{}: {text}", notice.severity),
        );
    }
    let found = notices.first().map_or(from, |notice| notice.at) - from;
    for (time, text) in trail::signals_in(cluster.log().get(said_before..).unwrap_or_default()) {
        story.add(
            // The log has no microseconds, but a session is found before it is signalled.
            trail::since(began, time).max(found),
            PLAIN,
            &format!("server log: {}", text.replace(&lock, "the lock")),
        );
    }
    stage::at(Duration::ZERO, PLAIN, "BEGIN")?;
    story.tell()?;
    calm_down(application)?;
    stage::line("")?;
    stage::paragraph(PLAIN, "What the call returned (some columns):")?;
    let columns = ["relation", "pid", "class", "verdict", "waited", "reason"];
    stage::table(&rows.select(&columns))?;
    if !rows
        .iter()
        .any(|row| row.get("pid") == Some(&backup.pid.to_string()))
    {
        return Err(Failure::new("the backup is not among the rows of the call"));
    }
    Ok(Span { from, to })
}

/// Events of an act, told in the order of their times.
#[derive(Default)]
struct Story(Vec<(Duration, anstyle::Style, String)>);

impl Story {
    fn add(&mut self, time: Duration, style: anstyle::Style, text: &str) {
        self.0.push((time, style, text.to_owned()));
    }

    fn tell(mut self) -> Result<(), Failure> {
        self.0.sort_by_key(|(time, _, _)| *time);
        for (time, style, text) in self.0 {
            stage::at(time, style, &text)?;
        }
        Ok(())
    }
}

fn epilogue(
    observer: &Session,
    backup: Backup,
    application: &Application,
    [first, second]: [Span; 2],
) -> Result<(), Failure> {
    let still_there = observer
        .try_run(&format!("SELECT to_regclass('{HISTORY}')"))
        .during("look for the table")?;
    if still_there.value().is_some() {
        return Err(Failure::new("the table is still there"));
    }
    stage::heading("What the application felt: its slowest answer")?;
    let line = |name: &str, cells: [&str; 3]| {
        let [a, b, c] = cells;
        stage::line(format_args!("  {name:22}{a:>14}{b:>14}{c:>14}"))
    };
    line("", ["usual (median)", "first act", "second act"])?;
    for (name, visitor) in [
        ("a page (reader)", &application.reader),
        ("a login (writer)", &application.writer),
    ] {
        line(
            name,
            [
                &stage::milliseconds(visitor.usual(first.from)),
                &stage::milliseconds(visitor.slowest(first.from, first.to)),
                &stage::milliseconds(visitor.slowest(second.from, second.to)),
            ],
        )?;
    }
    let dropped = stage::milliseconds(second.to - second.from);
    line("the migration", ["", "given up", &dropped])?;
    stage::heading("What the backup says")?;
    let mut program = backup.program;
    program.set_rate(u64::MAX / 2);
    let status = program.wait(Duration::from_secs(10));
    let said = program.finish();
    for piece in said
        .lines()
        .filter(|l| l.contains("error:") || l.contains("ERROR:"))
    {
        stage::paragraph(PLAIN, piece)?;
    }
    if status.is_none_or(|status| status.success()) {
        return Err(Failure::new("pg_dump did not notice that it was preempted"));
    }
    stage::paragraph(
        PLAIN,
        "It has failed, loudly, and must be run again: that is the price, and the policy named it.",
    )?;
    stage::line("")?;
    stage::paragraph(
        FAINT,
        "To try it by hand, with such a backup in the way: cargo demo -- --psql",
    )
}

/// Waits until both halves of the application have had two answers more, which they get at once unless they hang.
fn calm_down(application: &Application) -> Result<(), Failure> {
    let before = [application.reader.answers(), application.writer.answers()];
    let went_on = becomes_true(Duration::from_secs(10), || {
        application.failure().is_some()
            || (application.reader.answers() > before[0] + 1
                && application.writer.answers() > before[1] + 1)
    });
    match application.failure() {
        Some(failure) => Err(failure),
        None if went_on => Ok(()),
        None => Err(Failure::new("the application gets no answer any more")),
    }
}

/// For whom a session waits.
fn blocking(database: &Database, pid: i32) -> Vec<i32> {
    database
        .ask(&format!("SELECT unnest(pg_blocking_pids({pid})) AS pid"))
        .iter()
        .filter_map(|row| row.get("pid")?.parse().ok())
        .collect()
}
