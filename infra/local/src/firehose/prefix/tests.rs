//! Prefixes as they are given, and what they become.

use std::collections::BTreeMap;

use chrono::{TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

use super::{Instance, Prefixes, with_random};

fn at() -> i64 {
    (Utc.with_ymd_and_hms(2026, 3, 4, 5, 6, 7).unwrap() + TimeDelta::milliseconds(89)).timestamp_millis()
}

/// Both prefixes evaluated, or why not.
fn both(data: &str, failed: &str, zone: Tz) -> (String, String) {
    let keys = BTreeMap::from([("a".to_owned(), "x=1".to_owned())]);
    match Prefixes::parse(data, failed, zone) {
        Err(error) => (error.to_string(), String::new()),
        Ok(prefixes) => {
            let instance = |output_type| Instance { arrival_ms: at(), output_type, keys: &keys };
            let id = "0123456789abcdef0123456789abcdef";
            let failed = prefixes.failed.eval(instance("processing-failed"), zone);
            (with_random(&prefixes.data.eval(instance(""), zone), id), with_random(&failed, id))
        }
    }
}

#[test]
fn prefixes_are_evaluated() {
    let check = |prefix: &str, expected: &str| {
        assert_eq!(both(prefix, "e/!{firehose:error-output-type}/", Tz::UTC).0, expected, "{prefix}");
    };
    check("", "2026/03/04/05/");
    check("failed/", "failed/2026/03/04/05/");
    check("dt=!{timestamp:yyyy-MM-dd}/hour=!{timestamp:HH}/", "dt=2026-03-04/hour=05/");
    check("!{timestamp:yy/DDD 'at' mm''ss.SSS}", "26/063 at 06'07.089");
    check("x/!{firehose:random-string}/", "x/56789abcdef/");
    check("!{partitionKeyFromQuery:a}/!{timestamp:HH}", "x=1/05");
    check("!{partitionKeyFromQuery:missing}/", "/");
    check("x!{timestamp:yyyy", "!{ without } in a prefix");
    check("!{timestamp:'yyyy}", "a quote in the pattern 'yyyy is not closed");
    check("!{timestamp:BB}", "BB is not a field of time that prefixes have here");
    check("!{timestamp:HHH}", "HHH is not a field of time that prefixes have here");
    check("!{partitionKeyFromQuery:}", "!{partitionKeyFromQuery:} is not an expression that prefixes have here");
    check("!{partitionKeyFromLambda:a}", "!{partitionKeyFromLambda:a} is not an expression that prefixes have here");
    check("!{firehose:error-output-type}", "Prefix can't contain !{firehose:error-output-type}");
    check(&"x".repeat(1025), "a prefix has at most 1,024 characters");
}

#[test]
fn failed_records_have_a_prefix_of_their_own() {
    let check = |data: &str, failed: &str, expected: &str| {
        let (first, second) = both(data, failed, Tz::UTC);
        assert_eq!(if second.is_empty() { first } else { second }, expected, "{data} and {failed}");
    };
    check("", "", "processing-failed/2026/03/04/05/");
    check("p/", "", "p/processing-failed/2026/03/04/05/");
    check("p/", "errors-", "errors-processing-failed/2026/03/04/05/");
    check("p/", "e/!{firehose:error-output-type}/!{timestamp:dd}", "e/processing-failed/04");
    check("p/!{timestamp:dd}", "errors-", "errors-processing-failed/2026/03/04/05/");
    check("p/!{timestamp:dd}", "", "ErrorOutputPrefix can't be null when Prefix contains expressions");
    let needed = "ErrorOutputPrefix must include at least one instance of !{firehose:error-output-type}";
    check("", "e/!{timestamp:dd}/", needed);
    check(
        "",
        "!{partitionKeyFromQuery:a}!{firehose:error-output-type}",
        "ErrorOutputPrefix can't contain partition keys",
    );
}

#[test]
fn fields_of_time_are_those_of_java() {
    let check = |pattern: &str, zone: Tz, expected: &str| {
        let prefix = format!("!{{timestamp:{pattern}}}");
        assert_eq!(both(&prefix, "e!{firehose:error-output-type}", zone).0, expected, "{pattern} in {zone}");
    };
    let (utc, tokyo, kathmandu) = (Tz::UTC, Tz::Asia__Tokyo, Tz::Asia__Kathmandu);
    check("y-M-d H:m:s", utc, "2026-3-4 5:6:7");
    check("uuuu.MMM.MMMM.E.EEEE.a.h.K.k", utc, "2026.Mar.March.Wed.Wednesday.AM.5.5.5");
    check("yyyy-MM-dd'T'HH", tokyo, "2026-03-04T14");
    check("HHmm.Z.X.XX.x.VV", kathmandu, "1051.+0545.+0545.+0545.+0545.Asia/Kathmandu");
    check("Z.X.x.z.VV", utc, "+0000.Z.+00.UTC.UTC");
    check("hh a.z", tokyo, "02 PM.JST");
    check("Q.QQQ.QQQQ.G", utc, "1.Q1.1st quarter.AD");
    // The fourth of March 2026 is a Wednesday in the tenth week, of which the first began on a Sunday in December.
    check("YYYY.w.ww", utc, "2026.10.10");
    check("S.SS.SSSSSS.n.A", utc, "0.08.089000.89000000.18367089");
}

#[test]
fn years_of_weeks_change_before_the_calendars() {
    let arrival_ms = Utc.with_ymd_and_hms(2025, 12, 28, 0, 0, 0).unwrap().timestamp_millis();
    let prefixes = Prefixes::parse("!{timestamp:YYYY-yyyy-w}", "e!{firehose:error-output-type}", Tz::UTC).unwrap();
    let keys = BTreeMap::new();
    let evaluated = prefixes.data.eval(Instance { arrival_ms, output_type: "", keys: &keys }, Tz::UTC);
    assert_eq!(evaluated, "2026-2025-1");
}
