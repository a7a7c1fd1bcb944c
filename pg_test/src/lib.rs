//! Throw-away PostgreSQL servers with lockguard in them, and the sessions and programs that meet there.
//!
//! `setup` finds or installs what is needed and builds the extension; `installation` is a private copy
//! of PostgreSQL with it; `cluster` starts servers from that copy and opens sessions; `process` sees to
//! it that nothing outlives the run. Scenarios, the demo and the benchmark stand on these four.

pub mod account;
pub mod cluster;
pub mod failure;
pub mod figures;
pub mod flicker;
pub mod installation;
pub mod interposer;
pub mod load;
pub mod process;
pub mod setup;
pub mod wait;
pub mod workspace;

pub use cluster::{
    Backup, Cluster, Database, Notice, ParallelDump, Row, Rows, Running, Session, SessionOptions,
    SlowReader,
};
pub use failure::{During, Failure};
pub use flicker::Flicker;
pub use installation::Installation;
pub use interposer::Interposer;
pub use setup::{Options, Profile};
pub use wait::wait_until;
