//! What a result says of how it was made: a value of its footer.

use std::fs::File;
use std::path::Path;

use embstore_cluster::{Metric, Selection};
use parquet::file::metadata::{KeyValue, ParquetMetaDataReader};
use serde::{Deserialize, Serialize};

use super::error::ClusterError;
use super::group::Group;
use super::options::{ClusterOptions, NonFiniteRows};

/// The key of [`Record`] as JSON.
pub(super) const KEY: &str = "embstore.clusters";

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

    /// The smallest group of points that counts as a cluster.
    #[must_use]
    pub fn min_cluster_size(&self) -> usize {
        self.min_cluster_size
    }
}

impl Record {
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
    /// Something else.
    Foreign,
}

/// Looks at the result of a group. A damaged file of its name, which a crashed machine may leave, is none of another
/// origin if its summary is there.
pub(super) fn look(group: &Group) -> Result<Existing, ClusterError> {
    let file = match File::open(&group.output) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Existing::Missing),
        Err(source) => return Err(ClusterError::Io { action: "look at", path: group.output.clone(), source }),
    };
    let are_there = |path: &Path| path.is_file();
    let is_whole = are_there(&group.summary) && group.condensed_tree.as_deref().is_none_or(are_there);
    let Ok(footer) = ParquetMetaDataReader::new().parse_and_finish(&file) else {
        return Ok(if group.summary.is_file() { Existing::Incomplete } else { Existing::Foreign });
    };
    Ok(match Record::of(footer.file_metadata().key_value_metadata()) {
        Some(record) if is_whole => Existing::Result(Box::new(record)),
        Some(_) => Existing::Incomplete,
        None => Existing::Foreign,
    })
}
