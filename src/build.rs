//! A store is built: staged, filled, finished, read back, published. Merge and export are this, from other sources.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use embstore_formats::articles::{self, ArticlesWritten};
use embstore_formats::pickle::LocateError;
use embstore_formats::{
    ArrayKind, ArrayMeta, Checksum, Fields, Format, FormatError, LocateOptions, StoreFiles, Target, detect,
};
use serde_json::Value;

use crate::copy::{Destination, Settings, Source, copy};
use crate::error::Error;
use crate::identity::Identity;
use crate::journal::{Journal, Landed};
use crate::partial::{Partial, PartialError, complete_publication, partial_folder};
use crate::plan::RowRange;
use crate::progress::{Observer, Phase};
use crate::read_back::read_back;

/// What to do about what is there already, and how the work is done.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuildOptions {
    /// Whether a finished store may be replaced.
    pub force: bool,
    /// Whether an unfinished one is discarded.
    pub restart: bool,
    /// Threads and syncs.
    pub settings: Settings,
}

/// Articles to go along with the rows.
#[derive(Clone, Debug)]
pub(crate) struct ArticlesPart {
    pub(crate) path: PathBuf,
    /// Articles before those that are kept.
    pub(crate) skip: u64,
    /// Articles that the file must hold.
    pub(crate) total: u64,
    /// The rows among which others could be kept, should the count be wrong.
    pub(crate) fit: Option<RowRange>,
}

impl ArticlesPart {
    /// There must be as many articles as rows.
    pub(crate) fn check_count(&self, count: u64) -> Result<(), Error> {
        if count == self.total {
            return Ok(());
        }
        let fit = self.fit.and_then(|rows| rows.holding(count)).map(|rows| format!("keep as many rows: --rows {rows}"));
        Err(Error::ArticlesCount { path: self.path.clone(), articles: count, rows: self.total, fit })
    }
}

/// One store to be built.
pub(crate) struct Job<'a> {
    pub(crate) target: &'a Path,
    pub(crate) format: &'static dyn Format,
    pub(crate) array: ArrayMeta,
    pub(crate) sources: Vec<Source<'a>>,
    pub(crate) articles: Option<ArticlesPart>,
    /// What distinguishes this job from any other on the same target.
    pub(crate) identity: Value,
    pub(crate) options: BuildOptions,
}

/// A published store.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) metadata: Fields,
    /// Size of all files of the store.
    pub(crate) bytes: u64,
    pub(crate) rows_resumed: u64,
}

/// What was measured while a store was filled.
pub(crate) struct Measured {
    pub(crate) landed: Landed,
    pub(crate) articles: Option<ArticlesWritten>,
    /// Of the bytes before the rows.
    pub(crate) header: Checksum,
}

/// Makes the metadata from what was measured.
pub(crate) type Describe<'a> = dyn Fn(&Measured) -> Result<Fields, Error> + 'a;

/// Refuses a target that is in the way, after completing a publication that was cut off.
pub(crate) fn check_target(job_target: &Path, format: &dyn Format, force: bool) -> Result<(), Error> {
    complete_publication(job_target)?;
    let files = format.store_files(job_target);
    let taken = [Some(&files.matrix), files.articles.as_ref(), files.metadata.as_ref()];
    for path in taken.into_iter().flatten().filter(|path| path.symlink_metadata().is_ok()) {
        let target = path.clone();
        if path.is_dir() {
            return Err(PartialError::Folder { target }.into());
        }
        if let Some(what) = precious(path) {
            return Err(Error::NotReplaceable { target, what });
        }
        if !force {
            return Err(PartialError::Exists { target }.into());
        }
    }
    Ok(())
}

/// What a file is, if it is the kind of thing that stores are made from: replacing it by mistake would lose it.
fn precious(path: &Path) -> Option<&'static str> {
    match detect(path).ok()?.locate(path, &LocateOptions::default()) {
        Ok(located) if located.kind == ArrayKind::Field => Some("a checkpoint"),
        Err(FormatError::Locate { source: LocateError::NoDict { .. }, .. }) => Some("a pickled list, perhaps articles"),
        _ => None,
    }
}

/// Refuses a target that would replace a file it is made from, with `--force` or without.
fn check_sources(job: &Job<'_>) -> Result<(), Error> {
    let files = job.format.store_files(job.target);
    let inputs = job.sources.iter().map(|source| source.path.as_path());
    let inputs: Vec<_> = inputs.chain(job.articles.iter().map(|part| part.path.as_path())).collect();
    let inputs: BTreeSet<_> = inputs.into_iter().filter_map(|path| path.canonicalize().ok()).collect();
    let targets = [Some(files.matrix), files.articles, files.metadata];
    let is_input = |path: &PathBuf| path.canonicalize().is_ok_and(|path| inputs.contains(&path));
    match targets.into_iter().flatten().find(is_input) {
        Some(target) => Err(Error::TargetIsSource { target }),
        None => Ok(()),
    }
}

