//! All groups: which are done, small ones side by side, large ones with all cores.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use embstore_cluster::{Monitor, Stage};
use rayon::prelude::*;

use super::error::ClusterError;
use super::group::Group;
use super::job::Job;
use super::options::{ClusterOptions, ClusterSource};
use super::report::{ClusterReport, FailedGroup, GroupReport, PlannedGroup};
use super::rows;
use crate::progress::{Cancel, Clustering, Observer, Phase};
use crate::text::natural_order;

/// Fewer points than this leave cores idle: such groups are clustered side by side.
const SMALL: u64 = 10_000;

/// Clusters what `options` name.
///
/// Of a tree of folders, one that fails does not stop the others; the report tells of it.
///
/// # Errors
/// Where nothing can be begun, or the one group that is meant fails.
///
/// ```no_run
/// use embstore::cluster::{ClusterOptions, ClusterSource, cluster};
/// use embstore::Observer;
///
/// let source = ClusterSource::Rows { inputs: vec!["store.npy".into()], output: "clusters.parquet".into() };
/// let report = cluster(&ClusterOptions { reduce: Some(50), ..ClusterOptions::new(source) }, Observer::none())?;
/// println!("{} clusters", report.groups[0].record.clusters);
/// # Ok::<(), embstore::cluster::ClusterError>(())
/// ```
pub fn cluster(options: &ClusterOptions, observer: Observer<'_>) -> Result<ClusterReport, ClusterError> {
    let begin = Instant::now();
    options.hdbscan.check()?;
    let groups = Group::find(options, observer.cancel)?;
    let run = Run { options, observer, are_many: groups.len() > 1, report: Mutex::default() };
    observer.progress.begin(Phase::Plan, 0, 0);
    let mut waiting = run.waiting(&groups);
    let points = waiting.iter().map(|waiting| waiting.points).sum();
    observer.progress.clustering(Clustering::Begin { groups: waiting.len() as u64, points });
    // The largest first, so that no core is left with one at the end.
    waiting.sort_by_key(|waiting| std::cmp::Reverse(waiting.points));
    let large = waiting.partition_point(|waiting| waiting.points >= SMALL);
    waiting[..large].iter().for_each(|waiting| run.take(waiting));
    run.side_by_side(&waiting[large..]);
    let mut report = run.report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.groups.sort_by(|a, b| natural_order(&a.name, &b.name));
    report.failed.sort_by(|a, b| natural_order(&a.name, &b.name));
    report.seconds = begin.elapsed().as_secs_f64();
    report.interrupted = observer.cancel.is_cancelled() && report.groups.len() + report.failed.len() < groups.len();
    match (&options.source, report.failed.pop()) {
        (ClusterSource::Rows { .. }, Some(failed)) => Err(failed.error),
        (ClusterSource::Rows { .. }, None) if report.groups.is_empty() => {
            Err(embstore_cluster::Error::Cancelled.into())
        }
        (_, failed) => {
            report.failed.extend(failed);
            Ok(report)
        }
    }
}

/// What [`cluster`] would do; nothing is written.
///
/// # Errors
/// Where nothing could be begun, or a group could not be read.
pub fn dry_run_cluster(options: &ClusterOptions, observer: Observer<'_>) -> Result<Vec<PlannedGroup>, ClusterError> {
    options.hdbscan.check()?;
    observer.progress.begin(Phase::Plan, 0, 0);
    let groups = Group::find(options, observer.cancel)?;
    let planned = groups.par_iter().map(|group| {
        let (points, dims) = rows::shape(group, &options.key)?;
        let is_done = Job { group, options }.done()?.is_some();
        Ok(PlannedGroup { name: group.name.clone(), output: group.output.clone(), points, dims, is_done })
    });
    planned.collect()
}

struct Run<'a> {
    options: &'a ClusterOptions,
    observer: Observer<'a>,
    are_many: bool,
    report: Mutex<ClusterReport>,
}

/// A group that has no result yet. Its plan is made again when its turn comes: those of all folders at once, with every
/// column chunk of every file, would not fit into memory.
struct Waiting<'a> {
    group: &'a Group,
    points: u64,
}

