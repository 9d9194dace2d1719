//! Zip archives, as far as `.npz` and PyTorch files need them: which members there are, and where their bytes lie.
//!
//! ```text
//! "PK" 3 4 │ local header │ name │ extra │ bytes of the first member │ [data descriptor]
//! "PK" 3 4 │ …
//! "PK" 1 2 │ method, CRC-32, sizes, place of the local header │ name │ extra │ comment      the central directory:
//! "PK" 1 2 │ …                                                                             one entry a member
//! ["PK" 6 6 │ zip64: count, size and place of the directory] ["PK" 6 7 │ place of that]
//! "PK" 5 6 │ count, size and place of the directory │ comment │ end of the file
//! ```
//!
//! Specification: <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>.
//!
//! The central directory decides. Of a local header only what lies behind it counts: how long its name and its extra
//! field are, which is often another length than in the directory. Sizes in local headers are not read, since writers
//! that stream leave them empty.
//!
//! Refused: archives in several parts, a directory that does not end where the file does, names that occur twice,
//! members that overlap or reach into the directory, directories of more than [`LONGEST_DIRECTORY`].

mod directory;
mod inflate;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub(crate) use inflate::Inflate;

use crate::error::FormatError;
use crate::format::Probe;

/// Bytes of a central directory: some 80,000 members.
pub(crate) const LONGEST_DIRECTORY: u64 = 8 << 20;

const DAMAGED: &str = "the file is damaged or was made by hand: fetch it again, or save it again";

/// What is wrong with an archive, and where.
#[derive(Debug)]
pub(crate) enum Fault {
    Read(std::io::Error),
    Broken(String),
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Fault::Broken("the file ended while it was read".into()),
            _ => Fault::Read(error),
        }
    }
}

/// A member as the central directory tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) packing: Packing,
    /// CRC-32 of the unpacked bytes.
    pub(crate) crc: u32,
    /// Bytes in the file.
    pub(crate) packed: u64,
    /// Bytes when unpacked.
    pub(crate) size: u64,
    /// Byte of its local header.
    header: u64,
    /// Byte that its own bytes cannot reach: the next local header, or the directory.
    limit: u64,
}

/// How a member's bytes lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Stored,
    Deflated,
    Encrypted,
    /// A compression that embstore does not read, by its number.
    Other(u16),
}

impl Packing {
    /// The word for it in messages.
    pub(crate) fn name(self) -> String {
        let name = match self {
            Packing::Stored => "stored",
            Packing::Deflated => "deflated",
            Packing::Encrypted => "encrypted",
            Packing::Other(method) => match method {
                9 => "Deflate64",
                12 => "bzip2",
                14 => "LZMA",
                93 => "Zstandard",
                95 => "xz",
                _ => return format!("compression method {method}"),
            },
        };
        name.into()
    }
}

/// An opened archive.
#[derive(Debug)]
pub(crate) struct Archive {
    path: PathBuf,
    file: File,
    members: Vec<Member>,
}

impl Archive {
    pub(crate) fn open(path: &Path) -> Result<Self, FormatError> {
        let file = File::open(path).map_err(FormatError::io("open", path))?;
        let archive = Archive { path: path.to_path_buf(), members: Vec::new(), file };
        let members = directory::read(&archive.file).map_err(|fault| archive.fault(fault))?;
        Ok(Archive { members, ..archive })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The members, in the order of the directory.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The byte at which a member's own bytes begin; all of them are there.
    pub(crate) fn data(&self, member: &Member) -> Result<u64, FormatError> {
        self.data_offset(member).map_err(|fault| self.fault(fault))
    }

    fn data_offset(&self, member: &Member) -> Result<u64, Fault> {
        let broken =
            |what: &str| Fault::Broken(format!("the member {:?} at byte {} {what}", member.name, member.header));
        if member.limit - member.header < 30 {
            return Err(broken("overlaps the next"));
        }
        let mut header = [0; 30];
        self.file.read_exact_at(&mut header, member.header)?;
        if !header.starts_with(b"PK\x03\x04") {
            return Err(broken("has no local header"));
        }
        let lengths = u64::from(u16_at(&header, 26)) + u64::from(u16_at(&header, 28));
        let data = member.header + 30 + lengths;
        match data.checked_add(member.packed) {
            Some(end) if end <= member.limit => Ok(data),
            _ => {
                Err(broken(&format!("has {} bytes, which reach into what follows at {}", member.packed, member.limit)))
            }
        }
    }

    /// A broken archive, or a failure to read it.
    pub(crate) fn fault(&self, fault: Fault) -> FormatError {
        match fault {
            Fault::Read(source) => FormatError::io("read", &self.path)(source),
            Fault::Broken(what) => FormatError::Container { path: self.path.clone(), what, hint: DAMAGED },
        }
    }

    /// The same, told in words.
    pub(crate) fn broken(&self, what: String) -> FormatError {
        self.fault(Fault::Broken(what))
    }
}

/// What a zip archive is, by the names of its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    Npz,
    Torch,
}

impl Contents {
    /// Of a file that begins like a zip archive; `None` for any other, and for archives of other things.
    ///
    /// Where the directory cannot be read, the name of the first member decides: whoever locates rows in the file can
    /// then say what is wrong with it.
    pub(crate) fn of(probe: &Probe) -> Option<Self> {
        if !probe.head.starts_with(b"PK\x03\x04") || probe.head.len() < 30 {
            return None;
        }
        let of_name = |name: &str| match () {
            () if is_torch_pickle(name) => Some(Contents::Torch),
            () if name.ends_with(".npy") => Some(Contents::Npz),
            () => None,
        };
        match probe.file.as_ref().map(directory::read) {
            Some(Ok(members)) => {
                let mut found = members.iter().filter_map(|member| of_name(&member.name));
                let first = found.next()?;
                Some(if found.any(|other| other == Contents::Torch) { Contents::Torch } else { first })
            }
            _ => {
                let name = probe.head[30..].get(..usize::from(u16_at(&probe.head, 26)))?;
                of_name(&String::from_utf8_lossy(name))
            }
        }
    }
}

/// Whether a member is the pickle of a PyTorch file: `data.pkl` in the one folder that such a file has.
pub(crate) fn is_torch_pickle(name: &str) -> bool {
    name.strip_suffix("/data.pkl").is_some_and(|folder| !folder.contains('/'))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
