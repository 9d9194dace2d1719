//! The queue against real Redis servers and real folders: one conformance suite for both, then what can go wrong with
//! each.

#![cfg(feature = "embed")]

mod conformance;
mod enqueue;
mod folder;
mod proxy;
mod redis_faults;
mod redis_login;
mod redis_sharing;
mod server;
mod world;
