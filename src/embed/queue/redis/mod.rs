//! A queue on a Redis server (6.2 or newer), for any number of machines.
//!
//! ```text
//! phase4_todo_queue            list    jobs that wait, as JSON: pushed left, taken right; LLEN tells how many
//! {phase4_todo_queue}:leases   zset    jobs that run → when the lease runs out, in the server's milliseconds
//! {phase4_todo_queue}:claims   hash    jobs that run → token, worker, since when
//! {phase4_todo_queue}:tokens   hash    token → the job
//! {phase4_todo_queue}:tries    hash    jobs that have been claimed and are not settled → how often
//! {phase4_todo_queue}:dead     hash    jobs that are dead → the last error, and how often they were tried
//! {phase4_todo_queue}:totals   hash    jobs, rows and texts that are done
//! {phase4_todo_queue}:recent   list    the last jobs that were done: when, rows, texts, seconds
//! {phase4_todo_queue}:pushed   hash    how many came to the head of the list, the last push, the queue's id
//! {phase4_todo_queue}:settled:<token>  for an hour, so that a call repeated after a cut does nothing twice
//! ```
//!
//! The braces keep all keys in one slot of a cluster. Every step is one Lua script, and the time is the server's. A job
//! is known by the bytes of its entry. Managers and workers that know nothing but the list can share it: what they take
//! is gone from it, and what they push is taken like anything else.

mod complaint;
mod known;
mod queue;
mod scripts;
mod server;
mod status;

pub(super) use queue::RedisQueue;
