//! Values as JSON, within bounds: sharing and cycles make a small pickle enormous when it is written out.

use serde_json::{Map, Number, Value, json};

use super::node::{Node, NodeId};
use super::tree::Tree;
use super::values;

/// Containers in containers that are written; deeper ones are left out.
const DEEPEST: usize = 64;
/// Values that are written altogether.
const MOST_VALUES: usize = 10_000;

impl Tree {
    /// A value as JSON.
    ///
    /// What JSON lacks becomes: bytes `{"bytes": length}`, arrays `{"array": {"shape", "dtype"}}`, long texts
    /// `{"text": {"bytes": length in the file}}`, big integers, dates, paths and other values their text, NaN and infinities
    /// `"nan"`, `"inf"`, `"-inf"`, tuples and sets lists, keys their text. A list that is too long ends with
    /// `{"more": items left out}`; what is nested too deep is `{"more": 1}`.
    #[must_use]
    pub fn to_json(&self, id: NodeId) -> Value {
        Writer { tree: self, left: MOST_VALUES }.value(id, DEEPEST)
    }
}

struct Writer<'a> {
    tree: &'a Tree,
    left: usize,
}

impl Writer<'_> {
    /// Recursive, but never deeper than `depth`.
    fn value(&mut self, id: NodeId, depth: usize) -> Value {
        self.left = self.left.saturating_sub(1);
        let tree = self.tree;
        match *tree.node(id) {
            Node::None => Value::Null,
            Node::Bool(value) => value.into(),
            Node::Int(value) => value.into(),
            Node::BigInt(_) => big(tree.int_text(id).unwrap_or_default()),
            Node::HugeInt => "an enormous int".into(),
            Node::Float(value) => float(value),
            Node::Complex { re, im } => values::complex(re, im).into(),
            Node::Text { form, len, .. } => match tree.text(id) {
                Some(text) => text.into(),
                None if form.is_str() || form.is_py2() => json!({ "text": { "bytes": len } }),
                None => json!({ "bytes": tree.bytes(id).map_or(len, |bytes| bytes.len() as u64) }),
            },
            Node::Shown(_, at) => String::from_utf8_lossy(tree.inline(id, at)).into(),
            Node::TimeDelta { seconds, micros } => values::time_delta(seconds, micros).into(),
            Node::BareUuid => Value::Null,
            Node::Opaque(global) | Node::Global(global) => tree.globals.name(global).into(),
            Node::Dtype(dtype) => dtype.name().into(),
            Node::Array(_) => match tree.array(id) {
                Some(array) => json!({ "array": { "shape": array.shape, "dtype": array.dtype.name() } }),
                None => json!({ "array": null }),
            },
            _ if depth == 0 => json!({ "more": 1 }),
            Node::Dict(_) => self.dict(id, depth - 1),
            Node::List(_) | Node::Tuple(_) | Node::Set(_) | Node::FrozenSet(_) => self.list(id, depth - 1),
        }
    }

    fn list(&mut self, id: NodeId, depth: usize) -> Value {
        let mut out = Vec::new();
        let mut items = self.tree.items(id);
        let mut more = self.tree.items_left_out(id);
        while self.left > 0 {
            let Some(item) = items.next() else { break };
            out.push(self.value(item, depth));
        }
        more += items.count() as u64;
        if more > 0 {
            out.push(json!({ "more": more }));
        }
        out.into()
    }

    fn dict(&mut self, id: NodeId, depth: usize) -> Value {
        let mut out = Map::new();
        let mut entries = self.tree.entries(id);
        while self.left > 0 {
            let Some((key, value)) = entries.next() else { break };
            // Keys are written shallowly: text within text within text doubles its backslashes each time.
            let key = match self.value(key, depth.min(2)) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            out.insert(key, self.value(value, depth));
        }
        let more = entries.count();
        if more > 0 {
            out.insert("…".into(), json!({ "more": more }));
        }
        out.into()
    }
}

fn float(value: f64) -> Value {
    match Number::from_f64(value) {
        Some(number) => number.into(),
        None if value.is_nan() => "nan".into(),
        None if value > 0.0 => "inf".into(),
        None => "-inf".into(),
    }
}

/// An integer beyond `i64`: a number while JSON has one, then text.
fn big(digits: String) -> Value {
    match digits.parse::<u64>() {
        Ok(value) => value.into(),
        Err(_) => digits.into(),
    }
}
