//! The rules of notices: a bidder was told that it won, that it lost, or that it is billed.
//!
//! Members have the names of OpenRTB's macros in lower case. What a notice is compared with (the bid's price, the
//! multiplier that was asked for) is not at the door; only what the notice says by itself is checked here. The report
//! `notice_violations` has the rest.

use crate::json::Json;
use crate::validate::exchange::{LOSS_REASONS, market_bid_ratio, root};
use crate::validate::findings::{Findings, Node};
use crate::violation::Place;

pub(super) fn win(findings: &mut Findings, body: &Json<'_>) {
    check(findings, root(body));
}

pub(super) fn loss(findings: &mut Findings, body: &Json<'_>) {
    let node = root(body);
    check(findings, node);
    let place = Place::ROOT.key("auction_loss");
    match body.get("auction_loss") {
        Some(reason) if LOSS_REASONS.holds(reason) => {}
        Some(reason) if reason.as_i64().is_some() => {
            findings.warning("enumeration", "5.25", &place, "is not in the specification's list");
        }
        Some(_) => findings.error("auction_loss", "5.25", &place, "must be a whole number"),
        None => findings.warning("auction_loss", "5.25", &place, "should say why the bid lost"),
    }
}

/// One billable event for each imp of an auction, so the imp must be named.
pub(super) fn billing(findings: &mut Findings, body: &Json<'_>) {
    let node = root(body);
    check(findings, node);
    findings.required_text(node, "imp_id", "imp_id.required");
    if body.get("auction_price").is_none() {
        findings.warning("auction_price", "4.4", &Place::ROOT.key("auction_price"), "should say what is billed");
    }
    if body.get("test").and_then(Json::as_i64) == Some(1) {
        findings.warning("test", "3.2.1", &Place::ROOT.key("test"), "is a test, which is not billable");
    }
}

fn check(findings: &mut Findings, node: Node<'_, '_>) {
    findings.required_text(node, "auction_id", "auction_id.required");
    findings.texts(node, &["bid_id", "seat_id", "dsp_id", "ad_id", "adunit_id", "url_host"]);
    for key in ["auction_price", "auction_min_to_win", "auction_discount_cpm"] {
        findings.price(node, key, "auction_price");
    }
    if let Some(value) = node.value.get("auction_currency") {
        findings.currency("cur", "4.4", &node.place.key("auction_currency"), value);
    }
    if let Some(value) = node.value.get("auction_multiplier")
        && !value.as_f64().is_some_and(|multiplier| multiplier > 0.0)
    {
        let place = node.place.key("auction_multiplier");
        findings.error("auction_multiplier", "4.4", &place, "must be a number greater than 0");
    }
    market_bid_ratio(findings, node, "auction_mbr");
    if let Some(value) = node.value.get("auction_discount_pct")
        && !value.as_f64().is_some_and(|percent| (0.0..=100.0).contains(&percent))
    {
        let place = node.place.key("auction_discount_pct");
        findings.warning("auction_discount_pct", "4.4", &place, "should be from 0 to 100");
    }
    let displayed = findings.time(node, "auction_imp_ts", "auction_imp_ts");
    findings.recent(node, "auction_imp_ts", displayed);
    findings.counts(node, &["attempt", "http_status", "latency_ms"]);
    findings.flags(node, &["test"]);
    for element in node.value.get("unresolved").map_or(&[][..], Json::elements) {
        // Written by the door for a notice that came as a URL with macros still in it.
        if element.as_str().is_some() {
            findings.warning("macro.unresolved", "4.4", &node.place.key("unresolved"), "has macros left in it");
            break;
        }
    }
}
