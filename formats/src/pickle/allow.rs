//! The allow-list: what a call of each global means. Anything else that is called is refused.
//!
//! Names are compared exactly, as `(module, name)`: a dotted name of protocol 4 is never resolved. A global that is only
//! named, for example as the factory of a `defaultdict`, is no danger and needs no row. Names were taken from the
//! pickles of numpy 1.14–2.5 under Python 2.7–3.13.

use std::collections::HashMap;

use super::node::Shown;
use super::tensors::{self, Torch};

/// What it means to call a global, or to name it as a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Not in the table.
    Unknown,
    /// `_reconstruct`: an array that BUILD will fill.
    Reconstruct,
    /// `_frombuffer`: an array with its payload.
    FromBuffer,
    /// `numpy.dtype`.
    Dtype,
    /// A numpy scalar.
    Scalar,
    /// One of PyTorch's, in its own files.
    Torch(Torch),
    /// A class of arrays, by the name that messages use.
    ArrayClass(&'static str),
    /// The element type of `ml_dtypes`.
    Bfloat16,
    /// `numpy.record`, the element type of a record array.
    Record,
    /// `_codecs.encode`.
    Encode,
    /// `copyreg._reconstructor`.
    Reconstructor,
    Bytes,
    Complex,
    Set,
    FrozenSet,
    List,
    Object,
    Dict,
    DefaultDict,
    Deque,
    TimeDelta,
    /// A value that is shown as text.
    Shown(Shown),
    /// joblib's stand-in for an array whose bytes follow in the stream.
    JoblibArray,
    /// joblib's older stand-in for an array that lies in a file of its own.
    JoblibSideFile,
}

impl Meaning {
    /// Whether NEWOBJ, OBJ and INST may make one: it is a class and not a function.
    pub(super) fn is_class(self) -> bool {
        use Meaning::{Encode, FromBuffer, Reconstruct, Reconstructor, Scalar};
        match self {
            Reconstruct | FromBuffer | Scalar | Encode | Reconstructor => false,
            Meaning::Torch(torch) => torch.is_class(),
            _ => true,
        }
    }
}

const MULTIARRAY: &[&str] = &[
    "numpy.core.multiarray",
    "numpy._core.multiarray",
    "numpy.core._multiarray_umath", // numpy 1.16.0 alone
];
const NUMERIC: &[&str] = &["numpy.core.numeric", "numpy._core.numeric"];
const BUILTINS: &[&str] = &["builtins", "__builtin__"];
const PATHLIB: &[&str] = &["pathlib", "pathlib._local"];
const JOBLIB: &[&str] = &["joblib.numpy_pickle", "sklearn.externals.joblib.numpy_pickle"];

/// Modules, names, meaning.
const TABLE: &[(&[&str], &[&str], Meaning)] = &[
    (MULTIARRAY, &["_reconstruct"], Meaning::Reconstruct),
    (&["numpy.core._internal"], &["_reconstruct"], Meaning::Reconstruct),
    (MULTIARRAY, &["scalar"], Meaning::Scalar),
    (NUMERIC, &["_frombuffer"], Meaning::FromBuffer),
    (&["numpy"], &["dtype"], Meaning::Dtype),
    (&["numpy"], &["ndarray"], Meaning::ArrayClass("numpy.ndarray")),
    (&["numpy", "numpy.matrixlib.defmatrix"], &["matrix"], Meaning::ArrayClass("numpy.matrix")),
    (&["numpy", "numpy.core.memmap"], &["memmap"], Meaning::ArrayClass("numpy.memmap")),
    (&["numpy", "numpy.rec"], &["recarray"], Meaning::ArrayClass("numpy.recarray")),
    (&["numpy"], &["record"], Meaning::Record),
    (&["ml_dtypes"], &["bfloat16"], Meaning::Bfloat16),
    (&["_codecs"], &["encode"], Meaning::Encode),
    (&["copy_reg", "copyreg"], &["_reconstructor"], Meaning::Reconstructor),
    (BUILTINS, &["bytes", "bytearray"], Meaning::Bytes),
    (BUILTINS, &["complex"], Meaning::Complex),
    (BUILTINS, &["set"], Meaning::Set),
    (BUILTINS, &["frozenset"], Meaning::FrozenSet),
    (BUILTINS, &["list"], Meaning::List),
    (BUILTINS, &["object"], Meaning::Object),
    (BUILTINS, &["range", "xrange"], Meaning::Shown(Shown::Range)),
    (BUILTINS, &["slice"], Meaning::Shown(Shown::Slice)),
    (&["collections"], &["OrderedDict", "Counter"], Meaning::Dict),
    (&["collections"], &["defaultdict"], Meaning::DefaultDict),
    (&["collections"], &["deque"], Meaning::Deque),
    (&["datetime"], &["datetime"], Meaning::Shown(Shown::DateTime)),
    (&["datetime"], &["date"], Meaning::Shown(Shown::Date)),
    (&["datetime"], &["time"], Meaning::Shown(Shown::Time)),
    (&["datetime"], &["timezone"], Meaning::Shown(Shown::TimeZone)),
    (&["datetime"], &["timedelta"], Meaning::TimeDelta),
    (&["decimal"], &["Decimal"], Meaning::Shown(Shown::Decimal)),
    (&["fractions"], &["Fraction"], Meaning::Shown(Shown::Fraction)),
    (&["uuid"], &["UUID"], Meaning::Shown(Shown::Uuid)),
    (
        PATHLIB,
        &["Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"],
        Meaning::Shown(Shown::Path),
    ),
    (JOBLIB, &["NumpyArrayWrapper"], Meaning::JoblibArray),
    (JOBLIB, &["NDArrayWrapper", "ZNDArrayWrapper"], Meaning::JoblibSideFile),
];

