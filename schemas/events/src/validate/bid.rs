//! The rules of a bid by itself; [`offer`] holds it against the request that it answers. All of them mark: they tell
//! what a bidder did, which is as it is.

use crate::json::Json;
use crate::validate::exchange::LOSS_REASONS;
use crate::validate::findings::{Findings, Node};
use crate::validate::offer::{self, Offered};

/// The rest of the event that a response stands in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'r, 'j> {
    pub(super) request: Option<&'r Json<'j>>,
    pub(super) creatives: Option<&'r Json<'j>>,
    pub(super) auction_ms: i64,
}

pub(super) fn check_all(findings: &mut Findings, response: Node<'_, '_>, around: Around<'_, '_>) {
    let currency = response.value.get("cur").and_then(Json::as_str).unwrap_or("USD");
    if let Some(value) = response.value.get("cur")
        && !value.as_str().is_some_and(crate::currency::is_active)
    {
        findings.warning("response.cur", "4.2.1", &response.place.key("cur"), "should be an active ISO 4217 code");
    }
    let Around { request, creatives, auction_ms } = around;
    let offered = request.map(|request| Offered { request, currency, creatives, auction_ms });
    if offered.is_some_and(|offered| !offered.takes_currency()) {
        findings.warning("response.cur", "4.2.1", &response.place.key("cur"), "should be a currency of the request");
    }
    let seats_place = response.place.key("seatbid");
    for (seat_index, seatbid) in response.value.get("seatbid").map_or(&[][..], Json::elements).iter().enumerate() {
        let seat_place = seats_place.index(seat_index);
        let bids_place = seat_place.key("bid");
        let bids = seatbid.get("bid").map_or(&[][..], Json::elements);
        if bids.is_empty() {
            findings.warning("seatbid.bid", "4.2.2", &bids_place, "should be an array of at least one bid");
        }
        let seat = seatbid.get("seat").and_then(Json::as_str);
        if offered.is_some_and(|offered| !offered.takes_seat(seat)) {
            let message = "is not allowed by the request (loss reason 104)";
            findings.warning("seat", "4.2.2", &seat_place.key("seat"), message);
        }
        for (index, bid) in bids.iter().enumerate() {
            let place = bids_place.index(index);
            let node = Node { value: bid, place: &place, section: "4.2.3" };
            check(findings, node);
            if let Some(offered) = offered {
                offer::check(findings, node, seat, offered);
            }
        }
    }
}

fn check(findings: &mut Findings, bid: Node<'_, '_>) {
    let has_text = |key: &str| bid.value.get(key).and_then(Json::as_str).is_some_and(|text| !text.is_empty());
    let is_priced = bid.value.get("price").and_then(Json::as_f64).is_some_and(|price| price > 0.0);
    let mut unless = |is_kept: bool, code, key, message| {
        if !is_kept {
            findings.warning(code, bid.section, &bid.place.key(key), message);
        }
    };
    unless(has_text("id"), "bid.id", "id", "should be a string that is not empty (loss reason 3)");
    unless(has_text("impid"), "bid.impid", "impid", "should be the id of an imp (loss reason 3)");
    unless(is_priced, "bid.price", "price", "should be a number above 0 (loss reason 9)");
    unless(has_text("adm") || has_text("nurl"), "bid.markup", "adm", "should have adm or nurl (loss reason 7)");
    unless(has_text("crid"), "bid.crid", "crid", "should be a string that is not empty (loss reason 8)");
    let exp = bid.value.get("exp");
    let is_count = exp.is_none_or(|exp| exp.as_i64().is_some_and(|seconds| seconds >= 0));
    unless(is_count, "bid.exp", "exp", "should be a whole number of seconds");
    let mtype = bid.value.get("mtype");
    let is_listed = mtype.is_none_or(|mtype| matches!(mtype.as_i64(), Some(1..=4)));
    unless(is_listed, "bid.mtype", "mtype", "is not in the specification's list");
    let reason = bid.value.at(&["ext", "loss_reason"]);
    let is_listed = reason.is_none_or(|reason| LOSS_REASONS.holds(reason));
    unless(is_listed, "bid.loss_reason", "ext", "has a loss_reason that is not in the specification's list");
}
