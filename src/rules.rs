//! The maintenance rules in force: the rows of `lockguard.maintenance_rules`, read and checked.

use crate::error::Error;
use crate::pattern::Pattern;
use crate::pg::datum::Text;
use crate::pg::past_queue::Row;
use crate::server_text::ServerText;
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

/// What a rule is made of.
const COLUMNS: [&str; 6] = [
    "class",
    "application_name",
    "usename",
    "backend_type",
    "query",
    "client_addr",
];

/// All rules. Should somebody hold ACCESS EXCLUSIVE on the table, that is an error, unless the waiting is bounded.
fn in_force() -> Result<Vec<MaintenanceRule>, Error> {
    if let Some([rows]) = tables::past_queue([("maintenance_rules", &COLUMNS)])? {
        let rows = rows.iter().map(for_people);
        return Ok(rows.filter_map(rule).collect());
    }
    tables::for_reading(
        "maintenance_rules",
        "Without it no session's class can be told.",
    )?;
    // Those columns, in that order.
    let query = "SELECT r.class, r.application_name, r.usename, r.backend_type, r.query, r.client_addr \
                 FROM lockguard.maintenance_rules r";
    let rules = tables::reading(|| {
        Spi::connect(|client| {
            let mut rules = vec![];
            for row in client.select(query, None, &[])? {
                let column = |i: usize| Ok::<_, spi::Error>(row.get::<Text>(i)?.map(|text| text.0));
                rules.extend(rule(
                    (1..=COLUMNS.len()).map(column).collect::<Result<_, _>>()?,
                ));
            }
            Ok(rules)
        })
    });
    rules.map_err(|error: spi::Error| Error::Server(error.to_string()))
}

fn for_people(row: &Row) -> Vec<Option<String>> {
    let text = |value: &Option<ServerText>| value.as_ref().map(ServerText::for_people);
    row.iter().map(text).collect()
}

/// The rule that a row is; the table's CHECK admits only classes that exist.
fn rule(row: Vec<Option<String>>) -> Option<MaintenanceRule> {
    let mut values = row.into_iter();
    let class = Class::from_name(&values.next()??)?;
    let mut pattern = || values.next().flatten().map(|text| Pattern::new(&text));
    Some(MaintenanceRule {
        class,
        application_name: pattern(),
        usename: pattern(),
        backend_type: pattern(),
        query: pattern(),
        client_addr: pattern(),
    })
}
