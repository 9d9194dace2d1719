//! The committer: journals pieces once they are on disk, many at a time.

use std::collections::BTreeSet;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use embstore_formats::{FormatError, Parts, Regions};

use crate::journal::{Journal, PieceRecord};

use super::CopyError;
use super::sync::sync_data;

/// Pieces land in the journal this often; what has been copied since is done again after a crash.
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);
/// Where files are still being written beside the store: to sync one of them waits for all on many file systems, so it is
/// done seldom.
const COMMIT_INTERVAL_BESIDE_WRITERS: Duration = Duration::from_secs(5);

/// Takes finished pieces until there are no more. One sync of the store serves all that came before it.
pub(super) fn commit(
    done: &Receiver<PieceRecord>,
    parts: Option<Parts<'_>>,
    journal: Option<&mut Journal>,
    sync: bool,
    beside_writers: bool,
) -> Result<Vec<PieceRecord>, CopyError> {
    let (Some(parts), Some(journal)) = (parts, journal) else { return Ok(done.iter().collect()) };
    // A chunk in a file of its own is written out at once, while others are still being encoded.
    let interval = match parts {
        Parts::Chunks(sink) if !sink.in_order() => Duration::ZERO,
        _ if beside_writers => COMMIT_INTERVAL_BESIDE_WRITERS,
        _ => COMMIT_INTERVAL,
    };
    let mut landed = Vec::new();
    let mut last = Instant::now();
    while let Ok(piece) = done.recv() {
        let first = landed.len();
        landed.push(piece);
        let deadline = last + interval;
        while let Ok(piece) = done.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            landed.push(piece);
        }
        if sync {
            match parts {
                Parts::Regions(regions) => sync_regions(regions, &landed[first..])?,
                Parts::Chunks(sink) => {
                    let chunks: BTreeSet<u64> =
                        landed[first..].iter().map(|piece| piece.row / sink.chunk_rows()).collect();
                    sink.sync(&chunks.into_iter().collect::<Vec<_>>())?;
                }
            }
        }
        journal.append_pieces(&landed[first..])?;
        last = Instant::now();
    }
    Ok(landed)
}

/// Waits until the regions that hold these pieces are on disk.
fn sync_regions(regions: &Regions, pieces: &[PieceRecord]) -> Result<(), FormatError> {
    let parts_of = |piece: &PieceRecord| regions.part_of(piece.row).0..=regions.part_of(piece.row + piece.rows - 1).0;
    let parts: BTreeSet<usize> = pieces.iter().flat_map(parts_of).collect();
    sync_data(&parts.into_iter().map(|part| regions.parts()[part].path.as_path()).collect::<Vec<_>>())
}
