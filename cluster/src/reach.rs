//! Mutual reachability: the weights of edges, and their order.

use std::cmp::Ordering;

use crate::neighbours::Neighbours;
use crate::space::Space;

/// An edge between two rows. Edges are ordered by weight, then by distance, then by their rows: the lower one first,
/// then the higher one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Link {
    /// The squared distance of mutual reachability: the largest of both core distances and the distance.
    pub(crate) weight: f64,
    /// The squared distance.
    pub(crate) squared: f64,
    /// The lower row.
    pub(crate) a: u32,
    /// The higher row.
    pub(crate) b: u32,
}

impl Eq for Link {}

impl PartialOrd for Link {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Link {
    fn cmp(&self, other: &Self) -> Ordering {
        let distances = self.weight.total_cmp(&other.weight).then(self.squared.total_cmp(&other.squared));
        distances.then((self.a, self.b).cmp(&(other.a, other.b)))
    }
}

/// What edges are made of: the rows, their core distances and their nearest neighbours.
pub(crate) struct Reach<'a> {
    pub(crate) space: &'a Space<'a>,
    pub(crate) neighbours: Neighbours,
    /// Squared core distances.
    pub(crate) cores: Vec<f64>,
}

impl Reach<'_> {
    /// The edge between two rows at this squared distance.
    pub(crate) fn link(&self, a: u32, b: u32, squared: f64) -> Link {
        let weight = squared.max(self.cores[a as usize]).max(self.cores[b as usize]);
        Link { weight, squared, a: a.min(b), b: a.max(b) }
    }

    /// The edge between two rows, measured.
    pub(crate) fn measure(&self, a: u32, b: u32) -> Link {
        self.link(a, b, self.space.squared(a, b))
    }
}
