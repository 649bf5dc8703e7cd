//! Rules against examples: each case is a change to a good request and the findings it causes.

mod events;
mod marks;
mod offers;

use super::*;

const GOOD: &str = r#"{"id":"r1","imp":[{"id":"1","video":{"mimes":["video/mp4"],"minduration":5,"maxduration":15},
"bidfloor":2.5,"bidfloorcur":"USD","qty":{"multiplier":14.2,"sourcetype":1,"vendor":"geopath.org"},
"pmp":{"deals":[{"id":"d1","bidfloor":3,"at":3}]},"metric":[{"type":"viewability","value":0.8}],"exp":3600}],
"dooh":{"id":"s1","venuetype":["301"],"publisher":{"id":"p"}},"device":{"geo":{"lat":40.7,"lon":-74.0},"w":1920,"h":1080},
"at":1,"tmax":250,"cur":["USD","EUR"],"test":0,"regs":{"coppa":0,"gdpr":1},"source":{"fd":1,"schain":{"complete":1,"ver":"1.0","nodes":[{"asi":"a.example","sid":"1","hp":1}]}},
"user":{"consent":"C"},"unknown":{"x":1}}"#;

const NOW_MS: i64 = 1_795_000_000_000;

fn findings(text: &str) -> Vec<String> {
    let json = Json::parse(text.as_bytes()).expect("the case is JSON");
    ad_request(&json, Policy::default(), NOW_MS).iter().map(shown).collect()
}

fn shown(violation: &Violation) -> String {
    let mark = match violation.severity {
        Severity::Error => "",
        Severity::Warning => "warning ",
        Severity::Normalized => "normalized ",
    };
    format!("{mark}{} {}", violation.code, violation.path)
}

fn check(from: &str, to: &str, expect: &[&str]) {
    assert!(GOOD.contains(from), "the case changes something: {from}");
    assert_eq!(findings(&GOOD.replacen(from, to, 1)), expect, "{from} -> {to}");
}

#[test]
fn a_good_request_has_no_findings() {
    assert_eq!(findings(GOOD), Vec::<String>::new());
}

