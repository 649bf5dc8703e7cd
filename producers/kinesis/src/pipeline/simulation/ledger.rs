//! What a reader of the simulated stream finds, told record by record, so that runs of any length fit into memory.

use std::collections::HashMap;

/// Records of a key are numbered from 0 without gaps. As long as none is given up, the next one to be stored for the first time
/// is the one after the highest so far.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    next: HashMap<usize, usize>,
    /// User records stored, copies included.
    pub(super) stored: usize,
    /// User records stored again.
    pub(super) copies: usize,
    /// User records stored while an earlier one of their key was missing.
    pub(super) inversions: usize,
}

impl Ledger {
    pub(super) fn note(&mut self, key: usize, number: usize) {
        self.stored += 1;
        let next = self.next.entry(key).or_default();
        if number < *next {
            self.copies += 1;
            return;
        }
        self.inversions += usize::from(number > *next);
        *next = number + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::Ledger;

    #[test]
    fn copies_and_inversions_are_told_apart() {
        let check = |numbers: &[usize], copies: usize, inversions: usize| {
            let mut ledger = Ledger::default();
            for number in numbers {
                ledger.note(7, *number);
            }
            assert_eq!((ledger.copies, ledger.inversions), (copies, inversions), "{numbers:?}");
        };
        check(&[0, 1, 2, 3], 0, 0);
        check(&[0, 1, 0, 1, 2], 2, 0);
        check(&[0, 2, 1], 1, 1);
        check(&[1, 0], 1, 1);
    }
}
