//! What the safe bindings lack of data: chunks, rows and texts as they are stored, without conversion.
//!
//! All unsafe code of HDF5 is here and in `raw`; every function takes the library's lock for all that it calls.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use hdf5::sync::sync;
use hdf5::{Container, Dataset, Dataspace, Datatype, Group, Result, from_id, h5check};
use hdf5_sys::{h5a, h5d, h5p, h5s};

use super::raw::{Element, c_name, element, text_type};

// HDF5 1.10.2; the bindings lack it.
unsafe extern "C" {
    fn H5Dget_chunk_storage_size(dataset: i64, offset: *const u64, size: *mut u64) -> i32;
}

/// The stored bytes of the chunk that begins at `at`, with its filter mask; `None` where it is not there. More than
/// `limit` bytes are refused.
pub(super) fn read_chunk(dataset: &Dataset, at: [u64; 2], limit: u64) -> Result<Option<(u32, Vec<u8>)>> {
    sync(|| {
        let (mut size, mut mask) = (0, 0);
        // SAFETY: the dataset is borrowed and therefore alive, `at` has its two dimensions. The lock is held from the
        // size to the read, so the chunk does not grow, and the buffer has room for it.
        unsafe {
            match h5check(H5Dget_chunk_storage_size(dataset.id(), at.as_ptr(), &mut size)) {
                Ok(_) if size == 0 => return Ok(None),
                // Some versions say so of a chunk that was never written. To look it up any other way is to walk
                // through all chunks.
                Err(error) if error.to_string().contains("not allocated") => return Ok(None),
                looked_up => looked_up?,
            };
            if size > limit {
                return Err(format!("a chunk of {size} bytes is larger than the file").into());
            }
            let mut bytes = vec![0u8; size as usize];
            let (at, into) = (at.as_ptr(), bytes.as_mut_ptr().cast());
            h5check(h5d::H5Dread_chunk1(dataset.id(), h5p::H5P_DEFAULT, at, &mut mask, into))?;
            Ok(Some((mask, bytes)))
        }
    })
}

/// Stores a chunk that has been through all filters.
pub(super) fn write_chunk(dataset: &Dataset, at: [u64; 2], bytes: &[u8]) -> Result<()> {
    let from = bytes.as_ptr().cast();
    // SAFETY: the dataset is borrowed and therefore alive, `at` has its two dimensions, `from` its length beside it.
    sync(|| unsafe {
        h5check(h5d::H5Dwrite_chunk(dataset.id(), h5p::H5P_DEFAULT, 0, at.as_ptr(), bytes.len(), from)).map(drop)
    })
}

/// The part of a dataset's space from element or row `first` on, and the memory for it.
fn part(dataset: &Dataset, first: u64, count: u64) -> Result<(Dataspace, Dataspace)> {
    let space = dataset.space()?;
    let mut shape: Vec<u64> = space.shape().into_iter().map(|dim| dim as u64).collect();
    let Some(rows) = shape.first_mut() else { return Err("a single value has no rows".into()) };
    if first.checked_add(count).is_none_or(|end| end > *rows) {
        return Err("it has fewer rows than it had".into());
    }
    *rows = count;
    let mut start = vec![0; shape.len()];
    start[0] = first;
    let (set, none) = (h5s::H5S_seloper_t::H5S_SELECT_SET, ptr::null());
    // SAFETY: the space is alive; start and shape have one entry per dimension of it, which HDF5 limits to 32.
    unsafe {
        h5check(h5s::H5Sselect_hyperslab(space.id(), set, start.as_ptr(), none, shape.as_ptr(), none))?;
        let memory = from_id(h5check(h5s::H5Screate_simple(shape.len() as i32, shape.as_ptr(), none))?)?;
        Ok((space, memory))
    }
}

/// Reads the rows from `first` on into `bytes`, which must have their size, as they are stored: no conversion.
pub(super) fn read_rows(dataset: &Dataset, first: u64, rows: u64, bytes: &mut [u8]) -> Result<()> {
    sync(|| {
        let dtype = dataset.dtype()?;
        if !matches!(element(&dtype), Element::Float(..)) {
            return Err("its type is another than it was".into());
        }
        let (space, memory) = part(dataset, first, rows)?;
        if memory.size().checked_mul(dtype.size()) != Some(bytes.len()) {
            return Err("its rows have another size than they had".into());
        }
        let (memory, space, into) = (memory.id(), space.id(), bytes.as_mut_ptr().cast());
        // SAFETY: all identifiers are alive; the memory space has as many plain floats as `bytes` has room for.
        unsafe { h5check(h5d::H5Dread(dataset.id(), dtype.id(), memory, space, h5p::H5P_DEFAULT, into)).map(drop) }
    })
}

