//! The verb: survey, then transfer.

use std::fs;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use embstore_formats::FormatError;

use super::checksum::Checksums;
use super::crew::{Audience, Crew};
use super::error::SyncError;
use super::fetch::Fetcher;
use super::options::SyncOptions;
use super::pace::Pace;
use super::report::{FileReport, SyncReport};
use super::survey::{Cluster, Survey, survey};
use crate::progress::{Observer, Phase, Transfer};
use crate::text::natural_order;

/// Fetches what is missing or has changed on the clusters into the download folder.
///
/// One file or cluster that fails does not stop the others: see [`SyncReport::is_complete`].
///
/// # Errors
/// Where nothing can be fetched at all, or the caller asks to stop. What has landed is kept.
pub fn sync(options: &SyncOptions, observer: Observer<'_>) -> Result<SyncReport, SyncError> {
    let started = Instant::now();
    let survey = prepare(options, observer)?;
    let mut report = transfer(options, survey, &Nobody, observer)?;
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

/// Makes the download folder, and finds out what is missing in it.
pub(crate) fn prepare(options: &SyncOptions, observer: Observer<'_>) -> Result<Survey, SyncError> {
    observer.progress.begin(Phase::Survey, 0, 0);
    fs::create_dir_all(&options.output).map_err(FormatError::io("create", &options.output))?;
    survey(options, true, observer)
}

/// What [`sync`] would fetch. Writes nothing.
///
/// # Errors
/// As [`sync`].
pub fn dry_run_sync(options: &SyncOptions, observer: Observer<'_>) -> Result<SyncReport, SyncError> {
    observer.progress.begin(Phase::Survey, 0, 0);
    let Survey { clusters, refusals } = survey(options, false, observer)?;
    let mut files: Vec<FileReport> = refusals.into_iter().map(FileReport::refused).collect();
    for cluster in &clusters {
        files.extend(cluster.up_to_date.iter().map(|(file, entry)| FileReport::skipped(&cluster.name, file, entry)));
        files.extend(cluster.missing.iter().map(|file| FileReport::missing(&cluster.name, file)));
    }
    sort(&mut files, options);
    Ok(SyncReport { output: options.output.clone(), files, ..SyncReport::default() })
}

/// Hears nothing.
struct Nobody;

impl Audience for Nobody {}

/// Fetches what a survey found missing, from all clusters at once.
pub(crate) fn transfer(
    options: &SyncOptions,
    survey: Survey,
    audience: &dyn Audience,
    observer: Observer<'_>,
) -> Result<SyncReport, SyncError> {
    let (count, bytes, landed) = survey.to_come(&options.output);
    observer.progress.transfer(Transfer::Begin { files: count, bytes, landed });
    let pace = options.limit_rate.map(Pace::new);
    let crossed = AtomicU64::new(0);
    let files = Mutex::new(survey.refusals.into_iter().map(FileReport::refused).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        let connections = survey.clusters.iter().map(|cluster| cluster.jobs as u64).sum();
        for cluster in survey.clusters {
            let (pace, files, crossed) = (pace.as_ref(), &files, &crossed);
            scope.spawn(move || {
                let rate = pace.map(|pace| (pace, pace.window(connections)));
                work(options, cluster, rate, &Collector { files, audience }, crossed, observer);
            });
        }
    });
    if observer.cancel.is_cancelled() {
        return Err(SyncError::Cancelled);
    }
    let mut files = files.into_inner().unwrap_or_else(PoisonError::into_inner);
    sort(&mut files, options);
    let bytes = crossed.into_inner();
    Ok(SyncReport { output: options.output.clone(), files, bytes, seconds: 0.0 })
}

/// Keeps what becomes of files, and tells the audience.
struct Collector<'a> {
    files: &'a Mutex<Vec<FileReport>>,
    audience: &'a dyn Audience,
}

impl Collector<'_> {
    fn push(&self, report: FileReport) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).push(report);
    }
}

/// Fetches what is missing of one cluster.
fn work(
    options: &SyncOptions,
    cluster: Cluster,
    rate: Option<(&Pace, u64)>,
    collector: &Collector<'_>,
    crossed: &AtomicU64,
    observer: Observer<'_>,
) {
    let Cluster { name, address, transport, sftp, jobs, manifest, up_to_date, missing } = cluster;
    for (file, entry) in &up_to_date {
        collector.push(FileReport::skipped(&name, file, entry));
    }
    let (Some(manifest), false) = (manifest, missing.is_empty()) else { return };
    let window = rate.map_or(transport.window(), |(_, window)| window.min(transport.window()));
    let crew = Crew {
        transport: &*transport,
        fetcher: Fetcher {
            folder: &options.output,
            address,
            verify: options.verify,
            pace: rate.map(|(pace, _)| pace),
            window,
            observer,
            checksums: Checksums::new(&*transport, options.timeout),
        },
        manifest: &Mutex::new(manifest),
        audience: collector.audience,
        on_settled: &|file, outcome| {
            collector.audience.settled(file, outcome.is_ok());
            if outcome.is_ok() {
                observer.progress.transfer(Transfer::Landed { file: &file.name, bytes: file.version.size });
            }
            collector.push(match outcome {
                Ok(fetched) => FileReport::fetched(&name, file, fetched),
                Err(error) => FileReport::failed(&name, file, error),
            });
        },
        jobs,
        retries: options.retries,
        bytes: crossed,
    };
    crew.fetch(sftp, missing);
}

fn sort(files: &mut [FileReport], options: &SyncOptions) {
    let order = |file: &FileReport| options.clusters.iter().position(|cluster| *cluster == file.cluster);
    files.sort_by(|a, b| {
        let names = (a.file.as_deref().unwrap_or(""), b.file.as_deref().unwrap_or(""));
        order(a).cmp(&order(b)).then_with(|| natural_order(names.0, names.1))
    });
}
