//! The rows of a group: a plan of files, read in order in blocks of one size.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use embstore_cluster::RowBlocks;
use embstore_formats::{FormatError, LocateOptions};
use rayon::prelude::*;

use super::error::ClusterError;
use super::group::Group;
use super::options::NonFiniteRows;
use super::record;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::identity::Identity;
use crate::inputs::{self, Input};
use crate::partial::folder_of;
use crate::plan::{Part, Plan, PlanError};
use crate::progress::Cancel;
use crate::table;

/// Rows that are read in one go. What comes out of a reduction depends on it.
const BLOCK: usize = 4096;

/// The rows of a group, not read yet.
pub(super) struct Rows<'a> {
    plan: Plan,
    cancel: &'a Cancel,
    /// Rows that are left out, ascending.
    pub(super) dropped: Vec<u64>,
}

impl<'a> Rows<'a> {
    /// Locates the rows; they are read where some are to be left out, to know which.
    pub(super) fn open(
        group: &Group,
        key: &str,
        non_finite: NonFiniteRows,
        cancel: &'a Cancel,
    ) -> Result<Self, ClusterError> {
        let mut rows = Rows { plan: plan(group, key)?, cancel, dropped: Vec::new() };
        if non_finite == NonFiniteRows::Drop {
            rows.dropped = rows.find_non_finite()?;
            if rows.count() == 0 {
                return Err(ClusterError::NothingFinite { path: rows.files()[0].clone() });
            }
        }
        Ok(rows)
    }

    /// Rows that are clustered.
    pub(super) fn count(&self) -> usize {
        self.plan.rows() as usize - self.dropped.len()
    }

    /// Columns of the matrix.
    pub(super) fn dims(&self) -> usize {
        self.plan.array().cols() as usize
    }

    /// The files with their rows, in row order.
    pub(super) fn parts(&self) -> &[Part] {
        self.plan.parts()
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.parts().iter().map(|part| part.checkpoint.path.clone()).collect()
    }

    /// All rows that are clustered, in memory: row-major `[count, dims]`.
    pub(super) fn read(&self) -> Result<Vec<f32>, ClusterError> {
        let mut values = Vec::with_capacity(self.count() * self.dims());
        self.runs(|run| {
            values.extend_from_slice(run);
            Ok(())
        })?;
        Ok(values)
    }

    /// Names the file, where an error is about a row that holds no number.
    pub(super) fn named(&self, error: ClusterError) -> ClusterError {
        let ClusterError::Hdbscan(embstore_cluster::Error::NonFinite { row, column, value }) = error else {
            return error;
        };
        let Some(part) = self.parts().iter().find(|part| part.range.contains(&(row as u64))) else { return error };
        let (path, row) = (part.checkpoint.path.clone(), row as u64 - part.range.start);
        ClusterError::NonFinite { path, row, column: column as u64, value }
    }

    /// Whether all files are still those that were located.
    pub(super) fn check_unchanged(&self) -> Result<(), ClusterError> {
        self.parts().iter().try_for_each(|part| {
            let Checkpoint { path, identity, .. } = &part.checkpoint;
            match Identity::at(path)? == *identity {
                true => Ok(()),
                false => Err(ClusterError::Changed { path: path.clone() }),
            }
        })
    }

    fn find_non_finite(&self) -> Result<Vec<u64>, ClusterError> {
        let (dims, mut found) = (self.dims(), Vec::new());
        self.blocks(|first, block| {
            let rows: Vec<u64> = block
                .par_chunks_exact(dims)
                .enumerate()
                .filter(|(_, row)| row.iter().any(|value| !value.is_finite()))
                .map(|(row, _)| first + row as u64)
                .collect();
            found.extend(rows);
            Ok(())
        })?;
        Ok(found)
    }

    /// Hands blocks of all rows to `visit`, with the number of their first row.
    fn blocks(&self, mut visit: impl FnMut(u64, &[f32]) -> Result<(), ClusterError>) -> Result<(), ClusterError> {
        let (dims, mut narrowed) = (self.dims(), Vec::new());
        let mut block = Vec::new();
        for part in self.parts() {
            let Checkpoint { path, payload, .. } = &part.checkpoint;
            let file = File::open(path).map_err(FormatError::io("open", path))?;
            let mut reader = payload.reader(file, path)?;
            let mut row = 0;
            while row < part.rows {
                if self.cancel.is_cancelled() {
                    return Err(embstore_cluster::Error::Cancelled.into());
                }
                let rows = (part.rows - row).min(BLOCK as u64);
                block.resize(rows as usize * dims, 0.0);
                reader.read(part.first + row, &mut block, &mut narrowed)?;
                visit(part.range.start + row, &block)?;
                row += rows;
            }
        }
        Ok(())
    }

