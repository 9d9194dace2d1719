//! The queue's steps on files.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use embstore_formats::FormatError;

use super::claim_file::{self, ClaimFile, Record};
use super::done_log;
use super::failures::Failures;
use super::outputs::Outputs;
use crate::embed::job::Job;
use crate::embed::queue::worker::{host, random, token};
use crate::embed::queue::{Claim, Dead, Done, Pushed, Queue, QueueError, QueueOptions, Running, Speed, Status};
use crate::embed::scan::{ScanError, scan};
use crate::partial::folder_of;
use crate::progress::Cancel;

/// Between two looks through all folders, at least; and this many times as long as a look takes.
const REST: Duration = Duration::from_millis(500);
const REST_FACTOR: u32 = 10;
/// Dead jobs that a status tells of.
const SHOWN: usize = 100;

/// A queue that is the folder of outputs itself.
pub(in crate::embed::queue) struct FolderQueue<'a> {
    options: QueueOptions,
    cancel: &'a Cancel,
    agenda: Mutex<Agenda>,
    outputs: Outputs,
}

/// What was to be done, or to be looked into, when somebody looked, and when to look again.
#[derive(Default)]
struct Agenda {
    jobs: VecDeque<Job>,
    next_look: Option<Instant>,
}

/// What is in the folders.
struct Look {
    /// Jobs without an output.
    missing: Vec<Job>,
    /// Jobs whose output is there, whole or not.
    there: Vec<Job>,
    /// How many outputs are there, those that no job can name among them.
    done: u64,
}

/// How it stands with a missing output.
enum Standing {
    Waiting,
    Running(Record, Duration),
    Dead(Failures),
}

impl<'a> FolderQueue<'a> {
    pub(in crate::embed::queue) fn open(options: &QueueOptions, cancel: &'a Cancel) -> Self {
        FolderQueue { options: options.clone(), cancel, agenda: Mutex::default(), outputs: Outputs::default() }
    }

    /// The next job whose output was missing when somebody looked; after all of these, one whose output was there and is yet
    /// to be looked into.
    fn next(&self) -> Result<Option<Job>, QueueError> {
        let mut agenda = self.agenda.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        if agenda.jobs.is_empty() && agenda.next_look.is_none_or(|time| time <= began) {
            let Look { mut missing, mut there, .. } = self.look()?;
            there.retain(|job| !self.outputs.is_known(job));
            // Workers that begin together do not all want the same.
            for jobs in [&mut missing, &mut there] {
                let first = random() % jobs.len().max(1) as u64;
                jobs.rotate_left(first as usize);
            }
            agenda.jobs = missing.into_iter().chain(there).collect();
            agenda.next_look = Some(Instant::now() + REST.max(began.elapsed() * REST_FACTOR));
        }
        Ok(agenda.jobs.pop_front())
    }

    fn look(&self) -> Result<Look, QueueError> {
        let roots = &self.options.roots;
        let folders = scan(roots, self.cancel)?;
        let missing: Result<_, _> = folders.iter().flat_map(|folder| folder.jobs(roots)).collect();
        Ok(Look {
            missing: missing.map_err(ScanError::from)?,
            there: folders.iter().flat_map(|folder| folder.jobs_there(roots)).collect(),
            done: folders.iter().map(|folder| folder.there.len() as u64).sum(),
        })
    }

    /// Claims this job, where it can be had.
    fn take(&self, job: Job) -> Result<Option<Claim>, QueueError> {
        let output = Path::new(&job.output);
        if self.outputs.is_done(&job) {
            self.tidy(output)?;
            return Ok(None);
        }
        let Some(mut file) = self.free_claim(output)? else { return Ok(None) };
        // Whoever held it before may have finished, or failed for the last time.
        let failures = Failures::of(output);
        if self.outputs.is_done(&job) || failures.is_dead() {
            file.remove()?;
            return Ok(None);
        }
        let (tries, token) = (failures.tries + 1, token());
        file.write(&Record {
            worker: self.options.worker.clone(),
            host: host(),
            pid: std::process::id(),
            token: token.clone(),
            tries,
            since: done_log::now(),
            lease: self.options.lease.as_secs_f64(),
        })?;
        let entry = job.to_json().into_bytes();
        Ok(Some(Claim { job, tries, token, entry }))
    }

    /// A claim that is nobody's: a new one, or one whose lease ran out.
    fn free_claim(&self, output: &Path) -> Result<Option<ClaimFile>, QueueError> {
        let folder = folder_of(output);
        fs::create_dir_all(folder).map_err(FormatError::io("create", folder))?;
        let path = claim_file::path_of(output);
        if let Some(file) = ClaimFile::create(path.clone())? {
            return Ok(Some(file));
        }
        if claim_file::glance(output).is_none_or(|(record, age)| self.lasts(&record, age)) {
            return Ok(None);
        }
        let Some(mut file) = ClaimFile::open(path)? else { return Ok(None) };
        let record = file.record()?;
        if self.lasts(&record, file.age()?) {
            return Ok(None);
        }
        let tries = record.tries.max(Failures::of(output).tries);
        let error = format!("the lease ran out: {} stopped without a word", record.worker);
        Failures { tries, allowed: self.options.tries, error }.write(output)?;
        Ok(Some(file))
    }

