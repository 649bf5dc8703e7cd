//! The events of an auction as documents. Ids link them: the auction's id everywhere, `bid.id` where a bid is meant, the
//! bidder's id of its answer (`bidid`) in notices, as OpenRTB's macros have it.

use events::envelope::EventType;
use serde::Serialize;
use serde_json::{Value, json};

use super::bidder::{BIDDERS, Bidder};
use super::outcome::{Kind, Outcome, Play, TMAX_MS};

/// Loss reasons of OpenRTB: won, below the floor, outbid.
const WON: u32 = 0;
const BELOW_FLOOR: u32 = 100;
const OUTBID: u32 = 102;

pub(super) fn bid_request(outcome: &Outcome<'_>, bidder: usize, out: &mut Vec<u8>) -> EventType {
    let is_throttled = outcome.answers.get(bidder).is_some_and(|answer| answer.kind == Kind::Throttled);
    append(
        out,
        &json!({
            "event_type": EventType::BidRequest.name(),
            "auction_id": outcome.asked.auction_id(),
            "dsp_id": id(bidder),
            "sent_ts": outcome.sent_ms(i64::try_from(bidder).unwrap_or(0)),
            "tmax_ms": TMAX_MS - 20,
            "outcome": if is_throttled { "throttled" } else { "sent" },
            "request_bytes": 1_380 + 310 * (outcome.imps.len() - 1),
        }),
    );
    EventType::BidRequest
}

pub(super) fn bid_response(outcome: &Outcome<'_>, bidder: usize, out: &mut Vec<u8>) -> EventType {
    let Some(answer) = outcome.answers.get(bidder) else { return EventType::BidResponse };
    let mut event = json!({
        "event_type": EventType::BidResponse.name(),
        "auction_id": outcome.asked.auction_id(),
        "dsp_id": id(bidder),
        "latency_ms": answer.latency_ms,
    });
    let members = match answer.kind {
        Kind::Timeout => json!({"outcome": "timeout", "nonbid_statuscode": 101}),
        Kind::Error => json!({"outcome": "error", "http_status": 500, "response_bytes": 0, "nonbid_statuscode": 100}),
        // Never asked, so there is no such event.
        Kind::Throttled => json!({"outcome": "throttled"}),
        Kind::NoBid => json!({"outcome": "nobid", "http_status": 204, "response_bytes": 0, "nbr": 0}),
        Kind::Bid => {
            let response = response(outcome, bidder, answer.price_cents);
            let response_bytes = response.to_string().len();
            json!({"outcome": "bid", "http_status": 200, "response_bytes": response_bytes, "response": response})
        }
    };
    merge(&mut event, members);
    append(out, &event);
    EventType::BidResponse
}

fn response(outcome: &Outcome<'_>, bidder: usize, price_cents: [u32; 2]) -> Value {
    let bids = outcome.imps.iter().zip(price_cents).enumerate().map(|(imp, (of_imp, cents))| {
        let creative = creative(outcome, bidder);
        let loss_reason = match of_imp.winner {
            Some(winner) if winner == bidder => WON,
            _ if cents < outcome.asked.floor_cents => BELOW_FLOOR,
            _ => OUTBID,
        };
        let mut bid = json!({
            "id": bid_id(outcome, bidder, imp),
            "impid": imp_id(imp),
            "price": price(cents),
            "adid": format!("ad-{creative}"),
            "nurl": format!("https://{}.example/win?b=${{AUCTION_BID_ID}}&p=${{AUCTION_PRICE}}", id(bidder)),
            "burl": format!("https://{}.example/bill?b=${{AUCTION_BID_ID}}&m=${{AUCTION_MULTIPLIER}}", id(bidder)),
            "adomain": [format!("brand-{}.example", creative % 97)],
            "cid": format!("campaign-{}", creative % 211),
            "crid": crid(outcome, bidder),
            "cat": [format!("IAB{}", creative % 23 + 1)],
            "mtype": 2,
            "dur": outcome.screen.slot_s,
            "exp": 3_600,
            "ext": {"loss_reason": loss_reason},
        });
        if let Some(deal) = of_imp.deal.filter(|deal| deal.seat == id(bidder)) {
            merge(&mut bid, json!({"dealid": format!("deal-{}", deal.number)}));
        }
        bid
    });
    json!({
        "id": outcome.asked.auction_id(),
        "bidid": answer_id(outcome, bidder),
        "cur": "USD",
        "seatbid": [{"seat": id(bidder), "bid": bids.collect::<Vec<_>>()}],
    })
}

