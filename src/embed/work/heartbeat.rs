//! Keeps a lease alive while its job is worked on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::embed::queue::{Claim, Queue};

/// Runs `work` while the lease of `claim` is kept; `lost` is set where another worker has it.
pub(super) fn with_heartbeat<T>(
    queue: &dyn Queue,
    claim: &Claim,
    lease: Duration,
    lost: &AtomicBool,
    work: impl FnOnce() -> T,
) -> T {
    let (done, ended) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || keep(queue, claim, lease / 3, lost, &ended));
        let result = work();
        drop(done);
        result
    })
}

fn keep(queue: &dyn Queue, claim: &Claim, interval: Duration, lost: &AtomicBool, ended: &Receiver<()>) {
    while ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
        // A queue that cannot be reached may be back before the lease runs out; if not, the end of the job shows it.
        if let Ok(false) = queue.heartbeat(claim) {
            lost.store(true, Ordering::Relaxed);
            return;
        }
    }
}
