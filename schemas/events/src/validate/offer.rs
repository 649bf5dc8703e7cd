//! A response against the request that it answers, where the event carries both. All of it marks, and each message
//! names `OpenRTB`'s reason of loss.

use crate::json::Json;
use crate::validate::findings::{Findings, Node};

/// What the bids of a response are held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offered<'r, 'j> {
    pub(super) request: &'r Json<'j>,
    /// The currency of the response.
    pub(super) currency: &'r str,
    /// The exchange's word on creatives, by their ids: `approved`, `pending` or `disapproved`.
    pub(super) creatives: Option<&'r Json<'j>>,
    /// When the auction was, in milliseconds since the epoch.
    pub(super) auction_ms: i64,
}

/// A bid, and what was offered for it.
#[derive(Clone, Copy)]
struct Answer<'a, 'j> {
    bid: Node<'a, 'j>,
    imp: &'a Json<'j>,
    deal: Option<&'a Json<'j>>,
    seat: Option<&'a str>,
    offered: Offered<'a, 'j>,
}

impl<'r, 'j> Offered<'r, 'j> {
    pub(super) fn takes_currency(self) -> bool {
        let allowed = self.request.get("cur").map_or(&[][..], Json::elements);
        if allowed.is_empty() {
            return self.currency == "USD";
        }
        allowed.iter().any(|allowed| allowed.as_str() == Some(self.currency))
    }

    pub(super) fn takes_seat(self, seat: Option<&str>) -> bool {
        let is_blocked = lists(self.request, "bseat", seat);
        !is_blocked && allows(self.request, "wseat", seat)
    }

    fn imp(self, id: Option<&str>) -> Option<&'r Json<'j>> {
        let imps = self.request.get("imp").map_or(&[][..], Json::elements);
        imps.iter().find(|imp| id.is_some() && imp.get("id").and_then(Json::as_str) == id)
    }
}

/// Everything that needs the imp of the bid.
pub(super) fn check(findings: &mut Findings, bid: Node<'_, '_>, seat: Option<&str>, offered: Offered<'_, '_>) {
    let text = |key: &str| bid.value.get(key).and_then(Json::as_str);
    let mut warn = |code, key, message| findings.warning(code, bid.section, &bid.place.key(key), message);
    let Some(imp) = offered.imp(text("impid")) else {
        warn("bid.impid", "impid", "is not an imp of the request (loss reason 3)");
        return;
    };
    let deals = imp.at(&["pmp", "deals"]).map_or(&[][..], Json::elements);
    let deal = text("dealid").map(|id| deals.iter().find(|deal| deal.get("id").and_then(Json::as_str) == Some(id)));
    let is_private = imp.at(&["pmp", "private_auction"]).and_then(Json::as_i64) == Some(1);
    match deal {
        Some(None) => warn("bid.dealid", "dealid", "is not a deal of the imp (loss reason 4)"),
        None if is_private => {
            warn("bid.dealid", "dealid", "should name a deal: the auction is private (loss reason 4)")
        }
        Some(Some(_)) | None => {}
    }
    let answer = Answer { bid, imp, deal: deal.flatten(), seat, offered };
    // The floor of a deal that was never offered is not known.
    if deal != Some(None) {
        price(findings, answer);
    }
    blocked(findings, answer);
    size(findings, answer);
    media_type(findings, answer);
    security(findings, answer);
    approval(findings, answer);
    lead_time(findings, answer);
}