    /// Hands over the rows that are clustered, as they come.
    fn runs(&self, mut visit: impl FnMut(&[f32]) -> Result<(), ClusterError>) -> Result<(), ClusterError> {
        let dims = self.dims();
        self.blocks(|first, block| {
            let rows = first..first + (block.len() / dims) as u64;
            kept(&rows, &self.dropped).into_iter().try_for_each(|run| {
                visit(&block[(run.start - first) as usize * dims..(run.end - first) as usize * dims])
            })
        })
    }
}

impl RowBlocks for Rows<'_> {
    type Error = ClusterError;

    fn rows(&self) -> usize {
        self.count()
    }

    fn dims(&self) -> usize {
        Rows::dims(self)
    }

    fn for_each(
        &mut self,
        visit: &mut dyn FnMut(&[f32]) -> Result<(), embstore_cluster::Error>,
    ) -> Result<(), ClusterError> {
        let size = BLOCK * Rows::dims(self);
        // Files end anywhere, but blocks do not depend on where.
        let mut pending: Vec<f32> = Vec::with_capacity(2 * size);
        self.runs(|run| {
            pending.extend_from_slice(run);
            while pending.len() >= size {
                visit(&pending[..size])?;
                pending.drain(..size);
            }
            Ok(())
        })?;
        if pending.is_empty() { Ok(()) } else { Ok(visit(&pending)?) }
    }
}

/// The runs within `rows` that are not `dropped`.
pub(super) fn kept(rows: &Range<u64>, dropped: &[u64]) -> Vec<Range<u64>> {
    let from = dropped.partition_point(|row| *row < rows.start);
    let mut runs = Vec::new();
    let mut start = rows.start;
    for row in dropped[from..].iter().copied().take_while(|row| *row < rows.end) {
        if row > start {
            runs.push(start..row);
        }
        start = row + 1;
    }
    if start < rows.end {
        runs.push(start..rows.end);
    }
    runs
}

/// How many rows a group has, whatever is in them, and how many columns.
pub(super) fn shape(group: &Group, key: &str) -> Result<(u64, u64), ClusterError> {
    match plan(group, key) {
        Ok(plan) => Ok((plan.rows(), plan.array().cols())),
        Err(ClusterError::Plan(PlanError::NoRows)) => Ok((0, 0)),
        Err(error) => Err(error),
    }
}

/// The files that a group is read from.
pub(super) fn files(group: &Group, key: &str) -> Result<Vec<PathBuf>, ClusterError> {
    Ok(found(group, &locating(key))?.into_iter().map(|input| input.path).collect())
}

fn locating(key: &str) -> LocateOptions {
    LocateOptions { key: key.into(), ..LocateOptions::default() }
}

/// The inputs. What this or another run has left in a folder of them is none.
fn found(group: &Group, options: &LocateOptions) -> Result<Vec<Input>, ClusterError> {
    let mut files = inputs::find(&group.inputs, None, options, &[])?;
    let written: Vec<PathBuf> =
        [Some(&group.output), group.condensed_tree.as_ref()].into_iter().flatten().cloned().collect();
    let place = inputs::resolved(folder_of(&group.output));
    let is_here = |path: &Path| inputs::resolved(folder_of(path)) == place;
    let is_written =
        |path: &Path| is_among(path, &written) || is_here(path) && (record::is_result(path) || is_staged(group, path));
    files.retain(|file| group.inputs.contains(&file.path) || !is_written(&file.path));
    if files.is_empty() {
        return Err(ClusterError::NoFiles { path: group.inputs.first().cloned().unwrap_or_default() });
    }
    Ok(files)
}

/// Whether a run that was killed has left it.
fn is_staged(group: &Group, path: &Path) -> bool {
    let written = [Some(&group.output), Some(&group.summary), group.condensed_tree.as_ref()];
    written.into_iter().flatten().any(|target| table::is_staged(path, target))
}

fn plan(group: &Group, key: &str) -> Result<Plan, ClusterError> {
    let options = locating(key);
    let files = found(group, &options)?;
    let opened = files.into_par_iter().map(|file| file.open(&options, None));
    let checkpoints = opened.collect::<Result<Vec<_>, CheckpointError>>()?;
    Ok(Plan::verify(checkpoints, None, None)?)
}

/// The folder or file that others call the input, which a result must not replace.
pub(super) fn is_among(path: &Path, files: &[PathBuf]) -> bool {
    let path = inputs::resolved(path);
    files.iter().any(|file| inputs::resolved(file) == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_between_dropped_rows() {
        assert_eq!(kept(&(10..20), &[]), vec![10..20; 1]);
        assert_eq!(kept(&(10..20), &[3, 10, 12, 13, 19, 25]), [11..12, 14..19]);
        assert_eq!(kept(&(10..12), &[10, 11]), []);
    }
}
