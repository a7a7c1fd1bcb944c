//! The settings, and what they mean. A value is judged when it is needed and not when it is set: it may
//! have been set before the library was loaded, by `ALTER ROLE`, and the server would only warn of an
//! invalid one then, and drop it.

use crate::error::Error;
use crate::patience::Clock;
use crate::pg::datum::Document;
use crate::pg::principals::Principals;
use crate::pg::{self, extension, interval, reserve, wait};
use crate::policy::{self, Policy, Problem};
use crate::server_text::ServerText;
use crate::stored::{self, Stored};
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use serde_json::json;
use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::rc::Rc;
use std::time::Duration;

/// The setting of guard mode.
const NAME: &CStr = c"lockguard.policy";

static POLICY: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

/// Whether the session has been told that nothing obeys its policy: by the library, or by the event trigger that
/// needs none. It is no setting for people.
const TOLD: &CStr = c"lockguard.told";
static IS_TOLD: GucSetting<bool> = GucSetting::<bool>::new(false);

/// The policy of guard mode, and the stored one that it is narrowed from, if any.
#[derive(Debug)]
pub struct Standing {
    pub policy: Policy,
    pub stored: Option<Stored>,
}

/// A value that was read, with what it was read under.
type Known = (CString, Duration, Option<Rc<Standing>>);

thread_local! {
    static LAST: RefCell<Option<Known>> = const { RefCell::new(None) };
}

/// Makes the settings known to the server. Called once, when the library is loaded.
pub fn define() {
    GucRegistry::define_string_guc(
        NAME,
        c"Clears the way for each DDL statement of the session and takes its locks, under this policy.",
        c"\"on\" for the default policy, the name of a stored policy, a policy as a JSON object without a target, \"off\" or empty for none.",
        &POLICY,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        TOLD,
        c"This session has been told that nothing guards its DDL.",
        c"Set by lockguard itself, so that it says so once.",
        &IS_TOLD,
        GucContext::Userset,
        GucFlags::NO_SHOW_ALL | GucFlags::DISALLOW_IN_FILE,
    );
    extension::reserve_settings();
}

/// Whether guard mode was not asked for.
pub fn is_off() -> bool {
    POLICY.get().is_none_or(|value| {
        let value = value.as_bytes().trim_ascii();
        value.is_empty() || value.eq_ignore_ascii_case(b"off")
    })
}

/// Whether the session has been told that nothing obeys its policy.
pub fn is_told() -> bool {
    IS_TOLD.get()
}

/// That it has.
pub fn set_told() {
    pg::settings::set_for_session(TOLD, c"on");
}

/// On whose behalf guard mode does what it does: that of who has set its policy as well.
pub fn principals() -> Principals {
    Principals::of_setting(NAME)
}

/// The policy of guard mode; none if that is off. `users`: who must be allowed to use a stored one. `clock` has
/// been running since the statement came.
///
/// # Errors
/// 22023 for a value that is no policy; 42501 for a stored one that is not lent to these roles, or
/// allows less.
pub fn policy(clock: Clock, users: &[u32]) -> Result<Option<Rc<Standing>>, Error> {
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
    let standing = read(&ServerText::from(&*value), deadlock_timeout, clock, users)?.map(Rc::new);
    // What is stored may change, and so may who may use it. What else a value means is the same whoever has set it.
    if standing.as_ref().is_none_or(|s| s.stored.is_none()) {
        LAST.set(Some((value, deadlock_timeout, standing.clone())));
    }
    Ok(standing)
}

fn read(
    given: &ServerText,
    deadlock_timeout: Duration,
    clock: Clock,
    users: &[u32],
) -> Result<Option<Standing>, Error> {
    let value = given.for_people();
    let value = value.trim();
    let document = match () {
        () if value.is_empty() || value.eq_ignore_ascii_case("off") => return Ok(None),
        () if value.eq_ignore_ascii_case("on") => json!({}),
        () if value.starts_with('{') => {
            policy::read(&given.as_json(), reserve::room_for).map_err(Error::Setting)?
        }
        () => json!({ "policy": value }),
    };
    let as_given = |key: &str| match value.starts_with('{') {
        true => Document::read(given).map_or(vec![], |document| document.strings(key)),
        false => vec![given.trimmed()],
    };
    let stored = match policy::stored_name(&document, &as_given).map_err(Error::Setting)? {
        Some(name) => {
            let timeout = policy::timeout(&document, &interval::read).map_err(Error::Setting)?;
            let stored = clock.with(timeout).read(|| stored::for_use(&name, users));
            Some(stored.map_err(|error| match error {
            Error::UnknownObject { message, hint } => {
                let choices = "Use \"on\", \"off\", the name of a stored policy, or a policy as a JSON object, such as {\"timeout\": \"1 min\"}.";
                let hint = hint.map_or(String::new(), |hint| format!("{hint} "));
                Error::Setting(Problem::new("$", message).hint(format!("{hint}{choices}")))
            }
            other => other,
        })?)
        }
        None => None,
    };
    let base = stored.as_ref().map(|stored| &stored.policy);
    let policy = policy::parse_standing(&document, base, &interval::read, deadlock_timeout)
        .map_err(Error::Setting)?;
    Ok(Some(Standing { policy, stored }))
}