fn meaning(module: &str, name: &str) -> Meaning {
    let row = TABLE.iter().find(|(modules, names, _)| modules.contains(&module) && names.contains(&name));
    row.map_or(Meaning::Unknown, |row| row.2)
}

/// A global that a pickle names.
#[derive(Debug)]
struct Global {
    /// `module.name`.
    name: Box<str>,
    meaning: Meaning,
}

/// The globals of one pickle, each once.
#[derive(Debug, Default)]
pub(super) struct Globals {
    all: Vec<Global>,
    /// PyTorch's names have a meaning.
    pub(super) torch: bool,
    ids: HashMap<Box<[u8]>, u32>,
}

/// Different globals in one pickle; honest ones name a few dozen.
const MOST_GLOBALS: usize = 4096;

/// Why a global could not be noted.
pub(super) enum GlobalFault {
    Malformed,
    TooMany,
}

impl Globals {
    /// The number of a global, spelled module, line feed, name.
    pub(super) fn intern(&mut self, spelled: &[u8]) -> Result<u32, GlobalFault> {
        if let Some(&id) = self.ids.get(spelled) {
            return Ok(id);
        }
        let text = str::from_utf8(spelled).map_err(|_| GlobalFault::Malformed)?;
        // A line feed within a name would make two globals look like one.
        let (module, name) =
            text.split_once('\n').filter(|(_, name)| !name.contains('\n')).ok_or(GlobalFault::Malformed)?;
        if self.all.len() == MOST_GLOBALS {
            return Err(GlobalFault::TooMany);
        }
        let id = self.all.len() as u32;
        let meaning = match meaning(module, name) {
            Meaning::Unknown if self.torch => tensors::meaning(module, name),
            meaning => meaning,
        };
        self.all.push(Global { name: format!("{module}.{name}").into(), meaning });
        self.ids.insert(spelled.into(), id);
        Ok(id)
    }

    pub(super) fn meaning(&self, id: u32) -> Meaning {
        self.all[id as usize].meaning
    }

    /// `module.name`.
    pub(super) fn name(&self, id: u32) -> &str {
        &self.all[id as usize].name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_exactly_or_not_at_all() {
        assert_eq!(meaning("numpy", "dtype"), Meaning::Dtype);
        for (module, name) in [("numpy", "Dtype"), ("numpy.dtype", ""), ("numpy", "ndarray.dump"), ("os", "system")] {
            assert_eq!(meaning(module, name), Meaning::Unknown);
        }
    }

    #[test]
    fn a_line_feed_in_a_name_is_malformed() {
        let mut globals = Globals::default();
        assert!(globals.intern(b"os\nsystem").is_ok());
        assert!(matches!(globals.intern(b"os\nsys\ntem"), Err(GlobalFault::Malformed)));
        assert!(matches!(globals.intern(b"os"), Err(GlobalFault::Malformed)));
    }
}
