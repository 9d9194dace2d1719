//! `--limit-rate`: all connections together take no more than so many bytes a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A rate that many threads share.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: u64,
    /// When what was taken so far is paid for.
    paid: Mutex<Instant>,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Pace { bytes_per_second: bytes_per_second.max(1), paid: Mutex::new(Instant::now()) }
    }

    /// Bytes that one of `connections` may have in flight: a quarter of a second's worth for all of them, so that the
    /// rate holds at the server too.
    pub(crate) fn window(&self, connections: u64) -> u64 {
        (self.bytes_per_second / 4 / connections.max(1)).max(16 * 1024)
    }

    /// Books `bytes` that have come; returns how long to wait before more are taken.
    pub(crate) fn book(&self, bytes: u64) -> Duration {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        *paid = (*paid).max(now) + cost;
        *paid - now
    }
}
