//! Turns: tasks that finish in any order, and take one step in the order of their numbers.

use std::sync::{Condvar, Mutex, PoisonError};

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turn {
    next: Mutex<Option<usize>>,
    changed: Condvar,
    given_up: std::sync::atomic::AtomicBool,
}

impl Turn {
    /// Waits until every task before `number` has passed; `false` where there is nothing to wait for any more.
    pub(super) fn wait(&self, number: usize) -> bool {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        while next.unwrap_or(0) < number && !self.is_given_up() {
            next = self.changed.wait(next).unwrap_or_else(PoisonError::into_inner);
        }
        !self.is_given_up()
    }

    /// Ends the turn of task `number`, if it has come.
    pub(super) fn pass(&self, number: usize) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.unwrap_or(0) == number {
            *next = Some(number + 1);
            self.changed.notify_all();
        }
    }

    /// Ends all waiting: a task has failed, and its turn will never come.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, std::sync::atomic::Ordering::Relaxed);
        // Under the lock, so that nobody falls asleep between looking and waiting.
        let _next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed.notify_all();
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(std::sync::atomic::Ordering::Relaxed)
    }
}
