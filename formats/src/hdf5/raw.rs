//! What the safe bindings lack of files and types: names of any bytes, element types bit by bit, layouts and filters.
//!
//! All unsafe code of HDF5 is here and in `transfer`; every function takes the library's lock for all that it calls.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_uint};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use hdf5::plist::{DatasetCreate, FileAccess};
use hdf5::sync::sync;
use hdf5::{Dataset, Dataspace, Datatype, File, Group, Result, from_id, h5check};
use hdf5_sys::{h5d, h5f, h5p, h5s, h5t};

use crate::dtype::{ByteOrder, Dtype};

type Id = i64;

pub(super) fn c_name(bytes: &[u8]) -> Result<CString> {
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
