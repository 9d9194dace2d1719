//! What to cluster, by what, and where to.

use std::path::PathBuf;

use embstore_cluster::Options;

/// What is clustered, and where the results go.
#[derive(Clone, Debug)]
pub enum ClusterSource {
    /// All rows of these inputs together, as `merge` takes them.
    Rows {
        /// Stores, checkpoints, or folders of them.
        inputs: Vec<PathBuf>,
        /// The Parquet file of the result.
        output: PathBuf,
    },
    /// Each folder that has Parquet files, by itself.
    Tree {
        /// The root of the folders.
        embeddings: PathBuf,
        /// The root of the results, of the same layout.
        output: PathBuf,
        /// The one folder that is meant, by its name or the end of its path.
        subreddit: Option<String>,
    },
}

/// What becomes of rows that hold NaN or infinities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NonFiniteRows {
    /// They are an error, which names the first one.
    #[default]
    Error,
    /// They are left out of the clusters and of the result, which tells the row of each point.
    Drop,
}

/// What to cluster and how.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// What, and where to.
    pub source: ClusterSource,
    /// The parameters of HDBSCAN.
    pub hdbscan: Options,
    /// So many principal components in place of the columns.
    pub reduce: Option<usize>,
    /// Whether a tree that weighs a little more than the least one will do, where the exact one takes long.
    pub approximate: bool,
    /// For what is drawn at random: the start of the principal components, and the approximate tree.
    pub seed: u64,
    /// What becomes of rows that hold NaN or infinities.
    pub non_finite: NonFiniteRows,
    /// The field, column or prefix of columns that holds the embeddings.
    pub key: String,
    /// Whether the result also has the columns of embeddings of Parquet inputs.
    pub keep_embeddings: bool,
    /// Where the condensed tree goes; of a tree of folders a bare name, beside each result.
    pub condensed_tree: Option<PathBuf>,
    /// The column whose texts serve as examples, where the usual names do not serve.
    pub text_column: Option<String>,
    /// Whether to replace what is there, whatever it is.
    pub force: bool,
}

impl ClusterOptions {
    /// The defaults: exact, Euclidean, clusters of at least 5.
    #[must_use]
    pub fn new(source: ClusterSource) -> Self {
        ClusterOptions {
            source,
            hdbscan: Options::default(),
            reduce: None,
            approximate: false,
            seed: 0,
            non_finite: NonFiniteRows::default(),
            key: "embeddings".into(),
            keep_embeddings: false,
            condensed_tree: None,
            text_column: None,
            force: false,
        }
    }
}
