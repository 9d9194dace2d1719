//! The queue: which task a thread takes next.
//!
//! Where every source is there, tasks are taken in row order from one counter. Where some are still on their way, a task
//! waits behind its sources; of those that can be done the first one is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use embstore_formats::FormatError;

use crate::arrivals::{Arrival, Arrivals};

use super::task::Task;
use super::{CopyError, Source};

/// A thread that waits for a file looks this often whether it was asked to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Sources that may still be on their way.
#[derive(Clone, Copy)]
pub(crate) struct Awaited<'a> {
    pub(crate) arrivals: &'a Arrivals,
    /// Whether a file that has landed is the one that was planned with; asked before a row of it is read.
    pub(crate) is_as_planned: &'a (dyn Fn(&Path) -> Result<bool, FormatError> + Sync),
}

/// Tasks that have not been taken.
pub(super) struct Queue<'a> {
    tasks: &'a [Task],
    next: AtomicUsize,
    waiting: Option<Waiting<'a>>,
}

struct Waiting<'a> {
    awaited: Awaited<'a>,
    sources: &'a [Source<'a>],
    /// Whether tasks are taken in row order alone.
    in_order: bool,
    left: Mutex<Left>,
}

impl<'a> Queue<'a> {
    pub(super) fn new(
        tasks: &'a [Task],
        sources: &'a [Source<'a>],
        awaited: Option<Awaited<'a>>,
        in_order: bool,
    ) -> Self {
        let waiting = awaited.and_then(|awaited| {
            let left = Left::new(tasks, sources, awaited.arrivals);
            (!left.behind.is_empty()).then(|| Waiting { awaited, sources, in_order, left: Mutex::new(left) })
        });
        Queue { tasks, next: AtomicUsize::new(0), waiting }
    }

    /// A task and its number, or `None` where none is left, or `is_stopped` while all of them wait.
    pub(super) fn take(&self, is_stopped: &dyn Fn() -> bool) -> Result<Option<(usize, &'a Task)>, CopyError> {
        let number = match &self.waiting {
            None => self.next.fetch_add(1, Ordering::Relaxed),
            Some(waiting) => match waiting.take(self.tasks, is_stopped)? {
                Some(number) => number,
                None => return Ok(None),
            },
        };
        Ok(self.tasks.get(number).map(|task| (number, task)))
    }
}

impl Waiting<'_> {
    fn take(&self, tasks: &[Task], is_stopped: &dyn Fn() -> bool) -> Result<Option<usize>, CopyError> {
        while !is_stopped() {
            let changes = self.awaited.arrivals.changes();
            {
                let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
                self.admit(&mut left, tasks)?;
                if left.is_empty() {
                    return Ok(None);
                }
                if let Some(number) = left.take(self.in_order) {
                    return Ok(Some(number));
                }
            }
            self.awaited.arrivals.wait(changes, LOOK);
        }
        Ok(None)
    }

    /// Lets those tasks go on that wait behind sources that have landed.
    fn admit(&self, left: &mut Left, tasks: &[Task]) -> Result<(), CopyError> {
        for index in left.absent.clone() {
            let source = &self.sources[index];
            match self.awaited.arrivals.state(&source.path) {
                Arrival::Coming => continue,
                Arrival::Failed => return Err(CopyError::NotArrived { path: source.path.clone() }),
                Arrival::Landed => {}
            }
            if !(self.awaited.is_as_planned)(&source.path)? {
                let rows = (source.store_row, source.store_row + source.rows);
                return Err(CopyError::SourceChanged { path: source.path.clone(), rows });
            }
            left.absent.remove(&index);
            for number in left.behind.remove(&index).unwrap_or_default() {
                left.put(number, &tasks[number]);
            }
        }
        Ok(())
    }
}

/// The numbers of tasks that have not been taken.
struct Left {
    /// Sources that have not landed, or have not been looked at since.
    absent: BTreeSet<usize>,
    /// By the first absent source that they need.
    behind: BTreeMap<usize, Vec<usize>>,
    ready: BTreeSet<usize>,
    taken: usize,
}

