//! Edges between sets of rows that the lists of neighbours leave apart, or join but roughly.
//!
//! A set is cut into pieces of a few rows that are near each other. Pieces of different sets whose centres are near each
//! other are compared row by row, and the least edge between them is a candidate, as the listed edges are; the least tree
//! by all candidates joins the sets. Of a large set only some pieces take part, so its edges are then moved along the
//! neighbours of their ends for as long as that makes them lighter. Sets that are still apart go through it again.
//!
//! Each set finds another one, so there are at most log₂ as many rounds as sets; and each costs a number of pairs for
//! each row that is the same however many rows there are.

use rayon::prelude::*;

use crate::bridges;
use crate::error::Error;
use crate::forest::Forest;
use crate::groups::{self, Sizes};
use crate::lists::Lists;
use crate::monitor::{Monitor, Pace, Stage};
use crate::options::Metric;
use crate::pairs::Pairs;
use crate::points::Points;
use crate::random;
use crate::reach::{Link, Reach};
use crate::skeleton::Skeleton;
use crate::space::Space;

/// Rows of a piece of a set, at the most.
const PIECE: usize = 32;
/// Pieces of a set when those of several sets are compared.
const FEW: usize = 16;
/// Other pieces that a piece is compared with.
const NEAREST: usize = 16;
/// How pieces are grouped to find those.
const SIZES: Sizes = Sizes { mean: 256, most: 1024 };
/// Groups that a piece is in.
const FANOUT: usize = 4;

/// Joins the sets that are left. Appends the edges to `tree`.
///
/// # Errors
///
/// [`Error::Cancelled`].
pub(crate) fn join(
    reach: &Reach<'_>,
    forest: &mut Forest,
    tree: &mut Vec<Link>,
    seed: u64,
    monitor: &dyn Monitor,
) -> Result<(), Error> {
    if forest.sets() <= 1 {
        return Ok(());
    }
    let mut order = reach.neighbours.order();
    let pace = Pace::begin(monitor, Stage::Bridges, order.len(), forest.sets() as u64);
    let mut round = 0;
    while forest.sets() > 1 {
        let (sets, set) = (forest.sets(), forest.numbers(&order));
        order.sort_by_key(|&row| set[row as usize]);
        let pieces: Vec<&[u32]> =
            order.chunk_by(|&a, &b| set[a as usize] == set[b as usize]).flat_map(|rows| rows.chunks(PIECE)).collect();
        let near = near(reach.space, &pieces, &set, random::at(seed, round), &pace)?;
        let mut links: Vec<Link> = near
            .into_par_iter()
            .map_init(Pairs::default, |pairs, (a, b)| {
                pace.check()?;
                Ok(pairs.least_edge(reach, pieces[a as usize], pieces[b as usize]))
            })
            .collect::<Result<_, Error>>()?;
        if round == 0 {
            links.extend(bridges::listed(reach, sets, &set));
        }
        for link in Skeleton::new(sets, links, |row| set[row as usize]).into_links() {
            let link = shortened(reach, link, &set);
            forest.join(link.a, link.b);
            tree.push(link);
            pace.advance(1);
        }
        round += 1;
    }
    pace.finish();
    Ok(())
}

/// Pairs of pieces of different sets that are near each other.
fn near(
    space: &Space<'_>,
    pieces: &[&[u32]],
    set: &[u32],
    seed: u64,
    pace: &Pace<'_>,
) -> Result<Vec<(u32, u32)>, Error> {
    let centres: Vec<f32> = pieces.par_iter().flat_map_iter(|rows| centre(space, rows)).collect();
    let points = Points::new(&centres, space.dims())?;
    let all: Vec<u32> = (0..pieces.len() as u32).collect();
    let set_of = |piece: u32| set[pieces[piece as usize][0] as usize];
    // Fewer and fewer of each set, so that groups of near ones hold those of several sets, and at last each finds another.
    let at_most = |most: usize| -> Vec<u32> {
        let runs = all.chunk_by(|&a, &b| set_of(a) == set_of(b));
        runs.flat_map(|run| run.iter().copied().step_by(run.len().div_ceil(most))).collect()
    };
    let (few, one) = (at_most(FEW), at_most(1));
    let mut near = Vec::new();
    for some in [&few, &one] {
        let space = Space::new(points, some, Metric::Euclidean);
        let lists = Lists::new(some.len(), NEAREST);
        let places: Vec<u32> = (0..some.len() as u32).collect();
        let groups = groups::carve(&space, &places, SIZES, FANOUT, seed, pace)?;
        let piece = |at: u32| some[at as usize];
        groups.par_iter().try_for_each_init(Pairs::default, |pairs, group| {
            pace.check()?;
            pairs.meet(&space, group, &lists, |a, b| set_of(piece(a)) == set_of(piece(b)));
            Ok(())
        })?;
        for at in places {
            let pair = |other: u32| (piece(at).min(piece(other)), piece(at).max(piece(other)));
            near.extend(lists.lock(at).iter().map(|entry| pair(entry.id())));
        }
        if some.len() == one.len() {
            break;
        }
    }
    if near.is_empty() {
        // Not even by chance did one meet another: any edges will do.
        near.extend(one.windows(2).map(|pair| (pair[0], pair[1])));
    }
    near.sort_unstable();
    near.dedup();
    Ok(near)
}

/// An edge between the same sets that is no longer, by way of the neighbours of its ends.
fn shortened(reach: &Reach<'_>, mut link: Link, set: &[u32]) -> Link {
    loop {
        let moved = |from: u32, to: u32| {
            let ids = reach.neighbours.of(from).0.iter();
            ids.filter(move |&&id| set[id as usize] == set[from as usize]).map(move |&id| reach.measure(id, to))
        };
        let least = moved(link.a, link.b).chain(moved(link.b, link.a)).fold(link, Link::min);
        if least == link {
            return link;
        }
        link = least;
    }
}

/// The mean of rows.
fn centre(space: &Space<'_>, rows: &[u32]) -> Vec<f32> {
    let mut sum = vec![0.0; space.dims()];
    let mut position = Vec::with_capacity(space.dims());
    for &row in rows {
        position.clear();
        space.position(row, &mut position);
        sum.iter_mut().zip(&position).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    sum.iter().map(|sum| (sum / rows.len() as f64) as f32).collect()
}
