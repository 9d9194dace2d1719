//! `embed work`

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::heartbeat::with_heartbeat;
use super::jobs::WorkSource;
use super::report::{FailedFile, WorkReport};
use crate::embed::embedder::Embedder;
use crate::embed::error::EmbedError;
use crate::embed::file::{Audience, Fault, FileError, FileJob, Outcome, Stop};
use crate::embed::job::Job;
use crate::embed::queue::{self, Backoff, Claim, Done, Queue};
use crate::embed::scan::scan;
use crate::progress::{Embedding, Observer};

/// How often the queue is asked how many jobs are left. Between, the worker counts its own, so others make it less exact.
const COUNT: Duration = Duration::from_secs(30);

/// What to embed, and how.
#[derive(Debug)]
pub struct WorkOptions {
    /// Where the jobs come from.
    pub source: WorkSource,
    /// Whether outputs that are there are replaced, whatever they hold.
    pub force: bool,
    /// The worker's name, unique to this start.
    pub worker: String,
}

/// Works until no job is left, for ever where the queue is waited for, or until it is asked to stop.
///
/// # Errors
/// Where the queue cannot be reached, or something is wrong with this worker, its disk or its device. The current job is
/// given back. Files that fail by themselves are no error: the report lists them.
pub fn work(options: &WorkOptions, embedder: &Embedder, observer: Observer<'_>) -> Result<WorkReport, EmbedError> {
    let began = Instant::now();
    let mut worker = Worker { options, embedder, observer, report: WorkReport::default() };
    match &options.source {
        WorkSource::Queue { address, options, drain } => {
            let queue = queue::open(address, options, observer.cancel)?;
            worker.serve(&*queue, options.lease, *drain)?;
        }
        WorkSource::File(job) => worker.each(std::slice::from_ref(job))?,
        WorkSource::Shard { shard, roots } => {
            let folders = scan(roots, observer.cancel)?;
            worker.each(&shard.missing(&folders, roots)?)?;
            // To look into all that is there takes a while, so what is surely to be done comes first.
            worker.each(&shard.broken(&folders, roots, observer.cancel))?;
        }
    }
    let Worker { mut report, .. } = worker;
    report.seconds = began.elapsed().as_secs_f64();
    report.interrupted = observer.cancel.is_cancelled();
    Ok(report)
}

struct Worker<'a> {
    options: &'a WorkOptions,
    embedder: &'a Embedder,
    observer: Observer<'a>,
    report: WorkReport,
}

impl Worker<'_> {
    /// One file after another.
    fn each(&mut self, jobs: &[Job]) -> Result<(), EmbedError> {
        self.tell(Embedding::Left { files: jobs.len() as u64 });
        for job in jobs {
            match self.embed(job, &AtomicBool::new(false)) {
                Ok(outcome) => self.count(job, &outcome),
                Err(error) if matches!(error.fault(), Fault::File | Fault::Device) => self.fail(job, error),
                Err(FileError::Cancelled) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// What the queue has, one job after another.
    fn serve(&mut self, queue: &dyn Queue, lease: Duration, drain: bool) -> Result<(), EmbedError> {
        let mut backoff = Backoff::polling();
        let mut asked: Option<Instant> = None;
        while !self.observer.cancel.is_cancelled() {
            // Where the folders are the queue, to count is to scan them; so nothing is held meanwhile.
            if asked.is_none_or(|asked| asked.elapsed() > COUNT) {
                self.tell(Embedding::Left { files: queue.left()? });
                asked = Some(Instant::now());
            }
            if let Some(claim) = queue.claim()? {
                backoff.reset();
                self.take(queue, &claim, lease)?;
                continue;
            }
            if drain && queue.left()? == 0 {
                break;
            }
            self.tell(Embedding::Waiting);
            backoff.pause(self.observer.cancel);
        }
        Ok(())
    }

    fn take(&mut self, queue: &dyn Queue, claim: &Claim, lease: Duration) -> Result<(), EmbedError> {
        let lost = AtomicBool::new(false);
        let result = with_heartbeat(queue, claim, lease, &lost, || self.embed(&claim.job, &lost));
        let held = match result {
            Ok(outcome) => {
                let held = queue.finish(claim, &done(&outcome))?;
                self.count(&claim.job, &outcome);
                held
            }
            Err(FileError::LeaseLost { .. }) => false,
            Err(error) => match error.fault() {
                Fault::File => {
                    let held = queue.fail(claim, &told(&error))?;
                    self.fail(&claim.job, error);
                    held
                }
                Fault::Nobody => queue.give_back(claim)?,
                Fault::Worker => {
                    queue.give_back(claim)?;
                    return Err(error.into());
                }
                Fault::Device => {
                    queue.fail(claim, &told(&error))?;
                    return Err(error.into());
                }
            },
        };
        if !held {
            self.report.lost += 1;
            let text = format!("{}: the lease ran out and another worker has the job", claim.job.input);
            self.tell(Embedding::Note { text: &text });
        }
        Ok(())
    }

    fn embed(&self, job: &Job, lost: &AtomicBool) -> Result<Outcome, FileError> {
        let file = FileJob {
            input: Path::new(&job.input),
            output: Path::new(&job.output),
            force: self.options.force,
            worker: &self.options.worker,
        };
        let audience = Listener { file: &job.input, observer: self.observer };
        file.run(self.embedder, Stop { cancel: self.observer.cancel, lost }, &audience)
    }

    fn count(&mut self, job: &Job, outcome: &Outcome) {
        match *outcome {
            Outcome::Embedded(report) => {
                self.report.embedded += 1;
                self.report.totals += report;
                self.tell(Embedding::Done { file: &job.output, rows: report.rows, seconds: report.seconds });
            }
            Outcome::Skipped => {
                self.report.skipped += 1;
                self.tell(Embedding::Skipped { file: &job.output });
            }
        }
    }

    fn fail(&mut self, job: &Job, error: FileError) {
        // Of the only file, the report tells at once.
        if !matches!(self.options.source, WorkSource::File(_)) {
            self.tell(Embedding::Failed { file: &job.input, error: &error.to_string() });
        }
        self.report.failed.push(FailedFile { input: job.input.clone(), error });
    }

    fn tell(&self, event: Embedding<'_>) {
        self.observer.progress.embedding(event);
    }
}

/// What the queue keeps of an error.
fn told(error: &FileError) -> String {
    format!("{error}; {}", error.hint())
}

fn done(outcome: &Outcome) -> Done {
    match outcome {
        Outcome::Embedded(report) => Done { rows: report.rows, texts: report.texts(), seconds: report.seconds },
        Outcome::Skipped => Done { rows: 0, texts: 0, seconds: 0.0 },
    }
}

/// Hands on what is told of one file.
struct Listener<'a> {
    file: &'a str,
    observer: Observer<'a>,
}

impl Audience for Listener<'_> {
    fn begin(&self, rows: u64) {
        self.observer.progress.embedding(Embedding::File { file: self.file, rows });
    }

    fn advance(&self, rows: u64) {
        self.observer.progress.embedding(Embedding::Rows { rows });
    }

    fn note(&self, text: &str) {
        self.observer.progress.embedding(Embedding::Note { text });
    }
}
