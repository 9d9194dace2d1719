//! Texts of a few points of the largest clusters, so that a person sees what they are about.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use embstore_cluster::Clustering;

use super::error::ClusterError;
use super::rows::Rows;
use crate::table::{USUAL_NAMES, is_text, listed, texts};

/// Clusters that get examples, and how many each.
const LARGEST: usize = 10;
const EACH: usize = 3;
/// Characters of an example.
const LENGTH: usize = 160;
/// What articles are called.
const TITLE: &str = "title";

/// The rows whose texts are wanted, and those texts that were seen.
pub(super) struct Examples {
    column: Option<usize>,
    /// By row; the texts as they are seen.
    wanted: BTreeMap<u64, Option<String>>,
    /// The largest clusters, by number, with the rows of their examples.
    clusters: Vec<(usize, Vec<u64>)>,
}

impl Examples {
    /// Chooses points: exemplars from all over each cluster.
    pub(super) fn choose(column: Option<usize>, clustering: &Clustering, rows: &Rows<'_>) -> Self {
        let mut order: Vec<usize> = (0..clustering.clusters.len()).collect();
        order.sort_by_key(|cluster| std::cmp::Reverse(clustering.clusters[*cluster].size));
        order.truncate(LARGEST);
        let row_of = RowOf::new(&rows.dropped);
        let chosen = |cluster: usize| {
            let exemplars = &clustering.clusters[cluster].exemplars;
            // Spread over all of them: neighbours are often the same text again.
            let step = (exemplars.len() / EACH).max(1);
            exemplars.iter().step_by(step).take(EACH).map(|point| row_of.point(*point)).collect::<Vec<u64>>()
        };
        let clusters: Vec<(usize, Vec<u64>)> = order.into_iter().map(|cluster| (cluster, chosen(cluster))).collect();
        let wanted = clusters.iter().flat_map(|(_, rows)| rows.iter().map(|row| (*row, None))).collect();
        Examples { column, wanted, clusters }
    }

    /// Takes the texts that are wanted out of the rows from `first` on.
    pub(super) fn see(&mut self, first: u64, batch: &RecordBatch) {
        let Some(column) = self.column else { return };
        let here = first..first + batch.num_rows() as u64;
        let mut wanted = self.wanted.range_mut(here).peekable();
        if wanted.peek().is_none() {
            return;
        }
        let texts = texts(batch, column);
        wanted.for_each(|(row, text)| *text = texts[(row - first) as usize].map(shortened));
    }

    /// The largest clusters by number, with the texts of their examples.
    pub(super) fn found(&self) -> BTreeMap<usize, Vec<String>> {
        let texts = |rows: &[u64]| rows.iter().filter_map(|row| self.wanted.get(row)?.clone()).collect();
        self.clusters.iter().map(|(cluster, rows)| (*cluster, texts(rows))).collect()
    }
}

/// The row of each point.
pub(super) struct RowOf {
    /// How many points come before each row that is left out.
    before: Vec<u64>,
}

impl RowOf {
    pub(super) fn new(dropped: &[u64]) -> Self {
        RowOf { before: dropped.iter().enumerate().map(|(k, row)| row - k as u64).collect() }
    }

    /// The row of a point: as many further as rows before it are left out.
    pub(super) fn point(&self, point: u32) -> u64 {
        let point = u64::from(point);
        point + self.before.partition_point(|before| *before <= point) as u64
    }
}

/// The column of texts among those that are kept.
pub(super) fn text_column(
    schema: &Schema,
    asked: Option<&str>,
    rows: &Rows<'_>,
) -> Result<Option<usize>, ClusterError> {
    let position =
        |name: &str| schema.fields().iter().position(|field| field.name() == name && is_text(field.data_type()));
    let Some(name) = asked else {
        return Ok(USUAL_NAMES.iter().chain([&TITLE]).find_map(|name| position(name)));
    };
    position(name).map(Some).ok_or_else(|| ClusterError::NoTextColumn {
        path: rows.files()[0].clone(),
        name: name.into(),
        columns: listed(schema),
    })
}

/// A text on one line, cut where it is long.
fn shortened(text: &str) -> String {
    let mut words = text.split_whitespace();
    let mut line = String::new();
    for word in &mut words {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.chars().count() > LENGTH {
            let cut = line.char_indices().nth(LENGTH - 1).map_or(line.len(), |(at, _)| at);
            line.truncate(cut);
            line.push('…');
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_one_short_line() {
        assert_eq!(shortened("  a\n\tb  c "), "a b c");
        let long = shortened(&"größe ".repeat(100));
        assert_eq!((long.chars().count(), long.ends_with('…')), (LENGTH, true));
    }

    #[test]
    fn points_are_rows_that_were_not_dropped() {
        let dropped = [0, 3, 4, 9];
        let rows: Vec<u64> = (0..12).filter(|row| !dropped.contains(row)).collect();
        let row_of = RowOf::new(&dropped);
        assert_eq!((0..rows.len() as u32).map(|point| row_of.point(point)).collect::<Vec<_>>(), rows);
        assert_eq!(RowOf::new(&[]).point(7), 7);
    }
}
