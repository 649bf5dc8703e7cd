//! The rules of `regs` and `user`: what may be done with the data.

use crate::ad_request::is_us_privacy;
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
        us_privacy(findings, node);
        moved(findings, node);
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

fn us_privacy(findings: &mut Findings, regs: Node<'_, '_>) {
    let ext = regs.place.key("ext");
    let (value, place) = match regs.value.get("us_privacy") {
        Some(value) => (value, regs.place.key("us_privacy")),
        None => match regs.value.at(&["ext", "us_privacy"]) {
            Some(value) => (value, ext.key("us_privacy")),
            None => return,
        },
    };
    if !value.as_str().is_some_and(is_us_privacy) {
        let message = "should be 1 and three of Y, N and -; it is ignored";
        findings.warning("regs.us_privacy", regs.section, &place, message);
    }
}

/// Members that stood in `regs.ext` before 2.6: columns have them all the same. `gpc` still stands there.
fn moved(findings: &mut Findings, regs: Node<'_, '_>) {
    let Some(ext) = regs.value.get("ext") else { return };
    let place = regs.place.key("ext");
    for key in ["gdpr", "us_privacy"] {
        if regs.value.get(key).is_none() && ext.get(key).is_some() {
            findings.normalized("regs.ext", regs.section, &place.key(key), "is read as the member of regs, since 2.6");
        }
    }
    if regs.value.get("gdpr").is_none()
        && let Some(gdpr) = ext.get("gdpr")
        && !matches!(gdpr.as_i64(), Some(0 | 1))
    {
        findings.warning("flags", regs.section, &place.key("gdpr"), "should be 0 or 1");
    }
    if let Some(gpc) = ext.get("gpc")
        && gpc.as_str() != Some("1")
    {
        findings.warning("regs.gpc", "", &place.key("gpc"), "should be the string \"1\", as the header Sec-GPC has it");
    }
}
