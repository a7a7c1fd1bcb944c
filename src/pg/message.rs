//! Messages that are no errors: to the client, and to the server's log.

use super::text;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// A notice for the client.
pub fn notice(message: &str) {
    send(PgLogLevel::NOTICE, message, None, None);
}

/// A warning for the client and the log.
pub fn warning(message: &str, detail: &str) {
    send(PgLogLevel::WARNING, message, Some(detail), None);
}

/// A warning with what to do about it.
pub fn advice(message: &str, detail: &str, hint: &str) {
    send(PgLogLevel::WARNING, message, Some(detail), Some(hint));
}

/// A line in the server's log, which does not go to the client whatever that asks for.
pub fn log(message: &str, detail: Option<&str>) {
    send(PgLogLevel::LOG_SERVER_ONLY, message, detail, None);
}

/// The server answers interrupts while it sends, and raises an error where the client's encoding lacks a
/// character. Either must unwind through here, or what is to be put back would not be.
fn send(level: PgLogLevel, message: &str, detail: Option<&str>, hint: Option<&str>) {
    let code = match level {
        PgLogLevel::WARNING => PgSqlErrorCode::ERRCODE_WARNING,
        _ => PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
    };
    let mut report = ErrorReport::new(code, text::for_message(message), function_name!());
    if let Some(detail) = detail {
        report = report.set_detail(text::for_message(detail));
    }
    if let Some(hint) = hint {
        report = report.set_hint(text::for_message(hint));
    }
    // SAFETY: in a backend, on its one thread. What is jumped over on an error has nothing to drop.
    unsafe { pg_guard_ffi_boundary(|| report.report(level)) };
}
