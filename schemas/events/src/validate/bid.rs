//! The rules of a bid, alone and against the request it answers where the event carries that. All of them mark.

use crate::json::Json;
use crate::validate::findings::{Findings, Node};

pub(super) fn check_all(findings: &mut Findings, response: Node<'_, '_>, request: Option<&Json<'_>>) {
    let currency = response.value.get("cur").and_then(Json::as_str).unwrap_or("USD");
    if let Some(value) = response.value.get("cur")
        && !value.as_str().is_some_and(crate::currency::is_active)
    {
        findings.warning("response.cur", "4.2.1", &response.place.key("cur"), "should be an active ISO 4217 code");
    }
    let offered = request.map(|request| Offered { request, currency });
    if offered.is_some_and(|offered| !offered.takes_currency()) {
        findings.warning("response.cur", "4.2.1", &response.place.key("cur"), "should be a currency of the request");
    }
    let seats_place = response.place.key("seatbid");
    for (seat_index, seat) in response.value.get("seatbid").map_or(&[][..], Json::elements).iter().enumerate() {
        let seat_place = seats_place.index(seat_index);
        let bids_place = seat_place.key("bid");
        let bids = seat.get("bid").map_or(&[][..], Json::elements);
        if bids.is_empty() {
            findings.warning("seatbid.bid", "4.2.2", &bids_place, "should be an array of at least one bid");
        }
        if let Some(offered) = offered
            && !offered.takes_seat(seat.get("seat").and_then(Json::as_str))
        {
            findings.warning(
                "seat",
                "4.2.2",
                &seat_place.key("seat"),
                "is not allowed by the request (loss reason 104)",
            );
        }
        for (index, bid) in bids.iter().enumerate() {
            let place = bids_place.index(index);
            let node = Node { value: bid, place: &place, section: "4.2.3" };
            check(findings, node);
            if let Some(offered) = offered {
                against_request(findings, node, offered);
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
}

/// What a bid is held against.
#[derive(Debug, Clone, Copy)]
struct Offered<'r, 'j> {
    request: &'r Json<'j>,
    /// The currency of the response.
    currency: &'r str,
}

impl<'r, 'j> Offered<'r, 'j> {
    fn takes_currency(self) -> bool {
        let allowed = self.request.get("cur").map_or(&[][..], Json::elements);
        if allowed.is_empty() {
            return self.currency == "USD";
        }
        allowed.iter().any(|allowed| allowed.as_str() == Some(self.currency))
    }

    fn takes_seat(self, seat: Option<&str>) -> bool {
        let is_blocked = listed(self.request, "bseat", seat);
        let allows = self.request.get("wseat").is_some_and(|seats| !seats.elements().is_empty());
        !is_blocked && (!allows || listed(self.request, "wseat", seat))
    }

    fn imp(self, id: Option<&str>) -> Option<&'r Json<'j>> {
        let imps = self.request.get("imp").map_or(&[][..], Json::elements);
        imps.iter().find(|imp| id.is_some() && imp.get("id").and_then(Json::as_str) == id)
    }
}

fn against_request(findings: &mut Findings, bid: Node<'_, '_>, offered: Offered<'_, '_>) {
    let text = |key: &str| bid.value.get(key).and_then(Json::as_str);
    let mut warn = |code, key, message| findings.warning(code, bid.section, &bid.place.key(key), message);
    let Some(imp) = offered.imp(text("impid")) else {
        warn("bid.impid", "impid", "is not an imp of the request (loss reason 3)");
        return;
    };
    let deal = text("dealid").map(|id| {
        let deals = imp.at(&["pmp", "deals"]).map_or(&[][..], Json::elements);
        deals.iter().find(|deal| deal.get("id").and_then(Json::as_str) == Some(id))
    });
    match deal {
        Some(None) => warn("bid.dealid", "dealid", "is not a deal of the imp (loss reason 4)"),
        Some(Some(deal)) if is_below(bid.value, deal, offered.currency) => {
            warn("bid.price", "price", "is below the deal's floor (loss reason 101)");
        }
        None if is_below(bid.value, imp, offered.currency) => {
            warn("bid.price", "price", "is below the floor (loss reason 100)");
        }
        Some(Some(_)) | None => {}
    }
    for (code, key, blocked, message) in [
        ("bid.adomain", "adomain", "badv", "is blocked by the request (loss reason 205)"),
        ("bid.cat", "cat", "bcat", "is blocked by the request (loss reason 209)"),
    ] {
        let values = bid.value.get(key).map_or(&[][..], Json::elements);
        if values.iter().any(|value| value.as_str().is_some() && listed(offered.request, blocked, value.as_str())) {
            warn(code, key, message);
        }
    }
    if imp.get("secure").and_then(Json::as_i64) == Some(1) && text("adm").is_some_and(|adm| adm.contains("http://")) {
        warn("bid.secure", "adm", "should use https only (loss reason 207)");
    }
}

/// Whether the bid is below a floor in the same currency. Other currencies need a rate, which the door has not.
fn is_below(bid: &Json<'_>, floored: &Json<'_>, currency: &str) -> bool {
    let floor_currency = floored.get("bidfloorcur").and_then(Json::as_str).unwrap_or("USD");
    let price = bid.get("price").and_then(Json::as_f64);
    let floor = floored.get("bidfloor").and_then(Json::as_f64);
    floor_currency == currency && price.zip(floor).is_some_and(|(price, floor)| price < floor)
}

fn listed(request: &Json<'_>, key: &str, value: Option<&str>) -> bool {
    request.get(key).is_some_and(|list| list.elements().iter().any(|entry| entry.as_str() == value && value.is_some()))
}
