//! What can be wrong with a pickle, where, and what to do about it.
//!
//! Every variant carries the byte at which it was noticed. The path is added by the caller, which knows it.

use std::io;

/// Why a pickle was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// The file has no bytes at all.
    #[error("the file is empty")]
    Empty,
    /// The first byte begins no pickle.
    #[error("not a pickle: it begins with byte {byte:#04x}")]
    NotAPickle {
        /// The first byte.
        byte: u8,
    },
    /// The file ends before the pickle does.
    #[error("the pickle is cut short: the file ends at byte {offset}, before its STOP opcode")]
    Truncated {
        /// Where the bytes ran out.
        offset: u64,
    },
    /// A length or a frame reaches past the end of the file.
    #[error("a length of {length} bytes at byte {offset} reaches past the end of the file ({left} bytes are left)")]
    LengthBeyondEnd {
        /// The length that the file claims.
        length: u64,
        /// The bytes that there are.
        left: u64,
        /// Where the claimed bytes would begin.
        offset: u64,
    },
    /// A byte that is no opcode.
    #[error("no pickle opcode: byte {byte:#04x} at byte {offset}")]
    BadOpcode {
        /// The byte.
        byte: u8,
        /// Where it is.
        offset: u64,
    },
    /// The argument of an opcode is malformed.
    #[error("malformed {what} at byte {offset}")]
    BadArgument {
        /// What was expected.
        what: &'static str,
        /// Where the opcode is.
        offset: u64,
    },
    /// A protocol that no Python writes.
    #[error("pickle protocol {version} at byte {offset} is unknown (0 to 5 are known)")]
    UnsupportedProtocol {
        /// The protocol in the file.
        version: u8,
        /// Where it is declared.
        offset: u64,
    },
    /// A function or class outside the allow-list would have been called.
    #[error("refused: loading this pickle would call {global} (at byte {offset})")]
    Refused {
        /// `module.name` of what would be called.
        global: String,
        /// Where the call is.
        offset: u64,
    },
    /// An opcode whose meaning is not in the file: persistent ids and extension codes.
    #[error("refused: {what} at byte {offset} can only be resolved by the program that wrote the file")]
    RefusedOpcode {
        /// What the opcode asks for.
        what: &'static str,
        /// Where it is.
        offset: u64,
    },
    /// Protocol 5 buffers that were kept outside the file.
    #[error("the array's data is not in the file: out-of-band buffer at byte {offset}")]
    OutOfBand {
        /// Where the buffer is asked for.
        offset: u64,
    },
    /// `joblib.dump` puts an array of Python objects into a pickle of its own, between the opcodes.
    #[error("written by joblib.dump: an array of Python objects is a pickle within the pickle (at byte {offset})")]
    JoblibObjects {
        /// Where the array's state is set.
        offset: u64,
    },
    /// joblib up to 0.9 put arrays into files of their own.
    #[error("written by joblib 0.9 or older: the array named at byte {offset} lies in a file beside it (…_01.npy)")]
    JoblibSideFile {
        /// Where the array's stand-in is made.
        offset: u64,
    },
    /// An allowed function is called with arguments that Python's writers never give it.
    #[error("{global} at byte {offset} is called with arguments that Python never writes")]
    BadCall {
        /// `module.name` of what is called.
        global: String,
        /// Where the call is.
        offset: u64,
    },
    /// An opcode takes more values than the stack holds.
    #[error("an opcode at byte {offset} takes more values than there are")]
    Underflow {
        /// Where the opcode is.
        offset: u64,
    },
    /// An opcode looks for a MARK that was never set.
    #[error("an opcode at byte {offset} looks for a MARK that was never set")]
    NoMark {
        /// Where the opcode is.
        offset: u64,
    },
    /// A memo entry that does not exist, or cannot.
    #[error("memo entry {id} at byte {offset} does not exist")]
    BadMemo {
        /// The entry.
        id: u64,
        /// Where it is asked for.
        offset: u64,
    },
    /// A list's item that was already handed over is named again.
    #[error(
        "the value at byte {offset} is part of a list item that has already been read and let go (memo entry {id})"
    )]
    LetGo {
        /// The memo entry.
        id: u64,
        /// Where it is asked for.
        offset: u64,
    },
    /// Items are added to something that takes none.
    #[error("items are added to a value of type {found} at byte {offset}")]
    BadTarget {
        /// Type of the value.
        found: &'static str,
        /// Where the opcode is.
        offset: u64,
    },
    /// A dict gets a key without a value.
    #[error("a dict gets a key without a value at byte {offset}")]
    OddItems {
        /// Where the opcode is.
        offset: u64,
    },
    /// A key that Python could not hash.
    #[error("a value of type {found} cannot be a key (at byte {offset})")]
    UnhashableKey {
        /// Type of the key.
        found: &'static str,
        /// Where the opcode is.
        offset: u64,
    },
    /// Shape, type and payload of an array contradict each other.
    #[error("the array at byte {offset} contradicts itself: {fault}")]
    LyingArray {
        /// How.
        fault: String,
        /// Where the array is put together.
        offset: u64,
    },
    /// One dict has two arrays, or an array and something else, under one key.
    #[error("the key {key:?} occurs twice in one dict and holds an array (at byte {offset})")]
    DuplicateArray {
        /// The key.
        key: String,
        /// Where its last occurrence is.
        offset: u64,
    },
    /// Containers in containers in containers.
    #[error("values are nested more than {limit} deep at byte {offset}")]
    TooDeep {
        /// The limit.
        limit: usize,
        /// Where it was passed.
        offset: u64,
    },
    /// More values than the scanner's memory budget holds.
    #[error("too many {what} at byte {offset}")]
    TooManyValues {
        /// What there are too many of.
        what: &'static str,
        /// Where the budget was spent.
        offset: u64,
    },
    /// A text that was asked for is longer than any title or id.
    #[error("a text of {length} bytes at byte {offset} is too long to be read")]
    TextTooLong {
        /// Its length in the file.
        length: u64,
        /// Where it begins.
        offset: u64,
    },
    /// A text that no UTF-8 can hold, asked for in full.
    #[error("the text at byte {offset} holds a lone surrogate and is no Unicode text")]
    LoneSurrogate {
        /// Where it begins.
        offset: u64,
    },
    /// The receiver of a list's items had enough.
    #[error("reading was stopped")]
    Stopped,
    /// The file could not be read.
    #[error("cannot read at byte {offset}: {source}")]
    Io {
        /// Where.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
}

