//! The values of a pickle as small nodes in one arena.
//!
//! Nodes are copied, never dropped one by one: a hostile file that nests a million lists costs 24 bytes for each and
//! no stack. Children and texts lie in two flat tables beside the nodes, so an arena is cut back to an earlier length
//! in constant time.

use super::op::Form;

/// A value in a [`Tree`](super::Tree).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    /// Ids with this bit are in the arena of shared values, which is never cut back.
    const SHARED: u32 = 1 << 30;

    pub(super) const NONE: NodeId = NodeId(0);
    pub(super) const FALSE: NodeId = NodeId(1);
    pub(super) const TRUE: NodeId = NodeId(2);
    pub(super) const EMPTY_TUPLE: NodeId = NodeId(3);
    const FIRST_BYTE: u32 = 4;

    pub(super) fn shared(index: usize) -> NodeId {
        NodeId(index as u32 | Self::SHARED)
    }

    pub(super) fn is_shared(self) -> bool {
        self.0 & Self::SHARED != 0
    }

    pub(super) fn index(self) -> usize {
        (self.0 & !Self::SHARED) as usize
    }

    /// The node that every arena holds for an integer of one byte.
    pub(super) fn byte(value: u8) -> NodeId {
        NodeId(Self::FIRST_BYTE + u32::from(value))
    }
}

/// Bytes in an arena's text table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inline {
    pub(super) start: u32,
    pub(super) len: u32,
}

/// The children of a container: runs in an arena's table, each headed by the place of the next run and its length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kids {
    head: u32,
    tail: u32,
    /// Children in the runs; a dict counts keys and values.
    pub(super) kept: u32,
    /// Items of a list that were handed over or are too many to keep.
    pub(super) dropped: u32,
    /// Containers below this one, at most.
    pub(super) height: u16,
}

const END: u32 = u32::MAX;

impl Kids {
    pub(super) const EMPTY: Kids = Kids { head: END, tail: END, kept: 0, dropped: 0, height: 0 };

    /// No children yet, but as high as it will be.
    pub(super) fn of_height(height: u16) -> Kids {
        Kids { height, ..Kids::EMPTY }
    }

    /// No children yet, but what another container knows of its own.
    pub(super) fn like(other: &Kids) -> Kids {
        Kids { dropped: other.dropped, ..Kids::of_height(other.height) }
    }
}

/// Where a numpy dtype stands, see [`dtype`](super::dtypes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DtypeNode {
    /// numpy's letter, or `bfloat16`'s [`DtypeNode::BFLOAT16`].
    pub(super) letter: u8,
    /// `<`, `>`, `|` or `=`; 0 before the state is set.
    pub(super) order: u8,
    /// Has fields, or is an array itself.
    pub(super) compound: bool,
    /// Has Python objects in it.
    pub(super) objects: bool,
    /// Bytes per element; 0 where it is not known.
    pub(super) size: u32,
}

/// A value that is shown as text and not taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Date,
    Time,
    DateTime,
    TimeZone,
    Decimal,
    Fraction,
    Uuid,
    Path,
    Range,
    Slice,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// Decimal digits.
    BigInt(Inline),
    /// An integer of more digits than are worth reading.
    HugeInt,
    Float(f64),
    Complex {
        re: f64,
        im: f64,
    },
    /// `len` bytes at `offset` of the file; also in the text table unless `start` is [`Node::ELSEWHERE`].
    Text {
        form: Form,
        start: u32,
        offset: u64,
        len: u64,
    },
    Shown(Shown, Inline),
    TimeDelta {
        seconds: i64,
        micros: u32,
    },
    /// `uuid.UUID` before its state is set.
    BareUuid,
    /// `object()`, or a value that is allowed and means nothing to us: its global.
    Opaque(u32),
    List(Kids),
    Tuple(Kids),
    Dict(Kids),
    Set(Kids),
    FrozenSet(Kids),
    Global(u32),
    Dtype(DtypeNode),
    /// Index into the tree's arrays.
    Array(u32),
}

const _: () = assert!(size_of::<Node>() == 24);

impl Node {
    pub(super) const ELSEWHERE: u32 = u32::MAX;

    pub(super) fn kids(&self) -> Option<&Kids> {
        match self {
            Node::List(kids) | Node::Tuple(kids) | Node::Dict(kids) | Node::Set(kids) | Node::FrozenSet(kids) => {
                Some(kids)
            }
            _ => None,
        }
    }

