//! From names and relations to the locks that DDL on them needs.

mod closure;
mod names;
mod order;
mod plan;
mod preparation;
mod rights;

pub use closure::closure;
pub use names::{existing, named};
pub use order::lock_order;
pub use plan::{Effect, Planned, script, statement};
pub use preparation::Preparation;
pub use rights::may_lock;