/// Floors in the currency of the bid. Other currencies need a rate, which the door has not.
fn price(findings: &mut Findings, answer: Answer<'_, '_>) {
    let Answer { bid, imp, deal, seat, offered } = answer;
    let is_below = |floored: &Json<'_>| {
        let floor_currency = floored.get("bidfloorcur").and_then(Json::as_str).unwrap_or("USD");
        let price = bid.value.get("price").and_then(Json::as_f64);
        let floor = floored.get("bidfloor").and_then(Json::as_f64);
        floor_currency == offered.currency && price.zip(floor).is_some_and(|(price, floor)| price < floor)
    };
    let mut warn = |code, key, message| findings.warning(code, bid.section, &bid.place.key(key), message);
    match deal {
        Some(deal) if is_below(deal) => warn("bid.price", "price", "is below the deal's floor (loss reason 101)"),
        None if is_below(imp) => warn("bid.price", "price", "is below the floor (loss reason 100)"),
        Some(_) | None => {}
    }
    if deal.is_some_and(|deal| !allows(deal, "wseat", seat)) {
        warn("seat", "dealid", "is a deal that the seat may not use (loss reason 104)");
    }
}

/// Advertisers, categories and attributes that the request does not take.
fn blocked(findings: &mut Findings, Answer { bid, imp, offered, .. }: Answer<'_, '_>) {
    for (code, key, list, message) in [
        ("bid.adomain", "adomain", "badv", "is blocked by the request (loss reason 205)"),
        ("bid.cat", "cat", "bcat", "is blocked by the request (loss reason 209)"),
    ] {
        let values = bid.value.get(key).map_or(&[][..], Json::elements);
        if values.iter().any(|value| lists(offered.request, list, value.as_str())) {
            findings.warning(code, bid.section, &bid.place.key(key), message);
        }
    }
    let attributes = bid.value.get("attr").map_or(&[][..], Json::elements);
    let is_blocked = |attribute: &Json<'_>| {
        attribute.as_i64().is_some()
            && MEDIA.iter().any(|medium| {
                let list = imp.at(&[medium, "battr"]).map_or(&[][..], Json::elements);
                list.iter().any(|blocked| blocked.as_i64() == attribute.as_i64())
            })
    };
    if attributes.iter().any(is_blocked) {
        let message = "is blocked by the imp (loss reason 210)";
        findings.warning("bid.attr", bid.section, &bid.place.key("attr"), message);
    }
}

/// Media types, in the order of `bid.mtype` from 1.
const MEDIA: [&str; 4] = ["banner", "video", "audio", "native"];

/// The size of a creative, where the bid says it, is one of those offered; in the flexible formats of 2.6 a ratio, and on
/// a whole screen (`instl`) anything that fits.
fn size(findings: &mut Findings, Answer { bid, imp, .. }: Answer<'_, '_>) {
    let number = |value: &Json<'_>, key: &str| value.get(key).and_then(Json::as_i64).filter(|number| *number > 0);
    let of_bid = number(bid.value, "w").zip(number(bid.value, "h"));
    let ratio_of_bid = number(bid.value, "wratio").zip(number(bid.value, "hratio"));
    let is_whole_screen = imp.get("instl").and_then(Json::as_i64) == Some(1);
    let (mut is_limited, mut is_taken) = (false, false);
    let mut offer = |value: &Json<'_>, is_largest: bool| {
        if let Some((width, height)) = number(value, "w").zip(number(value, "h")) {
            is_limited = true;
            is_taken |= of_bid.is_some_and(|(bid_width, bid_height)| {
                if is_largest {
                    bid_width <= width && bid_height <= height
                } else {
                    (bid_width, bid_height) == (width, height)
                }
            });
        } else if let Some((width, height)) = number(value, "wratio").zip(number(value, "hratio")) {
            is_limited = true;
            is_taken |= ratio_of_bid == Some((width, height))
                || of_bid.is_some_and(|(bid_width, bid_height)| {
                    bid_width.saturating_mul(height) == bid_height.saturating_mul(width)
                });
        }
    };
    for medium in ["banner", "video"] {
        let Some(medium) = imp.get(medium) else { continue };
        offer(medium, is_whole_screen);
        for format in medium.get("format").map_or(&[][..], Json::elements) {
            offer(format, is_whole_screen);
        }
    }
    if is_limited && !is_taken && (of_bid.is_some() || ratio_of_bid.is_some()) {
        findings.warning("bid.size", bid.section, &bid.place.key("w"), "is no size of the imp (loss reason 203)");
    }
}

