//! numpy's dtypes: a code such as `f4`, then a state with byte order, fields and size.

use super::allow::Meaning;
use super::machine::Machine;
use super::node::{DtypeNode, Node, NodeId};
use super::tree::ElementType;
use crate::dtype::{ByteOrder, Dtype};

impl Machine<'_> {
    /// A dtype before its state is set.
    pub(super) fn dtype(&self, args: &[NodeId]) -> Option<Node> {
        let &[code, _align, _copy] = args else { return None };
        let (letter, size, compound) = match self.meaning(code) {
            Some((Meaning::Bfloat16, _)) => (DtypeNode::BFLOAT16, 2, false),
            Some((Meaning::Record, _)) => (b'V', 0, true),
            // A type of another package: named, never used.
            Some(_) => (b'V', 0, false),
            None => {
                let code = self.tree.text(code)?;
                let digits = code.get(1..)?;
                let letter = code.as_bytes()[0];
                let size = if digits.is_empty() { 0 } else { digits.parse::<u32>().ok()? };
                b"biufcmMOSUV".contains(&letter).then_some((letter, size, false))?
            }
        };
        Some(Node::Dtype(DtypeNode { letter, order: b'=', compound, objects: letter == b'O', size }))
    }

    pub(super) fn dtype_with_state(&self, dtype: DtypeNode, state: NodeId) -> Option<DtypeNode> {
        let state: Vec<NodeId> = self.tree.items(state).take(10).collect();
        let &[_version, order, subarray, names, _fields, size, ref rest @ ..] = state.as_slice() else { return None };
        let order = match *self.tree.text(order)?.as_bytes() {
            [order @ (b'<' | b'>' | b'|' | b'=')] => order,
            _ => return None,
        };
        let is_none = |id| matches!(self.tree.node(id), Node::None);
        let compound = dtype.compound || !is_none(subarray) || !is_none(names);
        // Numbers have -1 here: their code says it.
        let size = match u32::try_from(self.tree.as_i64(size)?) {
            Ok(size) if b"SUV".contains(&dtype.letter) => size,
            _ => dtype.size,
        };
        // The last of the flags that follow says what the fields are made of.
        let flags = rest.get(1).and_then(|flags| self.tree.as_i64(*flags)).unwrap_or(0);
        let objects = dtype.objects || flags & HAS_OBJECTS != 0;
        Some(DtypeNode { order, compound, objects, size, ..dtype })
    }
}

/// numpy's `NPY_ITEM_REFCOUNT`.
const HAS_OBJECTS: i64 = 1;

impl DtypeNode {
    /// The letter that stands for `ml_dtypes.bfloat16`; numpy has no letter for it.
    pub(super) const BFLOAT16: u8 = b'E';

    /// What an array of these elements holds.
    pub(super) fn element(self) -> ElementType {
        let order = match self.order {
            b'>' => ByteOrder::Big,
            _ => ByteOrder::Little,
        };
        let float = match (self.letter, self.size) {
            _ if self.compound => None,
            (b'f', 2) => Some(Dtype::Float16),
            (b'f', 4) => Some(Dtype::Float32),
            (b'f', 8) => Some(Dtype::Float64),
            (Self::BFLOAT16, 2) => Some(Dtype::Bfloat16),
            _ => None,
        };
        float.map_or_else(|| ElementType::Other(self.name()), |dtype| ElementType::Float(dtype, order))
    }

    /// numpy's name for the type.
    pub(super) fn name(self) -> String {
        let bits = self.size * 8;
        match self.letter {
            _ if self.compound => "structured".into(),
            b'b' => "bool".into(),
            b'i' => format!("int{bits}"),
            b'u' => format!("uint{bits}"),
            b'f' if self.size > 8 => "longdouble".into(),
            b'f' => format!("float{bits}"),
            b'c' => format!("complex{bits}"),
            b'U' => "str".into(),
            b'S' => "bytes".into(),
            b'O' => "object".into(),
            b'M' => "datetime64".into(),
            b'm' => "timedelta64".into(),
            Self::BFLOAT16 => "bfloat16".into(),
            _ => "void".into(),
        }
    }
}
