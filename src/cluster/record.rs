//! What a result says of how it was made: a value of its footer.

use std::io;
use std::path::{Path, PathBuf};

use embstore_cluster::{Metric, Selection};
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};

use super::error::ClusterError;
use super::group::Group;
use super::options::{ClusterOptions, NonFiniteRows};
use super::summary;
use crate::table::{self, foreign_pairs};
use crate::text::thousands;

/// The key of [`Record`] as JSON.
const KEY: &str = "embstore.clusters";

/// What a result was made from and how, and what came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The program that wrote it.
    pub embstore_version: String,
    /// The checksum of names and contents of the inputs.
    pub input_hash: String,
    /// What it was made by.
    pub parameters: Parameters,
    /// Points that were clustered.
    pub points: u64,
    /// Columns of the inputs.
    pub dims: u64,
    /// Clusters.
    pub clusters: u64,
    /// Points in none.
    pub noise: u64,
    /// Rows that were left out.
    pub dropped: u64,
    /// The sum of the edges of the spanning tree.
    pub tree_weight: f64,
    /// The share of the variance that the principal components hold, where there are any.
    pub explained_variance: Option<f64>,
}

/// All that the result depends on beside the inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    metric: String,
    min_cluster_size: usize,
    min_samples: usize,
    cluster_selection: String,
    cluster_selection_epsilon: f64,
    max_cluster_size: Option<usize>,
    allow_single_cluster: bool,
    reduce: Option<String>,
    approximate: bool,
    seed: u64,
    non_finite: String,
    key: String,
    keep_embeddings: bool,
    text_column: Option<String>,
}

impl Parameters {
    pub(super) fn of(options: &ClusterOptions) -> Self {
        let hdbscan = &options.hdbscan;
        Parameters {
            metric: match hdbscan.metric {
                Metric::Euclidean => "euclidean".into(),
                Metric::Cosine => "cosine".into(),
            },
            min_cluster_size: hdbscan.min_cluster_size,
            min_samples: hdbscan.samples(),
            cluster_selection: match hdbscan.selection {
                Selection::Eom => "eom".into(),
                Selection::Leaf => "leaf".into(),
            },
            cluster_selection_epsilon: hdbscan.epsilon,
            max_cluster_size: hdbscan.max_cluster_size,
            allow_single_cluster: hdbscan.allow_single_cluster,
            reduce: options.reduce.map(|components| format!("pca:{components}")),
            approximate: options.approximate,
            seed: options.seed,
            non_finite: match options.non_finite {
                NonFiniteRows::Error => "error".into(),
                NonFiniteRows::Drop => "drop".into(),
            },
            key: options.key.clone(),
            keep_embeddings: options.keep_embeddings,
            text_column: options.text_column.clone(),
        }
    }
}

impl Record {
    /// The pairs of a footer: these, and the record.
    pub(super) fn beside(&self, pairs: &[KeyValue]) -> serde_json::Result<Vec<KeyValue>> {
        let mut pairs = foreign_pairs(pairs, &[KEY]);
        pairs.push(KeyValue::new(KEY.into(), serde_json::to_string(self)?));
        Ok(pairs)
    }

    /// What a person should know of the result.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.dropped > 0 {
            warnings.push(format!("{} rows with NaN or infinities are left out", thousands(self.dropped)));
        }
        let (points, size) = (self.points, self.parameters.min_cluster_size);
        if points < size as u64 {
            warnings
                .push(format!("{points} points are fewer than the smallest cluster ({size}): all of them are noise"));
        }
        warnings
    }

    /// What a footer tells; `None` for files of another origin.
    pub(super) fn of(pairs: Option<&Vec<KeyValue>>) -> Option<Self> {
        let pair = pairs?.iter().find(|pair| pair.key == KEY)?;
        serde_json::from_str(pair.value.as_deref()?).ok()
    }
}

/// What is there in place of a result.
#[derive(Debug, PartialEq)]
pub(super) enum Existing {
    /// Nothing.
    Missing,
    /// A result of this command, with all that belongs to it.
    Result(Box<Record>),
    /// A result of this command, of which something is missing or damaged.
    Incomplete,
    /// Something else, under one of the names of the result.
    Foreign(PathBuf),
}

/// Whether this Parquet file is a result, or a condensed tree that belongs to one.
pub(super) fn is_result(path: &Path) -> bool {
    record_in(path).is_some()
}

fn record_in(path: &Path) -> Option<Record> {
    let footer = table::footer(path).ok()?.ok()?;
    Record::of(footer.file_metadata().key_value_metadata())
}

/// Looks at the result of a group. A damaged file of its name, which a crashed machine may leave, is none of another
/// origin if its summary is there.
pub(super) fn look(group: &Group) -> Result<Existing, ClusterError> {
    let told = summary::record(&group.summary);
    let tree = group.condensed_tree.as_deref().map(|path| (path, record_in(path)));
    if group.summary.exists() && told.is_none() {
        return Ok(Existing::Foreign(group.summary.clone()));
    }
    if let Some((path, None)) = tree
        && path.exists()
    {
        return Ok(Existing::Foreign(path.into()));
    }
    let foreign = || Existing::Foreign(group.output.clone());
    let footer = match table::footer(&group.output) {
        Ok(Ok(footer)) => footer,
        Ok(Err(_)) => return Ok(if told.is_some() { Existing::Incomplete } else { foreign() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Existing::Missing),
        Err(source) => return Err(ClusterError::Io { action: "look at", path: group.output.clone(), source }),
    };
    let Some(record) = Record::of(footer.file_metadata().key_value_metadata()) else { return Ok(foreign()) };
    // Those beside it may be of another run.
    let is_whole = told == serde_json::to_value(&record).ok().map(summary::without_clusters)
        && tree.is_none_or(|(_, tree)| tree.as_ref() == Some(&record));
    Ok(if is_whole { Existing::Result(Box::new(record)) } else { Existing::Incomplete })
}
