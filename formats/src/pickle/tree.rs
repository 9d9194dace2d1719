//! The values of a pickle after the scan, and how to look at them.

use std::borrow::Cow;

use super::allow::Globals;
use super::decode::{Coding, PayloadSpan, decode_all};
use super::error::PickleError;
use super::node::{Arena, Children, Inline, Node, NodeId, Shown};
use super::op::Form;
use super::source::Source;
use super::text::{coding_of, has_replacement, read_span, to_text};
use crate::dtype::{ByteOrder, Dtype, Order};

/// A numpy array: what it is, and where its bytes lie.
#[derive(Clone, Debug, PartialEq)]
pub struct PickledArray {
    /// Its class, for example `numpy.ndarray` or `numpy.matrix`.
    pub class: &'static str,
    /// Type of the elements.
    pub dtype: ElementType,
    /// Length of each dimension.
    pub shape: Vec<u64>,
    /// Order of the elements.
    pub order: Order,
    /// Where the bytes lie; of no length where the elements are Python objects.
    pub payload: PayloadSpan,
}

/// Type of an array's elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// A float that a store takes.
    Float(Dtype, ByteOrder),
    /// Any other type, by numpy's name for it.
    Other(String),
}

impl ElementType {
    /// numpy's name for it, for example `float32` or `int64`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            ElementType::Float(dtype, _) => dtype.name(),
            ElementType::Other(name) => name,
        }
    }
}

/// An array under construction: its class comes first, its state with BUILD.
#[derive(Debug)]
pub(super) struct ArraySlot {
    pub(super) class: &'static str,
    pub(super) built: Option<PickledArray>,
    /// It is joblib's: its bytes follow its state.
    pub(super) is_joblib: bool,
}

/// Bytes that one array takes here, its shape and names included; an estimate for the budget.
const ARRAY_COST: usize = 192;

/// The values of a pickle: plain ones as they are, arrays and long texts by their place in the file.
#[derive(Debug)]
pub struct Tree {
    pub(super) arena: Arena,
    /// Values that items of streamed lists share; they outlive the items.
    pub(super) shared: Arena,
    pub(super) arrays: Vec<ArraySlot>,
    pub(super) globals: Globals,
    pub(super) root: NodeId,
}

/// Longest text that is read from the file on demand.
const LONGEST_TEXT: u64 = 1 << 20;

impl Tree {
    pub(super) fn new() -> Self {
        Tree {
            arena: Arena::with_constants(),
            shared: Arena::default(),
            arrays: Vec::new(),
            globals: Globals::default(),
            root: NodeId::NONE,
        }
    }

    /// Bytes of memory in use, about.
    pub(super) fn size(&self) -> usize {
        self.arena.size() + self.shared.size() + self.arrays.len() * ARRAY_COST
    }

    /// Refuses a dict that has an array under a key that occurs twice. Python takes the last one; which one the writer
    /// meant, nobody knows.
    pub(super) fn check_keys(&self) -> Result<(), PickleError> {
        for node in &self.arena.nodes {
            let Node::Dict(kids) = node else { continue };
            let is_array = |id| matches!(self.node(id), Node::Array(_));
            if !self.arena.children(kids).skip(1).step_by(2).any(is_array) {
                continue;
            }
            let mut flat = self.arena.children(kids);
            let entries = std::iter::from_fn(|| Some((flat.next()?, flat.next()?)));
            let mut keys: Vec<_> =
                entries.filter_map(|(key, value)| Some((self.text(key)?, key, is_array(value)))).collect();
            keys.sort_by(|a, b| a.0.cmp(&b.0));
            let twice = keys.chunk_by(|a, b| a.0 == b.0).find(|run| run.len() > 1 && run.iter().any(|key| key.2));
            if let Some([.., (text, key, _)]) = twice
                && let Node::Text { offset, .. } = *self.node(*key)
            {
                return Err(PickleError::DuplicateArray { key: text.to_string(), offset });
            }
        }
        Ok(())
    }

    /// The value that the pickle holds.
    #[must_use]
    pub fn root(&self) -> NodeId {
        self.root
    }

    fn arena(&self, id: NodeId) -> &Arena {
        if id.is_shared() { &self.shared } else { &self.arena }
    }

