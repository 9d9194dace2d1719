//! What a matrix is: shape, element type and order, with sizes that cannot overflow.

use crate::dtype::{ByteOrder, Dtype, Order};

/// A two-dimensional array: `rows` × `cols` elements of `dtype`.
///
/// Can only be had with a payload size that fits a `u64` (see [`ArrayMeta::new`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrayMeta {
    rows: u64,
    cols: u64,
    /// Element type.
    pub dtype: Dtype,
    /// Byte order within an element.
    pub byte_order: ByteOrder,
    /// Order of the elements.
    pub order: Order,
}

impl ArrayMeta {
    /// `None` where rows × cols × element size overflows 63 bits, the limit of a file offset.
    #[must_use]
    pub fn new(rows: u64, cols: u64, dtype: Dtype, byte_order: ByteOrder, order: Order) -> Option<Self> {
        let size = rows.checked_mul(cols)?.checked_mul(dtype.size() as u64)?;
        i64::try_from(size).ok()?;
        Some(ArrayMeta { rows, cols, dtype, byte_order, order })
    }

    /// A matrix as stores hold it: float32, little-endian, row after row.
    #[must_use]
    pub fn stored(rows: u64, cols: u64) -> Option<Self> {
        Self::new(rows, cols, Dtype::Float32, ByteOrder::Little, Order::C)
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Number of columns.
    #[must_use]
    pub fn cols(&self) -> u64 {
        self.cols
    }

    /// Bytes of one row.
    #[must_use]
    pub fn row_bytes(&self) -> u64 {
        self.cols * self.dtype.size() as u64
    }

    /// Bytes of the whole payload.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        self.rows * self.row_bytes()
    }

    /// Whether the payload is byte for byte what a store holds.
    #[must_use]
    pub fn is_stored_form(&self) -> bool {
        self.dtype == Dtype::Float32 && self.byte_order == ByteOrder::Little && self.order == Order::C
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overflowing_shape_is_refused() {
        assert!(ArrayMeta::stored(1 << 62, 4).is_none());
        assert!(ArrayMeta::stored(1 << 61, 1).is_none(), "2^63 bytes are past the largest file offset");
        assert_eq!(ArrayMeta::stored(3, 5).map(|m| m.payload_bytes()), Some(60));
    }
}
