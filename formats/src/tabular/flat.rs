//! Rows from columns of floats.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{Columns, Groups};
use crate::array::ArrayMeta;
use crate::error::FormatError;
use crate::rows::{BlockDecoder, BlockRows};

/// Decodes the columns of one group of rows.
pub(crate) trait ColumnSource: fmt::Debug + Send + Sync {
    /// All columns of group number `group`, which has the rows `rows`.
    fn columns(&self, group: usize, rows: Range<u64>) -> Result<Columns, FormatError>;
}

/// Rows whose elements lie in a column each. Memory: see [`Columns`]; threads at work on one group share it.
#[derive(Debug)]
pub(crate) struct FlatRows(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    array: ArrayMeta,
    groups: Groups,
    source: Box<dyn ColumnSource>,
    /// What some decoder holds. Whoever comes first decodes a group, the others wait for it.
    decoded: Vec<Mutex<Weak<Columns>>>,
}

impl FlatRows {
    pub(crate) fn new(path: PathBuf, array: ArrayMeta, groups: Groups, source: Box<dyn ColumnSource>) -> Self {
        let decoded = groups.starts.iter().map(|_| Mutex::default()).collect();
        FlatRows(Arc::new(Inner { path, array, groups, source, decoded }))
    }
}

impl BlockRows for FlatRows {
    fn array(&self) -> &ArrayMeta {
        &self.0.array
    }

    fn blocks(&self) -> &[u64] {
        &self.0.groups.blocks
    }

    fn runs(&self) -> &[u64] {
        &self.0.groups.starts
    }

    fn decoder(&self) -> Result<Box<dyn BlockDecoder>, FormatError> {
        Ok(Box::new(Decoder { rows: Arc::clone(&self.0), current: None, strips: Vec::new() }))
    }
}

struct Decoder {
    rows: Arc<Inner>,
    current: Option<(usize, Arc<Columns>)>,
    strips: Vec<u8>,
}

impl Inner {
    fn columns(&self, group: usize, rows: Range<u64>) -> Result<Arc<Columns>, FormatError> {
        let mut decoded = self.decoded[group].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(columns) = decoded.upgrade() {
            return Ok(columns);
        }
        let columns = Arc::new(self.source.columns(group, rows)?);
        *decoded = Arc::downgrade(&columns);
        Ok(columns)
    }
}

impl BlockDecoder for Decoder {
    fn decode(&mut self, _block: usize, rows: Range<u64>, bytes: &mut Vec<u8>) -> Result<(), FormatError> {
        let inner = &self.rows;
        let (group, of) = inner.groups.group_of(rows.start);
        let columns = match self.current.take() {
            Some((current, columns)) if current == group => columns,
            // The group before is let go first.
            _ => inner.columns(group, of.clone())?,
        };
        let count = (rows.end - rows.start) as usize;
        columns
            .gather(rows.start - of.start, count, inner.array.dtype.size(), &mut self.strips, bytes)
            .map_err(FormatError::io("read", &inner.path))?;
        self.current = Some((group, columns));
        Ok(())
    }
}
