//! The rules of the request itself and of the objects directly in it.

use crate::json::Json;
use crate::validate::findings::{Findings, Node};
use crate::validate::{device, imp, privacy, supply};
use crate::violation::Place;

pub(super) fn check(findings: &mut Findings, request: &Json<'_>) {
    let node = Node { value: request, place: &Place::ROOT, section: "3.2.1" };
    findings.required_text(node, "id", "id.required");
    imp::check_all(findings, node);
    channel(findings, node);
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
    if let Some(dooh) = node.value.get("dooh") {
        let place = node.place.key("dooh");
        screen(findings, Node { value: dooh, place: &place, section: "3.2.32" });
    }
}

/// Names of the venue type of a screen: the specification's, then those of its own samples and of exchanges.
const VENUETYPES: [&str; 2] = ["venuetype", "venuetypeid"];

fn screen(findings: &mut Findings, dooh: Node<'_, '_>) {
    let is_named = ["id", VENUETYPES[0], VENUETYPES[1]].iter().any(|key| match dooh.value.get(key) {
        Some(Json::Text(text)) => !text.is_empty(),
        Some(Json::Array(elements)) => !elements.is_empty(),
        Some(Json::Integer(_)) => true,
        Some(_) | None => false,
    });
    if findings.policy.dooh_id_or_venuetype_required && !is_named {
        findings.error("dooh.id_or_venuetype", dooh.section, dooh.place, "must have an id or a venuetype");
    }
    let Some((key, value)) = VENUETYPES.iter().find_map(|key| Some((*key, dooh.value.get(key)?))) else { return };
    let place = dooh.place.key(key);
    let is_as_specified = key == "venuetype" && value.elements().iter().all(|element| element.as_str().is_some());
    if !(is_as_specified && matches!(value, Json::Array(_))) {
        findings.normalized("dooh.venuetype", dooh.section, &place, "is read as an array of strings `venuetype`");
    }
    // Only OpenOOH's ids (1 is the default, 5 is version 1.1) are known here.
    let taxonomy = dooh.value.get("venuetypetax").or_else(|| dooh.value.get("venuetax")).and_then(Json::as_i64);
    let is_open_ooh = matches!(taxonomy.unwrap_or(1), 1 | 5);
    let first = value.elements().first().unwrap_or(value);
    let id = first.as_i64().or_else(|| first.as_str()?.parse().ok());
    let is_empty_list = matches!(first, Json::Array(_));
    if is_open_ooh && !is_empty_list && !id.is_some_and(crate::venue::is_known) {
        findings.warning("dooh.venuetype", dooh.section, &place, "is not an OpenOOH venue type, and is read as absent");
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
