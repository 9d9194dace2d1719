//! One decoded opcode, and the forms in which a pickle spells texts and bytes.

/// How the bytes of a text or bytes object are spelled in the file, and what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `str` as UTF-8, lone surrogates included.
    Str,
    /// `str` as a line of Latin-1 with `\u` escapes (UNICODE, protocol 0).
    StrEscaped,
    /// `str` that was made from other bytes (a numpy text); what is kept is UTF-8, and not what the file holds.
    StrMade,
    /// Python 2's `str`: bytes or text, nobody knows.
    Py2,
    /// Python 2's `str` as its `repr` without the quotes (STRING, protocol 0).
    Py2Repr,
    /// `bytes` as they are.
    Bytes,
    /// `bytes` as the UTF-8 of their Latin-1 text, inside `_codecs.encode` (protocols 1 and 2).
    BytesUtf8,
    /// `bytes` as an escaped line of Latin-1 text, inside `_codecs.encode` (protocol 0).
    BytesEscaped,
}

impl Form {
    /// What `_codecs.encode(text, 'latin1')` makes of it; `None` where that is no text of the file.
    pub(super) fn encoded(self) -> Option<Form> {
        match self {
            Form::Str => Some(Form::BytesUtf8),
            Form::StrEscaped => Some(Form::BytesEscaped),
            // Python 2 has no reason to encode, but a `str` would pass through unchanged.
            Form::Py2 | Form::Py2Repr => Some(self),
            _ => None,
        }
    }

    pub(super) fn is_str(self) -> bool {
        matches!(self, Form::Str | Form::StrEscaped | Form::StrMade)
    }

    pub(super) fn is_py2(self) -> bool {
        matches!(self, Form::Py2 | Form::Py2Repr)
    }
}

/// An opcode with its argument. A short argument's bytes are had from [`Lexer::arg`](super::lexer::Lexer::arg).
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    Proto(u8),
    Frame,
    Stop,
    Mark,
    Pop,
    PopMark,
    Dup,
    None,
    Bool(bool),
    Int(i64),
    /// Decimal digits in the argument.
    BigInt,
    /// An integer of more bytes than any program counts with.
    HugeInt,
    Float(f64),
    /// `len` bytes at `offset`; in the argument where they are few.
    Text {
        form: Form,
        offset: u64,
        len: u64,
    },
    EmptyTuple,
    Tuple,
    /// One, two or three values.
    TupleOf(usize),
    EmptyList,
    List,
    Append,
    Appends,
    EmptyDict,
    Dict,
    SetItem,
    SetItems,
    EmptySet,
    AddItems,
    FrozenSet,
    Put(u64),
    Memoize,
    Get(u64),
    /// Module, line feed, name in the argument.
    Global,
    StackGlobal,
    Reduce,
    NewObj,
    NewObjEx,
    /// As `Global`, and the arguments are above the mark.
    Inst,
    Obj,
    Build,
    /// The id is on the stack.
    PersistentId,
    ReadonlyBuffer,
}
