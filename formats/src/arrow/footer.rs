//! The footer of a file: its schema, its metadata, and where the record batches lie.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::{Endianness, MetadataVersion, root_as_footer};
use arrow_schema::Schema;

use super::batch::{self, Batch};
use super::{MAGIC, damaged};
use crate::error::FormatError;

/// Footer length and magic number.
const TAIL: u64 = 10;

/// An opened file whose footer and batch headers have been read.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) len: u64,
    pub(super) schema: Schema,
    /// Of the footer, then of the schema.
    pub(super) metadata: Vec<(String, String)>,
    /// Those that have rows.
    pub(super) batches: Vec<Batch>,
}

impl Table {
    /// Reads the footer, and of every batch the buffers of those columns that `wanted` chooses.
    pub(super) fn open(
        path: &Path,
        wanted: impl FnOnce(&Schema) -> Result<Vec<usize>, FormatError>,
    ) -> Result<Self, FormatError> {
        let file = File::open(path).map_err(FormatError::io("open", path))?;
        let len = file.metadata().map_err(FormatError::io("read", path))?.len();
        let read = |offset, len: u64| read_at(&file, path, offset, len);
        let no_end = || damaged(path, "does not end like an Arrow file");
        let tail = read(len.checked_sub(TAIL).ok_or_else(no_end)?, TAIL)?;
        let (size, magic) = tail.split_at(4);
        let size = u64::from(u32::from_le_bytes([size[0], size[1], size[2], size[3]]));
        let start = (len - TAIL).checked_sub(size).filter(|start| magic == MAGIC && *start >= 8).ok_or_else(no_end)?;
        let bytes = read(start, size)?;
        let footer = root_as_footer(&bytes).map_err(|error| damaged(path, format!("has a bad footer: {error}")))?;
        if footer.version() != MetadataVersion::V4 && footer.version() != MetadataVersion::V5 {
            return Err(damaged(path, format!("has metadata of an unknown version, {:?}", footer.version())));
        }
        let fb = footer.schema().ok_or_else(|| damaged(path, "has no schema"))?;
        if fb.endianness() != Endianness::Little {
            return Err(FormatError::NoRows {
                path: path.to_path_buf(),
                what: "its values are big-endian".into(),
                hint: "write it again on a little-endian machine".into(),
            });
        }
        let schema = try_fb_to_schema(fb).map_err(|error| damaged(path, format!("has a bad schema: {error}")))?;
        let pairs = footer.custom_metadata().into_iter().flatten();
        let mut metadata: Vec<(String, String)> =
            pairs.filter_map(|pair| Some((pair.key()?.into(), pair.value()?.into()))).collect();
        metadata.extend(schema.metadata().iter().map(|(key, value)| (key.clone(), value.clone())));
        let wanted = wanted(&schema)?;
        let mut batches = Vec::new();
        for (index, block) in footer.recordBatches().into_iter().flatten().enumerate() {
            let bad = |what: &str| damaged(path, format!("record batch {index} {what}"));
            let offset = u64::try_from(block.offset());
            let (header, body) = (u64::try_from(block.metaDataLength()), u64::try_from(block.bodyLength()));
            let (Ok(offset), Ok(header), Ok(body)) = (offset, header, body) else {
                return Err(bad("has a negative length"));
            };
            let end = offset.checked_add(header).and_then(|at| at.checked_add(body));
            if header < 8 || end.is_none_or(|end| end > start) {
                return Err(bad("reaches past the footer"));
            }
            let message = read(offset, header)?;
            let batch = batch::parse(&message, &schema, &wanted, footer.version(), offset + header, body);
            let batch = batch.map_err(|what| bad(&what))?;
            if batch.rows > 0 {
                batches.push(batch);
            }
        }
        Ok(Table { path: path.to_path_buf(), file, len, schema, metadata, batches })
    }

    /// Rows of all batches.
    pub(super) fn rows(&self) -> Result<u64, FormatError> {
        let sum = self.batches.iter().try_fold(0u64, |sum, batch| sum.checked_add(batch.rows));
        sum.ok_or_else(|| damaged(&self.path, "claims more rows than there are numbers"))
    }
}

/// Bytes that are known to lie within the file.
fn read_at(file: &File, path: &Path, offset: u64, len: u64) -> Result<Vec<u8>, FormatError> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, offset).map_err(FormatError::io("read", path))?;
    Ok(bytes)
}
