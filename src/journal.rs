//! The journal: what has landed so far, one JSON line each.
//!
//! The first line is the identity of the job: plan, options that change bytes, version. Every other line is a piece,
//! appended after its bytes are on disk. A line that was cut off by a crash does not count.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use embstore_formats::{Checksum, FormatError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::identity::Identity;
use crate::quality::Quality;

/// Why a journal cannot be continued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// It belongs to another job.
    #[error("{}: was begun by another merge or export (other checkpoints, rows, options or version)", partial.display())]
    OtherJob {
        /// The partial store.
        partial: PathBuf,
    },
    /// It cannot be read or written.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl JournalError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            JournalError::OtherJob { .. } => {
                "run the command that began it, or discard what it has copied: --restart".into()
            }
            JournalError::Format(source) => source.hint(),
        }
    }
}

/// A piece that is in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PieceRecord {
    /// First row, counted in the store.
    pub(crate) row: u64,
    pub(crate) rows: u64,
    pub(crate) source: Identity,
    checksum: String,
    bytes: u64,
    pub(crate) quality: Quality,
    /// What storing narrower elements has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) narrowing: Option<Narrowing>,
}

/// Float32 rows stored as a narrower type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Narrowing {
    /// Of the rows before.
    checksum: String,
    /// The largest absolute error.
    pub(crate) largest_error: f32,
}

impl Narrowing {
    pub(crate) fn new(checksum: Checksum, largest_error: f32) -> Self {
        Narrowing { checksum: checksum.to_string(), largest_error }
    }
}

impl PieceRecord {
    pub(crate) fn new(row: u64, rows: u64, source: Identity, checksum: Checksum, quality: Quality) -> Self {
        let bytes = checksum.len();
        PieceRecord { row, rows, source, checksum: checksum.to_string(), bytes, quality, narrowing: None }
    }

    /// Of the rows as stored, read as float32.
    pub(crate) fn checksum(&self) -> Checksum {
        Checksum::parse(&self.checksum, self.bytes).unwrap_or_default()
    }

    /// Of the float32 rows as they were before they were stored as anything narrower.
    pub(crate) fn source_checksum(&self) -> Checksum {
        let text = self.narrowing.as_ref().map_or(&self.checksum, |narrowing| &narrowing.checksum);
        Checksum::parse(text, self.bytes).unwrap_or_default()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Job(Value),
    Piece(Box<PieceRecord>),
}

/// The pieces that have landed, by first row.
pub(crate) type Landed = BTreeMap<u64, PieceRecord>;

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    sync: bool,
}

impl Journal {
    /// Continues the journal of `job` in the folder `partial`, or begins it.
    pub(crate) fn open(partial: &Path, job: &Value, sync: bool) -> Result<(Self, Landed), JournalError> {
        let path = partial.join("journal");
        let file = File::options().read(true).append(true).create(true).open(&path);
        let file = file.map_err(FormatError::io("open", &path))?;
        let (landed, whole) = read(&file, &path, partial, job)?;
        // A torn last line is cut off, so that the next one starts on its own.
        file.set_len(whole).map_err(FormatError::io("write", &path))?;
        let mut journal = Journal { file, path, sync };
        if whole == 0 {
            journal.append(&[Line::Job(job.clone())])?;
        }
        Ok((journal, landed))
    }

    /// Forgets everything that landed.
    pub(crate) fn reset(&mut self, job: &Value) -> Result<(), JournalError> {
        self.file.set_len(0).map_err(FormatError::io("write", &self.path))?;
        self.append(&[Line::Job(job.clone())])
    }

    /// Notes pieces whose bytes are on disk.
    pub(crate) fn append_pieces(&mut self, pieces: &[PieceRecord]) -> Result<(), JournalError> {
        self.append(&pieces.iter().map(|piece| Line::Piece(Box::new(piece.clone()))).collect::<Vec<_>>())
    }

    fn append(&mut self, lines: &[Line]) -> Result<(), JournalError> {
        let mut text = String::new();
        for line in lines {
            // Plain numbers, strings and maps with string keys: nothing in a line can fail to serialise.
            text.push_str(&serde_json::to_string(line).unwrap_or_default());
            text.push('\n');
        }
        self.file.write_all(text.as_bytes()).map_err(FormatError::io("write", &self.path))?;
        if self.sync {
            self.file.sync_data().map_err(FormatError::io("sync", &self.path))?;
        }
        Ok(())
    }
}

/// What has landed, and the length of the whole lines.
fn read(file: &File, path: &Path, partial: &Path, job: &Value) -> Result<(Landed, u64), JournalError> {
    let mut reader = BufReader::new(file);
    let (mut landed, mut whole, mut line) = (Landed::new(), 0, Vec::new());
    loop {
        line.clear();
        let len = reader.read_until(b'\n', &mut line).map_err(FormatError::io("read", path))?;
        if !line.ends_with(b"\n") {
            return Ok((landed, whole));
        }
        match serde_json::from_slice(&line) {
            Ok(Line::Job(head)) if head == *job => {}
            Ok(Line::Piece(piece)) if whole > 0 => drop(landed.insert(piece.row, *piece)),
            _ => return Err(JournalError::OtherJob { partial: partial.to_path_buf() }),
        }
        whole += len as u64;
    }
}
