//! What depends on what, and what hangs on a relation: triggers, rules, policies. What constraints say has a
//! file of its own.

use super::scan::{Index, rows, texts};
use crate::ddl::Address;
use crate::lock::{LockMode, RelationId};
use crate::server_text::ServerText;
use pgrx::pg_sys;

/// The catalogs that objects are in, by their OIDs.
pub mod catalog {
    pub const CLASS: u32 = 1259;
    pub const TYPE: u32 = 1247;
    pub const CONSTRAINT: u32 = 2606;
    pub const ATTRIBUTE_DEFAULT: u32 = 2604;
    pub const TRIGGER: u32 = 2620;
    pub const REWRITE: u32 = 2618;
    pub const POLICY: u32 = 3256;
    pub const STATISTICS: u32 = 3381;
    pub const PUBLICATION_RELATION: u32 = 6106;
    pub const SCHEMA: u32 = 2615;
    pub const ROLE: u32 = 1260;
    pub const FUNCTION: u32 = 1255;
}

const DEPENDER: Index = Index {
    catalog: 2608,
    index: 2673,
};
const REFERENCE: Index = Index {
    catalog: 2608,
    index: 2674,
};
const SHARED_DEPENDER: Index = Index {
    catalog: 1214,
    index: 1232,
};
const SHARED_REFERENCE: Index = Index {
    catalog: 1214,
    index: 1233,
};

/// Dependency types: `DependencyType` in `dependency.h`.
pub const NORMAL: u8 = b'n';
pub const AUTO: u8 = b'a';
pub const INTERNAL: u8 = b'i';
pub const EXTENSION: u8 = b'e';

/// What depends on an object (of a whole one, also what depends on its columns), and how.
pub fn dependents(on: Address) -> Vec<(Address, u8)> {
    let mut key = vec![("refclassid", on.class), ("refobjid", on.object)];
    if on.part != 0 {
        key.push(("refobjsubid", on.part as u32));
    }
    rows(REFERENCE, &key, ["classid", "objid", "objsubid", "deptype"])
        .into_iter()
        .map(read)
        .collect()
}

/// What an object depends on, and how.
pub fn dependencies(of: Address) -> Vec<(Address, u8)> {
    let mut key = vec![("classid", of.class), ("objid", of.object)];
    if of.part != 0 {
        key.push(("objsubid", of.part as u32));
    }
    rows(
        DEPENDER,
        &key,
        ["refclassid", "refobjid", "refobjsubid", "deptype"],
    )
    .into_iter()
    .map(read)
    .collect()
}

fn read([class, object, part, kind]: [u64; 4]) -> (Address, u8) {
    let address = Address {
        class: class as u32,
        object: object as u32,
        part: part as i32,
    };
    (address, kind as u8)
}

/// The roles that a policy of this database is for; none if it is for all.
pub fn roles_of(policy: Address) -> Vec<u32> {
    let key = [
        ("dbid", super::catalog::database()),
        ("classid", policy.class),
        ("objid", policy.object),
    ];
    rows(SHARED_DEPENDER, &key, ["refclassid", "refobjid", "deptype"])
        .into_iter()
        .filter(|[class, _, kind]| *class as u32 == catalog::ROLE && *kind as u8 == b'r')
        .map(|[_, role, _]| role as u32)
        .collect()
}

/// What in this database depends on a role, and how: `o` for its owner.
pub fn dependents_of_role(role: u32) -> Vec<(Address, u8)> {
    let database = super::catalog::database();
    rows(
        SHARED_REFERENCE,
        &[("refclassid", catalog::ROLE), ("refobjid", role)],
        ["dbid", "classid", "objid", "objsubid", "deptype"],
    )
    .into_iter()
    .filter(|[of, ..]| *of as u32 == database)
    .map(|[_, class, object, part, kind]| read([class, object, part, kind]))
    .collect()
}

