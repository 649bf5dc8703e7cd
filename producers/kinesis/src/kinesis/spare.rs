//! Memory of request bodies, used again while requests are on their way: a body has a megabyte and more, and the system
//! clears every page of it that it hands out anew.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers that no request uses, as many as were on their way at most. When none is on its way any more, none is kept. The
/// lock is held for a push or a pop.
#[derive(Debug, Clone, Default)]
pub(super) struct Spare {
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    /// Empty.
    buffers: Vec<Vec<u8>>,
    lent: usize,
}

/// The body of a request. Its memory goes back when it is dropped, if nobody else looks at it any more.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    spare: Spare,
}

impl Spare {
    /// The body that `write` writes into an empty buffer.
    pub(super) fn body(&self, write: impl FnOnce(&mut Vec<u8>)) -> Body {
        let mut bytes = self.with(|shelf| {
            shelf.lent += 1;
            shelf.buffers.pop().unwrap_or_default()
        });
        write(&mut bytes);
        Body { bytes: bytes.into(), spare: self.clone() }
    }

    /// The same, of text.
    pub(super) fn text(&self, write: impl FnOnce(&mut String)) -> Body {
        self.body(|bytes| {
            // Nothing is in it, so nothing is looked at.
            let mut text = String::from_utf8(std::mem::take(bytes)).unwrap_or_default();
            write(&mut text);
            *bytes = text.into_bytes();
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Shelf) -> T) -> T {
        // No change can panic half-way.
        change(&mut self.shelf.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let buffer = bytes.is_unique().then(|| {
            let mut buffer = Vec::from(bytes);
            buffer.clear();
            buffer
        });
        self.spare.with(|shelf| {
            shelf.lent -= 1;
            shelf.buffers.extend(buffer);
            if shelf.lent == 0 {
                shelf.buffers = Vec::new();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Shelf, Spare};

    fn capacities(spare: &Spare) -> Vec<usize> {
        spare.with(|shelf: &mut Shelf| shelf.buffers.iter().map(Vec::capacity).collect())
    }

    #[test]
    fn memory_comes_back_while_there_are_requests() {
        let spare = Spare::default();
        let first = spare.text(|text| text.push_str(&"x".repeat(1000)));
        let second = spare.text(|text| text.push_str("second"));
        drop(first);
        assert!(capacities(&spare).iter().all(|bytes| *bytes >= 1000) && capacities(&spare).len() == 1);
        let third = spare.text(|text| text.push_str("third"));
        assert_eq!((&*third.bytes, capacities(&spare)), (&b"third"[..], vec![]));
        // Somebody still reads it: its memory is theirs.
        let read = third.bytes.clone();
        drop(third);
        assert_eq!((&*read, capacities(&spare)), (&b"third"[..], vec![]));
        drop(second);
        assert_eq!(capacities(&spare), Vec::<usize>::new(), "nothing is kept when nothing is on its way");
    }
}
