//! The one error type, and what each error tells the client: SQLSTATE, message, detail, hint.

use crate::lock::{LockMode, UnknownMode};
use crate::pg::layout::{self, Mismatch};
use crate::pg::text;
use crate::policy::{Problem, quoted};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum Error {
    /// The policy document is not one.
    #[error("invalid lockguard policy: {}", .0.message)]
    Policy(Problem),
    /// The setting `lockguard.policy` is no policy.
    #[error("invalid value for parameter \"lockguard.policy\": {}", .0.message)]
    Setting(Problem),
    /// An argument other than a policy is wrong.
    #[error("{message}")]
    Argument {
        message: String,
        hint: Option<String>,
    },
    /// A NULL where something is needed.
    #[error("{0} must not be null")]
    Null(&'static str),
    /// A name, or an OID, that is no relation of this database.
    #[error("{message}")]
    UnknownRelation {
        message: String,
        detail: Option<String>,
        hint: Option<String>,
    },
    /// A name that is no stored policy, or no role.
    #[error("{message}")]
    UnknownObject {
        message: String,
        hint: Option<String>,
    },
    /// More than the stored policy allows that a call starts from.
    #[error("the stored policy does not allow that: {}", .0.message)]
    TooWide(Problem),
    /// What this role, or nobody, may do.
    #[error("{message}")]
    NotAllowed { message: String, hint: String },
    /// An event trigger's function that is called otherwise than its own event trigger calls it.
    #[error("{message}")]
    NotItsTrigger { message: String, hint: String },
    /// What something else still needs.
    #[error("{message}")]
    InUse { message: String, hint: String },
    /// What cannot be done on a standby.
    #[error("{message}")]
    InRecovery { message: String, hint: String },
    /// The server's lock table has no room for what the call would take.
    #[error("{message}")]
    NoRoom {
        message: String,
        detail: String,
        hint: String,
    },
    /// The lock could not be had in time, or only at a price that policy does not allow.
    #[error("{message}")]
    NotFree {
        message: String,
        detail: String,
        hint: String,
    },
    /// What has to be read first is locked for as long as the call may take.
    #[error("{message}")]
    Unread {
        message: String,
        detail: String,
        hint: String,
    },
    /// What no parallel worker may do, nor whoever has some.
    #[error("cannot execute lockguard.{0}() during a parallel operation")]
    Parallel(&'static str),
    /// Who is in the way waits for this very transaction.
    #[error("{message}")]
    Deadlock {
        message: String,
        detail: String,
        hint: String,
    },
    /// The server was built otherwise than the one that this library was built for.
    #[error(
        "lockguard was built for another build of PostgreSQL {}",
        pg_sys::get_pg_major_version_num()
    )]
    OtherServer(Mismatch),
    /// A query of ours failed in a way that is no ERROR of the server.
    #[error("{0}")]
    Server(String),
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Error {
        match problem.is_too_wide {
            true => Error::TooWide(problem),
            false => Error::Policy(problem),
        }
    }
}

impl From<UnknownMode> for Error {
    fn from(unknown: UnknownMode) -> Error {
        let hint = match unknown.nearest {
            Some(word) => format!("Perhaps you meant \"{word}\"."),
            None => format!(
                "Valid are: {}.",
                LockMode::ALL.map(LockMode::name).join(", ")
            ),
        };
        Error::Argument {
            message: format!("unknown lock mode {}", quoted(&unknown.given)),
            hint: Some(hint),
        }
    }
}

/// That the running server is the one that this library was built for, as far as that shows yet.
///
/// # Errors
/// [`Error::OtherServer`].
pub fn check_server() -> Result<(), Error> {
    layout::mismatch().map_or(Ok(()), |found| Err(Error::OtherServer(found)))
}

impl Error {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Error::Setting(problem) if problem.is_too_wide => {
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE
            }
            Error::TooWide(_) => PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Error::UnknownObject { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            Error::Policy(_) | Error::Setting(_) | Error::Argument { .. } => {
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE
            }
            Error::InUse { .. } => PgSqlErrorCode::ERRCODE_OBJECT_IN_USE,
            Error::Null(_) => PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            Error::UnknownRelation { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            Error::NotAllowed { .. } => PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Error::NotItsTrigger { .. } => {
                PgSqlErrorCode::ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED
            }
            Error::InRecovery { .. } => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Error::NoRoom { .. } => PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
            Error::NotFree { .. } | Error::Unread { .. } => {
                PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE
            }
            Error::Parallel(_) => PgSqlErrorCode::ERRCODE_INVALID_TRANSACTION_STATE,
            Error::Deadlock { .. } => PgSqlErrorCode::ERRCODE_T_R_DEADLOCK_DETECTED,
            Error::OtherServer(_) => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            Error::Server(_) => PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Error::Policy(problem) | Error::Setting(problem) | Error::TooWide(problem) => {
                Some(format!("At {} in the policy.", problem.path))
            }
            Error::UnknownRelation { detail, .. } => detail.clone(),
            Error::NoRoom { detail, .. }
            | Error::NotFree { detail, .. }
            | Error::Unread { detail, .. }
            | Error::Deadlock { detail, .. } => Some(detail.clone()),
            Error::OtherServer(Mismatch { server, library }) => Some(format!(
                "The server's PGPROC has {} bytes, the library's {library}.",
                server.map_or("another number of".into(), |size| size.to_string()),
            )),
            Error::Argument { .. }
            | Error::Null(_)
            | Error::UnknownObject { .. }
            | Error::NotAllowed { .. }
            | Error::InUse { .. }
            | Error::NotItsTrigger { .. }
            | Error::InRecovery { .. }
            | Error::Parallel(_)
            | Error::Server(_) => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Error::Policy(problem) | Error::TooWide(problem) => problem.hint.clone(),
            Error::Setting(problem) => Some(format!(
                "{}It is judged at the first DDL; SET lockguard.policy = '' turns guard mode off.",
                problem
                    .hint
                    .iter()
                    .map(|hint| format!("{hint} "))
                    .collect::<String>()
            )),
            Error::Argument { hint, .. } | Error::UnknownObject { hint, .. } => hint.clone(),
            Error::UnknownRelation { hint, .. } => hint.clone(),
            Error::NotAllowed { hint, .. }
            | Error::InUse { hint, .. }
            | Error::NotItsTrigger { hint, .. }
            | Error::InRecovery { hint, .. }
            | Error::NoRoom { hint, .. }
            | Error::NotFree { hint, .. }
            | Error::Unread { hint, .. }
            | Error::Deadlock { hint, .. } => Some(hint.clone()),
            Error::OtherServer(_) => {
                Some("Build it with the pg_config of the server that is to load it.".into())
            }
            Error::Null(_) | Error::Parallel(_) | Error::Server(_) => None,
        }
    }
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> ErrorReport {
        let message = text::for_message(&error.to_string());
        let mut report = ErrorReport::new(error.sqlstate(), message, function_name!());
        if let Some(detail) = error.detail() {
            report = report.set_detail(text::for_message(&detail));
        }
        if let Some(hint) = error.hint() {
            report = report.set_hint(text::for_message(&hint));
        }
        report
    }
}
