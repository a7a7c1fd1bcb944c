//! A `kill` and a `truncate` that can be made late, and a `fork` that can be made to fail: a library of its own, which a throw-away server loads with
//! LD_PRELOAD.
//!
//! `interposer.rs` compiles it and tells what the files in its folder do; no crate contains it. Only what a
//! backend sends to another's process group is touched: `kill(-pid, SIGINT)` and `kill(-pid, SIGTERM)`, as
//! `pg_signal_backend` (signalfuncs.c) and lockguard do, and `kill(postmaster, SIGUSR1)`, as
//! `SendPostmasterSignal` (pmsignal.c) does, all outside of any signal handler. Everything else, the
//! postmaster's own signals above all, goes to the kernel as it comes. `truncate` is what a backend calls for
//! each file of a relation that its transaction has dropped (`mdunlinkfork` in md.c), after the commit.

use std::ffi::{c_char, c_int, c_long, c_void};
use std::fs;
use std::io::Error;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Names the folder. The harness knows it by the same name.
const VARIABLE: &str = "PG_TEST_KILL";

/// A test that has died must not leave a server behind that cannot end.
const LIMIT: Duration = Duration::from_secs(60);

/// How often the file is looked for that holds a signal up.
const TICK: Duration = Duration::from_millis(1);

const SIGINT: c_int = 2;
const SIGUSR1: c_int = 10;
const SIGTERM: c_int = 15;

/// `kill` in the kernel's tables of system calls.
const SYS_KILL: c_long = if cfg!(target_arch = "x86_64") {
    62
} else if cfg!(any(
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "loongarch64"
)) {
    129
} else {
    37
};

/// And `truncate`.
const SYS_TRUNCATE: c_long = if cfg!(target_arch = "x86_64") {
    76
} else if cfg!(any(
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "loongarch64"
)) {
    45
} else {
    92
};

/// And `gettimeofday`.
const SYS_GETTIMEOFDAY: c_long = if cfg!(target_arch = "x86_64") {
    96
} else if cfg!(any(
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "loongarch64"
)) {
    169
} else {
    78
};

/// For reading, and seen by all who have it mapped: as in `sys/mman.h`.
const PROT_READ: c_int = 1;
const MAP_SHARED: c_int = 1;

/// `struct timeval`.
#[repr(C)]
pub struct Time {
    seconds: c_long,
    microseconds: c_long,
}

/// What the file `clock` contains.
type Clock = [i64; 2];

const EAGAIN: c_int = 11;

/// `RTLD_NEXT`: the C library's own, past this one.
const NEXT: *mut c_void = usize::MAX as *mut c_void;

unsafe extern "C" {
    fn mmap(
        address: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        file: c_int,
        offset: c_long,
    ) -> *mut c_void;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn syscall(number: c_long, ...) -> c_long;
    fn __errno_location() -> *mut c_int;
}

/// What is found out when the library is loaded.
struct Load {
    /// The postmaster: backends are forked from it and load nothing again.
    postmaster: u32,
    folder: PathBuf,
    /// Where the clock is mapped, or null. A signal handler asks for the time, too, and may not open a file.
    clock: AtomicPtr<Clock>,
}

static LOAD: OnceLock<Load> = OnceLock::new();

#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;

extern "C" fn at_load() {
    if let Some(folder) = std::env::var_os(VARIABLE) {
        LOAD.get_or_init(|| {
            let folder = PathBuf::from(folder);
            Load {
                postmaster: process::id(),
                clock: AtomicPtr::new(mapped(&folder.join("clock"))),
                folder,
            }
        });
    }
}

/// The file of the clock, where it stays for as long as the process lives, or null.
fn mapped(file: &Path) -> *mut Clock {
    let Ok(file) = fs::File::open(file) else {
        return null_mut();
    };
    let (length, descriptor) = (size_of::<Clock>(), file.as_raw_fd());
    // SAFETY: a mapping of its own, which outlives the descriptor.
    let found = unsafe { mmap(null_mut(), length, PROT_READ, MAP_SHARED, descriptor, 0) };
    if found.addr() == usize::MAX {
        return null_mut();
    }
    found.cast()
}

