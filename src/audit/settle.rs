//! Marking a preemption as made good.

use crate::error::Error;
use crate::pg::datum::{Text, Verbatim};
use crate::pg::{message, raised, roles};
use crate::tables;
use pgrx::prelude::*;

/// Settles the row of that number, by and for who may read it.
///
/// # Errors
/// 42704 where this role sees no such row.
pub fn settle(id: i64) -> Result<(), Error> {
    let table = tables::for_reading("trail", "Without it nothing can be settled.")?;
    let server = |error: spi::Error| Error::Server(error.to_string());
    // The view is the judge of who may read it: it goes by the current role.
    let seen = Spi::connect(|client| {
        let query = "SELECT p.settled_at IS NOT NULL, p.settled_by FROM lockguard.preemptions p \
                     WHERE p.id OPERATOR(pg_catalog.=) $1";
        let mut seen = None;
        for row in client.select(query, None, &[id.into()])? {
            let by = row.get::<Text>(2)?.map(|text| text.0);
            seen = Some((row.get::<bool>(1)?.unwrap_or(false), by));
        }
        Ok::<_, spi::Error>(seen)
    });
    let Some((is_settled, by)) = seen.map_err(server)? else {
        return Err(Error::UnknownObject {
            message: format!("there is no preemption {id} that this role may see"),
            hint: Some("See lockguard.owed for what is to be settled.".into()),
        });
    };
    if is_settled {
        message::notice(&format!(
            "preemption {id} has been settled before, by {}",
            by.unwrap_or_default()
        ));
        return Ok(());
    }
    let by = roles::current().unwrap_or_default();
    raised::changing_as_owner_of(table, || {
        Spi::run_with_args(
            "UPDATE lockguard.trail SET settled_at = pg_catalog.now(), settled_by = $2 \
             WHERE id OPERATOR(pg_catalog.=) $1",
            &[id.into(), Verbatim(by).into()],
        )
    })
    .map_err(server)
}
