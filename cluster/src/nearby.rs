//! Edges of the tree that the lists of neighbours decide.
//!
//! Borůvka's step: the least edge that leaves a set of joined rows belongs to the tree. Of a row, let r be the distance
//! of its last neighbour. An edge to a row that is not among its neighbours is at least r long and weighs at least r. So
//! where the least listed edge that leaves the set weighs r or less, no other edge of that row comes before it: one that
//! weighs as much is just as long, and then leads to a row with a higher number, because equally distant neighbours are
//! listed by number. Where it weighs more, the row leaves open what comes at r. The least edge of a set is decided if it
//! comes before whatever its rows leave open.

use crate::forest::Forest;
use crate::reach::{Link, Reach};

/// Joins sets for as long as the lists decide how. Appends the edges to `tree`.
pub(crate) fn join(reach: &Reach<'_>, forest: &mut Forest, tree: &mut Vec<Link>) {
    let rows = reach.cores.len();
    // Rows joined stay joined: the neighbours before this one are done with.
    let mut done = vec![0u32; rows];
    loop {
        let labels = forest.labels();
        let mut least: Vec<Option<Link>> = vec![None; rows];
        let mut open = vec![f64::INFINITY; rows];
        for row in 0..rows as u32 {
            let own = labels[row as usize];
            let (ids, _) = reach.neighbours.of(row);
            let done = &mut done[row as usize];
            *done += ids[*done as usize..].iter().take_while(|&&id| labels[id as usize] == own).count() as u32;
            let link = least_leaving(reach, row, *done as usize, &labels);
            let farthest = reach.neighbours.reach(row);
            if link.is_none_or(|link| link.weight > farthest) {
                open[own as usize] = open[own as usize].min(farthest);
            }
            if let Some(link) = link {
                for set in [labels[link.a as usize], labels[link.b as usize]] {
                    let least = &mut least[set as usize];
                    *least = Some(least.map_or(link, |least| least.min(link)));
                }
            }
        }
        let before = forest.sets();
        for (least, open) in least.iter().zip(open) {
            if let Some(link) = least
                && (link.weight, link.squared) < (open, open)
                && forest.join(link.a, link.b)
            {
                tree.push(*link);
            }
        }
        if forest.sets() == before {
            return;
        }
    }
}

/// The least listed edge from a row to another set.
fn least_leaving(reach: &Reach<'_>, row: u32, done: usize, labels: &[u32]) -> Option<Link> {
    let (ids, squared) = reach.neighbours.of(row);
    let mut least: Option<Link> = None;
    for (&id, &squared) in ids[done..].iter().zip(&squared[done..]) {
        if least.is_some_and(|least| squared > least.weight) {
            break;
        }
        if labels[id as usize] != labels[row as usize] {
            let link = reach.link(row, id, squared);
            least = Some(least.map_or(link, |least| least.min(link)));
        }
    }
    least
}
