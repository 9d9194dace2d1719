//! Cluster: rows of embeddings into groups of near ones.
//!
//! ```text
//! embeddings/**/*.parquet ─groups─▶ folder ─rows─▶ [points, dims] ─PCA─▶ ─tree─▶ ─clusters─▶ clusters/**/clustered.parquet
//! any store ──────────────────────▶                                                         └▶ clusters.json, condensed tree
//! ```
//!
//! A [`Group`] is what is clustered together: a folder of files, or a store. Its result says what it was made from, so
//! that the same command leaves alone what is up to date and makes again what is not. The algorithm itself is the crate
//! [`hdbscan`](embstore_cluster).

mod columns;
mod condensed;
mod error;
mod examples;
mod group;
mod hash;
mod job;
mod options;
mod output;
mod record;
mod report;
mod rows;
mod summary;
mod verb;

pub use error::ClusterError;
pub use group::Group;
pub use options::{ClusterOptions, ClusterSource, NonFiniteRows};
pub use record::{Parameters, Record};
pub use report::{ClusterReport, ClusterRow, FailedGroup, GroupReport, PlannedGroup};
pub use verb::{cluster, dry_run_cluster};
