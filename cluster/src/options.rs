//! What to cluster by.

use crate::error::Error;

/// How far two points are from each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// The length of the straight line.
    #[default]
    Euclidean,
    /// One minus the cosine of the angle, from 0 to 2.
    ///
    /// Computed as half the squared length of the line between the normalised rows, which keeps small angles. Identical
    /// rows are at distance 0. A row of zeros has no direction; it is at distance 1 from every row but its like.
    Cosine,
}

/// How the flat clusters are chosen from the condensed tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// Excess of mass: those that persist longest, large ones for choice.
    #[default]
    Eom,
    /// The leaves: many small clusters of even size.
    Leaf,
}

/// The parameters of HDBSCAN, named and counted as python's `hdbscan` does.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The distance.
    pub metric: Metric,
    /// The smallest group of points that counts as a cluster, at least 2.
    pub min_cluster_size: usize,
    /// The core distance of a point reaches to this neighbour, where the nearest *other* point is neighbour 1.
    /// Where absent, it is the minimum cluster size; more than there are others means the farthest.
    ///
    /// scikit-learn and the Rust crates count the point itself, so that theirs are larger by one.
    pub min_samples: Option<usize>,
    /// How clusters are chosen.
    pub selection: Selection,
    /// Clusters that part at a distance below this stay together; 0 for none.
    pub epsilon: f64,
    /// [`Selection::Eom`] chooses no cluster with more points; `epsilon` may join them to larger ones. Where absent, any size
    /// will do.
    pub max_cluster_size: Option<usize>,
    /// Whether all points may be one cluster.
    pub allow_single_cluster: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            metric: Metric::default(),
            min_cluster_size: 5,
            min_samples: None,
            selection: Selection::default(),
            epsilon: 0.0,
            max_cluster_size: None,
            allow_single_cluster: false,
        }
    }
}

impl Options {
    /// The neighbour that a core distance reaches to, where there are enough.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.min_samples.unwrap_or(self.min_cluster_size)
    }

    /// Whether these can be clustered by.
    ///
    /// # Errors
    ///
    /// One variant for each parameter that makes no sense.
    pub fn check(&self) -> Result<(), Error> {
        if self.min_cluster_size < 2 {
            return Err(Error::MinClusterSize { size: self.min_cluster_size });
        }
        if self.samples() == 0 {
            return Err(Error::MinSamples);
        }
        if !self.epsilon.is_finite() || self.epsilon < 0.0 {
            return Err(Error::Epsilon { epsilon: self.epsilon });
        }
        match self.max_cluster_size {
            Some(max) if max < self.min_cluster_size => Err(Error::MaxClusterSize { max, min: self.min_cluster_size }),
            _ => Ok(()),
        }
    }
}
