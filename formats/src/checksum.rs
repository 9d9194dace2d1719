//! Checksums that can be measured in pieces, by any thread, and put together afterwards.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crc_fast::{CrcAlgorithm, Digest, checksum};

use crate::error::FormatError;
use crate::region::{Region, Regions};

const ALGORITHM: CrcAlgorithm = CrcAlgorithm::Crc64Nvme;
const PREFIX: &str = "crc64nvme:";

/// CRC-64/NVME of a run of bytes (the one that object stores compute), with its length.
///
/// Written as `crc64nvme:` and 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Checksum {
    crc: u64,
    len: u64,
}

impl Checksum {
    /// The checksum of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Checksum { crc: checksum(ALGORITHM, bytes), len: bytes.len() as u64 }
    }

    /// The checksum of a whole file.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        Self::of_start(path, u64::MAX)
    }

    /// The checksum of the first `len` bytes of a file, or of all if it has less.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn of_start(path: &Path, len: u64) -> io::Result<Self> {
        let mut file = File::open(path)?.take(len);
        let (mut block, mut hasher) = (vec![0; 1 << 16], Hasher::default());
        loop {
            match file.read(&mut block)? {
                0 => return Ok(hasher.checksum()),
                read => hasher.update(&block[..read]),
            }
        }
    }

    /// The checksum of the bytes before the rows of a matrix in one region; `None` for one in several.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn of_header(regions: &Regions) -> Result<Option<Self>, FormatError> {
        let header = |region: &Region| {
            Self::of_start(&region.path, region.offset).map_err(FormatError::io("read", &region.path))
        };
        regions.single().map(header).transpose()
    }

    /// The checksum of this run followed directly by `next`.
    #[must_use]
    pub fn then(self, next: Checksum) -> Self {
        match (self.len, next.len) {
            (0, _) => next,
            (_, 0) => self,
            _ => Checksum { crc: multiply(power_of_x(8 * next.len), self.crc) ^ next.crc, len: self.len + next.len },
        }
    }

    /// A checksum read back from its text and length.
    #[must_use]
    pub fn parse(text: &str, len: u64) -> Option<Self> {
        let crc = u64::from_str_radix(text.strip_prefix(PREFIX)?, 16).ok()?;
        Some(Checksum { crc, len })
    }

    /// The number of bytes that were measured.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no byte was measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bare value.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.crc
    }
}

// Putting two CRCs together (Mark Adler, zlib's crc32_combine): crc(AB) = crc(A) · x^(8·len(B)) + crc(B) modulo the
// polynomial. The CRC crate does this with 64 × 64 bit matrices, which takes 0.2 ms a time; this takes microseconds.

/// CRC-64/NVME's polynomial, lowest power in the highest bit as all values here.
const POLYNOMIAL: u64 = 0x9a6c_9329_ac4b_c9b5;
/// x^(2^k) modulo the polynomial.
const SQUARES: [u64; 64] = {
    let mut squares = [1 << 62; 64];
    let mut k = 1;
    while k < 64 {
        squares[k] = multiply(squares[k - 1], squares[k - 1]);
        k += 1;
    }
    squares
};

/// a · b modulo the polynomial.
const fn multiply(a: u64, mut b: u64) -> u64 {
    let (mut product, mut bit) = (0, 1 << 63);
    while bit != 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = if b & 1 != 0 { (b >> 1) ^ POLYNOMIAL } else { b >> 1 };
        bit >>= 1;
    }
    product
}

/// x^n modulo the polynomial.
fn power_of_x(n: u64) -> u64 {
    let bits = (0..64).filter(|k| n >> k & 1 != 0);
    bits.fold(1 << 63, |power, k| multiply(SQUARES[k], power))
}

/// Measures bytes as they come.
#[derive(Clone, Debug)]
pub struct Hasher {
    digest: Digest,
    len: u64,
}

impl Default for Hasher {
    fn default() -> Self {
        Hasher { digest: Digest::new(ALGORITHM), len: 0 }
    }
}

impl Hasher {
    /// Measures the bytes that follow.
    pub fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.len += bytes.len() as u64;
    }

    /// Bytes measured so far.
    #[must_use]
    pub fn measured(&self) -> u64 {
        self.len
    }

    /// The checksum of all bytes so far.
    #[must_use]
    pub fn checksum(&self) -> Checksum {
        if self.len == 0 { Checksum::default() } else { Checksum { crc: self.digest.finalize(), len: self.len } }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{:016x}", self.crc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(Checksum::of(b"123456789").to_string(), "crc64nvme:ae8b14860a799888");
    }

    #[test]
    fn pieces_add_up() {
        let bytes: Vec<u8> = (0..10_000u32).map(|i| (i * 7 % 251) as u8).collect();
        let whole = Checksum::of(&bytes);
        for cut in [0, 1, 4095, 9_999, 10_000] {
            let library = crc_fast::checksum_combine(
                ALGORITHM,
                Checksum::of(&bytes[..cut]).value(),
                Checksum::of(&bytes[cut..]).value(),
                (bytes.len() - cut) as u64,
            );
            assert_eq!(library, whole.value(), "cut at {cut}");
            assert_eq!(Checksum::of(&bytes[..cut]).then(Checksum::of(&bytes[cut..])), whole, "cut at {cut}");
        }
        assert_eq!(Checksum::parse(&whole.to_string(), whole.len()), Some(whole));
    }
}
