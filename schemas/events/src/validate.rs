//! Which ad requests are accepted: the rules of OpenRTB 2.6 that a request must keep, and two policies of an exchange.
//!
//! All findings are reported at once. Unknown members and unknown values of enumerations pass: OpenRTB 2.6 grows
//! without new versions.

mod device;
mod findings;
mod imp;
mod request;

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
}

impl Default for Policy {
    fn default() -> Self {
        Self { channel_required: true, dooh_id_or_venuetype_required: true }
    }
}

/// Checks one `OpenRTB` bid request, as an ad request carries it.
///
/// Returns every finding, errors and warnings in the order of the document; nothing for a good request.
pub fn ad_request(request: &Json<'_>, policy: Policy) -> Vec<Violation> {
    let mut findings = Findings::default();
    if matches!(request, Json::Object(_)) {
        request::check(&mut findings, request, policy);
    } else {
        findings.error("json.syntax", "2.3", &Place::ROOT, "must be one JSON object");
    }
    findings.into_violations()
}

/// Whether any finding refuses the event.
pub fn refuses(violations: &[Violation]) -> bool {
    violations.iter().any(|violation| violation.severity == Severity::Error)
}

#[cfg(test)]
mod tests;
