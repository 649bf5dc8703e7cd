//! The rules of `source`: where the request comes from, and through whose hands it went.

use crate::json::Json;
use crate::validate::findings::{Findings, Node};

/// Longest seller id (3.2.26).
const SID_BYTES_MAX: usize = 64;

pub(super) fn check(findings: &mut Findings, request: Node<'_, '_>) {
    let Some(source) = findings.object(request, "source") else { return };
    let place = request.place.key("source");
    let node = Node { value: source, place: &place, section: "3.2.2" };
    findings.flags(node, &["fd"]);
    if let Some(schain) = findings.object(node, "schain") {
        let place = place.key("schain");
        chain(findings, Node { value: schain, place: &place, section: "3.2.25" });
    } else if let Some(schain) = source.at(&["ext", "schain"])
        && matches!(schain, Json::Object(_))
    {
        let ext = place.key("ext");
        let place = ext.key("schain");
        findings.normalized("schain", "3.2.25", &place, "is read as source.schain, where it has stood since 2.6");
        chain(findings, Node { value: schain, place: &place, section: "3.2.25" });
    }
}

fn chain(findings: &mut Findings, schain: Node<'_, '_>) {
    findings.flags(schain, &["complete"]);
    for key in ["complete", "ver"] {
        if schain.value.get(key).is_none() {
            findings.warning("schain", schain.section, &schain.place.key(key), "should be there");
        }
    }
    let nodes_place = schain.place.key("nodes");
    let nodes = schain.value.get("nodes").map_or(&[][..], Json::elements);
    if nodes.is_empty() {
        findings.warning("schain", schain.section, &nodes_place, "should be an array of at least one node");
    }
    for (index, value) in nodes.iter().enumerate() {
        let place = nodes_place.index(index);
        let text = |key: &str| value.get(key).and_then(Json::as_str).filter(|text| !text.is_empty());
        if text("asi").is_none() {
            findings.warning("schain", "3.2.26", &place.key("asi"), "should be the domain of the system");
        }
        if text("sid").is_none_or(|sid| sid.len() > SID_BYTES_MAX) {
            findings.warning("schain", "3.2.26", &place.key("sid"), "should be a seller id of at most 64 characters");
        }
        if value.get("hp").and_then(Json::as_i64) != Some(1) {
            findings.warning("schain", "3.2.26", &place.key("hp"), "should be 1 in version 1.0");
        }
    }
}
