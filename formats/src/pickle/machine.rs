//! The stack machine: runs the opcodes over nodes, and calls nothing.
//!
//! What a call means is decided in [`call`](super::call); how lists grow without growing memory, in
//! [`stream`](super::stream).

use super::allow::GlobalFault;
use super::error::PickleError;
use super::lexer::{INLINE, Lexer};
use super::memo::{Entry, Memo};
use super::node::{Kids, Node, NodeId};
use super::op::{Form, Op};
use super::source::Source;
use super::stream::{ItemSink, Streams};
use super::tree::Tree;
use super::scan::Pickle;

/// Values on the stack. CPython appends 1,000 items at a time, so this is much.
const MOST_STACKED: usize = 1 << 18;
/// Containers in containers; Python itself gives up at about 1,000.
const DEEPEST: u16 = 1000;
/// Bytes of all tables together.
const BUDGET: usize = 36 << 20;
/// Bytes of short texts; later ones are known by their place alone.
const MOST_TEXT: usize = 12 << 20;
/// Opcodes between two looks at the budget: what so few of them can add is small.
const LOOK_EVERY: u32 = 1024;

/// A place on the stack.
#[derive(Clone, Copy)]
pub(super) struct Slot(u32);

impl Slot {
    const FRESH: u32 = 1 << 31;

    fn new(id: NodeId, fresh: bool) -> Slot {
        Slot(id.0 | if fresh { Self::FRESH } else { 0 })
    }

    pub(super) fn id(self) -> NodeId {
        NodeId(self.0 & !Self::FRESH)
    }

    /// Pushed by the opcode that made the value, and not a second name for it. Whatever lies below such a slot is
    /// older than its value.
    pub(super) fn is_fresh(self) -> bool {
        self.0 & Self::FRESH != 0
    }
}

pub(super) struct Machine<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) sink: &'a mut dyn ItemSink,
    lexer: Lexer<'a>,
    pub(super) tree: Tree,
    pub(super) stack: Vec<Slot>,
    /// Stack heights at the open MARKs.
    pub(super) marks: Vec<u32>,
    pub(super) memo: Memo,
    pub(super) streams: Streams<'a>,
    protocol: u8,
}

impl<'a> Machine<'a> {
    pub(super) fn new(source: &'a dyn Source, sink: &'a mut dyn ItemSink) -> Self {
        Machine {
            source,
            sink,
            lexer: Lexer::new(source, 0),
            tree: Tree::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Memo::new(),
            streams: Streams::default(),
            protocol: 0,
        }
    }

    pub(super) fn run(mut self) -> Result<Pickle, PickleError> {
        if self.source.is_empty() {
            return Err(PickleError::Empty);
        }
        loop {
            for _ in 0..LOOK_EVERY {
                let op = self.lexer.next()?;
                match op {
                    Op::Memoize => {
                        let top = self.top()?.id();
                        self.memo.push(top).map_err(|_| self.too_many("memo entries"))?;
                    }
                    Op::Put(id) => {
                        let top = self.top()?.id();
                        self.memo.put(id, top).map_err(|_| self.too_many("memo entries"))?;
                    }
                    Op::Stop => return self.finish(),
                    op => {
                        self.memo.pass(self.lexer.at());
                        self.step(op)?;
                    }
                }
            }
            self.check_budget()?;
        }
    }

    fn finish(mut self) -> Result<Pickle, PickleError> {
        self.tree.root = self.pop()?.id();
        self.tree.check_keys()?;
        let end = self.lexer.offset();
        Ok(Pickle { tree: self.tree, protocol: self.protocol, end, trailing: self.source.len() - end })
    }

