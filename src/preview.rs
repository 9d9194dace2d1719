//! A checkpoint that is still on its way, planned from the first and last bytes of its file.
//!
//! A *preview* is a sparse file of the full size in which those bytes alone are filled in. Locating rows reads what lies
//! around the payload and steps over the payload itself. So where all bytes that are absent belong to the payload, the
//! preview tells the same as the complete file. Why that is so, by format; no other can be located in an open file:
//!
//! - `.npy`: the header is read, and the payload is everything behind it.
//! - safetensors: the header is read, and tensors of one element. No tensor overlaps another, nor the header.
//! - pickles from protocol 3 on: the length of a payload stands before it, and it is stepped over as one argument. The
//!   payloads of older ones are decoded, not raw.
//!
//! A file is recognised by its first [`Probe::HEAD`] bytes, so these must be there too.
//!
//! The sender may exchange a file between its preview and its arrival, within the second that its time is told in.
//! Therefore a file that has landed is located again before a row of it is read, and must be what was planned.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use embstore_formats::{ArrayKind, FormatError, LocateOptions, Payload, Probe, Regions, detect_file};

use crate::checkpoint::{Checkpoint, Sighting};
use crate::identity::Identity;

impl Checkpoint {
    /// What [`Checkpoint::open`] will find at `path` once the file has landed there with this identity, by a `preview`
    /// of it that lacks the bytes `absent`. Nothing is opened at `path`.
    ///
    /// `None` where the preview does not tell: where absent bytes are not all of the payload, where the rows are encoded,
    /// and where the file looks like no checkpoint. Only the complete file can say what is wrong with it.
    #[must_use]
    pub fn preview(
        preview: &File,
        absent: Range<u64>,
        path: &Path,
        identity: Identity,
        options: &LocateOptions,
    ) -> Option<Self> {
        let is_sized = preview.metadata().is_ok_and(|metadata| metadata.len() == identity.size);
        if !is_sized || (!absent.is_empty() && absent.start < Probe::HEAD) {
            return None;
        }
        let located = detect_file(preview, path).ok()?.locate_file(preview, path, options).ok()?;
        let Payload::Raw(regions) = &located.payload else { return None };
        // Whether a store is meant is for those to decide who look for checkpoints in a folder.
        if !cover(regions, &absent) || matches!(located.kind, ArrayKind::Store { .. }) {
            return None;
        }
        Self::of(path, Sighting { identity, key: options.key.clone(), located }, None).ok()
    }

    /// Whether the file at its path, which has landed by now, is what its preview told.
    ///
    /// # Errors
    /// Where it is not there.
    pub(crate) fn has_come_true(&self) -> Result<bool, FormatError> {
        if Identity::at(&self.path)? != self.identity {
            return Ok(false);
        }
        let options = LocateOptions { key: self.key.clone(), ..LocateOptions::default() };
        Ok(Self::open(&self.path, &options).is_ok_and(|found| found.is_same(self)))
    }

    /// Whether two raw checkpoints agree in everything.
    fn is_same(&self, other: &Self) -> bool {
        let raw = |checkpoint: &Self| match &checkpoint.payload {
            Payload::Raw(regions) if regions.spool().is_none() => Some(regions.parts().to_vec()),
            _ => None,
        };
        let Checkpoint { path, identity, array, payload: _, range, cluster_id, gpu_id, key, fields, notes } = self;
        raw(self).is_some_and(|regions| raw(other) == Some(regions))
            && (path, identity, array, range) == (&other.path, &other.identity, &other.array, &other.range)
            && (cluster_id, gpu_id, key) == (&other.cluster_id, &other.gpu_id, &other.key)
            && (fields, notes) == (&other.fields, &other.notes)
    }
}

/// Whether one of the regions holds all these bytes.
fn cover(regions: &Regions, bytes: &Range<u64>) -> bool {
    let holds = |offset: u64, len: u64| offset <= bytes.start && bytes.end <= offset + len;
    bytes.is_empty() || regions.parts().iter().any(|part| holds(part.offset, part.array.payload_bytes()))
}
