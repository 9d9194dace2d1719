//! Work space for a fixed number of callers at a time; more of them wait.

use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, PoisonError};

/// What each caller gets one of.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    count: usize,
    free: Mutex<Vec<T>>,
    returned: Condvar,
}

/// One of them, until it is dropped.
pub(super) struct Lane<'a, T: Default> {
    lanes: &'a Lanes<T>,
    space: T,
}

impl<T: Default> Lanes<T> {
    /// At least one.
    pub(super) fn new(count: usize) -> Self {
        let count = count.max(1);
        let free = Mutex::new((0..count).map(|_| T::default()).collect());
        Lanes { count, free, returned: Condvar::new() }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Waits for one.
    pub(super) fn take(&self) -> Lane<'_, T> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.returned.wait_while(free, |free| free.is_empty()).unwrap_or_else(PoisonError::into_inner);
        Lane { lanes: self, space: free.pop().unwrap_or_default() }
    }
}

impl<T: Default> Drop for Lane<'_, T> {
    fn drop(&mut self) {
        let space = std::mem::take(&mut self.space);
        self.lanes.free.lock().unwrap_or_else(PoisonError::into_inner).push(space);
        self.lanes.returned.notify_one();
    }
}

impl<T: Default> Deref for Lane<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.space
    }
}

impl<T: Default> DerefMut for Lane<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.space
    }
}
