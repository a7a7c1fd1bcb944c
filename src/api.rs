//! The SQL functions: arguments in, rows out. Their declarations are in `sql/functions.sql`.

use crate::act;
use crate::audit;
use crate::error::{Error, check_server};
use crate::lock::{LockMode, Need};
use crate::needs::{self, Effect};
use crate::patience::Clock;
use crate::pg::datum::{self, Document, Name, Text, Verbatim};
use crate::pg::principals::Principals;
use crate::pg::reserve::{self, InCall};
use crate::pg::{activity, event, extension, interval, locks, transaction, wait};
use crate::policy::{self, MOST_RELATIONS};
use crate::report::{self, Row};
use crate::rules::Rules;
use crate::server_text::ServerText;
use crate::session::{Class, Session, State};
use crate::settings;
use crate::stored;
use crate::survey::{self, Sighting, Way};
use pgrx::datum::{AnyElement, Array, Inet, Interval, TimestampWithTimeZone};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;

/// The value, or the error raised with its SQLSTATE, detail and hint.
pub fn or_raise<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|error| {
        ErrorReport::from(error).report(PgLogLevel::ERROR);
        unreachable!("an ERROR does not return")
    })
}

/// Refuses to work in parallel, which somebody may have declared the function to be safe for: a worker's locks are
/// its leader's, who would count as somebody else, and nobody can begin a subtransaction.
///
/// # Errors
/// 25000.
fn must_be_alone(function: &'static str) {
    or_raise(match transaction::is_parallel() {
        true => Err(Error::Parallel(function)),
        false => Ok(()),
    });
}

/// What each function begins with, and keeps for as long as it goes on.
///
/// # Errors
/// 25000 in a parallel worker, 0A000 on a server of another build, 53200 without any memory.
fn begin(function: &'static str) -> InCall {
    must_be_alone(function);
    or_raise(check_server());
    let in_call = reserve::begin();
    act::told::that_nothing_obeys();
    in_call
}

