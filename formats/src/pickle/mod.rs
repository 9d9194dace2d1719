//! Pickles: every array's place and the plain values, without running anything.
//!
//! ```text
//! 80 04                       PROTO 4
//! 95 <u64>                    FRAME: a hint for pipes, stepped over
//! 7d 94 28                    EMPTY_DICT  MEMOIZE  MARK
//! 8c 0a "embeddings" 94       SHORT_BINUNICODE  MEMOIZE
//!   … 93 … 52 … 28 …          numpy's _reconstruct: STACK_GLOBAL, REDUCE; then its state
//!   42 <u32>  ███████████     BINBYTES: the payload, stepped over; its place is noted
//!   94 74 94 62               MEMOIZE  TUPLE  MEMOIZE  BUILD
//! 8c 0b "start_index" 94 4b 00 …
//! 75 2e                       SETITEMS  STOP
//! ```
//!
//! Opcodes: CPython [`Lib/pickletools.py`](https://github.com/python/cpython/blob/main/Lib/pickletools.py) and
//! `Modules/_pickle.c`; protocols 4 and 5: [PEP 3154](https://peps.python.org/pep-3154/) and
//! [PEP 574](https://peps.python.org/pep-0574/); what numpy puts into them: see `arrays.rs`.
//!
//! [`scan`] reads protocols 0 to 5 in one pass. A 48 MB checkpoint costs two reads of 4 KiB: one before its payload and
//! one behind it. The result is a [`Tree`] of plain values (numbers, texts, containers, dates, numpy scalars) in which
//! an array is a [`PickledArray`]: its dtype, its shape and a [`PayloadSpan`]. In protocols 0 to 2 the payload is
//! spelled as text; [`Decoder`] gives back its bytes. `joblib.dump` writes raw arrays between the opcodes: `joblib.rs`.
//!
//! **Accepted** are calls of an exact list of names (`allow.rs`), read for what they mean and never made. A name that is
//! only mentioned is kept as a name. Arrays of any dtype are located; those that no store takes say what they hold
//! ([`ElementType::Other`]).
//!
//! **Refused** are calls of any other name, wherever the result would go; persistent ids, extension codes and
//! out-of-band buffers, which need the program that wrote the file (but for PyTorch's own: `tensors.rs`); joblib's
//! pickles within pickles and its side files; arrays whose payload does not fit their shape; one key with two arrays; and
//! whatever ends before its STOP.
//!
//! **Bounded**: lengths are compared with the file before anything is sought or stored, nothing recurses, and values
//! beyond a few dozen MiB end the scan. A list of millions of articles stays within that: see [`ItemSink`].
//!
//! ```
//! use embstore_formats::pickle::{KeepAll, scan};
//!
//! let bytes: &[u8] = b"\x80\x04}(\x8c\x05modelN\x8c\x04rowsK\x07u.";
//! let pickle = scan(&bytes, &mut KeepAll)?;
//! let rows = pickle.tree.dict_get(pickle.tree.root(), "rows").and_then(|id| pickle.tree.as_i64(id));
//! assert_eq!((rows, pickle.trailing), (Some(7), 0));
//! # Ok::<(), embstore_formats::pickle::PickleError>(())
//! ```

mod allow;
mod arrays;
mod call;
mod decode;
mod dtypes;
mod error;
mod item;
mod joblib;
mod json;
mod lexer;
mod locate;
mod machine;
mod memo;
mod node;
mod number;
mod op;
mod scalars;
mod scan;
mod source;
mod stack;
mod stream;
mod tensors;
mod text;
mod tree;
mod values;
mod window;
mod write;

pub use decode::{Coding, Decoder, PayloadSpan};
pub use error::PickleError;
pub use item::ItemRef;
#[cfg(feature = "containers")]
pub(crate) use locate::{CHECKPOINT_KEYS, LEGACY_TORCH, rows};
pub use locate::{LocateError, PickleFormat};
pub use node::NodeId;
#[cfg(feature = "containers")]
pub(crate) use scan::scan_torch;
pub use scan::{Pickle, scan};
pub use source::{FileSource, Source};
pub use stream::{ItemSink, KeepAll};
#[cfg(feature = "containers")]
pub(crate) use tensors::{Storages, TENSOR};
pub use tree::{ElementType, PickledArray, Tree};