/// In the place of the C library's.
///
/// # Safety
/// As for the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut Time, zone: *mut c_void) -> c_int {
    // SAFETY: as promised; it sets errno.
    let outcome = unsafe { syscall(SYS_GETTIMEOFDAY, time, zone) as c_int };
    let clock = LOAD.get().map_or(null_mut(), |load| load.clock.load(Ordering::Relaxed));
    if outcome == 0 && !time.is_null() && !clock.is_null() {
        // SAFETY: mapped for good; whoever changes it writes both numbers at once.
        let [pid, ahead] = unsafe { clock.read_volatile() };
        if pid == i64::from(process::id()) {
            // SAFETY: as promised, and filled in above.
            unsafe { (*time).seconds += ahead as c_long };
        }
    }
    outcome
}

/// In the place of the C library's.
#[unsafe(no_mangle)]
pub extern "C" fn kill(pid: c_int, signal: c_int) -> c_int {
    let load = LOAD.get().filter(|load| load.postmaster != process::id());
    let Some(load) = load else {
        return really_kill(pid, signal);
    };
    if signal == SIGUSR1 && u32::try_from(pid) == Ok(load.postmaster) {
        load.hold("asking");
        return really_kill(pid, signal);
    }
    let is_meant = pid < -1 && (signal == SIGINT || signal == SIGTERM);
    if !is_meant {
        return really_kill(pid, signal);
    }
    load.pause();
    load.hold("before");
    let outcome = really_kill(pid, signal);
    let error = Error::last_os_error().raw_os_error();
    load.hold("after");
    if let Some(error) = error {
        // SAFETY: this thread's own errno, which looking for files has changed.
        unsafe { *__errno_location() = error };
    }
    outcome
}

/// In the place of the C library's.
///
/// # Safety
/// As for the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn truncate(path: *const c_char, length: c_long) -> c_int {
    if let Some(load) = LOAD.get() {
        load.hold("truncate");
    }
    // SAFETY: as promised; it sets errno.
    unsafe { syscall(SYS_TRUNCATE, path, length) as c_int }
}

/// In the place of the C library's.
#[unsafe(no_mangle)]
pub extern "C" fn fork() -> c_int {
    let load = LOAD.get().filter(|load| load.postmaster == process::id());
    // SAFETY: the C library's own `fork`, which there always is, and this thread's own errno.
    unsafe {
        if load.is_some_and(|load| load.folder.join("no-fork").exists()) {
            *__errno_location() = EAGAIN;
            return -1;
        }
        let real = dlsym(NEXT, c"fork".as_ptr());
        let real: extern "C" fn() -> c_int = std::mem::transmute(real);
        real()
    }
}

impl Load {
    /// As many microseconds as the file `pause` says.
    fn pause(&self) {
        let text = fs::read_to_string(self.folder.join("pause")).unwrap_or_default();
        if let Ok(microseconds) = text.trim().parse() {
            sleep(Duration::from_micros(microseconds).min(LIMIT));
        }
    }

    /// As long as there is a file of that name; `blocked-` and the name tells who is held up.
    fn hold(&self, moment: &str) {
        let file = self.folder.join(moment);
        if !file.exists() {
            return;
        }
        let sign = self.folder.join(format!("blocked-{moment}"));
        // A test that waits for the sign fails without it.
        let _ = fs::write(&sign, format!("{}\n", process::id()));
        let start = Instant::now();
        while file.exists() && start.elapsed() < LIMIT {
            sleep(TICK);
        }
        let _ = fs::remove_file(&sign);
    }
}

fn really_kill(pid: c_int, signal: c_int) -> c_int {
    // SAFETY: two numbers, which the kernel checks; it sets errno.
    unsafe { syscall(SYS_KILL, c_long::from(pid), c_long::from(signal)) as c_int }
}
