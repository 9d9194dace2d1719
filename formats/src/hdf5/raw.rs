//! What the safe bindings lack: files whose names are any bytes, element types bit by bit, raw chunks, rows and texts
//! as they are stored. All unsafe code of HDF5 is here; every function takes the library's lock for all that it calls.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use hdf5::plist::{DatasetCreate, FileAccess};
use hdf5::sync::sync;
use hdf5::{Container, Dataset, Dataspace, Datatype, File, Group, Result, from_id, h5check};
use hdf5_sys::{h5a, h5d, h5f, h5p, h5s, h5t};

use crate::dtype::{ByteOrder, Dtype};

type Id = i64;

// HDF5 1.10.2; the bindings lack it.
unsafe extern "C" {
    fn H5Dget_chunk_storage_size(dataset: Id, offset: *const u64, size: *mut u64) -> i32;
}

fn c_name(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| "a name holds a NUL byte".into())
}

/// Opens a file.
pub(super) fn open(path: &Path, writable: bool) -> Result<File> {
    let name = c_name(path.as_os_str().as_bytes())?;
    let mode = if writable { h5f::H5F_ACC_RDWR } else { h5f::H5F_ACC_RDONLY };
    // SAFETY: `name` is NUL-terminated and outlives the call; the new identifier has no other owner.
    sync(|| unsafe { from_id(h5check(h5f::H5Fopen(name.as_ptr(), mode, h5p::H5P_DEFAULT))?) })
}

/// Creates a file in the oldest layout that every reader knows, or empties the one that is there.
pub(super) fn create(path: &Path, access: &FileAccess) -> Result<File> {
    let name = c_name(path.as_os_str().as_bytes())?;
    let mode = h5f::H5F_ACC_TRUNC;
    // SAFETY: as in `open`; the property list is borrowed and therefore alive.
    sync(|| unsafe { from_id(h5check(h5f::H5Fcreate(name.as_ptr(), mode, h5p::H5P_DEFAULT, access.id()))?) })
}

/// How a new dataset is stored.
pub(super) enum Storage<'a> {
    /// In one run that is allocated at once and filled by others.
    Early,
    /// In one run, by the library.
    Late,
    /// In chunks of this shape behind these filters (identifier and parameters).
    Chunked([u64; 2], &'a [(i32, Vec<c_uint>)]),
}

/// Creates a dataset.
pub(super) fn create_dataset(
    parent: &Group,
    name: &str,
    dtype: &Datatype,
    shape: &[u64],
    storage: &Storage<'_>,
) -> Result<Dataset> {
    let name = c_name(name.as_bytes())?;
    sync(|| {
        let rank = i32::try_from(shape.len()).map_err(|_| hdf5::Error::from("too many dimensions"))?;
        // SAFETY: the identifiers are alive, for their owners are borrowed or held here; all pointers are to locals that
        // outlive their call, with the lengths that are passed beside them; new identifiers have no other owner.
        unsafe {
            let how: DatasetCreate = from_id(h5check(h5p::H5Pcreate(*h5p::H5P_CLS_DATASET_CREATE))?)?;
            h5check(h5p::H5Pset_obj_track_times(how.id(), 0))?;
            match storage {
                Storage::Late => {}
                Storage::Early => {
                    h5check(h5p::H5Pset_alloc_time(how.id(), h5d::H5D_alloc_time_t::H5D_ALLOC_TIME_EARLY))?;
                    h5check(h5p::H5Pset_fill_time(how.id(), h5d::H5D_fill_time_t::H5D_FILL_TIME_NEVER))?;
                }
                Storage::Chunked(chunk, filters) => {
                    h5check(h5p::H5Pset_chunk(how.id(), 2, chunk.as_ptr()))?;
                    for (filter, values) in *filters {
                        // Optional: the library here need not have it, for it never runs it.
                        let flags = hdf5_sys::h5z::H5Z_FLAG_OPTIONAL;
                        h5check(h5p::H5Pset_filter(how.id(), *filter, flags, values.len(), values.as_ptr()))?;
                    }
                }
            }
            let space: Dataspace = from_id(h5check(h5s::H5Screate_simple(rank, shape.as_ptr(), ptr::null()))?)?;
            let default = h5p::H5P_DEFAULT;
            let (parent, dtype, space) = (parent.id(), dtype.id(), space.id());
            from_id(h5check(h5d::H5Dcreate2(parent, name.as_ptr(), dtype, space, default, how.id(), default))?)
        }
    })
}

/// The little-endian type that stores have.
pub(super) fn float_type(dtype: Dtype) -> Result<Datatype> {
    // SAFETY: the library is initialised by `sync`, so its global identifiers are set; the copy has no other owner.
    sync(|| unsafe {
        let source = if dtype == Dtype::Float64 { *h5t::H5T_IEEE_F64LE } else { *h5t::H5T_IEEE_F32LE };
        let made: Datatype = from_id(h5check(h5t::H5Tcopy(source))?)?;
        if dtype == Dtype::Float16 {
            // As h5py and numpy have it: sign, 5 bits of exponent, 10 of mantissa.
            h5check(h5t::H5Tset_fields(made.id(), 15, 10, 5, 0, 10))?;
            h5check(h5t::H5Tset_size(made.id(), 2))?;
            h5check(h5t::H5Tset_ebias(made.id(), 15))?;
        }
        Ok(made)
    })
}

