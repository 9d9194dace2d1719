//! The legacy dict as a pickle of protocol 4, loadable by numpy 1.14 to 2.x.
//!
//! ```text
//! 80 04 } (  'embeddings'  _reconstruct(ndarray, (0,), b'b')  ( 1 (N,D) dtype('<f4') False  [filler]
//!            B│8e length  ── payload at 4096: N × D floats ──   t b u
//!         (  'articles'  ]  ( {id,title,url} × ≤1000 e …  u
//!         (  'total_articles' … 'chunk_info' …  u  .
//! ```
//!
//! The module name is numpy 1.x's `numpy.core.multiarray`: 2.x keeps it on purpose, while 1.x does not know 2.x's.
//! Opcodes: CPython `Lib/pickletools.py`; array state: numpy `array_reduce` in `methods.c`.
//!
//! No frames, and no memo but the three keys of an article. The filler is a bytes object that is popped again; with
//! it the payload starts on a page and the pickle itself can be mapped.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::{Number, Value};

use crate::array::ArrayMeta;
use crate::articles::{Article, ArticleSink, ArticlesWritten, KEYS};
use crate::checksum::{Checksum, Hasher};
use crate::error::FormatError;
use crate::format::Fields;
use crate::region::{Region, Regions, allocate};
use crate::target::{Parts, Target};

/// Byte at which the payload starts.
const PAYLOAD: usize = 4096;
/// TUPLE, BUILD and SETITEMS: the array is complete and in the dict.
const AFTER_PAYLOAD: &[u8] = b"tbu";
/// Items of a list that are appended at once, as CPython does.
const BATCH: usize = 1000;

/// A pickled legacy dict under construction.
pub(super) struct PickleStore {
    path: PathBuf,
    regions: Regions,
}

impl PickleStore {
    pub(super) fn create(path: &Path, array: ArrayMeta) -> Result<Self, FormatError> {
        let region = Region { path: path.to_path_buf(), offset: PAYLOAD as u64, array };
        let store = PickleStore { path: path.to_path_buf(), regions: region.into() };
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(FormatError::io("create", path))?;
        allocate(&file, store.payload_end()).map_err(FormatError::io("allocate", path))?;
        file.write_all_at(&header(&array), 0).map_err(FormatError::io("write", path))?;
        file.write_all_at(AFTER_PAYLOAD, store.payload_end()).map_err(FormatError::io("write", path))?;
        Ok(store)
    }

    fn payload_end(&self) -> u64 {
        PAYLOAD as u64 + self.regions.array().payload_bytes()
    }

    fn articles_start(&self) -> u64 {
        self.payload_end() + AFTER_PAYLOAD.len() as u64
    }
}

impl Target for PickleStore {
    fn parts(&self) -> Parts<'_> {
        Parts::Regions(&self.regions)
    }

    fn header(&self) -> Result<Option<Checksum>, FormatError> {
        Checksum::of_header(&self.regions)
    }

    fn articles(&self) -> Result<Box<dyn ArticleSink>, FormatError> {
        let path = &self.path;
        let file = File::options().write(true).open(path).map_err(FormatError::io("open", path))?;
        Ok(Box::new(PickledArticles::new(file, path, self.articles_start())))
    }

    fn finish(&self, metadata: &Fields, articles: Option<&ArticlesWritten>) -> Result<(), FormatError> {
        let path = &self.path;
        let file = File::options().write(true).open(path).map_err(FormatError::io("open", path))?;
        let written = match articles {
            Some(written) => *written,
            None => Box::new(PickledArticles::new(
                file.try_clone().map_err(FormatError::io("open", path))?,
                path,
                self.articles_start(),
            ))
            .finish()?,
        };
        let mut tail = vec![b'('];
        for (key, value) in metadata {
            put_str(&mut tail, key);
            put_value(&mut tail, key, value);
        }
        tail.extend_from_slice(b"u.");
        let at = self.articles_start() + written.checksum.len();
        file.write_all_at(&tail, at).map_err(FormatError::io("write", path))?;
        file.set_len(at + tail.len() as u64).map_err(FormatError::io("write", path))
    }
}

