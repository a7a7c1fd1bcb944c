//! The server's settings that say what names and bodies mean, read and set in this session for as long as
//! some work takes. The extension's own settings are not among them.

use super::{catalog, text};
use crate::server_text::ServerText;
use pgrx::pg_sys;
use std::ffi::{CStr, CString};
use std::time::Duration;

/// The schemas that names are looked up in, in their order.
pub fn search_path() -> Vec<ServerText> {
    // SAFETY: reads the search path; the list is of OIDs, in the current memory context.
    unsafe {
        let path = pg_sys::fetch_search_path(false);
        let length = if path.is_null() { 0 } else { (*path).length };
        (0..length)
            .filter_map(|i| {
                let schema = (*(*path).elements.add(i as usize)).oid_value;
                text::kept(pg_sys::get_namespace_name(schema))
            })
            .collect()
    }
}

/// What the search path lists, whether there are such schemas or not.
pub fn search_path_entries() -> Vec<ServerText> {
    catalog::identifiers(&search_path_setting(), b',').unwrap_or_default()
}

/// The setting that the search path comes from.
pub fn search_path_setting() -> ServerText {
    // SAFETY: reads a setting that there always is.
    let setting = unsafe { pg_sys::GetConfigOption(c"search_path".as_ptr(), false, false) };
    // SAFETY: null, or a string.
    unsafe { text::kept(setting) }.unwrap_or_default()
}

/// The setting that the search path comes from, as it is after RESET.
pub fn search_path_at_first() -> ServerText {
    // SAFETY: reads a setting that there always is.
    let setting = unsafe { pg_sys::GetConfigOptionResetString(c"search_path".as_ptr()) };
    // SAFETY: null, or a string.
    unsafe { text::kept(setting) }.unwrap_or_default()
}

/// Sets the search path, until the end of [`with_settings_kept`].
pub fn set_search_path(path: &ServerText) {
    set(c"search_path", Some(path.as_c_str()));
}

/// The name that this session goes by.
pub fn application_name() -> Option<String> {
    // SAFETY: a setting that there always is; null, or a string.
    unsafe {
        let setting = pg_sys::GetConfigOption(c"application_name".as_ptr(), true, false);
        text::from_server(setting)
    }
}

/// Sets a setting for as long as this process lives: for one that runs nobody's statements but ours.
pub fn set_for_process(name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (CString::new(name), CString::new(value)) {
        // SAFETY: sets a setting, outside any transaction, if there is one of that name.
        unsafe {
            if pg_sys::GetConfigOption(name.as_ptr(), true, false).is_null() {
                return;
            }
            pg_sys::SetConfigOption(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_SUSET,
                pg_sys::GucSource::PGC_S_SESSION,
            );
        }
    }
}

/// Whether the server's files are to be read anew once this session's statement has ended.
pub fn reload_is_pending() -> bool {
    // SAFETY: a flag that a signal handler sets.
    unsafe { (&raw const pg_sys::ConfigReloadPending).read_volatile() != 0 }
}

/// Turns a setting off for this session, until a superuser sets it.
pub fn turn_off(name: &CStr) {
    // SAFETY: a boolean setting that was just defined.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            c"off".as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}

/// Has lock waits give up after that (a millisecond at least), until the end of [`with_settings_kept`].
pub fn limit_lock_waits(limit: Duration) {
    let milliseconds = limit.as_millis().clamp(1, 86_400_000);
    if let Ok(milliseconds) = CString::new(milliseconds.to_string()) {
        set(c"lock_timeout", Some(&milliseconds));
    }
}

/// Has triggers and rules that others have made not fire, until the end of [`with_settings_kept`]. It
/// leaves out the checks of foreign keys as well.
pub fn silence_triggers() {
    // SAFETY: a setting of this session, put back with the nest level that the caller has opened. It is
    // the superuser's to set, and ours where nothing but our own statement runs.
    unsafe {
        pg_sys::set_config_option(
            c"session_replication_role".as_ptr(),
            c"replica".as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
    }
}

/// Whether functions' bodies are looked into when they are made.
pub fn checks_bodies() -> bool {
    // SAFETY: a setting of this session.
    unsafe { pg_sys::check_function_bodies }
}

/// Sets whether functions' bodies are looked into when they are made, until [`with_settings_kept`] ends; none for
/// what it is after RESET.
pub fn set_checks_of_bodies(is_on: Option<bool>) {
    let value = is_on.map(|is_on| if is_on { c"on" } else { c"off" });
    set(c"check_function_bodies", value);
}

/// What a text means as a boolean; none where it is none.
pub fn boolean(text: &ServerText) -> Option<bool> {
    let text = text.as_c_str();
    let mut value = false;
    // SAFETY: reads a C string.
    unsafe { pg_sys::parse_bool(text.as_ptr(), &mut value) }.then_some(value)
}

/// Gives a setting of this session that value, or that which it has after RESET, until the nest level ends that the
/// caller has opened.
pub(super) fn set(name: &CStr, value: Option<&CStr>) {
    // SAFETY: a setting of this session, put back with the nest level that the caller has opened.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.map_or(std::ptr::null(), CStr::as_ptr),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
    }
}

/// Sets a setting of ours as SET does: for the session, unless the transaction is rolled back.
pub fn set_for_session(name: &CStr, value: &CStr) {
    // SAFETY: a setting that everybody may set.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SET,
            true,
            0,
            false,
        );
    }
}

/// Does the work, and puts settings back that it has changed. An error puts them back as well.
pub fn with_settings_kept<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: the level is closed here, or by the end of the (sub)transaction that an error aborts.
    unsafe {
        let level = pg_sys::NewGUCNestLevel();
        let result = work();
        pg_sys::AtEOXact_GUC(true, level);
        result
    }
}