impl Left {
    fn new(tasks: &[Task], sources: &[Source<'_>], arrivals: &Arrivals) -> Self {
        let needed: BTreeSet<usize> = tasks.iter().flat_map(|task| &task.pieces).map(|piece| piece.source).collect();
        let absent = needed.into_iter().filter(|index| arrivals.expects(&sources[*index].path)).collect();
        let mut left = Left { absent, behind: BTreeMap::new(), ready: BTreeSet::new(), taken: 0 };
        tasks.iter().enumerate().for_each(|(number, task)| left.put(number, task));
        left
    }

    fn put(&mut self, number: usize, task: &Task) {
        match task.pieces.iter().map(|piece| piece.source).find(|source| self.absent.contains(source)) {
            Some(source) => self.behind.entry(source).or_default().push(number),
            None => drop(self.ready.insert(number)),
        }
    }

    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.behind.is_empty()
    }

    /// The first task that can be done; in row order only the one after those that were taken.
    fn take(&mut self, in_order: bool) -> Option<usize> {
        let first = *self.ready.first()?;
        if in_order && first != self.taken {
            return None;
        }
        self.taken += 1;
        self.ready.pop_first()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use embstore_formats::{ArrayMeta, Payload, Region};

    use super::super::task::tasks;
    use super::*;
    use crate::identity::Identity;
    use crate::journal::Landed;

    /// Three sources of ten rows, in chunks of four: rows 8..12 are of two sources, and so are 16..24.
    fn with_queue(awaited: &[&str], in_order: bool, check: impl FnOnce(&Queue<'_>, &Arrivals)) {
        let (arrivals, array) = (Arrivals::new(), ArrayMeta::stored(10, 1).expect("small"));
        awaited.iter().for_each(|path| arrivals.expect(path));
        let file = tempfile::tempfile().expect("a file");
        let payload = Payload::from(Region { path: PathBuf::new(), offset: 0, array });
        let source = |(index, path): (u64, &str)| Source {
            path: path.into(),
            identity: Identity::of(&file).expect("open"),
            payload: &payload,
            first: 0,
            rows: 10,
            store_row: index * 10,
            in_kernel: false,
        };
        let sources: Vec<Source<'_>> = (0..).zip(["a", "b", "c"]).map(source).collect();
        let tasks = tasks(&sources, &Landed::new(), Some(4));
        let is_as_planned = |path: &Path| Ok(path != Path::new("c"));
        let awaited = Awaited { arrivals: &arrivals, is_as_planned: &is_as_planned };
        check(&Queue::new(&tasks, &sources, Some(awaited), in_order), &arrivals);
    }

    /// The number of the next task; `None` where none is left or all wait.
    fn next(queue: &Queue<'_>) -> Option<usize> {
        // Stops at the second look.
        let looks = AtomicUsize::new(0);
        let taken = queue.take(&|| looks.fetch_add(1, Ordering::Relaxed) > 0).expect("no failure");
        taken.map(|(number, _)| number)
    }

    fn all(queue: &Queue<'_>) -> Vec<usize> {
        std::iter::from_fn(|| next(queue)).collect()
    }

    #[test]
    fn the_first_task_that_can_be_done_is_taken() {
        with_queue(&["a", "b"], false, |queue, arrivals| {
            assert_eq!(all(queue), [5, 6, 7]);
            arrivals.land("b");
            assert_eq!(all(queue), [3, 4]);
            arrivals.land("a");
            assert_eq!(all(queue), [0, 1, 2]);
            assert_eq!(next(queue), None);
        });
    }

    #[test]
    fn in_order_no_task_is_taken_before_one_that_waits() {
        with_queue(&["b"], true, |queue, arrivals| {
            assert_eq!(all(queue), [0, 1]);
            arrivals.land("b");
            assert_eq!(all(queue), [2, 3, 4, 5, 6, 7]);
        });
    }

    #[test]
    fn what_fails_or_lands_as_something_else_is_an_error() {
        with_queue(&["a", "c"], false, |queue, arrivals| {
            arrivals.land("c");
            let error = queue.take(&|| false).map(|_| ()).expect_err("another file");
            assert!(matches!(error, CopyError::SourceChanged { rows: (20, 30), .. }), "{error}");
            arrivals.fail("a");
            let error = queue.take(&|| false).map(|_| ()).expect_err("none");
            assert!(matches!(error, CopyError::NotArrived { .. }), "{error}");
        });
    }

    #[test]
    fn where_all_is_there_tasks_are_counted() {
        with_queue(&[], false, |queue, _| {
            assert!(queue.waiting.is_none());
            assert_eq!(all(queue), [0, 1, 2, 3, 4, 5, 6, 7]);
        });
    }
}
