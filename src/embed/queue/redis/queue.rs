//! The queue's steps as calls of the scripts.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::{Cmd, Commands, ScriptInvocation};

use super::known::Known;
use super::scripts::Scripts;
use super::server::Server;
use super::status;
use crate::embed::job::Job;
use crate::embed::queue::address::RedisAddress;
use crate::embed::queue::status::RECENT;
use crate::embed::queue::worker::token;
use crate::embed::queue::{Claim, Done, Pushed, Queue, QueueError, QueueOptions, Status};
use crate::progress::Cancel;

/// A queue on a Redis server.
pub(in crate::embed::queue) struct RedisQueue<'a> {
    server: Server<'a>,
    scripts: Scripts,
    lease: u64,
    tries: u32,
    worker: String,
    known: Mutex<Option<Known>>,
}

impl<'a> RedisQueue<'a> {
    /// Connects, and looks whether the list is one.
    pub(in crate::embed::queue) fn open(
        address: &RedisAddress,
        options: &QueueOptions,
        cancel: &'a Cancel,
    ) -> Result<Self, QueueError> {
        let server = Server::connect(address, &options.name, options.patience, cancel)?;
        let scripts = Scripts::new(&options.name);
        server.call(|connection| connection.llen::<_, u64>(scripts.list()))?;
        let lease = milliseconds(options.lease);
        Ok(RedisQueue {
            server,
            scripts,
            lease,
            tries: options.tries,
            worker: options.worker.clone(),
            known: Mutex::new(None),
        })
    }

    /// The call that ends a lease, but for what the outcome needs to know.
    fn settlement(&self, claim: &Claim, outcome: &str) -> ScriptInvocation<'_> {
        let mut call = self.scripts.on(&self.scripts.settle);
        call.key(self.scripts.settled(&claim.token)).arg(&claim.token).arg(&claim.entry).arg(outcome);
        call
    }

    fn load(&self) -> Result<Known, QueueError> {
        self.server.call(|connection| Known::load(&self.scripts, connection))
    }
}

fn milliseconds(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

impl Queue for RedisQueue<'_> {
    fn id(&self) -> Result<String, QueueError> {
        let (pushed, new) = (self.scripts.pushed(), token());
        self.server.call(|connection| {
            let _: bool = connection.hset_nx(pushed, "id", &new)?;
            connection.hget(pushed, "id")
        })
    }

    fn push(&self, jobs: &[Job]) -> Result<Pushed, QueueError> {
        let mut kept = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = match kept.take() {
            Some(known) => known,
            None => self.load()?,
        };
        let token = token();
        loop {
            let mut call = self.scripts.on(&self.scripts.push);
            call.arg(known.version).arg(&token);
            for job in jobs.iter().filter(|job| !known.contains(job)) {
                call.arg(job.to_json());
            }
            let (version, queued, news): (i64, i64, Vec<Vec<u8>>) =
                self.server.call(|connection| call.invoke(connection))?;
            known.version = version;
            match u64::try_from(queued) {
                Ok(queued) => {
                    jobs.iter().for_each(|job| known.insert(job));
                    *kept = Some(known);
                    return Ok(Pushed { queued, already: jobs.len() as u64 - queued });
                }
                Err(_) if queued == -1 => known.extend(&news),
                Err(_) => known = self.load()?,
            }
        }
    }

    fn claim(&self) -> Result<Option<Claim>, QueueError> {
        loop {
            let token = token();
            let mut call = self.scripts.on(&self.scripts.claim);
            call.arg(self.lease).arg(self.tries).arg(&token).arg(&self.worker);
            let taken: Option<(Vec<u8>, u32)> = self.server.call(|connection| call.invoke(connection))?;
            let Some((entry, tries)) = taken else { return Ok(None) };
            match Job::from_json(&entry) {
                Ok(job) => return Ok(Some(Claim { job, tries, token, entry })),
                Err(error) => {
                    let job = Job { input: String::new(), output: String::new() };
                    let claim = Claim { job, tries, token, entry };
                    let mut call = self.settlement(&claim, "bury");
                    call.arg(error.to_string());
                    self.server.call(|connection| call.invoke::<bool>(connection))?;
                }
            }
        }
    }

    fn heartbeat(&self, claim: &Claim) -> Result<bool, QueueError> {
        let mut call = self.scripts.on(&self.scripts.heartbeat);
        call.arg(&claim.token).arg(&claim.entry).arg(self.lease);
        self.server.call(|connection| call.invoke(connection))
    }

    fn finish(&self, claim: &Claim, done: &Done) -> Result<bool, QueueError> {
        let mut call = self.settlement(claim, "finish");
        call.arg(done.rows).arg(done.texts).arg(done.seconds).arg(RECENT);
        self.server.call(|connection| call.invoke(connection))
    }

    fn fail(&self, claim: &Claim, error: &str) -> Result<bool, QueueError> {
        let mut call = self.settlement(claim, "fail");
        call.arg(error).arg(self.tries);
        self.server.call(|connection| call.invoke(connection))
    }

    fn give_back(&self, claim: &Claim) -> Result<bool, QueueError> {
        let call = self.settlement(claim, "give_back");
        self.server.call(|connection| call.invoke(connection))
    }

    fn left(&self) -> Result<u64, QueueError> {
        let mut both = redis::pipe();
        both.atomic().add_command(Cmd::llen(self.scripts.list())).add_command(Cmd::zcard(self.scripts.leases()));
        let (waiting, running): (u64, u64) = self.server.call(|connection| both.query(connection))?;
        Ok(waiting + running)
    }

    fn status(&self) -> Result<Status, QueueError> {
        let mut call = self.scripts.on(&self.scripts.status);
        call.arg(self.lease).arg(self.tries);
        self.server.call(|connection| status::read(call.invoke(connection)?))
    }

    fn retry(&self) -> Result<u64, QueueError> {
        let (mut cursor, mut retried) = (0, 0);
        loop {
            let mut call = self.scripts.on(&self.scripts.retry);
            call.arg(cursor);
            let (next, more): (u64, u64) = self.server.call(|connection| call.invoke(connection))?;
            retried += more;
            if next == 0 {
                return Ok(retried);
            }
            cursor = next;
        }
    }
}
