//! The settings, and what they mean. A value is judged when it is needed and not when it is set: it may
//! have been set before the library was loaded, by `ALTER ROLE`, and the server would only warn of an
//! invalid one then, and drop it.

use crate::error::Error;
use crate::pg::{extension, interval, source, text, wait};
use crate::policy::{self, Policy, Problem, quoted};
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::cell::RefCell;
use std::ffi::CString;
use std::rc::Rc;
use std::time::Duration;

static POLICY: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

/// A value that was read, with what it was read under.
type Known = (CString, Duration, Option<Rc<Policy>>);

thread_local! {
    static LAST: RefCell<Option<Known>> = const { RefCell::new(None) };
}

/// Makes the settings known to the server. Called once, when the library is loaded.
pub fn define() {
    GucRegistry::define_string_guc(
        c"lockguard.policy",
        c"Clears the way for each DDL statement of the session and takes its locks, under this policy.",
        c"\"on\" for the default policy, a policy as a JSON object without a target, \"off\" or empty for neither.",
        &POLICY,
        GucContext::Userset,
        GucFlags::default(),
    );
    extension::reserve_settings();
}

/// Whether guard mode was never asked for.
pub fn is_empty() -> bool {
    POLICY.get().is_none_or(|value| value.is_empty())
}

/// Whether the policy of guard mode comes from ALTER DATABASE … SET.
///
/// # Errors
/// Those of asking the server.
pub fn is_set_for_database() -> Result<bool, Error> {
    let source = source::of_setting("lockguard.policy");
    let source = source.map_err(|error| Error::Server(error.to_string()))?;
    Ok(source.as_deref() == Some("database"))
}

/// The policy of guard mode; none if that is off.
///
/// # Errors
/// 22023 for a value that is no policy.
pub fn policy() -> Result<Option<Rc<Policy>>, Error> {
    let Some(value) = POLICY.get().filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let deadlock_timeout = wait::deadlock_timeout();
    let known = LAST.with_borrow(|last| match last {
        Some((of, under, policy)) if *of == value && *under == deadlock_timeout => {
            Some(policy.clone())
        }
        _ => None,
    });
    if let Some(policy) = known {
        return Ok(policy);
    }
    let policy = read(&text::of(&value), deadlock_timeout)
        .map_err(Error::Setting)?
        .map(Rc::new);
    LAST.set(Some((value, deadlock_timeout, policy.clone())));
    Ok(policy)
}

fn read(value: &str, deadlock_timeout: Duration) -> Result<Option<Policy>, Problem> {
    let value = value.trim();
    let document = match () {
        () if value.is_empty() || value.eq_ignore_ascii_case("off") => return Ok(None),
        () if value.eq_ignore_ascii_case("on") => "{}",
        () if value.starts_with('{') => value,
        () => {
            return Err(
                Problem::new("$", format!("unknown value {}", quoted(value))).hint(
                    "Use \"on\", \"off\", or a policy as a JSON object, such as {\"timeout\": \"1 min\"}.",
                ),
            );
        }
    };
    let document = serde_json::from_str(document)
        .map_err(|error| Problem::new("$", format!("it cannot be read: {error}")))?;
    policy::parse_standing(&document, &interval::read, deadlock_timeout).map(Some)
}
