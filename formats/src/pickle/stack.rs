//! The stack and its marks, and how values on it become children of containers.

use super::error::PickleError;
use super::machine::Machine;
use super::node::{Kids, Node, NodeId};

/// Values on the stack. CPython appends 1,000 items at a time, so this is much.
pub(super) const MOST_STACKED: usize = 1 << 18;
/// Containers in containers; Python itself gives up at about 1,000.
const DEEPEST: u16 = 1000;

/// A place on the stack.
#[derive(Clone, Copy)]
pub(super) struct Slot(u32);

impl Slot {
    const FRESH: u32 = 1 << 31;

    pub(super) fn new(id: NodeId, fresh: bool) -> Slot {
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

impl Machine<'_> {
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
    pub(super) fn base(&self) -> usize {
        self.marks.last().map_or(0, |mark| *mark as usize)
    }

    pub(super) fn pop(&mut self) -> Result<Slot, PickleError> {
        if self.stack.len() <= self.base() {
            return Err(self.underflow());
        }
        self.stack.pop().ok_or_else(|| self.underflow())
    }

    pub(super) fn top(&self) -> Result<Slot, PickleError> {
        match self.stack.last() {
            Some(&slot) if self.stack.len() > self.base() => Ok(slot),
            _ => Err(self.underflow()),
        }
    }

    pub(super) fn pop_mark(&mut self) -> Result<usize, PickleError> {
        let mark = self.marks.pop().ok_or(PickleError::NoMark { offset: self.at() })?;
        Ok(mark as usize)
    }

    /// Where the top `count` values begin; a value must lie below them.
    pub(super) fn above(&self, count: usize) -> Result<usize, PickleError> {
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

    pub(super) fn tuple(&mut self, start: usize) -> Result<(), PickleError> {
        if start == self.stack.len() {
            return self.push(NodeId::EMPTY_TUPLE, false);
        }
        let kids = self.collect(start)?;
        self.push_new(Node::Tuple(kids))
    }

    pub(super) fn set_items(&mut self, start: usize) -> Result<(), PickleError> {
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
    pub(super) fn collect(&mut self, start: usize) -> Result<Kids, PickleError> {
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

    pub(super) fn too_many(&self, what: &'static str) -> PickleError {
        PickleError::TooManyValues { what, offset: self.at() }
    }

    pub(super) fn underflow(&self) -> PickleError {
        PickleError::Underflow { offset: self.at() }
    }

    pub(super) fn bad_target(&self, target: Slot) -> PickleError {
        PickleError::BadTarget { found: self.tree.type_name(target.id()), offset: self.at() }
    }
}