fn media_type(findings: &mut Findings, Answer { bid, imp, .. }: Answer<'_, '_>) {
    let Some(number) = bid.value.get("mtype").and_then(Json::as_i64) else { return };
    let medium = usize::try_from(number).ok().and_then(|number| MEDIA.get(number.checked_sub(1)?));
    if medium.is_some_and(|medium| imp.get(medium).is_none()) {
        let message = "is a media type that the imp does not offer (loss reason 204)";
        findings.warning("bid.mtype", bid.section, &bid.place.key("mtype"), message);
    }
}

/// A secure imp takes no markup that loads anything without encryption.
fn security(findings: &mut Findings, Answer { bid, imp, .. }: Answer<'_, '_>) {
    if imp.get("secure").and_then(Json::as_i64) != Some(1) {
        return;
    }
    for key in ["adm", "nurl", "burl", "lurl", "iurl"] {
        if bid.value.get(key).and_then(Json::as_str).is_some_and(loads_insecurely) {
            findings.warning("bid.secure", bid.section, &bid.place.key(key), "should use https only (loss reason 207)");
        }
    }
}

/// Whether a markup or address has one without encryption. The names of XML's namespaces look like such and load nothing.
fn loads_insecurely(text: &str) -> bool {
    const SCHEME: &str = "http://";
    text.match_indices(SCHEME).any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default();
        let attribute = before.rsplit(|character: char| character.is_ascii_whitespace()).next().unwrap_or_default();
        !attribute.starts_with("xmlns") && !attribute.starts_with("xsi:")
    })
}

/// For a screen out of home every creative is approved before it is shown; elsewhere what is said of it counts.
fn approval(findings: &mut Findings, Answer { bid, offered, .. }: Answer<'_, '_>) {
    let Some(creatives) = offered.creatives else { return };
    let Some(crid) = bid.value.get("crid").and_then(Json::as_str).filter(|crid| !crid.is_empty()) else { return };
    let place = bid.place.key("crid");
    match creatives.get(crid).and_then(Json::as_str) {
        Some("approved") => {}
        Some("disapproved") => {
            let message = "is a creative that the exchange does not take (loss reason 202)";
            findings.warning("bid.creative", bid.section, &place, message);
        }
        None if !crate::dooh::is_dooh(offered.request) => {}
        Some(_) | None => {
            let message = "is a creative that is not approved yet (loss reason 201)";
            findings.warning("bid.creative", bid.section, &place, message);
        }
    }
}

/// A bid that expires before the ad can be shown is lost: `imp.dt` says when that will be, else `imp.exp` how long it may
/// take.
fn lead_time(findings: &mut Findings, Answer { bid, imp, offered, .. }: Answer<'_, '_>) {
    let Some(exp_s) = bid.value.get("exp").and_then(Json::as_i64).filter(|seconds| *seconds >= 0) else { return };
    let display = imp.get("dt").and_then(Json::as_f64).and_then(crate::time::millis);
    let lead_s = match display {
        Some(display) => display.ms.saturating_sub(offered.auction_ms) / 1_000,
        None => imp.get("exp").and_then(Json::as_i64).unwrap_or(0),
    };
    if exp_s < lead_s {
        let message = "is over before the ad can be shown (loss reason 2)";
        findings.warning("bid.exp", bid.section, &bid.place.key("exp"), message);
    }
}

/// Whether a list of the document has a text.
fn lists(document: &Json<'_>, key: &str, value: Option<&str>) -> bool {
    let Some(value) = value else { return false };
    let list = document.get(key).map_or(&[][..], Json::elements);
    list.iter().filter_map(Json::as_str).any(|entry| entry.eq_ignore_ascii_case(value))
}

/// Whether a list allows a text: it has it, or it is not there.
fn allows(document: &Json<'_>, key: &str, value: Option<&str>) -> bool {
    let is_limited = document.get(key).is_some_and(|list| !list.elements().is_empty());
    !is_limited || lists(document, key, value)
}
