//! CREATE of what is, or hangs on, a relation.

use super::{node, other, query, rewrite, types};
use crate::ddl::{Address, Column, Constraint, CreateTable, IndexKey, IndexShape, Name, Statement};
use crate::pg::compat::{self, unbound};
use crate::pg::wait;
use crate::server_text::ServerText;
use pgrx::pg_sys::{self, ConstrType::*, NodeTag::*};
use pgrx::prelude::*;
use std::ffi::{CStr, c_void};

/// # Safety
/// A raw parse tree.
pub unsafe fn index(statement: &pg_sys::IndexStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        let table = node::name(statement.relation);
        let name = node::string(statement.idxname).map(|name| Name {
            other_database: table.other_database.clone(),
            name,
            schema: table.schema.clone(),
            only: false,
            temporary: false,
        });
        Statement::CreateIndex {
            table,
            name,
            shape: index_shape(statement),
            concurrently: statement.concurrent,
            if_not_exists: statement.if_not_exists,
        }
    }
}

/// # Safety
/// A raw parse tree.
unsafe fn index_shape(statement: &pg_sys::IndexStmt) -> IndexShape {
    // SAFETY: as promised; catalog look-ups that answer 0 for what is not there.
    unsafe {
        let method = pg_sys::get_am_oid(statement.accessMethod, true);
        let mut named = Named::default();
        named.visit(statement.whereClause);
        let mut keys = vec![];
        for element in node::elements::<pg_sys::IndexElem>(statement.indexParams) {
            let element = &*element;
            // A column in parentheses is none the less one.
            let column = node::string(element.name).or_else(|| bare_column(element.expr));
            if column.is_none() {
                named.visit(element.expr);
            }
            keys.push(IndexKey {
                column,
                collation: (!element.collation.is_null())
                    .then(|| pg_sys::get_collation_oid(element.collation, true).to_u32()),
                family: (!element.opclass.is_null()).then(|| {
                    let class = pg_sys::get_opclass_oid(method, element.opclass, true);
                    match class == pg_sys::InvalidOid {
                        true => 0,
                        false => pg_sys::get_opclass_family(class).to_u32(),
                    }
                }),
            });
        }
        let included = node::elements::<pg_sys::IndexElem>(statement.indexIncludingParams);
        IndexShape {
            method: method.to_u32(),
            unique: statement.unique,
            keys,
            included: included
                .filter_map(|element| node::string((*element).name))
                .collect(),
            is_partial: !statement.whereClause.is_null(),
            columns: named.columns,
            functions: named.functions,
        }
    }
}

/// # Safety
/// Null or a raw expression.
unsafe fn bare_column(expression: *mut pg_sys::Node) -> Option<ServerText> {
    // SAFETY: as promised.
    unsafe {
        match node::is(expression, T_ColumnRef) {
            true => node::strings((*expression.cast::<pg_sys::ColumnRef>()).fields).pop(),
            false => None,
        }
    }
}

/// What an expression names.
#[derive(Default)]
struct Named {
    columns: Vec<ServerText>,
    functions: Vec<ServerText>,
}