pub(super) fn auction(outcome: &Outcome<'_>, imp: usize, out: &mut Vec<u8>) -> EventType {
    let Some(of_imp) = outcome.imps.get(imp) else { return EventType::Auction };
    let mut event = json!({
        "event_type": EventType::Auction.name(),
        "auction_id": outcome.asked.auction_id(),
        "imp_id": imp_id(imp),
        "adunit_id": outcome.screen.adunit_id,
        "auction_ts": outcome.sold_ms(),
        "bids_received": of_imp.bids,
        "at": 1,
        "floor_cpm": price(outcome.asked.floor_cents),
        "floor_cur": "USD",
    });
    let members = match (of_imp.winner, outcome.sold(imp)) {
        (Some(winner), Some((bidder, cents))) => {
            let mut members = json!({
                "status": "filled",
                "dsp_id": bidder.id,
                "seat_id": bidder.id,
                "bid_id": bid_id(outcome, winner, imp),
                "crid": crid(outcome, winner),
                "clearing_cpm": price(cents),
                "clearing_cur": "USD",
                "market_bid_ratio": 1,
            });
            if let Some(deal) = of_imp.deal.filter(|deal| deal.seat == bidder.id) {
                merge(&mut members, json!({"dealid": format!("deal-{}", deal.number)}));
            }
            members
        }
        _ => json!({
            "status": "no_fill",
            "no_fill_reason": if of_imp.bids == 0 { "no_bids" } else { "below_floor" },
        }),
    };
    merge(&mut event, members);
    append(out, &event);
    EventType::Auction
}

pub(super) fn win(outcome: &Outcome<'_>, imp: usize, out: &mut Vec<u8>) -> EventType {
    if let Some((bidder, cents)) = outcome.sold(imp) {
        let mut event = notice(EventType::WinNotice, outcome, index(bidder), imp);
        merge(
            &mut event,
            json!({"auction_price": price(cents), "auction_multiplier": outcome.screen.multiplier, "auction_mbr": 1}),
        );
        append(out, &event);
    }
    EventType::WinNotice
}

pub(super) fn loss(outcome: &Outcome<'_>, bidder: usize, imp: usize, out: &mut Vec<u8>) -> EventType {
    let cents = outcome.answers.get(bidder).and_then(|answer| answer.price_cents.get(imp)).copied().unwrap_or(0);
    let mut event = notice(EventType::LossNotice, outcome, bidder, imp);
    let reason = if cents < outcome.asked.floor_cents { BELOW_FLOOR } else { OUTBID };
    merge(&mut event, json!({"auction_loss": reason}));
    if let Some((_, winning_cents)) = outcome.sold(imp) {
        merge(&mut event, json!({"auction_min_to_win": price(winning_cents + 1)}));
    }
    append(out, &event);
    EventType::LossNotice
}

