//! Throw-away PostgreSQL servers with lockguard in them, and the sessions and programs that meet there.
//!
//! `setup` finds or installs what is needed and builds the extension; `installation` is a private copy
//! of PostgreSQL with it; `cluster` starts servers from that copy and opens sessions; `process` sees to
//! it that nothing outlives the run. Scenarios, the demo and the benchmark stand on these four.

pub mod account;
pub mod cluster;
mod complaints;
pub mod failure;
pub mod figures;
pub mod flicker;
pub mod installation;
pub mod interposer;
pub mod load;
mod memcheck;
pub mod process;
pub mod setup;
mod slowness;
pub mod wait;
pub mod workspace;

pub use cluster::{
    Backup, Cluster, Database, Notice, ParallelDump, Row, Rows, Running, Session, SessionOptions,
    SlowReader,
};
pub use complaints::complaints;
pub use failure::{During, Failure};
pub use flicker::Flicker;
pub use installation::Installation;
pub use interposer::Interposer;
pub use memcheck::MEMCHECK_VARIABLE;
pub use setup::{OTHER_VARIABLE, Options, Profile};
pub use slowness::{SLOWNESS_VARIABLE, slow};
pub use wait::wait_until;
