//! Rules that mark or normalise, and those that policy decides on.

use super::*;

fn check(from: &str, to: &str, expect: &[&str]) {
    super::check(from, to, expect);
    // Whatever marks does not refuse.
    let text = GOOD.replacen(from, to, 1);
    let json = Json::parse(text.as_bytes()).unwrap();
    assert!(!refuses(&ad_request(&json, Policy::default(), NOW_MS)), "{to}");
}

#[test]
fn variants_are_normalised() {
    let venues = r#""venuetype":["301"]"#;
    check(venues, r#""venuetype":"301""#, &["normalized dooh.venuetype /dooh/venuetype"]);
    check(venues, r#""venuetype":[301]"#, &["normalized dooh.venuetype /dooh/venuetype"]);
    check(venues, r#""venuetypeid":301"#, &["normalized dooh.venuetype /dooh/venuetypeid"]);
    check(
        venues,
        r#""venuetypeid":301,"venuetax":1"#,
        &["normalized dooh.venuetype /dooh/venuetypeid", "normalized dooh.venuetypetax /dooh/venuetax"],
    );
    check(venues, r#""venuetype":["9999"]"#, &["warning dooh.venuetype /dooh/venuetype"]);
    check(venues, r#""venuetype":["301"],"venuetypetax":"1""#, &["warning dooh.venuetypetax /dooh/venuetypetax"]);
    check(venues, r#""venuetype":["9999"],"venuetypetax":4"#, &[]);
    check(venues, r#""venuetype":["retail"],"venuetypetax":1"#, &["warning dooh.venuetype /dooh/venuetype"]);
    check(r#""lon":-74.0"#, r#""lon":-74.0,"country":"US""#, &["normalized geo.country /device/geo/country"]);
    check(r#""lon":-74.0"#, r#""lon":-74.0,"country":"USA","region":"NY","utcoffset":-300"#, &[]);
    check(r#""exp":3600"#, r#""dt":1795000010"#, &["normalized imp.dt /imp/0/dt"]);
    check(r#""exp":3600"#, r#""dt":1795000010000"#, &[]);
    let moved =
        r#""source":{"fd":1,"ext":{"schain":{"complete":1,"ver":"1.0","nodes":[{"asi":"a","sid":"1","hp":1}]}},"x":{"#;
    check(r#""source":{"fd":1,"schain":{"#, moved, &["normalized schain /source/ext/schain"]);
}

#[test]
fn facts_of_a_screen_under_the_names_of_others() {
    let device = r#""device":{"#;
    let of = |facts: &str| format!(r#""device":{{"ext":{{"dooh":{{{facts}}}}},"#);
    let venues = r#""venuetype":["301"],"#;
    for facts in [r#""venuetypeid":301"#, r#""venuetypelist":[3,301]"#] {
        // The specification's place counts where both are given.
        check(device, &of(facts), &[]);
        let name = facts.split('"').nth(1).unwrap();
        let text = GOOD.replacen(venues, "", 1).replacen(r#""id":"s1","#, "", 1).replacen(device, &of(facts), 1);
        assert_eq!(findings(&text), [format!("normalized dooh.venuetype /device/ext/dooh/{name}")]);
    }
    for (facts, expect) in [
        (
            r#""impmultiply":4,"audience":1.5"#,
            vec![("normalized imp.qty.multiplier", "impmultiply"), ("normalized dooh.audience", "audience")],
        ),
        (
            r#""impmultiply":0,"audience":-1"#,
            vec![("warning imp.qty.multiplier", "impmultiply"), ("warning dooh.audience", "audience")],
        ),
        (
            r#""impmultiply":"4","audience":"x""#,
            vec![("warning imp.qty.multiplier", "impmultiply"), ("warning dooh.audience", "audience")],
        ),
        (
            r#""impmultiply":10001"#,
            vec![("normalized imp.qty.multiplier", "impmultiply"), ("warning imp.qty.multiplier", "impmultiply")],
        ),
    ] {
        let at = |place: &str| expect.iter().map(|(code, key)| format!("{code} {place}/{key}")).collect::<Vec<_>>();
        assert_eq!(findings(&GOOD.replacen(device, &of(facts), 1)), at("/device/ext/dooh"));
        assert_eq!(findings(&GOOD.replacen(venues, &format!("{venues}{facts},"), 1)), at("/dooh"));
    }
    // Exchanges of 2.5 have the screen beside a site; that is no second channel, and wants a position too.
    let text = r#"{"id":"r","imp":[{"id":"1","banner":{"w":1,"h":1}}],"site":{"id":"s"},"device":{"ext":{"dooh":{"impmultiply":2}}}}"#;
    assert_eq!(
        findings(text),
        ["normalized imp.qty.multiplier /device/ext/dooh/impmultiply", "warning geo.dooh /device/geo"]
    );
}

#[test]
fn times_of_display() {
    let day_ms = 86_400_000;
    for (dt, expect) in [
        (NOW_MS - day_ms, &["warning imp.dt /imp/0/dt"][..]),
        (NOW_MS - 1_000, &[]),
        (NOW_MS + day_ms, &[]),
        (NOW_MS + 3 * day_ms, &["warning imp.dt /imp/0/dt"]),
    ] {
        check(r#""exp":3600"#, &format!(r#""dt":{dt}"#), expect);
    }
    check(r#""exp":3600"#, r#""dt":"soon""#, &["warning imp.dt /imp/0/dt"]);
}

#[test]
fn devices() {
    let device = r#""device":{"#;
    check(device, r#""device":{"devicetype":8,"#, &[]);
    check(device, r#""device":{"devicetype":1,"#, &["warning device.devicetype /device/devicetype"]);
    check(device, r#""device":{"devicetype":77,"#, &["warning enumeration /device/devicetype"]);
    check(device, r#""device":{"ip":"203.0.113.7","ipv6":"2001:db8::1","#, &[]);
    check(device, r#""device":{"ip":"","#, &[]);
    check(
        device,
        r#""device":{"ip":"111.222.333.444","ipv6":"x","#,
        &["warning device.ip /device/ip", "warning device.ipv6 /device/ipv6"],
    );
    check(
        r#""lon":-74.0"#,
        r#""lon":-74.0,"country":"XX","region":"New York","utcoffset":9000"#,
        &[
            "warning geo.country /device/geo/country",
            "warning geo.region /device/geo/region",
            "warning geo.utcoffset /device/geo/utcoffset",
        ],
    );
    check(r#""geo":{"lat":40.7,"lon":-74.0}"#, r#""geo":{}"#, &["warning geo.dooh /device/geo"]);
}

#[test]
fn privacy_and_supply() {
    check(r#""user":{"consent":"C"}"#, r#""user":{}"#, &["warning user.consent /user/consent"]);
    check(r#""user":{"consent":"C"}"#, r#""user":{"ext":{"consent":"C"}}"#, &[]);
    check(r#""coppa":0"#, r#""us_privacy":"1YNN""#, &[]);
    check(r#""coppa":0"#, r#""us_privacy":"1YN""#, &["warning regs.us_privacy /regs/us_privacy"]);
    check(r#""coppa":0"#, r#""us_privacy":7"#, &["warning regs.us_privacy /regs/us_privacy"]);
    let moved = r#""regs":{"ext":{"gdpr":1,"us_privacy":"1YNN","gpc":"1"}}"#;
    let regs = r#""regs":{"coppa":0,"gdpr":1}"#;
    check(regs, moved, &["normalized regs.ext /regs/ext/gdpr", "normalized regs.ext /regs/ext/us_privacy"]);
    check(
        regs,
        r#""regs":{"gdpr":0,"ext":{"gdpr":2,"us_privacy":"x","gpc":1}}"#,
        &[
            "warning regs.us_privacy /regs/ext/us_privacy",
            "normalized regs.ext /regs/ext/us_privacy",
            "warning regs.gpc /regs/ext/gpc",
        ],
    );
    check(
        regs,
        r#""regs":{"ext":{"gdpr":2}}"#,
        &["normalized regs.ext /regs/ext/gdpr", "warning flags /regs/ext/gdpr"],
    );
    let node = r#"{"asi":"a.example","sid":"1","hp":1}"#;
    check(node, "", &["warning schain /source/schain/nodes"]);
    let long = format!(r#"{{"asi":"a","sid":"{}","hp":0}}"#, "x".repeat(65));
    check(node, &long, &["warning schain /source/schain/nodes/0/sid", "warning schain /source/schain/nodes/0/hp"]);
    check(node, r#"{"sid":"1","hp":1}"#, &["warning schain /source/schain/nodes/0/asi"]);
    check(r#""ver":"1.0","#, "", &["warning schain /source/schain/ver"]);
}

#[test]
fn one_way_to_say_it() {
    check(r#""tmax":250"#, r#""tmax":250,"wseat":["a"],"bseat":["b"]"#, &["warning pairs /bseat"]);
    check(r#""tmax":250"#, r#""tmax":250,"wseat":["a"],"bseat":[]"#, &[]);
    check(r#""venuetype""#, r#""keywords":"a","kwarray":["b"],"venuetype""#, &["warning pairs /dooh/kwarray"]);
    check(r#""w":1920"#, r#""w":1920,"language":"en","langb":"en""#, &["warning pairs /device/langb"]);
}

#[test]
fn sizes_and_quantities() {
    check(r#""video":{"#, r#""banner":{},"video":{"#, &["warning imp.banner.size /imp/0/banner"]);
    check(r#""video":{"#, r#""banner":{"format":[{"w":1,"h":1}]},"video":{"#, &[]);
    check(r#""sourcetype":1,"#, "", &["warning imp.qty.sourcetype /imp/0/qty/sourcetype"]);
    check(r#""sourcetype":1,"#, r#""sourcetype":9,"#, &["warning enumeration /imp/0/qty/sourcetype"]);
    check(r#""exp":3600"#, r#""ssai":4"#, &["warning enumeration /imp/0/ssai"]);
}

#[test]
fn policy_decides_on_what_real_senders_do() {
    let strict = Policy { dooh_position: Response::Refuse, tolerated_faults: Response::Refuse, ..Policy::default() };
    for (from, to, code) in [
        (r#""geo":{"lat":40.7,"lon":-74.0}"#, r#""geo":{}"#, "geo.dooh"),
        (r#""bidfloor":2.5"#, r#""bidfloor":-1"#, "imp.bidfloor"),
        (r#""EUR"]"#, r#""XYZ"]"#, "cur"),
        (r#""mimes":["video/mp4"],"#, "", "imp.video.mimes"),
        (r#""test":0"#, r#""test":2"#, "flags"),
        (r#""minduration":5"#, r#""rqddurs":[15]"#, "imp.video.rqddurs"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let text = GOOD.replacen(from, to, 1);
        let json = Json::parse(text.as_bytes()).unwrap();
        let marked = ad_request(&json, Policy::default(), NOW_MS);
        let refused = ad_request(&json, strict, NOW_MS);
        assert_eq!((marked.len(), marked[0].code, marked[0].severity), (1, code, Severity::Warning));
        assert_eq!((refused.len(), refused[0].code, refused[0].severity), (1, code, Severity::Error));
    }
}

#[test]
fn marks_do_not_crowd_out_what_refuses() {
    let deals = vec![r#"{"id":"d","bidfloorcur":"XYZ"}"#; 200].join(",");
    let text =
        GOOD.replacen(r#"{"id":"d1","bidfloor":3,"at":3}"#, &deals, 1).replacen(r#""tmax":250"#, r#""tmax":0"#, 1);
    let found = findings(&text);
    assert_eq!(found.len(), 100);
    assert_eq!(found[99], "tmax /tmax");
}
