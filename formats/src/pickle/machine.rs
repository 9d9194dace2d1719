//! The stack machine: runs the opcodes over nodes, and calls nothing.
//!
//! How values become children of others is in [`stack`](super::stack), what a call means in [`call`](super::call), and
//! how lists grow without growing memory in [`stream`](super::stream).

use super::allow::GlobalFault;
use super::error::PickleError;
use super::lexer::{INLINE, Lexer};
use super::memo::{Entry, Memo};
use super::node::{Kids, Node, NodeId};
use super::op::{Form, Op};
use super::scan::Pickle;
use super::source::Source;
use super::stack::{MOST_STACKED, Slot};
use super::stream::{ItemSink, Streams};
use super::tensors::Storages;
use super::tree::Tree;

/// Bytes of all tables together.
const BUDGET: usize = 30 << 20;
/// Nodes. A little more would make the arena double, and be held twice while it is copied.
const MOST_NODES: usize = 1 << 20;
/// Bytes of short texts; later ones are known by their place alone.
const MOST_TEXT: usize = 6 << 20;
/// Opcodes between two looks at the budget: what so few of them can add is small.
const LOOK_EVERY: u32 = 1024;

pub(super) struct Machine<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) sink: &'a mut dyn ItemSink,
    pub(super) lexer: Lexer<'a>,
    pub(super) tree: Tree,
    pub(super) stack: Vec<Slot>,
    /// Stack heights at the open MARKs.
    pub(super) marks: Vec<u32>,
    pub(super) memo: Memo,
    pub(super) streams: Streams<'a>,
    /// Where storages lie, if this is the pickle of a PyTorch file.
    pub(super) storages: Option<&'a dyn Storages>,
    protocol: u8,
}

impl<'a> Machine<'a> {
    pub(super) fn new(source: &'a dyn Source, sink: &'a mut dyn ItemSink, storages: Option<&'a dyn Storages>) -> Self {
        let mut tree = Tree::new();
        tree.globals.torch = storages.is_some();
        Machine {
            source,
            sink,
            lexer: Lexer::new(source, 0),
            tree,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Memo::new(),
            streams: Streams::default(),
            storages,
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
            Op::Pop if self.marks.pop_if(|mark| *mark as usize == self.stack.len()).is_some() => {}
            Op::Pop => drop(self.pop()?),
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
            Op::PersistentId => self.persistent_id()?,
            Op::ReadonlyBuffer => {
                self.top()?;
            }
            // Frames are a hint for readers of pipes; their bounds bind nobody, CPython included.
            _ => {}
        }
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
        let is_spent = self.tree.size() + self.memo.size() + stacks > BUDGET;
        if is_spent || self.tree.arena.nodes.len() > MOST_NODES {
            return Err(self.too_many("values"));
        }
        Ok(())
    }
}
