//! The least tree over sets of rows by the edges that are known so far.

use crate::reach::Link;

/// A forest over sets, such that the heaviest edge on the way between two of them can be looked up.
pub(crate) struct Skeleton {
    /// The edges, ascending. A set that is not joined has none.
    links: Vec<Link>,
    above: Vec<u32>,
    /// Which edge leads to the set above. On the way up they ascend.
    by: Vec<u32>,
}

impl Skeleton {
    /// Kruskal's tree of the links; `set` tells the set of a row.
    pub(crate) fn new(sets: usize, mut links: Vec<Link>, set: impl Fn(u32) -> u32) -> Self {
        links.sort_unstable();
        let mut above: Vec<u32> = (0..sets as u32).collect();
        let mut by = vec![u32::MAX; sets];
        let mut size = vec![1u32; sets];
        let mut kept = 0u32;
        // The paths are left as they are, for they are what is asked for; joined by size, none is longer than log₂ sets.
        links.retain(|link| {
            let top = |mut at: u32| {
                while above[at as usize] != at {
                    at = above[at as usize];
                }
                at
            };
            let (a, b) = (top(set(link.a)), top(set(link.b)));
            if a == b {
                return false;
            }
            let (large, small) = if size[a as usize] >= size[b as usize] { (a, b) } else { (b, a) };
            above[small as usize] = large;
            by[small as usize] = kept;
            size[large as usize] += size[small as usize];
            kept += 1;
            true
        });
        Skeleton { links, above, by }
    }

    /// The heaviest edge between two sets, on the lightest way; none where there is no way.
    pub(crate) fn heaviest(&self, mut a: u32, mut b: u32) -> Option<&Link> {
        let mut by = None;
        while a != b {
            // The set whose edge upwards is the lighter one is left first; above a top there is nothing.
            let at = if self.by[a as usize] <= self.by[b as usize] { &mut a } else { &mut b };
            if self.above[*at as usize] == *at {
                return None;
            }
            by = Some(self.by[*at as usize]);
            *at = self.above[*at as usize];
        }
        by.map(|by| &self.links[by as usize])
    }

    /// The heaviest edge of all; none where the sets are not all joined.
    pub(crate) fn heaviest_of_all(&self) -> Option<&Link> {
        if self.links.len() + 1 == self.above.len() { self.links.last() } else { None }
    }

    /// The edges, ascending.
    pub(crate) fn links(&self) -> &[Link] {
        &self.links
    }

    /// The edges, ascending.
    pub(crate) fn into_links(self) -> Vec<Link> {
        self.links
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_edge_of_the_lightest_way_is_found() {
        let edge = |a, b, weight| Link { weight, squared: weight, a, b };
        let links =
            vec![edge(0, 1, 3.0), edge(1, 2, 1.0), edge(0, 2, 2.0), edge(3, 4, 1.0), edge(2, 3, 9.0), edge(5, 6, 4.0)];
        let skeleton = Skeleton::new(7, links, |row| row);
        let weight = |a, b| skeleton.heaviest(a, b).map(|link| link.weight);
        assert_eq!(weight(0, 1), Some(2.0));
        assert_eq!(weight(1, 2), Some(1.0));
        assert_eq!(weight(0, 4), Some(9.0));
        assert_eq!(weight(5, 6), Some(4.0));
        assert_eq!(weight(5, 0), None);
        assert!(skeleton.heaviest_of_all().is_none());
        assert_eq!(skeleton.links().len(), 5);
    }
}
