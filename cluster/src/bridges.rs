//! Edges of the tree that the lists of neighbours leave open.
//!
//! What is left are sets of joined rows and the listed edges between them. The least tree over the sets by all edges
//! known so far is the skeleton. Whatever edge is not listed and belongs to the tree comes before the heaviest edge that
//! the skeleton has between its two sets (the cycle property), and weighs at least what the last neighbours of its two
//! rows are away. So pairs of blocks are measured, the nearest first, and edges found there make the skeleton lighter,
//! until no pair is left that could hold such an edge. Then the skeleton is what was missing of the tree.
//!
//! Rows whose last neighbour is farther than that heaviest edge are left out, and pairs of blocks that are farther apart.
//! In the worst case every pair of rows from different sets is looked at once, which costs as much as the neighbours did.

use rayon::prelude::*;

use crate::blocks::Block;
use crate::crossings::{Ends, Pair, Search, State, limit};
use crate::error::Error;
use crate::forest::Forest;
use crate::monitor::{Monitor, Pace, Stage};
use crate::reach::{Link, Reach};
use crate::skeleton::Skeleton;
use crate::tiles::rows_of;

/// Pairs of blocks until the first look at the skeleton, and at the most between two later ones.
const BATCHES: (usize, usize) = (128, 8192);

/// Joins the sets that are left. Appends the edges to `tree`.
///
/// # Errors
///
/// [`Error::Cancelled`].
pub(crate) fn join(
    reach: &Reach<'_>,
    forest: &mut Forest,
    tree: &mut Vec<Link>,
    monitor: &dyn Monitor,
) -> Result<(), Error> {
    if forest.sets() <= 1 {
        return Ok(());
    }
    let sets = forest.sets();
    // Set by set, and inside of each such that rows which are near each other come together.
    let mut order = reach.neighbours.order();
    let set = forest.numbers(&order);
    order.sort_by_key(|&row| set[row as usize]);
    let of = |row: u32| set[row as usize];
    let mut skeleton = Skeleton::new(sets, listed(reach, sets, &set), of);
    let blocks = Block::all(reach.space, &order);
    let ends: Vec<Ends> = (0..blocks.len()).map(|at| Ends::new(reach, rows_of(&order, at), &set)).collect();
    let pairs = pairs(&blocks, &ends);
    let area =
        |pair: &Pair| (rows_of(&order, pair.one as usize).len() * rows_of(&order, pair.other as usize).len()) as u64;
    let pace = Pace::begin(monitor, Stage::Bridges, order.len(), pairs.iter().map(area).sum());
    let (mut pairs, mut size) = (pairs.iter(), BATCHES.0);
    loop {
        let mut batch = Vec::with_capacity(size);
        for pair in pairs.by_ref() {
            if skeleton.heaviest_of_all().is_some_and(|link| reach.space.limit(link.weight) < pair.bound) {
                pairs = [].iter();
                break;
            }
            pace.advance(area(pair));
            if may_hold(reach, &skeleton, &ends, pair) {
                batch.push(*pair);
                if batch.len() == size {
                    break;
                }
            }
        }
        if batch.is_empty() {
            break;
        }
        batch.sort_unstable_by_key(|pair| (pair.other, pair.one));
        let groups: Vec<&[Pair]> = batch.chunk_by(|a, b| a.other == b.other).collect();
        let search = Search { reach, skeleton: &skeleton, ends: &ends, order: &order, set: &set };
        let found = groups.par_iter().map_init(State::default, |state, group| {
            pace.check()?;
            Ok(search.meet(group, state))
        });
        let mut links: Vec<Link> = found.collect::<Result<Vec<_>, Error>>()?.concat();
        links.extend_from_slice(skeleton.links());
        skeleton = Skeleton::new(sets, links, of);
        size = (2 * size).min(BATCHES.1);
    }
    pace.finish();
    for link in skeleton.into_links() {
        forest.join(link.a, link.b);
        tree.push(link);
    }
    Ok(())
}

/// The listed edges between sets, as far as they could matter.
pub(crate) fn listed(reach: &Reach<'_>, sets: usize, set: &[u32]) -> Vec<Link> {
    let mut links = Vec::new();
    let mut room = set.len().max(4 * sets);
    for row in 0..set.len() as u32 {
        let (ids, squared) = reach.neighbours.of(row);
        let leaving = ids.iter().zip(squared).filter(|&(&id, _)| set[id as usize] != set[row as usize]);
        links.extend(leaving.map(|(&id, &squared)| reach.link(row, id, squared)));
        if links.len() > room {
            links = Skeleton::new(sets, links, |row| set[row as usize]).into_links();
            room = set.len().max(4 * sets);
        }
    }
    links
}

/// All pairs of blocks between which an edge could be missing, the nearest first.
fn pairs(blocks: &[Block], ends: &[Ends]) -> Vec<Pair> {
    let least: Vec<f32> = ends.iter().map(Ends::least_unlisted).collect();
    let least = &least;
    let mut pairs: Vec<Pair> = (0..blocks.len())
        .into_par_iter()
        .flat_map_iter(|one| {
            let parted = move |&other: &usize| match (&ends[one].runs[..], &ends[other].runs[..]) {
                ([(a, _)], [(b, _)]) => a != b,
                _ => true,
            };
            (one..blocks.len()).filter(parted).map(move |other| {
                let bound = blocks[one].bound(&blocks[other]).max(least[one]).max(least[other]);
                Pair { bound, one: one as u32, other: other as u32 }
            })
        })
        .collect();
    pairs.par_sort_unstable_by(|a, b| a.bound.total_cmp(&b.bound).then((a.one, a.other).cmp(&(b.one, b.other))));
    pairs
}

/// Whether an edge between two blocks could come before what the skeleton has between its sets.
fn may_hold(reach: &Reach<'_>, skeleton: &Skeleton, ends: &[Ends], pair: &Pair) -> bool {
    let (one, other) = (&ends[pair.one as usize].runs, &ends[pair.other as usize].runs);
    let mut sets = one.iter().flat_map(|(a, _)| other.iter().map(move |(b, _)| (*a, *b)));
    sets.any(|(a, b)| a != b && limit(reach.space, skeleton.heaviest(a, b)) >= pair.bound)
}
