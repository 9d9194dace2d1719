//! What the chosen clusters and the condensed tree say of each point.

use crate::condensed::CondensedTree;
use crate::options::Options;
use crate::select::ClusterTree;

/// The label of noise.
pub const NOISE: i32 = -1;

/// The chosen cluster that each cluster is or lies in, by its number among the chosen ones.
pub(crate) fn owners(clusters: &ClusterTree, chosen: &[bool]) -> Vec<Option<usize>> {
    let mut owners: Vec<Option<usize>> = Vec::with_capacity(chosen.len());
    let mut number = 0;
    for (cluster, &chosen) in chosen.iter().enumerate() {
        let above = owners.get(clusters.parents[cluster]).copied().flatten();
        owners.push(if chosen { Some(number) } else { above });
        number += usize::from(chosen);
    }
    owners
}

/// The label of each point.
pub(crate) fn labels(
    tree: &CondensedTree,
    clusters: &ClusterTree,
    owners: &[Option<usize>],
    options: &Options,
) -> Vec<i32> {
    let mut labels = vec![NOISE; tree.points()];
    // Where all points are one cluster, it still has to be said which of them are noise.
    let alone = owners.first().copied().flatten().is_some();
    let dense = if options.epsilon > 0.0 { 1.0 / options.epsilon } else { clusters.deaths[0] };
    for row in tree.rows().iter().filter(|row| tree.cluster(row.child).is_none()) {
        if let Some(owner) = owners[row.parent as usize - tree.points()]
            && (!alone || row.lambda >= dense)
        {
            labels[row.child as usize] = owner as i32;
        }
    }
    labels
}

/// How strongly each point belongs to its cluster, 0 for noise: one over the distance at which it leaves, in proportion
/// to that of the last to leave.
pub(crate) fn probabilities(tree: &CondensedTree, clusters: &ClusterTree, chosen: &[bool], labels: &[i32]) -> Vec<f64> {
    let numbers: Vec<usize> = (0..chosen.len()).filter(|&cluster| chosen[cluster]).collect();
    let mut probabilities = vec![0.0; tree.points()];
    for row in tree.rows().iter().filter(|row| tree.cluster(row.child).is_none()) {
        let point = row.child as usize;
        if labels[point] != NOISE {
            let last = clusters.deaths[numbers[labels[point] as usize]];
            let alike = last == 0.0 || row.lambda.is_infinite();
            probabilities[point] = if alike { 1.0 } else { row.lambda.min(last) / last };
        }
    }
    probabilities
}

/// How much of an outlier each point is (GLOSH): 0 for the densest of its surroundings, towards 1 far from them.
///
/// 1 − λ/λmax, with λ where the point leaves its cluster and λmax where the last one leaves that cluster or one below it.
/// Beside copies (at distance 0 of each other) every other point has 1; python's hdbscan has NaN there.
pub(crate) fn outlier_scores(tree: &CondensedTree, clusters: &ClusterTree) -> Vec<f64> {
    let mut last = clusters.deaths.clone();
    for cluster in (1..last.len()).rev() {
        let parent = clusters.parents[cluster];
        last[parent] = last[parent].max(last[cluster]);
    }
    let mut scores = vec![0.0; tree.points()];
    for row in tree.rows().iter().filter(|row| tree.cluster(row.child).is_none()) {
        let last = last[row.parent as usize - tree.points()];
        if last > 0.0 && row.lambda.is_finite() {
            scores[row.child as usize] = if last.is_finite() { (last - row.lambda) / last } else { 1.0 };
        }
    }
    scores
}

/// The points at the heart of each chosen cluster, ascending: of each leaf below it, those that leave last.
pub(crate) fn exemplars(tree: &CondensedTree, clusters: &ClusterTree, owners: &[Option<usize>]) -> Vec<Vec<u32>> {
    let count = owners.iter().flatten().max().map_or(0, |last| last + 1);
    let mut exemplars = vec![Vec::new(); count];
    for row in tree.rows().iter().filter(|row| tree.cluster(row.child).is_none()) {
        let leaf = row.parent as usize - tree.points();
        if let Some(owner) = owners[leaf]
            && clusters.children[leaf].is_none()
            && row.lambda == clusters.deaths[leaf]
        {
            exemplars[owner].push(row.child);
        }
    }
    exemplars.iter_mut().for_each(|points| points.sort_unstable());
    exemplars
}
