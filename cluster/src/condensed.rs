//! The condensed tree: what single linkage looks like to someone who ignores groups below the minimum cluster size.
//!
//! Walked from the top, a cluster either loses a few points or parts in two clusters. Rows and numbers come in the
//! order of python's hdbscan.

use crate::hierarchy::Merge;

/// A point or a cluster that leaves a cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CondensedRow {
    /// The cluster that it leaves. The first cluster, of all points, has the number of points for its number.
    pub parent: u32,
    /// A point, or a cluster, which has a number above its parent's.
    pub child: u32,
    /// One over the distance at which it leaves; infinite at distance 0.
    pub lambda: f64,
    /// How many points it has: 1 for a point.
    pub size: u32,
}

/// The condensed tree.
#[derive(Clone, Debug, PartialEq)]
pub struct CondensedTree {
    points: usize,
    clusters: usize,
    rows: Vec<CondensedRow>,
}

impl CondensedTree {
    /// How many points there are; clusters are numbered from here on.
    #[must_use]
    pub fn points(&self) -> usize {
        self.points
    }

    /// How many clusters there are, that of all points among them.
    #[must_use]
    pub fn clusters(&self) -> usize {
        self.clusters
    }

    /// What leaves what. A cluster's own row comes before those of whatever leaves it.
    #[must_use]
    pub fn rows(&self) -> &[CondensedRow] {
        &self.rows
    }

    /// The number of a cluster among clusters; none for a point.
    pub(crate) fn cluster(&self, number: u32) -> Option<usize> {
        (number as usize).checked_sub(self.points)
    }

    pub(crate) fn new(points: usize, merges: &[Merge], min_cluster_size: usize) -> Self {
        let walk = Walk { points, merges };
        let mut tree = CondensedTree { points, clusters: 1, rows: Vec::with_capacity(points) };
        let Some(top) = merges.len().checked_sub(1) else {
            return tree;
        };
        // The cluster that each group belongs to; groups that have fallen out of one belong to none.
        let mut cluster: Vec<Option<u32>> = vec![None; merges.len()];
        cluster[top] = Some(points as u32);
        for group in walk.below((points + top) as u32) {
            let Some(merge) = walk.merge(group) else {
                continue;
            };
            let Some(parent) = cluster[group as usize - points] else {
                continue;
            };
            let lambda = if merge.distance > 0.0 { 1.0 / merge.distance } else { f64::INFINITY };
            let large = |group: u32| walk.size(group) as usize >= min_cluster_size;
            let parts = large(merge.left) && large(merge.right);
            for side in [merge.left, merge.right] {
                if !large(side) {
                    let fallen = walk.below(side).into_iter().filter(|&group| (group as usize) < points);
                    tree.rows.extend(fallen.map(|child| CondensedRow { parent, child, lambda, size: 1 }));
                } else if parts {
                    let child = (points + tree.clusters) as u32;
                    tree.clusters += 1;
                    cluster[side as usize - points] = Some(child);
                    tree.rows.push(CondensedRow { parent, child, lambda, size: walk.size(side) });
                } else {
                    cluster[side as usize - points] = Some(parent);
                }
            }
        }
        tree
    }
}

/// A walk over merges.
struct Walk<'a> {
    points: usize,
    merges: &'a [Merge],
}

impl Walk<'_> {
    fn merge(&self, group: u32) -> Option<&Merge> {
        (group as usize).checked_sub(self.points).map(|merge| &self.merges[merge])
    }

    fn size(&self, group: u32) -> u32 {
        self.merge(group).map_or(1, |merge| merge.size)
    }

    /// A group and all below it, level by level.
    fn below(&self, group: u32) -> Vec<u32> {
        let mut groups = vec![group];
        let mut at = 0;
        while let Some(&group) = groups.get(at) {
            groups.extend(self.merge(group).into_iter().flat_map(|merge| [merge.left, merge.right]));
            at += 1;
        }
        groups
    }
}
