//! DROP of all kinds, DROP OWNED and REASSIGN OWNED; and which object a name means that is no relation.

use super::node;
use crate::ddl::{Address, Kind, Part, Statement};
use pgrx::pg_sys::{self, NodeTag, ObjectType::*};

/// # Safety
/// A raw parse tree.
pub unsafe fn drop(statement: &pg_sys::DropStmt) -> Statement {
    let cascade = statement.behavior == pg_sys::DropBehavior::DROP_CASCADE;
    // SAFETY: the parser makes each list of what the kind of object is named by.
    unsafe {
        if let Some(kind) = relation_kind(statement.removeType) {
            let names = node::elements::<pg_sys::List>(statement.objects);
            return Statement::Drop {
                kind,
                names: names.filter_map(|list| node::name_of_list(list)).collect(),
                cascade,
                missing_ok: statement.missing_ok,
                concurrently: statement.concurrent,
            };
        }
        if let Some(part) = part(statement.removeType) {
            let lists = node::elements::<pg_sys::List>(statement.objects);
            let all = lists.filter_map(|list| node::name_and_part(list));
            let all: Vec<Statement> = all
                .map(|(table, name)| Statement::DropPart {
                    part,
                    table,
                    name,
                    cascade,
                })
                .collect();
            return Statement::Several(all);
        }
        if statement.removeType == OBJECT_SCHEMA {
            return Statement::DropSchemas {
                names: node::strings(statement.objects),
                cascade,
            };
        }
        let objects = node::elements::<pg_sys::Node>(statement.objects);
        let addresses = objects.map(|object| address(statement.removeType, object));
        let addresses: Vec<Option<Address>> = addresses.collect();
        Statement::DropObjects {
            has_made: addresses.iter().any(Option::is_none),
            objects: addresses.into_iter().flatten().collect(),
            cascade,
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn owned(statement: &pg_sys::DropOwnedStmt) -> Statement {
    // SAFETY: a list of roles.
    unsafe {
        Statement::DropOwned {
            roles: roles(statement.roles),
            cascade: statement.behavior == pg_sys::DropBehavior::DROP_CASCADE,
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn reassign(statement: &pg_sys::ReassignOwnedStmt) -> Statement {
    // SAFETY: a list of roles, and one.
    unsafe {
        match node::role(statement.newrole) {
            Some(to) => Statement::ReassignOwned {
                roles: roles(statement.roles),
                to,
            },
            None => Statement::Nothing,
        }
    }
}

/// # Safety
/// A list of roles.
pub unsafe fn roles(list: *mut pg_sys::List) -> Vec<u32> {
    // SAFETY: as promised.
    unsafe {
        node::elements::<pg_sys::RoleSpec>(list)
            .filter_map(|role| node::role(role))
            .collect()
    }
}

pub fn relation_kind(kind: Type) -> Option<Kind> {
    Some(match kind {
        OBJECT_TABLE => Kind::Table,
        OBJECT_INDEX => Kind::Index,
        OBJECT_SEQUENCE => Kind::Sequence,
        OBJECT_VIEW => Kind::View,
        OBJECT_MATVIEW => Kind::MaterializedView,
        OBJECT_FOREIGN_TABLE => Kind::ForeignTable,
        _ => return None,
    })
}

pub fn part(kind: Type) -> Option<Part> {
    Some(match kind {
        OBJECT_COLUMN | OBJECT_ATTRIBUTE => Part::Column,
        OBJECT_TABCONSTRAINT => Part::Constraint,
        OBJECT_TRIGGER => Part::Trigger,
        OBJECT_RULE => Part::Rule,
        OBJECT_POLICY => Part::Policy,
        _ => return None,
    })
}

/// The object that is named so, if it exists and may have relations hanging on it.
///
/// # Safety
/// `object` is what the parser names that kind of object by.
pub unsafe fn address(kind: Type, object: *mut pg_sys::Node) -> Option<Address> {
    // SAFETY: catalog look-ups that answer 0 for what is not there.
    unsafe {
        let list: *mut pg_sys::List = object.cast();
        let name = || match node::is(object, NodeTag::T_String) {
            true => (*object.cast::<pg_sys::String>()).sval,
            false => std::ptr::null_mut(),
        };
        let named = |look: unsafe fn(*const core::ffi::c_char, bool) -> pg_sys::Oid| {
            let name = name();
            match name.is_null() {
                true => pg_sys::InvalidOid,
                false => look(name, true),
            }
        };
        // Without the access method, which comes first.
        let of_method = |look: unsafe fn(pg_sys::Oid, *mut pg_sys::List, bool) -> pg_sys::Oid| {
            let method: *mut pg_sys::String = (*(*list).elements).ptr_value.cast();
            let method = pg_sys::get_am_oid((*method).sval, true);
            let names = pg_sys::list_copy_tail(list, 1);
            match method == pg_sys::InvalidOid {
                true => pg_sys::InvalidOid,
                false => look(method, names, true),
            }
        };
        let (class, oid) = match kind {
            OBJECT_TYPE | OBJECT_DOMAIN => (
                pg_sys::TypeRelationId,
                node::type_id(object.cast()).map_or(pg_sys::InvalidOid, pg_sys::Oid::from_u32),
            ),
            OBJECT_FUNCTION | OBJECT_PROCEDURE | OBJECT_ROUTINE | OBJECT_AGGREGATE => (
                pg_sys::ProcedureRelationId,
                pg_sys::LookupFuncWithArgs(kind, object.cast(), true),
            ),
            OBJECT_OPERATOR => (
                pg_sys::OperatorRelationId,
                pg_sys::LookupOperWithArgs(object.cast(), true),
            ),
            OBJECT_SCHEMA => (
                pg_sys::NamespaceRelationId,
                named(pg_sys::get_namespace_oid),
            ),
            OBJECT_EXTENSION => (
                pg_sys::ExtensionRelationId,
                named(pg_sys::get_extension_oid),
            ),
            OBJECT_LANGUAGE => (pg_sys::Oid::from_u32(2612), named(pg_sys::get_language_oid)),
            OBJECT_PUBLICATION => (
                pg_sys::PublicationRelationId,
                named(pg_sys::get_publication_oid),
            ),
            OBJECT_FDW => (
                pg_sys::ForeignDataWrapperRelationId,
                named(pg_sys::get_foreign_data_wrapper_oid),
            ),
            OBJECT_FOREIGN_SERVER => (
                pg_sys::ForeignServerRelationId,
                named(pg_sys::get_foreign_server_oid),
            ),
            OBJECT_ACCESS_METHOD => (pg_sys::AccessMethodRelationId, named(pg_sys::get_am_oid)),
            OBJECT_COLLATION => (
                pg_sys::CollationRelationId,
                pg_sys::get_collation_oid(list, true),
            ),
            OBJECT_CONVERSION => (
                pg_sys::Oid::from_u32(2607),
                pg_sys::get_conversion_oid(list, true),
            ),
            OBJECT_STATISTIC_EXT => (
                pg_sys::Oid::from_u32(3381),
                pg_sys::get_statistics_object_oid(list, true),
            ),
            OBJECT_TSDICTIONARY => (
                pg_sys::Oid::from_u32(3600),
                pg_sys::get_ts_dict_oid(list, true),
            ),
            OBJECT_TSCONFIGURATION => (
                pg_sys::Oid::from_u32(3602),
                pg_sys::get_ts_config_oid(list, true),
            ),
            OBJECT_OPCLASS => (
                pg_sys::OperatorClassRelationId,
                of_method(pg_sys::get_opclass_oid),
            ),
            OBJECT_OPFAMILY => (
                pg_sys::OperatorFamilyRelationId,
                of_method(pg_sys::get_opfamily_oid),
            ),
            OBJECT_CAST => {
                let mut types = node::elements::<pg_sys::TypeName>(list);
                let source = types.next().and_then(|name| node::type_id(name))?;
                let target = types.next().and_then(|name| node::type_id(name))?;
                let cast = pg_sys::get_cast_oid(
                    pg_sys::Oid::from_u32(source),
                    pg_sys::Oid::from_u32(target),
                    true,
                );
                (pg_sys::Oid::from_u32(2605), cast)
            }
            _ => return None,
        };
        (oid != pg_sys::InvalidOid).then(|| Address {
            class: class.to_u32(),
            object: oid.to_u32(),
            part: 0,
        })
    }
}
