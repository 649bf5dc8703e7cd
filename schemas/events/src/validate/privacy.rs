//! The rules of `regs` and `user`: what may be done with the data.

use crate::json::Json;
use crate::validate::device;
use crate::validate::findings::{Findings, Node};

pub(super) fn check(findings: &mut Findings, request: Node<'_, '_>) {
    let regs = findings.object(request, "regs");
    let mut gdpr = None;
    if let Some(regs) = regs {
        let place = request.place.key("regs");
        let node = Node { value: regs, place: &place, section: "3.2.3" };
        findings.legal_flags(node, &["coppa", "gdpr"]);
        gdpr = regs.get("gdpr").or_else(|| regs.at(&["ext", "gdpr"])).and_then(Json::as_i64);
        if let Some(us_privacy) = regs.get("us_privacy")
            && !us_privacy.as_str().is_some_and(is_us_privacy)
        {
            let message = "should be 1 and three of Y, N and -; it is ignored";
            findings.warning("regs.us_privacy", "3.2.3", &place.key("us_privacy"), message);
        }
    }
    let user = findings.object(request, "user");
    let place = request.place.key("user");
    if let Some(user) = user {
        let node = Node { value: user, place: &place, section: "3.2.20" };
        findings.exclusive(node, &[("keywords", "kwarray")]);
        device::position_of(findings, node);
    }
    let consent = user.and_then(|user| user.get("consent").or_else(|| user.at(&["ext", "consent"])));
    if gdpr == Some(1) && consent.and_then(Json::as_str).is_none_or(str::is_empty) {
        findings.warning("user.consent", "3.2.20", &place.key("consent"), "should be there when regs.gdpr is 1");
    }
}

/// The IAB's U.S. privacy string, version 1.
fn is_us_privacy(text: &str) -> bool {
    let is_answer = |byte: u8| matches!(byte.to_ascii_uppercase(), b'Y' | b'N' | b'-');
    matches!(text.as_bytes(), [b'1', rest @ ..] if rest.len() == 3 && rest.iter().copied().all(is_answer))
}
