//! Handing text over to a background worker, whose transaction is its own: it stays whatever becomes of
//! the caller's.
//!
//! The text, and one word for each part of it that the caller adds later, lie in a segment of dynamic
//! shared memory. The worker goes to work once the caller has said that nothing more will come, or is
//! gone: an ERROR, a FATAL and the end of the session all detach the segment, and that says so. Who
//! detaches first waits until the other has attached, or else the segment would be gone with all that is
//! in it.
//!
//! A worker that cannot connect, because there is no room for its locks at this moment, is started again by
//! the server, a few times; the segment waits for it.

use super::subtransaction::tried;
use super::{catalog, wait};
use pgrx::bgworkers::{BackgroundWorker, SignalWakeFlags};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::CStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What lies at the beginning of the segment. The words follow, then the text.
#[repr(C)]
struct Header {
    /// Tells a segment of this very layout: a session may have loaded an older library than the worker.
    layout: u64,
    database: u32,
    words: u32,
    text: u64,
    /// How often a worker has been started that has the segment.
    attempts: AtomicU32,
    /// The segment stays though nobody be attached.
    is_pinned: AtomicU32,
    /// The caller says nothing more.
    is_over: AtomicU32,
    state: AtomicU32,
    caller: AtomicPtr<pg_sys::Latch>,
    worker: AtomicPtr<pg_sys::Latch>,
}

/// What the caller says of one part.
#[repr(C)]
struct Slot {
    what: AtomicU32,
    /// Microseconds, or [`NO_TIME`].
    time: AtomicU64,
}

const NO_TIME: u64 = u64::MAX;

/// To be changed with [`Header`] and [`Slot`].
const LAYOUT: u64 = 0x6c67_7472_0000_0002;

/// The states of the work.
const GOING_ON: u32 = 0;
const DONE: u32 = 1;
const FAILED: u32 = 2;

/// How long whoever fails or ends waits for the worker to attach: a worker is there in milliseconds.
const TO_ATTACH: Duration = Duration::from_secs(2);

/// How often a worker is started, and after how long again, in seconds.
const ATTEMPTS: u32 = 3;
const PAUSE: i32 = 1;

/// How long either sleeps at most before it looks again.
const NAP: Duration = Duration::from_millis(100);

/// A segment as one of the two sees it.
#[derive(Clone, Copy)]
struct View(*mut Header);

impl View {
    fn header(&self) -> &Header {
        // SAFETY: the segment is mapped as long as there is a view of it; what changes in it is atomic.
        unsafe { &*self.0 }
    }

    fn slot(&self, index: u32) -> Option<&Slot> {
        (index < self.header().words).then(|| {
            // SAFETY: within the segment: as many slots follow the header.
            unsafe { &*self.0.add(1).cast::<Slot>().add(index as usize) }
        })
    }

    fn text(&self) -> String {
        let header = self.header();
        // SAFETY: within the segment: the text follows the slots, and was written before the worker was
        // asked for.
        let bytes = unsafe {
            let start = self.0.add(1).cast::<Slot>().add(header.words as usize);
            std::slice::from_raw_parts(start.cast::<u8>(), header.text as usize)
        };
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// Wakes whoever's latch it is. One that belongs to another process by now is woken in vain.
    fn wake(latch: &AtomicPtr<pg_sys::Latch>) {
        let latch = latch.load(Ordering::Acquire);
        if !latch.is_null() {
            // SAFETY: latches of processes lie in the server's shared memory, at one address in all.
            unsafe { pg_sys::SetLatch(latch) };
        }
    }

    fn is_attached(&self) -> bool {
        self.attempts() != 0
    }

    fn attempts(&self) -> u32 {
        self.header().attempts.load(Ordering::Acquire)
    }

    /// Whether a worker that has stopped is started again.
    fn is_tried_again(&self) -> bool {
        self.is_attached() && self.attempts() <= ATTEMPTS
    }

    fn say_over(&self) {
        self.header().is_over.store(1, Ordering::Release);
        View::wake(&self.header().worker);
    }
}

/// The caller's end.
pub struct Handover {
    segment: *mut pg_sys::dsm_segment,
    view: View,
    worker: *mut pg_sys::BackgroundWorkerHandle,
}

/// What became of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Done,
    /// The worker says why in the server's log.
    Failed,
    /// It is not done yet.
    Late,
}