    /// Removes what lies beside an output that is whole: the claim of a worker that died before its last word, and the
    /// failures of a job that somebody did without the queue.
    fn tidy(&self, output: &Path) -> Result<(), QueueError> {
        if claim_file::glance(output).is_some() {
            let Some(mut file) = ClaimFile::open(claim_file::path_of(output))? else { return Ok(()) };
            if self.lasts(&file.record()?, file.age()?) {
                return Ok(());
            }
            file.remove()?;
        }
        Failures::forget(output)?;
        Ok(())
    }

    /// Whether a claim that was renewed so long ago is still its worker's, who may have asked for a longer lease.
    fn lasts(&self, record: &Record, age: Duration) -> bool {
        age.as_secs_f64() <= self.options.lease.as_secs_f64().max(record.lease)
    }

    /// The claim, where it is still this token's.
    fn mine(&self, claim: &Claim) -> Result<Option<ClaimFile>, QueueError> {
        let Some(mut file) = ClaimFile::open(claim_file::path_of(Path::new(&claim.job.output)))? else {
            return Ok(None);
        };
        Ok((file.record()?.token == claim.token).then_some(file))
    }

    fn standing(&self, job: &Job) -> Standing {
        let output = Path::new(&job.output);
        if let Some((record, age)) = claim_file::glance(output).filter(|(record, age)| self.lasts(record, *age)) {
            return Standing::Running(record, age);
        }
        let failures = Failures::of(output);
        if failures.is_dead() && !self.outputs.is_done(job) { Standing::Dead(failures) } else { Standing::Waiting }
    }
}

impl Queue for FolderQueue<'_> {
    /// What is missing is the queue, so there is nothing to lose.
    fn id(&self) -> Result<String, QueueError> {
        Ok(String::new())
    }

    /// There is nothing to do: what is missing waits.
    fn push(&self, jobs: &[Job]) -> Result<Pushed, QueueError> {
        let queued = jobs.iter().filter(|job| matches!(self.standing(job), Standing::Waiting)).count() as u64;
        Ok(Pushed { queued, already: jobs.len() as u64 - queued })
    }

    fn claim(&self) -> Result<Option<Claim>, QueueError> {
        // To look into what is there may take a while.
        while !self.cancel.is_cancelled()
            && let Some(job) = self.next()?
        {
            if let Some(claim) = self.take(job)? {
                return Ok(Some(claim));
            }
        }
        Ok(None)
    }

    fn heartbeat(&self, claim: &Claim) -> Result<bool, QueueError> {
        let Some(file) = self.mine(claim)? else { return Ok(false) };
        file.renew()?;
        Ok(true)
    }

    fn finish(&self, claim: &Claim, done: &Done) -> Result<bool, QueueError> {
        let Some(file) = self.mine(claim)? else { return Ok(false) };
        done_log::append(&self.options.roots.embeddings, done)?;
        Failures::forget(Path::new(&claim.job.output))?;
        file.remove()?;
        Ok(true)
    }

    fn fail(&self, claim: &Claim, error: &str) -> Result<bool, QueueError> {
        let Some(file) = self.mine(claim)? else { return Ok(false) };
        let failures = Failures { tries: claim.tries, allowed: self.options.tries, error: error.into() };
        failures.write(Path::new(&claim.job.output))?;
        file.remove()?;
        Ok(true)
    }

    fn give_back(&self, claim: &Claim) -> Result<bool, QueueError> {
        let Some(file) = self.mine(claim)? else { return Ok(false) };
        file.remove()?;
        Ok(true)
    }

    fn left(&self) -> Result<u64, QueueError> {
        let (missing, broken) = (self.look()?.missing, self.outputs.broken());
        let is_left = |job: &&Job| !matches!(self.standing(job), Standing::Dead(_));
        Ok(missing.iter().chain(&broken).filter(is_left).count() as u64)
    }

    fn status(&self) -> Result<Status, QueueError> {
        let Look { missing, there, done } = self.look()?;
        let log = done_log::read(&self.options.roots.embeddings);
        let speed = Speed::of(&log.recent);
        let mut status = Status { done, rows: log.rows, texts: log.texts, speed, ..Status::default() };
        let all = missing.into_iter().map(|job| (job, false)).chain(there.into_iter().map(|job| (job, true)));
        for (job, is_there) in all {
            let standing = self.standing(&job);
            status.done -= u64::from(is_there && !matches!(standing, Standing::Waiting));
            match standing {
                Standing::Waiting => status.waiting += u64::from(!is_there),
                Standing::Running(record, age) => status.running.push(Running {
                    input: job.input,
                    seconds: (done_log::now() - record.since).max(0.0),
                    lease_left: (record.lease - age.as_secs_f64()).max(0.0),
                    worker: record.worker,
                    tries: record.tries,
                }),
                Standing::Dead(Failures { tries, error, .. }) => {
                    status.dead += 1;
                    if status.dead_jobs.len() < SHOWN {
                        status.dead_jobs.push(Dead { input: job.input, error, tries });
                    }
                }
            }
        }
        status.running.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        Ok(status)
    }

    fn retry(&self) -> Result<u64, QueueError> {
        let Look { missing, there, .. } = self.look()?;
        let mut retried = 0;
        for job in missing.iter().chain(&there).filter(|job| matches!(self.standing(job), Standing::Dead(_))) {
            retried += u64::from(Failures::forget(Path::new(&job.output))?);
        }
        Ok(retried)
    }
}