#[test]
fn identity_and_imps() {
    check(r#""id":"r1","#, "", &["id.required /id"]);
    check(r#""id":"r1""#, r#""id":"""#, &["id.required /id"]);
    check(r#""id":"r1""#, r#""id":7"#, &["id.required /id"]);
    check(r#"[{"id":"1""#, r#"[7,{"id":"1""#, &["field.type /imp/0"]);
    check(r#"{"id":"1","#, r#"{"#, &["imp.id.required /imp/0/id"]);
    check(r#"[{"id":"1""#, r#"[{"id":"1","banner":{"w":1,"h":1}},{"id":"1""#, &["imp.id.unique /imp/1/id"]);
    check(r#""video":{"mimes""#, r#""x":{"mimes""#, &["imp.media_type.required /imp/0"]);
    for imps in ["[]", "{}", "null", "\"x\""] {
        let text = format!(r#"{{"id":"r","imp":{imps},"site":{{"id":"s"}}}}"#);
        assert_eq!(findings(&text), ["imp.required /imp"]);
    }
}

#[test]
fn channels() {
    check(r#""dooh":{"#, r#""site":{},"dooh":{"#, &["channel.exclusive "]);
    check(r#""dooh":{"#, r#""other":{"#, &["channel.missing "]);
    check(r#""id":"s1","venuetype":["301"],"#, "", &["dooh.id_or_venuetype /dooh"]);
    check(r#""id":"s1","venuetype":["301"],"#, r#""venuetype":[],"id":"","#, &["dooh.id_or_venuetype /dooh"]);
    check(r#""id":"s1","venuetype":["301"],"#, r#""venuetype":["301"],"#, &[]);
    check(r#""id":"s1","venuetype":["301"],"#, r#""id":"s1","#, &[]);
    let lenient = Policy { channel_required: false, dooh_id_or_venuetype_required: false, ..Policy::default() };
    let text = GOOD.replacen(r#""dooh":{"#, r#""other":{"#, 1);
    assert_eq!(ad_request(&Json::parse(text.as_bytes()).unwrap(), lenient, NOW_MS), vec![]);
}

#[test]
fn media() {
    check(r#"["video/mp4"]"#, "[]", &["imp.video.mimes /imp/0/video/mimes"]);
    check(r#""minduration":5"#, r#""minduration":20"#, &["imp.video.rqddurs /imp/0/video/minduration"]);
    check(r#""minduration":5"#, r#""rqddurs":[15]"#, &["warning imp.video.rqddurs /imp/0/video/rqddurs"]);
    check(r#""minduration":5"#, r#""minduration":-5"#, &["field.count /imp/0/video/minduration"]);
    check(r#""video":{"#, r#""native":{},"video":{"#, &["imp.native.request /imp/0/native/request"]);
    check(r#""video":{"#, r#""audio":{},"video":{"#, &["warning imp.audio.mimes /imp/0/audio/mimes"]);
    let with_native = |native: &str| format!(r#""native":{native},"video":{{"#);
    check(r#""video":{"#, &with_native(r#"{"request":""}"#), &["warning imp.native.request /imp/0/native/request"]);
    let templated = r#"{},"ext":{"prebid":{"imp":{}}}"#;
    check(r#""video":{"#, &with_native(templated), &["warning imp.native.request /imp/0/native/request"]);
    check(r#"["video/mp4"]"#, "7", &["imp.video.mimes /imp/0/video/mimes"]);
    check(r#""video":{"#, r#""banner":7,"video":{"#, &["field.type /imp/0/banner"]);
    check(
        r#""video":{"#,
        r#""banner":{"w":-1,"h":1},"video":{"#,
        &["field.count /imp/0/banner/w", "warning imp.banner.size /imp/0/banner"],
    );
    let format = r#""banner":{"format":[{"w":1,"h":1},{"w":1.5}]},"video":{"#;
    check(r#""video":{"#, format, &["field.count /imp/0/banner/format/1/w"]);
}

#[test]
fn prices_and_quantities() {
    check(r#""bidfloor":2.5"#, r#""bidfloor":-1"#, &["warning imp.bidfloor /imp/0/bidfloor"]);
    check(r#""bidfloor":2.5"#, r#""bidfloor":"2.5""#, &["imp.bidfloor /imp/0/bidfloor"]);
    check(r#""bidfloorcur":"USD""#, r#""bidfloorcur":"usd""#, &["imp.bidfloor /imp/0/bidfloorcur"]);
    check(r#""multiplier":14.2"#, r#""multiplier":0"#, &["imp.qty.multiplier /imp/0/qty/multiplier"]);
    check(r#""multiplier":14.2,"#, "", &["imp.qty.multiplier /imp/0/qty/multiplier"]);
    check(r#""bidfloorcur":"USD""#, r#""bidfloorcur":"USX""#, &["warning imp.bidfloor /imp/0/bidfloorcur"]);
    check(r#""multiplier":14.2"#, r#""multiplier":10001"#, &["warning imp.qty.multiplier /imp/0/qty/multiplier"]);
    check(r#","vendor":"geopath.org""#, "", &["imp.qty.vendor /imp/0/qty/vendor"]);
    check(r#"{"id":"d1","#, "{", &["imp.deals.id /imp/0/pmp/deals/0/id"]);
    check(r#""bidfloor":3,"at":3"#, r#""at":4"#, &["at /imp/0/pmp/deals/0/at"]);
    check(r#""type":"viewability","#, "", &["imp.metric.type /imp/0/metric/0/type"]);
    check(r#","value":0.8"#, "", &["imp.metric.value /imp/0/metric/0/value"]);
}

#[test]
fn the_rest_of_the_request() {
    check(r#""tmax":250"#, r#""tmax":0"#, &["tmax /tmax"]);
    check(r#""tmax":250"#, r#""tmax":-2"#, &["field.count /tmax"]);
    check(r#""at":1,"tmax""#, r#""at":0,"tmax""#, &["at /at"]);
    check(r#""at":1,"tmax""#, r#""at":501,"tmax""#, &[]);
    check(r#""EUR"]"#, r#""Eur"]"#, &["cur /cur/1"]);
    check(r#""EUR"]"#, r#""XYZ"]"#, &["warning cur /cur/1"]);
    check(r#""test":0"#, r#""test":"1""#, &["flags /test"]);
    check(r#""test":0"#, r#""test":2"#, &["warning flags /test"]);
    check(r#""gdpr":1"#, r#""gdpr":"1""#, &["flags /regs/gdpr"]);
    check(r#""complete":1"#, r#""complete":2"#, &["warning flags /source/schain/complete"]);
    check(r#""exp":3600"#, r#""exp":-1"#, &["field.count /imp/0/exp"]);
    check(r#""regs":{"coppa":0,"gdpr":1}"#, r#""regs":[]"#, &["field.type /regs"]);
    check(r#""user":{"consent":"C"}"#, r#""user":[],"regs":{"gdpr":0}"#, &["field.type /user"]);
}

#[test]
fn positions() {
    check(r#""lat":40.7"#, r#""lat":90.5"#, &["geo.range /device/geo/lat"]);
    check(r#","lon":-74.0"#, "", &["geo.pair /device/geo"]);
    check(r#""lon":-74.0"#, r#""long":-74.0"#, &["normalized geo.long /device/geo/long"]);
    check(r#""lat":40.7"#, r#""accuracy":-1,"lat":40.7"#, &["field.count /device/geo/accuracy"]);
}

#[test]
fn all_findings_at_once_and_never_a_value() {
    let text = r#"{"id":"","imp":[{"id":"secret-1","qty":{"multiplier":-3}}],"tmax":"secret-2"}"#;
    let json = Json::parse(text.as_bytes()).unwrap();
    let violations = ad_request(&json, Policy::default(), NOW_MS);
    assert_eq!(violations.len(), 6, "{violations:?}");
    assert!(refuses(&violations));
    assert!(!format!("{violations:?}").contains("secret"));
    assert_eq!(findings("[]"), ["json.syntax "]);
}

#[test]
fn a_warning_does_not_refuse() {
    let text = GOOD.replacen(r#""at":1,"tmax""#, r#""at":3,"tmax""#, 1);
    let violations = ad_request(&Json::parse(text.as_bytes()).unwrap(), Policy::default(), NOW_MS);
    assert_eq!(violations.len(), 1);
    assert!(!refuses(&violations));
}

#[test]
fn findings_are_bounded() {
    let imps = vec!["7"; 5_000].join(",");
    let text = format!(r#"{{"id":"r","imp":[{imps}],"site":{{}}}}"#);
    assert_eq!(findings(&text).len(), 100);
}
