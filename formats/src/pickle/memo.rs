//! The memo: which node each number names, in a few bytes for the numbers that matter.
//!
//! A list of 250,000 articles memoizes a million texts that nobody names again. When the items of such a list are let
//! go, their numbers become a *hole*: nothing is stored for them. If one is asked for after all, the file is read
//! again from the nearest [`Checkpoint`] before it. That needs to know which opcode set a number, which is certain only
//! while numbers are given in sequence; a file that does otherwise is marked as irregular and its items are kept.

use std::collections::HashMap;

use super::node::NodeId;

/// Entries outside the sequence; Python writes none, so a few are plenty.
const MOST_STRAYS: usize = 1 << 16;
/// Numbers skipped at the start: Python 2's `cPickle` begins at 1.
const GAP: u64 = 16;
/// Distance of checkpoints in the file, at first.
const STRIDE: u64 = 16 << 10;
/// When there are this many, every other one is dropped and the distance doubled.
const MOST_CHECKPOINTS: usize = 1 << 17;

/// A place in the file where reading can begin, and the number that the next MEMOIZE there would give.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checkpoint {
    pub(super) id: u64,
    pub(super) offset: u64,
}

/// Numbers in sequence whose nodes lie in sequence.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: u64,
    at: usize,
}

pub(super) struct Memo {
    runs: Vec<Run>,
    nodes: Vec<NodeId>,
    next: u64,
    /// Numbers set, which is what MEMOIZE counts; less than `next` after a gap.
    count: u64,
    strays: HashMap<u64, NodeId>,
    checkpoints: Vec<Checkpoint>,
    stride: u64,
    next_checkpoint: u64,
    /// The first memo opcode decides: PUT or MEMOIZE.
    counts: Option<bool>,
    irregular: bool,
    /// Raw bytes lie between the opcodes, so that not every checkpoint can be spared.
    has_gaps: bool,
    /// A checkpoint behind raw bytes was dropped, so that nothing can be read again.
    lost: bool,
}

/// A length of the memo, to cut it back to.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemoMark {
    next: u64,
    nodes: u32,
}

/// What a number names.
pub(super) enum Entry {
    Node(NodeId),
    Hole,
    Missing,
}

/// There are more entries out of sequence than any writer makes.
pub(super) struct TooManyStrays;

impl Memo {
    pub(super) fn new() -> Self {
        Memo {
            runs: vec![Run { first: 0, at: 0 }],
            nodes: Vec::new(),
            next: 0,
            count: 0,
            strays: HashMap::new(),
            checkpoints: Vec::new(),
            stride: STRIDE,
            next_checkpoint: 0,
            counts: None,
            irregular: false,
            has_gaps: false,
            lost: false,
        }
    }

    /// Bytes of memory in use, with what the table may hold twice while it grows.
    pub(super) fn size(&self) -> usize {
        self.nodes.len() * 2 * size_of::<NodeId>() + self.runs.len() * size_of::<Run>() + self.strays.len() * 32
    }

    /// MEMOIZE: the number is the count of entries.
    #[inline]
    pub(super) fn push(&mut self, node: NodeId) -> Result<(), TooManyStrays> {
        self.irregular |= self.counts.replace(true) == Some(false);
        self.set(self.count, node)
    }

    /// PUT.
    #[inline]
    pub(super) fn put(&mut self, id: u64, node: NodeId) -> Result<(), TooManyStrays> {
        self.irregular |= self.counts.replace(false) == Some(true);
        self.set(id, node)
    }

    #[inline]
    fn set(&mut self, id: u64, node: NodeId) -> Result<(), TooManyStrays> {
        if id == self.next {
            self.nodes.push(node);
            (self.next, self.count) = (self.next + 1, self.count + 1);
            return Ok(());
        }
        self.set_out_of_sequence(id, node)
    }

    #[cold]
    fn set_out_of_sequence(&mut self, id: u64, node: NodeId) -> Result<(), TooManyStrays> {
        if self.next == 0 && id <= GAP {
            self.runs = vec![Run { first: id, at: 0 }];
            self.nodes.push(node);
            (self.next, self.count) = (id + 1, 1);
            return Ok(());
        }
        self.irregular = true;
        if let Some(at) = self.place(id) {
            self.nodes[at] = node;
            return Ok(());
        }
        if self.strays.len() >= MOST_STRAYS {
            return Err(TooManyStrays);
        }
        let first = self.runs.first().map_or(0, |run| run.first);
        let is_new = self.strays.insert(id, node).is_none() && !(first..self.next).contains(&id);
        self.count += u64::from(is_new);
        Ok(())
    }

    #[inline]
    pub(super) fn get(&self, id: u64) -> Entry {
        if self.irregular
            && let Some(&node) = self.strays.get(&id)
        {
            return Entry::Node(node);
        }
        match self.place(id) {
            Some(at) => Entry::Node(self.nodes[at]),
            None if id < self.next && self.runs.first().is_some_and(|run| run.first <= id) => Entry::Hole,
            None => Entry::Missing,
        }
    }

    /// Index of a number's node.
    #[inline]
    fn place(&self, id: u64) -> Option<usize> {
        if id >= self.next {
            return None;
        }
        // Keys of dicts are in the first run, values in the last.
        let index = match self.runs.get(1) {
            Some(second) if id >= second.first => self.runs.partition_point(|run| run.first <= id) - 1,
            _ => 0,
        };
        let run = self.runs.get(index)?;
        let at = run.at + usize::try_from(id.checked_sub(run.first)?).ok()?;
        let end = self.runs.get(index + 1).map_or(self.nodes.len(), |next| next.at);
        (at < end).then_some(at)
    }

