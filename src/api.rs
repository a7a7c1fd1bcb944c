//! The SQL functions: arguments in, rows out. Their declarations are in `sql/functions.sql`.

use crate::act;
use crate::error::Error;
use crate::lock::{LockMode, Need};
use crate::needs;
use crate::pg::datum::{self, Name};
use crate::pg::{extension, interval, locks};
use crate::policy::{self, Problem};
use crate::report::{self, Row};
use crate::rules::Rules;
use crate::survey::{self, Sighting};
use pgrx::datum::{AnyElement, Array, Inet, Interval, TimestampWithTimeZone};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// `lockguard.blockers_of(relations regclass[], mode text)`
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "a table function's row is a tuple")]
fn blockers_of(
    relations: Option<Array<'_, pg_sys::Oid>>,
    mode: Option<&str>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(relation, pg_sys::Oid),
            name!(pid, Option<i32>),
            name!(gid, Option<String>),
            name!(mode, String),
            name!(granted, bool),
            name!(class, Option<String>),
            name!(preempt, Option<String>),
            name!(usename, Option<Name>),
            name!(application_name, Option<String>),
            name!(client_addr, Option<Inet>),
            name!(backend_type, Option<String>),
            name!(state, Option<String>),
            name!(wait_event_type, Option<String>),
            name!(wait_event, Option<String>),
            name!(backend_start, Option<TimestampWithTimeZone>),
            name!(xact_start, Option<TimestampWithTimeZone>),
            name!(query_start, Option<TimestampWithTimeZone>),
            name!(blocked_by, Vec<i32>),
            name!(query, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let relations: Option<Vec<u32>> = relations
        .ok_or(Error::Null("relations"))?
        .iter()
        .map(|oid| oid.map(|o| o.to_u32()))
        .collect();
    let relations = needs::existing(relations.ok_or(Error::Null("an element of relations"))?)?;
    let mode =
        LockMode::parse(mode.ok_or(Error::Null("mode"))?).map_err(|unknown| Error::Argument {
            message: unknown.to_string(),
            hint: Some(match unknown.nearest {
                Some(word) => format!("Perhaps you meant \"{word}\"."),
                None => format!(
                    "Valid are: {}.",
                    LockMode::ALL.map(LockMode::name).join(", ")
                ),
            }),
        })?;
    let needs: Vec<Need> = needs::closure(&relations)
        .into_iter()
        .map(|relation| Need { relation, mode })
        .collect();
    let rows: Vec<_> = survey::of_needs(&needs, &Rules::default())?
        .into_iter()
        .filter_map(blocker)
        .collect();
    Ok(TableIterator::new(rows))
}

/// One row of `blockers_of`, less what the caller may not see.
#[allow(clippy::type_complexity, reason = "a table function's row is a tuple")]
fn blocker(
    sighting: Sighting,
) -> Option<(
    pg_sys::Oid,
    Option<i32>,
    Option<String>,
    String,
    bool,
    Option<String>,
    Option<String>,
    Option<Name>,
    Option<String>,
    Option<Inet>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<TimestampWithTimeZone>,
    Option<TimestampWithTimeZone>,
    Option<TimestampWithTimeZone>,
    Vec<i32>,
    Option<String>,
)> {
    let session = &*sighting.session;
    let pid = session.identity.pid();
    let seen = session.rights.see;
    fn if_seen<T>(seen: bool, value: Option<T>) -> Option<T> {
        value.filter(|_| seen)
    }
    Some((
        pg_sys::Oid::from_u32(sighting.relation?),
        pid,
        session.gid.clone(),
        sighting.mode.name().to_owned(),
        sighting.granted,
        report::visible_class(session, sighting.judgement).map(|c| c.name().to_owned()),
        report::remedy(session, sighting.granted).map(str::to_owned),
        session.usename.clone().map(Name),
        session.application_name.clone(),
        if_seen(seen, session.client_addr.clone()).map(datum::inet),
        if_seen(seen, session.backend_type.clone()),
        if_seen(seen, session.state).map(|s| s.name().to_owned()),
        if_seen(seen, session.wait_event_type.clone()),
        if_seen(seen, session.wait_event.clone()),
        if_seen(seen, session.backend_start).and_then(datum::timestamp),
        if_seen(seen, session.xact_start).and_then(datum::timestamp),
        if_seen(seen, session.query_start).and_then(datum::timestamp),
        pid.map(locks::blocking_pids).unwrap_or_default(),
        report::visible_query(session),
    ))
}

/// `lockguard.preempt_maintenance(policy jsonb)`
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "a table function's row is a tuple")]
fn preempt_maintenance(
    policy: Option<AnyElement>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(relation, Option<pg_sys::Oid>),
            name!(pid, Option<i32>),
            name!(class, Option<String>),
            name!(usename, Option<Name>),
            name!(application_name, Option<String>),
            name!(verdict, String),
            name!(waited, Option<Interval>),
            name!(reason, String),
            name!(query, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let policy = datum::jsonb_text(&policy.ok_or(Error::Null("policy"))?);
    let policy = serde_json::from_str(&policy)
        .map_err(|error| Problem::new("$", format!("it cannot be read: {error}")))
        .and_then(|document| policy::parse(&document, &interval::read))
        .map_err(Error::Policy)?;
    let rows = act::preempt(&policy)?.into_iter().map(|row: Row| {
        (
            row.relation.map(pg_sys::Oid::from_u32),
            row.pid,
            row.class.map(|c| c.name().to_owned()),
            row.usename.map(Name),
            row.application_name,
            row.outcome.name().to_owned(),
            datum::interval(row.waited),
            row.reason,
            row.query,
        )
    });
    Ok(TableIterator::new(rows.collect::<Vec<_>>()))
}

/// `lockguard.protect_builtin_rules()`, the trigger on `lockguard.maintenance_rules`.
#[pg_trigger(sql = false)]
fn protect_builtin_rules<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByPostgres>>, ErrorReport> {
    let is_builtin = |row: &Option<PgHeapTuple<'a, AllocatedByPostgres>>| {
        row.as_ref()
            .and_then(|row| row.get_by_name::<bool>("builtin").ok().flatten())
            .unwrap_or(false)
    };
    let (old, new) = (trigger.old(), trigger.new());
    if !extension::is_being_created_or_altered() && (is_builtin(&old) || is_builtin(&new)) {
        return Err(Error::NotAllowed {
            message: "built-in maintenance rules cannot be added, changed or removed".into(),
            hint: "Add a rule of your own, or spare such sessions with \"spare\" in the policy."
                .into(),
        }
        .into());
    }
    Ok(new.or(old))
}
