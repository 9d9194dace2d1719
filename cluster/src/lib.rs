//! Exact HDBSCAN: points in, labels out.
//!
//! Groups points by density (Campello, Moulavi, Sander 2013; McInnes, Healy 2017), made for embeddings: hundreds of
//! dimensions, `f32`, many thousands of rows. The minimum spanning tree of mutual reachability is exact, takes memory
//! that is linear in the points and all cores, and is the same on every run and machine. From the tree on, everything
//! is as python's `hdbscan` has it, up to the numbers of the clusters.
//!
//! ```
//! use embstore_cluster::{Options, Points, Silent, cluster};
//!
//! // Two groups on a line, and a point that belongs to neither.
//! let values = [0.0, 0.1, 0.25, 0.3, 0.45, 9.0, 9.1, 9.15, 9.3, 9.45, 30.0];
//! let options = Options { min_cluster_size: 4, min_samples: Some(2), ..Options::default() };
//! let (tree, clustering) = cluster(Points::new(&values, 1)?, &options, &Silent)?;
//! assert_eq!(clustering.labels, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, -1]);
//! assert_eq!(tree.edges().len(), 10);
//! # Ok::<(), embstore_cluster::Error>(())
//! ```

mod approximate;
mod blocks;
mod bridges;
mod clustering;
mod condensed;
mod crossings;
mod descent;
mod distinct;
mod error;
mod estimate;
mod forest;
mod groups;
mod hierarchy;
mod islands;
mod kernels;
mod lists;
mod membership;
mod monitor;
mod nearby;
mod neighbours;
mod options;
mod pairs;
mod pca;
mod points;
mod product;
mod random;
mod reach;
mod select;
mod skeleton;
mod space;
mod tiles;
mod tree;

pub use approximate::approximate_tree;
pub use clustering::{Cluster, Clustering, cluster};
pub use condensed::{CondensedRow, CondensedTree};
pub use error::Error;
pub use estimate::estimated_seconds;
pub use membership::NOISE;
pub use monitor::{Monitor, Silent, Stage};
pub use options::{Metric, Options, Selection};
pub use pca::{Pca, RowBlocks};
pub use points::Points;
pub use tree::{Edge, SpanningTree, spanning_tree};
