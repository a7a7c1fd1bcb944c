//! The only home of `unsafe`: what lockguard asks of the server beyond SQL, each function with owned
//! Rust values on both sides. Nothing here knows of policies or classes.
#![allow(
    unsafe_code,
    reason = "this is the room for it; the crate denies it everywhere else"
)]

pub mod activity;
pub mod catalog;
mod compat;
pub mod datum;
pub mod extension;
pub mod inheritance;
pub mod interval;
pub mod locks;
mod lwlock;
pub mod memory;
pub mod prepared;
pub mod process;
mod progress;
pub mod roles;
pub mod shown;
mod subtransaction;
pub mod take;
pub mod text;
pub mod transaction;
pub mod wait;
