//! Rows that say the same are clustered once and counted as often as they come.
//!
//! Copies of a row are at distance 0 of each other, have the same core distance, and the same distances to everything
//! else. So in the order of edges that [`crate::tree`] describes, an edge between copies comes before every other edge
//! of theirs, and the spanning tree has a star from the first copy to the others. Between two groups of copies, the
//! edge of the two first copies comes first. What is left to compute is the tree of the first copies, with core
//! distances that count all of them. Texts such as "deleted" come by the thousand, and cost nothing that way.

use rayon::prelude::*;

use crate::points::Points;

/// Which rows are the first of their like.
#[derive(Debug)]
pub(crate) struct Distinct {
    /// The first row of each group of copies, ascending.
    pub(crate) rows: Vec<u32>,
    /// How many rows each group has.
    pub(crate) copies: Vec<u32>,
    /// The other rows, ascending, each with the first row of its group.
    pub(crate) repeated: Vec<(u32, u32)>,
}

impl Distinct {
    pub(crate) fn of(points: Points<'_>) -> Self {
        let hash = |row: usize| (fingerprint(points.row(row)), row as u32);
        let mut order: Vec<(u64, u32)> = (0..points.len()).into_par_iter().map(hash).collect();
        order.par_sort_unstable();
        let mut repeated: Vec<(u32, u32)> = order
            .par_chunk_by(|a, b| a.0 == b.0)
            .filter(|alike| alike.len() > 1)
            .flat_map_iter(|alike| {
                // Almost always one group; a second one shares the fingerprint by accident.
                let mut firsts: Vec<u32> = Vec::new();
                let mut repeated = Vec::new();
                for &(_, row) in alike {
                    let same = |first: &&u32| points.row(**first as usize) == points.row(row as usize);
                    match firsts.iter().find(same) {
                        Some(&first) => repeated.push((row, first)),
                        None => firsts.push(row),
                    }
                }
                repeated
            })
            .collect();
        drop(order);
        repeated.par_sort_unstable();
        let mut rows = Vec::with_capacity(points.len() - repeated.len());
        let mut later = repeated.iter().map(|&(row, _)| row).peekable();
        for row in 0..points.len() as u32 {
            if later.next_if_eq(&row).is_none() {
                rows.push(row);
            }
        }
        let mut copies = vec![1; rows.len()];
        for &(_, first) in &repeated {
            // Every first row is among the rows, which ascend.
            let group = rows.partition_point(|&row| row < first);
            copies[group] += 1;
        }
        Distinct { rows, copies, repeated }
    }
}

/// The same for equal rows; −0 equals 0.
fn fingerprint(row: &[f32]) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut lanes = [1u64, 2, 3, 4];
    for chunk in row.chunks(lanes.len()) {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = (lane.rotate_left(23) ^ u64::from((value + 0.0).to_bits())).wrapping_mul(ODD);
        }
    }
    lanes.iter().fold(0, |all: u64, lane| (all.rotate_left(23) ^ lane ^ (lane >> 32)).wrapping_mul(ODD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_belong_to_their_first_row() {
        let values = [0.0, 1.0, 2.0, 3.0, -0.0, 1.0, 2.0, 3.5, 2.0, 3.0, 0.0, 1.0];
        let distinct = Distinct::of(Points::new(&values, 2).unwrap());
        assert_eq!(distinct.rows, [0, 1, 3]);
        assert_eq!(distinct.copies, [3, 2, 1]);
        assert_eq!(distinct.repeated, [(2, 0), (4, 1), (5, 0)]);
    }

    #[test]
    fn no_row_has_no_copies() {
        let distinct = Distinct::of(Points::new(&[], 2).unwrap());
        assert!(distinct.rows.is_empty() && distinct.copies.is_empty() && distinct.repeated.is_empty());
    }
}