/// The relation that a trigger, rule, policy, default or statistics object is on.
pub fn relation_of(address: Address) -> Option<RelationId> {
    let (index, column) = match address.class {
        catalog::TRIGGER => (2702, "tgrelid"),
        catalog::REWRITE => (2692, "ev_class"),
        catalog::POLICY => (3257, "polrelid"),
        catalog::ATTRIBUTE_DEFAULT => (2657, "adrelid"),
        catalog::STATISTICS => (3380, "stxrelid"),
        _ => return None,
    };
    let by = Index {
        catalog: address.class,
        index,
    };
    let found = rows(by, &[("oid", address.object)], [column]);
    found.first().map(|[relation]| *relation as u32)
}

/// Whether a foreign key's trigger, or the like, and not a user's.
pub fn trigger_constraint(trigger: u32) -> Option<u32> {
    let by = Index {
        catalog: catalog::TRIGGER,
        index: 2702,
    };
    let found = rows(by, &[("oid", trigger)], ["tgconstraint"]);
    found.first().map(|[id]| *id as u32).filter(|id| *id != 0)
}

/// A trigger that somebody has made and that is enabled in this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    pub function: u32,
    /// It is for TRUNCATE; otherwise for what changes rows.
    pub on_truncate: bool,
    /// INSTEAD OF
    pub is_instead: bool,
}

/// Whether a trigger, or an event trigger, that is enabled so fires in this session.
pub fn is_enabled(how: u8) -> bool {
    // SAFETY: a setting of this session.
    let is_replica = unsafe { pg_sys::SessionReplicationRole }
        == pg_sys::SESSION_REPLICATION_ROLE_REPLICA as core::ffi::c_int;
    match how {
        pg_sys::TRIGGER_FIRES_ALWAYS => true,
        pg_sys::TRIGGER_FIRES_ON_ORIGIN => !is_replica,
        pg_sys::TRIGGER_FIRES_ON_REPLICA => is_replica,
        _ => false,
    }
}

/// The triggers of a relation that fire here, but for the server's own.
pub fn triggers(relation: RelationId) -> Vec<Trigger> {
    let by = Index {
        catalog: catalog::TRIGGER,
        index: 2701,
    };
    let columns = ["tgfoid", "tgtype", "tgenabled", "tgisinternal"];
    rows(by, &[("tgrelid", relation)], columns)
        .into_iter()
        .filter(|[_, _, enabled, is_internal]| {
            is_enabled(*enabled as u8) && *is_internal as u8 == 0
        })
        .map(|[function, kind, ..]| Trigger {
            function: function as u32,
            on_truncate: kind as u32 & pg_sys::TRIGGER_TYPE_TRUNCATE != 0,
            is_instead: kind as u32 & pg_sys::TRIGGER_TYPE_INSTEAD != 0,
        })
        .collect()
}

/// The triggers of a relation that are FOR EACH ROW, and whether the server has made them for a constraint.
pub fn row_triggers(relation: RelationId) -> Vec<(u32, bool)> {
    let by = Index {
        catalog: catalog::TRIGGER,
        index: 2701,
    };
    rows(
        by,
        &[("tgrelid", relation)],
        ["oid", "tgtype", "tgisinternal"],
    )
    .into_iter()
    .filter(|[_, kind, _]| *kind as u32 & pg_sys::TRIGGER_TYPE_ROW != 0)
    .map(|[id, _, is_internal]| (id as u32, is_internal as u8 != 0))
    .collect()
}

/// The functions that an object's expressions call, but for the server's own.
pub fn functions_of(object: Address) -> Vec<u32> {
    let called = dependencies(object).into_iter();
    called
        .filter(|(on, _)| on.class == catalog::FUNCTION)
        .map(|(on, _)| on.object)
        .collect()
}

/// The triggers, rules and policies of a relation, and their names' owner.
pub fn on_relation(class: u32, relation: RelationId) -> Vec<Address> {
    let (index, column) = match class {
        catalog::TRIGGER => (2701, "tgrelid"),
        catalog::REWRITE => (2693, "ev_class"),
        catalog::POLICY => (3258, "polrelid"),
        catalog::ATTRIBUTE_DEFAULT => (2656, "adrelid"),
        catalog::STATISTICS => (3379, "stxrelid"),
        _ => return vec![],
    };
    let found = rows(
        Index {
            catalog: class,
            index,
        },
        &[(column, relation)],
        ["oid"],
    );
    found
        .into_iter()
        .map(|[id]| Address {
            class,
            object: id as u32,
            part: 0,
        })
        .collect()
}

