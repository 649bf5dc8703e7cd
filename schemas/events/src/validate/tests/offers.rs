//! Responses against the requests that they answer: each rule by what breaks it, with its reason of loss.

use super::*;

/// A bid and the imp and request it answers, which agree.
const PAIR: &str = r#"{"auction_id":"a","dsp_id":"d","outcome":"bid","sent_ts":1795000000000,
"request":{"id":"a","cur":["USD","EUR"],"imp":[{"id":"1","bidfloor":2,"secure":1,"dt":1795000060000,"banner":{"format":[{"w":1920,"h":1080},{"wratio":9,"hratio":16}],"battr":[8]},
"pmp":{"deals":[{"id":"deal","bidfloor":4,"wseat":["s"]}]}}],"badv":["bad.example"],"bcat":["IAB7"],"wseat":["s","t"],"dooh":{"id":"x"}},
"creatives":{"c":"approved","late":"pending","no":"disapproved"},
"response":{"id":"a","cur":"USD","seatbid":[{"seat":"s","bid":[{"id":"b","impid":"1","price":2.5,"adm":"<x/>","crid":"c","w":1920,"h":1080,"mtype":1,"attr":[1],"adomain":["good.example"],"cat":["IAB1"],"exp":60}]}]}}"#;

const BID: &str = "/response/seatbid/0/bid/0";

/// The findings as code, place in the bid or elsewhere, and reason of loss.
fn found(text: &str) -> Vec<String> {
    let json = Json::parse(text.as_bytes()).expect("the case is JSON");
    let violations = event(EventType::BidResponse, &json, Policy::default(), NOW_MS);
    assert!(!refuses(&violations), "what a bidder did never refuses the event: {violations:?}");
    let reason =
        |message: &str| message.split_once("loss reason ").map(|(_, rest)| rest.trim_end_matches(')').to_owned());
    let shown = violations.iter().map(|violation| {
        let place = violation.path.strip_prefix(BID).unwrap_or(&violation.path);
        format!("{} {place} {}", violation.code, reason(violation.message).unwrap_or_default())
    });
    shown.collect()
}

#[test]
fn a_bid_that_keeps_all_rules_has_no_findings() {
    assert_eq!(found(PAIR), Vec::<String>::new());
}

#[test]
fn each_rule_has_its_reason_of_loss() {
    for (from, to, expect) in [
        (r#""exp":60"#, r#""exp":59"#, "bid.exp /exp 2"),
        (r#""impid":"1""#, r#""impid":"2""#, "bid.impid /impid 3"),
        (r#""price":2.5"#, r#""price":5,"dealid":"none""#, "bid.dealid /dealid 4"),
        (r#""pmp":{"#, r#""pmp":{"private_auction":1,"#, "bid.dealid /dealid 4"),
        (r#""response":{"id":"a""#, r#""response":{"id":"z""#, "response.id /response/id 5"),
        (r#""adm":"<x/>","#, "", "bid.markup /adm 7"),
        (r#""price":2.5"#, r#""price":1.99"#, "bid.price /price 100"),
        (r#""price":2.5"#, r#""price":3.99,"dealid":"deal""#, "bid.price /price 101"),
        (r#""seat":"s""#, r#""seat":"u""#, "seat /response/seatbid/0/seat 104"),
        (r#""wseat":["s","t"]"#, r#""bseat":["s"]"#, "seat /response/seatbid/0/seat 104"),
        (r#""crid":"c""#, r#""crid":"late""#, "bid.creative /crid 201"),
        (r#""crid":"c""#, r#""crid":"never-seen""#, "bid.creative /crid 201"),
        (r#""crid":"c""#, r#""crid":"no""#, "bid.creative /crid 202"),
        (r#""w":1920,"h":1080,"mtype""#, r#""w":1080,"h":1921,"mtype""#, "bid.size /w 203"),
        (r#""w":1920,"h":1080,"mtype""#, r#""wratio":4,"hratio":3,"mtype""#, "bid.size /w 203"),
        (r#""mtype":1"#, r#""mtype":2"#, "bid.mtype /mtype 204"),
        ("good.example", "BAD.example", "bid.adomain /adomain 205"),
        ("<x/>", "<img src='http://x'>", "bid.secure /adm 207"),
        (r#""adm":"<x/>""#, r#""adm":"<x/>","burl":"http://x""#, "bid.secure /burl 207"),
        ("IAB1", "IAB7", "bid.cat /cat 209"),
        (r#""attr":[1]"#, r#""attr":[8]"#, "bid.attr /attr 210"),
    ] {
        assert!(PAIR.contains(from), "{from}");
        assert_eq!(found(&PAIR.replacen(from, to, 1)), [expect], "{from} -> {to}");
    }
}

#[test]
fn what_looks_like_a_breach_and_is_none() {
    for (from, to) in [
        // An address of a namespace is a name, and loads nothing.
        ("<x/>", r#"<VAST xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:schemaLocation='http://x'/>"#),
        (r#""secure":1"#, r#""secure":0"#),
        (r#""price":2.5"#, r#""price":4,"dealid":"deal""#),
        (r#""w":1920,"h":1080,"mtype""#, r#""w":1080,"h":1920,"mtype""#),
        (r#""w":1920,"h":1080,"mtype""#, r#""mtype""#),
        (r#""price":2.5,"adm""#, r#""price":2.5,"ext":{"loss_reason":102},"adm""#),
        // Floors in another currency need a rate.
        (r#""cur":"USD","seatbid""#, r#""cur":"EUR","seatbid""#),
        // The exchange's word is not there.
        (r#""creatives":{"c":"approved","late":"pending","no":"disapproved"},"#, ""),
        (r#""exp":60"#, r#""exp":3600"#),
    ] {
        assert!(PAIR.contains(from), "{from}");
        assert_eq!(found(&PAIR.replacen(from, to, 1)), Vec::<String>::new(), "{from} -> {to}");
    }
    let smaller = PAIR.replacen(r#""secure":1"#, r#""instl":1,"secure":1"#, 1).replacen(
        r#""w":1920,"h":1080,"mtype""#,
        r#""w":1280,"h":720,"mtype""#,
        1,
    );
    assert_eq!(found(&smaller), Vec::<String>::new(), "on a whole screen, what fits");
    let elsewhere = PAIR.replacen(r#""dooh":{"id":"x"}"#, r#""site":{"id":"x"}"#, 1).replacen(
        r#""crid":"c""#,
        r#""crid":"never-seen""#,
        1,
    );
    assert_eq!(found(&elsewhere), Vec::<String>::new(), "only screens need approval before");
}

#[test]
fn the_lead_time_is_that_of_the_imp() {
    // Without a time of display, how long it may take.
    let exp = |imp: &str, bid: &str| PAIR.replacen(r#""dt":1795000060000"#, imp, 1).replacen(r#""exp":60"#, bid, 1);
    assert_eq!(found(&exp(r#""exp":3600"#, r#""exp":3599"#)), ["bid.exp /exp 2"]);
    assert_eq!(found(&exp(r#""exp":3600"#, r#""exp":3600"#)), Vec::<String>::new());
    assert_eq!(found(&exp(r#""x":0"#, r#""exp":0"#)), Vec::<String>::new());
    // Without the time of the auction, the lead counts from the event.
    let now = PAIR.replacen(r#""sent_ts":1795000000000,"#, "", 1);
    assert_eq!(found(&now.replacen(r#""exp":60"#, r#""exp":59"#, 1)), ["bid.exp /exp 2"]);
}
