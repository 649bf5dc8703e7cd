//! Patterns by example: each word, and how they combine.

use super::*;

fn check(pattern: &str, event: &str, expected: bool) {
    let value = serde_json::from_str(pattern).unwrap();
    let parsed = Pattern::parse(&value).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    assert_eq!(parsed.matches(&serde_json::from_str(event).unwrap()), expected, "{pattern} on {event}");
}

/// Each event with whether it matches.
fn check_all(pattern: &str, events: &[(&str, bool)]) {
    for (event, expected) in events {
        check(pattern, event, *expected);
    }
}

#[test]
fn exact_values() {
    check_all(
        r#"{"a":["x"]}"#,
        &[
            (r#"{"a":"x"}"#, true),
            (r#"{"a":"X"}"#, false),
            (r#"{"a":"xx"}"#, false),
            (r#"{"b":"x"}"#, false),
            (r#"{"a":["y","x"]}"#, true),
            (r#"{"a":[]}"#, false),
            (r#"{"a":{"a":"x"}}"#, false),
            ("[]", false),
        ],
    );
    check_all(
        r#"{"a":["x",7,null,true,""]}"#,
        &[
            (r#"{"a":7}"#, true),
            (r#"{"a":7.0}"#, false),
            (r#"{"a":"7"}"#, false),
            (r#"{"a":null}"#, true),
            (r#"{"a":true}"#, true),
            (r#"{"a":false}"#, false),
            (r#"{"a":""}"#, true),
            ("{}", false),
        ],
    );
}

#[test]
fn texts() {
    check_all(
        r#"{"a":[{"prefix":"us-"}]}"#,
        &[(r#"{"a":"us-east"}"#, true), (r#"{"a":"US-east"}"#, false), (r#"{"a":7}"#, false), ("{}", false)],
    );
    check_all(r#"{"a":[{"suffix":".png"}]}"#, &[(r#"{"a":"x.png"}"#, true), (r#"{"a":"x.pngs"}"#, false)]);
    check_all(r#"{"a":[{"equals-ignore-case":"AliCe"}]}"#, &[(r#"{"a":"aLICE"}"#, true), (r#"{"a":"bob"}"#, false)]);
    check_all(
        r#"{"a":[{"prefix":{"equals-ignore-case":"EU"}}]}"#,
        &[(r#"{"a":"eu-1"}"#, true), (r#"{"a":"us"}"#, false)],
    );
    check_all(r#"{"a":[{"suffix":{"equals-ignore-case":".PNG"}}]}"#, &[(r#"{"a":"x.png"}"#, true)]);
}

#[test]
fn anything_but() {
    check_all(
        r#"{"a":[{"anything-but":["x",7]}]}"#,
        &[
            (r#"{"a":"y"}"#, true),
            (r#"{"a":"x"}"#, false),
            (r#"{"a":7}"#, false),
            (r#"{"a":null}"#, true),
            ("{}", false),
            (r#"{"a":["x","y"]}"#, true),
            (r#"{"a":["x"]}"#, false),
        ],
    );
    check_all(r#"{"a":[{"anything-but":"x"}]}"#, &[(r#"{"a":"x"}"#, false), (r#"{"a":"y"}"#, true)]);
    check_all(r#"{"a":[{"anything-but":{"prefix":"x"}}]}"#, &[(r#"{"a":"xy"}"#, false), (r#"{"a":"y"}"#, true)]);
    check_all(r#"{"a":[{"anything-but":{"suffix":["1","2"]}}]}"#, &[(r#"{"a":"a2"}"#, false), (r#"{"a":"a3"}"#, true)]);
    check_all(r#"{"a":[{"anything-but":{"equals-ignore-case":"X"}}]}"#, &[(r#"{"a":"x"}"#, false)]);
}

#[test]
fn numbers() {
    check_all(
        r#"{"a":[{"numeric":["=",100]}]}"#,
        &[
            (r#"{"a":100}"#, true),
            (r#"{"a":100.0}"#, true),
            (r#"{"a":1e2}"#, true),
            (r#"{"a":"100"}"#, false),
            (r#"{"a":101}"#, false),
        ],
    );
    check_all(
        r#"{"a":[{"numeric":[">",10,"<=",20]}]}"#,
        &[(r#"{"a":10}"#, false), (r#"{"a":10.5}"#, true), (r#"{"a":20}"#, true), (r#"{"a":20.1}"#, false)],
    );
    check_all(r#"{"a":[{"numeric":["<",-1.5]}]}"#, &[(r#"{"a":-2}"#, true), (r#"{"a":-1}"#, false)]);
}

#[test]
fn existence_looks_at_leaves() {
    check_all(
        r#"{"a":[{"exists":true}]}"#,
        &[
            (r#"{"a":1}"#, true),
            (r#"{"a":null}"#, true),
            ("{}", false),
            (r#"{"a":{"b":1}}"#, false),
            (r#"{"a":[]}"#, false),
        ],
    );
    check_all(r#"{"a":[{"exists":false}]}"#, &[(r#"{"a":1}"#, false), ("{}", true), (r#"{"a":{"b":1}}"#, true)]);
    check_all(
        r#"{"a":{"b":[{"exists":false}]}}"#,
        &[("{}", true), (r#"{"a":7}"#, true), (r#"{"a":{"c":1}}"#, true), (r#"{"a":{"b":1}}"#, false)],
    );
}

#[test]
fn fields_and_alternatives() {
    check_all(
        r#"{"a":["x"],"b":{"c":[1]}}"#,
        &[(r#"{"a":"x","b":{"c":1}}"#, true), (r#"{"a":"x","b":{"c":2}}"#, false), (r#"{"b":{"c":1}}"#, false)],
    );
    check_all(
        r#"{"$or":[{"a":["x"]},{"b":[{"numeric":[">",5]}]}]}"#,
        &[(r#"{"a":"x"}"#, true), (r#"{"b":6}"#, true), (r#"{"a":"y","b":5}"#, false)],
    );
    check_all(
        r#"{"d":{"k":["z"],"$or":[{"a":["x"]},{"b":["y"]}]}}"#,
        &[(r#"{"d":{"k":"z","b":"y"}}"#, true), (r#"{"d":{"k":"q","b":"y"}}"#, false)],
    );
    // One element has to match all of a pattern.
    check_all(
        r#"{"imp":{"id":["1"],"w":[300]}}"#,
        &[
            (r#"{"imp":[{"id":"1","w":300},{"id":"2"}]}"#, true),
            (r#"{"imp":[{"id":"1","w":1},{"id":"2","w":300}]}"#, false),
        ],
    );
}

#[test]
fn what_is_no_pattern_is_said_with_its_place() {
    let check = |pattern: &str, expected: &str| {
        let error = Pattern::parse(&serde_json::from_str(pattern).unwrap()).unwrap_err().to_string();
        assert!(error.contains(expected), "{pattern}: {error}");
    };
    check("[]", "must be an object");
    check("{}", "must not be empty");
    check(r#"{"a":"x"}"#, "a must be an array or an object");
    check(r#"{"a":{"b":7}}"#, "a.b must be an array or an object");
    check(r#"{"a":[]}"#, "a must not be empty");
    check(r#"{"a":[["x"]]}"#, "a must not have arrays");
    check(r#"{"a":[{"prefix":7}]}"#, "unknown matcher");
    check(r#"{"a":[{"starts":"x"}]}"#, "unknown matcher");
    check(r#"{"a":[{"prefix":"x","suffix":"y"}]}"#, "one word");
    check(r#"{"a":[{"exists":1}]}"#, "exists must be");
    check(r#"{"a":[{"numeric":[">"]}]}"#, "in turn");
    check(r#"{"a":[{"numeric":["!",1]}]}"#, "numeric knows");
    check(r#"{"a":[{"numeric":["<",1,">",0]}]}"#, "a lower and an upper bound");
    check(r#"{"a":[{"numeric":[">",5,"<",1]}]}"#, "a lower and an upper bound");
    check(r#"{"a":[{"numeric":["=",6e9]}]}"#, "from -5e9");
    check(r#"{"a":[{"anything-but":[]}]}"#, "anything-but takes");
    check(r#"{"a":[{"anything-but":[null]}]}"#, "anything-but takes");
    check(r#"{"a":[{"wildcard":"*"}]}"#, "not in the Millrace local cloud");
    check(r#"{"$or":[{"a":["x"]}]}"#, "two alternatives");
    let deep = format!("{}[1]{}", r#"{"a":"#.repeat(30), "}".repeat(30));
    check(&deep, "nested too deeply");
}
