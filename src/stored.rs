//! Stored policies: keeping them, lending them, and finding the one that a call starts from. What a
//! policy says is `policy`'s to judge.

use crate::error::Error;
use crate::nearest::nearest;
use crate::pg::datum::{Document, Text, Verbatim};
use crate::pg::past_queue::Row;
use crate::pg::{interval, message, raised, reserve, roles, snapshots, wait};
use crate::policy::{self, Policy, Problem, quoted};
use crate::server_text::ServerText;
use crate::tables;
use pgrx::prelude::*;
use std::time::Duration;

/// What it means that a table cannot be read.
const FAILS: &str = "Without it no stored policy can be used.";

/// The longest name, in bytes: that of any name in PostgreSQL.
const LONGEST_NAME: usize = 63;

/// A stored policy, and whose rights it lends.
#[derive(Clone, Debug)]
pub struct Stored {
    pub name: ServerText,
    /// The role that stored it.
    pub owner: u32,
    pub policy: Policy,
    /// Who must be allowed to use it.
    users: Vec<u32>,
}

impl Stored {
    /// Sees that it is still there, still the same and the same role's, and still lent.
    ///
    /// # Errors
    /// As for [`for_use`].
    pub fn is_still_lent(&self) -> Result<(), Error> {
        let now = for_use(&self.name, &self.users)?;
        let refused = |what: &str| {
            Err(Error::NotAllowed {
                message: format!(
                    "stored policy {} was stored anew {what} meanwhile",
                    quoted(&self.name.for_people())
                ),
                hint: "Call again.".into(),
            })
        };
        match () {
            () if now.owner != self.owner => refused("by another role"),
            () if now.policy != self.policy => refused("with other contents"),
            () => Ok(()),
        }
    }
}

/// The stored policy that bounds every call.
#[derive(Clone, Debug)]
pub struct Ceiling {
    pub name: String,
    pub policy: Policy,
}

/// What its row says.
struct Entry {
    is_ceiling: bool,
    owner: u32,
    policy: ServerText,
    loans: Vec<u32>,
}

/// The stored policy of that name, for these roles to use.
///
/// # Errors
/// 42704 where there is none; 42501 where one of the roles may not use it, or its owner has been
/// dropped; 22023 where what is stored is no policy any more; 55P03 while its table is locked.
pub fn for_use(name: &ServerText, users: &[u32]) -> Result<Stored, Error> {
    let entry = find(name)?;
    let refused = |role: u32| Error::NotAllowed {
        message: format!(
            "permission denied for stored policy {}",
            quoted(&name.for_people())
        ),
        hint: format!(
            "Its owner, {}, can lend it: SELECT lockguard.lend_policy({}, {});",
            roles::name(entry.owner).unwrap_or("which has been dropped".into()),
            name.literal(),
            roles::server_name(role).unwrap_or_default().literal()
        ),
    };
    for user in users {
        let may_use = roles::has_rights_of(*user, entry.owner)
            || entry
                .loans
                .iter()
                .any(|role| roles::has_rights_of(*user, *role));
        if !may_use {
            return Err(refused(*user));
        }
    }
    must_have_owner(name, &entry)?;
    Ok(Stored {
        name: name.clone(),
        owner: entry.owner,
        policy: read(&entry.policy.as_json())?,
        users: users.to_vec(),
    })
}

fn read(document: &str) -> Result<Policy, Problem> {
    read_under(document, wait::deadlock_timeout())
}

fn read_under(document: &str, deadlock_timeout: Duration) -> Result<Policy, Problem> {
    let document = policy::read(document, reserve::room_for)?;
    policy::parse_stored(&document, &interval::read, deadlock_timeout)
}

/// The ceiling, if there is one.
///
/// # Errors
/// 55P03 while its table is locked; 22023 where what is stored is no policy any more.
pub fn ceiling() -> Result<Option<Ceiling>, Error> {
    let table = tables::find("policies")?;
    let rows = raised::as_owner_of(table, || {
        tables::past_queue([("policies", &["name", "policy", "is_ceiling"])])
    });
    let found = match rows? {
        Some([rows]) => rows.into_iter().find_map(|row| match &row[..] {
            [name, policy, Some(is_ceiling)] if *is_ceiling == *c"t" => {
                name.clone().zip(policy.clone())
            }
            _ => None,
        }),
        None => ceiling_in_turn()?,
    };
    let Some((name, document)) = found else {
        return Ok(None);
    };
    // Of a call's own and the ceiling's max_stall the lower one counts, whatever deadlock_timeout is by now.
    let policy = read_under(&document.as_json(), Duration::MAX)?;
    Ok(Some(Ceiling {
        name: name.for_people(),
        policy,
    }))
}

