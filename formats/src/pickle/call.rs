//! What a call means. Nothing is ever called: an allowed name becomes the value that Python would have made, and any
//! other ends the scan, wherever its result would have gone.

use super::allow::Meaning;
use super::error::PickleError;
use super::machine::Machine;
use super::node::{Kids, Node, NodeId, Shown};
use super::values;

/// Arguments of one call; no allowed one takes more, but a path has many parts.
const MOST_ARGS: usize = 256;

impl Machine<'_> {
    /// REDUCE and NEWOBJ: `callee(*args)`.
    pub(super) fn reduce(&mut self, is_new: bool) -> Result<(), PickleError> {
        let (args, callee) = (self.pop()?.id(), self.pop()?.id());
        let Node::Tuple(_) = self.tree.node(args) else { return Err(self.bad_call(callee)) };
        let args: Vec<NodeId> = self.tree.items(args).take(MOST_ARGS).collect();
        self.call(callee, &args, is_new)
    }

    /// NEWOBJ_EX: no allowed class has keyword arguments.
    pub(super) fn new_object_with_keywords(&mut self) -> Result<(), PickleError> {
        let (_, _, callee) = (self.pop()?, self.pop()?, self.pop()?.id());
        match self.meaning(callee) {
            Some((Meaning::Unknown, global)) => Err(self.refused(global)),
            _ => Err(self.bad_call(callee)),
        }
    }

    /// INST and OBJ: the class lies at `start`, its arguments above.
    pub(super) fn instance(&mut self, start: usize) -> Result<(), PickleError> {
        let callee = self.stack[start].id();
        let args: Vec<NodeId> = self.stack[start + 1..].iter().take(MOST_ARGS).map(|slot| slot.id()).collect();
        self.stack.truncate(start);
        self.call(callee, &args, true)
    }

    fn call(&mut self, callee: NodeId, args: &[NodeId], is_new: bool) -> Result<(), PickleError> {
        let Some((meaning, global)) = self.meaning(callee) else { return Err(self.bad_call(callee)) };
        if is_new && !meaning.is_class() {
            return Err(self.bad_call(callee));
        }
        match self.made(meaning, global, args)? {
            Some(node) => self.push_new(node),
            None => Err(self.bad_call(callee)),
        }
    }

    /// The value that a call makes; `None` where the arguments are not those that Python writes.
    fn made(&mut self, meaning: Meaning, global: u32, args: &[NodeId]) -> Result<Option<Node>, PickleError> {
        Ok(match (meaning, args) {
            (Meaning::Reconstruct, args) => return self.reconstruct(args),
            (Meaning::FromBuffer, args) => return self.array_from_buffer(args).map(Some),
            (Meaning::Dtype, args) => self.dtype(args),
            (Meaning::Scalar, args) => return self.scalar(global, args),
            (Meaning::Torch(torch), args) => return self.torch(torch, global, args),
            (Meaning::Encode, &[text, codec]) if self.tree.text(codec).is_some_and(|name| name == "latin1") => {
                self.encode(text)
            }
            // Python 3 writes a bytearray for Python 2 as a text and its codec.
            (Meaning::Bytes, &[text, codec]) if self.tree.text(codec).is_some_and(|name| name == "latin-1") => {
                self.encode(text)
            }
            (Meaning::Bytes, &[bytes]) if self.tree.span(bytes).is_some() => self.copy_text(bytes),
            (Meaning::Bytes, []) => Some(self.no_bytes()),
            (Meaning::Reconstructor, &[class, base, state]) => return self.reconstructor(class, base, state),
            (Meaning::Object, []) => Some(Node::Opaque(global)),
            (Meaning::Complex, &[re, im]) => self.complex(re, im),
            (Meaning::Dict, []) | (Meaning::DefaultDict, [] | [_]) => Some(Node::Dict(Kids::EMPTY)),
            (Meaning::Dict, &[items]) => self.dict_of(items),
            (Meaning::List | Meaning::Deque, []) => Some(Node::List(Kids::EMPTY)),
            (Meaning::List, &[items]) | (Meaning::Deque, &[items] | &[items, _]) => self.copy(items).map(Node::List),
            (Meaning::Set, []) => Some(Node::Set(Kids::EMPTY)),
            (Meaning::Set, &[items]) => self.copy(items).map(Node::Set),
            (Meaning::FrozenSet, []) => Some(Node::FrozenSet(Kids::EMPTY)),
            (Meaning::FrozenSet, &[items]) => self.copy(items).map(Node::FrozenSet),
            (Meaning::TimeDelta, &[days, seconds, micros]) => self.time_delta(days, seconds, micros),
            (Meaning::Shown(Shown::Uuid), []) => Some(Node::BareUuid),
            (Meaning::Shown(kind), args) => {
                let text = values::show(&self.tree, kind, args);
                text.map(|text| Node::Shown(kind, self.tree.arena.add_text(text.as_bytes())))
            }
            (Meaning::JoblibArray, []) => Some(self.joblib_array()),
            (Meaning::JoblibSideFile, _) => return Err(PickleError::JoblibSideFile { offset: self.at() }),
            (Meaning::Unknown | Meaning::ArrayClass(_) | Meaning::Bfloat16 | Meaning::Record, _) => {
                return Err(self.refused(global));
            }
            _ => None,
        })
    }

    /// BUILD: the value on the stack gets its state.
    pub(super) fn build(&mut self, target: NodeId, state: NodeId) -> Result<(), PickleError> {
        let built = match *self.tree.node(target) {
            Node::Array(index) => return self.build_array(index, state),
            Node::Dtype(dtype) => self.dtype_with_state(dtype, state).map(Node::Dtype),
            Node::BareUuid => self.uuid(state),
            // Attributes of an OrderedDict and its like: nothing that a store would hold.
            node @ (Node::Dict(_) | Node::List(_)) => match self.tree.node(state) {
                Node::Dict(_) | Node::None => Some(node),
                _ => None,
            },
            _ => {
                return Err(PickleError::BadTarget { found: self.tree.type_name(target), offset: self.at() });
            }
        };
        let Some(built) = built else {
            return Err(PickleError::BadArgument { what: "state of an object", offset: self.at() });
        };
        self.tree.arena.nodes[target.index()] = built;
        Ok(())
    }

    /// `copyreg._reconstructor(class, object, None)`: how protocols 0 and 1 make an object.
    fn reconstructor(&mut self, class: NodeId, base: NodeId, state: NodeId) -> Result<Option<Node>, PickleError> {
        let Some((meaning, global)) = self.meaning(class) else { return Ok(None) };
        if meaning == Meaning::Unknown {
            return Err(self.refused(global));
        }
        let is_object = matches!(self.meaning(base), Some((Meaning::Object, _)));
        if !is_object || !meaning.is_class() || !matches!(self.tree.node(state), Node::None) {
            return Ok(None);
        }
        self.made(meaning, global, &[])
    }

    /// What it means to call a value, and its global; `None` where it is no global.
    pub(super) fn meaning(&self, id: NodeId) -> Option<(Meaning, u32)> {
        match *self.tree.node(id) {
            Node::Global(global) => Some((self.tree.globals.meaning(global), global)),
            _ => None,
        }
    }

    pub(super) fn refused(&self, global: u32) -> PickleError {
        PickleError::Refused { global: self.tree.globals.name(global).into(), offset: self.at() }
    }

    pub(super) fn bad_call(&self, callee: NodeId) -> PickleError {
        let global = match self.tree.node(callee) {
            Node::Global(global) => self.tree.globals.name(*global).into(),
            _ => format!("a value of type {}", self.tree.type_name(callee)),
        };
        PickleError::BadCall { global, offset: self.at() }
    }

    /// `_codecs.encode(text, 'latin1')`: bytes in a file that has none.
    fn encode(&mut self, text: NodeId) -> Option<Node> {
        let Node::Text { form, start, offset, len } = self.copy_text(text)? else { return None };
        Some(Node::Text { form: form.encoded()?, start, offset, len })
    }

    /// A text once more, with its bytes in this arena.
    pub(super) fn copy_text(&mut self, id: NodeId) -> Option<Node> {
        let Node::Text { form, start, offset, len } = *self.tree.node(id) else { return None };
        let start = if id.is_shared() { Node::ELSEWHERE } else { start };
        Some(Node::Text { form, start, offset, len })
    }

    fn no_bytes(&mut self) -> Node {
        let start = self.tree.arena.add_text(&[]).start;
        Node::Text { form: super::op::Form::Bytes, start, offset: self.at(), len: 0 }
    }

    /// The items of a container, for another one.
    pub(super) fn copy(&mut self, items: NodeId) -> Option<Kids> {
        let from = *self.tree.node(items).kids()?;
        if let Node::Dict(_) = self.tree.node(items) {
            return None;
        }
        let ids: Vec<NodeId> = self.tree.items(items).collect();
        let mut kids = Kids::like(&from);
        self.tree.arena.extend(&mut kids, ids.into_iter());
        Some(kids)
    }

    /// A dict of another dict's entries (`Counter`), or of a list of pairs (`OrderedDict` in Python 2).
    fn dict_of(&mut self, items: NodeId) -> Option<Node> {
        let from = *self.tree.node(items).kids()?;
        let mut flat = Vec::with_capacity(from.kept as usize * 2);
        if let Node::Dict(_) = self.tree.node(items) {
            flat.extend(self.tree.children(items));
        } else {
            for pair in self.tree.items(items) {
                let mut pair = self.tree.items(pair);
                flat.extend([pair.next()?, pair.next()?]);
                if pair.next().is_some() {
                    return None;
                }
            }
        }
        let mut kids = Kids::like(&from);
        self.tree.arena.extend(&mut kids, flat.into_iter());
        Some(Node::Dict(kids))
    }

    fn complex(&self, re: NodeId, im: NodeId) -> Option<Node> {
        let float = |id| match *self.tree.node(id) {
            Node::Float(value) => Some(value),
            _ => None,
        };
        Some(Node::Complex { re: float(re)?, im: float(im)? })
    }

    fn time_delta(&self, days: NodeId, seconds: NodeId, micros: NodeId) -> Option<Node> {
        let days = self.tree.as_i64(days)?.checked_mul(86_400)?;
        let seconds = days.checked_add(self.tree.as_i64(seconds)?)?;
        let micros = u32::try_from(self.tree.as_i64(micros)?).ok().filter(|micros| *micros < 1_000_000)?;
        Some(Node::TimeDelta { seconds, micros })
    }

    fn uuid(&mut self, state: NodeId) -> Option<Node> {
        let text = values::uuid(&self.tree.int_text(self.tree.dict_get(state, "int")?)?)?;
        Some(Node::Shown(Shown::Uuid, self.tree.arena.add_text(text.as_bytes())))
    }
}
