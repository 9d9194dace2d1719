//! A store is built: staged, filled, finished, read back, published. Merge and export are this, from other sources.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use embstore_formats::articles::{self, ArticlesWritten};
use embstore_formats::{Fields, Parts, Payload, Regions, StoreFiles, Target};

use crate::copy::{Landing, Source, copy};
use crate::error::Error;
use crate::identity::Identity;
use crate::job::{Job, Measured};
use crate::journal::{Journal, Landed, PieceRecord};
use crate::partial::{Partial, folder_of};
use crate::preflight::check;
use crate::progress::{Observer, Phase};
use crate::read_back::read_back;

/// A published store.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) metadata: Fields,
    /// Size of all files of the store.
    pub(crate) bytes: u64,
    pub(crate) rows_resumed: u64,
}

impl Built {
    /// A store that stands as it should, so that nothing had to be done.
    pub(crate) fn standing(files: &StoreFiles, metadata: &Fields) -> Self {
        let bytes = files.all().map(|path| bytes_at(path)).sum();
        Built { metadata: metadata.clone(), bytes, rows_resumed: 0 }
    }
}

/// Makes the metadata from what was measured.
pub(crate) type Describe<'a> = dyn Fn(&Measured) -> Result<Fields, Error> + 'a;

/// Builds and publishes `job`.
///
/// What a second try could go on from is kept; a partial that this call made is removed where it failed for good.
pub(crate) fn build(job: &Job<'_>, describe: &Describe<'_>, observer: Observer<'_>) -> Result<Built, Error> {
    check(job)?;
    let partial = Partial::open(job.target, job.options.restart)?;
    let is_new = partial.is_new;
    match fill(job, &partial, describe, observer) {
        Ok((metadata, rows_resumed)) => {
            let files = job.format.store_files(job.target);
            partial.publish(&files, job.options.settings.sync)?;
            let bytes = files.all().map(|path| bytes_at(path)).sum();
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
    let target = job.format.create(&staged.matrix, job.array, &job.options.layout)?;
    let parts = target.parts();
    if !landed.is_empty() {
        keep_intact(&mut landed, parts, &staged, job, observer)?;
        if landed.is_empty() {
            journal.reset(&job.identity)?;
        }
    }
    let rows_resumed = landed.values().map(|piece| piece.rows).sum();

    let mut written = Ok(None);
    if target.wants_articles_first() && job.articles.is_some() {
        observer.progress.begin(Phase::Articles, 0, 0);
        written = Ok(write_articles(job, &*target, observer)?);
    }
    observer.progress.begin(Phase::Copy, job.array.rows(), job.array.row_bytes());
    observer.progress.advance(rows_resumed);
    let into = Landing { parts, landed: &landed, journal: &mut journal };
    let copied = copy(&job.sources, Some(into), job.awaited, settings, observer, || {
        if !target.wants_articles_first() {
            written = write_articles(job, &*target, observer);
        }
        written.is_ok()
    });
    // Bad articles stop the copy; they are the reason to tell.
    let articles = written?;
    let measured = Measured { landed: copied?, articles, header: target.header()? };

    observer.progress.begin(Phase::Sync, 0, 0);
    let metadata = describe(&measured)?;
    target.finish(&metadata, measured.articles.as_ref())?;
    read_back(job, &staged, &measured, &metadata)?;
    Ok((metadata, rows_resumed))
}

/// Reads again what an earlier run has left: a piece that is not what its checksum says does not count. It may have been
/// damaged since, or never have reached the disk where syncs were off and the power failed.
fn keep_intact(
    landed: &mut Landed,
    parts: Parts<'_>,
    staged: &StoreFiles,
    job: &Job<'_>,
    observer: Observer<'_>,
) -> Result<(), Error> {
    let payload = match parts {
        Parts::Regions(regions) => Some(Payload::Raw(regions.clone())),
        Parts::Chunks(sink) => sink.staged(),
    };
    let Some(payload) = payload else {
        landed.clear();
        return Ok(());
    };
    let path = &staged.matrix;
    let identity = Identity::at(path)?;
    if let Parts::Regions(regions) = parts {
        landed.retain(|_, piece| is_within_files(piece, regions));
    }
    let piece_of = |piece: &PieceRecord| Source {
        path: path.clone(),
        identity,
        payload: &payload,
        first: piece.row,
        rows: piece.rows,
        store_row: piece.row,
        in_kernel: false,
    };
    let pieces: Vec<Source<'_>> = landed.values().map(piece_of).collect();
    observer.progress.begin(Phase::Verify, pieces.iter().map(|piece| piece.rows).sum(), job.array.row_bytes());
    let found = copy(&pieces, None, None, job.options.settings, observer, || true)?;
    landed.retain(|row, piece| found.get(row).is_some_and(|found| found.checksum() == piece.checksum()));
    Ok(())
}

/// Whether the files are long enough for the rows of a piece: where blocks could not be allocated, they may not be.
fn is_within_files(piece: &PieceRecord, regions: &Regions) -> bool {
    let (first, last) = (regions.part_of(piece.row).0, regions.part_of(piece.row + piece.rows - 1).0);
    regions.parts()[first..=last].iter().all(|part| {
        let (_, start) = regions.part_of(piece.row);
        let rows = (piece.row + piece.rows - start).min(part.array.rows());
        fs::metadata(&part.path).is_ok_and(|file| file.len() >= part.offset + rows * part.array.row_bytes())
    })
}

/// Size of a file, or of everything in a folder.
fn bytes_at(path: &Path) -> u64 {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().map(|entry| bytes_at(&entry.path())).sum(),
        Err(_) => fs::metadata(path).map_or(0, |file| file.len()),
    }
}

fn staged_files(job: &Job<'_>, partial: &Partial) -> StoreFiles {
    let name = job.target.file_name().unwrap_or(job.target.as_os_str());
    job.format.store_files(&partial.folder().join(name))
}

fn covers(source: &Source<'_>, row: u64, identity: Identity) -> bool {
    source.identity == identity && (source.store_row..source.store_row + source.rows).contains(&row)
}

/// Streams the articles into the target, all of them counted, those of the kept rows written.
fn write_articles(
    job: &Job<'_>,
    target: &dyn Target,
    observer: Observer<'_>,
) -> Result<Option<ArticlesWritten>, Error> {
    let Some(part) = &job.articles else { return Ok(None) };
    let before = Identity::at(&part.path)?;
    let mut sink = target.articles()?;
    let mut failed = None;
    let mut index = 0;
    let keep = part.skip..part.skip + job.array.rows();
    let count = articles::read(&part.path, folder_of(job.target), &mut |article| {
        if observer.cancel.is_cancelled() {
            return ControlFlow::Break(());
        }
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
    if observer.cancel.is_cancelled() {
        return Ok(None);
    }
    if Identity::at(&part.path)? != before {
        return Err(Error::ArticlesChanged { path: part.path.clone() });
    }
    part.check_count(count)?;
    Ok(Some(sink.finish()?))
}
