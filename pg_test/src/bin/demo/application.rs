//! The application as the database sees it: a reader and a writer that ask, get their answer, and ask again.
//!
//! Both use the history while there is one, and do without it once it is gone: the release that is being
//! replaced was written with that in mind. Each statement is its own transaction, as Django's are, and
//! takes its locks in the order in which `DROP TABLE` does (the history first), so it deadlocks with none.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pg_test::wait::becomes_true;
use pg_test::{Database, Failure, Session, SessionOptions};
use postgres::error::SqlState;
use postgres::{CancelToken, NoTls};

use crate::incident::ACCOUNTS;

/// Between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(10);

/// A page with the latest changes to an account; and without.
const PAGE: [&str; 2] = [
    "SELECT h.date_created, h.field_name, u.username FROM field_history_fieldhistory h \
     JOIN auth_user u ON u.id = h.user_id WHERE h.user_id = :id ORDER BY h.id DESC LIMIT 5",
    "SELECT username FROM auth_user WHERE id = :id",
];

/// A login, and the line that it leaves in the history.
const LOGIN: [&str; 2] = [
    "INSERT INTO field_history_fieldhistory (object_id, field_name, serialized_data, date_created, content_type_id, user_id) \
     VALUES (:id, 'last_login', '[]', now(), 1, :id)",
    "UPDATE auth_user SET last_login = now() WHERE id = :id",
];

/// The reader and the writer, at work until dropped.
pub struct Application {
    pub reader: Visitor,
    pub writer: Visitor,
}

impl Application {
    /// Sets both to work.
    pub fn start(database: &Database) -> Result<Self, Failure> {
        let [page, short_page] = PAGE;
        let mut history = true;
        let reader = Visitor::start(database, "shop: reader", move |session, id| {
            if history {
                match ask(session, page, id) {
                    Err(error) if is_gone(&error) => history = false,
                    answer => return answer,
                }
            }
            ask(session, short_page, id)
        })?;
        let [entry, login] = LOGIN;
        let mut history = true;
        let writer = Visitor::start(database, "shop: writer", move |session, id| {
            ask(session, login, id)?;
            if history {
                match ask(session, entry, id) {
                    Err(error) if is_gone(&error) => history = false,
                    answer => return answer,
                }
            }
            Ok(())
        })?;
        Ok(Self { reader, writer })
    }

    /// What went wrong with either, beside the end of the history.
    pub fn failure(&self) -> Option<Failure> {
        [&self.reader, &self.writer]
            .into_iter()
            .find_map(|visitor| visitor.log().failure.clone())
            .map(|error| Failure::new(format!("the application met an error: {error}")))
    }
}

fn ask(session: &Session, sql: &str, id: u64) -> Result<(), postgres::Error> {
    session
        .try_run(&sql.replace(":id", &id.to_string()))
        .map(drop)
}

fn is_gone(error: &postgres::Error) -> bool {
    error.code() == Some(&SqlState::UNDEFINED_TABLE)
}

/// One session of the application.
pub struct Visitor {
    shared: Arc<Shared>,
    cancel: CancelToken,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    asked: Option<Instant>,
    answers: Vec<Answer>,
    failure: Option<String>,
}

struct Answer {
    asked: Instant,
    took: Duration,
}

impl Visitor {
    fn start(
        database: &Database,
        name: &str,
        mut request: impl FnMut(&Session, u64) -> Result<(), postgres::Error> + Send + 'static,
    ) -> Result<Self, Failure> {
        let session = database.connect(SessionOptions::named(name))?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let cancel = session.cancel_token();
        let thread = std::thread::spawn(move || {
            for visit in 0.. {
                if theirs.stop.load(Ordering::Relaxed) {
                    return;
                }
                let asked = Instant::now();
                theirs.log().asked = Some(asked);
                let answer = request(&session, visit * 37 % ACCOUNTS + 1);
                let took = asked.elapsed();
                let mut log = theirs.log();
                log.asked = None;
                match answer {
                    Ok(()) => log.answers.push(Answer { asked, took }),
                    Err(error) => {
                        log.failure = Some(error.to_string());
                        return;
                    }
                }
                drop(log);
                std::thread::sleep(PAUSE);
            }
        });
        Ok(Self {
            shared,
            cancel,
            thread: Some(thread),
        })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.shared.log()
    }

    /// How long the request in flight has waited for its answer.
    pub fn waiting(&self) -> Duration {
        self.log().asked.map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// How many answers it has had.
    pub fn answers(&self) -> usize {
        self.log().answers.len()
    }

    /// The median over all requests answered before then.
    pub fn usual(&self, until: Instant) -> Duration {
        let log = self.log();
        let mut times: Vec<Duration> = log
            .answers
            .iter()
            .filter(|answer| answer.asked + answer.took <= until)
            .map(|answer| answer.took)
            .collect();
        times.sort();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }

    /// The slowest request that was in flight at some time between the two.
    pub fn slowest(&self, from: Instant, to: Instant) -> Duration {
        self.log()
            .answers
            .iter()
            .filter(|answer| answer.asked <= to && answer.asked + answer.took >= from)
            .map(|answer| answer.took)
            .max()
            .unwrap_or_default()
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let Some(thread) = self.thread.take() else {
            return;
        };
        // One that hangs must not hold up the end of the play.
        if !becomes_true(Duration::from_millis(500), || thread.is_finished()) {
            let _ = self.cancel.cancel_query(NoTls);
        }
        becomes_true(Duration::from_secs(5), || thread.is_finished());
    }
}
