//! Long lists in bounded memory.
//!
//! A list keeps its first 1,024 items; those that follow are handed to the [`ItemSink`] or counted, and what they were
//! made of is let go: arena and memo are cut back to where they stood before the batch. That is safe because
//!
//! - the list's slot is fresh, so everything below it on the stack is older than the list;
//! - nothing older has changed since: only values above the list can be changed while it is open, and a change through
//!   a second name for a value (`GET`, `DUP`) switches cutting off for good;
//! - what the memo named becomes a hole, and a text that is asked for out of a hole is read again.
//!
//! The nodes of a list's first items always stay. They bring the keys, dtypes and globals that all others share.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::error::PickleError;
use super::item::ItemRef;
use super::lexer::{INLINE, Lexer};
use super::machine::Machine;
use super::memo::MemoMark;
use super::node::{ArenaMark, Kids, Node, NodeId};
use super::op::Op;
use super::text::read_span;

/// Receives the items of one long list, one by one, instead of having them kept in memory.
///
/// The list is the pickle's top-level value, or a value of the dict that is. (The one list in a dict of one entry within
/// that dict looks the same until it is complete, and is asked for, too.)
pub trait ItemSink {
    /// Whether to hand over the items of the list under this key, or of the top-level list (`None`).
    fn wants(&mut self, key: Option<&str>) -> bool;

    /// Takes the item at `index`. To break ends the scan with [`PickleError::Stopped`].
    fn item(&mut self, index: u64, item: ItemRef<'_>) -> ControlFlow<()>;
}

/// The [`ItemSink`] that wants nothing: a list keeps its first 1,024 items in the tree.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepAll;

impl ItemSink for KeepAll {
    fn wants(&mut self, _key: Option<&str>) -> bool {
        false
    }

    fn item(&mut self, _index: u64, _item: ItemRef<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Items of a list that stay.
const KEPT: u64 = 1024;
/// From this many bytes in the arena on, a list keeps none.
const CROWDED: usize = 14 << 20;
/// Open lists that are watched; one that is nested deeper keeps its items.
const MOST_OPEN: usize = 1024;
/// Values that are kept because items share them.
const MOST_SHARED: usize = 1 << 15;
/// Globals and dtypes among them, so that texts find room.
const MOST_PINNED: usize = 1 << 12;
/// Bytes of short texts among them.
const MOST_SHARED_TEXT: usize = 2 << 20;

/// What to cut back to.
#[derive(Clone, Copy)]
struct Mark {
    arena: ArenaMark,
    arrays: usize,
    memo: MemoMark,
}

/// A list whose slot is fresh.
struct Open {
    slot: usize,
    list: NodeId,
    wanted: bool,
    /// After the last item that stays.
    mark: Mark,
}

/// The open lists, and what they let go.
#[derive(Default)]
pub(super) struct Streams<'a> {
    open: Vec<Open>,
    /// A value was changed through a second name.
    pub(super) aliased: bool,
    /// Values behind numbers in the memo's holes.
    shared: HashMap<u64, NodeId>,
    /// Reads again what was let go.
    again: Option<Lexer<'a>>,
}

impl Machine<'_> {
    /// Puts a new list at `slot`, below the values that are there.
    pub(super) fn new_list(&mut self, slot: usize) -> Result<(), PickleError> {
        let list = self.add(Node::List(Kids::EMPTY));
        self.push(list, true)?;
        self.stack[slot..].rotate_right(1);
        while self.streams.open.pop_if(|open| open.slot >= slot).is_some() {}
        if self.streams.open.len() < MOST_OPEN {
            let wanted = self.is_wanted(slot);
            let mark = self.mark();
            self.streams.open.push(Open { slot, list, wanted, mark });
        }
        Ok(())
    }

    /// Asks the sink about a list that is the top-level value, or becomes a value of a dict that is.
    fn is_wanted(&mut self, slot: usize) -> bool {
        if slot == 0 {
            return self.marks.is_empty() && self.sink.wants(None);
        }
        let follows_key = match self.marks[..] {
            [] => slot == 2,
            [1] => slot.is_multiple_of(2),
            _ => false,
        };
        if !follows_key || !matches!(self.tree.node(self.stack[0].id()), Node::Dict(_)) {
            return false;
        }
        let key = self.tree.text(self.stack[slot - 1].id());
        key.is_some_and(|key| self.sink.wants(Some(&key)))
    }

    fn mark(&self) -> Mark {
        Mark { arena: self.tree.arena.mark(), arrays: self.tree.arrays.len(), memo: self.memo.mark() }
    }

