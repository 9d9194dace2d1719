//! Element types of a matrix, and the one table of their names.

use std::fmt;

/// An element type that becomes float32 on the way into a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE 754 binary16.
    Float16,
    /// The upper half of an IEEE 754 binary32 (`ml_dtypes.bfloat16` in Python).
    Bfloat16,
    /// IEEE 754 binary32, what a store holds.
    Float32,
    /// IEEE 754 binary64.
    Float64,
}

/// One row per type: name in messages and JSON, code in a numpy dtype, bytes per element.
const TABLE: [(Dtype, &str, &str, usize); 4] = [
    (Dtype::Float16, "float16", "f2", 2),
    (Dtype::Bfloat16, "bfloat16", "bfloat16", 2),
    (Dtype::Float32, "float32", "f4", 4),
    (Dtype::Float64, "float64", "f8", 8),
];

impl Dtype {
    fn row(self) -> &'static (Dtype, &'static str, &'static str, usize) {
        &TABLE[self as usize]
    }

    /// The name in messages and JSON, for example `float32`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The code in a numpy dtype without its byte order, for example `f4`.
    #[must_use]
    pub fn numpy_code(self) -> &'static str {
        self.row().2
    }

    /// Bytes per element.
    #[must_use]
    pub fn size(self) -> usize {
        self.row().3
    }

    /// The type of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Dtype> {
        TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// The type that a numpy dtype code such as `f4` means; `None` for one that no store takes.
    #[must_use]
    pub fn from_numpy_code(code: &str) -> Option<Dtype> {
        TABLE.iter().find(|row| row.2 == code).map(|row| row.0)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The order of the bytes within one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Least significant byte first (`<` in numpy).
    Little,
    /// Most significant byte first (`>` in numpy).
    Big,
}

/// The order of the elements in the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// Row after row (C).
    C,
    /// Column after column (Fortran).
    Fortran,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_indexed_by_the_type() {
        for row in TABLE {
            assert_eq!(row.0.row().1, row.1);
            assert_eq!(Dtype::from_numpy_code(row.2), Some(row.0));
        }
        assert_eq!(Dtype::from_numpy_code("i4"), None);
    }
}