/// Builds and publishes `job`.
///
/// What a second try could go on from is kept; a partial that this call made is removed where it failed for good.
pub(crate) fn build(job: &Job<'_>, describe: &Describe<'_>, observer: Observer<'_>) -> Result<Built, Error> {
    check_target(job.target, job.format, job.options.force)?;
    check_sources(job)?;
    check_space(job)?;
    let partial = Partial::open(job.target, job.options.restart)?;
    let is_new = partial.is_new;
    match fill(job, &partial, describe, observer) {
        Ok((metadata, rows_resumed)) => {
            let files = job.format.store_files(job.target);
            partial.publish(&files, job.options.settings.sync)?;
            let paths = [Some(files.matrix), files.articles, files.metadata];
            let bytes = paths.iter().flatten().filter_map(|path| fs::metadata(path).ok()).map(|file| file.len()).sum();
            Ok(Built { metadata, bytes, rows_resumed })
        }
        Err(error) => {
            if is_new && !can_go_on(&error) {
                partial.discard()?;
            }
            Err(error)
        }
    }
}

/// Whether the same command, run again, could use what has landed.
fn can_go_on(error: &Error) -> bool {
    matches!(error, Error::Copy(_) | Error::Journal(_) | Error::Partial(_))
}

fn fill(
    job: &Job<'_>,
    partial: &Partial,
    describe: &Describe<'_>,
    observer: Observer<'_>,
) -> Result<(Fields, u64), Error> {
    let settings = job.options.settings;
    let staged = staged_files(job, partial);
    let had_matrix = staged.matrix.exists();
    let (mut journal, mut landed) = Journal::open(partial.folder(), &job.identity, settings.sync)?;
    if had_matrix {
        // Pieces of a source that has changed since are copied again.
        landed.retain(|_, piece| job.sources.iter().any(|source| covers(source, piece.row, piece.source)));
    } else if !landed.is_empty() {
        landed.clear();
        journal.reset(&job.identity)?;
    }
    let target = job.format.create(&staged.matrix, job.array)?;
    let rows_resumed = landed.values().map(|piece| piece.rows).sum();

    observer.progress.begin(Phase::Copy, job.array.rows(), job.array.row_bytes());
    observer.progress.advance(rows_resumed);
    let mut written = Ok(None);
    let into = Destination { region: target.region(), landed: &landed, journal: &mut journal };
    let copied = copy(&job.sources, Some(into), settings, observer, || {
        written = write_articles(job, &*target);
        written.is_ok()
    });
    // Bad articles stop the copy; they are the reason to tell.
    let articles = written?;
    let header = Checksum::of_start(&staged.matrix, target.region().offset);
    let header = header.map_err(FormatError::io("read", &staged.matrix))?;
    let measured = Measured { landed: copied?, articles, header };

    observer.progress.begin(Phase::Sync, 0, 0);
    let metadata = describe(&measured)?;
    target.finish(&metadata, measured.articles.as_ref())?;
    read_back(job, &staged, &measured, &metadata)?;
    Ok((metadata, rows_resumed))
}

fn staged_files(job: &Job<'_>, partial: &Partial) -> StoreFiles {
    let name = job.target.file_name().unwrap_or(job.target.as_os_str());
    job.format.store_files(&partial.folder().join(name))
}

fn covers(source: &Source<'_>, row: u64, identity: Identity) -> bool {
    source.identity == identity && (source.store_row..source.store_row + source.rows).contains(&row)
}

/// Streams the articles into the target, all of them counted, those of the kept rows written.
fn write_articles(job: &Job<'_>, target: &dyn Target) -> Result<Option<ArticlesWritten>, Error> {
    let Some(part) = &job.articles else { return Ok(None) };
    let changed = || Error::ArticlesChanged { path: part.path.clone() };
    let identity = || -> Result<Identity, FormatError> {
        let file = File::open(&part.path).map_err(FormatError::io("open", &part.path))?;
        Identity::of(&file).map_err(FormatError::io("read", &part.path))
    };
    let before = identity()?;
    let mut sink = target.articles()?;
    let mut failed = None;
    let mut index = 0;
    let keep = part.skip..part.skip + job.array.rows();
    let count = articles::read(&part.path, &mut |article| {
        if keep.contains(&index)
            && let Err(error) = sink.push(article)
        {
            failed = Some(error);
            return ControlFlow::Break(());
        }
        index += 1;
        ControlFlow::Continue(())
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    let count = count?;
    if identity()? != before {
        return Err(changed());
    }
    part.check_count(count)?;
    Ok(Some(sink.finish()?))
}

/// Refuses before a byte is written what the disk cannot hold.
fn check_space(job: &Job<'_>) -> Result<(), Error> {
    let folder = job.target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(stat) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let name = job.target.file_name().unwrap_or(job.target.as_os_str());
    let staged = fs::metadata(partial_folder(job.target).join(name)).map_or(0, |file| file.blocks() * 512);
    let needed = job.array.payload_bytes().saturating_sub(staged);
    let available = stat.f_bavail.saturating_mul(stat.f_frsize);
    if needed > available {
        return Err(Error::NoSpace { folder: folder.to_path_buf(), needed, available });
    }
    Ok(())
}
