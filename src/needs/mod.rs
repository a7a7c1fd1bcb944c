//! From names and relations to the locks that DDL on them needs.

mod closure;
mod names;

pub use closure::closure;
pub use names::{existing, named};
