//! The rules of what an exchange says of an auction: whom it asked, what they answered, how it ended.

use crate::json::Json;
use crate::validate::bid;
use crate::validate::findings::{Findings, Node};
use crate::violation::Place;

/// A list of numbers in ranges. Whatever is 500 or above is an exchange's own.
pub(super) struct Codes(&'static [std::ops::RangeInclusive<i64>]);

impl Codes {
    pub(super) fn holds(&self, value: &Json<'_>) -> bool {
        value.as_i64().is_some_and(|code| code >= 500 || self.0.iter().any(|range| range.contains(&code)))
    }
}

/// Reasons of a bidder not to bid (`nbr`).
const NO_BID_REASONS: Codes = Codes(&[0..=17]);
/// Reasons for which a bid lost.
pub(super) const LOSS_REASONS: Codes = Codes(&[0..=10, 100..=104, 200..=215]);
/// What became of a seat that did not bid (the community extension on seat non-bids).
const NON_BID_CODES: Codes = Codes(&[0..=17, 100..=103, 200..=204, 300..=304, 350..=357]);

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
    listed(findings, node, ("nbr", "5.24"), &NO_BID_REASONS);
    listed(findings, node, ("nonbid_statuscode", ""), &NON_BID_CODES);
    findings.time(node, "sent_ts", "sent_ts");
    let creatives = findings.object(node, "creatives");
    let request = findings.object(node, "request");
    let place = Place::ROOT.key("response");
    let Some(response) = answer(findings, node) else { return };
    same_auction(findings, node, response, "response");
    let response = Node { value: response, place: &place, section: "4.2.1" };
    listed(findings, response, ("nbr", "5.24"), &NO_BID_REASONS);
    let sent = body.get("sent_ts").and_then(Json::as_f64).and_then(crate::time::millis);
    let auction_ms = sent.map_or(findings.now_ms, |sent| sent.ms);
    bid::check_all(findings, response, bid::Around { request, creatives, auction_ms });
}

/// The document that the bidder answered with. Who bids answers with one; whatever else came back is kept, and marks.
fn answer<'b, 'j>(findings: &mut Findings, node: Node<'b, 'j>) -> Option<&'b Json<'j>> {
    let place = node.place.key("response");
    let is_bid = node.value.get("outcome").and_then(Json::as_str) == Some("bid");
    match node.value.get("response") {
        Some(response @ Json::Object(_)) => return Some(response),
        Some(_) if is_bid => findings.error("field.type", "", &place, "must be an object when outcome is bid"),
        Some(_) => findings.warning("response.type", "4.2.1", &place, "should be an object (loss reason 3)"),
        None if is_bid => findings.error("response.required", "", &place, "must be there when outcome is bid"),
        None => {}
    }
    None
}

/// A code of a list. Others pass, and mark the row.
fn listed(findings: &mut Findings, node: Node<'_, '_>, (key, section): (&'static str, &'static str), codes: &Codes) {
    if node.value.get(key).is_some_and(|value| !codes.holds(value)) {
        findings.warning(key, section, &node.place.key(key), "is not in the specification's list");
    }
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
    if body.get("at").is_some_and(|at| !matches!(at.as_i64(), Some(1..=3 | 500..))) {
        findings.warning("at", "3.2.12", &Place::ROOT.key("at"), "should be 1, 2, 3, or 500 and above");
    }
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
