//! Throw-away PostgreSQL servers with lockguard in them.

pub mod account;
pub mod failure;
pub mod process;
pub mod wait;

pub use failure::{During, Failure};
pub use wait::wait_until;
