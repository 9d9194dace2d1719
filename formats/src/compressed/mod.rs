//! Files that are compressed as a whole: `checkpoint.pkl.gz` and its like.
//!
//! ```text
//! gzip   1f 8b 08 │ flags … │ deflate │ CRC-32, length      members follow each other; zeros may follow the last
//! zlib   78 xx    │ deflate │ Adler-32                      joblib's compress=N; no magic worth the name
//! bzip2  "BZh" 1–9 │ blocks │ CRC-32                        streams follow each other
//! xz     fd "7zXZ" 00 │ blocks │ index, footer              streams follow each other, with zeros between them
//! lzma   5d │ dictionary u32 │ length u64 │ LZMA            the format before xz; one stream
//! zstd   28 b5 2f fd │ blocks │ checksum                    frames follow each other; 5x 2a 4d 18 are skipped
//! lz4    04 22 4d 18 │ blocks │ checksum                    frames follow each other; 5x 2a 4d 18 are skipped
//! ```
//!
//! Specifications: RFC 1952 (gzip), [RFC 1950](https://www.rfc-editor.org/rfc/rfc1950) (zlib),
//! [xz](https://tukaani.org/xz/xz-file-format.txt), [RFC 8878](https://www.rfc-editor.org/rfc/rfc8878) (zstd),
//! [lz4](https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md).
//!
//! A file is unpacked once, into a file without a name in the scratch folder (the *spool*), which the system removes
//! whatever happens. What is in it is recognised like any other file, and its rows are read from the spool.
//!
//! Accepted: every file that one of these tools writes, checksums verified, whose content can be located in an open
//! file ([`Format::locate_file`]). Refused: data that ends early, fails its checksum or is followed by something else;
//! compressed files in compressed files, and formats that are more than one file.
//!
//! **Bounded**: the spool leaves the disk some free space. Memory: about 9 MiB a thread, and where a decoder needs more
//! (zstd windows up to 128 MiB, xz dictionaries up to 64 MiB) one file at a time is unpacked; beyond that, refused.

mod codec;
mod decoder;
mod input;
mod spool;
mod unpack;

use std::path::Path;

use codec::Codec;

use crate::error::FormatError;
use crate::format::{Confidence, Fields, Format, LocateOptions, Located, Probe};
use crate::unpacked::Unpacked;

/// Files that are compressed as a whole.
#[derive(Debug)]
pub(crate) struct Compressed;

impl Format for Compressed {
    fn name(&self) -> &'static str {
        "compressed"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["gz", "zst", "bz2", "xz", "lzma", "lz4", "z"]
    }

    fn detect(&self, probe: &Probe) -> Confidence {
        if Codec::of(&probe.head).is_some() { Confidence::Yes } else { Confidence::No }
    }

    fn locate(&self, path: &Path, options: &LocateOptions) -> Result<Located, FormatError> {
        unpack::unpack(path, options)?.locate(options)
    }

    fn describe(&self, path: &Path, options: &LocateOptions) -> Result<Fields, FormatError> {
        unpack::unpack(path, options)?.describe(options)
    }

    fn unpack(&self, path: &Path, options: &LocateOptions) -> Result<Option<Unpacked>, FormatError> {
        unpack::unpack(path, options).map(Some)
    }
}
