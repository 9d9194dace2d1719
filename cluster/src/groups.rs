//! Overlapping groups of rows that are near each other.
//!
//! Some rows, drawn by chance, are leaders; each row joins the groups of the few leaders that are nearest to it. Groups
//! that turn out too large are cut up the same way (as PiPNN does it: Rubel and others 2026). Which leaders are near is
//! itself found by way of cells: each leader is in the cell of the nearest of a few leaders, and each row looks into the
//! cells that are nearest to it. So a row meets a number of leaders that grows with the square root of all rows.

use rayon::prelude::*;

use crate::error::Error;
use crate::lists::{Entry, Lists};
use crate::monitor::Pace;
use crate::pairs::squared_norms;
use crate::product::rows_by_rows;
use crate::random;
use crate::space::Space;

/// Leaders up to which there is but one cell.
const FLAT: usize = 256;
/// Cells whose leaders a row meets.
const PROBES: usize = 12;
/// Rows that meet leaders in one go.
const PIECE: usize = 256;

/// How large groups are.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    /// On the average.
    pub(crate) mean: usize,
    /// At the most.
    pub(crate) most: usize,
}

/// Groups rows: each row is in `fanout` groups, or in fewer, but at least in one.
///
/// # Errors
///
/// [`Error::Cancelled`].
pub(crate) fn carve(
    space: &Space<'_>,
    rows: &[u32],
    sizes: Sizes,
    fanout: usize,
    seed: u64,
    pace: &Pace<'_>,
) -> Result<Vec<Vec<u32>>, Error> {
    if rows.len() <= sizes.most {
        return Ok(vec![rows.to_vec()]);
    }
    let count = (rows.len() * fanout / sizes.mean).max(2);
    let mut drawn: Vec<(u64, u32)> = rows.iter().map(|&row| (random::at(seed, u64::from(row)), row)).collect();
    drawn.select_nth_unstable(count - 1);
    drawn.truncate(count);
    drawn.sort_unstable();
    let leaders = drawn.into_iter().map(|(_, row)| row).collect();
    let groups = grouped(space, rows, leaders, fanout, pace)?;
    let cut = |(at, group): (usize, Vec<u32>)| {
        // Rows that are all as far from every leader do not come apart.
        if group.len() > sizes.most && group.len() > rows.len() / 10 * 9 {
            return Ok(group.chunks(sizes.mean).map(<[u32]>::to_vec).collect());
        }
        carve(space, &group, sizes, 1, random::at(seed, at as u64), pace)
    };
    let parts: Vec<Vec<Vec<u32>>> = groups.into_par_iter().enumerate().map(cut).collect::<Result<_, _>>()?;
    Ok(parts.into_iter().flatten().collect())
}

/// The rows that each leader is among the nearest leaders of; leaders that are near each other come together.
fn grouped(
    space: &Space<'_>,
    rows: &[u32],
    mut leaders: Vec<u32>,
    fanout: usize,
    pace: &Pace<'_>,
) -> Result<Vec<Vec<u32>>, Error> {
    let lists = Lists::new(rows.len(), fanout);
    let search = Search { space, rows, pace };
    if leaders.len() <= FLAT {
        search.meet(&all(rows), &leaders, &all(&leaders), &lists)?;
    } else {
        // As many products with cells as with the leaders in those that a row looks at.
        let cells = leaders[..((leaders.len() * PROBES) as f64).sqrt() as usize].to_vec();
        let of_cells = Search { rows: &leaders, ..search }.visitors(&cells, 1)?;
        leaders = of_cells.iter().flatten().map(|&at| leaders[at as usize]).collect();
        let mut end = 0;
        let numbers = of_cells.iter().map(|cell| {
            end += cell.len() as u32;
            (end - cell.len() as u32..end).collect()
        });
        let numbers: Vec<Vec<u32>> = numbers.collect();
        search.visitors(&cells, PROBES)?.par_iter().zip(&numbers).try_for_each(|(visitors, numbers)| {
            let inside: Vec<u32> = numbers.iter().map(|&at| leaders[at as usize]).collect();
            search.meet(visitors, &inside, numbers, &lists)
        })?;
    }
    let mut groups = members(&lists, leaders.len());
    groups.iter_mut().flatten().for_each(|at| *at = rows[*at as usize]);
    groups.retain(|group| !group.is_empty());
    Ok(groups)
}

/// For each number below `count` the lists that it is in.
fn members(lists: &Lists, count: usize) -> Vec<Vec<u32>> {
    let mut members = vec![Vec::new(); count];
    for at in 0..lists.len() as u32 {
        lists.lock(at).iter().for_each(|entry| members[entry.id() as usize].push(at));
    }
    members
}

/// The places of rows.
fn all(rows: &[u32]) -> Vec<u32> {
    (0..rows.len() as u32).collect()
}

/// The search for the leaders that are nearest to rows.
#[derive(Clone, Copy)]
struct Search<'a> {
    space: &'a Space<'a>,
    rows: &'a [u32],
    pace: &'a Pace<'a>,
}

impl Search<'_> {
    /// The places of the rows that each leader is among the `count` nearest of.
    fn visitors(&self, leaders: &[u32], count: usize) -> Result<Vec<Vec<u32>>, Error> {
        let lists = Lists::new(self.rows.len(), count);
        self.meet(&all(self.rows), leaders, &all(leaders), &lists)?;
        Ok(members(&lists, leaders.len()))
    }

    /// Rows at some places meet leaders, which offer their numbers to the lists of these places.
    fn meet(&self, places: &[u32], leaders: &[u32], numbers: &[u32], lists: &Lists) -> Result<(), Error> {
        let Some(&centre) = leaders.first() else { return Ok(()) };
        let (space, dims) = (self.space, self.space.dims());
        let (mut packed, mut leader_norms) = (Vec::new(), Vec::new());
        space.pack_around(centre, leaders, &mut packed);
        squared_norms(&packed, dims, &mut leader_norms);
        places.par_chunks(PIECE).try_for_each_init(
            || (Vec::new(), Vec::new(), Vec::new(), Vec::new()),
            |(values, norms, products, nearest), places| {
                self.pace.check()?;
                let ids: Vec<u32> = places.iter().map(|&at| self.rows[at as usize]).collect();
                values.clear();
                space.pack_around(centre, &ids, values);
                squared_norms(values, dims, norms);
                products.resize(ids.len() * leaders.len(), 0.0);
                rows_by_rows(values, &packed, products, (ids.len(), leaders.len(), dims), -2.0);
                for ((&place, norm), products) in places.iter().zip(&*norms).zip(products.chunks_exact(leaders.len())) {
                    let mut limit = lists.limit(place);
                    for ((product, leader), &number) in products.iter().zip(&leader_norms).zip(numbers) {
                        let estimate = product + (leader + norm);
                        if estimate <= limit {
                            nearest.push(Entry::new(estimate, number));
                            if nearest.len() == 4 * lists.k() {
                                limit = lists.shorten(nearest).min(limit);
                            }
                        }
                    }
                    lists.shorten(nearest);
                    lists.offer(place, nearest);
                    nearest.clear();
                }
                Ok(())
            },
        )
    }
}
