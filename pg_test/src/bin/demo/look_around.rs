//! `cargo demo -- --psql`: the incident's tables, a backup in the way, and psql.

use pg_test::{Cluster, Database, Failure, SessionOptions};

use crate::incident::{self, BACKUP, Backup, HISTORY};
use crate::play::Tempo;
use crate::stage::{self, FAINT, PLAIN};

/// Slow enough to look around for as long as one likes.
const BYTES_PER_SECOND: u64 = 250_000;

/// Worth typing, with what for.
const SUGGESTIONS: [(&str, &str); 3] = [
    (
        "Who stands in the way of dropping it?",
        "SELECT * FROM lockguard.blockers_of('{field_history_fieldhistory}') \\gx",
    ),
    (
        "What would be done about them?",
        "SELECT * FROM lockguard.preempt_maintenance(\n    \
         '{\"relations\": [\"field_history_fieldhistory\"], \"dry_run\": true}') \\gx",
    ),
    (
        "Do it. (Try the DROP TABLE by itself first: it hangs until Ctrl-C.)",
        "BEGIN;\n\
         SELECT pid, class, verdict, waited, reason FROM lockguard.preempt_maintenance(\n    \
         '{\"relations\": [\"field_history_fieldhistory\", \"auth_user\", \"django_content_type\"]}');\n\
         DROP TABLE field_history_fieldhistory;\n\
         COMMIT;",
    ),
];

/// Sets the scene, says what is worth typing, and hands over to psql until the user leaves it.
pub fn open(cluster: &Cluster, database: &Database, tempo: &Tempo) -> Result<(), Failure> {
    let session = database.connect(SessionOptions::named("demo"))?;
    let history = incident::build(&session, tempo.rows)?;
    drop(session);
    let backup = Backup::start(database, BYTES_PER_SECOND)?;
    stage::heading("lockguard: a look around")?;
    stage::paragraph(
        PLAIN,
        &format!(
            "A backup (\"{BACKUP}\", pid {}) is in the midst of {HISTORY}. The table has {} MB: at the backup's pace, {} minutes.",
            backup.pid,
            history.bytes / 1_000_000,
            history.bytes / BYTES_PER_SECOND / 60
        ),
    )?;
    for (what, statement) in SUGGESTIONS {
        stage::line("")?;
        stage::paragraph(FAINT, what)?;
        stage::statement(statement)?;
    }
    stage::line("")?;
    stage::paragraph(
        FAINT,
        &format!(
            "Another terminal: psql -h {} -U postgres {}. All of it goes when you leave.",
            cluster.folder().display(),
            database.name()
        ),
    )?;
    stage::line("")?;
    database.open_psql().map(drop)
}
