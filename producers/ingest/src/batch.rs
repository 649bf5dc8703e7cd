//! A batch: one event a line, one result a line. Lines succeed and fail on their own.
//!
//! All lines are offered to the stream before the first is waited for, so that they share records and requests.

use events::envelope::EventType;
use events::event_id::EventId;
use events::violation::{Severity, Violation};
use serde::Serialize;

use crate::accept::{Door, Refused};
use crate::counters::Class;
use crate::http::body::Received as Body;
use crate::http::problem::{Kind, Problem};
use crate::ingest::{Ingest, NotOffered, Offered};
use crate::outcome::Unsent;
use crate::tenants::Tenant;
use crate::way::Way;

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
    Refused(LineResult, Option<Way>),
}

/// The type of the lines that name none themselves: the query's `type`, `ad_request` without one; `None` if that is no
/// type of event.
pub(crate) fn event_type(query: Option<&str>) -> Option<EventType> {
    let parameters = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let mut named = parameters.filter(|(key, _)| *key == "type").map(|(_, name)| EventType::collected(name));
    let first = named.next().unwrap_or(Some(EventType::AdRequest))?;
    named.all(|other| other == Some(first)).then_some(first)
}

/// The type of one line: its member `event_type`, where it has one that is a string.
fn line_type(line: &[u8], default: EventType) -> Result<EventType, Violation> {
    #[derive(serde::Deserialize)]
    struct Named<'l> {
        #[serde(borrow)]
        event_type: Option<std::borrow::Cow<'l, str>>,
    }
    // Most lines are OpenRTB documents, which do not have the word.
    if memchr::memmem::find(line, MEMBER).is_none() {
        return Ok(default);
    }
    // What cannot be read here is read, and refused with its reason, as the default.
    let Ok(Named { event_type: Some(name) }) = serde_json::from_slice::<Named<'_>>(line) else { return Ok(default) };
    EventType::collected(&name).ok_or_else(|| Violation {
        code: "event_type",
        severity: Severity::Error,
        path: "/event_type".to_owned(),
        section: "",
        message: "must be a type of event",
        offset: None,
    })
}

const MEMBER: &[u8] = b"\"event_type\"";

/// Takes a whole batch; returns the document of its results.
///
/// The answer as a whole is a problem only if no line was read, or the stream took none of them.
pub(crate) async fn take(
    ingest: &Ingest,
    tenant: &Tenant,
    body: Body<'_>,
    event_type: EventType,
) -> Result<Vec<u8>, Problem> {
    let lines_filled = lines(&body.bytes).count();
    if lines_filled == 0 {
        ingest.count(Class::Invalid);
        return Err(Problem::invalid(None, None, vec![empty()]));
    }
    if lines_filled > LINES_MAX {
        ingest.count(Class::TooLarge);
        return Err(Problem::new(Kind::TooManyLines));
    }
    let now = ingest.now();
    let endpoint = "/v1/events";
    let door = Door { tenant_id: &tenant.id, policy: tenant.policy, endpoint, event_type, received_ts: now.ts_ms };
    let mut entries = Vec::with_capacity(lines_filled);
    let mut findings_left = FINDINGS_LISTED_MAX;
    for (line, bytes) in lines(&body.bytes) {
        if entries.len() % LINES_PER_TURN == LINES_PER_TURN - 1 {
            tokio::task::yield_now().await;
        }
        entries.push(offer(ingest, tenant, &Line { number: line, bytes, at: now.at }, &door, &mut findings_left));
    }
    // The producer has its own copies and its own bound; the body's memory goes to the next call.
    drop(body);
    let mut results = Vec::with_capacity(entries.len());
    for entry in entries {
        results.push(match entry {
            Entry::Done(result) => result,
            Entry::Refused(result, way) => {
                ingest.settle_refused(way).await;
                result
            }
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
    // By a search of many bytes at a time: a batch of megabytes is cut twice.
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', body).chain([body.len()]);
    let lines = ends.map(move |end| {
        let line = body.get(start..end).unwrap_or_default();
        start = end + 1;
        line.strip_suffix(b"\r").unwrap_or(line)
    });
    (1..).zip(lines).filter(|(_, line)| !line.trim_ascii().is_empty())
}

/// One line of a batch.
struct Line<'l> {
    /// From 1.
    number: usize,
    bytes: &'l [u8],
    /// When the batch was whole.
    at: std::time::Instant,
}

/// Offers one line to the stream, as an event or as a failed one.
fn offer<'i>(
    ingest: &'i Ingest,
    tenant: &Tenant,
    line: &Line<'_>,
    door: &Door<'_>,
    findings_left: &mut usize,
) -> Entry<'i> {
    let bytes_max = ingest.settings().body_bytes_max;
    if line.bytes.len() > bytes_max {
        ingest.count(Class::TooLarge);
        let kept = line.bytes.get(..bytes_max).unwrap_or(line.bytes);
        let delivery = ingest.keep(tenant, &Refused::of_size(kept, door), (kept, line.bytes.len()), door);
        let result = LineResult { limit_bytes: Some(bytes_max), ..LineResult::other(line.number, Kind::TooLarge) };
        return Entry::Refused(result, delivery);
    }
    let refused = match line_type(line.bytes, door.event_type) {
        Ok(event_type) => match ingest.offer(line.bytes, &Door { event_type, ..*door }, line.at) {
            Ok(offered) => return Entry::Offered(line.number, offered),
            Err(NotOffered::Unsent(unsent)) => return Entry::Done(LineResult::other(line.number, unsent.kind())),
            Err(NotOffered::Unwritable) => return Entry::Done(LineResult::other(line.number, Kind::Unwritable)),
            Err(NotOffered::Refused(refused)) => refused,
        },
        Err(violation) => {
            ingest.count(Class::Invalid);
            Refused::for_violation(line.bytes, violation, door)
        }
    };
    let delivery = ingest.keep(tenant, &refused, (line.bytes, line.bytes.len()), door);
    Entry::Refused(LineResult::refused(line.number, refused.violations, findings_left), delivery)
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
