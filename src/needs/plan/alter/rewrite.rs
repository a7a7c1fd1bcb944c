//! Whether a table is written anew (`ATRewriteTables`), and what is locked with it then.

use crate::ddl::Alter;
use crate::lock::{LockMode, RelationId};
use crate::needs::plan::Plan;
use crate::needs::plan::reach::{self, PARTITIONED};
use crate::pg::{catalog, tablespace};
use crate::server_text::ServerText;

impl Plan {
    /// Whether that is known to write the table anew before constraints are looked at.
    pub(super) fn is_rewritten_by(&self, relation: RelationId, command: &Alter) -> bool {
        match command {
            // Of what type the column is by then is not known where it has been altered before.
            Alter::ColumnType { column, rewrites } => {
                let is_it =
                    |(table, name): &(RelationId, ServerText)| *table == relation && name == column;
                *rewrites || self.retyped.iter().any(is_it)
            }
            Alter::Persistence { logged } => {
                let facts = catalog::relation(relation);
                facts.is_some_and(|facts| (facts.persistence == b'p') != *logged)
            }
            Alter::AccessMethod(method) => {
                tablespace::is_other_access_method(relation, method.as_ref())
            }
            _ => false,
        }
    }

    /// The table is written anew: so are its indexes and its TOAST table.
    pub(super) fn rewrite(&mut self, relation: RelationId, mode: LockMode) {
        if reach::kind(relation) != PARTITIONED {
            self.lock_composites(relation);
            self.lock_storage(relation, mode, "which is written anew");
        }
    }
}
