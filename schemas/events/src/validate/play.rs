//! The rules of a proof of play: an ad was shown on a screen, or was not.

use crate::json::Json;
use crate::validate::exchange::root;
use crate::validate::findings::Findings;
use crate::violation::Place;

const STATUSES: [&str; 4] = ["completed", "interrupted", "failed", "not_played"];

pub(super) fn check(findings: &mut Findings, body: &Json<'_>) {
    let node = root(body);
    findings.required_text(node, "adunit_id", "adunit_id.required");
    let has_text = |key: &str| body.get(key).and_then(Json::as_str).is_some_and(|text| !text.is_empty());
    let is_named = has_text("play_id") || has_text("auction_id") && has_text("imp_id");
    if !is_named {
        let message = "should be there, or auction_id and imp_id";
        findings.warning("play_id", "", &Place::ROOT.key("play_id"), message);
    }
    findings.texts(node, &["crid", "player_version", "reported_batch_id", "dsp_id"]);
    let start = findings.time(node, "imp_ts", "imp_ts");
    let end = findings.time(node, "end_ts", "end_ts");
    if body.get("imp_ts").is_none() {
        findings.error("imp_ts", "", &Place::ROOT.key("imp_ts"), "must be the time at which the play began");
    }
    if start.zip(end).is_some_and(|(start, end)| end < start) {
        findings.error("end_ts", "", &Place::ROOT.key("end_ts"), "must not be before imp_ts");
    }
    findings.recent(node, "imp_ts", start);
    findings.counts(node, &["played_ms"]);
    findings.flags(node, &["test"]);
    let place = Place::ROOT.key("play_status");
    match body.get("play_status").map(Json::as_str) {
        Some(Some(status)) if STATUSES.contains(&status) => {}
        Some(Some(_)) => findings.warning("enumeration", "", &place, "is not a known status"),
        Some(None) | None => findings.error("play_status", "", &place, "must say how the play ended"),
    }
    if let Some(value) = body.get("multiplier")
        && !value.as_f64().is_some_and(|multiplier| multiplier > 0.0)
    {
        let place = Place::ROOT.key("multiplier");
        findings.error("multiplier", "3.2.31", &place, "must be a number greater than 0");
    }
}
