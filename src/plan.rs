//! The plan: checkpoints, sorted and verified to cover rows `0..N` exactly once.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use embstore_formats::ArrayMeta;

use crate::checkpoint::Checkpoint;
use crate::text::{natural_order, thousands};

/// Widest matrix. A row is the least that is read at once, so this bounds memory at 1 MiB a row.
const MAX_COLS: u64 = 1 << 18;

/// Which rows of the whole matrix are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRange {
    /// First row.
    pub start: u64,
    /// One past the last row.
    pub end: u64,
}

impl RowRange {
    /// As many rows from the same start, where they are not too many.
    pub(crate) fn holding(self, count: u64) -> Option<RowRange> {
        let end = self.start.checked_add(count)?;
        (count > 0 && end <= self.end).then_some(RowRange { end, ..self })
    }
}

/// As `--rows` takes it: `N` for the first N rows, else `A:B`.
impl fmt::Display for RowRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.start == 0 { write!(f, "{}", self.end) } else { write!(f, "{}:{}", self.start, self.end) }
    }
}

impl FromStr for RowRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            part.replace(['_', ','], "")
                .parse::<u64>()
                .map_err(|_| format!("{part:?} is no number of rows; use N or A:B"))
        };
        let (start, end) = match text.split_once(':') {
            Some((start, end)) => (number(start)?, number(end)?),
            None => (0, number(text)?),
        };
        if start >= end {
            return Err(format!("{text:?} holds no rows; use N or A:B with A < B"));
        }
        Ok(RowRange { start, end })
    }
}

/// A verified plan. There is no other way to have one than [`Plan::verify`], so nothing can copy from an unverified one.
#[derive(Debug)]
pub struct Plan {
    parts: Vec<Part>,
    array: ArrayMeta,
    rows_left_out: u64,
}

/// The rows of one checkpoint that are kept.
#[derive(Debug)]
pub struct Part {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Rows of the whole matrix that the checkpoint holds.
    pub range: Range<u64>,
    /// First row to read, counted in the checkpoint.
    pub first: u64,
    /// Rows to read; zero where all of them are left out.
    pub rows: u64,
    /// Row of the store at which they go.
    pub store_row: u64,
}

/// What keeps checkpoints from being a matrix.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// Nothing to merge.
    #[error("no rows to merge")]
    NoRows,
    /// Rows that no file holds.
    #[error(
        "gap between checkpoints: rows {}..{} are in no file\n  {} ends at {} (expected next start {}); {} starts at {} (got)",
        thousands(*expected), thousands(*got), before.display(), thousands(*expected), thousands(*expected),
        after.display(), thousands(*got)
    )]
    Gap {
        /// The file before the gap.
        before: PathBuf,
        /// Where the next file should start.
        expected: u64,
        /// The file after the gap.
        after: PathBuf,
        /// Where it does start.
        got: u64,
    },
    /// Rows that two files hold.
    #[error(
        "overlap of checkpoints: rows {}..{} are in two files\n  {} ends at {} (expected next start); {} starts at {} (got)",
        thousands(*got), thousands((*expected).min(*after_end)), before.display(), thousands(*expected),
        after.display(), thousands(*got)
    )]
    Overlap {
        /// The file that ends too late.
        before: PathBuf,
        /// Where the next file should start.
        expected: u64,
        /// The file that starts too early.
        after: PathBuf,
        /// Where it does start.
        got: u64,
        /// Where it ends.
        after_end: u64,
    },
    /// Two files with one range.
    #[error(
        "duplicate checkpoints: rows {}..{} are in two files\n  expected one file, got {} and {}",
        thousands(range.start), thousands(range.end), first.display(), second.display()
    )]
    Duplicate {
        /// The rows.
        range: Range<u64>,
        /// One file.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The first rows are missing.
    #[error(
        "the first checkpoint is missing: rows 0..{} are in no file\n  {} starts at {} (got); expected a checkpoint that starts at 0",
        thousands(*got), first.display(), thousands(*got)
    )]
    MissingStart {
        /// The file with the smallest start.
        first: PathBuf,
        /// Where it starts.
        got: u64,
    },
    /// Widths differ.
    #[error("checkpoints of different widths\n  {} has {expected} columns (expected); {} has {got} (got)", first.display(), other.display())]
    Width {
        /// The first file.
        first: PathBuf,
        /// Its columns.
        expected: u64,
        /// The file that differs.
        other: PathBuf,
        /// Its columns.
        got: u64,
    },
    /// Not the width that was asked for.
    #[error("{}: has {got} columns, --dim asks for {expected}", path.display())]
    Dim {
        /// The file.
        path: PathBuf,
        /// The width that was asked for.
        expected: u64,
        /// Its columns.
        got: u64,
    },
    /// No columns, or more than any model has.
    #[error("{}: has {cols} columns; embstore takes 1 to {}", path.display(), thousands(MAX_COLS))]
    Columns {
        /// The file.
        path: PathBuf,
        /// Its columns.
        cols: u64,
    },
    /// Some files name their range, some do not.
    #[error("{} names its range, {} does not", with.display(), without.display())]
    MixedRanges {
        /// A file with a range.
        with: PathBuf,
        /// A file without.
        without: PathBuf,
    },
    /// More rows are asked for than there are.
    #[error("--rows asks for rows {}..{}, the checkpoints hold {}", thousands(range.start), thousands(range.end), thousands(*have))]
    RowsBeyondEnd {
        /// What is asked for.
        range: RowRange,
        /// What is there.
        have: u64,
    },
    /// The matrix is larger than any file.
    #[error("{} rows of {} columns are more than any file holds", thousands(*rows), cols)]
    TooLarge {
        /// Rows.
        rows: u64,
        /// Columns.
        cols: u64,
    },
}

