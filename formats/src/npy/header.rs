//! The header: a Python dict literal with three keys.

use std::io::{self, Read};

use crate::array::ArrayMeta;
use crate::dtype::{ByteOrder, Dtype, Order};

use super::MAGIC;

/// Bytes before the payload in a store: one page, so that a mapped payload is page-aligned, and less than the 10,000
/// at which `numpy.load` becomes suspicious.
pub(super) const STORE_HEADER: u64 = 4096;

/// Longest header that is read; numpy's own limit.
const HEADER_LIMIT: u64 = 10_000;

/// What can be wrong with a `.npy` file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NpyError {
    /// The file ends inside its header.
    #[error("the file ends at byte {len}, inside its header")]
    Truncated {
        /// Length of the file.
        len: u64,
    },
    /// Other bytes than those of `.npy` data.
    #[error("does not begin with \\x93NUMPY")]
    Magic,
    /// A version that numpy does not write.
    #[error("version {major}.{minor} at byte 6 is not one of 1.0, 2.0 and 3.0")]
    Version {
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
    },
    /// The header is longer than numpy allows.
    #[error("the header at byte 8 claims {len} bytes, more than {HEADER_LIMIT}")]
    HeaderLength {
        /// Claimed length in bytes.
        len: u64,
    },
    /// The header is no dict of `descr`, `fortran_order` and `shape`.
    #[error("cannot read {field:?} in the header {header:?}")]
    Header {
        /// The key that is missing or malformed.
        field: &'static str,
        /// The header as it stands.
        header: String,
    },
    /// An element type that no store takes.
    #[error("the elements are {descr:?}, not float16, bfloat16, float32 or float64")]
    Dtype {
        /// The type as numpy writes it.
        descr: String,
    },
    /// Not a matrix.
    #[error("the shape is ({}), not two-dimensional", dims(shape))]
    Shape {
        /// The shape.
        shape: Vec<u64>,
    },
    /// Shape times item size is past any file.
    #[error("the shape ({}) is larger than any file", dims(shape))]
    TooLarge {
        /// The shape.
        shape: Vec<u64>,
    },
    /// The operating system refused to read.
    #[error("{0}")]
    Read(#[from] io::Error),
}

fn dims(shape: &[u64]) -> String {
    shape.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

impl NpyError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            NpyError::Dtype { .. } => "convert it in Python: np.save(path, a.astype(np.float32))".into(),
            NpyError::Shape { .. } => "give one row an item: np.save(path, a.reshape(len(a), -1))".into(),
            _ => "the file is damaged: fetch it again, or save it again with np.save".into(),
        }
    }
}

/// A parsed header.
#[derive(Debug)]
pub(crate) struct Header {
    /// Element type as numpy writes it, for example `<f4`.
    pub(crate) descr: String,
    fortran_order: bool,
    pub(crate) shape: Vec<u64>,
    /// Bytes before the payload.
    pub(crate) payload: u64,
}

/// Reads the header of the `.npy` data that `source` begins with, of which there are `len` bytes.
pub(crate) fn read(source: &mut dyn Read, len: u64) -> Result<Header, NpyError> {
    let mut fill = |bytes: &mut [u8]| {
        source.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => NpyError::Truncated { len },
            _ => NpyError::Read(error),
        })
    };
    let mut start = [0; 10];
    fill(&mut start)?;
    if !start.starts_with(MAGIC) {
        return Err(NpyError::Magic);
    }
    let (major, minor) = (start[6], start[7]);
    let (at, header_len) = match (major, minor) {
        (1, 0) => (10, u64::from(u16::from_le_bytes([start[8], start[9]]))),
        (2 | 3, 0) => {
            let mut upper = [0; 2];
            fill(&mut upper)?;
            (12, u64::from(u32::from_le_bytes([start[8], start[9], upper[0], upper[1]])))
        }
        _ => return Err(NpyError::Version { major, minor }),
    };
    if header_len > HEADER_LIMIT {
        return Err(NpyError::HeaderLength { len: header_len });
    }
    if at + header_len > len {
        return Err(NpyError::Truncated { len });
    }
    let mut bytes = vec![0; header_len as usize];
    fill(&mut bytes)?;
    parse(&String::from_utf8_lossy(&bytes), at + header_len)
}

