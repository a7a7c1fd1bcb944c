//! lockguard: who stands in the way of a lock, and preempting maintenance only.
//!
//! From a call to what is done, the arrows run one way: `api` reads arguments and writes rows;
//! `needs` tells which locks are needed, `survey` who is in their way, `decide` what to do about
//! them, `act` does it and `audit` writes it down. `lock`, `session`, `policy`, `decide` and
//! `report` are pure, as are `undo` and `server_text`: they know no server. `pg` is the only home of `unsafe`.
#![deny(unsafe_code)]

mod act;
mod api;
mod audit;
mod backoff;
mod ddl;
mod decide;
mod error;
mod lock;
mod nearest;
mod needs;
mod patience;
mod pattern;
mod pg;
mod policy;
mod report;
mod rules;
mod server_text;
mod session;
mod settings;
mod stored;
mod survey;
mod switch;
mod tables;
mod undo;

::pgrx::pg_module_magic!(name, version);

/// Called by the server when the library is loaded.
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    pg::environment::without_backtraces();
    // Preloaded by the postmaster it cannot be told yet: each call asks again.
    api::or_raise(error::check_server());
    pg::reserve::set_aside();
    switch::define();
    settings::define();
    pg::handover::define(audit::write_rows);
}

pgrx::extension_sql_file!("../sql/schema.sql", name = "schema", bootstrap);
pgrx::extension_sql_file!("../sql/maintenance_rules.sql", name = "maintenance_rules");
pgrx::extension_sql_file!(
    "../sql/policies.sql",
    name = "policies",
    requires = ["maintenance_rules"]
);
pgrx::extension_sql_file!(
    "../sql/functions.sql",
    name = "functions",
    requires = ["policies"]
);
pgrx::extension_sql_file!("../sql/trail.sql", name = "trail", requires = ["functions"]);
pgrx::extension_sql_file!("../sql/guard.sql", name = "guard", requires = ["trail"]);
pgrx::extension_sql_file!("../sql/grants.sql", name = "grants", finalize);
