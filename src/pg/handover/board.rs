//! What all sessions know of the work that is owed: the segments of each database, and the worker that is to see
//! to them. Plain bookkeeping; [`queue`](super::queue) keeps it in shared memory under a lock.

use super::super::compat::WorkerHandle;
use pgrx::pg_sys;

/// How many segments may be owed at a time, in all databases.
const MOST_OWED: usize = 1_024;
/// How many databases may have any.
const MOST_DATABASES: usize = 64;

#[derive(Clone, Copy)]
#[repr(C)]
struct Owed {
    /// 0 where there is none.
    database: u32,
    segment: pg_sys::dsm_handle,
}

/// The worker of one database. There is one as long as anything is owed there.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Worker {
    /// 0 where there is none.
    database: u32,
    /// The postmaster knows of it: `handle` is valid.
    pub(super) is_registered: bool,
    /// How often a process has come since it was registered, or since it has done something last.
    pub(super) attempts: u32,
    /// Tells this registration from earlier ones.
    pub(super) generation: u64,
    pub(super) handle: WorkerHandle,
    /// Of the process that is at work; null where there is none.
    pub(super) latch: *mut pg_sys::Latch,
    /// When it was registered, or a process has come or gone last.
    pub(super) since: pg_sys::TimestampTz,
}

#[repr(C)]
pub(super) struct Board {
    generation: u64,
    workers: [Worker; MOST_DATABASES],
    owed: [Owed; MOST_OWED],
}

impl Board {
    /// Writes an empty one. `generation`: a number that no board of this server has begun with before.
    ///
    /// # Safety
    /// `place` has room for it, and is nobody else's yet.
    pub(super) unsafe fn write(place: *mut Board, generation: u64) {
        // SAFETY: zeros are an empty board: numbers, a boolean and a null pointer.
        unsafe {
            place.write_bytes(0, 1);
            (*place).generation = generation;
        }
    }

    pub(super) fn worker(&mut self, database: u32) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|w| w.database == database)
    }

    /// The worker of that registration.
    pub(super) fn worker_of(&mut self, database: u32, generation: u64) -> Option<&mut Worker> {
        self.worker(database)
            .filter(|w| w.is_registered && w.generation == generation)
    }

    /// A number for a registration to come.
    pub(super) fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// Adds a segment.
    ///
    /// # Errors
    /// Why there is no room, for the end of a message.
    pub(super) fn owe(
        &mut self,
        database: u32,
        segment: pg_sys::dsm_handle,
    ) -> Result<(), &'static str> {
        let Some(place) = self.owed.iter().position(|o| o.database == 0) else {
            return Err("too many rows are waiting to be written");
        };
        if self.worker(database).is_none() {
            let Some(free) = self.worker(0) else {
                return Err("rows are waiting to be written in too many databases");
            };
            *free = Worker {
                database,
                is_registered: false,
                attempts: 0,
                generation: 0,
                handle: WorkerHandle::default(),
                latch: std::ptr::null_mut(),
                since: 0,
            };
        }
        self.owed[place] = Owed { database, segment };
        Ok(())
    }

    pub(super) fn is_owed(&self, database: u32, segment: pg_sys::dsm_handle) -> bool {
        self.owed
            .iter()
            .any(|o| o.database == database && o.segment == segment)
    }

    pub(super) fn owed_in(&self, database: u32) -> Vec<pg_sys::dsm_handle> {
        let owed = self.owed.iter().filter(|o| o.database == database);
        owed.map(|o| o.segment).collect()
    }

    /// Removes a segment, and tells whether it was there: it is then the caller's to unpin.
    pub(super) fn settle(&mut self, database: u32, segment: pg_sys::dsm_handle) -> bool {
        let mut owed = self.owed.iter_mut();
        let found = owed.find(|o| o.database == database && o.segment == segment);
        let is_found = found.map(|owed| owed.database = 0).is_some();
        let is_wanted = self.owed.iter().any(|o| o.database == database);
        if let Some(worker) = self.worker(database)
            && !worker.is_registered
            && !is_wanted
        {
            worker.database = 0;
        }
        is_found
    }

    /// Removes all segments of a database with its worker: they are the caller's to unpin.
    pub(super) fn give_up(&mut self, database: u32) -> Vec<pg_sys::dsm_handle> {
        let owed = self.owed_in(database);
        for place in self.owed.iter_mut().filter(|o| o.database == database) {
            place.database = 0;
        }
        if let Some(worker) = self.worker(database) {
            worker.database = 0;
        }
        owed
    }

    /// Removes a worker for which nothing is left to do, and tells whether it may end: one that has been replaced
    /// may as well.
    pub(super) fn leave(&mut self, database: u32, generation: u64) -> bool {
        let is_wanted = self.owed.iter().any(|o| o.database == database);
        match self.worker_of(database, generation) {
            None => true,
            Some(_) if is_wanted => false,
            Some(worker) => {
                worker.database = 0;
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Box<Board> {
        let mut board = Box::<Board>::new_uninit();
        // SAFETY: its own memory.
        unsafe {
            Board::write(board.as_mut_ptr(), 7);
            board.assume_init()
        }
    }

    #[test]
    fn a_worker_ends_only_when_nothing_is_owed() {
        let mut board = board();
        board.owe(1, 11).unwrap();
        board.owe(2, 12).unwrap();
        let generation = board.next_generation();
        let worker = board.worker(1).unwrap();
        (worker.is_registered, worker.generation) = (true, generation);
        assert!(!board.leave(1, generation));
        assert!(board.settle(1, 11));
        assert!(!board.settle(1, 11), "one process unpins it");
        board.owe(1, 13).unwrap();
        assert!(!board.leave(1, generation), "it has come in between");
        assert!(board.settle(1, 13));
        assert!(board.leave(1, generation));
        assert!(board.worker(1).is_none());
        assert!(board.leave(1, generation), "it has left already");
        assert!(board.worker(2).is_some());
    }

    #[test]
    fn what_is_settled_by_its_caller_leaves_no_worker_that_nobody_knows() {
        let mut board = board();
        board.owe(1, 11).unwrap();
        board.owe(1, 12).unwrap();
        assert!(board.settle(1, 11));
        assert!(board.worker(1).is_some());
        assert!(board.settle(1, 12));
        assert!(board.worker(1).is_none());
    }

    #[test]
    fn giving_up_removes_all_of_one_database() {
        let mut board = board();
        for segment in 10..20 {
            board.owe(1 + segment % 2, segment).unwrap();
        }
        assert_eq!(board.give_up(1), [10, 12, 14, 16, 18]);
        assert!(board.worker(1).is_none());
        assert_eq!(board.owed_in(2).len(), 5);
    }

    #[test]
    fn there_is_an_end_of_the_room() {
        let mut board = board();
        for database in 1..=MOST_DATABASES as u32 {
            board.owe(database, database).unwrap();
        }
        assert!(board.owe(1_000, 1).is_err());
        for segment in MOST_DATABASES as u32..MOST_OWED as u32 {
            board.owe(1, segment).unwrap();
        }
        assert!(board.owe(1, 1).is_err());
        board.give_up(2);
        board.owe(1_000, 1).unwrap();
    }
}
