//! The state of the queue, from what the script returns.

use redis::{FromRedisValue, RedisError, Value};
use serde::Deserialize;

use crate::embed::job::Job;
use crate::embed::queue::status::Finished;
use crate::embed::queue::{Dead, Done, Running, Speed, Status};

/// Entry, deadline, claim and tries of a job that runs.
type Lease = (Vec<u8>, f64, Vec<u8>, u32);
/// Time, waiting, running, dead, some of the dead, totals, recent.
type Answer = (f64, u64, Vec<Lease>, u64, Vec<(Vec<u8>, Vec<u8>)>, Vec<Option<u64>>, Vec<String>);

#[derive(Default, Deserialize)]
#[serde(default)]
struct ClaimRecord {
    worker: String,
    since: f64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DeadRecord {
    error: String,
    tries: u32,
}

/// What the script's answer says.
pub(super) fn read(answer: Value) -> Result<Status, RedisError> {
    let (now, waiting, leases, dead, some_dead, totals, recent) = Answer::from_redis_value(answer)?;
    let seconds = |milliseconds: f64| milliseconds / 1000.0;
    let mut running: Vec<Running> = leases
        .into_iter()
        .map(|(entry, deadline, claim, tries)| {
            let claim: ClaimRecord = serde_json::from_slice(&claim).unwrap_or_default();
            let lease_left = seconds(deadline - now).max(0.0);
            Running {
                input: input(&entry),
                worker: claim.worker,
                tries,
                seconds: seconds(now - claim.since),
                lease_left,
            }
        })
        .collect();
    running.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let dead_jobs = some_dead.into_iter().map(|(entry, record)| {
        let record: DeadRecord = serde_json::from_slice(&record).unwrap_or_default();
        Dead { input: input(&entry), error: record.error, tries: record.tries }
    });
    let recent: Vec<Finished> = recent.iter().filter_map(|line| finished(line, now)).collect();
    let total = |index: usize| totals.get(index).copied().flatten().unwrap_or(0);
    Ok(Status {
        waiting,
        running,
        dead,
        dead_jobs: dead_jobs.collect(),
        done: total(0),
        rows: total(1),
        texts: total(2),
        speed: Speed::of(&recent),
    })
}

/// The file that an entry names, or the entry itself.
fn input(entry: &[u8]) -> String {
    Job::from_json(entry).map_or_else(|_| String::from_utf8_lossy(entry).into_owned(), |job| job.input)
}

fn finished(line: &str, now: f64) -> Option<Finished> {
    let mut fields = line.split(' ');
    let at: f64 = fields.next()?.parse().ok()?;
    let (rows, texts) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let done = Done { rows, texts, seconds: fields.next()?.parse().ok()? };
    Some(Finished { age: (now - at).max(0.0) / 1000.0, done })
}
