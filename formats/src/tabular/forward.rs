//! Rows that lie one behind another and are decoded forward, group by group.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::Groups;
use crate::array::ArrayMeta;
use crate::error::FormatError;
use crate::rows::{BlockDecoder, BlockRows};

/// Opens groups of rows.
pub(crate) trait ForwardSource: fmt::Debug + Send + Sync {
    /// Group number `group`, which has the rows `rows`, at its first row.
    fn open(&self, group: usize, rows: Range<u64>) -> Result<Box<dyn ForwardGroup>, FormatError>;
}

/// A group of rows that is read forward.
pub(crate) trait ForwardGroup: Send {
    /// Leaves out rows, which need not be checked.
    fn skip(&mut self, rows: u64) -> Result<(), FormatError>;
    /// Appends the bytes of so many rows.
    fn read(&mut self, rows: u64, bytes: &mut Vec<u8>) -> Result<(), FormatError>;
}

/// Rows of lists. A decoder holds one block, and whatever its source says.
#[derive(Debug)]
pub(crate) struct ForwardRows(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    array: ArrayMeta,
    groups: Groups,
    source: Box<dyn ForwardSource>,
}

impl ForwardRows {
    pub(crate) fn new(array: ArrayMeta, groups: Groups, source: Box<dyn ForwardSource>) -> Self {
        ForwardRows(Arc::new(Inner { array, groups, source }))
    }
}

impl BlockRows for ForwardRows {
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
        Ok(Box::new(Decoder { rows: Arc::clone(&self.0), open: None }))
    }
}

struct Decoder {
    rows: Arc<Inner>,
    open: Option<Open>,
}

struct Open {
    group: usize,
    next: u64,
    reader: Box<dyn ForwardGroup>,
}

impl BlockDecoder for Decoder {
    fn decode(&mut self, _block: usize, rows: Range<u64>, bytes: &mut Vec<u8>) -> Result<(), FormatError> {
        let (group, of) = self.rows.groups.group_of(rows.start);
        let mut open = match self.open.take() {
            Some(open) if open.group == group && open.next <= rows.start => open,
            _ => Open { group, next: of.start, reader: self.rows.source.open(group, of)? },
        };
        if open.next < rows.start {
            open.reader.skip(rows.start - open.next)?;
        }
        bytes.clear();
        open.reader.read(rows.end - rows.start, bytes)?;
        open.next = rows.end;
        self.open = Some(open);
        Ok(())
    }
}
