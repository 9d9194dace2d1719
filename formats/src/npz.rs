//! The `.npz` archives of `numpy.savez` and `numpy.savez_compressed`: a zip archive whose members are `.npy` files.
//!
//! ```text
//! "embeddings.npy"   93 "NUMPY" … header │ payload      stored: a region; deflated: decoded from its start
//! "start_index.npy"  93 "NUMPY" … header │ 8 bytes      an array of one element is a plain value
//! …
//! central directory                                     see `zip`
//! ```
//!
//! Specification: <https://numpy.org/doc/stable/reference/generated/numpy.savez.html>, and that of `.npy`.
//!
//! Accepted: two-dimensional float arrays, stored or deflated. The CRC-32 of a deflated member is checked when its last
//! byte is read; that of a stored one is not, since its rows are read in any order. Refused: encrypted members and other
//! compressions, by name; arrays whose header and size in the directory contradict each other.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::array::ArrayMeta;
use crate::dtype::ByteOrder;
use crate::error::FormatError;
use crate::format::{ArrayKind, Confidence, Fields, Format, LocateOptions, Located, Probe};
use crate::npy::{Header, NpyError, read_header};
use crate::region::Region;
use crate::rows::{CodedRows, Payload};
use crate::scalar::{self, Kind};
use crate::span::FileSpan;
use crate::zip::{Archive, Contents, Inflate, Member, Packing};

/// The `.npz` archives of `numpy.savez`.
#[derive(Debug)]
pub(crate) struct Npz;

/// DEFLATE makes at most this many bytes of one.
const MOST_INFLATION: u64 = 1032;

impl Format for Npz {
    fn name(&self) -> &'static str {
        "npz"
    }

    fn extensions(&self) -> &'static [&'static str] {
        &["npz"]
    }

    fn detect(&self, probe: &Probe) -> Confidence {
        if Contents::of(probe) == Some(Contents::Npz) { Confidence::Yes } else { Confidence::No }
    }

    fn locate(&self, path: &Path, options: &LocateOptions) -> Result<Located, FormatError> {
        let archive = Archive::open(path)?;
        let entries = entries(&archive)?;
        let mut notes = Vec::new();
        let chosen = choose(&entries, &options.key, path, &mut notes)?;
        let (array, payload) = rows(&archive, &entries[chosen], path)?;
        let others = entries.iter().enumerate().filter(|(index, _)| *index != chosen).map(|(_, entry)| entry);
        let fields = fields(&archive, others)?;
        let is_range = ["start_index", "end_index"].iter().all(|key| fields.get(*key).is_some_and(Value::is_i64));
        let kind = if is_range { ArrayKind::Field } else { ArrayKind::Bare };
        Ok(Located { kind, array, payload, fields, notes })
    }

    fn describe(&self, path: &Path, _options: &LocateOptions) -> Result<Fields, FormatError> {
        let archive = Archive::open(path)?;
        fields(&archive, entries(&archive)?.iter())
    }
}

/// A member, and what it is.
struct Entry<'a> {
    member: &'a Member,
    /// The array's name: the member's without `.npy`.
    name: &'a str,
    content: Content,
}

enum Content {
    /// `.npy` data; the member's bytes begin at `data`.
    Array { header: Header, data: u64 },
    /// Something else, or packed in another way than numpy does.
    Other,
}

impl Entry<'_> {
    fn array(&self) -> Option<Result<ArrayMeta, NpyError>> {
        match &self.content {
            Content::Array { header, .. } => Some(header.array()),
            Content::Other => None,
        }
    }

    /// What it is, for messages.
    fn told(&self) -> String {
        match &self.content {
            Content::Array { header, .. } => {
                let shape: Vec<String> = header.shape.iter().map(u64::to_string).collect();
                format!("{} ({}) {}", self.name, shape.join(", "), type_name(&header.descr))
            }
            Content::Other => format!("{} ({})", self.name, self.member.packing.name()),
        }
    }
}

