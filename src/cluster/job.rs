//! One group: from its files to its result.

use std::time::Instant;

use embstore_cluster::{
    Clustering, Monitor, Pca, Points, SpanningTree, approximate_tree, estimated_seconds, spanning_tree,
};
use embstore_formats::StoreFiles;

use super::columns::Columns;
use super::error::ClusterError;
use super::examples::{Examples, text_column};
use super::group::Group;
use super::hash::{input_hash, store_files};
use super::options::ClusterOptions;
use super::record::{self, Existing, Parameters, Record};
use super::report::{ClusterRow, GroupReport};
use super::rows::{self, Rows};
use super::{condensed, output, summary};
use crate::progress::{Clustering as Event, Observer};
use crate::text::thousands;

/// Fewer points never take long.
const MANY: usize = 10_000;
/// Seconds that a person wants to know of beforehand.
const LONG: f64 = 10.0;

/// A group with what it is to become.
pub(super) struct Job<'a> {
    pub(super) group: &'a Group,
    pub(super) options: &'a ClusterOptions,
}

impl Job<'_> {
    /// The record of a result that is up to date.
    ///
    /// # Errors
    /// [`ClusterError::Foreign`] where there is something that is not replaced.
    pub(super) fn done(&self) -> Result<Option<Record>, ClusterError> {
        if self.options.force {
            return Ok(None);
        }
        match record::look(self.group)? {
            Existing::Missing | Existing::Incomplete => Ok(None),
            Existing::Foreign(path) => Err(ClusterError::Foreign { path }),
            Existing::Result(record) => {
                let is_same = record.parameters == Parameters::of(self.options)
                    && record.input_hash == input_hash(rows::files(self.group, &self.options.key)?)?;
                Ok(is_same.then_some(*record))
            }
        }
    }

    /// Clusters the group and publishes its result: summary and condensed tree first, the file that makes it valid last.
    pub(super) fn run(&self, monitor: &dyn Monitor, observer: Observer<'_>) -> Result<GroupReport, ClusterError> {
        let begin = Instant::now();
        let Job { group, options } = self;
        let mut rows = Rows::open(group, &options.key, options.non_finite, observer.cancel)?;
        self.check_outputs(&rows)?;
        let columns = Columns::of(&rows, options)?;
        if let Some(text) = &columns.note {
            observer.progress.clustering(Event::Note { text: &format!("{}: {text}", group.name) });
        }
        let text_column = text_column(&columns.schema, options.text_column.as_deref(), &rows)?;
        let (tree, explained_variance) = self.tree(&mut rows, monitor, observer).map_err(|error| rows.named(error))?;
        let clustering = Clustering::new(&tree, &options.hdbscan)?;
        let record = Record {
            embstore_version: env!("CARGO_PKG_VERSION").into(),
            input_hash: input_hash(rows.files())?,
            parameters: Parameters::of(options),
            points: rows.count() as u64,
            dims: rows.dims() as u64,
            clusters: clustering.clusters.len() as u64,
            noise: clustering.noise() as u64,
            dropped: rows.dropped.len() as u64,
            tree_weight: tree.weight(),
            explained_variance,
        };
        let mut examples = Examples::choose(text_column, &clustering, &rows);
        let result = output::write(group, options, &rows, &columns, &clustering, &record, &mut examples)?;
        let summary = summary::write(&group.summary, &record, &clustering, &rows.dropped, &examples)?;
        let path = group.condensed_tree.as_deref();
        let condensed = path.map(|path| condensed::write(&clustering.condensed, &record, path)).transpose()?;
        rows.check_unchanged()?;
        summary.publish()?;
        if let Some(condensed) = condensed {
            condensed.publish()?;
        }
        result.publish()?;
        Ok(GroupReport {
            name: group.name.clone(),
            output: group.output.clone(),
            record,
            skipped: false,
            largest: largest(&clustering, &examples),
            seconds: begin.elapsed().as_secs_f64(),
        })
    }

    /// The tree, and the share of the variance that is left where columns are reduced.
    fn tree(
        &self,
        rows: &mut Rows<'_>,
        monitor: &dyn Monitor,
        observer: Observer<'_>,
    ) -> Result<(SpanningTree, Option<f64>), ClusterError> {
        let options = self.options;
        let (values, dims, explained) = match options.reduce {
            None => (rows.read()?, rows.dims(), None),
            Some(components) => {
                // Fewer points than that lie in fewer directions.
                let components = components.min(rows.count());
                let pca = Pca::fit(rows, components, options.seed, monitor)?;
                let mut values = Vec::with_capacity(rows.count() * components);
                embstore_cluster::RowBlocks::for_each(rows, &mut |block| {
                    pca.project(block, &mut values);
                    Ok(())
                })?;
                (values, components, Some(pca.explained_variance_ratio().iter().sum()))
            }
        };
        let points = Points::new(&values, dims)?;
        let tree = if options.approximate {
            approximate_tree(points, &options.hdbscan, options.seed, monitor)?
        } else {
            self.warn(points, observer)?;
            spanning_tree(points, &options.hdbscan, monitor)?
        };
        Ok((tree, explained))
    }

    /// Tells beforehand that the exact tree will take long.
    fn warn(&self, points: Points<'_>, observer: Observer<'_>) -> Result<(), ClusterError> {
        if points.len() < MANY {
            return Ok(());
        }
        let seconds = estimated_seconds(points, &self.options.hdbscan)?;
        if seconds >= LONG {
            let (name, points) = (&self.group.name, thousands(points.len() as u64));
            let time = if seconds < 120.0 { format!("{seconds:.0} s") } else { format!("{:.0} min", seconds / 60.0) };
            let text = format!("{name}: {points} points take about {time}; --approximate takes less");
            observer.progress.clustering(Event::Note { text: &text });
        }
        Ok(())
    }

    /// No file that is written may be one that is read, nor one of the others.
    fn check_outputs(&self, rows: &Rows<'_>) -> Result<(), ClusterError> {
        let Group { output, summary, condensed_tree, .. } = self.group;
        let written = [Some(output), Some(summary), condensed_tree.as_ref()];
        let mut files = rows.files();
        for StoreFiles { articles, metadata, .. } in rows.files().iter().filter_map(|path| store_files(path)) {
            files.extend(articles.into_iter().chain(metadata));
        }
        for path in written.into_iter().flatten() {
            if rows::is_among(path, &files) {
                return Err(ClusterError::OutputIsInput { path: path.clone() });
            }
            files.push(path.clone());
        }
        Ok(())
    }
}

/// The largest clusters, the largest first.
fn largest(clustering: &Clustering, examples: &Examples) -> Vec<ClusterRow> {
    let row = |(label, examples): (usize, Vec<String>)| {
        let cluster = &clustering.clusters[label];
        ClusterRow { label, size: cluster.size, persistence: cluster.persistence, examples }
    };
    let mut rows: Vec<ClusterRow> = examples.found().into_iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.size));
    rows
}
