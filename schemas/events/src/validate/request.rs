//! The rules of the request itself and of the objects directly in it.

use crate::json::Json;
use crate::validate::findings::{Findings, Node};
use crate::validate::{Policy, device, imp};
use crate::violation::Place;

pub(super) fn check(findings: &mut Findings, request: &Json<'_>, policy: Policy) {
    let node = Node { value: request, place: &Place::ROOT, section: "3.2.1" };
    findings.required_text(node, "id", "id.required");
    imp::check_all(findings, node);
    channel(findings, node, policy);
    device::check(findings, node);
    findings.flags(node, &["test", "allimps"]);
    findings.counts(node, &["tmax"]);
    if request.get("tmax").and_then(Json::as_i64) == Some(0) {
        findings.error("tmax", "3.2.1", &Place::ROOT.key("tmax"), "must be greater than 0");
    }
    auction_type(findings, node);
    currencies(findings, node);
    if let Some(regs) = findings.object(node, "regs") {
        let place = Place::ROOT.key("regs");
        findings.legal_flags(Node { value: regs, place: &place, section: "3.2.3" }, &["coppa", "gdpr"]);
    }
    source(findings, node);
    for key in ["user", "ext"] {
        findings.object(node, key);
    }
}

fn channel(findings: &mut Findings, node: Node<'_, '_>, policy: Policy) {
    let mut present = 0;
    for key in ["site", "app", "dooh"] {
        present += usize::from(findings.object(node, key).is_some());
    }
    if present > 1 {
        findings.error("channel.exclusive", "3.2.1", node.place, "must have only one of site, app and dooh");
    }
    let nothing_named = ["site", "app", "dooh"].iter().all(|key| node.value.get(key).is_none());
    if policy.channel_required && nothing_named {
        findings.error("channel.missing", "3.2.1", node.place, "must have one of site, app and dooh");
    }
    let Some(dooh) = node.value.get("dooh") else { return };
    let is_named = ["id", "venuetype", "venuetypeid"].iter().any(|key| match dooh.get(key) {
        Some(Json::Text(text)) => !text.is_empty(),
        Some(Json::Array(elements)) => !elements.is_empty(),
        Some(Json::Integer(_)) => true,
        Some(_) | None => false,
    });
    if policy.dooh_id_or_venuetype_required && !is_named {
        let place = node.place.key("dooh");
        findings.error("dooh.id_or_venuetype", "3.2.32", &place, "must have an id or a venuetype");
    }
}

fn auction_type(findings: &mut Findings, node: Node<'_, '_>) {
    let Some(value) = node.value.get("at") else { return };
    let place = node.place.key("at");
    match value.as_i64() {
        Some(1 | 2 | 500..) => {}
        Some(3) => findings.warning("at", node.section, &place, "3 is for deals; read as second price"),
        Some(_) | None => findings.error("at", node.section, &place, "must be 1, 2, or 500 and above"),
    }
}

fn currencies(findings: &mut Findings, node: Node<'_, '_>) {
    let place = node.place.key("cur");
    for (index, currency) in findings.array(node, "cur").iter().enumerate() {
        findings.currency("cur", node.section, &place.index(index), currency);
    }
}

fn source(findings: &mut Findings, node: Node<'_, '_>) {
    let Some(source) = findings.object(node, "source") else { return };
    let place = node.place.key("source");
    let source_node = Node { value: source, place: &place, section: "3.2.2" };
    findings.flags(source_node, &["fd"]);
    let Some(schain) = findings.object(source_node, "schain") else { return };
    let schain_place = place.key("schain");
    findings.flags(Node { value: schain, place: &schain_place, section: "3.2.25" }, &["complete"]);
}
