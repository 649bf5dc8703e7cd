//! What each body must have, as JSON Schema: the members that refuse an event. Whatever else is sent is taken.
//!
//! Rules that need more than one member (ids that are unique, an end after its beginning) stand in the descriptions.

use events::envelope::EventType;
use serde_json::{Value, json};

/// The name of the schema of an event.
pub(super) fn name(event_type: EventType) -> &'static str {
    match event_type {
        EventType::AdRequest => "AdRequest",
        EventType::BidRequest => "BidRequest",
        EventType::BidResponse => "BidResponse",
        EventType::Auction => "Auction",
        EventType::WinNotice => "WinNotice",
        EventType::LossNotice => "LossNotice",
        EventType::BillingNotice => "BillingNotice",
        EventType::ProofOfPlay => "ProofOfPlay",
        EventType::FailedEvent => "FailedEvent",
    }
}

/// The schema of an event. None for what no sender sends.
pub(super) fn schema(event_type: EventType) -> Option<Value> {
    Some(match event_type {
        EventType::AdRequest => ad_request(),
        EventType::BidRequest => json!({
            "type": "object", "required": ["auction_id", "dsp_id"],
            "properties": {
                "auction_id": text(), "dsp_id": text(), "sent_ts": time(), "tmax_ms": count(), "request_bytes": count(),
                "outcome": {"type": "string", "examples": ["sent", "throttled"]}, "request": {"type": "object"},
            },
        }),
        EventType::BidResponse => json!({
            "type": "object", "required": ["auction_id", "dsp_id", "outcome"],
            "properties": {
                "auction_id": text(), "dsp_id": text(), "http_status": count(), "latency_ms": count(),
                "response_bytes": count(), "nonbid_statuscode": count(), "nbr": {"type": "integer"},
                "outcome": {"type": "string", "examples": ["bid", "nobid", "timeout", "error", "invalid", "throttled"]},
                "request": {"type": "object", "description": "the request that was answered: bids are held against it"},
                "creatives": {"type": "object", "description": "approved, pending or disapproved, by bid.crid"},
            },
            "if": {"properties": {"outcome": {"const": "bid"}}, "required": ["outcome"]},
            "then": {"required": ["response"], "properties": {"response": {"type": "object"}}},
        }),
        EventType::Auction => json!({
            "type": "object", "required": ["auction_id", "imp_id", "status"],
            "properties": {
                "auction_id": text(), "imp_id": text(), "status": text(), "dsp_id": text(), "bid_id": text(),
                "auction_ts": time(), "bids_received": count(), "clearing_cpm": price(), "clearing_cur": currency(),
                "floor_cpm": price(), "floor_cur": currency(), "adunit_id": {"type": "string"},
            },
            "if": {"properties": {"status": {"const": "filled"}}, "required": ["status"]},
            "then": {"required": ["dsp_id", "bid_id"]},
        }),
        EventType::WinNotice => notice(&["auction_id"]),
        EventType::LossNotice => notice(&["auction_id"]),
        EventType::BillingNotice => notice(&["auction_id", "imp_id"]),
        EventType::ProofOfPlay => json!({
            "type": "object", "required": ["adunit_id", "imp_ts", "play_status"],
            "properties": {
                "adunit_id": text(), "play_id": {"type": "string"}, "auction_id": {"type": "string"},
                "imp_id": {"type": "string"}, "imp_ts": time(), "play_status": {"type": "string"},
                "end_ts": {"type": "number", "minimum": 0, "maximum": TIME_MAX, "description": "not before imp_ts"},
                "played_ms": count(), "multiplier": multiplier(),
            },
        }),
        EventType::FailedEvent => return None,
    })
}

fn ad_request() -> Value {
    let media = ["banner", "video", "audio", "native"];
    let channels = ["site", "app", "dooh"];
    let required = |name: &&str| json!({"required": [name]});
    json!({
        "type": "object", "required": ["id", "imp"],
        "description": "An OpenRTB 2.6 bid request.",
        "properties": {
            "id": text(),
            "imp": {
                "type": "array", "minItems": 1,
                "items": {
                    "type": "object", "required": ["id"],
                    "properties": {
                        "id": {"type": "string", "minLength": 1, "description": "unique in the request"},
                        "banner": {"type": "object"}, "native": {
                            "type": "object", "required": ["request"], "properties": {"request": text()},
                        },
                        "video": media_with_mimes(), "audio": media_with_mimes(),
                        "bidfloor": {"type": "number", "maximum": PRICE_MAX}, "bidfloorcur": currency(), "exp": count(),
                        "qty": {
                            "type": "object", "required": ["multiplier"],
                            "properties": {"multiplier": multiplier(), "sourcetype": {"enum": [0, 2, 3]}},
                        },
                    },
                    "anyOf": media.iter().map(required).collect::<Vec<_>>(),
                },
            },
            "site": {"type": "object"}, "app": {"type": "object"},
            "dooh": {"type": "object", "required": ["id"], "properties": {"id": text()}},
            "tmax": {"type": "integer", "minimum": 1, "maximum": COUNT_MAX},
            "test": {"enum": [0, 1]},
        },
        "oneOf": channels.iter().map(required).collect::<Vec<_>>(),
    })
}

fn notice(required: &[&str]) -> Value {
    json!({
        "type": "object", "required": required,
        "properties": {
            "auction_id": text(), "imp_id": text(), "bid_id": {"type": "string"}, "seat_id": {"type": "string"},
            "dsp_id": {"type": "string"}, "adunit_id": {"type": "string"}, "auction_price": price(),
            "auction_currency": currency(), "auction_multiplier": multiplier(), "auction_imp_ts": time(),
            "auction_mbr": {"type": "number"}, "auction_loss": {"type": "integer"}, "attempt": count(),
            "http_status": count(), "latency_ms": count(),
        },
    })
}

/// Whole numbers above are not exact in every reader.
const COUNT_MAX: i64 = 9_007_199_254_740_991;
/// The end of the year 9999.
const TIME_MAX: i64 = 253_402_300_799_000;
/// What fits the columns, in micros.
const PRICE_MAX: i64 = 9_000_000_000_000;

fn text() -> Value {
    json!({"type": "string", "minLength": 1})
}

fn time() -> Value {
    json!({"type": "number", "minimum": 0, "maximum": TIME_MAX, "description": "milliseconds since 1970"})
}

fn price() -> Value {
    json!({"type": "number", "minimum": 0, "maximum": PRICE_MAX, "description": "for a thousand"})
}

fn currency() -> Value {
    json!({"type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217"})
}

fn count() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": COUNT_MAX})
}

fn multiplier() -> Value {
    json!({"type": "number", "exclusiveMinimum": 0})
}

fn media_with_mimes() -> Value {
    json!({
        "type": "object", "required": ["mimes"],
        "properties": {"mimes": {"type": "array", "minItems": 1, "items": {"type": "string"}}},
    })
}
