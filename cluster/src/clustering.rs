//! The result.

use crate::condensed::CondensedTree;
use crate::error::Error;
use crate::hierarchy::single_linkage;
use crate::membership::{self, NOISE};
use crate::monitor::Monitor;
use crate::options::Options;
use crate::points::Points;
use crate::select::ClusterTree;
use crate::tree::{SpanningTree, spanning_tree};

/// Points in clusters.
#[derive(Clone, Debug, PartialEq)]
pub struct Clustering {
    /// The number of the cluster of each point, [`NOISE`] for none.
    pub labels: Vec<i32>,
    /// How strongly each point belongs to its cluster, from 0 (as for noise) to 1.
    pub probabilities: Vec<f64>,
    /// How much of an outlier each point is (GLOSH), from 0 to 1.
    pub outlier_scores: Vec<f64>,
    /// The clusters, by their number.
    pub clusters: Vec<Cluster>,
    /// Where they come from.
    pub condensed: CondensedTree,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// Its number in the condensed tree.
    pub node: u32,
    /// How many points it has.
    pub size: usize,
    /// How long it persists, from 0 to 1 (the cluster of all points may exceed it): its excess of mass, in proportion to what it were if all of its points stayed
    /// to the end and began at the top.
    pub persistence: f64,
    /// The points at its heart, ascending.
    pub exemplars: Vec<u32>,
}

impl Clustering {
    /// Chooses clusters from a tree. Takes little time, so that one tree serves to try several sizes and selections.
    ///
    /// Fewer points than the minimum cluster size are all noise.
    ///
    /// # Errors
    ///
    /// What [`Options::check`] finds.
    pub fn new(tree: &SpanningTree, options: &Options) -> Result<Self, Error> {
        options.check()?;
        let condensed = CondensedTree::new(tree.points(), &single_linkage(tree), options.min_cluster_size);
        let mut clusters = ClusterTree::new(&condensed);
        let chosen = if tree.points() < options.min_cluster_size {
            vec![false; condensed.clusters()]
        } else {
            clusters.select(options)
        };
        let owners = membership::owners(&clusters, &chosen);
        let labels = membership::labels(&condensed, &clusters, &owners, options);
        let probabilities = membership::probabilities(&condensed, &clusters, &chosen, &labels);
        let outlier_scores = membership::outlier_scores(&condensed, &clusters);
        let exemplars = membership::exemplars(&condensed, &clusters, &owners);
        let mut sizes = vec![0; exemplars.len()];
        for &label in labels.iter().filter(|&&label| label != NOISE) {
            sizes[label as usize] += 1;
        }
        let last = clusters.deaths.iter().copied().fold(0.0, f64::max);
        let chosen = (0..chosen.len()).filter(|&cluster| chosen[cluster]);
        let clusters = chosen
            .zip(exemplars)
            .zip(sizes)
            // A cluster of all points may turn out to have none, where none is dense enough for epsilon.
            .filter(|&(_, size)| size > 0)
            .map(|((cluster, exemplars), size)| {
                let all = size as f64 * last;
                let persistence = if all > 0.0 && all.is_finite() { clusters.stabilities[cluster] / all } else { 1.0 };
                Cluster { node: (tree.points() + cluster) as u32, size, persistence, exemplars }
            })
            .collect();
        Ok(Clustering { labels, probabilities, outlier_scores, clusters, condensed })
    }

    /// How many points are noise.
    #[must_use]
    pub fn noise(&self) -> usize {
        self.labels.iter().filter(|&&label| label == NOISE).count()
    }
}

/// Clusters points: finds their tree and chooses clusters from it.
///
/// # Errors
///
/// What [`Options::check`] finds, and [`Error::Cancelled`].
pub fn cluster(
    points: Points<'_>,
    options: &Options,
    monitor: &dyn Monitor,
) -> Result<(SpanningTree, Clustering), Error> {
    let tree = spanning_tree(points, options, monitor)?;
    let clustering = Clustering::new(&tree, options)?;
    Ok((tree, clustering))
}