/// The elements of an attribute as they are stored, where they are of fixed size and hold no pointers.
pub(super) fn attribute_bytes(attribute: &Container, limit: usize) -> Result<Vec<u8>> {
    sync(|| {
        let (dtype, count) = (attribute.dtype()?, attribute.space()?.size());
        if matches!(element(&dtype), Element::Text | Element::Other(_)) {
            return Err("its elements are not plain".into());
        }
        let size = count.checked_mul(dtype.size()).filter(|size| *size <= limit);
        let mut bytes = vec![0u8; size.ok_or("it is too large")?];
        // SAFETY: both identifiers are alive; the buffer has room for `count` elements of the type that is asked for,
        // which is plain data.
        unsafe { h5check(h5a::H5Aread(attribute.id(), dtype.id(), bytes.as_mut_ptr().cast()))? };
        Ok(bytes)
    })
}

/// The texts of an attribute whose type is text of any length, of which there are at most `limit`.
pub(super) fn attribute_texts(attribute: &Container, limit: usize) -> Result<Vec<Vec<u8>>> {
    sync(|| {
        let (dtype, space) = (attribute.dtype()?, attribute.space()?);
        // SAFETY: both identifiers are alive; `texts` gives a buffer of one pointer per element.
        texts(&dtype, &space, limit, |buffer| unsafe { h5check(h5a::H5Aread(attribute.id(), dtype.id(), buffer)) })
    })
}

/// Has `read` put a pointer per element of `space` into a buffer, and copies what they point to.
fn texts(
    dtype: &Datatype,
    space: &Dataspace,
    limit: usize,
    read: impl FnOnce(*mut c_void) -> Result<i32>,
) -> Result<Vec<Vec<u8>>> {
    if element(dtype) != Element::Text {
        return Err("it holds no texts of variable length".into());
    }
    let count = space.size();
    if count > limit {
        return Err("it holds too many texts".into());
    }
    let mut pointers: Vec<*mut c_char> = vec![ptr::null_mut(); count];
    let read = read(pointers.as_mut_ptr().cast());
    let copied = pointers.iter().map(|&text| match text.is_null() {
        true => Vec::new(),
        // SAFETY: the library has put a NUL-terminated copy of a text there, which is freed below.
        false => unsafe { CStr::from_ptr(text) }.to_bytes().to_vec(),
    });
    // A read that failed half way has put no pointers that could be relied on.
    let copied = read.map(|_| copied.collect());
    if copied.is_ok() {
        // SAFETY: the pointers are those that the library has allocated for this type and space; no copy of them is left.
        #[allow(deprecated)]
        let freed =
            unsafe { h5d::H5Dvlen_reclaim(dtype.id(), space.id(), h5p::H5P_DEFAULT, pointers.as_mut_ptr().cast()) };
        h5check(freed)?;
    }
    copied
}

/// Texts that are to be written, one behind the other.
#[derive(Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Texts {
    /// Appends a text, unless it holds a NUL, which would end it for every reader.
    pub(super) fn push(&mut self, text: &str) -> bool {
        if text.as_bytes().contains(&0) {
            return false;
        }
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        true
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.starts.clear();
    }

    fn pointers(&self) -> Vec<*const c_char> {
        self.starts.iter().map(|&start| self.bytes[start..].as_ptr().cast()).collect()
    }
}

/// Writes the texts from element `first` on of a dataset of [`text_type`].
pub(super) fn write_texts(dataset: &Dataset, first: u64, texts: &Texts) -> Result<()> {
    sync(|| {
        let (dtype, (space, memory)) = (text_type()?, part(dataset, first, texts.starts.len() as u64)?);
        let (memory, space, pointers) = (memory.id(), space.id(), texts.pointers());
        // SAFETY: all identifiers are alive; the memory space has one element per pointer, each of which points to a
        // NUL-terminated text that outlives the call.
        unsafe {
            let from = pointers.as_ptr().cast();
            h5check(h5d::H5Dwrite(dataset.id(), dtype.id(), memory, space, h5p::H5P_DEFAULT, from)).map(drop)
        }
    })
}

/// Adds an attribute that is one text, of any length. The text must hold no NUL.
pub(super) fn write_attribute_text(group: &Group, name: &str, text: &str) -> Result<()> {
    let (name, text) = (c_name(name.as_bytes())?, c_name(text.as_bytes())?);
    sync(|| {
        let dtype = text_type()?;
        let pointer: *const c_char = text.as_ptr();
        let default = h5p::H5P_DEFAULT;
        // SAFETY: all identifiers are alive or without another owner; the attribute is one pointer to a NUL-terminated
        // text that outlives the call.
        unsafe {
            let space: Dataspace = from_id(h5check(h5s::H5Screate(h5s::H5S_class_t::H5S_SCALAR))?)?;
            let (group, kind, space) = (group.id(), dtype.id(), space.id());
            let made = h5check(h5a::H5Acreate2(group, name.as_ptr(), kind, space, default, default))?;
            let made: hdf5::Attribute = from_id(made)?;
            h5check(h5a::H5Awrite(made.id(), kind, (&raw const pointer).cast())).map(drop)
        }
    })
}