    #[inline]
    fn step(&mut self, op: Op) -> Result<(), PickleError> {
        match op {
            Op::Text { form, offset, len } => {
                let start = if len <= INLINE as u64 && self.tree.arena.texts_len() < MOST_TEXT {
                    self.tree.arena.add_text(self.lexer.arg()).start
                } else {
                    Node::ELSEWHERE
                };
                self.push_new(Node::Text { form, start, offset, len })
            }
            Op::Get(id) => {
                let node = match self.memo.get(id) {
                    Entry::Node(node) => node,
                    Entry::Hole => self.recall(id)?,
                    Entry::Missing => return Err(PickleError::BadMemo { id, offset: self.at() }),
                };
                self.push(node, false)
            }
            Op::Mark => {
                if self.marks.len() >= MOST_STACKED {
                    return Err(self.too_many("open marks"));
                }
                self.marks.push(self.stack.len() as u32);
                Ok(())
            }
            Op::EmptyDict => self.push_new(Node::Dict(Kids::EMPTY)),
            Op::SetItems => {
                let start = self.pop_mark()?;
                self.set_items(start)
            }
            Op::SetItem => {
                let start = self.above(2)?;
                self.set_items(start)
            }
            Op::Int(value) => match u8::try_from(value) {
                Ok(byte) => self.push(NodeId::byte(byte), false),
                Err(_) => self.push_new(Node::Int(value)),
            },
            Op::Float(value) => self.push_new(Node::Float(value)),
            Op::None => self.push(NodeId::NONE, false),
            Op::Bool(value) => self.push(if value { NodeId::TRUE } else { NodeId::FALSE }, false),
            Op::EmptyList => self.new_list(self.stack.len()),
            Op::Append => {
                let start = self.above(1)?;
                self.append(start)
            }
            Op::Appends => {
                let start = self.pop_mark()?;
                self.append(start)
            }
            op => self.step_rare(op),
        }
    }

    fn step_rare(&mut self, op: Op) -> Result<(), PickleError> {
        match op {
            Op::Proto(version) => self.protocol = self.protocol.max(version),
            Op::Pop => {
                if self.marks.pop_if(|mark| *mark as usize == self.stack.len()).is_none() {
                    self.pop()?;
                }
            }
            Op::PopMark => {
                let start = self.pop_mark()?;
                self.stack.truncate(start);
            }
            Op::Dup => {
                let top = self.top()?.id();
                self.push(top, false)?;
            }
            Op::BigInt => {
                let digits = self.tree.arena.add_text(self.lexer.arg());
                self.push_new(Node::BigInt(digits))?;
            }
            Op::HugeInt => self.push_new(Node::HugeInt)?,
            Op::EmptyTuple => self.push(NodeId::EMPTY_TUPLE, false)?,
            Op::Tuple => {
                let start = self.pop_mark()?;
                self.tuple(start)?;
            }
            Op::TupleOf(count) => {
                let start = self.stack.len().checked_sub(count).filter(|start| *start >= self.base());
                let start = start.ok_or_else(|| self.underflow())?;
                self.tuple(start)?;
            }
            Op::List => {
                let start = self.pop_mark()?;
                self.new_list(start)?;
                self.append(start + 1)?;
            }
            Op::Dict => {
                let start = self.pop_mark()?;
                let id = self.add(Node::Dict(Kids::EMPTY));
                self.stack.insert(start, Slot::new(id, true));
                self.set_items(start + 1)?;
            }
            Op::EmptySet => self.push_new(Node::Set(Kids::EMPTY))?,
            Op::AddItems => {
                let start = self.pop_mark()?;
                let target = self.target(start)?;
                let Node::Set(_) = self.tree.node(target.id()) else { return Err(self.bad_target(target)) };
                self.attach(start)?;
            }
            Op::FrozenSet => {
                let start = self.pop_mark()?;
                let kids = self.collect(start)?;
                self.push_new(Node::FrozenSet(kids))?;
            }
            Op::Global => {
                let id = self.intern_arg()?;
                self.push_new(Node::Global(id))?;
            }
            Op::StackGlobal => self.stack_global()?,
            Op::Reduce => self.reduce(false)?,
            Op::NewObj => self.reduce(true)?,
            Op::NewObjEx => self.new_object_with_keywords()?,
            Op::Inst => {
                let class = self.intern_arg()?;
                let start = self.pop_mark()?;
                let class = self.add(Node::Global(class));
                self.stack.insert(start, Slot::new(class, true));
                self.instance(start)?;
            }
            Op::Obj => {
                let start = self.pop_mark()?;
                if start == self.stack.len() {
                    return Err(self.underflow());
                }
                self.instance(start)?;
            }
            Op::Build => {
                let state = self.pop()?.id();
                let target = self.top()?;
                self.touch(target)?;
                self.build(target.id(), state)?;
            }
            Op::ReadonlyBuffer => {
                self.top()?;
            }
            // Frames are a hint for readers of pipes; their bounds bind nobody, CPython included.
            _ => {}
        }
        Ok(())
    }