/// Everything before the payload, filled up to [`PAYLOAD`] bytes.
fn header(array: &ArrayMeta) -> Vec<u8> {
    let mut out = b"\x80\x04}(".to_vec();
    put_str(&mut out, "embeddings");
    put_global(&mut out, "numpy.core.multiarray", "_reconstruct");
    put_global(&mut out, "numpy", "ndarray");
    out.extend_from_slice(b"K\x00\x85C\x01b\x87R(K\x01");
    put_int(&mut out, i128::from(array.rows()));
    put_int(&mut out, i128::from(array.cols()));
    out.push(0x86);
    put_global(&mut out, "numpy", "dtype");
    put_str(&mut out, array.dtype.numpy_code());
    out.extend_from_slice(b"\x89\x88\x87R(K\x03");
    put_str(&mut out, "<");
    out.extend_from_slice(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89");
    let len = array.payload_bytes();
    let length = match u32::try_from(len) {
        Ok(len) => [b"B".as_slice(), &len.to_le_bytes()].concat(),
        Err(_) => [b"\x8e".as_slice(), &len.to_le_bytes()].concat(),
    };
    // BINBYTES with its length before the filler, POP behind it.
    let filler = PAYLOAD - out.len() - length.len() - (1 + 4 + 1);
    out.push(b'B');
    out.extend_from_slice(&(filler as u32).to_le_bytes());
    out.resize(out.len() + filler, 0);
    out.push(b'0');
    out.extend_from_slice(&length);
    out
}

fn put_global(out: &mut Vec<u8>, module: &str, name: &str) {
    put_str(out, module);
    put_str(out, name);
    out.push(0x93);
}

fn put_str(out: &mut Vec<u8>, text: &str) {
    match (u8::try_from(text.len()), u32::try_from(text.len())) {
        (Ok(len), _) => out.extend_from_slice(&[0x8c, len]),
        (_, Ok(len)) => {
            out.push(b'X');
            out.extend_from_slice(&len.to_le_bytes());
        }
        _ => {
            out.push(0x8d);
            out.extend_from_slice(&(text.len() as u64).to_le_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}

fn put_int(out: &mut Vec<u8>, value: i128) {
    if let Ok(value) = u8::try_from(value) {
        out.extend_from_slice(&[b'K', value]);
    } else if let Ok(value) = u16::try_from(value) {
        out.push(b'M');
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        out.push(b'J');
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        // Nine bytes hold every 64-bit integer of either sign.
        out.extend_from_slice(&[0x8a, 9]);
        out.extend_from_slice(&value.to_le_bytes()[..9]);
    }
}

/// A plain value. Shapes are tuples in Python, and lists only for want of tuples in JSON.
fn put_value(out: &mut Vec<u8>, key: &str, value: &Value) {
    match value {
        Value::Null => out.push(b'N'),
        Value::Bool(value) => out.push(if *value { 0x88 } else { 0x89 }),
        Value::Number(number) => put_number(out, number),
        Value::String(text) => put_str(out, text),
        Value::Array(items) if key == "shape" => {
            out.push(b'(');
            items.iter().for_each(|item| put_value(out, "", item));
            out.push(b't');
        }
        Value::Array(items) => {
            out.push(b']');
            for batch in items.chunks(BATCH) {
                out.push(b'(');
                batch.iter().for_each(|item| put_value(out, "", item));
                out.push(b'e');
            }
        }
        Value::Object(fields) => {
            out.extend_from_slice(b"}(");
            for (key, value) in fields {
                put_str(out, key);
                put_value(out, key, value);
            }
            out.push(b'u');
        }
    }
}

fn put_number(out: &mut Vec<u8>, number: &Number) {
    match (number.as_i128(), number.as_f64()) {
        (Some(int), _) => put_int(out, int),
        (None, float) => {
            out.push(b'G');
            out.extend_from_slice(&float.unwrap_or(f64::NAN).to_be_bytes());
        }
    }
}

/// The `articles` item of the dict, written behind the payload while rows are still being filled in before it.
struct PickledArticles {
    file: File,
    path: PathBuf,
    start: u64,
    hasher: Hasher,
    buffer: Vec<u8>,
    count: u64,
}

impl PickledArticles {
    fn new(file: File, path: &Path, start: u64) -> Self {
        let mut buffer = vec![b'('];
        put_str(&mut buffer, "articles");
        buffer.push(b']');
        PickledArticles { file, path: path.to_path_buf(), start, hasher: Hasher::default(), buffer, count: 0 }
    }

    fn flush(&mut self) -> Result<(), FormatError> {
        let at = self.start + self.hasher.measured();
        self.file.write_all_at(&self.buffer, at).map_err(FormatError::io("write", &self.path))?;
        self.hasher.update(&self.buffer);
        self.buffer.clear();
        Ok(())
    }
}

impl ArticleSink for PickledArticles {
    fn push(&mut self, article: Article<'_>) -> Result<(), FormatError> {
        if self.count.is_multiple_of(BATCH as u64) {
            if self.count > 0 {
                self.buffer.push(b'e');
            }
            self.buffer.push(b'(');
        }
        self.buffer.extend_from_slice(b"}(");
        let values = [article.title, article.id, article.url];
        for (memo, (key, value)) in [KEYS[1], KEYS[0], KEYS[2]].into_iter().zip(values).enumerate() {
            if self.count == 0 {
                put_str(&mut self.buffer, key);
                self.buffer.push(0x94);
            } else {
                self.buffer.extend_from_slice(&[b'h', memo as u8]);
            }
            put_str(&mut self.buffer, value);
        }
        self.buffer.push(b'u');
        self.count += 1;
        if self.buffer.len() >= 1 << 20 { self.flush() } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> Result<ArticlesWritten, FormatError> {
        self.buffer.extend_from_slice(if self.count > 0 { b"eu" } else { b"u" });
        self.flush()?;
        Ok(ArticlesWritten { count: self.count, checksum: self.hasher.checksum() })
    }
}
