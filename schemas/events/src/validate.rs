//! Which events are accepted: the rules of OpenRTB 2.6 that a request must keep, those of the events around it, and
//! what an exchange may ask beyond them.
//!
//! All findings are reported at once. Unknown members and unknown values of enumerations pass: OpenRTB 2.6 grows
//! without new versions. A finding refuses ([`Severity::Error`]), marks the row ([`Severity::Warning`]) or says that a
//! column holds the normal form of what was sent ([`Severity::Normalized`]); the body is kept as received in any case.

mod bid;
mod device;
mod exchange;
mod findings;
mod imp;
mod notice;
mod offer;
mod play;
mod privacy;
mod request;
mod screen;
mod supply;

use crate::envelope::EventType;
use crate::json::Json;
use crate::validate::findings::Findings;
use crate::violation::{Place, Severity, Violation};

/// What an exchange may ask beyond the text of OpenRTB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// One of `site`, `app` and `dooh` must be there.
    pub channel_required: bool,
    /// A `dooh` object must carry an id or a venue type.
    pub dooh_id_or_venuetype_required: bool,
    /// What happens to a request of a screen without a position.
    pub dooh_position: Response,
    /// What happens to faults of the text of OpenRTB that many real senders have: a negative floor, a currency that
    /// ISO 4217 does not list, a missing `mimes` list, a flag other than 0 and 1, `rqddurs` beside durations.
    pub tolerated_faults: Response,
}

/// What a policy does with a fault that it decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// The row is marked.
    Mark,
    /// The event is refused.
    Refuse,
}

impl Default for Policy {
    /// A channel and a name of the screen are required; a missing position and tolerated faults mark the row.
    fn default() -> Self {
        Self {
            channel_required: true,
            dooh_id_or_venuetype_required: true,
            dooh_position: Response::Mark,
            tolerated_faults: Response::Mark,
        }
    }
}

/// Checks the body of one event. `now_ms` is when it was received, in milliseconds since the epoch.
///
/// Returns every finding, in the order of the rules; nothing for a good event. At most 100 are listed.
pub fn event(event_type: EventType, body: &Json<'_>, policy: Policy, now_ms: i64) -> Vec<Violation> {
    let mut findings = Findings::new(policy, now_ms);
    if !matches!(body, Json::Object(_)) {
        findings.error("json.syntax", "2.3", &Place::ROOT, "must be one JSON object");
        return findings.into_violations();
    }
    match event_type {
        EventType::AdRequest => request::check(&mut findings, body),
        EventType::BidRequest => exchange::bid_request(&mut findings, body),
        EventType::BidResponse => exchange::bid_response(&mut findings, body),
        EventType::Auction => exchange::auction(&mut findings, body),
        EventType::WinNotice => notice::win(&mut findings, body),
        EventType::LossNotice => notice::loss(&mut findings, body),
        EventType::BillingNotice => notice::billing(&mut findings, body),
        EventType::ProofOfPlay => play::check(&mut findings, body),
        EventType::FailedEvent => {
            findings.error("event_type", "", &Place::ROOT, "must not be failed_event, which only the collector writes");
        }
    }
    findings.into_violations()
}

/// Checks one `OpenRTB` bid request, as an ad request carries it: [`event`] for that type.
pub fn ad_request(request: &Json<'_>, policy: Policy, now_ms: i64) -> Vec<Violation> {
    event(EventType::AdRequest, request, policy, now_ms)
}

/// Whether any finding refuses the event.
pub fn refuses(violations: &[Violation]) -> bool {
    violations.iter().any(|violation| violation.severity == Severity::Error)
}

#[cfg(test)]
mod tests;