/// The trigger, rule, policy or constraint of that name on a relation.
pub fn named(class: u32, relation: RelationId, name: &ServerText) -> Option<Address> {
    let name = name.as_c_str();
    let relation_oid = pg_sys::Oid::from_u32(relation);
    // SAFETY: catalog look-ups that answer 0 for what is not there.
    let oid = unsafe {
        match class {
            catalog::TRIGGER => pg_sys::get_trigger_oid(relation_oid, name.as_ptr(), true),
            catalog::REWRITE => {
                super::compat::unbound::get_rewrite_oid(relation_oid, name.as_ptr())
            }
            catalog::POLICY => {
                super::compat::unbound::get_relation_policy_oid(relation_oid, name.as_ptr())
            }
            catalog::CONSTRAINT => {
                super::compat::unbound::get_relation_constraint_oid(relation_oid, name.as_ptr())
            }
            _ => pg_sys::InvalidOid,
        }
    };
    (oid != pg_sys::InvalidOid).then(|| Address {
        class,
        object: oid.to_u32(),
        part: 0,
    })
}

/// The relations that the query of a view or materialized view reads.
pub fn read_by_rules(relation: RelationId) -> Vec<RelationId> {
    let mut found: Vec<RelationId> = vec![];
    for (read, _) in locked_by_rules(relation, true) {
        if !found.contains(&read) {
            found.push(read);
        }
    }
    found
}

/// The relations that the queries of a relation's rules lock, and how: of the rule that makes it a view, or
/// of all others.
pub fn locked_by_rules(relation: RelationId, of_view: bool) -> Vec<(RelationId, LockMode)> {
    let by = Index {
        catalog: catalog::REWRITE,
        index: 2693,
    };
    let mut found = vec![];
    for (event, queries) in texts(by, &[("ev_class", relation)], ["ev_type", "ev_action"]) {
        if (event as u8 == b'1') != of_view {
            continue;
        }
        // As the server keeps them: each relation in a range table with the lock that it needs.
        for part in queries.split(":relid ").skip(1) {
            let number = |text: &str| text.split([' ', '}']).next()?.parse::<u32>().ok();
            let mode = part.split(":rellockmode ").nth(1).and_then(number);
            let mode = mode.and_then(|mode| LockMode::from_number(mode as i32));
            if let (Some(read), Some(mode)) = (number(part), mode)
                && read != 0
                && read != relation
                && !found.contains(&(read, mode))
            {
                found.push((read, mode));
            }
        }
    }
    found
}

/// The relations that an object's expression names.
pub fn named_by(object: Address) -> Vec<RelationId> {
    let mut found = vec![];
    for (on, kind) in dependencies(object) {
        if kind == NORMAL && on.class == catalog::CLASS && !found.contains(&on.object) {
            found.push(on.object);
        }
    }
    found
}

/// The tables that a publication names.
pub fn published(publication: u32) -> Vec<RelationId> {
    let by = Index {
        catalog: catalog::PUBLICATION_RELATION,
        index: 6116,
    };
    let found = rows(by, &[("prpubid", publication)], ["prrelid"]);
    found.into_iter().map(|[id]| id as u32).collect()
}

/// The sequences that belong to columns of a table (`serial`, identity), of one column where it is given.
pub fn owned_sequences(table: RelationId, column: Option<i16>) -> Vec<RelationId> {
    let on = Address {
        class: catalog::CLASS,
        object: table,
        part: column.unwrap_or(0).into(),
    };
    dependents(on)
        .into_iter()
        .filter(|(by, kind)| {
            by.class == catalog::CLASS
                && matches!(*kind, b'a' | b'i')
                && super::catalog::relation(by.object).is_some_and(|facts| facts.kind == b'S')
        })
        .map(|(by, _)| by.object)
        .collect()
}
