//! `.embstore-done.jsonl`: a line a job that is done.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use embstore_formats::FormatError;
use serde::{Deserialize, Serialize};

use crate::embed::queue::status::{Finished, RECENT};
use crate::embed::queue::{Done, QueueError};

const NAME: &str = ".embstore-done.jsonl";

#[derive(Serialize, Deserialize)]
struct Line {
    at: f64,
    rows: u64,
    texts: u64,
    seconds: f64,
}

/// What was done, in all and lately.
#[derive(Default)]
pub(super) struct DoneLog {
    pub(super) rows: u64,
    pub(super) texts: u64,
    pub(super) recent: Vec<Finished>,
}

/// Adds a job. Lines of several processes do not mix: each is one write at the end.
pub(super) fn append(embeddings: &Path, done: &Done) -> Result<(), QueueError> {
    let path = path_of(embeddings);
    let Done { rows, texts, seconds } = *done;
    let mut line = serde_json::to_string(&Line { at: now(), rows, texts, seconds }).unwrap_or_default();
    line.push('\n');
    let opened = File::options().append(true).create(true).open(&path);
    Ok(opened.and_then(|mut file| file.write_all(line.as_bytes())).map_err(FormatError::io("write", &path))?)
}

/// Reads it. A line that was cut off does not count.
pub(super) fn read(embeddings: &Path) -> DoneLog {
    let text = fs::read(path_of(embeddings)).unwrap_or_default();
    let lines: Vec<Line> =
        text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let now = now();
    let finished = |line: &Line| {
        let done = Done { rows: line.rows, texts: line.texts, seconds: line.seconds };
        Finished { age: (now - line.at).max(0.0), done }
    };
    DoneLog {
        rows: lines.iter().map(|line| line.rows).sum(),
        texts: lines.iter().map(|line| line.texts).sum(),
        recent: lines.iter().rev().take(RECENT).map(finished).collect(),
    }
}

/// Seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn path_of(embeddings: &Path) -> PathBuf {
    embeddings.join(NAME)
}
