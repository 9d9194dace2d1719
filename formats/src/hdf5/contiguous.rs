//! A store whose matrix is one run of bytes, filled by others while the library is kept away from it.
//!
//! The library lays out a *skeleton* of the full size beside the file and tells where the run lies. What the skeleton has
//! around the run is put into the file, whose blocks are then really allocated. A second call therefore cuts off whatever
//! articles and attributes an aborted run has left, and keeps its rows.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use hdf5::plist::FileAccessBuilder;

use crate::array::ArrayMeta;
use crate::articles::{ArticleSink, ArticlesWritten};
use crate::error::FormatError;
use crate::format::Fields;
use crate::region::{Region, Regions, allocate};
use crate::target::{Parts, Target};

use super::articles::Hdf5Articles;
use super::raw::{self, Storage};
use super::{MATRIX, attributes, beside, failed};

/// Rows start at a multiple of this.
const ALIGNMENT: u64 = 4096;
/// Bytes around the rows; the library needs a few KiB.
const MOST_AROUND: u64 = 1 << 20;

pub(super) struct ContiguousStore {
    path: PathBuf,
    regions: Regions,
}

impl ContiguousStore {
    pub(super) fn create(path: &Path, array: ArrayMeta) -> Result<Self, FormatError> {
        let skeleton = beside(path, "skeleton");
        let laid_out = lay_out(&skeleton, array);
        let around = laid_out.and_then(|offset| Ok((offset, Around::of(&skeleton, offset, array.payload_bytes())?)));
        fs::remove_file(&skeleton).or_else(ignore_missing).map_err(FormatError::io("remove", &skeleton))?;
        let (offset, around) = around?;
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(FormatError::io("create", path))?;
        file.set_len(around.len).map_err(FormatError::io("write", path))?;
        allocate(&file, around.len).map_err(FormatError::io("allocate", path))?;
        for (at, bytes) in [(0, &around.before), (offset + array.payload_bytes(), &around.behind)] {
            file.write_all_at(bytes, at).map_err(FormatError::io("write", path))?;
        }
        let region = Region { path: path.to_path_buf(), offset, array };
        Ok(ContiguousStore { path: path.to_path_buf(), regions: region.into() })
    }

    fn open(&self) -> Result<hdf5::File, FormatError> {
        raw::open(&self.path, true).map_err(failed("cannot be opened", &self.path))
    }
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Creates the skeleton; says where its rows are.
fn lay_out(path: &Path, array: ArrayMeta) -> Result<u64, FormatError> {
    let made = || {
        // Small matrices too are to be aligned.
        let threshold = array.payload_bytes().clamp(1, ALIGNMENT);
        let access = FileAccessBuilder::new().libver_earliest().alignment(threshold, ALIGNMENT).finish()?;
        let file = raw::create(path, &access)?;
        let shape = [array.rows(), array.cols()];
        let dataset = raw::create_dataset(&file, MATRIX, &raw::float_type(array.dtype)?, &shape, &Storage::Early)?;
        file.flush()?;
        Ok(dataset.offset())
    };
    let offset = made().map_err(failed("cannot be created", path))?;
    offset.ok_or_else(|| FormatError::Container {
        path: path.to_path_buf(),
        what: "the HDF5 library has not allocated the rows".into(),
        hint: "write another format, or build embstore with --features hdf5-static",
    })
}

/// What a file has around its rows.
struct Around {
    before: Vec<u8>,
    behind: Vec<u8>,
    len: u64,
}

impl Around {
    fn of(path: &Path, offset: u64, payload: u64) -> Result<Self, FormatError> {
        let read = || {
            let file = File::open(path)?;
            let len = file.metadata()?.len();
            let end = offset + payload;
            let behind = len.checked_sub(end).filter(|behind| offset + behind <= MOST_AROUND);
            let behind = behind.ok_or_else(|| io::Error::other(format!("its {len} bytes do not fit its rows")))?;
            let mut around = Around { before: vec![0; offset as usize], behind: vec![0; behind as usize], len };
            file.read_exact_at(&mut around.before, 0)?;
            file.read_exact_at(&mut around.behind, end)?;
            Ok(around)
        };
        read().map_err(FormatError::io("read", path))
    }
}

impl Target for ContiguousStore {
    fn parts(&self) -> Parts<'_> {
        Parts::Regions(&self.regions)
    }

    fn articles(&self) -> Result<Box<dyn ArticleSink>, FormatError> {
        Ok(Box::new(Hdf5Articles::create(&self.path, self.open()?, self.regions.array().rows())?))
    }

    fn finish(&self, metadata: &Fields, _articles: Option<&ArticlesWritten>) -> Result<(), FormatError> {
        let file = self.open()?;
        // What closing the file meets would be lost.
        let written = attributes::write_metadata(&file, metadata).and_then(|()| file.flush());
        written.map_err(failed("cannot be written", &self.path))
    }
}
