//! Single linkage: the tree's edges one after the other, each joining two groups.

use crate::tree::SpanningTree;

/// Two groups that become one. Group `g` is point `g` below the number of points, and merge `g − points` from there on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Merge {
    pub(crate) left: u32,
    pub(crate) right: u32,
    pub(crate) distance: f64,
    pub(crate) size: u32,
}

/// The merges, one fewer than points, by ascending distance.
///
/// The left one of two groups is the one that is nearer to point 0 along the tree. That is the order in which Prim's
/// algorithm finds the ends of an edge from point 0 on, which is how python's hdbscan numbers its clusters.
pub(crate) fn single_linkage(tree: &SpanningTree) -> Vec<Merge> {
    let points = tree.points();
    let above = rooted(tree);
    let mut group: Vec<u32> = (0..2 * points as u32).collect();
    let mut merges: Vec<Merge> = Vec::with_capacity(tree.edges().len());
    let mut find = |mut at: u32, made: Option<u32>| {
        while group[at as usize] != at {
            let next = group[group[at as usize] as usize];
            group[at as usize] = next;
            at = next;
        }
        if let Some(made) = made {
            group[at as usize] = made;
        }
        at
    };
    for (number, edge) in tree.edges().iter().enumerate() {
        let made = (points + number) as u32;
        let (near, far) = if above[edge.b as usize] == edge.a { (edge.a, edge.b) } else { (edge.b, edge.a) };
        let (left, right) = (find(near, Some(made)), find(far, Some(made)));
        let size = |group: u32| (group as usize).checked_sub(points).map_or(1, |merge| merges[merge].size);
        let size = size(left) + size(right);
        merges.push(Merge { left, right, distance: edge.weight, size });
    }
    merges
}

/// For every point the next one on the way to point 0.
fn rooted(tree: &SpanningTree) -> Vec<u32> {
    let points = tree.points();
    let mut ends = vec![0u32; points + 1];
    for edge in tree.edges() {
        ends[edge.a as usize] += 1;
        ends[edge.b as usize] += 1;
    }
    let mut total = 0;
    for end in &mut ends {
        total += *end;
        *end = total;
    }
    // Each point's edges lie before its end; filled in from there, the ends become the beginnings.
    let mut ways = vec![0u32; 2 * tree.edges().len()];
    for edge in tree.edges() {
        for (from, to) in [(edge.a, edge.b), (edge.b, edge.a)] {
            ends[from as usize] -= 1;
            ways[ends[from as usize] as usize] = to;
        }
    }
    let mut above = vec![0u32; points];
    let mut waiting = vec![0u32];
    while let Some(point) = waiting.pop() {
        if tree.edges().is_empty() {
            break;
        }
        for &next in &ways[ends[point as usize] as usize..ends[point as usize + 1] as usize] {
            if next != above[point as usize] {
                above[next as usize] = point;
                waiting.push(next);
            }
        }
    }
    above
}
