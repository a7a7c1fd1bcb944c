//! The maintenance rules in force: the rows of `lockguard.maintenance_rules`, read and checked.

use crate::error::Error;
use crate::pattern::Pattern;
use crate::pg::datum::Text;
use crate::session::{Class, MaintenanceRule};
use crate::tables;
use pgrx::prelude::*;
use std::cell::OnceCell;

/// The rules in force during one call: read when first needed, then kept.
#[derive(Debug, Default)]
pub struct Rules(OnceCell<Vec<MaintenanceRule>>);

impl Rules {
    pub fn get(&self) -> Result<&[MaintenanceRule], Error> {
        if let Some(rules) = self.0.get() {
            return Ok(rules);
        }
        let rules = in_force()?;
        Ok(self.0.get_or_init(|| rules))
    }
}

/// All rules. Never waits: should somebody hold ACCESS EXCLUSIVE on the table, that is an error.
fn in_force() -> Result<Vec<MaintenanceRule>, Error> {
    tables::for_reading(
        "maintenance_rules",
        "Without it no session's class can be told.",
    )?;
    let query = "SELECT r.class, r.application_name, r.usename, r.backend_type, r.query, r.client_addr \
                 FROM lockguard.maintenance_rules r";
    let rules = tables::reading(|| {
        Spi::connect(|client| {
            let mut rules = vec![];
            for row in client.select(query, None, &[])? {
                let pattern = |column| {
                    Ok::<_, spi::Error>(row.get::<Text>(column)?.map(|text| Pattern::new(&text.0)))
                };
                // The table's CHECK admits only classes that exist.
                let Some(class) = row
                    .get::<Text>(1)?
                    .and_then(|text| Class::from_name(&text.0))
                else {
                    continue;
                };
                rules.push(MaintenanceRule {
                    class,
                    application_name: pattern(2)?,
                    usename: pattern(3)?,
                    backend_type: pattern(4)?,
                    query: pattern(5)?,
                    client_addr: pattern(6)?,
                });
            }
            Ok(rules)
        })
    });
    rules.map_err(|error: spi::Error| Error::Server(error.to_string()))
}
