//! The requests: built once for each connection, with the digits that differ patched in place before each call.

use std::{cell::Cell, ops::Range, rc::Rc};

/// A made-up ad request of 1,500 bytes; `@` stands where digits differ.
const BODY: &str = include_str!("body.json");

/// When the ad of that request is to be shown; a call says ten minutes from now.
const DISPLAY_MS: &str = "1795000000000";
const LEAD_MS: i64 = 600_000;

/// Size of one event in bytes: what a player with a deal or two and its position sends.
pub(crate) const EVENT_BYTES: usize = BODY.len();

/// Screens that take part: as many as a large network has.
const SCREENS: u64 = 40_000;

/// Numbers that no two events share, for all connections of this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers {
    next: Rc<Cell<u64>>,
}

/// One call, again and again with other events.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    /// Head and body, as HTTP/1.1 has them.
    bytes: Vec<u8>,
    head_bytes: usize,
    patches: Vec<Patch>,
    numbers: Numbers,
}

/// Where one event's digits are.
#[derive(Debug)]
struct Patch {
    id: Range<usize>,
    screen: Range<usize>,
}

impl Numbers {
    fn take(&self) -> u64 {
        let number = self.next.get();
        self.next.set(number + 1);
        number
    }
}

impl Call {
    /// A call with one event.
    pub(crate) fn single(now_ms: i64, numbers: &Numbers) -> Self {
        Self::build("/v1/ad_requests", "application/json", &body(now_ms), numbers)
    }

    /// A call with many.
    pub(crate) fn batch(events: usize, now_ms: i64, numbers: &Numbers) -> Self {
        Self::build("/v1/events", "application/x-ndjson", &vec![body(now_ms); events].join("\n"), numbers)
    }

    fn build(path: &'static str, content_type: &'static str, body: &str, numbers: &Numbers) -> Self {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut runs = runs(body).map(|run| head.len() + run.start..head.len() + run.end);
        let mut patches = Vec::new();
        while let (Some(id), Some(screen)) = (runs.next(), runs.next()) {
            patches.push(Patch { id, screen });
        }
        drop(runs);
        let head_bytes = head.len();
        Call { path, content_type, bytes: (head + body).into_bytes(), head_bytes, patches, numbers: numbers.clone() }
    }

    /// Events in a call.
    pub(crate) fn events(&self) -> usize {
        self.patches.len()
    }

    /// The body of the next call.
    pub(crate) fn next_body(&mut self) -> &[u8] {
        let head_bytes = self.head_bytes;
        self.next().get(head_bytes..).unwrap_or_default()
    }

    /// The bytes of the next call.
    pub(crate) fn next(&mut self) -> &[u8] {
        for patch in &self.patches {
            let number = self.numbers.take();
            write_digits(self.bytes.get_mut(patch.id.clone()), number);
            // Neighbours in time are not neighbours on the stream.
            write_digits(self.bytes.get_mut(patch.screen.clone()), number.wrapping_mul(7919) % SCREENS);
        }
        &self.bytes
    }
}

/// The request as it is sent at a time.
fn body(now_ms: i64) -> String {
    BODY.replace(DISPLAY_MS, &(now_ms + LEAD_MS).to_string())
}

/// Runs of `@`.
fn runs(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut rest = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (start, _) = rest.find(|(_, letter)| *letter == '@')?;
        let mut end = start + 1;
        while rest.next_if(|(_, letter)| *letter == '@').is_some() {
            end += 1;
        }
        Some(start..end)
    })
}

fn write_digits(place: Option<&mut [u8]>, mut number: u64) {
    for digit in place.into_iter().flatten().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use events::{envelope::EventType, json::Json, validate};

    use super::{Call, EVENT_BYTES, Numbers};

    #[test]
    fn events_are_valid_and_no_two_are_the_same() {
        const NOW_MS: i64 = 1_796_000_000_000;
        let numbers = Numbers::default();
        let (mut single, mut batch) = (Call::single(NOW_MS, &numbers), Call::batch(20, NOW_MS, &numbers));
        assert_eq!((single.events(), batch.events(), EVENT_BYTES), (1, 20, 1500));
        let mut seen = HashSet::new();
        for call in [&mut single, &mut batch] {
            for _ in 0..2 {
                let text = String::from_utf8(call.next().to_vec()).unwrap();
                for line in text.split("\r\n\r\n").nth(1).unwrap().lines() {
                    let json = Json::parse(line.as_bytes()).unwrap();
                    let policy = validate::Policy::default();
                    let found = validate::event(EventType::AdRequest, &json, policy, NOW_MS);
                    assert!(found.is_empty(), "{found:?}");
                    assert!(seen.insert(line.to_owned()), "{line}");
                }
            }
        }
        assert_eq!(seen.len(), 42);
    }
}
