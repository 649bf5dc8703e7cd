//! Records to Parquet files, read back, and the configuration with its refusals.

use bytes::Bytes;
use datafusion::common::assert_batches_eq;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use serde_json::{Value, json};

use super::{Conversion, Converted, columns, pinned, read};
use crate::firehose::segment::Entry;

fn given() -> Value {
    json!({
        "InputFormatConfiguration": { "Deserializer": { "OpenXJsonSerDe": {} } },
        "OutputFormatConfiguration": { "Serializer": { "ParquetSerDe": {} } },
        "SchemaConfiguration": { "RoleARN": "arn:aws:iam::000000000000:role/r", "DatabaseName": "d", "TableName": "t" },
    })
}

fn conversion(given: &Value) -> Conversion {
    read(given, false, Some(64)).unwrap().unwrap()
}

fn table(columns: &[(&str, &str)]) -> Value {
    let columns: Vec<Value> = columns.iter().map(|(name, kind)| json!({ "Name": name, "Type": kind })).collect();
    json!({ "Name": "t", "StorageDescriptor": { "Columns": columns }, "PartitionKeys": [{ "Name": "day", "Type": "string" }] })
}

fn convert(conversion: &Conversion, table: &Value, records: &[&str]) -> Converted {
    let entry = |record: &&str| Entry { arrival_ms: 0, data: Bytes::copy_from_slice(record.as_bytes()), place: None };
    let entries: Vec<Entry> = records.iter().map(entry).collect();
    conversion.convert(&entries, &columns(table).unwrap()).unwrap()
}

#[test]
fn records_become_rows_of_every_type() {
    let table = table(&[
        ("Id", "string"),
        ("n", "int"),
        ("price", "decimal(10,2)"),
        ("at", "timestamp"),
        ("day_of", "date"),
        ("tags", "array<string>"),
        ("geo", "struct<lat:double,lon:double>"),
        ("attrs", "map<string,int>"),
    ]);
    let records = [
        r#"{"ID":"a","n":1,"price":1.255,"at":"2026-01-02 03:04:05","day_of":"2026-01-02","tags":["x","y"],"geo":{"lat":1.5,"lon":2},"attrs":{"K":7},"extra":true}"#,
        "{\"id\":\"b\"}{\"id\":\"c\",\"at\":1767323045,\"tags\":[]}\n",
    ];
    let converted = convert(&conversion(&given()), &table, &records);
    assert!(converted.failed.is_empty());
    let file = Bytes::from(converted.file.unwrap());
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let group = reader.metadata().row_group(0);
    assert_eq!((reader.metadata().num_row_groups(), group.column(0).compression()), (1, Compression::SNAPPY));
    assert_eq!(group.column(0).dictionary_page_offset(), None);
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    let expected = [
        "+----+---+-------+---------------------+------------+--------+----------------------+--------+",
        "| id | n | price | at                  | day_of     | tags   | geo                  | attrs  |",
        "+----+---+-------+---------------------+------------+--------+----------------------+--------+",
        "| a  | 1 | 1.26  | 2026-01-02T03:04:05 | 2026-01-02 | [x, y] | {lat: 1.5, lon: 2.0} | {K: 7} |",
        "| b  |   |       |                     |            |        |                      |        |",
        "| c  |   |       | 2026-01-02T03:04:05 |            | []     |                      |        |",
        "+----+---+-------+---------------------+------------+--------+----------------------+--------+",
    ];
    assert_batches_eq!(expected, &batches);
}