    /// Offset of the opcode that is being run.
    pub(super) fn at(&self) -> u64 {
        self.lexer.at()
    }

    pub(super) fn add(&mut self, node: Node) -> NodeId {
        let id = NodeId(self.tree.arena.nodes.len() as u32);
        self.tree.arena.nodes.push(node);
        id
    }

    #[inline]
    pub(super) fn push(&mut self, id: NodeId, fresh: bool) -> Result<(), PickleError> {
        if self.stack.len() >= MOST_STACKED {
            return Err(self.too_many("values on the stack"));
        }
        self.stack.push(Slot::new(id, fresh));
        Ok(())
    }

    #[inline]
    pub(super) fn push_new(&mut self, node: Node) -> Result<(), PickleError> {
        let id = self.add(node);
        self.push(id, true)
    }

    /// Height of the stack at the last MARK: nothing below may be taken.
    fn base(&self) -> usize {
        self.marks.last().map_or(0, |mark| *mark as usize)
    }

    pub(super) fn pop(&mut self) -> Result<Slot, PickleError> {
        if self.stack.len() <= self.base() {
            return Err(self.underflow());
        }
        self.stack.pop().ok_or_else(|| self.underflow())
    }

    fn top(&self) -> Result<Slot, PickleError> {
        match self.stack.last() {
            Some(&slot) if self.stack.len() > self.base() => Ok(slot),
            _ => Err(self.underflow()),
        }
    }

    fn pop_mark(&mut self) -> Result<usize, PickleError> {
        let mark = self.marks.pop().ok_or(PickleError::NoMark { offset: self.at() })?;
        Ok(mark as usize)
    }

    /// Where the top `count` values begin; a value must lie below them.
    fn above(&self, count: usize) -> Result<usize, PickleError> {
        match self.stack.len().checked_sub(count) {
            Some(start) if start > self.base() => Ok(start),
            _ => Err(self.underflow()),
        }
    }

    /// The container below the values that begin at `start`.
    pub(super) fn target(&self, start: usize) -> Result<Slot, PickleError> {
        match start.checked_sub(1) {
            Some(at) if at >= self.base() => Ok(self.stack[at]),
            _ => Err(self.underflow()),
        }
    }

    fn tuple(&mut self, start: usize) -> Result<(), PickleError> {
        if start == self.stack.len() {
            return self.push(NodeId::EMPTY_TUPLE, false);
        }
        let kids = self.collect(start)?;
        self.push_new(Node::Tuple(kids))
    }

    fn set_items(&mut self, start: usize) -> Result<(), PickleError> {
        let target = self.target(start)?;
        let Node::Dict(_) = self.tree.node(target.id()) else { return Err(self.bad_target(target)) };
        if (self.stack.len() - start) % 2 == 1 {
            return Err(PickleError::OddItems { offset: self.at() });
        }
        for key in self.stack[start..].iter().step_by(2) {
            if let Node::List(_) | Node::Dict(_) | Node::Set(_) | Node::Array(_) = self.tree.node(key.id()) {
                let found = self.tree.type_name(key.id());
                return Err(PickleError::UnhashableKey { found, offset: self.at() });
            }
        }
        self.attach(start)
    }

