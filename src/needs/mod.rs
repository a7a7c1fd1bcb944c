//! From names and relations to the locks that DDL on them needs.

mod closure;
mod names;
mod order;
mod rights;
mod script;

pub use closure::closure;
pub use names::{existing, named};
pub use order::lock_order;
pub use rights::may_lock;
pub use script::{Effect, Planned, script};