fn entries<'a>(archive: &'a Archive) -> Result<Vec<Entry<'a>>, FormatError> {
    let entry = |member: &'a Member| {
        let array_name = member.name.strip_suffix(".npy");
        let content = match (array_name, member.packing) {
            (Some(_), Packing::Stored | Packing::Deflated) => array_header(archive, member)?,
            _ => Content::Other,
        };
        Ok(Entry { member, name: array_name.unwrap_or(&member.name), content })
    };
    archive.members().iter().map(entry).collect()
}

fn array_header(archive: &Archive, member: &Member) -> Result<Content, FormatError> {
    let data = archive.data(member)?;
    let header = read_header(&mut *unpacked(archive, member, data), member.size);
    let header = header.map_err(|error| archive.broken(format!("the member {:?}: {error}", member.name)))?;
    Ok(Content::Array { header, data })
}

/// The member's bytes, unpacked, from its start.
fn unpacked<'a>(archive: &'a Archive, member: &Member, data: u64) -> Box<dyn Read + 'a> {
    match member.packing {
        Packing::Deflated => Box::new(Inflate::new(archive.file(), data, member)),
        _ => Box::new(FileSpan::new(archive.file(), data, member.packed)),
    }
}

/// Which member holds the rows: the one of that name, or else the only one that could.
fn choose(entries: &[Entry<'_>], key: &str, path: &Path, notes: &mut Vec<String>) -> Result<usize, FormatError> {
    let no_rows = |what: String, hint: String| FormatError::NoRows { path: path.to_path_buf(), what, hint };
    let member = format!("{key}.npy");
    let Some(found) = entries.iter().position(|entry| entry.member.name == member) else {
        let usable = |entry: &Entry<'_>| entry.array().is_some_and(|array| array.is_ok());
        let mut candidates = entries.iter().enumerate().filter(|(_, entry)| usable(entry));
        if let (Some((only, entry)), None) = (candidates.next(), candidates.next())
            && key == LocateOptions::default().key
        {
            notes.push(format!("its rows are the array {:?}, the only one of floats in two dimensions", entry.name));
            return Ok(only);
        }
        let have: Vec<String> = entries.iter().map(Entry::told).collect();
        let have = if have.is_empty() { "none".into() } else { have.join("; ") };
        return Err(no_rows(format!("has no array {key:?}; it has {have}"), "name the array: --key NAME".into()));
    };
    let entry = &entries[found];
    match entry.array() {
        Some(Ok(_)) => Ok(found),
        Some(Err(error)) => {
            let remedy = match error {
                NpyError::Shape { .. } => "reshape(len(a), -1)",
                _ => "astype(np.float32)",
            };
            let hint = format!("convert it in Python: np.savez(path, {key}=a.{remedy}, …)");
            Err(no_rows(format!("{key:?}: {error}"), hint))
        }
        None => {
            let what = format!("the member {:?} is {}", entry.member.name, entry.member.packing.name());
            Err(no_rows(what, "save it again with np.savez, or unpack it and give the .npy file".into()))
        }
    }
}

fn rows(archive: &Archive, entry: &Entry<'_>, path: &Path) -> Result<(ArrayMeta, Payload), FormatError> {
    let Content::Array { header, data } = &entry.content else {
        return Err(archive.broken(format!("the member {:?} is no array", entry.member.name)));
    };
    let member = entry.member;
    let array = header.array().map_err(|source| FormatError::Npy { path: path.to_path_buf(), source })?;
    let got = member.size.saturating_sub(header.payload);
    if got != array.payload_bytes() {
        let (path, offset, expected) = (path.to_path_buf(), data + header.payload, array.payload_bytes());
        return Err(FormatError::PayloadLength { path, offset, expected, got });
    }
    if member.packing == Packing::Stored {
        let region = Region { path: path.to_path_buf(), offset: data + header.payload, array };
        return Ok((array, region.into()));
    }
    if member.size / MOST_INFLATION > member.packed {
        let Member { name, packed, size, .. } = member;
        return Err(archive.broken(format!("the member {name:?} cannot be {size} bytes deflated to {packed}")));
    }
    let path = path.to_path_buf();
    let deflated = Deflated { path, member: member.clone(), data: *data, before: header.payload, array };
    Ok((array, Payload::Coded(Arc::new(deflated))))
}

/// The plain values among the members, and the shapes of the others.
fn fields<'a>(archive: &Archive, entries: impl Iterator<Item = &'a Entry<'a>>) -> Result<Fields, FormatError> {
    entries.map(|entry| Ok((entry.name.to_string(), field(archive, entry)?))).collect()
}