impl PlanError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            PlanError::NoRows => "give checkpoints that hold rows".into(),
            PlanError::Gap { .. } | PlanError::MissingStart { .. } => {
                "fetch the missing checkpoint or re-run that worker, then merge again".into()
            }
            PlanError::Overlap { .. } => "re-run the worker whose range is wrong, then merge again".into(),
            PlanError::Duplicate { .. } => "remove the one that is not wanted, then merge again".into(),
            PlanError::Width { .. } => "merge only checkpoints of one model".into(),
            PlanError::Dim { .. } => "leave --dim out, or merge only checkpoints of that width".into(),
            PlanError::Columns { .. } => "check how the array was saved".into(),
            PlanError::MixedRanges { .. } => {
                "give the missing ranges: --ranges FILE with lines {\"file\": …, \"start_index\": …}".into()
            }
            PlanError::RowsBeyondEnd { have, .. } => format!("ask for at most --rows {have}"),
            PlanError::TooLarge { .. } => "check the ranges of the checkpoints".into(),
        }
    }
}

impl Plan {
    /// Sorts the checkpoints by their ranges and verifies that they cover rows `0..N` without gap or overlap. Those
    /// without ranges follow each other in natural name order.
    ///
    /// # Errors
    /// One variant for every way in which they can fail to, with what was expected and what was got.
    pub fn verify(checkpoints: Vec<Checkpoint>, rows: Option<RowRange>, dim: Option<u64>) -> Result<Self, PlanError> {
        let cols = width(&checkpoints, dim)?;
        let ranged = in_order(checkpoints)?;
        let total = contiguous(&ranged)?;
        let keep = rows.unwrap_or(RowRange { start: 0, end: total });
        if keep.end > total || keep.start > keep.end {
            return Err(PlanError::RowsBeyondEnd { range: keep, have: total });
        }
        let kept = keep.end - keep.start;
        if kept == 0 {
            return Err(PlanError::NoRows);
        }
        let array = ArrayMeta::stored(kept, cols).ok_or(PlanError::TooLarge { rows: kept, cols })?;
        let parts = ranged.into_iter().map(|(range, checkpoint)| Part::of(range, checkpoint, keep)).collect();
        Ok(Plan { parts, array, rows_left_out: total - kept })
    }

    /// The checkpoints in row order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The matrix that the store will hold.
    #[must_use]
    pub fn array(&self) -> ArrayMeta {
        self.array
    }

