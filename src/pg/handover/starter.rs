//! The worker as the postmaster knows it: asking for it, and whether it has stopped.

use super::super::compat::{self, WorkerHandle};
use pgrx::pg_sys;
use std::ffi::CStr;

/// What it is called in `pg_stat_activity`.
const WORKER: &CStr = c"lockguard trail";

/// After how long, in seconds, the postmaster tries again: a fork that has failed, or a worker that has.
const PAUSE: i32 = 1;

/// Asks the postmaster for a worker, and does not wait for it. None where no slot is free.
pub(super) fn start(database: u32, generation: u64) -> Option<WorkerHandle> {
    let mut worker = pg_sys::BackgroundWorker::default();
    copy(&mut worker.bgw_name, WORKER);
    copy(&mut worker.bgw_type, WORKER);
    copy(&mut worker.bgw_library_name, c"lockguard");
    copy(&mut worker.bgw_function_name, c"lockguard_worker_main");
    worker.bgw_flags =
        (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as i32;
    worker.bgw_start_time = pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished;
    worker.bgw_restart_time = PAUSE;
    worker.bgw_main_arg = pg_sys::Datum::from(generation);
    for (to, from) in worker.bgw_extra.iter_mut().zip(database.to_ne_bytes()) {
        *to = from as std::ffi::c_char;
    }
    // SAFETY: a plain structure of this process's own. The handle is copied, and freed.
    unsafe {
        worker.bgw_notify_pid = pg_sys::MyProcPid;
        let mut handle = std::ptr::null_mut();
        pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle).then(|| {
            let copy = compat::copy_of_handle(handle);
            pg_sys::pfree(handle.cast());
            copy
        })
    }
}

/// Copies a text with its closing zero, as far as there is room.
fn copy(to: &mut [std::ffi::c_char], from: &CStr) {
    let room = to.len() - 1;
    for (to, from) in to[..room].iter_mut().zip(from.to_bytes()) {
        *to = *from as std::ffi::c_char;
    }
}

/// The database that this process, a worker, was asked for.
pub(super) fn database_of_this_worker() -> u32 {
    // SAFETY: the server's copy of what the worker was registered with.
    let extra = unsafe { (*pg_sys::MyBgworkerEntry).bgw_extra };
    let bytes = [extra[0], extra[1], extra[2], extra[3]];
    u32::from_ne_bytes(bytes.map(|byte| byte as u8))
}

/// Whether a process of it was there and has ended, and none is there now. One whose fork has failed has not
/// started yet.
pub(super) fn has_stopped(mut worker: WorkerHandle) -> bool {
    let mut pid = 0;
    // SAFETY: a copy of a handle that the server has given out; it checks whether that is still valid.
    let status = unsafe { pg_sys::GetBackgroundWorkerPid(worker.as_mut_ptr(), &mut pid) };
    matches!(
        status,
        pg_sys::BgwHandleStatus::BGWH_STOPPED | pg_sys::BgwHandleStatus::BGWH_POSTMASTER_DIED
    )
}

/// Has the postmaster start it no more.
pub(super) fn stop(mut worker: WorkerHandle) {
    // SAFETY: as above.
    unsafe { pg_sys::TerminateBackgroundWorker(worker.as_mut_ptr()) };
}
