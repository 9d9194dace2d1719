//! The connections of one cluster: each takes the next file from one queue until none is left.
//!
//! Connections come and go: one that is refused beside others leaves its work to them, one that breaks is made again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::breakers::Breakers;
use super::error::FetchError;
use super::fetch::{Complete, Fetched, Fetcher, Outcome};
use super::manifest::Manifest;
use super::options::Verify;
use super::preview::{Preview, identity_to_be, preview};
use super::remote::RemoteFile;
use super::sftp::Sftp;
use super::transport::{ConnectError, Transport};
use crate::identity::Identity;
use crate::progress::Transfer;

/// Logins at the same time: a server drops some of those that have not finished, from ten on by default.
const MOST_LOGINS: usize = 8;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Hears what becomes of files. Called from several threads.
pub(crate) trait Audience: Sync {
    /// Whether previews are wanted.
    fn wants_previews(&self) -> bool {
        false
    }
    /// A file can be planned with; `None` where one cannot.
    fn previewed(&self, _preview: Option<Preview>) {}
    /// A file is there, or will not be.
    fn settled(&self, _file: &RemoteFile, _is_there: bool) {}
}

/// All that the connections of one cluster share.
pub(crate) struct Crew<'a> {
    pub(crate) transport: &'a dyn Transport,
    pub(crate) fetcher: Fetcher<'a>,
    pub(crate) manifest: &'a Mutex<Manifest>,
    pub(crate) audience: &'a dyn Audience,
    /// Takes what became of each file.
    pub(crate) on_settled: &'a (dyn Fn(&RemoteFile, Result<Fetched, FetchError>) + Sync),
    /// Connections at most.
    pub(crate) jobs: usize,
    pub(crate) retries: u32,
    /// Bytes that have crossed the line.
    pub(crate) bytes: &'a AtomicU64,
}

/// What one connection does next.
enum Task {
    /// Looks at the head and tail of a file that will have this identity.
    Preview(RemoteFile, Identity),
    /// Fetches a file.
    Fetch(RemoteFile),
}

/// What changes while a crew works.
struct Shift<'a> {
    crew: &'a Crew<'a>,
    queue: Mutex<VecDeque<Task>>,
    logins: Door,
    breakers: Breakers,
    /// Whether nobody tries to connect any more.
    is_closed: AtomicBool,
}

impl Crew<'_> {
    /// Fetches `files`, the largest first, over `first` and as many further connections as are had.
    pub(crate) fn fetch(&self, first: Sftp, mut files: Vec<RemoteFile>) {
        files.sort_by_key(|file| std::cmp::Reverse(file.version.size));
        let mut tasks = VecDeque::new();
        if self.audience.wants_previews() {
            for file in &files {
                match identity_to_be(self.fetcher.folder, file) {
                    Some(identity) => tasks.push_back(Task::Preview(file.clone(), identity)),
                    None => self.audience.previewed(None),
                }
            }
        }
        tasks.extend(files.into_iter().map(Task::Fetch));
        let again = self.work(Some(first), tasks);
        if !again.is_empty() {
            // What does not match a second time is reported.
            let again = self.work(None, again.into_iter().map(|(file, _)| Task::Fetch(file)).collect());
            again.into_iter().for_each(|(file, error)| (self.on_settled)(&file, Err(error)));
        }
    }

    /// Does the tasks; returns the files that arrived as something else than they are on the cluster.
    fn work(&self, first: Option<Sftp>, tasks: VecDeque<Task>) -> Vec<(RemoteFile, FetchError)> {
        let fetches = tasks.iter().filter(|task| matches!(task, Task::Fetch(_))).count();
        // Where files are merged as they land, not all of them should land at the end.
        let at_once = if self.audience.wants_previews() { fetches.div_ceil(2) } else { fetches };
        let connections = self.jobs.min(at_once).max(1);
        let shift = Shift {
            crew: self,
            queue: Mutex::new(tasks),
            logins: Door::new(MOST_LOGINS),
            breakers: Breakers::default(),
            is_closed: AtomicBool::new(false),
        };
        first.iter().for_each(|sftp| shift.breakers.add(sftp.breaker()));
        shift.breakers.add(self.transport.interrupter());
        std::thread::scope(|scope| {
            scope.spawn(|| shift.breakers.watch(self.fetcher.observer.cancel));
            let shift = &shift;
            let (sender, complete) = channel();
            let concluding = scope.spawn(move || shift.conclude(&complete));
            for _ in 1..connections {
                let sender = sender.clone();
                scope.spawn(move || match shift.connect() {
                    Ok(connection) => shift.work(Some(connection), &sender),
                    Err(error) => shift.go_on_with_fewer(&error),
                });
            }
            shift.work(first, &sender);
            // It ends when every connection has let go of its end of the channel.
            drop(sender);
            let again = concluding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            shift.breakers.end();
            again
        })
    }
}