/// Reads the three keys of the literal. A structured `descr` is a list and fails as an element type later.
fn parse(text: &str, payload: u64) -> Result<Header, NpyError> {
    let bad = |field| NpyError::Header { field, header: text.trim().into() };
    let value = |field: &'static str| {
        let (_, rest) = text.split_once(&format!("'{field}':")).ok_or_else(|| bad(field))?;
        Ok::<_, NpyError>(rest.trim_start())
    };
    let descr = value("descr")?;
    let descr = match descr.strip_prefix('\'').and_then(|rest| rest.split_once('\'')) {
        Some((descr, _)) => descr,
        None => descr.split(", 'fortran_order'").next().unwrap_or(descr),
    };
    let fortran_order = value("fortran_order")?;
    let fortran_order = match () {
        () if fortran_order.starts_with("True") => true,
        () if fortran_order.starts_with("False") => false,
        () => return Err(bad("fortran_order")),
    };
    let shape = value("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or_else(|| bad("shape"))?.0;
    let shape = shape
        .split(',')
        .map(|dim| dim.trim().trim_end_matches('L'))
        .filter(|dim| !dim.is_empty())
        .map(|dim| dim.parse().map_err(|_| bad("shape")))
        .collect::<Result<Vec<u64>, _>>()?;
    Ok(Header { descr: descr.into(), fortran_order, shape, payload })
}

impl Header {
    /// The array, if stores can take it.
    pub(crate) fn array(&self) -> Result<ArrayMeta, NpyError> {
        let unusable = || NpyError::Dtype { descr: self.descr.clone() };
        let (byte_order, code) = match self.descr.split_at_checked(1) {
            Some(("<", code)) => (ByteOrder::Little, code),
            Some((">", code)) => (ByteOrder::Big, code),
            _ => return Err(unusable()),
        };
        let dtype = Dtype::from_numpy_code(code).ok_or_else(unusable)?;
        let &[rows, cols] = self.shape.as_slice() else { return Err(NpyError::Shape { shape: self.shape.clone() }) };
        let order = if self.fortran_order { Order::Fortran } else { Order::C };
        ArrayMeta::new(rows, cols, dtype, byte_order, order)
            .ok_or_else(|| NpyError::TooLarge { shape: self.shape.clone() })
    }
}

/// The first [`STORE_HEADER`] bytes of a store.
pub(super) fn store_header(array: &ArrayMeta) -> Vec<u8> {
    let (rows, cols) = (array.rows(), array.cols());
    let code = array.dtype.numpy_code();
    let dict = format!("{{'descr': '<{code}', 'fortran_order': False, 'shape': ({rows}, {cols}), }}");
    let mut bytes = [MAGIC, &[1, 0], &(STORE_HEADER as u16 - 10).to_le_bytes(), dict.as_bytes()].concat();
    bytes.resize(STORE_HEADER as usize - 1, b' ');
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(text: &str) -> Result<ArrayMeta, NpyError> {
        parse(text, 128)?.array()
    }

    #[test]
    fn headers_of_numpy() {
        let c = array("{'descr': '<f4', 'fortran_order': False, 'shape': (250000, 768), }  \n").expect("valid");
        assert!(c.is_stored_form() && (c.rows(), c.cols()) == (250_000, 768));
        let f = array("{'descr': '>f8', 'fortran_order': True, 'shape': (3L, 2L), }\n").expect("valid");
        assert_eq!((f.order, f.byte_order, f.dtype), (Order::Fortran, ByteOrder::Big, Dtype::Float64));
    }

    #[test]
    fn what_is_no_matrix_of_floats_is_refused_by_name() {
        let descr = |text| array(text).map_err(|e| e.to_string()).expect_err("refused");
        assert!(descr("{'descr': '<i8', 'fortran_order': False, 'shape': (3, 4), }").contains("<i8"));
        assert!(descr("{'descr': '|O', 'fortran_order': False, 'shape': (), }").contains("|O"));
        assert!(descr("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 4), }").contains("('a', '<f4')"));
        assert!(descr("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }").contains("(3)"));
        assert!(descr("{'descr': '<f4', 'fortran_order': 0, 'shape': (3,), }").contains("fortran_order"));
        let huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }";
        assert!(descr(huge).contains("larger than any file"));
    }

    #[test]
    fn the_header_of_a_store_is_one_page() {
        let bytes = store_header(&ArrayMeta::stored(u64::MAX / 16, 1).expect("fits"));
        assert_eq!(bytes.len() as u64, STORE_HEADER);
        assert_eq!(bytes.last(), Some(&b'\n'));
    }
}