pub(super) fn play(outcome: &Outcome<'_>, imp: usize, reported_ms: i64, out: &mut Vec<u8>) -> EventType {
    let (Some(of_imp), Some((bidder, _))) = (outcome.imps.get(imp), outcome.sold(imp)) else {
        return EventType::ProofOfPlay;
    };
    let status = match of_imp.play {
        Play::Completed => "completed",
        Play::Interrupted => "interrupted",
        Play::Failed => "failed",
        Play::NotPlayed => "not_played",
    };
    let imp_ts = outcome.display_ms(imp);
    append(
        out,
        &json!({
            "event_type": EventType::ProofOfPlay.name(),
            "play_id": format!("{}-{}", outcome.asked.auction_id(), imp_id(imp)),
            "adunit_id": outcome.screen.adunit_id,
            "auction_id": outcome.asked.auction_id(),
            "imp_id": imp_id(imp),
            "dsp_id": bidder.id,
            "crid": crid(outcome, index(bidder)),
            "imp_ts": imp_ts,
            "end_ts": imp_ts + of_imp.played_ms,
            "played_ms": of_imp.played_ms,
            "play_status": status,
            "multiplier": outcome.screen.multiplier,
            "player_version": "4.2.1",
            // Players report what they have at the end of every five minutes.
            "reported_batch_id": format!("{}-{}", outcome.screen.adunit_id, reported_ms / 300_000),
        }),
    );
    EventType::ProofOfPlay
}

pub(super) fn billing(outcome: &Outcome<'_>, imp: usize, out: &mut Vec<u8>) -> EventType {
    if let Some((bidder, cents)) = outcome.sold(imp) {
        let mut event = notice(EventType::BillingNotice, outcome, index(bidder), imp);
        merge(
            &mut event,
            json!({
                "auction_price": price(cents),
                "auction_multiplier": outcome.screen.multiplier,
                "auction_imp_ts": outcome.display_ms(imp),
            }),
        );
        append(out, &event);
    }
    EventType::BillingNotice
}

/// What all notices have.
fn notice(event_type: EventType, outcome: &Outcome<'_>, bidder: usize, imp: usize) -> Value {
    json!({
        "event_type": event_type.name(),
        "auction_id": outcome.asked.auction_id(),
        "imp_id": imp_id(imp),
        "dsp_id": id(bidder),
        "seat_id": id(bidder),
        "bid_id": answer_id(outcome, bidder),
        "adunit_id": outcome.screen.adunit_id,
        "auction_currency": "USD",
        "url_host": format!("{}.example", id(bidder)),
        "attempt": 1,
        "http_status": 200,
        "latency_ms": 8 + creative(outcome, bidder) % 40,
    })
}

fn id(bidder: usize) -> &'static str {
    BIDDERS.get(bidder).map_or("", |bidder| bidder.id)
}

fn index(bidder: &Bidder) -> usize {
    BIDDERS.iter().position(|other| other.id == bidder.id).unwrap_or(0)
}

fn imp_id(imp: usize) -> String {
    (imp + 1).to_string()
}

fn answer_id(outcome: &Outcome<'_>, bidder: usize) -> String {
    format!("{}-{bidder}", outcome.asked.auction_id())
}

fn bid_id(outcome: &Outcome<'_>, bidder: usize, imp: usize) -> String {
    format!("{}-{}", answer_id(outcome, bidder), imp_id(imp))
}

/// A bidder shows a screen the same creative for an hour.
fn creative(outcome: &Outcome<'_>, bidder: usize) -> u64 {
    let hour = outcome.asked_ms.div_euclid(3_600_000).unsigned_abs();
    let screen = u64::try_from(outcome.asked.screen).unwrap_or(0);
    let bidder = u64::try_from(bidder).unwrap_or(0);
    (hour.wrapping_mul(31) ^ screen.wrapping_mul(7)).wrapping_add(bidder.wrapping_mul(1_009)) % 900
}

fn crid(outcome: &Outcome<'_>, bidder: usize) -> String {
    format!("{}-cr-{}", id(bidder), creative(outcome, bidder))
}

/// Hundredths as the number with two decimals.
fn price(cents: u32) -> f64 {
    f64::from(cents) / 100.0
}

fn merge(event: &mut Value, members: Value) {
    if let (Value::Object(event), Value::Object(members)) = (event, members) {
        event.extend(members);
    }
}

fn append<T: Serialize>(out: &mut Vec<u8>, event: &T) {
    serde_json::to_writer(out, event).expect("a document of strings and numbers can be written to memory");
}
