//! What a statement says of relations, as the server's parser reads it: names as written, resolved
//! against no catalog yet. Only what matters for locks is kept. Pure data; `pg::parser` makes it, `needs`
//! works with it.

use crate::lock::LockMode;
use crate::server_text::ServerText;

/// A relation as a statement names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// The database in front of it, where that is not this one: it means nothing here.
    pub other_database: Option<ServerText>,
    pub schema: Option<ServerText>,
    pub name: ServerText,
    /// ONLY: without those that inherit from it.
    pub only: bool,
    /// Made with TEMPORARY.
    pub temporary: bool,
}

/// An object of any catalog, as `pg_depend` points at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// The catalog.
    pub class: u32,
    pub object: u32,
    /// The column, or 0 for the whole.
    pub part: i32,
}

/// A relation that a query or an expression names, and how.
pub type Reference = (Name, Naming);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// It is read or changed, and locked for that.
    Relation(LockMode),
    /// It is given as a constant, as to `nextval`, and locked so, if at all, when that is run.
    Constant(Option<LockMode>),
}

impl Naming {
    /// How the relation is locked when the query is run.
    pub fn when_run(self) -> Option<LockMode> {
        match self {
            Naming::Relation(mode) => Some(mode),
            Naming::Constant(mode) => mode,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Table,
    Index,
    Sequence,
    View,
    MaterializedView,
    ForeignTable,
    CompositeType,
}

/// What hangs on a relation and is named with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Column,
    Constraint,
    Trigger,
    Rule,
    Policy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constraint {
    Check {
        name: Option<ServerText>,
        no_inherit: bool,
        not_valid: bool,
    },
    NotNull {
        column: Option<ServerText>,
        not_valid: bool,
    },
    /// UNIQUE, PRIMARY KEY, EXCLUDE; `using` an index that exists.
    Index {
        using: Option<ServerText>,
        /// The index that exists gets the constraint's name.
        renames: bool,
        primary: bool,
        columns: Vec<ServerText>,
    },
    Foreign {
        /// None where the server gives it one.
        name: Option<ServerText>,
        columns: Vec<ServerText>,
        table: Name,
        /// Columns of that table; none for its primary key.
        referenced: Vec<ServerText>,
        not_valid: bool,
    },
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: ServerText,
    /// The type, if it exists already.
    pub type_id: Option<u32>,
    pub constraints: Vec<Constraint>,
    /// Existing rows have to be written anew for it: a volatile default, a generated or serial column.
    pub rewrites: bool,
    pub has_default: bool,
    /// What its default names.
    pub references: Vec<Reference>,
}

/// Those that ALTER TABLE enables or disables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Triggers {
    All,
    /// Those that the system has not made for constraints.
    User,
    Named(ServerText),
}

/// A subcommand of ALTER TABLE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alter {
    AddColumn {
        column: Column,
        if_not_exists: bool,
    },
    DropColumn {
        column: ServerText,
        cascade: bool,
    },
    /// `rewrites`: told by the new type and the old one.
    ColumnType {
        column: ServerText,
        rewrites: bool,
    },
    /// A default of a column, and what it names.
    Default(Vec<Reference>),
    SetNotNull {
        column: ServerText,
    },
    Identity {
        column: ServerText,
    },
    DropIdentity {
        column: ServerText,
    },
    /// What the table and all that inherit from it are locked for, at the level of the statement.
    Family,
    SetExpression {
        column: ServerText,
    },
    AddConstraint(Constraint),
    ValidateConstraint(ServerText),
    ChangeConstraint(ServerText),
    DropConstraint {
        constraint: ServerText,
        cascade: bool,
    },
    Triggers(Triggers),
    ClusterOn(ServerText),
    ReplicaIdentityIndex(ServerText),
    Persistence {
        logged: bool,
    },
    AccessMethod(Option<ServerText>),
    Tablespace(ServerText),
    Options,
    Inherit(Name),
    NoInherit(Name),
    Of(Option<u32>),
    Owner(Option<u32>),
    Attach {
        partition: Name,
        is_default: bool,
    },
    Detach {
        partition: Name,
        concurrently: bool,
    },
    DetachFinalize(Name),
    AttachIndex(Name),
    /// What touches the relation alone.
    Itself,
}