    /// Moves the values from `start` on into the container below them.
    pub(super) fn attach(&mut self, start: usize) -> Result<(), PickleError> {
        let target = self.target(start)?;
        self.touch(target)?;
        let height = self.height(start)?;
        let arena = &mut self.tree.arena;
        if let Some(mut kids) = arena.nodes[target.id().index()].kids().copied() {
            kids.height = kids.height.max(height);
            arena.extend(&mut kids, self.stack[start..].iter().map(|slot| slot.id()));
            if let Some(place) = arena.nodes[target.id().index()].kids_mut() {
                *place = kids;
            }
        }
        self.stack.truncate(start);
        Ok(())
    }

    /// Moves the values from `start` on into a new container's children.
    fn collect(&mut self, start: usize) -> Result<Kids, PickleError> {
        let mut kids = Kids::of_height(self.height(start)?);
        self.tree.arena.extend(&mut kids, self.stack[start..].iter().map(|slot| slot.id()));
        self.stack.truncate(start);
        Ok(kids)
    }

    /// Height of a container that holds the values from `start` on.
    pub(super) fn height(&self, start: usize) -> Result<u16, PickleError> {
        let below = self.stack[start..].iter().filter_map(|slot| self.tree.node(slot.id()).kids());
        let height = below.map(|kids| kids.height + 1).max().unwrap_or(0);
        if height > DEEPEST {
            return Err(PickleError::TooDeep { limit: DEEPEST.into(), offset: self.at() });
        }
        Ok(height)
    }

    /// Notes that a value is about to change. Through a second name for it, newer values may come to hang below
    /// older ones, and from then on nothing can be let go.
    pub(super) fn touch(&mut self, target: Slot) -> Result<(), PickleError> {
        if target.id().is_shared() {
            return Err(self.bad_target(target));
        }
        self.streams.aliased |= !target.is_fresh();
        Ok(())
    }

    fn stack_global(&mut self) -> Result<(), PickleError> {
        let (name_id, module_id) = (self.pop()?.id(), self.pop()?.id());
        let is_str = |id| matches!(self.tree.node(id), Node::Text { form: Form::Str | Form::StrEscaped, .. });
        let spelled = match (self.tree.text(module_id), self.tree.text(name_id)) {
            (Some(module), Some(name)) if [module_id, name_id].into_iter().all(is_str) => format!("{module}\n{name}"),
            _ => return Err(PickleError::BadArgument { what: "global name", offset: self.at() }),
        };
        let id = self.intern(spelled.as_bytes())?;
        self.push_new(Node::Global(id))
    }

    fn intern_arg(&mut self) -> Result<u32, PickleError> {
        let result = self.tree.globals.intern(self.lexer.arg());
        result.map_err(|fault| self.bad_global(&fault))
    }

    fn intern(&mut self, spelled: &[u8]) -> Result<u32, PickleError> {
        let result = self.tree.globals.intern(spelled);
        result.map_err(|fault| self.bad_global(&fault))
    }

    fn bad_global(&self, fault: &GlobalFault) -> PickleError {
        match fault {
            GlobalFault::Malformed => PickleError::BadArgument { what: "global name", offset: self.at() },
            GlobalFault::TooMany => self.too_many("different globals"),
        }
    }

    fn check_budget(&self) -> Result<(), PickleError> {
        let stacks = (self.stack.len() + self.marks.len()) * size_of::<Slot>();
        if self.tree.size() + self.memo.size() + stacks > BUDGET {
            return Err(self.too_many("values"));
        }
        Ok(())
    }

    pub(super) fn too_many(&self, what: &'static str) -> PickleError {
        PickleError::TooManyValues { what, offset: self.at() }
    }

    fn underflow(&self) -> PickleError {
        PickleError::Underflow { offset: self.at() }
    }

    pub(super) fn bad_target(&self, target: Slot) -> PickleError {
        PickleError::BadTarget { found: self.tree.type_name(target.id()), offset: self.at() }
    }
}
