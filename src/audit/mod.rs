//! The trail: what is written down of each signal, whatever becomes of the transaction. A line in the
//! server's log goes before each, here; a row in the extension's table follows ([`trail`]), by a
//! background worker ([`writer`]).

mod assurance;
mod entry;
mod settle;
mod trail;
mod writer;

pub use assurance::{Assurance, Untold, assure};
pub use entry::Came;
pub use settle::settle;
pub use trail::{Record, Trail};
pub use writer::write as write_rows;

use crate::decide::Act;
use crate::pg::message;
use crate::policy::quoted;
use crate::report::in_quotes;
use crate::stored::Stored;
use crate::survey::Sighting;

/// A line in the server's log, before the signal is sent, so that not even a crash loses the fact.
/// It has the full truth: the log is the administrator's.
/// `label` and the stored policy are the call's.
pub fn before_signal(
    victim: &Sighting,
    act: Act,
    target: &str,
    label: Option<&str>,
    stored: Option<&Stored>,
) {
    let session = &victim.session;
    let sends = match act {
        Act::Cancel => "cancels",
        Act::Terminate => "terminates",
        Act::Yield => "has the server cancel",
    };
    let name = |value: &Option<String>| value.as_deref().map_or("none".into(), in_quotes);
    let pid = session.identity.pid().unwrap_or_default();
    write(
        format!("lockguard {sends} pid {pid} for {target}"),
        format!(
            "{}{}Class {}, role {}, application_name {}, holding {}. Query: {}",
            label.map_or(String::new(), |label| format!("Label {}. ", quoted(label))),
            stored.map_or(String::new(), |stored| format!(
                "Stored policy {}. ",
                quoted(&stored.name.for_people())
            )),
            victim.judgement.class,
            name(&session.usename),
            name(&session.application_name),
            victim.mode,
            session.query.as_deref().unwrap_or("none"),
        ),
    );
}

/// Takes back the line before: the signal was not sent.
pub fn not_signalled(pid: i32, why: &str) {
    write(
        format!("lockguard did not signal pid {pid}"),
        format!("{why}."),
    );
}

/// To the log and nowhere else: with `client_min_messages` a caller could read an ordinary LOG
/// message, and learn what `pg_stat_activity` hides from him.
fn write(message: String, detail: String) {
    message::log(&message, Some(&detail));
}