impl Named {
    /// # Safety
    /// Null or a raw expression.
    unsafe fn visit(&mut self, expression: *mut pg_sys::Node) {
        // SAFETY: the walker calls back with parts of the tree and this very collection.
        unsafe { visit(expression, std::ptr::from_mut(self).cast()) };
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn visit(tree: *mut pg_sys::Node, named: *mut c_void) -> bool {
    wait::check_stack();
    wait::answer_interrupts();
    // SAFETY: called by the walker with nodes, and what it was given.
    unsafe {
        if tree.is_null() {
            return false;
        }
        let found: &mut Named = &mut *named.cast();
        if node::is(tree, T_FuncCall) {
            let call: *mut pg_sys::FuncCall = tree.cast();
            found
                .functions
                .extend(node::strings((*call).funcname).pop());
        }
        found.columns.extend(bare_column(tree));
        unbound::raw_expression_tree_walker(tree, visit, named)
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn trigger(statement: &pg_sys::CreateTrigStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        let function = pg_sys::LookupFuncName(statement.funcname, 0, std::ptr::null(), true);
        Statement::CreateTrigger {
            table: node::name(statement.relation),
            function: (function != pg_sys::InvalidOid).then(|| Address {
                class: pg_sys::ProcedureRelationId.to_u32(),
                object: function.to_u32(),
                part: 0,
            }),
            row: statement.row,
            from: (!statement.constrrel.is_null()).then(|| node::name(statement.constrrel)),
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn rule(statement: &pg_sys::RuleStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        let mut references = query::references_of_list(statement.actions);
        references.extend(query::references(&[statement.whereClause]));
        references.retain(|(name, _)| !is_of_rule(name));
        Statement::CreateRule {
            table: node::name(statement.relation),
            references,
        }
    }
}

/// OLD and NEW of a rule.
fn is_of_rule(name: &Name) -> bool {
    name.schema.is_none() && (name.name == *c"old" || name.name == *c"new")
}

/// # Safety
/// A raw parse tree.
pub unsafe fn policy(statement: &pg_sys::CreatePolicyStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        Statement::Policy {
            table: node::name(statement.table),
            altered: None,
            references: query::references(&[statement.qual, statement.with_check]),
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn statistics(statement: &pg_sys::CreateStatsStmt) -> Statement {
    // SAFETY: FROM has range variables; anything else is refused later.
    unsafe {
        let from = node::elements::<pg_sys::Node>(statement.relations);
        Statement::CreateStatistics {
            tables: from
                .filter(|item| node::is(*item, T_RangeVar))
                .map(|item| node::name(item.cast()))
                .collect(),
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn view(statement: &pg_sys::ViewStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        Statement::CreateView {
            name: node::name(statement.view),
            references: query::references(&[statement.query]),
            replaces: statement.replace,
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn table_as(statement: &pg_sys::CreateTableAsStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        let name = node::name((*statement.into).rel);
        let query: *mut pg_sys::Query = match node::is(statement.query, T_Query) {
            true => statement.query.cast(),
            false => std::ptr::null_mut(),
        };
        let executed = match query.is_null() {
            true => statement.query,
            false => (*query).utilityStmt,
        };
        if node::is(executed, T_ExecuteStmt) {
            let why = "a prepared statement: what it runs cannot be seen ahead";
            return Statement::Several(vec![Statement::Unseen(why.into()), Statement::Made(name)]);
        }
        Statement::CreateTableAs {
            name,
            references: match query.is_null() {
                true => query::references(&[statement.query]),
                // An event trigger is handed it analysed: what it reads is locked already.
                false => vec![],
            },
            if_not_exists: statement.if_not_exists,
            runs: !(*statement.into).skipData,
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn table(statement: &pg_sys::CreateStmt) -> Statement {
    let mut created = CreateTable {
        // SAFETY: as promised.
        name: unsafe { node::name(statement.relation) },
        // SAFETY: as promised.
        parents: unsafe { node::names(statement.inhRelations) },
        is_partition: !statement.partbound.is_null(),
        // SAFETY: checked for null.
        is_default: unsafe { statement.partbound.as_ref() }.is_some_and(|bound| bound.is_default),
        likes: vec![],
        // SAFETY: null, or a type name.
        of_type: unsafe { node::type_id(statement.ofTypename) },
        columns: vec![],
        constraints: vec![],
        if_not_exists: statement.if_not_exists,
    };
    // SAFETY: the elements of a table are of these types.
    unsafe {
        for element in node::elements::<pg_sys::Node>(statement.tableElts) {
            match (*element).type_ {
                T_ColumnDef => created.columns.push(column(&*element.cast())),
                T_Constraint => created.constraints.push(constraint(&*element.cast(), None)),
                T_TableLikeClause => {
                    let like: *mut pg_sys::TableLikeClause = element.cast();
                    let defaults =
                        (*like).options & pg_sys::TableLikeOption::CREATE_TABLE_LIKE_DEFAULTS != 0;
                    created.likes.push((node::name((*like).relation), defaults));
                }
                _ => (),
            }
        }
        for element in node::elements::<pg_sys::Constraint>(statement.constraints) {
            created.constraints.push(constraint(&*element, None));
        }
    }
    Statement::CreateTable(Box::new(created))
}

/// # Safety
/// A raw parse tree.
pub unsafe fn column(definition: &pg_sys::ColumnDef) -> Column {
    // SAFETY: as promised.
    unsafe {
        let name = node::string(definition.colname).unwrap_or_default();
        let parts = node::elements::<pg_sys::Constraint>(definition.constraints);
        let parts: Vec<*mut pg_sys::Constraint> = parts.collect();
        let is_computed = parts.iter().any(|part| match (**part).contype {
            CONSTR_DEFAULT => rewrite::is_volatile((**part).raw_expr),
            CONSTR_IDENTITY => true,
            CONSTR_GENERATED => compat::is_stored(&**part),
            _ => false,
        }) || (!definition.raw_default.is_null()
            && rewrite::is_volatile(definition.raw_default));
        let type_id = node::type_id(definition.typeName);
        let mut defaults: Vec<*mut pg_sys::Node> =
            parts.iter().map(|part| (**part).raw_expr).collect();
        defaults.push(definition.raw_default);
        let has_default = !definition.raw_default.is_null()
            || parts.iter().any(|part| {
                matches!(
                    (**part).contype,
                    CONSTR_DEFAULT | CONSTR_IDENTITY | CONSTR_GENERATED
                )
            });
        Column {
            type_id,
            has_default,
            references: query::references(&defaults),
            rewrites: is_computed
                || types::is_made_with_constraints(definition.typeName)
                || is_serial(definition.typeName)
                || type_id.is_some_and(crate::pg::types::has_constraints),
            constraints: parts
                .iter()
                .map(|part| constraint(&**part, Some(&name)))
                .collect(),
            name,
        }
    }
}

/// Whether the parser would make a sequence for it (`transformColumnDefinition` in `parse_utilcmd.c`).
///
/// # Safety
/// Null or a type name.
unsafe fn is_serial(name: *const pg_sys::TypeName) -> bool {
    const SERIAL: [&CStr; 6] = [
        c"smallserial",
        c"serial2",
        c"serial",
        c"serial4",
        c"bigserial",
        c"serial8",
    ];
    if name.is_null() {
        return false;
    }
    // SAFETY: as promised.
    match unsafe { node::strings((*name).names) }.as_slice() {
        [name] => SERIAL.contains(&name.as_c_str()),
        _ => false,
    }
}

/// `column`: whose constraint it is, where it is written with one.
///
/// # Safety
/// A raw parse tree.
pub unsafe fn constraint(
    constraint: &pg_sys::Constraint,
    column: Option<&ServerText>,
) -> Constraint {
    // SAFETY: as promised.
    unsafe {
        match constraint.contype {
            CONSTR_CHECK => Constraint::Check {
                name: node::string(constraint.conname),
                no_inherit: constraint.is_no_inherit,
                not_valid: constraint.skip_validation,
            },
            CONSTR_NOTNULL => Constraint::NotNull {
                column: column
                    .cloned()
                    .or_else(|| node::strings(constraint.keys).into_iter().next()),
                not_valid: constraint.skip_validation,
            },
            CONSTR_PRIMARY | CONSTR_UNIQUE | CONSTR_EXCLUSION => Constraint::Index {
                using: node::string(constraint.indexname),
                renames: node::string(constraint.conname)
                    .is_some_and(|name| Some(name) != node::string(constraint.indexname)),
                primary: constraint.contype == CONSTR_PRIMARY,
                columns: match column {
                    Some(column) => vec![column.clone()],
                    None => node::strings(constraint.keys),
                },
            },
            CONSTR_FOREIGN => Constraint::Foreign {
                name: node::string(constraint.conname),
                columns: match column {
                    Some(column) => vec![column.clone()],
                    None => node::strings(constraint.fk_attrs),
                },
                table: node::name(constraint.pktable),
                referenced: node::strings(constraint.pk_attrs),
                not_valid: constraint.skip_validation,
            },
            _ => Constraint::Other,
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn sequence(statement: &pg_sys::CreateSeqStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        Statement::CreateSequence {
            name: node::name(statement.sequence),
            owned_by: owner(statement.options),
        }
    }
}

/// The table in OWNED BY.
///
/// # Safety
/// The options of a sequence.
pub unsafe fn owner(options: *mut pg_sys::List) -> Option<Name> {
    // SAFETY: as promised; NONE is a list of one.
    unsafe {
        let option = node::option(options, c"owned_by")?;
        node::name_and_part((*option).arg.cast()).map(|(table, _)| table)
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn composite(statement: &pg_sys::CompositeTypeStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        let name = node::name(statement.typevar);
        types::make(name.schema.into_iter().chain([name.name]).collect(), false);
        let columns = node::elements::<pg_sys::ColumnDef>(statement.coldeflist);
        Statement::CreateType {
            name: node::name(statement.typevar),
            types: columns
                .filter_map(|column| node::type_id((*column).typeName))
                .collect(),
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn domain(statement: &pg_sys::CreateDomainStmt) -> Statement {
    // SAFETY: as promised.
    unsafe {
        let mut constraints = node::elements::<pg_sys::Constraint>(statement.constraints);
        let is_constrained = constraints
            .any(|one| matches!((*one).contype, CONSTR_CHECK | CONSTR_NOTNULL))
            || types::is_made_with_constraints(statement.typeName)
            || node::type_id(statement.typeName).is_some_and(crate::pg::types::has_constraints);
        types::make(node::strings(statement.domainname), is_constrained);
        Statement::Nothing
    }
}

/// A function in SQL is analysed when it is made, by `check_function_bodies`.
///
/// # Safety
/// A raw parse tree.
pub unsafe fn function(statement: &pg_sys::CreateFunctionStmt) -> Statement {
    // SAFETY: as promised; AS is a list of strings.
    unsafe {
        if !statement.sql_body.is_null() {
            return Statement::CreateFunction {
                references: query::references_of_body(statement.sql_body),
                is_checked: pg_sys::check_function_bodies,
                search_path: None,
            };
        }
        let language = node::option(statement.options, c"language")
            .map(|option| pg_sys::defGetString(option))
            .and_then(|name| node::string(name));
        let body = node::option(statement.options, c"as")
            .map(|option| node::strings((*option).arg.cast()));
        let mut parameters = node::elements::<pg_sys::FunctionParameter>(statement.parameters);
        // Whose types are known only when it is called.
        let is_polymorphic = parameters.any(|parameter| is_polymorphic(&*parameter));
        let is_checked = language.is_some_and(|language| language == *c"sql")
            && pg_sys::check_function_bodies
            && !is_polymorphic;
        match body.and_then(|body| body.into_iter().next()) {
            Some(body) if is_checked => Statement::CreateFunction {
                references: super::raw(&body)
                    .into_iter()
                    .flat_map(|tree| query::references_of_body(tree))
                    .collect(),
                is_checked,
                search_path: search_path(statement.options),
            },
            _ => Statement::Nothing,
        }
    }
}

/// # Safety
/// A raw parameter.
unsafe fn is_polymorphic(parameter: &pg_sys::FunctionParameter) -> bool {
    use pg_sys::FunctionParameterMode::{FUNC_PARAM_OUT, FUNC_PARAM_TABLE};
    // SAFETY: as promised; a catalog look-up.
    unsafe {
        let is_given = parameter.mode != FUNC_PARAM_OUT && parameter.mode != FUNC_PARAM_TABLE;
        is_given
            && node::type_id(parameter.argType).is_some_and(|type_id| {
                pg_sys::get_typtype(pg_sys::Oid::from_u32(type_id)) as u8 == pg_sys::TYPTYPE_PSEUDO
            })
    }
}

/// That of SET among a function's options.
///
/// # Safety
/// The options of a function.
unsafe fn search_path(options: *mut pg_sys::List) -> Option<ServerText> {
    // SAFETY: as promised.
    unsafe {
        node::elements::<pg_sys::DefElem>(options)
            .filter(|option| node::string((**option).defname).is_some_and(|name| name == *c"set"))
            .filter_map(|option| other::search_path(&*(*option).arg.cast()))
            .last()
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn schema(statement: &pg_sys::CreateSchemaStmt) -> Statement {
    // SAFETY: the elements are statements, without RawStmt.
    unsafe {
        let schema =
            node::string(statement.schemaname).or_else(|| node::role_name(statement.authrole));
        let elements = node::elements::<pg_sys::Node>(statement.schemaElts);
        let mut elements: Vec<*mut pg_sys::Node> = elements.collect();
        // The order that they are made in (`transformCreateSchemaStmtElements` in `parse_utilcmd.c`).
        elements.sort_by_key(|tree| match (**tree).type_ {
            T_CreateSeqStmt => 0,
            T_CreateStmt => 1,
            T_ViewStmt => 2,
            T_IndexStmt => 3,
            T_CreateTrigStmt => 4,
            _ => 5,
        });
        let elements = elements
            .into_iter()
            .map(|tree| super::statement(tree))
            .collect();
        match schema {
            Some(name) => Statement::CreateSchema { name, elements },
            None => Statement::Several(elements),
        }
    }
}

/// # Safety
/// A raw parse tree.
pub unsafe fn publication(statement: &pg_sys::CreatePublicationStmt) -> Statement {
    Statement::Publication {
        // SAFETY: as promised.
        names: unsafe { other::published(statement.pubobjects) },
    }
}
