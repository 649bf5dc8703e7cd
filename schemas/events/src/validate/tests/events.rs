//! The events around an ad request: a good one of each type, and what changes to it cause.

use super::*;

const BID_REQUEST: &str = r#"{"auction_id":"a","dsp_id":"d","sent_ts":1795000000000,"tmax_ms":200,"outcome":"sent","request":{"id":"a"},"new":1}"#;

const BID_RESPONSE: &str = r#"{"auction_id":"a","dsp_id":"d","outcome":"bid","http_status":200,"latency_ms":87,
"request":{"id":"a","imp":[{"id":"1","bidfloor":2,"secure":1,"pmp":{"deals":[{"id":"deal","bidfloor":4}]}}],"badv":["bad.example"],"bcat":["IAB7"],"bseat":["blocked"]},
"response":{"id":"a","cur":"USD","seatbid":[{"seat":"s","bid":[{"id":"b","impid":"1","price":2.5,"adm":"<x/>","crid":"c","adomain":["good.example"],"cat":["IAB1"],"exp":60}]}]}}"#;

const AUCTION: &str = r#"{"auction_id":"a","imp_id":"1","status":"filled","dsp_id":"d","bid_id":"b","clearing_cpm":2.4,"clearing_cur":"USD","market_bid_ratio":0.9,"bids_received":3,"auction_ts":1795000000000}"#;

const NOTICE: &str = r#"{"auction_id":"a","imp_id":"1","bid_id":"b","auction_price":2.4,"auction_currency":"USD","auction_multiplier":3.5,"auction_mbr":1,"auction_imp_ts":1795000000000,"auction_loss":102}"#;

const PLAY: &str = r#"{"play_id":"p","adunit_id":"u","auction_id":"a","imp_id":"1","imp_ts":1794999990000,"end_ts":1794999998000,"played_ms":8000,"play_status":"completed","multiplier":1.5}"#;

/// What is replaced by what, and the findings that it causes.
type Case = (&'static str, &'static str, &'static [&'static str]);

fn found(event_type: EventType, text: &str) -> Vec<String> {
    let json = Json::parse(text.as_bytes()).expect("the case is JSON");
    event(event_type, &json, Policy::default(), NOW_MS).iter().map(shown).collect()
}

fn check(event_type: EventType, good: &str, cases: &[Case]) {
    let findings = |text: &str| found(event_type, text);
    assert_eq!(findings(good), Vec::<String>::new(), "{event_type:?}");
    assert_eq!(findings("[]"), ["json.syntax "]);
    for (from, to, expect) in cases {
        assert!(good.contains(from), "the case changes something: {from}");
        assert_eq!(findings(&good.replacen(from, to, 1)), *expect, "{event_type:?}: {from} -> {to}");
    }
}

