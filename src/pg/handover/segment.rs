//! The segment of dynamic shared memory in which a call hands its text to the worker: what lies where in it,
//! and how long it stays.
//!
//! A segment is pinned from when it is made until it is settled in the [`queue`](super::queue), so that it is
//! there whether anybody is attached or not, and nobody has to wait for anybody to attach.

use super::super::subtransaction::tried;
use pgrx::pg_sys;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// What lies at the beginning of the segment. The slots follow, then the text.
#[repr(C)]
pub(super) struct Header {
    /// Tells a segment of this very layout: a session may have loaded an older library than the worker.
    layout: u64,
    words: u32,
    /// The caller waits for the worker's word that it can do the work.
    pub(super) asks: u32,
    text: u64,
    /// The caller says nothing more.
    is_over: AtomicU32,
    state: AtomicU32,
    /// The worker's word on whether it can do the work, one of [`Word`].
    word: AtomicU32,
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
const LAYOUT: u64 = 0x6c67_7472_0000_0003;

/// How far the work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum State {
    GoingOn = 0,
    Done = 1,
    Failed = 2,
}

/// What the worker says of work that it is asked about before it is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Word {
    /// Nothing yet.
    None = 0,
    /// It has just tried, and it can.
    Can = 1,
    /// Somebody has locked what it needs.
    Locked = 2,
    /// What it needs is not there.
    Missing = 3,
    /// It could not; the server's log tells why.
    Cannot = 4,
}

impl Word {
    fn from_number(number: u32) -> Word {
        [Word::Can, Word::Locked, Word::Missing, Word::Cannot]
            .into_iter()
            .find(|word| *word as u32 == number)
            .unwrap_or(Word::None)
    }
}

/// A segment as one of the two sees it.
#[derive(Clone, Copy)]
pub(super) struct View(*mut Header);

impl View {
    /// # Safety
    /// The segment is one of ours, mapped for as long as the view is used.
    pub(super) unsafe fn of(segment: *mut pg_sys::dsm_segment) -> View {
        // SAFETY: as promised.
        View(unsafe { pg_sys::dsm_segment_address(segment) }.cast())
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: the segment is mapped as long as there is a view of it; what changes in it is atomic.
        unsafe { &*self.0 }
    }

    fn slot(&self, index: u32) -> Option<&Slot> {
        (index < self.header().words).then(|| {
            // SAFETY: within the segment: as many slots follow the header.
            unsafe { &*self.0.add(1).cast::<Slot>().add(index as usize) }
        })
    }

