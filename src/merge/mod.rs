//! Merge: checkpoints into a store.

mod options;
mod prepared;
mod report;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use embstore_formats::articles;
use rayon::prelude::*;

pub use options::{MergeOptions, NonFinite};
pub(crate) use prepared::articles_identity;
use prepared::{Merge, articles_part, old_store};
pub use report::{DryRun, MergeReport};

use crate::arrivals::Arrivals;
use crate::checkpoint::Checkpoint;
use crate::copy::{Awaited, CopyError, Source, memory_per_thread};
use crate::error::Error;
use crate::inputs;
use crate::partial::folder_of;
use crate::plan::Plan;
use crate::progress::{Observer, Phase};
use crate::ranges::Ranges;

/// Finds, locates and verifies the checkpoints: what [`merge_arriving`] would copy. Writes nothing.
///
/// # Errors
/// Whatever keeps the checkpoints from being one matrix.
pub fn plan_arriving(options: &MergeOptions, coming: &[Checkpoint], observer: Observer<'_>) -> Result<Plan, Error> {
    observer.progress.begin(Phase::Plan, 0, 0);
    let locate = options.locate();
    let files = inputs::find(&options.inputs, options.pattern.as_deref(), &locate, coming)?;
    let ranges = match &options.ranges {
        Some(path) => Ranges::read(path, &files.iter().map(|file| file.path.clone()).collect::<Vec<_>>())?,
        None => Ranges::default(),
    };
    let checkpoints = files
        .into_par_iter()
        .map(|file| {
            // A compressed file may take long.
            if observer.cancel.is_cancelled() {
                return Err(CopyError::Cancelled.into());
            }
            let start = ranges.start_of(&file.path);
            let checkpoint = file.open(&locate, start)?;
            checkpoint.check_payload()?;
            Ok(checkpoint)
        })
        .collect::<Vec<Result<_, Error>>>();
    // Not collected as one result: the first bad file is named in the order of the names, not of the threads.
    let checkpoints = checkpoints.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(Plan::verify(checkpoints, options.rows, options.dim)?)
}

/// What [`merge`] would do: the plan, with the articles counted. Writes nothing.
///
/// # Errors
/// Whatever would keep the merge from beginning, a target in the way aside.
pub fn dry_run(options: &MergeOptions, observer: Observer<'_>) -> Result<DryRun, Error> {
    let format = options.format()?;
    let plan = plan_arriving(options, &[], observer)?;
    if let Some(part) = articles_part(options, &plan, None)? {
        observer.progress.begin(Phase::Articles, 0, 0);
        let scratch = folder_of(&options.output);
        part.check_count(articles::read(&part.path, scratch, &mut |_| ControlFlow::Continue(()))?)?;
    }
    let changes = old_store(options, &plan)?.map(|old| old.changes);
    let readers = plan.parts().iter().map(|part| part.checkpoint.payload.memory()).max().unwrap_or(0);
    let chunks = format.check_layout(&options.output, &plan.array(), &options.build.layout)?;
    let memory_per_thread = memory_per_thread(plan.array().cols()) + readers + chunks;
    Ok(DryRun { plan, changes, memory_per_thread })
}

/// Merges checkpoints into a store.
///
/// Nothing is written before the plan is verified; nothing is published before everything is on disk and read back.
/// What an interrupted merge has copied is kept beside the target, and the same options continue from there.
///
/// # Errors
/// See [`Error`]; none of them leaves a target that lies.
///
/// ```no_run
/// use embstore::{MergeOptions, Observer, RowRange, merge};
///
/// let mut options = MergeOptions::new("embeddings/", "wikipedia.npy");
/// options.rows = Some(RowRange { start: 0, end: 250_000 });
/// options.articles = Some("wikipedia.pkl".into());
/// let report = merge(&options, Observer::none())?;
/// println!("{:?} in {:.1} s", report.shape, report.seconds);
/// # Ok::<(), embstore::Error>(())
/// ```
pub fn merge(options: &MergeOptions, observer: Observer<'_>) -> Result<MergeReport, Error> {
    merge_arriving(options, &[], &Arrivals::new(), observer)
}

/// Merges checkpoints into a store while some of them are still on their way.
///
/// Those that are `coming` were planned by their previews ([`Checkpoint::preview`]); they join those that the inputs
/// hold, as if they had landed already, and stand in for older files at their paths. A path must be spelled as that of
/// the input folder with the file's name. Rows of a file are read when `arrivals` says that it has landed, and the
/// first file that fails ends the merge. The store is the one that [`merge`] would make of all files, and either can go
/// on from what the other has left.
///
/// # Errors
/// As [`merge`], and [`CopyError::NotArrived`]. A file that lands and is not the one that was planned with is
/// [`CopyError::SourceChanged`].
pub fn merge_arriving(
    options: &MergeOptions,
    coming: &[Checkpoint],
    arrivals: &Arrivals,
    observer: Observer<'_>,
) -> Result<MergeReport, Error> {
    let started = Instant::now();
    coming.iter().for_each(|checkpoint| arrivals.expect(&checkpoint.path));
    let merge = Merge::prepare(options, coming, observer)?;
    let is_as_planned = |path: &Path| match coming.iter().find(|checkpoint| checkpoint.path == path) {
        Some(checkpoint) => checkpoint.has_come_true(),
        None => Ok(true),
    };
    let built = merge.build(Awaited { arrivals, is_as_planned: &is_as_planned }, observer)?;
    Ok(merge.report(built, started.elapsed().as_secs_f64()))
}

pub(crate) fn sources(plan: &Plan) -> Vec<Source<'_>> {
    plan.parts()
        .iter()
        .map(|part| Source {
            path: part.checkpoint.path.clone(),
            identity: part.checkpoint.identity,
            payload: &part.checkpoint.payload,
            first: part.first,
            rows: part.rows,
            store_row: part.store_row,
            in_kernel: false,
        })
        .collect()
}