#[test]
fn bid_requests() {
    check(
        EventType::BidRequest,
        BID_REQUEST,
        &[
            (r#""auction_id":"a","#, "", &["auction_id.required /auction_id", "warning response.id /request/id"]),
            (r#""dsp_id":"d""#, r#""dsp_id":"""#, &["dsp_id.required /dsp_id"]),
            (r#""sent_ts":1795000000000"#, r#""sent_ts":1795000000"#, &["normalized sent_ts /sent_ts"]),
            (r#""sent_ts":1795000000000"#, r#""sent_ts":"x""#, &["sent_ts /sent_ts"]),
            (r#""tmax_ms":200"#, r#""tmax_ms":-1"#, &["field.count /tmax_ms"]),
            (r#""sent""#, r#""other""#, &["warning enumeration /outcome"]),
            (r#"{"id":"a"}"#, "[]", &["field.type /request"]),
        ],
    );
}

#[test]
fn bid_responses() {
    check(
        EventType::BidResponse,
        BID_RESPONSE,
        &[
            (r#""outcome":"bid","#, "", &["outcome /outcome"]),
            (r#""outcome":"bid""#, r#""outcome":"late""#, &["warning enumeration /outcome"]),
            (r#""latency_ms":87"#, r#""latency_ms":"87""#, &["field.count /latency_ms"]),
            (r#""http_status":200"#, r#""http_status":200,"nbr":99"#, &["warning nbr /nbr"]),
            (r#""http_status":200"#, r#""http_status":200,"nbr":17"#, &[]),
            (r#""http_status":200"#, r#""http_status":200,"nbr":500"#, &[]),
            (r#""response":{"#, r#""response":{"nbr":18,"#, &["warning nbr /response/nbr"]),
            (r#""http_status":200"#, r#""nonbid_statuscode":351"#, &[]),
            (r#""http_status":200"#, r#""nonbid_statuscode":358"#, &["warning nonbid_statuscode /nonbid_statuscode"]),
            (r#""response":{"#, r#""response":[],"other":{"#, &["field.type /response"]),
            (r#""http_status":200"#, r#""creatives":[]"#, &["field.type /creatives"]),
            (r#""response":{"#, r#""answer":{"#, &["response.required /response"]),
            (r#""response":{"id":"a""#, r#""response":{"id":"other""#, &["warning response.id /response/id"]),
            (r#""cur":"USD""#, r#""cur":"EUR""#, &["warning response.cur /response/cur"]),
            (
                r#""cur":"USD""#,
                r#""cur":"ZZZ""#,
                &["warning response.cur /response/cur", "warning response.cur /response/cur"],
            ),
            (r#""seat":"s""#, r#""seat":"blocked""#, &["warning seat /response/seatbid/0/seat"]),
            (r#""impid":"1""#, r#""impid":"2""#, &["warning bid.impid /response/seatbid/0/bid/0/impid"]),
            (r#""price":2.5"#, r#""price":1.5"#, &["warning bid.price /response/seatbid/0/bid/0/price"]),
            (
                r#""price":2.5"#,
                r#""price":0"#,
                &[
                    "warning bid.price /response/seatbid/0/bid/0/price",
                    "warning bid.price /response/seatbid/0/bid/0/price",
                ],
            ),
            (
                r#""price":2.5"#,
                r#""price":2.5,"dealid":"deal""#,
                &["warning bid.price /response/seatbid/0/bid/0/price"],
            ),
            (
                r#""price":2.5"#,
                r#""price":2.5,"dealid":"none""#,
                &["warning bid.dealid /response/seatbid/0/bid/0/dealid"],
            ),
            (r#""adm":"<x/>","#, "", &["warning bid.markup /response/seatbid/0/bid/0/adm"]),
            (r#""<x/>""#, r#""<img src='http://x'>""#, &["warning bid.secure /response/seatbid/0/bid/0/adm"]),
            (r#","crid":"c""#, "", &["warning bid.crid /response/seatbid/0/bid/0/crid"]),
            ("good.example", "bad.example", &["warning bid.adomain /response/seatbid/0/bid/0/adomain"]),
            ("IAB1", "IAB7", &["warning bid.cat /response/seatbid/0/bid/0/cat"]),
            (r#""exp":60"#, r#""exp":-1"#, &["warning bid.exp /response/seatbid/0/bid/0/exp"]),
        ],
    );
    let garbage = r#"{"auction_id":"a","dsp_id":"d","outcome":"error","response":"<html>"}"#;
    assert_eq!(found(EventType::BidResponse, garbage), ["warning response.type /response"]);
    let timeout = r#"{"auction_id":"a","dsp_id":"d","outcome":"timeout","latency_ms":200,"nonbid_statuscode":101}"#;
    check(EventType::BidResponse, timeout, &[]);
}

#[test]
fn auctions() {
    check(
        EventType::Auction,
        AUCTION,
        &[
            (r#""imp_id":"1","#, "", &["imp_id.required /imp_id"]),
            (r#""status":"filled","#, "", &["status /status"]),
            (r#""filled""#, r#""sold""#, &["warning enumeration /status"]),
            (r#""bid_id":"b","#, "", &["bid_id.required /bid_id"]),
            (r#""dsp_id":"d","#, "", &["dsp_id.required /dsp_id"]),
            ("2.4", "-2.4", &["price /clearing_cpm"]),
            (r#""USD""#, r#""usd""#, &["cur /clearing_cur"]),
            ("0.9", "1.1", &["warning market_bid_ratio /market_bid_ratio"]),
            (r#""bids_received":3"#, r#""at":4"#, &["warning at /at"]),
            (r#""bids_received":3"#, r#""bids_received":-3"#, &["field.count /bids_received"]),
        ],
    );
    check(EventType::Auction, r#"{"auction_id":"a","imp_id":"1","status":"no_fill","no_fill_reason":"no_bids"}"#, &[]);
}

#[test]
fn notices() {
    let shared: &[Case] = &[
        (r#""auction_id":"a","#, "", &["auction_id.required /auction_id"]),
        ("2.4", r#""a lot""#, &["auction_price /auction_price"]),
        (r#""USD""#, r#""XYZ""#, &["warning cur /auction_currency"]),
        ("3.5", "0", &["auction_multiplier /auction_multiplier"]),
        (r#""auction_mbr":1"#, r#""auction_mbr":0"#, &["warning market_bid_ratio /auction_mbr"]),
        (r#""auction_mbr":1"#, r#""auction_mbr":1.01"#, &["warning market_bid_ratio /auction_mbr"]),
        (
            r#""auction_mbr":1"#,
            r#""auction_discount_pct":101"#,
            &["warning auction_discount_pct /auction_discount_pct"],
        ),
        (r#""auction_mbr":1"#, r#""auction_discount_pct":15,"auction_discount_cpm":0.2"#, &[]),
        (r#""auction_mbr":1"#, r#""auction_discount_cpm":-1"#, &["auction_price /auction_discount_cpm"]),
        ("1795000000000", "1795000000", &["normalized auction_imp_ts /auction_imp_ts"]),
        ("1795000000000", "1795000061000", &["warning auction_imp_ts /auction_imp_ts"]),
        ("1795000000000", "1794827000000", &["warning auction_imp_ts /auction_imp_ts"]),
        ("1795000000000", "\"soon\"", &["auction_imp_ts /auction_imp_ts"]),
        (r#""bid_id":"b""#, r#""bid_id":7"#, &["field.type /bid_id"]),
        (r#""imp_id":"1""#, r#""imp_id":"1","unresolved":["x"]"#, &["warning macro.unresolved /unresolved"]),
    ];
    for event_type in [EventType::WinNotice, EventType::LossNotice, EventType::BillingNotice] {
        check(event_type, NOTICE, shared);
    }
    check(EventType::WinNotice, NOTICE, &[(r#""imp_id":"1","#, "", &[])]);
    check(
        EventType::LossNotice,
        NOTICE,
        &[
            (r#","auction_loss":102"#, "", &["warning auction_loss /auction_loss"]),
            ("102", "99", &["warning enumeration /auction_loss"]),
            ("102", "11", &["warning enumeration /auction_loss"]),
            ("102", "0", &[]),
            ("102", "10", &[]),
            ("102", "215", &[]),
            ("102", "500", &[]),
            ("102", r#""102""#, &["auction_loss /auction_loss"]),
        ],
    );
    check(
        EventType::BillingNotice,
        NOTICE,
        &[
            (r#""imp_id":"1","#, "", &["imp_id.required /imp_id"]),
            (r#""auction_price":2.4,"#, "", &["warning auction_price /auction_price"]),
            (r#""auction_price":2.4"#, r#""test":1,"auction_price":2.4"#, &["warning test /test"]),
        ],
    );
}

#[test]
fn plays() {
    check(
        EventType::ProofOfPlay,
        PLAY,
        &[
            (r#""adunit_id":"u","#, "", &["adunit_id.required /adunit_id"]),
            (r#""play_id":"p","#, "", &[]),
            (r#""play_id":"p","adunit_id":"u","auction_id":"a""#, r#""adunit_id":"u""#, &["warning play_id /play_id"]),
            (r#""imp_ts":1794999990000,"#, "", &["imp_ts /imp_ts"]),
            ("1794999990000", "1794999990", &["normalized imp_ts /imp_ts"]),
            ("1794999990000", "1000000000000", &["warning imp_ts /imp_ts"]),
            ("1794999998000", "1794999980000", &["end_ts /end_ts"]),
            (r#""completed""#, r#""half""#, &["warning enumeration /play_status"]),
            (r#""completed""#, "7", &["play_status /play_status"]),
            ("1.5", "0", &["multiplier /multiplier"]),
            (r#""played_ms":8000"#, r#""played_ms":1.5"#, &["field.count /played_ms"]),
        ],
    );
}

#[test]
fn what_only_the_collector_writes_is_refused() {
    let json = Json::parse(b"{}").unwrap();
    assert!(refuses(&event(EventType::FailedEvent, &json, Policy::default(), NOW_MS)));
}
