//! Where the value of a setting comes from.

use pgrx::prelude::*;

/// `source` in `pg_settings`: `database` for ALTER DATABASE … SET.
///
/// # Errors
/// Those of asking the server.
pub fn of_setting(name: &str) -> Result<Option<String>, spi::Error> {
    let query = "SELECT source FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) $1";
    Spi::get_one_with_args(query, &[name.into()])
}
