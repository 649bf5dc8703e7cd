//! Notices that come as URLs: OpenRTB's macros, resolved, become the members of an event.
//!
//! The event's body is made here, and its bytes name the event, so it depends on the parameters alone: not on their
//! order, which API Gateway and balancers do not hand on, not on how they were escaped, and of a repeated one the last
//! counts, which is all that some balancers hand on. So the same notice is the same event by whichever front it comes.
//! What was received stays as the member `query`, in that form, without the key and the signature.

use std::collections::BTreeMap;

use events::envelope::EventType;
use serde_json::{Map, Number, Value};

/// Query parameters, decoded: names and values, in order.
pub(crate) type Parameters = Vec<(String, String)>;

/// Longest path and query in bytes: what most clients and balancers take.
pub(crate) const URI_BYTES_MAX: usize = 8_192;

/// Other names that senders give to members, and the members. Macros have their own names in lower case.
const ALIASES: [(&str, &str); 12] = [
    ("id", "auction_id"),
    ("auction_bid_id", "bid_id"),
    ("auction_imp_id", "imp_id"),
    ("auction_seat_id", "seat_id"),
    ("auction_ad_id", "ad_id"),
    ("price", "auction_price"),
    ("currency", "auction_currency"),
    ("cur", "auction_currency"),
    ("loss", "auction_loss"),
    ("multiplier", "auction_multiplier"),
    ("imp_ts", "auction_imp_ts"),
    ("mbr", "auction_mbr"),
];

/// Members that are numbers.
const NUMBERS: [&str; 12] = [
    "auction_price",
    "auction_loss",
    "auction_min_to_win",
    "auction_multiplier",
    "auction_mbr",
    "auction_imp_ts",
    "auction_discount_pct",
    "auction_discount_cpm",
    "attempt",
    "http_status",
    "latency_ms",
    "test",
];

/// Parameters that say who calls and are kept nowhere.
const SECRETS: [&str; 2] = ["key", "sig"];

/// The type of event that a kind of notice is.
pub(crate) fn event_type(notice: &str) -> Option<EventType> {
    match notice {
        "nurl" => Some(EventType::WinNotice),
        "burl" => Some(EventType::BillingNotice),
        "lurl" => Some(EventType::LossNotice),
        _ => None,
    }
}

/// The parameters of a query. `+` is a space, as forms have it; a wrong escape stands as it is.
pub(crate) fn parameters(query: &str) -> Parameters {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// The value of a parameter.
pub(crate) fn parameter<'p>(parameters: &'p Parameters, name: &str) -> Option<&'p str> {
    parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// What a signature covers, and the signature: `sig` is the last parameter, and all before it is signed.
pub(crate) fn signed<'q>(path: &str, query: &'q str) -> Option<(Vec<u8>, &'q str)> {
    let (before, signature) = query.rsplit_once("&sig=")?;
    Some((format!("{path}?{before}").into_bytes(), signature))
}

/// The body of the event of a URL.
pub(crate) fn body(parameters: &Parameters) -> String {
    let given = canonical(parameters);
    let mut members = Map::new();
    let mut unresolved = Vec::new();
    for (name, value) in &given {
        let name = name.to_ascii_lowercase();
        let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name.as_str(), |(_, member)| member);
        // Unknown is a text of no length, and AUDIT where the exchange only tries the URL out.
        if value.is_empty() || *value == "AUDIT" {
            continue;
        }
        if value.starts_with("${") && value.ends_with('}') {
            unresolved.push(Value::String(name.to_owned()));
            continue;
        }
        members.entry(name).or_insert_with(|| member(name, value));
    }
    if !unresolved.is_empty() {
        members.insert("unresolved".to_owned(), Value::Array(unresolved));
    }
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&given).finish();
    members.insert("query".to_owned(), Value::String(query));
    Value::Object(members).to_string()
}

/// The parameters by their names, the last of each, without those that say who calls.
fn canonical(parameters: &Parameters) -> BTreeMap<&str, &str> {
    let is_secret = |name: &str| SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret));
    let given = parameters.iter().filter(|(name, _)| !is_secret(name));
    given.map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn member(name: &str, value: &str) -> Value {
    let number = || -> Option<Number> {
        let whole: Result<i64, _> = value.parse();
        whole.map(Number::from).ok().or_else(|| Number::from_f64(value.parse().ok()?))
    };
    // What should be a number and is none stays a text, which the rules refuse by its name.
    let number = NUMBERS.contains(&name).then(number).flatten();
    number.map_or_else(|| Value::String(value.to_owned()), Value::Number)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(query: &str, expect: &Expect) {
        expect.assert_eq(&body(&parameters(query)));
    }

    #[test]
    fn macros_become_members() {
        check(
            "auction_id=a%2F1&auction_imp_id=1&auction_price=2.5&auction_currency=USD&auction_multiplier=14.2&auction_imp_ts=1795000000000&other=x+y",
            &expect![[
                r#"{"auction_currency":"USD","auction_id":"a/1","auction_imp_ts":1795000000000,"auction_multiplier":14.2,"auction_price":2.5,"imp_id":"1","other":"x y","query":"auction_currency=USD&auction_id=a%2F1&auction_imp_id=1&auction_imp_ts=1795000000000&auction_multiplier=14.2&auction_price=2.5&other=x+y"}"#
            ]],
        );
        check(
            "id=a&price=AUDIT&loss=&bid_id=$%7BAUCTION_BID_ID%7D&multiplier=NaN",
            &expect![[
                r#"{"auction_id":"a","auction_multiplier":"NaN","query":"bid_id=%24%7BAUCTION_BID_ID%7D&id=a&loss=&multiplier=NaN&price=AUDIT","unresolved":["bid_id"]}"#
            ]],
        );
        check("", &expect![[r#"{"query":""}"#]]);
    }

    #[test]
    fn secrets_are_kept_nowhere() {
        for query in ["id=a&key=s3cret&sig=s3cret", "KEY=s3cret&id=a", "k%65y=s3cret&id=a"] {
            let body = body(&parameters(query));
            assert!(!body.contains("s3cret"), "{body}");
        }
    }

    #[test]
    fn the_order_and_the_escapes_of_a_url_do_not_matter() {
        let body = |query: &str| body(&parameters(query));
        let first = body("auction_id=a%2f1&imp_id=1&price=2.5&other=x+y");
        for query in [
            "other=x%20y&price=2.5&auction_id=a/1&imp_id=1",
            "imp_id=%31&auction_id=a%2F1&other=x+y&price=1&price=2.5&key=k",
        ] {
            assert_eq!(body(query), first, "{query}");
        }
        assert_ne!(body("auction_id=a%2f1&imp_id=2&price=2.5&other=x+y"), first);
        // Two names of one member: which of them counts does not depend on the order either.
        assert_eq!(body("id=1&auction_id=2"), body("auction_id=2&id=1"));
    }

    #[test]
    fn what_is_signed() {
        assert_eq!(signed("/p", "a=1&sig=ab"), Some((b"/p?a=1".to_vec(), "ab")));
        assert_eq!(signed("/p", "a=1"), None);
    }
}
