//! Records and the partitions that they come to.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chrono_tz::Tz;
use serde_json::Value;

use super::{Cut, Lane, MAX_ACTIVE, Partitioning};
use crate::firehose::prefix::Prefixes;
use crate::firehose::query::Query;
use crate::firehose::segment::Entry;

fn prefixes() -> Prefixes {
    Prefixes::parse("!{partitionKeyFromQuery:a}/!{timestamp:ss}/", "e/!{firehose:error-output-type}/", Tz::UTC).unwrap()
}

fn route(cut: Option<Cut>, records: &[&str], active: BTreeSet<Lane>) -> BTreeMap<Lane, Vec<Entry>> {
    let partitioning = Partitioning { cut, query: Query::read("{a:.a}").unwrap() };
    let entry =
        |record: &&str| Entry { arrival_ms: 7_000, data: Bytes::copy_from_slice(record.as_bytes()), place: None };
    partitioning.route(records.iter().map(entry).collect(), &prefixes(), active, 9_000).unwrap()
}

fn partition(prefix: &str) -> Lane {
    Lane::Partition { prefix: prefix.to_owned() }
}

/// Lanes with the records in them, as `prefix: record|record`.
fn shown(lanes: &BTreeMap<Lane, Vec<Entry>>) -> Vec<String> {
    let text = |entry: &Entry| String::from_utf8_lossy(&entry.data).into_owned();
    let records = |entries: &[Entry]| entries.iter().map(text).collect::<Vec<_>>().join("|");
    let shown = lanes.iter().map(|(lane, entries)| match lane {
        Lane::Plain => format!("plain: {}", records(entries)),
        Lane::Partition { prefix } => format!("{prefix}: {}", records(entries)),
        Lane::Failed { output_type } => {
            let line: Value = serde_json::from_slice(&entries[0].data).unwrap();
            format!("{output_type}: {} {}", entries.len(), line["errorCode"].as_str().unwrap())
        }
    });
    shown.collect()
}

#[test]
fn records_go_to_their_partitions() {
    let records = [r#"{"a":"x"}"#, r#"{"a":"y"}"#, r#"{"a":"x","n":2}"#, r#"{"b":1}"#, "no"];
    let lanes = route(None, &records, BTreeSet::new());
    let expected = [
        r#"x/07/: {"a":"x"}|{"a":"x","n":2}"#,
        r#"y/07/: {"a":"y"}"#,
        "metadata-extraction-failed: 2 DynamicPartitioning.MetadataExtractionFailed",
    ];
    assert_eq!(shown(&lanes), expected);
}

#[test]
fn records_are_cut() {
    let check = |cut: Cut, record: &str, expected: &[&str]| {
        assert_eq!(shown(&route(Some(cut.clone()), &[record], BTreeSet::new())), expected, "{cut:?} {record}");
    };
    check(Cut::Json, "{\"a\":1}{\"a\":2}\n {\"a\":1}", &[r#"1/07/: {"a":1}|{"a":1}"#, r#"2/07/: {"a":2}"#]);
    check(Cut::Delimited(b"##".to_vec()), r##"{"a":1}##{"a":2}####"##, &[r#"1/07/: {"a":1}"#, r#"2/07/: {"a":2}"#]);
    let failed = "metadata-extraction-failed: 1 DynamicPartitioning.MetadataExtractionFailed";
    check(Cut::Json, r#"[{"a":1}]"#, &[failed]);
    check(Cut::Json, &r#"{"a":1}"#.repeat(501), &[failed]);
    let many = shown(&route(Some(Cut::Json), &[&r#"{"a":1}"#.repeat(500)], BTreeSet::new()));
    assert_eq!((many.len(), many[0].matches('|').count()), (1, 499));
}

#[test]
fn a_partition_too_many_fails() {
    let active: BTreeSet<Lane> = (0..MAX_ACTIVE - 1).map(|number| partition(&format!("{number}/07/"))).collect();
    let lanes = route(None, &[r#"{"a":"new"}"#, r#"{"a":"newer"}"#, r#"{"a":"3"}"#], active);
    let expected = [
        r#"3/07/: {"a":"3"}"#,
        r#"new/07/: {"a":"new"}"#,
        "activePartitionExceeded: 1 DynamicPartitioning.ActivePartitionsLimitExceeded",
    ];
    assert_eq!(shown(&lanes), expected);
}