/// One row per family of globals: prefix of the module, how to save a readable file from Python instead.
const HINTS: [(&str, &str); 12] = [
    ("pandas", "load it with pandas and save the numbers: np.save(\"embeddings.npy\", df.to_numpy())"),
    ("pyarrow", "load it in Python and write it with pyarrow.parquet.write_table, or save .to_numpy()"),
    ("numpy.ma", "load it in Python and save arr.filled(np.nan) instead of the masked array"),
    ("torch", "load it in Python and save tensor.cpu().numpy() instead of the tensor"),
    ("tensorflow", "load it in Python and save tensor.numpy() instead of the tensor"),
    ("jax", "load it in Python and save np.asarray(array) instead of the jax array"),
    ("scipy.sparse", "load it in Python and save matrix.toarray() instead of the sparse matrix"),
    ("joblib", JOBLIB_HINT),
    ("sklearn", "save the array itself, not the model that holds it"),
    ("pytz", "save the timestamp as text: timestamp.isoformat()"),
    ("zoneinfo", "save the timestamp as text: timestamp.isoformat()"),
    ("numpy", "save it with np.save, or as a plain numpy array with pickle.dump(arr, f, protocol=4)"),
];

const JOBLIB_HINT: &str =
    "load it with joblib.load and save it with pickle.dump(obj, f, protocol=4) or np.save(\"embeddings.npy\", arr)";

impl PickleError {
    /// What to do about it, as one sentence for a user.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Empty | Self::Truncated { .. } | Self::LengthBeyondEnd { .. } => {
                "the file was not written or copied completely: fetch it again, or re-run the worker that wrote it"
            }
            Self::NotAPickle { .. } | Self::BadOpcode { .. } => {
                "it is no pickle, or damaged: look at it with `file` or `head -c 64`, and fetch it again"
            }
            Self::Refused { global, .. } | Self::BadCall { global, .. } => HINTS
                .iter()
                .find(|(prefix, _)| global.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')))
                .map_or(
                    "if you trust the file, load it in Python and save a dict of numpy arrays, numbers and texts",
                    |row| row.1,
                ),
            Self::JoblibObjects { .. } | Self::JoblibSideFile { .. } => JOBLIB_HINT,
            Self::OutOfBand { .. } => "write it again with pickle.dump(obj, f, protocol=5), without buffer_callback",
            Self::RefusedOpcode { .. } => "load it with the program that wrote it, and save plain numpy arrays",
            Self::UnsupportedProtocol { .. } => "the file is damaged, or newer than this program",
            Self::LyingArray { .. } | Self::DuplicateArray { .. } => {
                "the file is damaged or was made by hand: re-run the worker that wrote it"
            }
            Self::TooDeep { .. } | Self::TooManyValues { .. } | Self::LetGo { .. } => {
                "load it in Python and save the array on its own: np.save(\"embeddings.npy\", obj[\"embeddings\"])"
            }
            Self::TextTooLong { .. } => "shorten the text, or leave it out of the articles",
            Self::LoneSurrogate { .. } => "replace it in Python: text.encode('utf-8', 'replace').decode('utf-8')",
            Self::Stopped | Self::Io { .. } => "see the cause above",
            _ => "the file is damaged, or was not written by Python's pickle: fetch it again",
        }
    }
}
