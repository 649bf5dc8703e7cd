//! Objects and the cells that they become.

use std::collections::BTreeMap;

use arrow::datatypes::{Field, Fields};

use super::{Object, Reading};
use crate::athena::arrow_type;
use crate::firehose::conversion::cell::Cell;

fn reading() -> Reading {
    Reading { is_case_insensitive: true, dots_to_underscores: false, keys: BTreeMap::new(), formats: Vec::new() }
}

/// What the value of column `c` becomes, or why it does not fit.
fn cell(reading: &Reading, kind: &str, json: &str) -> Result<Cell, String> {
    let columns = Fields::from(vec![Field::new("c", arrow_type(kind).unwrap(), true)]);
    let object: Object<'_> = serde_json::from_str(json).unwrap();
    reading.row(object, &columns).map(|mut cells| cells.remove(0)).map_err(|error| error.to_string())
}

#[test]
fn values_become_cells() {
    let check = |kind: &str, value: &str, expected: Cell| {
        assert_eq!(cell(&reading(), kind, &format!(r#"{{"c":{value}}}"#)), Ok(expected), "{value} as {kind}");
    };
    let text = |text: &str| Cell::Text(text.to_owned());
    check("string", r#""a\"b""#, text("a\"b"));
    check("string", "12.50", text("12.50"));
    check("string", r#"{"k": 1}"#, text(r#"{"k": 1}"#));
    check("string", "null", Cell::Null);
    check("int", "5", Cell::Integer(5));
    check("int", r#""5""#, Cell::Integer(5));
    check("bigint", "9223372036854775807", Cell::Integer(i64::MAX));
    check("int", "1.9", Cell::Integer(1));
    check("tinyint", "-128", Cell::Integer(-128));
    check("double", "1e3", Cell::Float(1000.0));
    check("double", r#""1.5""#, Cell::Float(1.5));
    check("boolean", "true", Cell::Boolean(true));
    check("boolean", r#""False""#, Cell::Boolean(false));
    check("decimal(22,2)", "12345678901234567890.12", Cell::Decimal(1_234_567_890_123_456_789_012));
    check("decimal(4,2)", "12.345", Cell::Decimal(1235));
    check("decimal(4,2)", "-0.005", Cell::Decimal(-1));
    check("decimal(4,2)", "1.2e1", Cell::Decimal(1200));
    check("decimal(4,2)", "1e-1000000000", Cell::Decimal(0));
    check("date", r#""1970-01-03""#, Cell::Date(2));
    check("timestamp", r#""1970-01-01T00:00:01Z""#, Cell::Timestamp(1_000));
    check("timestamp", "1.5", Cell::Timestamp(1_500));
    check("binary", r#""aGk=""#, Cell::Bytes(b"hi".to_vec()));
    check("array<int>", "[1,null]", Cell::List(vec![Cell::Integer(1), Cell::Null]));
    check("struct<A:int,b:string>", r#"{"a":1,"x":2}"#, Cell::Struct(vec![Cell::Integer(1), Cell::Null]));
    check("map<string,int>", r#"{"K":1}"#, Cell::Map(vec![(text("K"), Cell::Integer(1))]));
}

#[test]
fn values_that_do_not_fit_say_why() {
    let check = |kind: &str, value: &str, expected: &str| {
        let found = cell(&reading(), kind, &format!(r#"{{"c":{value}}}"#)).unwrap_err();
        assert!(found.contains(expected), "{value} as {kind}: {found}");
    };
    check("double", r#""oops""#, r#"For input string: "oops""#);
    check("int", r#""1.5""#, r#"For input string: "1.5""#);
    check("int", "[1]", r#"For input string: "[1]""#);
    check("tinyint", "128", "128 is out of the range of Int8");
    check("decimal(4,2)", "12345.67", "12345.67 is out of the range");
    check("decimal(4,2)", "99.995", "is out of the range");
    check("decimal(4,2)", "1e1000000000", "is out of the range");
    check("decimal(4,2)", r#""1e99999999999999999999""#, "For input string");
    check("struct<a:int>", "42", "Data is not JSONObject but 42");
    check("array<int>", "42", "Data is not JSONArray but 42");
    check("boolean", "1", "Data is not Boolean but 1");
    check("timestamp", r#""yesterday""#, "yesterday is not a timestamp");
    check("date", "true", "true is not a date");
    check("binary", r#""???""#, "not base64");
}

#[test]
fn keys_become_columns() {
    let check = |reading: &Reading, json: &str, expected: Cell| {
        assert_eq!(cell(reading, "int", json), Ok(expected), "{json} with {reading:?}");
    };
    check(&reading(), r#"{"C":1}"#, Cell::Integer(1));
    check(&reading(), r#"{"other":1}"#, Cell::Null);
    let sensitive = Reading { is_case_insensitive: false, ..reading() };
    check(&sensitive, r#"{"C":1}"#, Cell::Null);
    let mapped = Reading { keys: BTreeMap::from([("c".to_owned(), "Timestamp".to_owned())]), ..reading() };
    check(&mapped, r#"{"timestamp":1,"c":2}"#, Cell::Integer(1));
    check(&Reading { is_case_insensitive: false, ..mapped }, r#"{"Timestamp":3}"#, Cell::Integer(3));
    let dotted =
        Reading { dots_to_underscores: true, keys: BTreeMap::from([("c".to_owned(), "a_b".to_owned())]), ..reading() };
    check(&dotted, r#"{"a.b":1}"#, Cell::Integer(1));
}
