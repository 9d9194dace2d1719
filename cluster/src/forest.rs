//! Which rows are joined already.

/// Disjoint sets of rows (union by size).
pub(crate) struct Forest {
    parent: Vec<u32>,
    size: Vec<u32>,
    sets: usize,
}

impl Forest {
    /// Every row is a set of its own.
    pub(crate) fn new(rows: usize) -> Self {
        Forest { parent: (0..rows as u32).collect(), size: vec![1; rows], sets: rows }
    }

    /// How many sets there are.
    pub(crate) fn sets(&self) -> usize {
        self.sets
    }

    /// The row that stands for the set.
    pub(crate) fn find(&mut self, mut row: u32) -> u32 {
        while self.parent[row as usize] != row {
            let above = self.parent[self.parent[row as usize] as usize];
            self.parent[row as usize] = above;
            row = above;
        }
        row
    }

    /// Joins two sets; `false` where they are one.
    pub(crate) fn join(&mut self, a: u32, b: u32) -> bool {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return false;
        }
        let (large, small) = if self.size[a as usize] >= self.size[b as usize] { (a, b) } else { (b, a) };
        self.parent[small as usize] = large;
        self.size[large as usize] += self.size[small as usize];
        self.sets -= 1;
        true
    }

    /// For every row the row that stands for its set.
    pub(crate) fn labels(&mut self) -> Vec<u32> {
        (0..self.parent.len() as u32).map(|row| self.find(row)).collect()
    }

    /// For every row the number of its set. Sets are numbered as they first come in that order of rows.
    pub(crate) fn numbers(&mut self, order: &[u32]) -> Vec<u32> {
        let mut of_top = vec![u32::MAX; self.parent.len()];
        let mut numbers = vec![0; self.parent.len()];
        let mut next = 0;
        for &row in order {
            let number = &mut of_top[self.find(row) as usize];
            if *number == u32::MAX {
                *number = next;
                next += 1;
            }
            numbers[row as usize] = *number;
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_numbered_as_they_come() {
        let mut forest = Forest::new(7);
        assert!(forest.join(1, 5) && forest.join(5, 3) && forest.join(0, 6) && !forest.join(3, 1));
        assert_eq!(forest.sets(), 4);
        assert_eq!(forest.numbers(&[4, 3, 2, 1, 0, 5, 6]), [3, 1, 2, 1, 0, 1, 3]);
        let labels = forest.labels();
        assert!(labels[1] == labels[3] && labels[3] == labels[5] && labels[0] == labels[6] && labels[0] != labels[1]);
    }
}