/// Texts of any length in UTF-8.
pub(super) fn text_type() -> Result<Datatype> {
    // SAFETY: as in `float_type`.
    sync(|| unsafe {
        let made: Datatype = from_id(h5check(h5t::H5Tcopy(*h5t::H5T_C_S1))?)?;
        h5check(h5t::H5Tset_size(made.id(), h5t::H5T_VARIABLE))?;
        h5check(h5t::H5Tset_cset(made.id(), h5t::H5T_cset_t::H5T_CSET_UTF8))?;
        Ok(made)
    })
}

/// What the elements of a dataset or an attribute are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// A float that rows can have.
    Float(Dtype, ByteOrder),
    /// An integer of 1, 2, 4 or 8 bytes.
    Integer { signed: bool, order: ByteOrder },
    /// h5py's boolean: an enumeration of FALSE and TRUE.
    Boolean,
    /// Text in as many bytes as the type has.
    FixedText,
    /// Text of any length.
    Text,
    /// Anything else, by its word.
    Other(&'static str),
}

/// What the elements of `dtype` are.
pub(super) fn element(dtype: &Datatype) -> Element {
    use h5t::H5T_class_t as Class;
    let id = dtype.id();
    // SAFETY: `id` is alive, for its owner is borrowed.
    sync(|| unsafe {
        match h5t::H5Tget_class(id) {
            Class::H5T_FLOAT => {
                float(id).map_or(Element::Other("floats of an unusual kind"), |(d, o)| Element::Float(d, o))
            }
            Class::H5T_INTEGER => integer(id).unwrap_or(Element::Other("integers of an unusual kind")),
            Class::H5T_STRING if h5t::H5Tis_variable_str(id) > 0 => Element::Text,
            Class::H5T_STRING => Element::FixedText,
            Class::H5T_ENUM if is_boolean(id) => Element::Boolean,
            Class::H5T_ENUM => Element::Other("an enumeration"),
            Class::H5T_COMPOUND => Element::Other("compound"),
            Class::H5T_REFERENCE => Element::Other("references"),
            Class::H5T_VLEN => Element::Other("of variable length"),
            Class::H5T_ARRAY => Element::Other("arrays"),
            Class::H5T_OPAQUE => Element::Other("opaque"),
            Class::H5T_BITFIELD => Element::Other("bit fields"),
            _ => Element::Other("of an unknown type"),
        }
    })
}

unsafe fn order(id: Id) -> Option<ByteOrder> {
    // SAFETY: the caller's `id` is alive, and it holds the lock.
    match unsafe { h5t::H5Tget_order(id) } {
        h5t::H5T_order_t::H5T_ORDER_LE => Some(ByteOrder::Little),
        h5t::H5T_order_t::H5T_ORDER_BE => Some(ByteOrder::Big),
        _ => None,
    }
}

/// By the place of every bit: a type of the right size may be another all the same.
unsafe fn float(id: Id) -> Option<(Dtype, ByteOrder)> {
    let mut f = [0usize; 5];
    let [sign, exponent, exponent_bits, mantissa, mantissa_bits] = &mut f;
    // SAFETY: the caller's `id` is alive, and it holds the lock; the pointers are to distinct locals.
    let (size, bias, implied, order) = unsafe {
        h5check(h5t::H5Tget_fields(id, sign, exponent, exponent_bits, mantissa, mantissa_bits)).ok()?;
        let implied = h5t::H5Tget_norm(id) == h5t::H5T_norm_t::H5T_NORM_IMPLIED;
        (h5t::H5Tget_size(id), h5t::H5Tget_ebias(id), implied, order(id)?)
    };
    let dtype = match (size, f, bias) {
        (2, [15, 10, 5, 0, 10], 15) => Dtype::Float16,
        (2, [15, 7, 8, 0, 7], 127) => Dtype::Bfloat16,
        (4, [31, 23, 8, 0, 23], 127) => Dtype::Float32,
        (8, [63, 52, 11, 0, 52], 1023) => Dtype::Float64,
        _ => return None,
    };
    implied.then_some((dtype, order))
}

unsafe fn integer(id: Id) -> Option<Element> {
    // SAFETY: the caller's `id` is alive, and it holds the lock.
    let (size, precision, signed, order) = unsafe {
        let signed = h5t::H5Tget_sign(id) == h5t::H5T_sign_t::H5T_SGN_2;
        let size = h5t::H5Tget_size(id);
        // One byte has no order, and any will do.
        let order = if size == 1 { ByteOrder::Little } else { order(id)? };
        (size, h5t::H5Tget_precision(id), signed, order)
    };
    ([1, 2, 4, 8].contains(&size) && precision == 8 * size).then_some(Element::Integer { signed, order })
}

