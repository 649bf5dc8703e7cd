//! A batch: one event a line, one result a line. Lines succeed and fail on their own.
//!
//! All lines are offered to the stream before the first is waited for, so that they share records and requests.

use events::event_id::EventId;
use events::violation::{Severity, Violation};
use serde::Serialize;

use crate::counters::Class;
use crate::http::body::Received as Body;
use crate::http::problem::{Kind, Problem};
use crate::ingest::{Ingest, NotOffered, Offered, Received};
use crate::outcome::Unsent;

/// Most lines of a batch, blank ones not counted (our choice: 4 MiB of the smallest real requests).
pub(crate) const LINES_MAX: usize = 10_000;

/// Findings that one answer lists; behind them each refused line still lists its first. Keeps the answer to a batch
/// of garbage at a few megabytes.
const FINDINGS_LISTED_MAX: usize = 10_000;

/// Lines after which other tasks get a turn: at about 5 µs a line, half a millisecond.
const LINES_PER_TURN: usize = 100;

/// The answer to a batch.
#[derive(Debug, Serialize)]
struct Results {
    /// Lines with status 200.
    accepted: usize,
    /// Lines that must be corrected: status 400 or 413.
    refused: usize,
    /// Lines to be sent again as they are: status 503.
    unavailable: usize,
    results: Vec<LineResult>,
}

#[derive(Debug, Serialize)]
struct LineResult {
    /// From 1; blank lines count.
    line: usize,
    status: u16,
    /// The limit that the line is above.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_bytes: Option<usize>,
    /// The page that explains a status other than 200.
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<EventId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Violation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Violation>,
    /// Findings beyond those listed.
    #[serde(skip_serializing_if = "is_zero")]
    errors_omitted: usize,
}

enum Entry<'i> {
    Offered(usize, Offered<'i>),
    Done(LineResult),
}

/// Whether the query names a type of event that a batch takes; without one it is `ad_request`.
pub(crate) fn is_type_known(query: Option<&str>) -> bool {
    let parameters = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    parameters.filter(|(key, _)| *key == "type").all(|(_, value)| value == "ad_request")
}

/// Takes a whole batch; returns the document of its results.
///
/// The answer as a whole is a problem only if no line was read, or the stream took none of them.
pub(crate) async fn take(ingest: &Ingest, body: Body<'_>, received: Received) -> Result<Vec<u8>, Problem> {
    let lines_filled = lines(&body.bytes).count();
    if lines_filled == 0 {
        ingest.count(Class::Invalid);
        return Err(Problem::invalid(None, None, vec![empty()]));
    }
    if lines_filled > LINES_MAX {
        ingest.count(Class::TooLarge);
        return Err(Problem::new(Kind::TooManyLines));
    }
    let entries = offer_all(ingest, &body, received, lines_filled).await;
    // The producer has its own copies and its own bound; the body's memory goes to the next call.
    drop(body);
    let mut results = Vec::with_capacity(entries.len());
    for entry in entries {
        results.push(match entry {
            Entry::Done(result) => result,
            Entry::Offered(line, offered) => match ingest.settle(offered).await {
                Ok((event_id, warnings)) => LineResult::accepted(line, event_id, warnings),
                Err(unsent) => LineResult::other(line, unsent.kind()),
            },
        });
    }
    answer(results)
}

/// The lines that are not blank, with their numbers and without their line ends.
fn lines(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = body.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    (1..).zip(lines).filter(|(_, line)| !line.trim_ascii().is_empty())
}

async fn offer_all<'i>(ingest: &'i Ingest, body: &Body<'_>, received: Received, count: usize) -> Vec<Entry<'i>> {
    let door = ingest.door("/v1/events");
    let mut findings_left = FINDINGS_LISTED_MAX;
    let mut entries = Vec::with_capacity(count);
    for (line, bytes) in lines(&body.bytes) {
        if entries.len() % LINES_PER_TURN == LINES_PER_TURN - 1 {
            tokio::task::yield_now().await;
        }
        if bytes.len() > ingest.settings().body_bytes_max {
            ingest.count(Class::TooLarge);
            let limit_bytes = Some(ingest.settings().body_bytes_max);
            entries.push(Entry::Done(LineResult { limit_bytes, ..LineResult::other(line, Kind::TooLarge) }));
            continue;
        }
        entries.push(match ingest.offer(bytes, &door, received) {
            Ok(offered) => Entry::Offered(line, offered),
            Err(NotOffered::Unsent(unsent)) => Entry::Done(LineResult::other(line, unsent.kind())),
            Err(NotOffered::Unwritable) => Entry::Done(LineResult::other(line, Kind::Unwritable)),
            Err(NotOffered::Refused(refused)) => {
                Entry::Done(LineResult::refused(line, refused.violations, &mut findings_left))
            }
        });
    }
    entries
}

/// The document, or 503 when there is nothing but unavailable lines.
fn answer(results: Vec<LineResult>) -> Result<Vec<u8>, Problem> {
    let count = |is_in: fn(u16) -> bool| results.iter().filter(|result| is_in(result.status)).count();
    let accepted = count(|status| status == 200);
    let refused = count(|status| (400..500).contains(&status));
    let unavailable = count(|status| status >= 500);
    if accepted + refused == 0 {
        let is_queue_full = results.iter().all(|result| result.r#type == Some(Unsent::QueueFull.kind().text().1));
        let kind = if is_queue_full { Kind::QueueFull } else { Kind::StreamUnavailable };
        return Err(Problem::new(kind));
    }
    let results = Results { accepted, refused, unavailable, results };
    Ok(serde_json::to_vec(&results).expect("a document of strings and numbers can be written"))
}

impl LineResult {
    fn accepted(line: usize, event_id: EventId, warnings: Vec<Violation>) -> Self {
        let (status, event_id, errors) = (200, Some(event_id), Vec::new());
        Self { line, status, limit_bytes: None, r#type: None, event_id, warnings, errors, errors_omitted: 0 }
    }

    fn other(line: usize, kind: Kind) -> Self {
        let (status, r#type) = (kind.status().as_u16(), Some(kind.text().1));
        let (warnings, errors) = (Vec::new(), Vec::new());
        Self { line, status, limit_bytes: None, r#type, event_id: None, warnings, errors, errors_omitted: 0 }
    }

    fn refused(line: usize, mut errors: Vec<Violation>, findings_left: &mut usize) -> Self {
        let listed = errors.len().min((*findings_left).max(1));
        let errors_omitted = errors.len() - listed;
        errors.truncate(listed);
        errors.shrink_to_fit();
        *findings_left = findings_left.saturating_sub(listed);
        Self { errors, errors_omitted, ..Self::other(line, Kind::InvalidRequest) }
    }
}

fn empty() -> Violation {
    let message = "must have at least one line that is not blank";
    Violation {
        code: "batch.empty",
        severity: Severity::Error,
        path: String::new(),
        section: "",
        message,
        offset: None,
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests;