impl Handover {
    /// Asks for a worker of that name, with the text and room for so many words. Does not wait for it.
    ///
    /// # Errors
    /// Why there can be none, for the end of a message.
    pub fn begin(name: &CStr, text: &str, words: u32) -> Result<Handover, String> {
        if catalog::is_in_recovery() {
            return Err("the server is in recovery, where nothing can be written".into());
        }
        let size = size_of::<Header>() + size_of::<Slot>() * words as usize + text.len();
        // Shared memory that is used up is an ERROR.
        let segment = tried(|| {
            // SAFETY: null where there are too many segments. Pinned, it outlives the subtransaction, and
            // is detached by hand or at the end of the session.
            unsafe {
                let flags = pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS as i32;
                let segment = pg_sys::dsm_create(size, flags);
                if !segment.is_null() {
                    pg_sys::dsm_pin_mapping(segment);
                }
                segment
            }
        })?;
        if segment.is_null() {
            return Err("too many segments of dynamic shared memory are in use".into());
        }
        // SAFETY: the segment is large enough for all of it, aligned to a page, and nobody else's yet. The
        // worker's structure is plain data.
        unsafe {
            let view = View(pg_sys::dsm_segment_address(segment).cast());
            view.0.write(Header {
                layout: LAYOUT,
                database: catalog::database(),
                words,
                text: text.len() as u64,
                attempts: AtomicU32::new(0),
                is_pinned: AtomicU32::new(0),
                is_over: AtomicU32::new(0),
                state: AtomicU32::new(GOING_ON),
                caller: AtomicPtr::new(pg_sys::MyLatch),
                worker: AtomicPtr::new(std::ptr::null_mut()),
            });
            let slots = view.0.add(1).cast::<Slot>();
            for index in 0..words as usize {
                slots.add(index).write(Slot {
                    what: AtomicU32::new(0),
                    time: AtomicU64::new(NO_TIME),
                });
            }
            let room = slots.add(words as usize).cast::<u8>();
            std::ptr::copy_nonoverlapping(text.as_ptr(), room, text.len());
            let Some(worker) = start(name, pg_sys::dsm_segment_handle(segment)) else {
                pg_sys::dsm_detach(segment);
                return Err("no background worker slot is free".into());
            };
            pg_sys::on_dsm_detach(segment, Some(detaching), pg_sys::Datum::from(worker));
            Ok(Handover {
                segment,
                view,
                worker,
            })
        }
    }

    /// Adds a word, and how long it took.
    pub fn tell(&self, index: u32, what: u32, time: Option<Duration>) {
        if let Some(slot) = self.view.slot(index) {
            let time = time.and_then(|time| u64::try_from(time.as_micros()).ok());
            slot.time.store(time.unwrap_or(NO_TIME), Ordering::Relaxed);
            slot.what.store(what, Ordering::Release);
        }
    }

    /// Says that nothing more will come, so that the worker can go on at once.
    pub fn is_complete(&self) {
        self.view.say_over();
    }

    /// Waits for the work to be done, for `limit` at most.
    ///
    /// # Errors
    /// Whatever interrupts a wait. The work is done all the same.
    pub fn end(self, limit: Duration) -> Ending {
        self.view.say_over();
        let start = Instant::now();
        loop {
            match self.view.header().state.load(Ordering::Acquire) {
                DONE => return Ending::Done,
                FAILED => return Ending::Failed,
                _ => (),
            }
            if has_stopped(self.worker) {
                // It may have done its work in between.
                match self.view.header().state.load(Ordering::Acquire) {
                    DONE => return Ending::Done,
                    GOING_ON if self.view.is_tried_again() => (),
                    _ => return Ending::Failed,
                }
            }
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ending::Late;
            }
            wait::sleep(left.min(NAP));
        }
    }
}

impl Drop for Handover {
    /// Also on an ERROR: see [`detaching`].
    fn drop(&mut self) {
        // SAFETY: attached since it was made, and the handle is its own allocation.
        unsafe {
            pg_sys::dsm_detach(self.segment);
            pg_sys::pfree(self.worker.cast());
        }
    }
}

/// # Safety
/// As for any function of the server: in a backend, on its one thread.
unsafe fn start(
    name: &CStr,
    segment: pg_sys::dsm_handle,
) -> Option<*mut pg_sys::BackgroundWorkerHandle> {
    // SAFETY: a plain structure; each text is copied with its closing zero as far as there is room. The
    // handle outlives the memory that is current.
    unsafe {
        let mut worker = pg_sys::BackgroundWorker::default();
        let copy = |to: &mut [std::ffi::c_char], from: &CStr| {
            let room = to.len() - 1;
            for (to, from) in to[..room].iter_mut().zip(from.to_bytes()) {
                *to = *from as std::ffi::c_char;
            }
        };
        copy(&mut worker.bgw_name, name);
        copy(&mut worker.bgw_type, name);
        copy(&mut worker.bgw_library_name, c"lockguard");
        copy(&mut worker.bgw_function_name, c"lockguard_worker_main");
        worker.bgw_flags =
            (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as i32;
        worker.bgw_start_time = pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished;
        worker.bgw_restart_time = PAUSE;
        worker.bgw_main_arg = pg_sys::Datum::from(segment);
        worker.bgw_notify_pid = pg_sys::MyProcPid;
        let mut handle = std::ptr::null_mut();
        let context = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let has_slot = pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle);
        pg_sys::MemoryContextSwitchTo(context);
        has_slot.then_some(handle)
    }
}

fn has_stopped(worker: *mut pg_sys::BackgroundWorkerHandle) -> bool {
    let mut pid = 0;
    // SAFETY: a handle that was given out, and is freed only with its owner.
    let status = unsafe { pg_sys::GetBackgroundWorkerPid(worker, &mut pid) };
    matches!(
        status,
        pg_sys::BgwHandleStatus::BGWH_STOPPED | pg_sys::BgwHandleStatus::BGWH_POSTMASTER_DIED
    )
}