    /// Appends the values from `start` on to the list below them.
    pub(super) fn append(&mut self, start: usize) -> Result<(), PickleError> {
        let target = self.target(start)?;
        let list = target.id();
        let Node::List(mut kids) = *self.tree.node(list) else { return Err(self.bad_target(target)) };
        self.touch(target)?;
        while self.streams.open.pop_if(|open| open.slot >= start).is_some() {}
        let open = self.streams.open.last().filter(|open| open.slot + 1 == start && open.list == list);
        let (wanted, mark) = open.map_or((false, None), |open| (open.wanted, Some(open.mark)));

        let before = u64::from(kids.kept) + u64::from(kids.dropped);
        let count = (self.stack.len() - start) as u64;
        if wanted {
            self.hand_over(start, before)?;
        }
        let crowded = self.tree.arena.size() > CROWDED;
        let stays = !crowded && (before == 0 || before + count <= KEPT);
        let keep = if wanted || !stays { 0 } else { count.min(KEPT) };
        let dropped = count - keep;
        self.stack.truncate(start + keep as usize);
        self.attach(start)?;
        if let Some(list) = self.tree.arena.nodes[list.index()].kids_mut() {
            list.dropped = list.dropped.saturating_add(dropped as u32);
            kids = *list;
        }
        debug_assert_eq!(u64::from(kids.kept) + u64::from(kids.dropped), before + count);
        if let Some(mark) = mark
            && !stays
            && target.is_fresh()
            && !self.streams.aliased
            && self.memo.is_regular()
        {
            self.cut(mark);
        }
        let mark = self.mark();
        if let Some(open) = self.streams.open.last_mut().filter(|open| open.list == list) {
            open.mark = mark;
        }
        Ok(())
    }

    fn hand_over(&mut self, start: usize, before: u64) -> Result<(), PickleError> {
        for (index, slot) in (before..).zip(&self.stack[start..]) {
            let item = ItemRef::new(&self.tree, self.source, slot.id());
            if self.sink.item(index, item).is_break() {
                return Err(PickleError::Stopped);
            }
        }
        Ok(())
    }

    /// Lets go of everything made since a mark, except the globals and dtypes that the memo knows.
    fn cut(&mut self, mark: Mark) {
        for (id, node) in self.memo.since(mark.memo) {
            if node.is_shared() || self.streams.shared.len() >= MOST_PINNED {
                continue;
            }
            let node = self.tree.arena.nodes[node.index()];
            if let Node::Global(_) | Node::Dtype(_) = node {
                let pinned = NodeId::shared(self.tree.shared.nodes.len());
                self.tree.shared.nodes.push(node);
                self.streams.shared.insert(id, pinned);
            }
        }
        self.memo.cut(mark.memo);
        self.tree.arena.cut(mark.arena);
        self.tree.arrays.truncate(mark.arrays);
    }

    /// A value that was let go and is named again, read from the file once more.
    #[cold]
    pub(super) fn recall(&mut self, id: u64) -> Result<NodeId, PickleError> {
        if let Some(&node) = self.streams.shared.get(&id) {
            return Ok(node);
        }
        let offset = self.at();
        let gone = || PickleError::LetGo { id, offset };
        if self.streams.shared.len() >= MOST_SHARED {
            return Err(self.too_many("texts that items share"));
        }
        let from = self.memo.checkpoint(id).ok_or_else(gone)?;
        let lexer = self.streams.again.get_or_insert_with(|| Lexer::new(self.source, 0));
        lexer.jump(from.offset);
        let mut next = from.id;
        let mut last = None;
        while lexer.offset() < offset {
            let set = match lexer.next()? {
                Op::Memoize => next,
                Op::Put(id) => id,
                op => {
                    last = Some(op);
                    continue;
                }
            };
            if set == id {
                let node = self.simple(last).transpose().ok_or_else(gone)??;
                let shared = NodeId::shared(self.tree.shared.nodes.len());
                self.tree.shared.nodes.push(node);
                self.streams.shared.insert(id, shared);
                return Ok(shared);
            }
            next = set + 1;
        }
        Err(gone())
    }

    /// The value of an opcode that needs no others.
    fn simple(&mut self, op: Option<Op>) -> Result<Option<Node>, PickleError> {
        Ok(match op {
            Some(Op::Int(value)) => Some(Node::Int(value)),
            Some(Op::Float(value)) => Some(Node::Float(value)),
            Some(Op::Text { form, offset, len }) => {
                let shared = &mut self.tree.shared;
                let start = if len <= INLINE as u64 && shared.texts_len() < MOST_SHARED_TEXT {
                    shared.add_text(&read_span(self.source, offset, len)?).start
                } else {
                    Node::ELSEWHERE
                };
                Some(Node::Text { form, start, offset, len })
            }
            _ => None,
        })
    }
}
