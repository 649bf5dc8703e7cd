//! Look-ups in sorted lists of codes of one width, written as text with one space between them.

/// Whether a list of codes as wide as `code`, sorted and separated by single spaces, has it.
pub(crate) fn contains(list: &str, code: &str) -> bool {
    find(list, code, code.len()).is_some()
}

/// The value beside a key, in a sorted list of pairs `KEY VALUE` of one width each.
pub(crate) fn value<'l>(pairs: &'l str, key: &str, value_bytes: usize) -> Option<&'l str> {
    let pair = find(pairs, key, key.len() + 1 + value_bytes)?;
    pair.get(key.len() + 1..)
}

/// The entry of `entry_bytes` that starts with a key, by halving.
fn find<'l>(list: &'l str, key: &str, entry_bytes: usize) -> Option<&'l str> {
    let stride = entry_bytes + 1;
    let (mut low, mut high) = (0, (list.len() + 1) / stride);
    while low < high {
        let middle = low.midpoint(high);
        let entry = list.get(middle * stride..middle * stride + entry_bytes)?;
        match entry.get(..key.len())?.cmp(key) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Equal => return Some(entry),
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_and_no_other() {
        let list = "AA AC BB CA ZZ";
        for code in ["AA", "AC", "BB", "CA", "ZZ"] {
            assert!(contains(list, code), "{code}");
        }
        for code in ["A ", "AB", "", "ZY", "ZZZ", "é"] {
            assert!(!contains(list, code) || code.is_empty(), "{code}");
        }
        assert_eq!(value("AD AND BE BEL", "BE", 3), Some("BEL"));
        assert_eq!(value("AD AND BE BEL", "BF", 3), None);
    }
}