fn field(archive: &Archive, entry: &Entry<'_>) -> Result<Value, FormatError> {
    let member = entry.member;
    let Content::Array { header, data } = &entry.content else {
        return Ok(json!({ "bytes": member.size, "packing": member.packing.name() }));
    };
    let len = member.size.saturating_sub(header.payload);
    let array = || json!({ "array": { "shape": header.shape, "dtype": type_name(&header.descr) } });
    let Some((kind, size)) = element(&header.descr).filter(|(_, size)| *size == len && len <= scalar::LONGEST) else {
        return Ok(array());
    };
    if header.shape.iter().any(|dim| *dim != 1) {
        return Ok(array());
    }
    let mut bytes = Vec::with_capacity(size as usize);
    let mut source = unpacked(archive, member, *data);
    let copied = io::copy(&mut (&mut *source).take(header.payload), &mut io::sink())
        .and_then(|_| source.take(size).read_to_end(&mut bytes));
    copied.map_err(|error| archive.broken(format!("the member {:?}: {error}", member.name)))?;
    let order = if header.descr.starts_with('>') { ByteOrder::Big } else { ByteOrder::Little };
    let value = if bytes.len() as u64 == size { scalar::value(kind, order, &bytes) } else { None };
    Ok(value.unwrap_or_else(array))
}

/// Kind and bytes of an element that has a plain value, by numpy's code such as `<i8`.
fn element(descr: &str) -> Option<(Kind, u64)> {
    let code = descr.strip_prefix(['<', '>', '|', '='])?;
    let size: u64 = code.get(1..)?.parse().ok()?;
    Some(match code.as_bytes()[0] {
        b'b' => (Kind::Bool, size),
        b'i' => (Kind::Int, size),
        b'u' => (Kind::Unsigned, size),
        b'f' => (Kind::Float, size),
        b'S' => (Kind::Bytes, size),
        b'U' => (Kind::Text, size.checked_mul(4)?),
        _ => return None,
    })
}

/// numpy's name of an element type, by its code.
fn type_name(descr: &str) -> String {
    match (descr.strip_prefix(['<', '>', '|', '=']), element(descr)) {
        (_, Some((Kind::Bool, _))) => "bool".into(),
        (_, Some((Kind::Int, size))) => format!("int{}", size.saturating_mul(8)),
        (_, Some((Kind::Unsigned, size))) => format!("uint{}", size.saturating_mul(8)),
        (_, Some((Kind::Float, size))) => format!("float{}", size.saturating_mul(8)),
        (_, Some((Kind::Bytes, _))) => "bytes".into(),
        (_, Some((Kind::Text, _))) => "str".into(),
        (Some("O"), _) => "object".into(),
        _ => descr.into(),
    }
}

/// The payload of a deflated member.
#[derive(Debug)]
struct Deflated {
    path: PathBuf,
    member: Member,
    /// Byte at which the deflated bytes begin.
    data: u64,
    /// Unpacked bytes before the payload.
    before: u64,
    array: ArrayMeta,
}

impl CodedRows for Deflated {
    fn array(&self) -> &ArrayMeta {
        &self.array
    }

    /// The directory has told the length, which fits; that it told the truth is checked at the end of the stream.
    fn check(&self, _file: &File) -> Result<(), FormatError> {
        Ok(())
    }

    fn decoder(&self, file: File) -> Result<Box<dyn Read + Send>, FormatError> {
        let mut unpacked = Inflate::new(file, self.data, &self.member);
        io::copy(&mut unpacked.by_ref().take(self.before), &mut io::sink())
            .map_err(FormatError::io("unpack", &self.path))?;
        Ok(Box::new(unpacked))
    }
}