/// `lockguard.blockers_of(relations regclass[], mode text)`
#[pg_extern(sql = false)]
#[allow(
    clippy::type_complexity,
    reason = "the macro reads the columns from the signature"
)]
fn blockers_of(
    relations: Option<Array<'_, pg_sys::Oid>>,
    mode: Option<AnyElement>,
) -> TableIterator<
    'static,
    (
        name!(relation, pg_sys::Oid),
        name!(pid, Option<i32>),
        name!(gid, Option<Verbatim>),
        name!(mode, &'static str),
        name!(granted, bool),
        name!(class, Option<&'static str>),
        name!(preempt, Option<&'static str>),
        name!(usename, Option<Name>),
        name!(application_name, Option<Text>),
        name!(client_addr, Option<Inet>),
        name!(backend_type, Option<Text>),
        name!(state, Option<&'static str>),
        name!(wait_event_type, Option<Text>),
        name!(wait_event, Option<Text>),
        name!(backend_start, Option<TimestampWithTimeZone>),
        name!(xact_start, Option<TimestampWithTimeZone>),
        name!(query_start, Option<TimestampWithTimeZone>),
        name!(progress, Option<f64>),
        name!(eta, Option<Interval>),
        name!(blocked_by, Vec<i32>),
        name!(query, Option<Text>),
    ),
> {
    let _in_call = begin("blockers_of");
    // A session may stand in the way of thousands of relations.
    let mut blocked_by: HashMap<i32, Vec<i32>> = HashMap::new();
    let mode = given(mode, "mode");
    let relations = distinct(relations);
    let sightings = or_raise(mode.and_then(|mode| blockers(relations?, &mode.for_people())));
    let now = activity::now();
    let rows = sightings.into_iter().filter_map(|sighting| {
        wait::answer_interrupts();
        let relation = pg_sys::Oid::from_u32(sighting.relation?);
        let session = &*sighting.session;
        let pid = session.identity.pid();
        // What pg_stat_activity hides from this role.
        let seen = session.rights.see.then_some(session);
        Some((
            relation,
            pid,
            session.gid.clone().map(|gid| Verbatim(gid.name)),
            sighting.mode.name(),
            sighting.granted,
            report::visible_class(session, sighting.judgement).map(Class::name),
            report::remedy(session, sighting.granted),
            session.usename.clone().map(Name),
            session.application_name.clone().map(Text),
            seen.and_then(|s| s.client_addr.clone()).map(datum::inet),
            seen.and_then(|s| s.backend_type.clone()).map(Text),
            seen.and_then(|s| s.state).map(State::name),
            seen.and_then(|s| s.wait_event_type.clone()).map(Text),
            seen.and_then(|s| s.wait_event.clone()).map(Text),
            seen.and_then(|s| s.backend_start)
                .and_then(datum::timestamp),
            seen.and_then(|s| s.xact_start).and_then(datum::timestamp),
            seen.and_then(|s| s.query_start).and_then(datum::timestamp),
            seen.and_then(Session::fraction_done),
            seen.and_then(|s| s.eta(now)).and_then(datum::interval),
            pid.map(|pid| {
                blocked_by
                    .entry(pid)
                    .or_insert_with(|| locks::blocking_pids(pid))
                    .clone()
            })
            .unwrap_or_default(),
            report::visible_query(session).map(Text),
        ))
    });
    TableIterator::new(rows.collect::<Vec<_>>())
}

/// The relations of an array, each once.
///
/// # Errors
/// 22004 for NULL, 22023 for more than may be named.
fn distinct(array: Option<Array<'_, pg_sys::Oid>>) -> Result<Vec<u32>, Error> {
    let array = array.ok_or(Error::Null("relations"))?;
    let mut relations = vec![];
    let mut known = HashSet::new();
    for oid in array.iter() {
        wait::answer_interrupts();
        let relation = oid.ok_or(Error::Null("an element of relations"))?.to_u32();
        if known.insert(relation) {
            relations.push(relation);
        }
        if relations.len() > MOST_RELATIONS {
            return Err(Error::Argument {
                message: format!("more than {MOST_RELATIONS} relations are given"),
                hint: Some("Ask about some of them at a time.".into()),
            });
        }
    }
    Ok(relations)
}

fn blockers(relations: Vec<u32>, mode: &str) -> Result<Vec<Sighting>, Error> {
    let relations = needs::existing(relations)?;
    let mode = LockMode::parse(mode)?;
    let needs: Vec<Need> = needs::closure(&relations)
        .into_iter()
        .map(|relation| Need { relation, mode })
        .collect();
    survey::in_way(
        Way::Needs(&needs),
        &Rules::default(),
        &Principals::of_look(),
    )
}

/// `lockguard.locks_of(statement text)`
#[pg_extern(sql = false)]
fn locks_of(
    statement: Option<AnyElement>,
) -> TableIterator<
    'static,
    (
        name!(statement, i32),
        name!(relation, Option<pg_sys::Oid>),
        name!(mode, Option<&'static str>),
        name!(reason, Text),
    ),
> {
    let _in_call = begin("locks_of");
    let text = statement.ok_or(Error::Null("statement"));
    let text = text.and_then(|text| not_too_long(datum::text(&text)));
    let planned = needs::script(&or_raise(text));
    let rows = planned.into_iter().map(|planned| {
        wait::answer_interrupts();
        let mode = match planned.effect {
            Effect::Lock(mode) => Some(mode.name()),
            Effect::AwaitLockers(_) | Effect::AwaitSnapshots | Effect::Unseen => None,
        };
        (
            planned.statement,
            planned.relation.map(pg_sys::Oid::from_u32),
            mode,
            Text(planned.reason),
        )
    });
    TableIterator::new(rows.collect::<Vec<_>>())
}

/// How long a text of statements may be, in bytes.
const LONGEST_TEXT: usize = 64 << 20;

fn not_too_long(text: ServerText) -> Result<ServerText, Error> {
    let length = text.as_c_str().count_bytes();
    match length > LONGEST_TEXT {
        false => Ok(text),
        true => Err(Error::Argument {
            message: format!(
                "a text of {length} bytes is longer than the {LONGEST_TEXT} that are allowed"
            ),
            hint: Some("Give a part of the statements at a time.".into()),
        }),
    }
}

/// `lockguard.preempt_maintenance(policy jsonb)`
#[pg_extern(sql = false)]
#[allow(
    clippy::type_complexity,
    reason = "the macro reads the columns from the signature"
)]
fn preempt_maintenance(
    policy: Option<AnyElement>,
    call: pg_sys::FunctionCallInfo,
) -> TableIterator<
    'static,
    (
        name!(relation, Option<pg_sys::Oid>),
        name!(pid, Option<i32>),
        name!(class, Option<&'static str>),
        name!(usename, Option<Name>),
        name!(application_name, Option<Text>),
        name!(verdict, &'static str),
        name!(waited, Option<Interval>),
        name!(reason, Text),
        name!(query, Option<Text>),
    ),
> {
    let _in_call = begin("preempt_maintenance");
    let rows = or_raise(preempt(policy, call)).into_iter().map(|row| {
        (
            row.relation.map(pg_sys::Oid::from_u32),
            row.pid,
            row.class.map(Class::name),
            row.usename.map(Name),
            row.application_name.map(Text),
            row.outcome.name(),
            datum::interval(row.waited),
            Text(row.reason),
            row.query.map(Text),
        )
    });
    TableIterator::new(rows.collect::<Vec<_>>())
}

fn preempt(policy: Option<AnyElement>, call: pg_sys::FunctionCallInfo) -> Result<Vec<Row>, Error> {
    let clock = Clock::start(policy::DEFAULT_TIMEOUT);
    let given = Document::of_argument(&policy.ok_or(Error::Null("policy"))?);
    let as_given = |key: &str| given.strings(key);
    let document = policy::read(&given.text(), reserve::room_for)?;
    let principals = clock.read(|| Ok(Principals::of_call()))?;
    let stored = match policy::stored_name(&document, &as_given)? {
        Some(name) => {
            let clock = clock.with(policy::timeout(&document, &interval::read)?);
            Some(clock.read(|| stored::for_use(&name, principals.own()))?)
        }
        None => None,
    };
    let base = stored.as_ref().map(|stored| &stored.policy);
    let request = policy::parse(
        &document,
        &as_given,
        base,
        &interval::read,
        wait::deadlock_timeout(),
    )?;
    let keeps_locks = transaction::outlives_statement(call);
    let clock = clock.with(request.policy.timeout);
    act::preempt(&request, stored.as_ref(), principals, keeps_locks, clock)
}

/// `lockguard.guard()`, the event trigger.
#[pg_extern(sql = false)]
fn guard(call: pg_sys::FunctionCallInfo) {
    must_be_alone("guard");
    or_raise(guarded(call));
}

fn guarded(call: pg_sys::FunctionCallInfo) -> Result<(), Error> {
    act::guard::is_called_by_its_trigger(call)?;
    // Off is what it is for most: nothing else is looked at then.
    if settings::is_off() || !act::guard::applies() {
        return Ok(());
    }
    check_server()?;
    let _in_call = reserve::begin();
    let clock = Clock::start(policy::DEFAULT_TIMEOUT);
    let principals = clock.read(|| Ok(settings::principals()))?;
    if !act::told::may_be_guarded(principals.own()) {
        return Ok(());
    }
    let Some(standing) = settings::policy(clock, principals.own())? else {
        return Ok(());
    };
    match event::ddl(call) {
        Some(ddl) => {
            act::told::of_later_triggers(&ddl.tag);
            let clock = clock.with(standing.policy.timeout);
            act::guard::before(ddl, &standing, principals, clock)
        }
        None => Ok(()),
    }
}

/// A `text` argument that must be there.
fn given(argument: Option<AnyElement>, name: &'static str) -> Result<ServerText, Error> {
    argument
        .map(|argument| datum::text(&argument))
        .ok_or(Error::Null(name))
}

/// `lockguard.store_policy(name text, policy jsonb, comment text)`
#[pg_extern(sql = false)]
fn store_policy(name: Option<AnyElement>, policy: Option<AnyElement>, comment: Option<AnyElement>) {
    let _in_call = begin("store_policy");
    or_raise(given(name, "name").and_then(|name| {
        let document = Document::of_argument(&policy.ok_or(Error::Null("policy"))?);
        stored::store(&name, document, comment.map(|c| datum::text(&c)))
    }));
}

/// `lockguard.drop_policy(name text)`
#[pg_extern(sql = false)]
fn drop_policy(name: Option<AnyElement>) {
    let _in_call = begin("drop_policy");
    or_raise(given(name, "name").and_then(|name| stored::drop(&name)));
}

/// `lockguard.lend_policy(name text, role name)`
#[pg_extern(sql = false)]
fn lend_policy(name: Option<AnyElement>, role: Option<AnyElement>) {
    let _in_call = begin("lend_policy");
    or_raise(given(name, "name").and_then(|name| {
        let role = role.as_ref().map(datum::name).ok_or(Error::Null("role"))?;
        stored::lend(&name, &role)
    }));
}

/// `lockguard.revoke_policy(name text, role name)`
#[pg_extern(sql = false)]
fn revoke_policy(name: Option<AnyElement>, role: Option<AnyElement>) {
    let _in_call = begin("revoke_policy");
    or_raise(given(name, "name").and_then(|name| {
        let role = role.as_ref().map(datum::name).ok_or(Error::Null("role"))?;
        stored::revoke(&name, &role)
    }));
}

/// `lockguard.set_ceiling(name text)`
#[pg_extern(sql = false)]
fn set_ceiling(name: Option<AnyElement>) {
    let _in_call = begin("set_ceiling");
    let name = name.map(|name| datum::text(&name));
    or_raise(stored::set_ceiling(name.as_ref()));
}

/// `lockguard.settle(id bigint)`
#[pg_extern(sql = false)]
fn settle(id: Option<i64>) {
    let _in_call = begin("settle");
    or_raise(id.ok_or(Error::Null("id")).and_then(audit::settle));
}

/// `lockguard.protect_builtin_rules()`, the trigger on `lockguard.maintenance_rules`.
#[pg_trigger(sql = false)]
fn protect_builtin_rules<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByPostgres>>, Infallible> {
    let is_builtin = |row: &Option<PgHeapTuple<'a, AllocatedByPostgres>>| {
        row.as_ref()
            .and_then(|row| row.get_by_name::<bool>("builtin").ok().flatten())
            .unwrap_or(false)
    };
    let (old, new) = (trigger.old(), trigger.new());
    let is_truncate = matches!(trigger.op(), Ok(PgTriggerOperation::Truncate));
    let touches_builtin = is_truncate || is_builtin(&old) || is_builtin(&new);
    if touches_builtin && !extension::is_being_created_or_altered() {
        or_raise(Err(Error::NotAllowed {
            message: "built-in maintenance rules cannot be added, changed or removed".into(),
            hint: "Add a rule of your own, or spare such sessions with \"spare\" in the policy. Your own rules are those WHERE NOT builtin."
                .into(),
        }))
    }
    Ok(new.or(old))
}
