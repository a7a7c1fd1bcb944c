//! The worker's end: one process a database, for all calls there.

use super::queue::{self, Arrival};
use super::segment::{Segment, State, View, Word, unpin};
use super::{WORK, starter};
use crate::pg::wait;
use pgrx::bgworkers::{BackgroundWorker, SignalWakeFlags};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::collections::HashSet;
use std::time::Duration;

/// Where a worker begins: the server looks this name up in the library.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn lockguard_worker_main(generation: pg_sys::Datum) {
    if let (Some(worker), Some(work)) = (Worker::begin(generation.value() as u64), WORK.get()) {
        work(worker);
    }
}

/// This process, as the worker of a database.
pub struct Worker {
    database: u32,
    generation: u64,
    /// What it has attached to.
    known: HashSet<pg_sys::dsm_handle>,
}

impl Worker {
    /// Connects to its database as the bootstrap superuser. None where it is not needed any more.
    fn begin(generation: u64) -> Option<Worker> {
        BackgroundWorker::attach_signal_handlers(
            SignalWakeFlags::SIGTERM | SignalWakeFlags::SIGHUP,
        );
        let database = starter::database_of_this_worker();
        match queue::arrive(database, generation) {
            Arrival::Work => (),
            Arrival::Superseded => return None,
            Arrival::GiveUp(segments) => {
                for handle in segments {
                    if let Some(segment) = Segment::attach(handle) {
                        segment.view.is_now(State::Failed);
                        segment.detach();
                    }
                    unpin(handle);
                }
                return None;
            }
        }
        // SAFETY: in a worker that is connected to no database yet.
        unsafe {
            pg_sys::before_shmem_exit(Some(departing), pg_sys::Datum::from(generation));
            pg_sys::BackgroundWorkerInitializeConnectionByOid(
                pg_sys::Oid::from_u32(database),
                pg_sys::InvalidOid,
                pg_sys::BGWORKER_BYPASS_ALLOWCONN,
            );
        }
        Some(Worker {
            database,
            generation,
            known: HashSet::new(),
        })
    }

    /// What has come since this was asked last.
    pub fn received(&mut self) -> Vec<Received> {
        let owed = queue::owed_in(self.database);
        self.known.retain(|handle| owed.contains(handle));
        let mut received = vec![];
        for handle in owed {
            if !self.known.insert(handle) {
                continue;
            }
            let segment = Segment::attach(handle);
            match segment {
                Some(segment) if segment.view.state() == State::GoingOn => {
                    segment.view.attend();
                    received.push(Received {
                        segment,
                        database: self.database,
                    });
                }
                // An earlier worker has done it, and failed right afterwards.
                Some(segment) => {
                    segment.detach();
                    queue::settle(self.database, handle);
                }
                // Its caller has given it up, or it is another version's.
                None => queue::settle(self.database, handle),
            }
        }
        received
    }

    /// Takes in that some of it is done, so that what fails afterwards is begun anew as often as at first.
    pub fn does_its_work(&self) {
        queue::does_its_work(self.database, self.generation);
    }

    /// Whether nothing is left to do, so that the process may end. It must then.
    pub fn may_end(&self) -> bool {
        queue::leave(self.database, self.generation)
    }

    /// Whether somebody has told this process to end.
    pub fn is_told_to_end(&self) -> bool {
        BackgroundWorker::sigterm_received()
    }

    /// Sleeps until something has come, and for that long at most. It answers those who wait for all processes,
    /// as DROP DATABASE does.
    pub fn sleep(&self, length: Duration) {
        wait::sleep(length);
    }
}

/// Called by the server when this process ends, on whichever way.
#[pg_guard]
unsafe extern "C-unwind" fn departing(code: i32, generation: pg_sys::Datum) {
    if !queue::is_in_use() {
        let database = starter::database_of_this_worker();
        queue::depart(database, generation.value() as u64, code == 0);
    }
}

/// What one call has handed over.
pub struct Received {
    segment: Segment,
    database: u32,
}

impl Received {
    fn view(&self) -> View {
        self.segment.view
    }

    pub fn text(&self) -> String {
        self.view().written_text()
    }

    /// Whether the caller says nothing more, or is gone.
    pub fn is_over(&self) -> bool {
        self.view().has_said_over()
    }

    /// What the caller has said of one part.
    pub fn word(&self, index: u32) -> (u32, Option<Duration>) {
        self.view().told(index)
    }

    /// Whether the caller waits for a word whether this can be done.
    pub fn asks(&self) -> bool {
        let is_open = matches!(self.view().word(), Word::None | Word::Locked);
        is_open && self.view().header().asks != 0
    }

    /// Answers that.
    pub fn answer(&self, word: Word) {
        self.view().give_word(word);
    }

    /// Tells the caller how it went, and lets go of it.
    pub fn finish(self, is_done: bool) {
        self.view().is_now(match is_done {
            true => State::Done,
            false => State::Failed,
        });
        queue::settle(self.database, self.segment.handle);
        self.segment.detach();
    }
}
