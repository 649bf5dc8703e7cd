//! The rules of the request itself and of the objects directly in it.

use crate::json::Json;
use crate::validate::findings::{Findings, Node};
use crate::validate::{device, imp, privacy, screen, supply};
use crate::violation::Place;

pub(super) fn check(findings: &mut Findings, request: &Json<'_>) {
    let node = Node { value: request, place: &Place::ROOT, section: "3.2.1" };
    findings.required_text(node, "id", "id.required");
    imp::check_all(findings, node);
    channel(findings, node);
    screen::check(findings, node);
    device::check(findings, node);
    findings.flags(node, &["test", "allimps"]);
    findings.counts(node, &["tmax"]);
    if request.get("tmax").and_then(Json::as_i64) == Some(0) {
        findings.error("tmax", "3.2.1", &Place::ROOT.key("tmax"), "must be greater than 0");
    }
    auction_type(findings, node);
    currencies(findings, node);
    findings.exclusive(node, &[("wseat", "bseat"), ("acat", "bcat"), ("wlang", "wlangb")]);
    privacy::check(findings, node);
    supply::check(findings, node);
    findings.object(node, "ext");
}

fn channel(findings: &mut Findings, node: Node<'_, '_>) {
    let mut present = 0;
    for key in ["site", "app", "dooh"] {
        let Some(channel) = findings.object(node, key) else { continue };
        present += 1;
        let place = node.place.key(key);
        let channel = Node { value: channel, place: &place, section: "3.2.1" };
        findings.exclusive(channel, &[("keywords", "kwarray")]);
        if let Some(content) = channel.value.get("content") {
            let place = place.key("content");
            let content = Node { value: content, place: &place, section: "3.2.16" };
            findings.exclusive(content, &[("language", "langb"), ("keywords", "kwarray")]);
        }
    }
    if present > 1 {
        findings.error("channel.exclusive", "3.2.1", node.place, "must have only one of site, app and dooh");
    }
    let nothing_named = ["site", "app", "dooh"].iter().all(|key| node.value.get(key).is_none());
    if findings.policy.channel_required && nothing_named {
        findings.error("channel.missing", "3.2.1", node.place, "must have one of site, app and dooh");
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