    #[inline]
    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.arena(id).nodes[id.index()]
    }

    /// Bytes in an id's text table.
    pub(super) fn inline(&self, id: NodeId, at: Inline) -> &[u8] {
        self.arena(id).text(at)
    }

    /// The Python type of a value, for messages.
    #[must_use]
    pub fn type_name(&self, id: NodeId) -> &'static str {
        match self.node(id) {
            Node::None => "None",
            Node::Bool(_) => "bool",
            Node::Int(_) | Node::BigInt(_) | Node::HugeInt => "int",
            Node::Float(_) => "float",
            Node::Complex { .. } => "complex",
            Node::Text { form, .. } if form.is_str() || form.is_py2() => "str",
            Node::Text { .. } => "bytes",
            Node::Shown(shown, _) => shown.type_name(),
            Node::TimeDelta { .. } => "datetime.timedelta",
            Node::BareUuid => Shown::Uuid.type_name(),
            Node::Opaque(_) => "object",
            Node::List(_) => "list",
            Node::Tuple(_) => "tuple",
            Node::Dict(_) => "dict",
            Node::Set(_) => "set",
            Node::FrozenSet(_) => "frozenset",
            Node::Global(_) => "type",
            Node::Dtype(_) => "numpy.dtype",
            Node::Array(index) => self.arrays[*index as usize].class,
        }
    }

    /// The array that a value is.
    #[must_use]
    pub fn array(&self, id: NodeId) -> Option<&PickledArray> {
        match self.node(id) {
            Node::Array(index) => self.arrays[*index as usize].built.as_ref(),
            _ => None,
        }
    }

    /// The integer that a value is, where it fits.
    #[must_use]
    pub fn as_i64(&self, id: NodeId) -> Option<i64> {
        match self.node(id) {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The items of a list, a tuple or a set that were kept; those of other values are none.
    pub fn items(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        match self.node(id) {
            Node::Dict(_) => Children::NONE,
            _ => self.children(id),
        }
    }

    /// Items of a list that were handed to the [`ItemSink`](super::ItemSink), or that were too many to keep.
    #[must_use]
    pub fn items_left_out(&self, id: NodeId) -> u64 {
        self.node(id).kids().map_or(0, |kids| kids.dropped.into())
    }

    /// Keys and values of a dict, in the order of the file; a key may occur twice, and the last one counts.
    pub fn entries(&self, id: NodeId) -> impl Iterator<Item = (NodeId, NodeId)> {
        let mut flat = match self.node(id) {
            Node::Dict(_) => self.children(id),
            _ => Children::NONE,
        };
        std::iter::from_fn(move || Some((flat.next()?, flat.next()?)))
    }

    /// The value under a text key of a dict; Python 2's byte strings count as texts.
    #[must_use]
    pub fn dict_get(&self, id: NodeId, key: &str) -> Option<NodeId> {
        self.entries(id).filter(|&(found, _)| self.is_text(found, key)).last().map(|(_, value)| value)
    }

    fn is_text(&self, id: NodeId, text: &str) -> bool {
        match *self.node(id) {
            Node::Text { form: Form::Str | Form::StrMade | Form::Py2, len, .. } => {
                len == text.len() as u64 && self.encoded(id) == Some(text.as_bytes())
            }
            _ => self.text(id).is_some_and(|found| found == text),
        }
    }

    pub(super) fn children(&self, id: NodeId) -> Children<'_> {
        self.node(id).kids().map_or(Children::NONE, |kids| self.arena(id).children(kids))
    }

    /// The bytes of a text or bytes object as the file spells them, where they are in memory.
    fn encoded(&self, id: NodeId) -> Option<&[u8]> {
        match *self.node(id) {
            Node::Text { start, len, .. } if start != Node::ELSEWHERE => {
                Some(self.arena(id).text(Inline { start, len: len as u32 }))
            }
            _ => None,
        }
    }

    /// A text (`str`, or Python 2's) of at most a kilobyte; `None` for a longer one or for anything else.
    #[must_use]
    pub fn text(&self, id: NodeId) -> Option<Cow<'_, str>> {
        let Node::Text { form, .. } = self.node(id) else { return None };
        to_text(*form, self.encoded(id)?)
    }

    /// As [`Tree::text`], reading a longer text from the file.
    pub(super) fn text_from(&self, id: NodeId, source: &dyn Source) -> Result<Option<String>, PickleError> {
        let Node::Text { form, offset, len, .. } = *self.node(id) else { return Ok(None) };
        if !form.is_str() && !form.is_py2() {
            return Ok(None);
        }
        let encoded = match self.encoded(id) {
            Some(encoded) => Cow::Borrowed(encoded),
            None if len > LONGEST_TEXT => return Err(PickleError::TextTooLong { length: len, offset }),
            None => read_span(source, offset, len)?.into(),
        };
        let text = to_text(form, &encoded).ok_or(PickleError::BadArgument { what: "string", offset })?;
        if text.contains(char::REPLACEMENT_CHARACTER) && !has_replacement(form, &encoded) {
            return Err(PickleError::LoneSurrogate { offset });
        }
        Ok(Some(text.into_owned()))
    }

    /// The bytes of a short bytes object, or of a Python 2 string.
    pub(super) fn bytes(&self, id: NodeId) -> Option<Cow<'_, [u8]>> {
        let Node::Text { form, .. } = self.node(id) else { return None };
        let encoded = self.encoded(id)?;
        match coding_of(*form)? {
            Coding::Raw => Some(encoded.into()),
            coding => decode_all(coding, encoded).map(Cow::from),
        }
    }

    /// Where the bytes of a bytes object lie.
    pub(super) fn span(&self, id: NodeId) -> Option<PayloadSpan> {
        match *self.node(id) {
            Node::Text { form, offset, len, .. } => {
                Some(PayloadSpan { offset, encoded_len: len, coding: coding_of(form)? })
            }
            _ => None,
        }
    }

    /// An integer of any size as decimal text; `None` for a bool and for anything else.
    #[must_use]
    pub fn int_text(&self, id: NodeId) -> Option<String> {
        match *self.node(id) {
            Node::Int(value) => Some(value.to_string()),
            Node::BigInt(at) => Some(String::from_utf8_lossy(self.inline(id, at)).into_owned()),
            _ => None,
        }
    }
}
