//! What was clustered, and what would be.

use std::fmt;
use std::path::PathBuf;

use super::error::ClusterError;
use super::record::Record;

/// What has been clustered.
#[derive(Debug, Default)]
pub struct ClusterReport {
    /// Groups that have their result now, in natural order.
    pub groups: Vec<GroupReport>,
    /// Groups without a result.
    pub failed: Vec<FailedGroup>,
    /// Seconds of all.
    pub seconds: f64,
    /// Whether it was asked to stop.
    pub interrupted: bool,
}

/// The result of a group.
#[derive(Clone, Debug)]
pub struct GroupReport {
    /// What people call it.
    pub name: String,
    /// The file of the result.
    pub output: PathBuf,
    /// What it was made from and how, and what came out.
    pub record: Record,
    /// Whether the result was there and up to date.
    pub skipped: bool,
    /// The largest clusters, the largest first; of a result that was there, none.
    pub largest: Vec<ClusterRow>,
    /// Seconds, reading and writing included.
    pub seconds: f64,
}

/// A cluster, as people are told of it.
#[derive(Clone, Debug)]
pub struct ClusterRow {
    /// Its number.
    pub label: usize,
    /// Points in it.
    pub size: usize,
    /// How long it persists, from 0 to 1; the cluster of all points may exceed it.
    pub persistence: f64,
    /// Texts of some of its exemplars.
    pub examples: Vec<String>,
}

/// A group without a result.
#[derive(Debug)]
pub struct FailedGroup {
    /// What people call it.
    pub name: String,
    /// Why.
    pub error: ClusterError,
}

impl fmt::Display for FailedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.error)
    }
}

/// What would be clustered.
#[derive(Clone, Debug)]
pub struct PlannedGroup {
    /// What people call it.
    pub name: String,
    /// The file of the result.
    pub output: PathBuf,
    /// Rows.
    pub points: u64,
    /// Columns of the matrix.
    pub dims: u64,
    /// Whether the result is there and up to date.
    pub is_done: bool,
}
