//! Connections that end when the caller asks to stop: whoever waits for a silent server would go on waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::transport::Breaker;
use crate::progress::Cancel;

/// The connections that are open, or were.
#[derive(Default)]
pub(crate) struct Breakers {
    breakers: Mutex<Vec<Breaker>>,
    is_over: AtomicBool,
}

impl Breakers {
    pub(crate) fn add(&self, breaker: Breaker) {
        self.breakers.lock().unwrap_or_else(PoisonError::into_inner).push(breaker);
    }

    /// Ends all connections as soon as the caller asks to stop; returns after [`Breakers::end`].
    pub(crate) fn watch(&self, cancel: &Cancel) {
        while !self.is_over.load(Ordering::Relaxed) {
            if cancel.is_cancelled() {
                self.breakers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|end| end());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// There is nothing left to watch.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