    pub(super) fn written_text(&self) -> String {
        let header = self.header();
        // SAFETY: within the segment: the text follows the slots, and was written before the segment was
        // put into the queue.
        let bytes = unsafe {
            let start = self.0.add(1).cast::<Slot>().add(header.words as usize);
            std::slice::from_raw_parts(start.cast::<u8>(), header.text as usize)
        };
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// Wakes the process whose latch it is. One that belongs to another process by now is woken in vain.
    fn wake(latch: &AtomicPtr<pg_sys::Latch>) {
        let latch = latch.load(Ordering::Acquire);
        if !latch.is_null() {
            // SAFETY: latches of processes lie in the server's shared memory, at one address in all.
            unsafe { pg_sys::SetLatch(latch) };
        }
    }

    pub(super) fn say_over(&self) {
        self.header().is_over.store(1, Ordering::Release);
        View::wake(&self.header().worker);
    }

    pub(super) fn has_said_over(&self) -> bool {
        self.header().is_over.load(Ordering::Acquire) != 0
    }

    /// Says what the caller knows of one part.
    pub(super) fn set_slot(&self, index: u32, what: u32, time: Option<Duration>) {
        if let Some(slot) = self.slot(index) {
            let time = time.and_then(|time| u64::try_from(time.as_micros()).ok());
            slot.time.store(time.unwrap_or(NO_TIME), Ordering::Relaxed);
            slot.what.store(what, Ordering::Release);
        }
    }

    /// What the caller has said of one part.
    pub(super) fn told(&self, index: u32) -> (u32, Option<Duration>) {
        match self.slot(index) {
            None => (0, None),
            Some(slot) => {
                let what = slot.what.load(Ordering::Acquire);
                let time = slot.time.load(Ordering::Relaxed);
                (what, (time != NO_TIME).then(|| Duration::from_micros(time)))
            }
        }
    }

    /// Says that this process is the worker.
    pub(super) fn attend(&self) {
        // SAFETY: this process's own latch.
        let latch = unsafe { pg_sys::MyLatch };
        self.header().worker.store(latch, Ordering::Release);
    }

    /// Whether a worker has attached.
    pub(super) fn is_attended(&self) -> bool {
        !self.header().worker.load(Ordering::Acquire).is_null()
    }

    pub(super) fn state(&self) -> State {
        match self.header().state.load(Ordering::Acquire) {
            0 => State::GoingOn,
            1 => State::Done,
            _ => State::Failed,
        }
    }

    /// Tells the caller how far the work is.
    pub(super) fn is_now(&self, state: State) {
        self.header().state.store(state as u32, Ordering::Release);
        View::wake(&self.header().caller);
    }

    pub(super) fn word(&self) -> Word {
        Word::from_number(self.header().word.load(Ordering::Acquire))
    }

    pub(super) fn give_word(&self, word: Word) {
        self.header().word.store(word as u32, Ordering::Release);
        View::wake(&self.header().caller);
    }
}

/// A segment that this process is attached to, until [`Segment::detach`] or the end of the session.
#[derive(Clone, Copy)]
pub(super) struct Segment {
    mapping: *mut pg_sys::dsm_segment,
    pub(super) handle: pg_sys::dsm_handle,
    pub(super) view: View,
}

impl Segment {
    /// Makes one with the text and room for so many words, pinned: it stays until [`unpin`].
    ///
    /// # Errors
    /// Why there can be none, for the end of a message.
    pub(super) fn create(text: &str, words: u32, asks: bool) -> Result<Segment, String> {
        let size = size_of::<Header>() + size_of::<Slot>() * words as usize + text.len();
        // Shared memory that is used up is an ERROR.
        let mapping = tried(|| {
            // SAFETY: null where there are too many segments. The mapping outlives the subtransaction, and
            // is detached by hand or at the end of the session.
            unsafe {
                let flags = pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS as i32;
                let mapping = pg_sys::dsm_create(size, flags);
                if !mapping.is_null() {
                    pg_sys::dsm_pin_mapping(mapping);
                    pg_sys::dsm_pin_segment(mapping);
                }
                mapping
            }
        })?;
        if mapping.is_null() {
            return Err("too many segments of dynamic shared memory are in use".into());
        }
        // SAFETY: the segment is large enough for all of it, aligned to a page, and nobody else's yet.
        unsafe {
            let view = View::of(mapping);
            view.0.write(Header {
                layout: LAYOUT,
                words,
                asks: asks.into(),
                text: text.len() as u64,
                is_over: AtomicU32::new(0),
                state: AtomicU32::new(State::GoingOn as u32),
                word: AtomicU32::new(Word::None as u32),
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
            Ok(Segment {
                mapping,
                handle: pg_sys::dsm_segment_handle(mapping),
                view,
            })
        }
    }

    /// Attaches to one. None where there is no such segment any more, or it is of another layout.
    pub(super) fn attach(handle: pg_sys::dsm_handle) -> Option<Segment> {
        // SAFETY: null where there is no such segment. The mapping is pinned, so that it belongs to no
        // transaction; only its first word is read before it is known to be one of ours.
        unsafe {
            let mapping = pg_sys::dsm_attach(handle);
            if mapping.is_null() {
                return None;
            }
            pg_sys::dsm_pin_mapping(mapping);
            let view = View::of(mapping);
            let segment = Segment {
                mapping,
                handle,
                view,
            };
            if view.header().layout != LAYOUT {
                segment.detach();
                return None;
            }
            Some(segment)
        }
    }

    /// Has that called, with the segment's handle, before this process is detached, on whichever way out.
    pub(super) fn on_detach(&self, callback: pg_sys::on_dsm_detach_callback) {
        let handle = pg_sys::Datum::from(self.handle);
        // SAFETY: attached, and the callback is a function of this library.
        unsafe { pg_sys::on_dsm_detach(self.mapping, callback, handle) };
    }

    /// No view of it may be used afterwards.
    pub(super) fn detach(self) {
        // SAFETY: attached since this value was made.
        unsafe { pg_sys::dsm_detach(self.mapping) };
    }
}

/// Lets a pinned segment go once nobody is attached. To be called once, by the process that has removed it from
/// the queue.
pub(super) fn unpin(handle: pg_sys::dsm_handle) {
    // SAFETY: pinned when it was made, and nobody else unpins it.
    unsafe { pg_sys::dsm_unpin_segment(handle) };
}
