//! The client of this session: whether there is one, and whether it is still there.

use super::compat::unbound;
use super::settings;
use pgrx::pg_sys;
use pgrx::prelude::*;

/// How often the server looks, in milliseconds.
const PERIOD: core::ffi::c_int = 100;

/// Has the server see every tenth of a second whether the client is still there, in all that answers to a cancel,
/// from here to the end of [`with_settings_kept`](settings::with_settings_kept). Once it has gone the server ends
/// the session, as `client_connection_check_interval` has it. Where nobody has set that, a session does not notice
/// before it sends something, which it may not do for long: notices can be switched off.
pub fn look_after() {
    // SAFETY: a question to the event layer, and a setting of the server.
    let is_looked_after = unsafe {
        let period = pg_sys::client_connection_check_interval;
        !pg_sys::WaitEventSetCanReportClosed() || (1..=PERIOD).contains(&period)
    };
    if is_looked_after || !has_one() {
        return;
    }
    settings::set(c"client_connection_check_interval", Some(c"100ms"));
    // SAFETY: flags of this process. The server looks at once, and sets the clock for the next time.
    unsafe {
        pg_sys::CheckClientConnectionPending = 1;
        pg_sys::InterruptPending = 1;
    }
    check_for_interrupts!();
}

/// Whether there was a client and its end of the connection is closed.
pub fn has_gone() -> bool {
    // SAFETY: there is a connection. It resets the latch, which nobody waits on between one look at what is
    // waited for and the next.
    has_one() && unsafe { !unbound::pq_check_connection() }
}

/// Ends the session if its client has gone, as the server does it (08006).
pub fn must_be_there() {
    if has_gone() {
        // SAFETY: flags of this process, which the server answers to right below.
        unsafe {
            pg_sys::ClientConnectionLost = 1;
            pg_sys::InterruptPending = 1;
        }
    }
    check_for_interrupts!();
}

/// Whether somebody reads what this session answers. A background worker has no client, and its connection must
/// not be asked after.
fn has_one() -> bool {
    // SAFETY: set when the session starts, and when it loses its client.
    unsafe {
        !pg_sys::MyProcPort.is_null()
            && pg_sys::whereToSendOutput == pg_sys::CommandDest::DestRemote
    }
}
