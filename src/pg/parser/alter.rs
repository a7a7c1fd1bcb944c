//! ALTER and RENAME.

use super::{create, drop, node, other, query, rewrite, types};
use crate::ddl::{Alter, Kind, Name, Part, Statement, Triggers};
use crate::lock::LockMode;
use crate::pg::{self, compat};
use pgrx::pg_sys::{self, AlterTableType as at, ObjectType::*};

/// # Safety
/// A raw parse tree.
pub unsafe fn table(statement: &pg_sys::AlterTableStmt) -> Statement {
    // SAFETY: as promised. The level is told from the subcommands alone.
    unsafe {
        let level = pg_sys::AlterTableGetLockLevel(statement.cmds);
        let name = node::name(statement.relation);
        let commands = node::elements::<pg_sys::AlterTableCmd>(statement.cmds);
        Statement::AlterTable {
            missing_ok: statement.missing_ok,
            level: LockMode::from_number(level),
            commands: commands
                .map(|command| subcommand(&*command, &name))
                .collect(),
            name,
        }
    }
}

/// # Safety
/// A raw parse tree.
unsafe fn subcommand(command: &pg_sys::AlterTableCmd, table: &Name) -> Alter {
    // SAFETY: the definition is of the type that the subcommand has.
    unsafe {
        let name = || node::string(command.name).unwrap_or_default();
        let partition = || command.def.cast::<pg_sys::PartitionCmd>();
        let cascade = command.behavior == pg_sys::DropBehavior::DROP_CASCADE;
        if compat::sets_expression(command.subtype) {
            return Alter::SetExpression { column: name() };
        }
        match command.subtype {
            at::AT_AddColumn | at::AT_AddColumnToView => Alter::AddColumn {
                column: create::column(&*command.def.cast()),
                if_not_exists: command.missing_ok,
            },
            at::AT_DropColumn => Alter::DropColumn {
                column: name(),
                cascade,
            },
            at::AT_AlterColumnType => {
                let definition: *mut pg_sys::ColumnDef = command.def.cast();
                let column = name();
                let rewrites = rewrite::by_type(
                    table,
                    &column,
                    (*definition).typeName,
                    (*definition).raw_default,
                );
                Alter::ColumnType { column, rewrites }
            }
            at::AT_ColumnDefault => Alter::Default(query::references(&[command.def])),
            // The indexes that are looked through for the column too are let go of at once, and nobody uses them
            // without the table.
            at::AT_SetStorage
            | at::AT_SetStatistics
            | at::AT_DropExpression
            | at::AT_DropNotNull => Alter::Family,
            at::AT_SetNotNull => Alter::SetNotNull { column: name() },
            at::AT_AddIdentity | at::AT_SetIdentity => Alter::Identity { column: name() },
            at::AT_DropIdentity => Alter::DropIdentity { column: name() },
            at::AT_AddConstraint => {
                Alter::AddConstraint(create::constraint(&*command.def.cast(), None))
            }
            at::AT_AlterConstraint => {
                Alter::ChangeConstraint(compat::altered_constraint(command.def).unwrap_or_default())
            }
            at::AT_ValidateConstraint => Alter::ValidateConstraint(name()),
            at::AT_DropConstraint => Alter::DropConstraint {
                constraint: name(),
                cascade,
            },
            at::AT_EnableTrig
            | at::AT_EnableAlwaysTrig
            | at::AT_EnableReplicaTrig
            | at::AT_DisableTrig => Alter::Triggers(Triggers::Named(name())),
            at::AT_EnableTrigAll | at::AT_DisableTrigAll => Alter::Triggers(Triggers::All),
            at::AT_EnableTrigUser | at::AT_DisableTrigUser => Alter::Triggers(Triggers::User),
            at::AT_ClusterOn => Alter::ClusterOn(name()),
            at::AT_ReplicaIdentity => {
                let identity: *mut pg_sys::ReplicaIdentityStmt = command.def.cast();
                match node::string((*identity).name) {
                    Some(index) => Alter::ReplicaIdentityIndex(index),
                    None => Alter::Itself,
                }
            }
            at::AT_SetLogged | at::AT_SetUnLogged => Alter::Persistence {
                logged: command.subtype == at::AT_SetLogged,
            },
            at::AT_SetAccessMethod => Alter::AccessMethod(node::string(command.name)),
            at::AT_SetTableSpace => Alter::Tablespace(name()),
            at::AT_SetRelOptions | at::AT_ResetRelOptions | at::AT_ReplaceRelOptions => {
                Alter::Options
            }
            at::AT_AddInherit => Alter::Inherit(node::name(command.def.cast())),
            at::AT_DropInherit => Alter::NoInherit(node::name(command.def.cast())),
            at::AT_AddOf => Alter::Of(node::type_id(command.def.cast())),
            at::AT_ChangeOwner => Alter::Owner(node::role(command.newowner)),
            at::AT_AttachPartition => {
                let command = &*partition();
                // An index has no bounds.
                match command.bound.as_ref() {
                    Some(bound) => Alter::Attach {
                        partition: node::name(command.name),
                        is_default: bound.is_default,
                    },
                    None => Alter::AttachIndex(node::name(command.name)),
                }
            }
            at::AT_DetachPartition => Alter::Detach {
                partition: node::name((*partition()).name),
                concurrently: (*partition()).concurrent,
            },
            at::AT_DetachPartitionFinalize => {
                Alter::DetachFinalize(node::name((*partition()).name))
            }
            _ => Alter::Itself,
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn rename(statement: &pg_sys::RenameStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        let to = node::string(statement.newname).unwrap_or_default();
        if let Some(kind) = drop::relation_kind(statement.renameType) {
            return Statement::Rename {
                kind,
                name: node::name(statement.relation),
                to,
            };
        }
        if let Some(part) = drop::part(statement.renameType) {
            return Statement::RenamePart {
                part,
                table: node::name(statement.relation),
                name: node::string(statement.subname).unwrap_or_default(),
                to,
            };
        }
        if statement.renameType == OBJECT_SCHEMA {
            let name = node::string(statement.subname).unwrap_or_default();
            types::rename_schema(&name, &to);
            return Statement::RenameSchema { name, to };
        }
        if statement.renameType == OBJECT_DOMAIN {
            types::rename(statement.object.cast(), Some(&to), None);
        }
        if statement.renameType == OBJECT_TYPE {
            types::rename(statement.object.cast(), Some(&to), None);
            return match node::name_of_list(statement.object.cast()) {
                Some(name) => Statement::Rename {
                    kind: Kind::CompositeType,
                    name,
                    to,
                },
                None => Statement::Nothing,
            };
        }
        Statement::Nothing
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn schema(statement: &pg_sys::AlterObjectSchemaStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        let schema = node::string(statement.newschema).unwrap_or_default();
        if drop::relation_kind(statement.objectType).is_some() {
            return Statement::SetSchema {
                name: node::name(statement.relation),
                schema,
            };
        }
        if statement.objectType == OBJECT_EXTENSION {
            return Statement::Unseen("what belongs to the extension moves with it".into());
        }
        // DROP names a type by more than a list.
        let (object, name) = match statement.objectType {
            OBJECT_TYPE | OBJECT_DOMAIN => {
                let list: *mut pg_sys::List = statement.object.cast();
                let type_name = pg_sys::makeTypeNameFromNameList(list);
                (type_name.cast(), node::name_of_list(list))
            }
            _ => (statement.object, None),
        };
        let address = drop::address(statement.objectType, object);
        if name.is_some() {
            types::rename(statement.object.cast(), None, Some(&schema));
        }
        match address {
            Some(object) => Statement::MoveObject {
                object,
                name,
                schema,
            },
            None => Statement::Nothing,
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn owner(statement: &pg_sys::AlterOwnerStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        match statement.objectType {
            OBJECT_TYPE => {
                let type_name = pg_sys::makeTypeNameFromNameList(statement.object.cast());
                match node::type_id(type_name) {
                    Some(type_id) => Statement::AlterTypeOwner {
                        type_id,
                        owner: node::role(statement.newowner),
                    },
                    None => Statement::Nothing,
                }
            }
            _ => Statement::Nothing,
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn move_all(statement: &pg_sys::AlterTableMoveAllStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        Statement::MoveAll {
            kind: drop::relation_kind(statement.objtype).unwrap_or(Kind::Table),
            from: node::string(statement.orig_tablespacename).unwrap_or_default(),
            to: node::string(statement.new_tablespacename).unwrap_or_default(),
            owners: drop::roles(statement.roles),
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn depends(statement: &pg_sys::AlterObjectDependsStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        if statement.relation.is_null() {
            return Statement::Nothing;
        }
        let name = node::name(statement.relation);
        match drop::part(statement.objectType) {
            Some(Part::Trigger) => Statement::DescribePart { table: name },
            _ => Statement::DependsOn { name },
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn sequence(statement: &pg_sys::AlterSeqStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        Statement::AlterSequence {
            name: node::name(statement.sequence),
            owned_by: create::owner(statement.options),
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn domain(statement: &pg_sys::AlterDomainStmt) -> Statement {
    // SAFETY: as promised; the subtypes are those of `AlterDomainStmt` in `parsenodes.h`.
    unsafe {
        let type_name = pg_sys::makeTypeNameFromNameList(statement.typeName);
        let Some(domain) = node::type_id(type_name) else {
            return Statement::Nothing;
        };
        let not_valid = node::is(statement.def, pg_sys::NodeTag::T_Constraint)
            && (*statement.def.cast::<pg_sys::Constraint>()).skip_validation;
        match statement.subtype as u8 {
            // It is not null already: nothing is looked at.
            b'O' if pg::types::is_not_null(domain) => Statement::Nothing,
            b'O' | b'V' => Statement::AlterDomain { domain },
            b'C' if !not_valid => Statement::AlterDomain { domain },
            _ => Statement::Nothing,
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn policy(statement: &pg_sys::AlterPolicyStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        Statement::Policy {
            table: node::name(statement.table),
            altered: node::string(statement.policy_name),
            references: query::references(&[statement.qual, statement.with_check]),
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn publication(statement: &pg_sys::AlterPublicationStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        let sets = statement.action == pg_sys::AlterPublicationAction::AP_SetObjects
            && !statement.pubobjects.is_null();
        let publication = pg_sys::get_publication_oid(statement.pubname, true).to_u32();
        Statement::AlterPublication {
            sets: Some(publication).filter(|found| sets && *found != 0),
            names: other::published(statement.pubobjects),
        }
    }
}
