//! The rules of what an exchange says of an auction: whom it asked, what they answered, how it ended.

use crate::json::Json;
use crate::validate::bid;
use crate::validate::findings::{Findings, Node};
use crate::violation::Place;

/// How a bidder's answer ended.
pub(super) const OUTCOMES: [&str; 6] = ["bid", "nobid", "timeout", "error", "invalid", "throttled"];

/// One request to one bidder.
pub(super) fn bid_request(findings: &mut Findings, body: &Json<'_>) {
    let node = root(body);
    asked(findings, node);
    findings.time(node, "sent_ts", "sent_ts");
    findings.counts(node, &["tmax_ms", "request_bytes"]);
    findings.flags(node, &["test"]);
    outcome(findings, node, &["sent", "throttled"]);
    if let Some(request) = findings.object(node, "request") {
        same_auction(findings, node, request, "request");
    }
}

/// The answer of one bidder, or its absence. What is wrong with the bids marks the row and never refuses the event: it
/// tells what a bidder did, which is as it is.
pub(super) fn bid_response(findings: &mut Findings, body: &Json<'_>) {
    let node = root(body);
    asked(findings, node);
    if body.get("outcome").is_none() {
        findings.error("outcome", "", &Place::ROOT.key("outcome"), "must say how the answer ended");
    }
    outcome(findings, node, &OUTCOMES);
    findings.counts(node, &["http_status", "latency_ms", "response_bytes", "nonbid_statuscode"]);
    findings.flags(node, &["test"]);
    if let Some(nbr) = body.get("nbr")
        && !matches!(nbr.as_i64(), Some(0..=17 | 500..))
    {
        findings.warning("nbr", "5.24", &Place::ROOT.key("nbr"), "is not in the specification's list");
    }
    let request = findings.object(node, "request");
    let place = Place::ROOT.key("response");
    let Some(response) = findings.object(node, "response") else {
        if body.get("outcome").and_then(Json::as_str) == Some("bid") && body.get("response").is_none() {
            findings.error("response.required", "", &place, "must be there when outcome is bid");
        }
        return;
    };
    same_auction(findings, node, response, "response");
    bid::check_all(findings, Node { value: response, place: &place, section: "4.2.1" }, request);
}

/// How an imp ended.
pub(super) fn auction(findings: &mut Findings, body: &Json<'_>) {
    let node = root(body);
    findings.required_text(node, "auction_id", "auction_id.required");
    findings.required_text(node, "imp_id", "imp_id.required");
    let status = body.get("status").and_then(Json::as_str);
    if status.is_none_or(str::is_empty) {
        findings.error("status", "", &Place::ROOT.key("status"), "must be filled or no_fill");
    } else if !matches!(status, Some("filled" | "no_fill")) {
        findings.warning("enumeration", "", &Place::ROOT.key("status"), "should be filled or no_fill");
    }
    if status == Some("filled") {
        findings.required_text(node, "dsp_id", "dsp_id.required");
        findings.required_text(node, "bid_id", "bid_id.required");
    }
    findings.time(node, "auction_ts", "auction_ts");
    findings.counts(node, &["bids_received"]);
    findings.flags(node, &["test"]);
    findings.price(node, "clearing_cpm", "price");
    findings.price(node, "floor_cpm", "price");
    for key in ["clearing_cur", "floor_cur"] {
        if let Some(value) = body.get(key) {
            findings.currency("cur", "", &Place::ROOT.key(key), value);
        }
    }
    findings.texts(node, &["seat_id", "dealid", "crid", "adunit_id", "no_fill_reason"]);
    market_bid_ratio(findings, node, "market_bid_ratio");
}

/// Clearing price over bid price: above 0 and at most 1.
pub(super) fn market_bid_ratio(findings: &mut Findings, node: Node<'_, '_>, key: &str) {
    let Some(value) = node.value.get(key) else { return };
    if !value.as_f64().is_some_and(|ratio| ratio > 0.0 && ratio <= 1.0) {
        findings.warning("market_bid_ratio", "4.4", &node.place.key(key), "should be above 0 and at most 1");
    }
}

pub(super) fn root<'b, 'j>(body: &'b Json<'j>) -> Node<'b, 'j> {
    Node { value: body, place: &Place::ROOT, section: "" }
}

fn asked(findings: &mut Findings, node: Node<'_, '_>) {
    findings.required_text(node, "auction_id", "auction_id.required");
    findings.required_text(node, "dsp_id", "dsp_id.required");
}

fn outcome(findings: &mut Findings, node: Node<'_, '_>, known: &[&str]) {
    let Some(value) = node.value.get("outcome") else { return };
    let place = node.place.key("outcome");
    match value.as_str() {
        Some(outcome) if known.contains(&outcome) => {}
        Some(_) => findings.warning("enumeration", node.section, &place, "is not a known outcome"),
        None => findings.error("outcome", node.section, &place, "must be a string"),
    }
}

/// `BidRequest.id` and `BidResponse.id` are the auction's id.
fn same_auction(findings: &mut Findings, node: Node<'_, '_>, inner: &Json<'_>, key: &str) {
    let (outer, inner_id) = (node.value.get("auction_id"), inner.get("id"));
    if outer.and_then(Json::as_str) != inner_id.and_then(Json::as_str) {
        let place = node.place.key(key);
        findings.warning("response.id", "4.2.1", &place.key("id"), "should be the auction's id (loss reason 5)");
    }
}