    /// Rows of all checkpoints, kept or not.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.array.rows() + self.rows_left_out
    }

    /// Rows of the checkpoints that are not kept.
    #[must_use]
    pub fn rows_left_out(&self) -> u64 {
        self.rows_left_out
    }

    /// The checkpoint that row `row` of the store comes from.
    #[must_use]
    pub fn file_of(&self, row: u64) -> Option<String> {
        let part = self.parts.iter().find(|part| (part.store_row..part.store_row + part.rows).contains(&row))?;
        Some(part.checkpoint.name())
    }
}

impl Part {
    fn of(range: Range<u64>, checkpoint: Checkpoint, keep: RowRange) -> Part {
        let start = range.start.clamp(keep.start, keep.end);
        let end = range.end.clamp(keep.start, keep.end);
        let first = if start < end { start - range.start } else { 0 };
        Part { first, rows: end - start, store_row: start - keep.start, checkpoint, range }
    }
}

fn width(checkpoints: &[Checkpoint], dim: Option<u64>) -> Result<u64, PlanError> {
    let first = checkpoints.first().ok_or(PlanError::NoRows)?;
    let cols = first.array.cols();
    if !(1..=MAX_COLS).contains(&cols) {
        return Err(PlanError::Columns { path: first.path.clone(), cols });
    }
    for checkpoint in checkpoints {
        let got = checkpoint.array.cols();
        if let Some(expected) = dim.filter(|&dim| dim != got) {
            return Err(PlanError::Dim { path: checkpoint.path.clone(), expected, got });
        }
        if got != cols {
            let (first, other) = (first.path.clone(), checkpoint.path.clone());
            return Err(PlanError::Width { first, expected: cols, other, got });
        }
    }
    Ok(cols)
}

/// Checkpoints with their rows of the whole matrix, in row order.
fn in_order(mut checkpoints: Vec<Checkpoint>) -> Result<Vec<(Range<u64>, Checkpoint)>, PlanError> {
    let with = checkpoints.iter().find(|checkpoint| checkpoint.range.is_some());
    let without = checkpoints.iter().find(|checkpoint| checkpoint.range.is_none());
    if let (Some(with), Some(without)) = (with, without) {
        return Err(PlanError::MixedRanges { with: with.path.clone(), without: without.path.clone() });
    }
    if without.is_some() {
        checkpoints.sort_by(|a, b| natural_order(&a.path.to_string_lossy(), &b.path.to_string_lossy()));
    }
    let mut next = 0u64;
    let mut ranged: Vec<_> = checkpoints
        .into_iter()
        .map(|checkpoint| {
            let rows = checkpoint.array.rows();
            let range = checkpoint.range.clone().unwrap_or(next..next.saturating_add(rows));
            next = range.end;
            (range, checkpoint)
        })
        .collect();
    ranged.sort_by(|(a, x), (b, y)| (a.start, a.end, &x.path).cmp(&(b.start, b.end, &y.path)));
    Ok(ranged)
}

/// The number of rows that the ranges cover, if they do so exactly once.
fn contiguous(ranged: &[(Range<u64>, Checkpoint)]) -> Result<u64, PlanError> {
    let mut before: Option<&(Range<u64>, Checkpoint)> = None;
    for entry in ranged.iter().filter(|(range, _)| !range.is_empty()) {
        let (range, checkpoint) = entry;
        let expected = before.map_or(0, |(range, _)| range.end);
        let after = checkpoint.path.clone();
        match before {
            None if range.start > 0 => return Err(PlanError::MissingStart { first: after, got: range.start }),
            Some((same, first)) if same == range => {
                return Err(PlanError::Duplicate { range: range.clone(), first: first.path.clone(), second: after });
            }
            Some((_, before)) if range.start > expected => {
                return Err(PlanError::Gap { before: before.path.clone(), expected, after, got: range.start });
            }
            Some((_, before)) if range.start < expected => {
                let (before, got) = (before.path.clone(), range.start);
                return Err(PlanError::Overlap { before, expected, after, got, after_end: range.end });
            }
            _ => before = Some(entry),
        }
    }
    Ok(before.map_or(0, |(range, _)| range.end))
}