/// Whose maintenance is asked for: that of one relation, or of all in a schema or database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    Index(Name),
    Table(Name),
    Schema(ServerText),
    /// System catalogs, or everything but them.
    System,
    Database,
}

/// Where a transaction or a part of one begins and ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transaction {
    Begin,
    /// `chain`: another begins at once.
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    Savepoint(ServerText),
    Release(ServerText),
    RollbackTo(ServerText),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// DROP of relations.
    Drop {
        kind: Kind,
        names: Vec<Name>,
        cascade: bool,
        missing_ok: bool,
        concurrently: bool,
    },
    /// DROP of other objects that exist now.
    DropObjects {
        objects: Vec<Address>,
        /// Some of them do not, but may by then.
        has_made: bool,
        cascade: bool,
    },
    DropPart {
        part: Part,
        table: Name,
        name: ServerText,
        cascade: bool,
    },
    DropOwned {
        roles: Vec<u32>,
        cascade: bool,
    },
    ReassignOwned {
        roles: Vec<u32>,
        to: u32,
    },
    AlterTable {
        name: Name,
        missing_ok: bool,
        /// What `AlterTableGetLockLevel` tells.
        level: Option<LockMode>,
        commands: Vec<Alter>,
    },
    Rename {
        kind: Kind,
        name: Name,
        to: ServerText,
    },
    RenamePart {
        part: Part,
        table: Name,
        name: ServerText,
        to: ServerText,
    },
    SetSchema {
        name: Name,
        schema: ServerText,
    },
    /// SET SCHEMA of what is no relation.
    MoveObject {
        object: Address,
        /// Of a type.
        name: Option<Name>,
        schema: ServerText,
    },
    /// ALTER … ALL IN TABLESPACE.
    MoveAll {
        kind: Kind,
        from: ServerText,
        to: ServerText,
        owners: Vec<u32>,
    },
    CreateIndex {
        table: Name,
        name: Option<Name>,
        shape: IndexShape,
        concurrently: bool,
        if_not_exists: bool,
    },
    CreateTrigger {
        table: Name,
        from: Option<Name>,
        function: Option<Address>,
        /// FOR EACH ROW
        row: bool,
    },
    CreateRule {
        table: Name,
        references: Vec<Reference>,
    },
    /// CREATE or ALTER POLICY.
    Policy {
        table: Name,
        /// The one that is altered.
        altered: Option<ServerText>,
        references: Vec<Reference>,
    },
    CreateStatistics {
        tables: Vec<Name>,
    },
    CreateView {
        name: Name,
        references: Vec<Reference>,
        replaces: bool,
    },
    CreateTableAs {
        name: Name,
        references: Vec<Reference>,
        if_not_exists: bool,
        runs: bool,
    },
    CreateTable(Box<CreateTable>),
    CreateSequence {
        name: Name,
        owned_by: Option<Name>,
    },
    AlterSequence {
        name: Name,
        owned_by: Option<Name>,
    },
    /// CREATE TYPE … AS, of types that exist.
    CreateType {
        name: Name,
        types: Vec<u32>,
    },
    /// A function whose body is analysed.
    CreateFunction {
        references: Vec<Reference>,
        /// Its queries are rewritten as well, as they are before they run.
        is_checked: bool,
        /// The search path that it is analysed with, where it has one of its own.
        search_path: Option<ServerText>,
    },
    /// DEPENDS ON EXTENSION.
    DependsOn {
        name: Name,
    },
    /// Something made that later statements may name, without locks on what exists.
    Made(Name),
    /// CREATE SCHEMA with what is made in it.
    CreateSchema {
        name: ServerText,
        elements: Vec<Statement>,
    },
    RenameSchema {
        name: ServerText,
        to: ServerText,
    },
    DropSchemas {
        names: Vec<ServerText>,
        cascade: bool,
    },
    /// COMMENT or SECURITY LABEL on a relation or column.
    Describe {
        name: Name,
    },
    DescribePart {
        table: Name,
    },
    /// On extended statistics.
    Grant {
        names: Vec<Name>,
    },
    Truncate {
        names: Vec<Name>,
        cascade: bool,
        restarts: bool,
    },
    Cluster {
        name: Option<Name>,
        index: Option<ServerText>,
    },
    Vacuum {
        names: Vec<Name>,
        full: bool,
        analyzes: bool,
        vacuums: bool,
        /// Whether it looks after TOAST and plain tables.
        main: bool,
        toast: bool,
    },
    Reindex {
        reach: Reach,
        concurrently: bool,
    },
    Refresh {
        name: Name,
        concurrently: bool,
        with_data: bool,
    },
    Lock {
        names: Vec<Name>,
        mode: LockMode,
    },
    /// A query, and what else only names relations.
    Query {
        references: Vec<Reference>,
        runs: bool,
    },
    /// ALTER DOMAIN that checks the tables with such columns.
    AlterDomain {
        domain: u32,
    },
    AlterTypeOwner {
        type_id: u32,
        owner: Option<u32>,
    },
    Publication {
        names: Vec<Name>,
    },
    AlterPublication {
        /// Where all its tables are set anew.
        sets: Option<u32>,
        names: Vec<Name>,
    },
    Transaction(Transaction),
    Several(Vec<Statement>),
    /// It changes how names are resolved from here on; none where it is as it was at first.
    SearchPath(Option<ServerText>),
    /// Whether the bodies of functions are looked into from here on; none where it is as it was at first.
    ChecksOfBodies(Option<bool>),
    /// Whose name `$user` in the search path is from here on.
    Role(Option<ServerText>),
    Unseen(String),
    Nothing,
}