/// Its name and what is stored, where nobody is queued for the table, or the queue is to be waited for.
fn ceiling_in_turn() -> Result<Option<(ServerText, ServerText)>, Error> {
    let table = tables::for_reading("policies", FAILS)?;
    let query =
        "SELECT p.name, p.policy::pg_catalog.text FROM lockguard.policies p WHERE p.is_ceiling";
    let found = raised::as_owner_of(table, || {
        snapshots::with_latest(|| {
            Spi::connect(|client| {
                let mut found = None;
                for row in client.select(query, None, &[])? {
                    found = row.get::<Verbatim>(1)?.zip(row.get::<Verbatim>(2)?);
                }
                Ok::<_, spi::Error>(found)
            })
        })
    });
    let found = found.map_err(server)?;
    Ok(found.map(|(name, document)| (name.0, document.0)))
}

/// Makes a stored policy the ceiling in place of the one that is, or has none be it.
///
/// # Errors
/// 42501 for all but superusers; 42704 where there is no such policy.
pub fn set_ceiling(name: Option<&ServerText>) -> Result<(), Error> {
    if !roles::is_superuser(roles::current_id()) {
        return Err(Error::NotAllowed {
            message: "must be superuser to set the ceiling".into(),
            hint: "It bounds every call in the database, superusers' too.".into(),
        });
    }
    if let Some(name) = name {
        read(&find(name)?.policy.as_json())?;
    }
    run(
        "UPDATE lockguard.policies SET is_ceiling = false WHERE is_ceiling",
        &[],
    )?;
    match name {
        None => Ok(()),
        Some(name) => run(
            "UPDATE lockguard.policies SET is_ceiling = true WHERE name OPERATOR(pg_catalog.=) $1",
            &[text(name)],
        ),
    }
}

/// Stores a policy, or replaces one that the current role may.
///
/// # Errors
/// 22023 for what is no policy, or no name for one; 42501 for who is not of the database's owner, or
/// not of the one that stored it before.
pub fn store(
    name: &ServerText,
    document: Document,
    comment: Option<ServerText>,
) -> Result<(), Error> {
    may_store()?;
    check_name(name)?;
    read(&document.text())?;
    let me = roles::current_id();
    let owner = match find(name) {
        // Whose rights it lends is not to change behind the back of who lent it.
        Ok(entry) if entry.is_ceiling && !roles::is_superuser(me) => {
            return Err(Error::NotAllowed {
                message: format!("must be superuser to change the ceiling {}", quoted(&name.for_people())),
                hint: "It bounds every call. Store the policy under another name, or have a superuser take the ceiling away: SELECT lockguard.set_ceiling(NULL);".into(),
            });
        }
        Ok(entry) => match roles::name(entry.owner) {
            Some(owner) => {
                must_own(name, &entry)?;
                if entry.owner != me {
                    message::notice(&format!(
                        "stored policy {} is replaced, and still lends the rights of {owner}",
                        quoted(&name.for_people())
                    ));
                }
                entry.owner
            }
            // A dropped role's loans were that role's to give.
            None => {
                forget_loans(name)?;
                message::notice(&format!(
                    "stored policy {} lends this role's rights from now on; its owner had been dropped, and all its loans have ended",
                    quoted(&name.for_people())
                ));
                me
            }
        },
        Err(Error::UnknownObject { .. }) => me,
        Err(other) => return Err(other),
    };
    if !roles::may_signal_others(owner) {
        message::notice(&format!(
            "role {} is no member of pg_signal_backend: through stored policy {} it lends its own sessions and those of roles that it is a member of, nobody else's",
            quoted(&roles::name(owner).unwrap_or_default()),
            quoted(&name.for_people())
        ));
    }
    forget_dropped()?;
    run(
        "INSERT INTO lockguard.policies AS p (name, owner, policy, comment) \
         VALUES ($1, $2::pg_catalog.regrole, $3, $4) \
         ON CONFLICT (name) DO UPDATE \
         SET owner = excluded.owner, policy = excluded.policy, comment = excluded.comment",
        &[
            text(name),
            role(owner),
            document.into(),
            comment.map(Verbatim).into(),
        ],
    )
}

/// Drops a stored policy with its loans.
///
/// # Errors
/// 42704 where there is none; 42501 for who is not of its owner; 55006 for the ceiling.
pub fn drop(name: &ServerText) -> Result<(), Error> {
    let entry = find(name)?;
    must_own(name, &entry)?;
    if entry.is_ceiling {
        return Err(Error::InUse {
            message: format!(
                "cannot drop stored policy {}, which is the ceiling",
                quoted(&name.for_people())
            ),
            hint: "A superuser sets another one, or none: SELECT lockguard.set_ceiling(NULL);"
                .into(),
        });
    }
    forget_loans(name)?;
    run(
        "DELETE FROM lockguard.policies WHERE name OPERATOR(pg_catalog.=) $1",
        &[text(name)],
    )
}