unsafe fn is_boolean(id: Id) -> bool {
    // SAFETY: the caller's `id` is alive, and it holds the lock; the names are static; member 0 or 1 of two exists.
    unsafe {
        let value = |name: &CStr| {
            let member = h5t::H5Tget_member_index(id, name.as_ptr());
            let mut value = [0xffu8; 8];
            let got = h5t::H5Tget_member_value(id, member as c_uint, value.as_mut_ptr().cast());
            (member >= 0 && got >= 0).then_some(value[0])
        };
        h5t::H5Tget_size(id) == 1
            && h5t::H5Tget_nmembers(id) == 2
            && value(c"FALSE") == Some(0)
            && value(c"TRUE") == Some(1)
    }
}

/// How the elements of a dataset are laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// In one run, or within the header, as the library knows.
    Library,
    /// In chunks of this shape.
    Chunked {
        /// Rows and columns of a chunk.
        chunk: [u64; 2],
        /// Filters in the order in which they were applied: identifier and parameters.
        filters: Vec<(i32, Vec<c_uint>)>,
        /// Whether chunks that reach beyond the matrix have no filter applied.
        raw_edges: bool,
        /// One element as its bytes, for chunks that are not there.
        fill: Vec<u8>,
    },
    /// In other files.
    Elsewhere(&'static str),
}

/// How a two-dimensional dataset whose elements have `size` bytes is laid out.
pub(super) fn placement(dataset: &Dataset, size: usize) -> Result<Placement> {
    sync(|| {
        let how = dataset.dcpl()?;
        let dtype = dataset.dtype()?;
        // SAFETY: the identifiers are alive, for their owners are borrowed or held here; all pointers are to locals with
        // the lengths that are passed beside them; `fill` has room for one element of the type, which has `size` bytes.
        unsafe {
            match h5p::H5Pget_layout(how.id()) {
                h5d::H5D_layout_t::H5D_CHUNKED => {}
                h5d::H5D_layout_t::H5D_VIRTUAL => return Ok(Placement::Elsewhere("a virtual dataset")),
                _ if h5p::H5Pget_external_count(how.id()) > 0 => {
                    return Ok(Placement::Elsewhere("an external dataset"));
                }
                _ => return Ok(Placement::Library),
            }
            let mut chunk = [0; 2];
            if h5check(h5p::H5Pget_chunk(how.id(), 2, chunk.as_mut_ptr()))? != 2 || chunk.contains(&0) {
                return Err("its chunks are not two-dimensional".into());
            }
            let mut filters = Vec::new();
            for index in 0..h5check(h5p::H5Pget_nfilters(how.id()))? {
                let (mut flags, mut config, mut values) = (0, 0, [0; 32]);
                let mut count = values.len();
                let filter = h5p::H5Pget_filter2(
                    how.id(),
                    index as c_uint,
                    &mut flags,
                    &mut count,
                    values.as_mut_ptr(),
                    0,
                    ptr::null_mut(),
                    &mut config,
                );
                filters.push((h5check(filter)?, values[..count.min(values.len())].to_vec()));
            }
            let mut options = 0;
            h5check(h5p::H5Pget_chunk_opts(how.id(), &mut options))?;
            let raw_edges = options & h5d::H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS != 0;
            let mut status = h5d::H5D_fill_value_t::H5D_FILL_VALUE_UNDEFINED;
            h5check(h5p::H5Pfill_value_defined(how.id(), &mut status))?;
            let mut fill = vec![0; size];
            if status == h5d::H5D_fill_value_t::H5D_FILL_VALUE_USER_DEFINED && h5t::H5Tget_size(dtype.id()) == size {
                h5check(h5p::H5Pget_fill_value(how.id(), dtype.id(), fill.as_mut_ptr().cast()))?;
            }
            Ok(Placement::Chunked { chunk, filters, raw_edges, fill })
        }
    })
}

/// The stored bytes of the chunk that begins at `at`, with its filter mask; `None` where it is not there. More than
/// `limit` bytes are refused.
pub(super) fn read_chunk(dataset: &Dataset, at: [u64; 2], limit: u64) -> Result<Option<(u32, Vec<u8>)>> {
    sync(|| {
        let (mut size, mut mask) = (0, 0);
        // SAFETY: the dataset is borrowed and therefore alive, `at` has its two dimensions. The lock is held from the
        // size to the read, so the chunk does not grow, and the buffer has room for it.
        unsafe {
            h5check(H5Dget_chunk_storage_size(dataset.id(), at.as_ptr(), &mut size))?;
            if size == 0 {
                return Ok(None);
            }
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

/// The texts from `first` on of a one-dimensional dataset whose type is text of any length.
pub(super) fn dataset_texts(dataset: &Dataset, first: u64, count: u64) -> Result<Vec<Vec<u8>>> {
    sync(|| {
        let (dtype, (space, memory)) = (dataset.dtype()?, part(dataset, first, count)?);
        let default = h5p::H5P_DEFAULT;
        // SAFETY: all identifiers are alive; `texts` gives a buffer of one pointer per element of the memory space.
        texts(&dtype, &memory, usize::MAX, |buffer| unsafe {
            h5check(h5d::H5Dread(dataset.id(), dtype.id(), memory.id(), space.id(), default, buffer))
        })
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