/// What a new index consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexShape {
    /// The access method.
    pub method: u32,
    pub unique: bool,
    pub keys: Vec<IndexKey>,
    /// The columns of INCLUDE.
    pub included: Vec<ServerText>,
    pub is_partial: bool,
    /// The columns that its expressions and its condition name.
    pub columns: Vec<ServerText>,
    /// The functions that those call.
    pub functions: Vec<ServerText>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexKey {
    /// None for an expression.
    pub column: Option<ServerText>,
    /// The collation, where one is given.
    pub collation: Option<u32>,
    /// That of the operator class, where one is given.
    pub family: Option<u32>,
}

impl Statement {
    /// The relations that the statement is about, for most of which only their owner may run it; and whether
    /// the owner of their schema may as well. The server looks at that before it locks them.
    pub fn subjects(&self) -> (Vec<&Name>, bool) {
        use Statement::*;
        match self {
            Drop { names, .. } => (names.iter().collect(), true),
            AlterTable { name, .. }
            | Rename { name, .. }
            | SetSchema { name, .. }
            | AlterSequence { name, .. }
            | Describe { name } => (vec![name], false),
            DropPart { table, .. }
            | RenamePart { table, .. }
            | CreateIndex { table, .. }
            | CreateRule { table, .. }
            | Policy { table, .. }
            | DescribePart { table } => (vec![table], false),
            CreateStatistics { tables } => (tables.iter().collect(), false),
            _ => (vec![], false),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTable {
    pub name: Name,
    pub parents: Vec<Name>,
    pub is_partition: bool,
    pub is_default: bool,
    /// Tables copied from, and whether the defaults of their columns are.
    pub likes: Vec<(Name, bool)>,
    pub of_type: Option<u32>,
    pub columns: Vec<Column>,
    pub constraints: Vec<Constraint>,
    pub if_not_exists: bool,
}