    /// Whether numbers can be let go and found again.
    pub(super) fn is_regular(&self) -> bool {
        !self.irregular
    }

    pub(super) fn mark(&self) -> MemoMark {
        MemoMark { next: self.next, nodes: self.nodes.len() as u32 }
    }

    /// Numbers and nodes set since a mark, as far as they are still there.
    pub(super) fn since(&self, mark: MemoMark) -> impl Iterator<Item = (u64, NodeId)> {
        let first = self.runs.partition_point(|run| run.first < mark.next).saturating_sub(1);
        let ends = self.runs[first..].iter().skip(1).map(|run| run.at).chain([self.nodes.len()]);
        self.runs[first..].iter().zip(ends).flat_map(move |(run, end)| {
            let start = run.at.max(mark.nodes as usize).min(end);
            let id = run.first + (start - run.at) as u64;
            (id..).zip(self.nodes[start..end].iter().copied())
        })
    }

    /// Lets go of everything since a mark: its numbers become a hole.
    pub(super) fn cut(&mut self, mark: MemoMark) {
        if self.next == mark.next {
            return;
        }
        let at = mark.nodes as usize;
        self.nodes.truncate(at);
        // The first run stays even when it is empty: numbers below it are missing, not let go.
        while self.runs.len() > 1 && self.runs.last().is_some_and(|run| run.first >= mark.next || run.at == at) {
            self.runs.pop();
        }
        // The next number opens a run of its own behind the hole.
        self.runs.push(Run { first: self.next, at });
    }

    /// Tells the memo that an opcode other than PUT and MEMOIZE begins at `offset`.
    #[inline]
    pub(super) fn pass(&mut self, offset: u64) {
        if offset >= self.next_checkpoint {
            self.add_checkpoint(offset);
        }
    }

    /// Tells the memo that raw bytes end at `offset`: nobody may read across them.
    pub(super) fn pass_gap(&mut self, offset: u64) {
        self.has_gaps = true;
        self.add_checkpoint(offset);
    }

    #[cold]
    fn add_checkpoint(&mut self, offset: u64) {
        self.checkpoints.push(Checkpoint { id: self.next, offset });
        if self.checkpoints.len() == MOST_CHECKPOINTS {
            self.lost |= self.has_gaps;
            let mut odd = false;
            self.checkpoints.retain(|_| {
                odd = !odd;
                odd
            });
            self.stride *= 2;
        }
        self.next_checkpoint = offset + self.stride;
    }

    /// Where to begin reading for the opcode that set `id`.
    pub(super) fn checkpoint(&self, id: u64) -> Option<Checkpoint> {
        if self.lost {
            return None;
        }
        let after = self.checkpoints.partition_point(|checkpoint| checkpoint.id <= id);
        self.checkpoints.get(after.checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn got(memo: &Memo, id: u64) -> Option<u32> {
        match memo.get(id) {
            Entry::Node(node) => Some(node.0),
            Entry::Hole => None,
            Entry::Missing => Some(u32::MAX),
        }
    }

    fn push(memo: &mut Memo, nodes: std::ops::Range<u32>) {
        nodes.for_each(|node| assert!(memo.push(NodeId(node)).is_ok()));
    }

    #[test]
    fn cut_stretches_become_one_hole() {
        let mut memo = Memo::new();
        push(&mut memo, 0..3);
        for _ in 0..2 {
            let mark = memo.mark();
            push(&mut memo, 10..14);
            let inner = memo.mark();
            push(&mut memo, 20..22);
            memo.cut(inner);
            push(&mut memo, 30..31);
            assert_eq!(memo.since(mark).count(), 5);
            memo.cut(mark);
        }
        push(&mut memo, 40..42);
        assert_eq!(memo.runs.len(), 2);
        let all: Vec<_> = (0..=19).map(|id| got(&memo, id)).collect();
        assert_eq!(all[..3], [Some(0), Some(1), Some(2)]);
        assert!(all[3..17].iter().all(Option::is_none));
        assert_eq!(all[17..], [Some(40), Some(41), Some(u32::MAX)]);
        assert_eq!(memo.since(memo.mark()).count(), 0);
    }

    #[test]
    fn numbers_of_an_inner_hole_are_kept_apart() {
        let mut memo = Memo::new();
        push(&mut memo, 0..2);
        let mark = memo.mark();
        push(&mut memo, 2..4);
        memo.cut(mark);
        push(&mut memo, 4..6);
        assert_eq!(
            (0..6).map(|id| got(&memo, id)).collect::<Vec<_>>(),
            [Some(0), Some(1), None, None, Some(4), Some(5)]
        );
        let since: Vec<_> = memo.since(mark).map(|(id, node)| (id, node.0)).collect();
        assert_eq!(since, [(4, 4), (5, 5)]);
    }

    #[test]
    fn an_enormous_number_costs_one_entry() {
        let mut memo = Memo::new();
        assert!(memo.put(u64::from(u32::MAX), NodeId(7)).is_ok());
        assert_eq!(got(&memo, u64::from(u32::MAX)), Some(7));
        assert!(!memo.is_regular());
        assert_eq!(memo.nodes.len(), 0);
    }

    #[test]
    fn a_memo_may_begin_at_one_and_be_overwritten() {
        let mut memo = Memo::new();
        assert!(memo.put(1, NodeId(5)).is_ok() && memo.put(2, NodeId(6)).is_ok());
        assert!(memo.is_regular());
        assert_eq!(got(&memo, 0), Some(u32::MAX));
        assert!(memo.put(1, NodeId(9)).is_ok());
        assert!(!memo.is_regular());
        assert_eq!((got(&memo, 1), got(&memo, 2)), (Some(9), Some(6)));
    }
}