/// Lets a role use a stored policy.
///
/// # Errors
/// 42704 where there is no such policy or role; 42501 for who is not of the policy's owner.
pub fn lend(name: &ServerText, to: &ServerText) -> Result<(), Error> {
    let entry = find(name)?;
    must_own(name, &entry)?;
    must_have_owner(name, &entry)?;
    let to = existing_role(to)?;
    forget_dropped()?;
    run(
        "INSERT INTO lockguard.policy_loans (policy, role) VALUES ($1, $2::pg_catalog.regrole) \
         ON CONFLICT DO NOTHING",
        &[text(name), role(to)],
    )
}

/// Takes back a loan.
///
/// # Errors
/// As for [`lend`].
pub fn revoke(name: &ServerText, from: &ServerText) -> Result<(), Error> {
    let entry = find(name)?;
    must_own(name, &entry)?;
    let from_role = existing_role(from)?;
    if !entry.loans.contains(&from_role) {
        message::notice(&format!(
            "stored policy {} was not lent to role {}",
            quoted(&name.for_people()),
            quoted(&from.for_people())
        ));
    }
    run(
        "DELETE FROM lockguard.policy_loans \
         WHERE policy OPERATOR(pg_catalog.=) $1 AND role OPERATOR(pg_catalog.=) $2",
        &[text(name), role(from_role)],
    )
}

fn find(name: &ServerText) -> Result<Entry, Error> {
    if let Some(entry) = find_past_queue(name)? {
        return Ok(entry);
    }
    let table = tables::for_reading("policies", FAILS)?;
    tables::for_reading("policy_loans", FAILS)?;
    let query = "SELECT p.owner::pg_catalog.oid, p.policy::pg_catalog.text, p.is_ceiling, \
                        ARRAY(SELECT l.role::pg_catalog.oid FROM lockguard.policy_loans l \
                              WHERE l.policy OPERATOR(pg_catalog.=) p.name) \
                 FROM lockguard.policies p WHERE p.name OPERATOR(pg_catalog.=) $1";
    // What has been revoked since this transaction began does not count any more.
    let found = raised::as_owner_of(table, || {
        snapshots::with_latest(|| {
            Spi::connect(|client| {
                let mut found = None;
                for row in client.select(query, None, &[text(name)])? {
                    found = Some(Entry {
                        is_ceiling: row.get::<bool>(3)?.unwrap_or(false),
                        owner: row.get::<pg_sys::Oid>(1)?.map_or(0, |oid| oid.to_u32()),
                        policy: row
                            .get::<Verbatim>(2)?
                            .map(|text| text.0)
                            .unwrap_or_default(),
                        loans: row
                            .get::<Vec<pg_sys::Oid>>(4)?
                            .unwrap_or_default()
                            .into_iter()
                            .map(|oid| oid.to_u32())
                            .collect(),
                    });
                }
                Ok::<_, spi::Error>(found)
            })
        })
    });
    match found.map_err(server)? {
        Some(entry) => Ok(entry),
        None => Err(Error::UnknownObject {
            message: format!(
                "stored policy {} does not exist",
                quoted(&name.for_people())
            ),
            hint: Some(like(name)?),
        }),
    }
}

/// The same while somebody is queued for one of the tables; none where it is to be found in the usual way.
fn find_past_queue(name: &ServerText) -> Result<Option<Entry>, Error> {
    let table = tables::find("policies")?;
    let both = raised::as_owner_of(table, || {
        tables::past_queue([
            ("policies", &["name", "owner", "policy", "is_ceiling"]),
            ("policy_loans", &["policy", "role"]),
        ])
    });
    let Some([policies, loans]) = both? else {
        return Ok(None);
    };
    let text = |row: &Row, i: usize| row.get(i)?.as_ref().map(ServerText::for_people);
    let oid = |row: &Row| text(row, 1).and_then(|text| text.parse().ok());
    let is_it = |row: &&Row| row.first().is_some_and(|n| n.as_ref() == Some(name));
    Ok(policies.iter().find(is_it).map(|row| Entry {
        owner: oid(row).unwrap_or(0),
        policy: row.get(2).cloned().flatten().unwrap_or_default(),
        is_ceiling: text(row, 3).is_some_and(|text| text == "t"),
        loans: loans.iter().filter(is_it).filter_map(oid).collect(),
    }))
}

