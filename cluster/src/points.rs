//! The points: a row-major view of finite values.

use crate::error::Error;

/// Row numbers are 32 bits wide, and so are the numbers of clusters above them.
pub(crate) const MAX_ROWS: usize = 1 << 30;
/// Far beyond this, no bound on the rounding of a sum in `f32` holds.
pub(crate) const MAX_DIMS: usize = 1 << 20;

/// Points in `dims` dimensions, row after row. All values are finite, or there is no such view.
#[derive(Clone, Copy, Debug)]
pub struct Points<'a> {
    values: &'a [f32],
    dims: usize,
}

impl<'a> Points<'a> {
    /// Views `values`, of shape `[values.len() / dims, dims]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the values are not whole rows, [`Error::TooLarge`] where there are too many, and
    /// [`Error::NonFinite`] with the first row that holds a NaN or an infinity.
    pub fn new(values: &'a [f32], dims: usize) -> Result<Self, Error> {
        if dims == 0 || !values.len().is_multiple_of(dims) {
            return Err(Error::Shape { values: values.len(), dims });
        }
        let rows = values.len() / dims;
        if rows > MAX_ROWS || dims > MAX_DIMS {
            return Err(Error::TooLarge { rows, dims });
        }
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(Error::NonFinite { row: at / dims, column: at % dims, value: values[at] }),
            None => Ok(Points { values, dims }),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.dims
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many values each has.
    #[must_use]
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// The values of one.
    ///
    /// # Panics
    ///
    /// Where there is no such row.
    #[must_use]
    pub fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.dims..(row + 1) * self.dims]
    }

    /// All values.
    pub(crate) fn values(&self) -> &'a [f32] {
        self.values
    }
}
