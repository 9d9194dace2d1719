//! The last look before a store is published: what was written is opened again, as a reader would.

use std::fs::File;

use embstore_formats::articles::parquet_count;
use embstore_formats::{ArrayKind, Checksum, Fields, FormatError, LocateOptions, StoreFiles};
use serde_json::Value;

use crate::error::Error;
use crate::job::{Job, Measured};
use crate::journal::{Landed, PieceRecord};

/// How many pieces are read again, spread from the first to the last.
const SAMPLES: usize = 4;

/// Shape, counts, metadata and sample rows must agree with what was meant to be written.
pub(crate) fn read_back(
    job: &Job<'_>,
    staged: &StoreFiles,
    measured: &Measured,
    metadata: &Fields,
) -> Result<(), Error> {
    let path = &staged.matrix;
    let differs = |what: String| Error::ReadBack { path: path.clone(), what };
    let located = job.format.locate(path, &LocateOptions::default())?;
    if located.array != job.array {
        return Err(differs(format!("{:?} in place of {:?}", located.array, job.array)));
    }
    let written = measured.articles.map_or(0, |articles| articles.count);
    let count = match (located.kind, &staged.articles) {
        (ArrayKind::Store { articles }, _) => articles,
        (_, Some(file)) if measured.articles.is_some() => parquet_count(file)?,
        _ => 0,
    };
    if count != written {
        return Err(differs(format!("{count} articles in place of {written}")));
    }
    match (located.kind, &staged.metadata) {
        (ArrayKind::Store { .. }, _) if located.fields != *metadata => {
            return Err(differs("other metadata".into()));
        }
        (ArrayKind::Store { .. }, _) => {}
        (_, Some(file)) => {
            let text = std::fs::read(file).map_err(FormatError::io("read", file))?;
            if serde_json::from_slice::<Value>(&text).ok().as_ref().and_then(Value::as_object) != Some(metadata) {
                return Err(differs("other metadata".into()));
            }
        }
        (kind, None) => return Err(differs(format!("{kind:?} in place of a store"))),
    }
    let file = File::open(path).map_err(FormatError::io("open", path))?;
    let mut reader = located.payload.reader(file, path)?;
    let mut block = Vec::new();
    for piece in samples(&measured.landed) {
        block.resize((piece.rows * job.array.cols()) as usize, 0.0);
        reader.read(piece.row, &mut block, &mut Vec::new())?;
        if Checksum::of(bytemuck::cast_slice(&block)) != piece.checksum() {
            return Err(differs(format!("other rows {}..{}", piece.row, piece.row + piece.rows)));
        }
    }
    Ok(())
}

fn samples(landed: &Landed) -> impl Iterator<Item = &PieceRecord> {
    let step = (landed.len().saturating_sub(1) / (SAMPLES - 1)).max(1);
    let last = landed.len().saturating_sub(1);
    landed.values().enumerate().filter(move |(index, _)| index.is_multiple_of(step) || *index == last).map(|(_, p)| p)
}
