//! What goes in and out of a queue.

use crate::embed::job::Job;

/// A job that is lent to this worker.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The job.
    pub job: Job,
    /// How often it has been tried, this time included.
    pub tries: u32,
    /// Names this lease among all leases there ever were.
    pub token: String,
    /// The entry of the list as it stands there, which is how the queue knows the job.
    pub entry: Vec<u8>,
}

/// What has become of a job that is done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Rows of the output.
    pub rows: u64,
    /// Texts that were embedded for them.
    pub texts: u64,
    /// Seconds of work.
    pub seconds: f64,
}

/// What has become of jobs that were pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Jobs that wait now.
    pub queued: u64,
    /// Jobs that waited, ran or were dead already.
    pub already: u64,
}
