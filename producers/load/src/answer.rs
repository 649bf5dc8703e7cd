//! What an answer of the collection API says of the events that were sent.

use serde::Deserialize;

/// Events by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Tally {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) unavailable: u64,
}

/// Reads the answer to a call of `events` events; `is_batch` says that it went to the batch route.
pub(crate) fn tally(status: u16, body: &[u8], events: u64, is_batch: bool) -> Tally {
    let none = Tally::default();
    match status {
        200..=299 if is_batch => serde_json::from_slice(body).unwrap_or(Tally { unavailable: events, ..none }),
        200..=299 => Tally { accepted: events, ..none },
        // Too many requests and time-outs are to be tried again, as 5xx are.
        408 | 429 => Tally { unavailable: events, ..none },
        400..=499 => Tally { refused: events, ..none },
        _ => Tally { unavailable: events, ..none },
    }
}

/// The ids of the accepted events of an answer with status 200, one a line.
///
/// Found by their member name: inside a JSON string the name's quotes would be escaped, so it cannot occur there.
pub(crate) fn event_ids(body: &[u8]) -> Vec<u8> {
    const MEMBER: &[u8] = br#""event_id":""#;
    let mut ids = Vec::new();
    let mut rest = body;
    while let Some(at) = rest.windows(MEMBER.len()).position(|window| window == MEMBER) {
        let value = rest.get(at + MEMBER.len()..).unwrap_or_default();
        let Some(length) = value.iter().position(|byte| *byte == b'"') else { break };
        let (id, behind) = value.split_at(length);
        ids.extend_from_slice(id);
        ids.push(b'\n');
        rest = behind;
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_tallied() {
        let check = |status, body: &str, is_batch, expect: (u64, u64, u64)| {
            let tally = tally(status, body.as_bytes(), 3, is_batch);
            assert_eq!((tally.accepted, tally.refused, tally.unavailable), expect, "{status} {body}");
        };
        check(200, "{}", false, (3, 0, 0));
        check(204, "", false, (3, 0, 0));
        check(400, "{}", false, (0, 3, 0));
        check(413, "", true, (0, 3, 0));
        for status in [408, 429, 500, 503, 302] {
            check(status, "{}", false, (0, 0, 3));
        }
        check(
            200,
            r#"{"accepted":1,"refused":1,"unavailable":1,"results":[{"line":1,"errors":[{}]}]}"#,
            true,
            (1, 1, 1),
        );
        check(200, "not JSON", true, (0, 0, 3));
    }

    #[test]
    fn ids_of_accepted_events() {
        let check =
            |body: &str, expect: &str| assert_eq!(String::from_utf8(event_ids(body.as_bytes())).unwrap(), expect);
        check(r#"{"event_id":"a-1","warnings":[]}"#, "a-1\n");
        check(
            r#"{"results":[{"line":1,"status":200,"event_id":"a"},{"line":2,"status":400},{"line":3,"event_id":"b"}]}"#,
            "a\nb\n",
        );
        check(r#"{"message":"\"event_id\":\"x\""}"#, "");
        check(r#"{"event_id":"cut"#, "");
        check("", "");
    }
}