impl Shift<'_> {
    fn is_cancelled(&self) -> bool {
        self.crew.fetcher.observer.cancel.is_cancelled()
    }

    /// One connection: takes tasks until none is left.
    fn work(&self, mut connection: Option<Sftp>, complete: &Sender<Complete>) {
        while let Some(task) = self.take() {
            match task {
                Task::Preview(file, identity) => {
                    let found = connection.as_mut().map(|sftp| preview(&self.crew.fetcher, sftp, &file, identity));
                    // Without a preview the file is planned when it is there. A connection that broke is made again.
                    if !matches!(found, Some(Ok(_))) {
                        connection = None;
                    }
                    self.crew.audience.previewed(found.and_then(Result::ok).flatten());
                }
                Task::Fetch(file) => {
                    let outcome = match self.settle(&mut connection, &file) {
                        // Nobody is there to conclude it where the concluding thread has panicked; so will this.
                        Ok(Outcome::Complete(file)) => {
                            let _ = complete.send(file);
                            continue;
                        }
                        Ok(Outcome::There(fetched)) => self.record(fetched),
                        Err(error) => Err(error),
                    };
                    if let Err(FetchError::Connect(_)) = &outcome {
                        // Nobody can log in any more, or the server has stayed away for all tries.
                        self.is_closed.store(true, Ordering::Relaxed);
                    }
                    (self.crew.on_settled)(&file, outcome);
                }
            }
        }
    }

    fn take(&self) -> Option<Task> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_cancelled() { None } else { queue.pop_front() }
    }

    /// Concludes files as they become complete, all that wait together: each group costs a round trip.
    fn conclude(&self, complete: &Receiver<Complete>) -> Vec<(RemoteFile, FetchError)> {
        if self.crew.fetcher.verify != Verify::Never {
            self.crew.fetcher.checksums.warm_up();
        }
        let mut again = Vec::new();
        while let Ok(first) = complete.recv() {
            let group: Vec<Complete> = std::iter::once(first).chain(complete.try_iter()).collect();
            if self.is_cancelled() {
                // Their bytes are kept, and compared by the next run.
                continue;
            }
            for (file, outcome) in self.crew.fetcher.conclude(group) {
                match outcome.and_then(|fetched| self.record(fetched)) {
                    Err(error @ FetchError::Mismatch { .. }) => again.push((file, error)),
                    outcome => (self.crew.on_settled)(&file, outcome),
                }
            }
        }
        again
    }

    /// Writes a file that is in its place into the manifest.
    fn record(&self, fetched: Fetched) -> Result<Fetched, FetchError> {
        let mut manifest = self.crew.manifest.lock().unwrap_or_else(PoisonError::into_inner);
        if manifest.entries().get(&fetched.entry.file) != Some(&fetched.entry) {
            manifest.append(fetched.entry.clone())?;
        }
        Ok(fetched)
    }

    fn go_on_with_fewer(&self, error: &ConnectError) {
        if !self.is_cancelled() {
            let text = format!("going on with fewer connections: {error}");
            self.crew.fetcher.observer.progress.transfer(Transfer::Note { text: &text });
        }
    }

    fn connect(&self) -> Result<Sftp, ConnectError> {
        let _login = self.logins.enter();
        let connection = self.crew.transport.connect()?;
        self.breakers.add(connection.breaker());
        Sftp::start(connection, &self.crew.fetcher.address)
    }

    /// Fetches a file, over as many connections as it takes.
    fn settle(&self, connection: &mut Option<Sftp>, file: &RemoteFile) -> Result<Outcome, FetchError> {
        let mut failures = 0;
        loop {
            let before = AtomicU64::new(0);
            let result = self.attempt(connection, file, &before);
            let error = match result {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            if error.breaks_connection() {
                *connection = None;
            }
            self.crew.fetcher.observer.progress.transfer(Transfer::Stopped { file: &file.name });
            if self.is_cancelled() {
                return Err(FetchError::Cancelled);
            }
            if before.load(Ordering::Relaxed) > 0 {
                failures = 0;
            }
            if !error.is_transient() || failures >= self.crew.retries {
                return Err(error);
            }
            let text = format!("{error}; trying again");
            self.crew.fetcher.observer.progress.transfer(Transfer::Note { text: &text });
            self.pause(failures)?;
            failures += 1;
        }
    }

    fn attempt(
        &self,
        connection: &mut Option<Sftp>,
        file: &RemoteFile,
        moved: &AtomicU64,
    ) -> Result<Outcome, FetchError> {
        let fetcher = &self.crew.fetcher;
        if self.is_closed.load(Ordering::Relaxed) && connection.is_none() {
            return Err(FetchError::GivenUp { address: fetcher.address.clone(), path: file.path.clone() });
        }
        let sftp = match connection {
            Some(sftp) => sftp,
            None => connection.insert(self.connect()?),
        };
        let known = {
            let manifest = self.crew.manifest.lock().unwrap_or_else(PoisonError::into_inner);
            manifest.entries().get(&file.name).cloned()
        };
        fetcher.fetch(sftp, file, known.as_ref(), &mut |bytes| {
            moved.fetch_add(bytes, Ordering::Relaxed);
            self.crew.bytes.fetch_add(bytes, Ordering::Relaxed);
        })
    }

    /// Waits before the next try, longer from time to time.
    fn pause(&self, failures: u32) -> Result<(), FetchError> {
        // Not all connections at the same moment: a fraction that differs from call to call is enough for that.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let jitter = f64::from(now.subsec_nanos() % 1000) / 4000.0;
        let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(10)).min(LONGEST_PAUSE).mul_f64(1.0 + jitter);
        if self.crew.fetcher.observer.cancel.sleep(pause) { Ok(()) } else { Err(FetchError::Cancelled) }
    }
}

/// Lets so many through at a time.
struct Door {
    free: Mutex<usize>,
    changed: Condvar,
}

struct Inside<'a>(&'a Door);

impl Door {
    fn new(places: usize) -> Self {
        Door { free: Mutex::new(places), changed: Condvar::new() }
    }

    fn enter(&self) -> Inside<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.changed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Inside(self)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.changed.notify_one();
    }
}