#[test]
fn records_fail_one_by_one_and_whole() {
    let table = table(&[("a", "int")]);
    let check = |record: &str, code: &str, message: &str| {
        let converted = convert(&conversion(&given()), &table, &[r#"{"a":1}"#, record]);
        let [(1, reason)] = converted.failed.as_slice() else { panic!("{record}: {:?}", converted.failed) };
        assert_eq!(reason.code, format!("DataFormatConversion.{code}"), "{record}");
        assert!(reason.message.contains(message), "{record}: {}", reason.message);
        let file = Bytes::from(converted.file.unwrap());
        assert_eq!(ParquetRecordBatchReaderBuilder::try_new(file).unwrap().metadata().file_metadata().num_rows(), 1);
    };
    check(r#"{"a":"x"}"#, "MalformedData", r#"Data does not match the schema. For input string: "x""#);
    check(r#"{"a":1}{"a":"x"}"#, "MalformedData", "For input string");
    check(r#"[{"a":1}]"#, "MalformedData", "array at the top level");
    check("7", "MalformedData", "primitive at the top level");
    check(" \n", "MalformedData", "The record was empty or contained only whitespace.");
    check("", "MalformedData", "The record was empty or contained only whitespace.");
    check("{nothing", "ParseError", "Encountered malformed JSON.");
    check(r#"{"a":1} and more"#, "ParseError", "Encountered malformed JSON.");
    check("{\"a\":\"\u{1}\"}", "ParseError", "Encountered malformed JSON.");
    let none = convert(&conversion(&given()), &table, &["no"]);
    assert!(none.file.is_none() && none.failed.len() == 1);
}

#[test]
fn properties_are_those_asked_for() {
    let mut asked = given();
    asked["OutputFormatConfiguration"]["Serializer"]["ParquetSerDe"] =
        json!({ "Compression": "GZIP", "EnableDictionaryCompression": true, "WriterVersion": "V2" });
    let converted = convert(&conversion(&asked), &table(&[("a", "string")]), &[r#"{"a":"x"}"#, r#"{"a":"x"}"#]);
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(converted.file.unwrap())).unwrap();
    let column = reader.metadata().row_group(0).column(0);
    assert!(matches!(column.compression(), Compression::GZIP(_)) && column.dictionary_page_offset().is_some());
    assert_eq!(reader.metadata().file_metadata().version(), 2);
}

#[test]
fn many_rows_are_written_in_batches() {
    let records: Vec<String> = (0..20_000).map(|number| format!(r#"{{"a":{number}}}"#)).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let converted = convert(&conversion(&given()), &table(&[("a", "bigint")]), &records);
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(converted.file.unwrap())).unwrap();
    assert_eq!((reader.metadata().file_metadata().num_rows(), converted.failed.len()), (20_000, 0));
}

#[test]
fn configurations_are_refused_in_the_services_order() {
    let check = |path: &str, value: Value, expected: &str| {
        let mut asked = given();
        let (parent, member) = path.rsplit_once('/').unwrap();
        let parent = if parent.is_empty() { &mut asked } else { asked.pointer_mut(parent).unwrap() };
        parent[member] = value;
        let found = read(&asked, false, Some(64)).unwrap_err().to_string();
        assert!(found.contains(expected), "{path}: {found}");
    };
    check("/InputFormatConfiguration", Value::Null, "InputFormatConfiguration must not be null");
    check("/OutputFormatConfiguration", Value::Null, "OutputFormatConfiguration must not be null");
    check("/SchemaConfiguration", Value::Null, "SchemaConfiguration must not be null");
    check("/InputFormatConfiguration/Deserializer", json!({}), "Deserializer must not be null");
    check("/InputFormatConfiguration/Deserializer/HiveJsonSerDe", json!({}), "More than one deserializer specified.");
    check("/OutputFormatConfiguration/Serializer", json!({}), "Serializer must not be null");
    check("/OutputFormatConfiguration/Serializer/OrcSerDe", json!({}), "More than one serializer specified.");
    check("/OutputFormatConfiguration/Serializer", json!({ "OrcSerDe": {} }), "OrcSerDe is not implemented");
    check("/SchemaConfiguration/RoleARN", Value::Null, "SchemaConfiguration.RoleArn must not be null or empty");
    check("/SchemaConfiguration/TableName", json!(""), "SchemaConfiguration.TableName must not be null or empty");
    let parquet = "/OutputFormatConfiguration/Serializer/ParquetSerDe";
    check(parquet, json!({ "Compression": "ZSTD" }), "enum value set: [GZIP, SNAPPY, UNCOMPRESSED]");
    check(parquet, json!({ "BlockSizeBytes": 1 }), "greater than or equal to 67108864");
    check(parquet, json!({ "PageSizeBytes": 1 }), "greater than or equal to 65536");
    let hive = json!({ "HiveJsonSerDe": { "TimestampFormats": ["GG"] } });
    check("/InputFormatConfiguration/Deserializer", hive, "GG is not a format that is read here");
    assert!(read(&given(), true, None).unwrap_err().to_string().contains("must be set to UNCOMPRESSED"));
    let small = read(&given(), false, Some(63)).unwrap_err().to_string();
    assert_eq!(small, "BufferingHints.SizeInMBs must be at least 64 when data format conversion is enabled.");
    let mut off = given();
    off["Enabled"] = json!(false);
    assert!(read(&off, true, Some(1)).unwrap().is_none());
}

#[test]
fn a_version_that_was_asked_for_stays() {
    let mut asked = given();
    let latest = conversion(&asked);
    asked["SchemaConfiguration"]["VersionId"] = json!("3");
    let third = conversion(&asked);
    let input = table(&[("a", "int")]);
    assert_eq!(pinned(&latest, None, Some((input.clone(), 9))), Ok(None));
    let kept = pinned(&third, None, Some((input.clone(), 3))).unwrap().unwrap();
    assert_eq!(kept["StorageDescriptor"], input["StorageDescriptor"]);
    assert_eq!(pinned(&third, Some(&kept), Some((table(&[("b", "int")]), 4))), Ok(Some(kept)));
    let check = |conversion: &Conversion, found: Option<(Value, u64)>, expected: &str| {
        let error = pinned(conversion, None, found).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    check(&third, Some((input, 4)), "Version 3 of table t of database d not found");
    check(&latest, None, "Table t of database d not found.");
    check(&latest, Some((table(&[]), 0)), "The schema is invalid. The table has no columns.");
    check(&latest, Some((table(&[("u", "uniontype<int>")]), 0)), "Column u");
}
