//! Which clusters of the condensed tree become the flat ones.
//!
//! As python's hdbscan decides, with sums in `f64` throughout, where it keeps one of them in `f32`.

use crate::condensed::CondensedTree;
use crate::options::{Options, Selection};

/// The clusters of a condensed tree as a tree; the first one is that of all points.
pub(crate) struct ClusterTree {
    /// The cluster that each one parts from; the first one's is itself.
    pub(crate) parents: Vec<usize>,
    /// The first of the two clusters that each one parts into.
    pub(crate) children: Vec<Option<usize>>,
    /// One over the distance at which each one comes to be; 0 for the first.
    births: Vec<f64>,
    /// One over the distance at which the last of its own rows leaves each one.
    pub(crate) deaths: Vec<f64>,
    /// How many points each one begins with; of the first, those of the two that it parts into.
    sizes: Vec<usize>,
    /// Excess of mass.
    pub(crate) stabilities: Vec<f64>,
}

impl ClusterTree {
    pub(crate) fn new(tree: &CondensedTree) -> Self {
        let clusters = tree.clusters();
        let mut own = ClusterTree {
            parents: vec![0; clusters],
            children: vec![None; clusters],
            births: vec![0.0; clusters],
            deaths: vec![0.0; clusters],
            sizes: vec![0; clusters],
            stabilities: vec![0.0; clusters],
        };
        for row in tree.rows() {
            let parent = row.parent as usize - tree.points();
            own.stabilities[parent] += (row.lambda - own.births[parent]) * f64::from(row.size);
            own.deaths[parent] = own.deaths[parent].max(row.lambda);
            if let Some(child) = tree.cluster(row.child) {
                own.parents[child] = parent;
                own.children[parent].get_or_insert(child);
                own.births[child] = row.lambda;
                own.sizes[child] = row.size as usize;
                if parent == 0 {
                    own.sizes[0] += row.size as usize;
                }
            }
        }
        own
    }

    /// The two clusters that a cluster parts into.
    pub(crate) fn parts(&self, cluster: usize) -> impl Iterator<Item = usize> + use<> {
        self.children[cluster].into_iter().flat_map(|first| [first, first + 1])
    }

    /// Whether each cluster is chosen.
    pub(crate) fn select(&mut self, options: &Options) -> Vec<bool> {
        let chosen = match options.selection {
            Selection::Eom => self.excess_of_mass(options),
            Selection::Leaf => self.children.iter().enumerate().map(|(at, child)| at > 0 && child.is_none()).collect(),
        };
        // A cluster of all points is beyond joining.
        if options.epsilon > 0.0 && !chosen[0] { self.joined(&chosen, options) } else { chosen }
    }

    /// Chooses each cluster that has more mass than those below it. What is not chosen passes on theirs.
    fn excess_of_mass(&mut self, options: &Options) -> Vec<bool> {
        let first = usize::from(!options.allow_single_cluster);
        let mut chosen = vec![false; self.parents.len()];
        for cluster in (first..self.parents.len()).rev() {
            let below: f64 = self.parts(cluster).map(|part| self.stabilities[part]).sum();
            if below > self.stabilities[cluster]
                || options.max_cluster_size.is_some_and(|max| self.sizes[cluster] > max)
            {
                self.stabilities[cluster] = below;
            } else {
                chosen[cluster] = true;
            }
        }
        // Below a chosen one, none is.
        let mut covered = vec![false; chosen.len()];
        for cluster in 1..chosen.len() {
            let parent = self.parents[cluster];
            covered[cluster] = covered[parent] || chosen[parent];
            chosen[cluster] &= !covered[cluster];
        }
        chosen
    }

    /// In place of each cluster that comes to be at a distance below epsilon, the nearest above it that does not.
    fn joined(&self, chosen: &[bool], options: &Options) -> Vec<bool> {
        let distance = |cluster: usize| 1.0 / self.births[cluster];
        let mut joined = vec![false; chosen.len()];
        for mut cluster in (0..chosen.len()).filter(|&cluster| chosen[cluster]) {
            if distance(cluster) < options.epsilon {
                loop {
                    let parent = self.parents[cluster];
                    if parent == 0 && !options.allow_single_cluster {
                        break;
                    }
                    cluster = parent;
                    if parent == 0 || distance(parent) > options.epsilon {
                        break;
                    }
                }
            }
            joined[cluster] = true;
        }
        joined
    }
}
