//! The only home of `unsafe`: what lockguard asks of the server beyond SQL, each function with owned
//! Rust values on both sides. Nothing here knows of policies or classes.
#![allow(
    unsafe_code,
    reason = "this is the room for it; the crate denies it everywhere else"
)]

pub mod activity;
pub mod bounded;
mod cached;
mod cancel;
pub mod capacity;
pub mod catalog;
pub mod changes;
pub mod client;
pub mod columns;
mod compat;
pub mod constraints;
pub mod datum;
pub mod depend;
pub mod environment;
pub mod event;
pub mod extension;
pub mod functions;
pub mod handover;
pub mod index;
pub mod inheritance;
pub mod interval;
pub mod layout;
pub mod locks;
mod lwlock;
pub mod memory;
pub mod message;
pub mod parser;
mod partition;
pub mod past_queue;
pub mod prepared;
pub mod principals;
pub mod process;
mod progress;
pub mod raised;
pub mod reserve;
pub mod roles;
mod scan;
pub mod settings;
pub mod shown;
pub mod snapshots;
pub mod source;
mod subtransaction;
pub mod tablespace;
pub mod take;
pub mod text;
pub mod transaction;
pub mod types;
pub mod wait;
