//! The switch: the setting `lockguard.signalling`, by which a superuser turns signalling off for everybody.

use crate::error::Error;
use crate::pg::datum::Verbatim;
use crate::pg::{catalog, raised, roles, settings, source};
use crate::tables;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::prelude::*;
use std::ffi::CStr;

const NAME: &CStr = c"lockguard.signalling";

static SIGNALLING: GucSetting<bool> = GucSetting::<bool>::new(true);

/// Makes the setting known to the server.
///
/// What was given before is taken over as far as who gave it may set it. A connection option takes the place of what
/// the files, the database and the role say, also where it is dropped then, and nobody can tell any more what that
/// was: it is off in that session.
pub fn define() {
    let was_given = source::is_given(NAME);
    GucRegistry::define_bool_guc(
        NAME,
        c"Lets lockguard signal sessions.",
        c"Off, calls and guard mode only look, and take what is free: nobody is signalled, whatever a policy says.",
        &SIGNALLING,
        GucContext::Suset,
        GucFlags::default(),
    );
    if was_given && !source::is_given(NAME) {
        settings::turn_off(NAME);
    }
}

/// Whether sessions may be signalled, as this session has it.
pub fn is_on() -> bool {
    SIGNALLING.get()
}

/// The same, and by what the server's files say by now: a session reads these between its statements alone, and a
/// call may have waited for long when they are reloaded.
///
/// # Errors
/// Those of asking the server.
pub fn is_on_by_now() -> Result<bool, Error> {
    if !is_on() || !settings::reload_is_pending() || !source::is_from_files(NAME) {
        return Ok(is_on());
    }
    let table = tables::find("policies")?;
    let owner = catalog::relation(table).map(|facts| facts.owner);
    // Nobody else may read them.
    if !owner.is_some_and(roles::is_superuser) {
        return Ok(true);
    }
    let query = "SELECT s.setting FROM pg_catalog.pg_file_settings s \
                 WHERE s.name OPERATOR(pg_catalog.=) 'lockguard.signalling' AND s.applied";
    let value = raised::as_owner_of(table, || {
        Spi::connect(|client| {
            let mut value = None;
            for row in client.select(query, None, &[])? {
                value = row.get::<Verbatim>(1)?;
            }
            Ok::<_, spi::Error>(value)
        })
    });
    let value = value.map_err(|error| Error::Server(error.to_string()))?;
    Ok(value.and_then(|value| settings::boolean(&value.0)) != Some(false))
}
