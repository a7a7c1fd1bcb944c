//! Whose the value of a setting is, and whether it was given at all.

use super::{compat, roles};
use pgrx::pg_sys;
use std::ffi::CStr;

/// The role that has set a setting to what it is now: the session's own SET, `set_config` and connection options
/// are told by the server itself (`config_generic.srole`). For what comes from elsewhere it names the bootstrap
/// superuser, whoever that was (`set_config_option` in `guc.c`): ALTER DATABASE is the database owner's, ALTER ROLE
/// the role's own, ALTER ROLE ALL and the server's files a superuser's.
pub fn setter(name: &CStr) -> u32 {
    use pg_sys::GucSource::*;
    let bootstrap = pg_sys::BOOTSTRAP_SUPERUSERID;
    // SAFETY: null, or the server's own record of the setting, which stays while the library is loaded.
    let Some(setting) = (unsafe { compat::setting(name).as_ref() }) else {
        return bootstrap;
    };
    match setting.source {
        PGC_S_DATABASE => roles::owner_of_database().unwrap_or(bootstrap),
        // SAFETY: a number of this session.
        PGC_S_USER | PGC_S_DATABASE_USER => unsafe { pg_sys::GetAuthenticatedUserId() }.to_u32(),
        PGC_S_CLIENT => setting.srole.to_u32(),
        source if source >= PGC_S_INTERACTIVE => setting.srole.to_u32(),
        _ => bootstrap,
    }
}

/// Whether nothing nearer than the server's files says what a setting is.
pub fn is_from_files(name: &CStr) -> bool {
    // SAFETY: as above.
    let setting = unsafe { compat::setting(name).as_ref() };
    setting.is_none_or(|setting| setting.source <= pg_sys::GucSource::PGC_S_FILE)
}

/// Whether a setting was given by a connection option, for a role or a database, or in a file: what it is after RESET
/// is not just its default. What was given before the library was loaded, and may not have been, counts until
/// the setting is defined.
pub fn is_given(name: &CStr) -> bool {
    // SAFETY: as above.
    let setting = unsafe { compat::setting(name).as_ref() };
    setting.is_some_and(|setting| setting.reset_source > pg_sys::GucSource::PGC_S_DYNAMIC_DEFAULT)
}