impl Run<'_> {
    /// The groups that are to be clustered; what is done already, or cannot be, goes into the report.
    fn waiting<'a>(&self, groups: &'a [Group]) -> Vec<Waiting<'a>> {
        let is_tree = matches!(self.options.source, ClusterSource::Tree { .. });
        let look = |group: &'a Group| {
            if self.observer.cancel.is_cancelled() {
                return None;
            }
            let begin = Instant::now();
            match (Job { group, options: self.options }).done() {
                Ok(None) => {}
                Ok(Some(record)) => {
                    self.observer.progress.clustering(Clustering::Skipped { group: &group.name });
                    let (name, output) = (group.name.clone(), group.output.clone());
                    let seconds = begin.elapsed().as_secs_f64();
                    let report = GroupReport { name, output, record, skipped: true, largest: Vec::new(), seconds };
                    self.report().groups.push(report);
                    return None;
                }
                Err(error) => {
                    self.fail(group, error);
                    return None;
                }
            }
            match rows::shape(group, &self.options.key) {
                Ok((0, _)) if is_tree => {
                    let text = format!("{}: no rows, so there is nothing to cluster", group.name);
                    self.observer.progress.clustering(Clustering::Note { text: &text });
                    None
                }
                Ok((points, _)) => Some(Waiting { group, points }),
                Err(error) => {
                    self.fail(group, error);
                    None
                }
            }
        };
        groups.par_iter().filter_map(look).collect()
    }

    /// As many groups at a time as there are cores. Their inner work shares the pool of all.
    fn side_by_side(&self, groups: &[Waiting<'_>]) {
        let next = AtomicUsize::new(0);
        let threads = rayon::current_num_threads().min(groups.len());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(waiting) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                        self.take(waiting);
                    }
                });
            }
        });
    }

    fn take(&self, waiting: &Waiting<'_>) {
        let (progress, cancel) = (self.observer.progress, self.observer.cancel);
        if cancel.is_cancelled() {
            return;
        }
        let Waiting { group, points } = *waiting;
        let ear = Ear { group: &group.name, observer: self.observer, told: Mutex::new((points, false)) };
        match (Job { group, options: self.options }).run(&ear, self.observer) {
            Ok(report) => {
                progress.clustering(Clustering::Points { points: ear.left() });
                let record = &report.record;
                // Of the only group, the result tells it.
                for warning in record.warnings().iter().filter(|_| self.are_many) {
                    progress.clustering(Clustering::Note { text: &format!("{}: {warning}", group.name) });
                }
                progress.clustering(Clustering::Done {
                    group: &group.name,
                    points: record.points,
                    clusters: record.clusters,
                    noise: record.noise,
                    seconds: report.seconds,
                });
                self.report().groups.push(report);
            }
            Err(error) if error.is_cancelled() => {}
            Err(error) => self.fail(group, error),
        }
    }

    fn fail(&self, group: &Group, error: ClusterError) {
        let failed = FailedGroup { name: group.name.clone(), error };
        // Of the only group, the result tells at once.
        if matches!(self.options.source, ClusterSource::Tree { .. }) {
            let text = failed.to_string();
            self.observer.progress.clustering(Clustering::Failed { group: &group.name, error: &text });
        }
        self.report().failed.push(failed);
    }

    fn report(&self) -> std::sync::MutexGuard<'_, ClusterReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hears how far one group is. Its points count once: in the stage that looks for neighbours, which takes longest.
struct Ear<'a> {
    group: &'a str,
    observer: Observer<'a>,
    /// Points that are not counted yet, and whether they are at the moment.
    told: Mutex<(u64, bool)>,
}

impl Ear<'_> {
    fn left(&self) -> u64 {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Monitor for Ear<'_> {
    fn begin(&self, stage: Stage, _points: u64) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).1 = stage == Stage::Neighbours;
        self.observer.progress.clustering(Clustering::Stage { group: self.group, stage: name(stage) });
    }

    fn advance(&self, points: u64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let points = if told.1 { points.min(told.0) } else { 0 };
        told.0 -= points;
        drop(told);
        if points > 0 {
            self.observer.progress.clustering(Clustering::Points { points });
        }
    }

    fn is_cancelled(&self) -> bool {
        Cancel::is_cancelled(self.observer.cancel)
    }
}

fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Neighbours => "neighbours",
        Stage::Bridges => "bridges",
        Stage::Components => "components",
    }
}