    pub(super) fn kids_mut(&mut self) -> Option<&mut Kids> {
        match self {
            Node::List(kids) | Node::Tuple(kids) | Node::Dict(kids) | Node::Set(kids) | Node::FrozenSet(kids) => {
                Some(kids)
            }
            _ => None,
        }
    }
}

/// Nodes with their texts and children.
#[derive(Debug, Default)]
pub(super) struct Arena {
    pub(super) nodes: Vec<Node>,
    texts: Vec<u8>,
    kids: Vec<u32>,
}

/// Lengths of an arena, to cut it back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArenaMark {
    nodes: u32,
    texts: u32,
    kids: u32,
}

impl Arena {
    /// An arena that holds the constants whose ids are known beforehand.
    pub(super) fn with_constants() -> Self {
        let mut nodes = vec![Node::None, Node::Bool(false), Node::Bool(true), Node::Tuple(Kids::EMPTY)];
        nodes.extend((0..=255).map(Node::Int));
        Arena { nodes, ..Arena::default() }
    }

    /// Bytes of memory in use.
    pub(super) fn size(&self) -> usize {
        self.nodes.len() * size_of::<Node>() + self.texts.len() + self.kids.len() * size_of::<u32>()
    }

    pub(super) fn mark(&self) -> ArenaMark {
        let (nodes, texts, kids) = (self.nodes.len() as u32, self.texts.len() as u32, self.kids.len() as u32);
        ArenaMark { nodes, texts, kids }
    }

    pub(super) fn cut(&mut self, mark: ArenaMark) {
        self.nodes.truncate(mark.nodes as usize);
        self.texts.truncate(mark.texts as usize);
        self.kids.truncate(mark.kids as usize);
    }

    pub(super) fn add_text(&mut self, bytes: &[u8]) -> Inline {
        let start = self.texts.len() as u32;
        self.texts.extend_from_slice(bytes);
        Inline { start, len: bytes.len() as u32 }
    }

    pub(super) fn text(&self, at: Inline) -> &[u8] {
        &self.texts[at.start as usize..][..at.len as usize]
    }

    pub(super) fn texts_len(&self) -> usize {
        self.texts.len()
    }

    /// Appends children; the last run grows in place where nothing was added to the table since.
    pub(super) fn extend(&mut self, kids: &mut Kids, new: impl ExactSizeIterator<Item = NodeId>) {
        let count = new.len() as u32;
        if count == 0 {
            return;
        }
        let tail = kids.tail as usize;
        if kids.tail != END && tail + 2 + self.kids[tail + 1] as usize == self.kids.len() {
            self.kids[tail + 1] += count;
        } else {
            let run = self.kids.len() as u32;
            self.kids.extend([END, count]);
            if kids.tail == END {
                kids.head = run;
            } else {
                self.kids[tail] = run;
            }
            kids.tail = run;
        }
        self.kids.extend(new.map(|id| id.0));
        kids.kept += count;
    }

    pub(super) fn children(&self, kids: &Kids) -> Children<'_> {
        Children { table: &self.kids, next: kids.head, at: 0, end: 0 }
    }
}

/// The children of a container, in order.
#[derive(Clone, Debug)]
pub(super) struct Children<'a> {
    table: &'a [u32],
    next: u32,
    at: usize,
    end: usize,
}

impl Children<'_> {
    pub(super) const NONE: Children<'static> = Children { table: &[], next: END, at: 0, end: 0 };
}

impl Iterator for Children<'_> {
    type Item = NodeId;

    #[inline]
    fn next(&mut self) -> Option<NodeId> {
        if self.at == self.end {
            if self.next == END {
                return None;
            }
            let run = self.next as usize;
            (self.next, self.at) = (self.table[run], run + 2);
            self.end = self.at + self.table[run + 1] as usize;
        }
        let id = self.table[self.at];
        self.at += 1;
        Some(NodeId(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_of_containers_that_grow_in_turn_stay_apart() {
        let mut arena = Arena::with_constants();
        let (mut a, mut b) = (Kids::EMPTY, Kids::EMPTY);
        for i in 0..10 {
            arena.extend(&mut a, [NodeId::byte(i), NodeId::byte(i)].into_iter());
            if i % 3 == 0 {
                arena.extend(&mut b, [NodeId::byte(100 + i)].into_iter());
            }
        }
        let ids = |kids: &Kids| arena.children(kids).map(|id| id.0 - NodeId::FIRST_BYTE).collect::<Vec<_>>();
        assert_eq!(ids(&a), (0..10).flat_map(|i| [i, i]).collect::<Vec<_>>());
        assert_eq!(ids(&b), [100, 103, 106, 109]);
        assert_eq!((a.kept, b.kept), (20, 4));
    }
}