/// Which stored policy was probably meant.
fn like(name: &ServerText) -> Result<String, Error> {
    let table = tables::find("policies")?;
    let names = raised::as_owner_of(table, || {
        Spi::connect(|client| {
            let query = "SELECT p.name FROM lockguard.policies p LIMIT 1000";
            let mut names = vec![];
            for row in client.select(query, None, &[])? {
                names.extend(row.get::<Text>(1)?.map(|text| text.0));
            }
            Ok::<_, spi::Error>(names)
        })
    });
    let names = names.map_err(server)?;
    Ok(
        match nearest(&name.for_people(), names.iter().map(String::as_str)) {
            Some(known) => format!("Perhaps you meant {}.", quoted(known)),
            None => "See lockguard.policies for those that there are.".into(),
        },
    )
}

fn may_store() -> Result<(), Error> {
    let owner = roles::owner_of_database();
    match owner.is_some_and(|owner| roles::has_rights_of(roles::current_id(), owner)) {
        true => Ok(()),
        false => Err(Error::NotAllowed {
            message: "must be owner of the database to store a policy".into(),
            hint: "The database's owner, its members and superusers store policies and lend them to others."
                .into(),
        }),
    }
}

fn must_own(name: &ServerText, entry: &Entry) -> Result<(), Error> {
    match roles::has_rights_of(roles::current_id(), entry.owner) {
        true => Ok(()),
        false => Err(Error::NotAllowed {
            message: format!(
                "must be owner of stored policy {}",
                quoted(&name.for_people())
            ),
            hint: match roles::name(entry.owner) {
                Some(owner) => format!("Its owner is {}.", quoted(&owner)),
                None => "Its owner has been dropped: a superuser may drop it.".into(),
            },
        }),
    }
}

fn must_have_owner(name: &ServerText, entry: &Entry) -> Result<(), Error> {
    match roles::name(entry.owner) {
        Some(_) => Ok(()),
        None => Err(Error::NotAllowed {
            message: format!(
                "the owner of stored policy {} has been dropped",
                quoted(&name.for_people())
            ),
            hint: "It lends nobody's rights any more. Have the database's owner store it anew, and lend it again."
                .into(),
        }),
    }
}

fn check_name(name: &ServerText) -> Result<(), Error> {
    let refused = |message: &str| {
        Err(Error::Argument {
            message: message.into(),
            hint: Some("Use a short word, such as \"nightly-backups\".".into()),
        })
    };
    let bytes = name.as_bytes().len();
    let name = name.for_people();
    let reserved = ["on", "off"].iter().any(|w| name.eq_ignore_ascii_case(w));
    match () {
        () if name.trim().is_empty() => refused("the name of a stored policy must not be empty"),
        () if name.trim() != name || reserved || name.starts_with('{') => refused(
            "the name of a stored policy must not be \"on\" or \"off\", nor begin with \"{\", nor begin or end with white space",
        ),
        () if bytes > LONGEST_NAME => {
            refused("the name of a stored policy must not be longer than 63 bytes")
        }
        () => Ok(()),
    }
}

fn existing_role(name: &ServerText) -> Result<u32, Error> {
    roles::by_name(name).ok_or_else(|| Error::UnknownObject {
        message: format!("role {} does not exist", quoted(&name.for_people())),
        hint: Some("A policy is lent to a role; its members may use it as well.".into()),
    })
}

fn forget_loans(name: &ServerText) -> Result<(), Error> {
    run(
        "DELETE FROM lockguard.policy_loans WHERE policy OPERATOR(pg_catalog.=) $1",
        &[text(name)],
    )
}

/// Loans to roles that have been dropped are nobody's.
fn forget_dropped() -> Result<(), Error> {
    run(
        "DELETE FROM lockguard.policy_loans l \
         WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles r \
                           WHERE r.oid OPERATOR(pg_catalog.=) l.role)",
        &[],
    )
}

/// Changes one of the tables, as their owner.
fn run(query: &str, arguments: &[pgrx::datum::DatumWithOid<'_>]) -> Result<(), Error> {
    let table = tables::find("policies")?;
    raised::changing_as_owner_of(table, || Spi::run_with_args(query, arguments)).map_err(server)
}

fn text(value: &ServerText) -> pgrx::datum::DatumWithOid<'static> {
    Verbatim(value.clone()).into()
}

fn role(role: u32) -> pgrx::datum::DatumWithOid<'static> {
    pg_sys::Oid::from_u32(role).into()
}

fn server(error: spi::Error) -> Error {
    Error::Server(error.to_string())
}
