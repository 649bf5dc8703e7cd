//! Tumbling windows: which one a record belongs to, and the state that is handed from invocation to invocation.

use std::io::Write as _;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The most state that a window may have; more ends it early.
pub(super) const STATE_BYTES_MAX: usize = 1_048_576;
/// How long after its end a window is closed: what arrived before its end may still be on its way to the disk.
pub(super) const GRACE_MS: i64 = 500;

/// A window that was begun and is not closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OpenWindow {
    /// Its beginning, milliseconds since the epoch.
    pub(super) start_ms: i64,
    /// What the function answered last, JSON.
    pub(super) state: String,
    /// Its state grew too large, so that it is closed before its end.
    pub(super) is_terminated_early: bool,
}

/// What an invocation is told of its window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WindowCall {
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    pub(super) state: String,
    pub(super) shard_id: String,
    pub(super) is_final: bool,
    pub(super) is_terminated_early: bool,
}

impl OpenWindow {
    /// A new window, with the empty state that the service begins with.
    pub(super) fn new(start_ms: i64) -> Self {
        Self { start_ms, state: "{}".to_owned(), is_terminated_early: false }
    }

    /// Takes the state of an answer; one that is too large ends the window instead.
    pub(super) fn take(&mut self, state: &RawValue) {
        if state.get().len() > STATE_BYTES_MAX {
            self.is_terminated_early = true;
        } else {
            state.get().clone_into(&mut self.state);
        }
    }
}

/// The beginning of the window that holds `at_ms`. Windows of a length lie side by side from the epoch on.
pub(super) fn start_ms(at_ms: i64, window_ms: i64) -> i64 {
    at_ms - at_ms.rem_euclid(window_ms.max(1))
}

impl WindowCall {
    /// Appends its fields to an event that is not closed yet.
    pub(super) fn append(&self, json: &mut Vec<u8>, stream_arn: &str) {
        let Self { start_ms, end_ms, state, shard_id, is_final, is_terminated_early } = self;
        let (start, end) = (time_text(*start_ms), time_text(*end_ms));
        write!(
            json,
            ",\"window\":{{\"start\":\"{start}\",\"end\":\"{end}\"}},\"state\":{state},\"shardId\":\"{shard_id}\",\
             \"eventSourceARN\":\"{stream_arn}\",\"isFinalInvokeForWindow\":{is_final},\
             \"isWindowTerminatedEarly\":{is_terminated_early}"
        )
        .expect("writing to a Vec cannot fail");
    }
}

fn time_text(at_ms: i64) -> String {
    DateTime::from_timestamp_millis(at_ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_lie_side_by_side() {
        for (at_ms, expected) in [(0, 0), (59_999, 0), (60_000, 60_000), (-1, -60_000)] {
            assert_eq!(start_ms(at_ms, 60_000), expected, "{at_ms}");
        }
    }

    #[test]
    fn the_call_is_the_service_s() {
        let call = WindowCall {
            start_ms: 1_607_497_440_000,
            end_ms: 1_607_497_560_000,
            state: r#"{"1":282}"#.to_owned(),
            shard_id: "shardId-000000000006".to_owned(),
            is_final: false,
            is_terminated_early: false,
        };
        let mut json = b"{\"Records\":[]".to_vec();
        call.append(&mut json, "arn:stream");
        json.push(b'}');
        expect_test::expect![[
            r#"{"Records":[],"window":{"start":"2020-12-09T07:04:00Z","end":"2020-12-09T07:06:00Z"},"state":{"1":282},"shardId":"shardId-000000000006","eventSourceARN":"arn:stream","isFinalInvokeForWindow":false,"isWindowTerminatedEarly":false}"#
        ]]
        .assert_eq(std::str::from_utf8(&json).unwrap());
        serde_json::from_slice::<serde_json::Value>(&json).unwrap();
    }

    #[test]
    fn a_state_that_is_too_large_ends_the_window() {
        let raw = |text: String| RawValue::from_string(text).unwrap();
        let mut window = OpenWindow::new(0);
        window.take(&raw(r#"{"a":1}"#.to_owned()));
        window.take(&raw(format!("\"{}\"", "x".repeat(STATE_BYTES_MAX))));
        assert_eq!((window.state.as_str(), window.is_terminated_early), (r#"{"a":1}"#, true));
    }
}
