//! On whose behalf a call does what it does to sessions: roles each of which must be allowed to. It is a value that
//! goes with the call, so that no path can leave one of them out, and none outlives the call.

use super::roles;
use super::source::setter;
use crate::session::{Rights, Warrant};
use pgrx::pg_sys;
use std::ffi::CStr;

/// Those roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principals {
    /// Each of them must be allowed.
    own: Vec<u32>,
    /// The owner of the stored policy that is carried out.
    lender: Option<u32>,
    /// Nobody is: who has brought the call about cannot be told.
    is_restricted: bool,
}

impl Principals {
    /// The current role alone: for looking, and for what it is told.
    pub fn of_look() -> Principals {
        Principals {
            own: vec![roles::current_id()],
            lender: None,
            is_restricted: false,
        }
    }

    /// Those of a call: the current role and, where that is the owner of a SECURITY DEFINER function, whoever calls
    /// it. In a security-restricted operation, as of an index's function that ANALYZE runs, neither is who has
    /// brought it about.
    pub fn of_call() -> Principals {
        let mut own = vec![roles::current_id(), roles::outer()];
        own.dedup();
        Principals {
            own,
            lender: None,
            is_restricted: is_security_restricted(),
        }
    }

    /// Those of what is done for a setting: the same, and who has set it.
    pub fn of_setting(name: &CStr) -> Principals {
        let mut principals = Principals::of_call();
        let setter = setter(name);
        if !principals.own.contains(&setter) {
            principals.own.push(setter);
        }
        principals
    }

    /// The same through a stored policy of that role's.
    pub fn with_lender(self, owner: u32) -> Principals {
        Principals {
            lender: Some(owner),
            ..self
        }
    }

    /// Who must be allowed to use a stored policy.
    pub fn own(&self) -> &[u32] {
        &self.own
    }

    /// Whether all of them may do with what a role owns as that does.
    pub fn act_for(&self, owner: u32) -> bool {
        self.own.iter().all(|who| roles::acts_for(*who, owner))
    }

    /// What may be done with a session. `usesysid`: its role in `pg_stat_activity`; `role`: that which signalling
    /// it goes by, none for a process of the server itself.
    pub fn rights(
        &self,
        usesysid: Option<u32>,
        role: Option<u32>,
        is_autovacuum_worker: bool,
    ) -> Rights {
        let see = self.own.iter().all(|who| roles::sees(*who, usesysid));
        Rights {
            see,
            judge: self.lender.map_or(see, |who| roles::sees(who, usesysid)),
            own_signal: self.may_signal(Warrant::Own, role, is_autovacuum_worker),
            signal: self.may_signal(self.best(), role, is_autovacuum_worker),
        }
    }

    /// Whether a session of that role (none: a process of the server itself) may be signalled under that warrant.
    /// Every signal asks this right before it is sent, and there is no other way to one.
    pub fn may_signal(
        &self,
        warrant: Warrant,
        role: Option<u32>,
        is_autovacuum_worker: bool,
    ) -> bool {
        let may = |who: u32| roles::may_signal(who, role.unwrap_or(0), is_autovacuum_worker);
        match (warrant, self.lender) {
            _ if self.is_restricted => false,
            (Warrant::Own, _) => self.own.iter().all(|who| may(*who)),
            (Warrant::Lent, Some(lender)) => may(lender),
            (Warrant::Lent | Warrant::None, _) => false,
        }
    }

    /// The most that a sighting can give.
    fn best(&self) -> Warrant {
        match self.lender {
            Some(_) => Warrant::Lent,
            None => Warrant::Own,
        }
    }
}

/// Whether code runs that somebody else's statement has brought about, such as an index's function in ANALYZE.
pub fn is_security_restricted() -> bool {
    // SAFETY: a flag of this session.
    unsafe { pg_sys::InSecurityRestrictedOperation() }
}
