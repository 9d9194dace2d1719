//! Run: sync and merge in one go. Checkpoints are merged while others are still on their way.
//!
//! A checkpoint that is on its way is planned with from its head and its tail, so the whole plan is verified before the
//! transfer is. Whatever keeps that from working costs only the overlap: the files are fetched, then merged. The result is
//! that of a sync and a merge either way.

use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use embstore_formats::LocateOptions;

use crate::arrivals::Arrivals;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::copy::CopyError;
use crate::error::Error;
use crate::merge::{MergeOptions, MergeReport, articles_identity, merge, merge_arriving};
use crate::progress::Observer;
use crate::sync::{Audience, Preview, RemoteFile, Survey, SyncOptions, SyncReport, prepare, sync, transfer};

/// Which phases to run, and how.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// What to fetch; nothing where absent.
    pub sync: Option<SyncOptions>,
    /// What to merge; nothing where absent.
    pub merge: Option<MergeOptions>,
}

/// What was done.
#[derive(Debug)]
pub struct RunReport {
    /// What was fetched.
    pub sync: Option<SyncReport>,
    /// What was merged; nothing where a checkpoint is missing.
    pub merge: Option<MergeReport>,
    /// How long it took.
    pub seconds: f64,
}

/// Fetches checkpoints and merges them. Where not all of them arrive nothing is merged, see [`SyncReport::is_complete`].
///
/// # Errors
/// As [`sync()`] and [`merge()`]. Checkpoints that have arrived, and rows that have been copied, are kept for another try.
pub fn run(options: &RunOptions, observer: Observer<'_>) -> Result<RunReport, Error> {
    let started = Instant::now();
    let (sync, merge) = match (&options.sync, &options.merge) {
        (Some(fetch), Some(into)) => sync_and_merge(fetch, into, observer)?,
        (Some(fetch), None) => (Some(sync(fetch, observer)?), None),
        (None, Some(into)) => (None, Some(merge(into, observer)?)),
        (None, None) => (None, None),
    };
    Ok(RunReport { sync, merge, seconds: started.elapsed().as_secs_f64() })
}

type Reports = (Option<SyncReport>, Option<MergeReport>);

fn sync_and_merge(fetch: &SyncOptions, into: &MergeOptions, observer: Observer<'_>) -> Result<Reports, Error> {
    let started = Instant::now();
    if let Some(articles) = &into.articles {
        // Rather now than after hours of fetching.
        articles_identity(articles)?;
    }
    let survey = prepare(fetch, observer)?;
    let arrivals = Arrivals::new();
    let (sender, previews) = channel();
    let bridge = Bridge { folder: &fetch.output, arrivals: &arrivals, previews: Mutex::new(Some(sender)) };
    let expected = expect(&survey, &fetch.output, &arrivals);
    // What cannot be complete is not begun to be merged.
    let can_be_complete = survey.refusals.is_empty();
    let (report, merged) = std::thread::scope(|scope| {
        let fetching = scope.spawn(|| {
            let report = transfer(fetch, survey, &bridge, observer);
            // Whoever waits for a preview or a file must not wait for ever.
            bridge.close();
            report
        });
        let locate = into.locate();
        let planned = previews.iter().take(expected).map(|preview| planned(preview?, &locate));
        let coming: Option<Vec<Checkpoint>> = planned.collect();
        let merged = coming
            .filter(|coming| can_be_complete && coming.len() == expected)
            .map(|coming| merge_arriving(into, &coming, &arrivals, observer));
        (fetching.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), merged)
    });
    let report = SyncReport { seconds: started.elapsed().as_secs_f64(), ..report? };
    if !report.is_complete() {
        return Ok((Some(report), None));
    }
    let merged = match merged {
        Some(Ok(merged)) => merged,
        Some(Err(error)) if !may_differ_at_rest(&error) => return Err(error),
        _ => merge(into, observer)?,
    };
    Ok((Some(report), Some(merged)))
}

/// Announces the files to come; returns how many there are.
fn expect(survey: &Survey, folder: &Path, arrivals: &Arrivals) -> usize {
    let missing = survey.clusters.iter().flat_map(|cluster| &cluster.missing);
    missing.map(|file| arrivals.expect(folder.join(&file.name))).count()
}

/// The checkpoint that a preview tells of, where it does.
fn planned(preview: Preview, locate: &LocateOptions) -> Option<Checkpoint> {
    let Preview { path, file, absent, identity } = preview;
    Checkpoint::preview(&file, absent, &path, identity, locate)
}

/// Whether the files may say something else once all of them are there.
fn may_differ_at_rest(error: &Error) -> bool {
    matches!(
        error,
        Error::Copy(CopyError::NotArrived { .. } | CopyError::SourceChanged { .. })
            | Error::Checkpoint(CheckpointError::Changed { .. })
            | Error::Input(_)
            | Error::Plan(_)
    )
}

/// Tells the merge what the transfer does.
struct Bridge<'a> {
    folder: &'a Path,
    arrivals: &'a Arrivals,
    previews: Mutex<Option<Sender<Option<Preview>>>>,
}

impl Bridge<'_> {
    fn close(&self) {
        self.previews.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Audience for Bridge<'_> {
    fn wants_previews(&self) -> bool {
        true
    }

    fn previewed(&self, preview: Option<Preview>) {
        let sender = self.previews.lock().unwrap_or_else(PoisonError::into_inner);
        // With nobody waiting the files are merged when they are there.
        if let Some(sender) = &*sender {
            let _ = sender.send(preview);
        }
    }

    fn settled(&self, file: &RemoteFile, is_there: bool) {
        let path = self.folder.join(&file.name);
        if is_there { self.arrivals.land(path) } else { self.arrivals.fail(path) }
    }
}