/// Called by the server before the caller's end is detached, on whichever way out. Raises nothing and
/// answers no interrupt, for it may run while the session ends.
unsafe extern "C-unwind" fn detaching(segment: *mut pg_sys::dsm_segment, worker: pg_sys::Datum) {
    // SAFETY: still mapped, and the handle is freed only afterwards.
    let view = View(unsafe { pg_sys::dsm_segment_address(segment) }.cast());
    let worker = worker.cast_mut_ptr::<pg_sys::BackgroundWorkerHandle>();
    view.say_over();
    let start = Instant::now();
    while !view.is_attached() && !has_stopped(worker) && start.elapsed() < TO_ATTACH {
        std::thread::sleep(Duration::from_millis(1));
    }
    if !view.is_attached() {
        // SAFETY: as above. It finds no segment any more, and is not to come later.
        unsafe { pg_sys::TerminateBackgroundWorker(worker) };
    }
}

/// What workers of this library do.
static WORK: OnceLock<fn(Received)> = OnceLock::new();

/// Says what workers do. Called when the library is loaded.
pub fn define(work: fn(Received)) {
    WORK.get_or_init(|| work);
}

/// Where a worker begins: the server looks this name up in the library.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn lockguard_worker_main(argument: pg_sys::Datum) {
    if let (Some(received), Some(work)) = (Received::from_argument(argument), WORK.get()) {
        work(received);
    }
}

/// The worker's end.
pub struct Received {
    view: View,
    segment: pg_sys::dsm_handle,
}

impl Drop for Received {
    fn drop(&mut self) {
        if self.view.header().is_pinned.swap(0, Ordering::AcqRel) != 0 {
            // SAFETY: it is pinned, and nobody else unpins it; this process has it still.
            unsafe { pg_sys::dsm_unpin_segment(self.segment) };
        }
    }
}

impl Received {
    /// Attaches to the segment that a worker's argument names, and connects to the caller's database as
    /// the bootstrap superuser. None where the caller has gone.
    fn from_argument(argument: pg_sys::Datum) -> Option<Received> {
        BackgroundWorker::attach_signal_handlers(
            SignalWakeFlags::SIGTERM | SignalWakeFlags::SIGHUP,
        );
        let handle = argument.value() as pg_sys::dsm_handle;
        // SAFETY: null where there is no such segment any more. There is no resource owner yet, so that it
        // stays until the process ends. The latch is this process's own.
        let received = unsafe {
            let segment = pg_sys::dsm_attach(handle);
            if segment.is_null() {
                return None;
            }
            pg_sys::dsm_pin_mapping(segment);
            let view = View(pg_sys::dsm_segment_address(segment).cast());
            let header = view.header();
            if header.layout != LAYOUT {
                return None;
            }
            if header.state.load(Ordering::Acquire) != GOING_ON {
                // An earlier one has done the work, and failed in what comes after.
                drop(Received {
                    view,
                    segment: handle,
                });
                return None;
            }
            header.worker.store(pg_sys::MyLatch, Ordering::Release);
            let attempt = view.attempts() + 1;
            if header.is_pinned.swap(1, Ordering::AcqRel) == 0 {
                // Should the connection fail, it is there for the next that is started.
                pg_sys::dsm_pin_segment(segment);
            }
            header.attempts.store(attempt, Ordering::Release);
            View::wake(&header.caller);
            if attempt > ATTEMPTS {
                let received = Received {
                    view,
                    segment: handle,
                };
                received.finish(false);
                return None;
            }
            pg_sys::BackgroundWorkerInitializeConnectionByOid(
                pg_sys::Oid::from_u32(header.database),
                pg_sys::InvalidOid,
                pg_sys::BGWORKER_BYPASS_ALLOWCONN,
            );
            Received {
                view,
                segment: handle,
            }
        };
        Some(received)
    }

    pub fn text(&self) -> String {
        self.view.text()
    }

    /// Waits until the caller says nothing more, or is gone, or this worker is told to end, or for `limit`
    /// at most. Whether the caller is done.
    pub fn wait_until_over(&self, limit: Duration) -> bool {
        let start = Instant::now();
        let is_over = || self.view.header().is_over.load(Ordering::Acquire) != 0;
        while !is_over() && !BackgroundWorker::sigterm_received() && start.elapsed() < limit {
            // It answers those who wait for all processes, as DROP DATABASE does.
            wait::sleep(NAP);
        }
        is_over()
    }

    /// What the caller has said of one part.
    pub fn word(&self, index: u32) -> (u32, Option<Duration>) {
        match self.view.slot(index) {
            None => (0, None),
            Some(slot) => {
                let what = slot.what.load(Ordering::Acquire);
                let time = slot.time.load(Ordering::Relaxed);
                (what, (time != NO_TIME).then(|| Duration::from_micros(time)))
            }
        }
    }

    /// Tells the caller how it went.
    pub fn finish(&self, is_done: bool) {
        let state = if is_done { DONE } else { FAILED };
        self.view.header().state.store(state, Ordering::Release);
        View::wake(&self.view.header().caller);
    }
}
