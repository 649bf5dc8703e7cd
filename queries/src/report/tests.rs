//! Reports against the tables that they read.

use std::collections::HashSet;

use events::table::{PARTITIONS, TABLES};
use proptest::prelude::*;

use super::header::HeaderError;
use super::*;

fn without_comments(sql: &str) -> String {
    let lines = sql.lines().filter(|line| !line.trim_start().starts_with("--"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The words of a text of SQL outside of quotes.
fn words(sql: &str) -> HashSet<String> {
    let unquoted: String = sql.split('\'').step_by(2).collect::<Vec<_>>().join(" ");
    let words = unquoted.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The names of the answer's columns: the last word of each part of the first SELECT list.
fn selected(sql: &str) -> Vec<String> {
    let list = sql.split_once("SELECT ").unwrap().1.split_once("\nFROM ").unwrap().0;
    list.lines().map(|line| line.trim().trim_end_matches(',').rsplit(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn headers_say_what_the_sql_does() {
    for report in reports() {
        let name = report.name;
        let columns: Vec<&str> = report.columns.iter().map(|(column, _)| *column).collect();
        assert_eq!(selected(report.text), columns, "{name}");
        let parameters: Vec<&str> = report.parameters.iter().map(|(parameter, _)| *parameter).collect();
        assert_eq!(parameters, ["d0", "d1"], "{name}");
        assert!(report.text.contains("event_date BETWEEN :d0 AND :d1"), "{name}: the scan is cut to the days");
        let is_read = ["\n", " AS "].iter().any(|end| report.text.contains(&format!("FROM {}{end}", report.table)));
        assert!(is_read, "{name}");
    }
}

#[test]
fn reports_use_only_columns_that_tables_have() {
    // Words of SQL, in capitals or not, that are no columns.
    let functions = [
        "coalesce",
        "false",
        "count",
        "count_if",
        "sum",
        "max",
        "min",
        "approx_distinct",
        "approx_percentile",
        "date_diff",
        "date_trunc",
        "concat_ws",
        "from_base64",
        "from_utf8",
        "row_number",
        "true",
    ];
    for report in reports() {
        let table = TABLES.iter().find(|table| table.name == report.table).unwrap();
        let text = without_comments(report.text);
        let read = TABLES.iter().filter(|table| text.contains(&format!("FROM {}", table.name)));
        let mut known: HashSet<&str> = HashSet::new();
        for table in read {
            known.insert(table.name);
            known.extend(table.columns.iter().map(|column| column.name));
        }
        // Names that the text itself gives.
        known.extend(text.split(" AS ").skip(1).map(|rest| rest.split([',', '\n', ' ', ')']).next().unwrap()));
        known.extend(PARTITIONS.map(|(name, _)| name));
        known.extend(functions.into_iter().chain(["double", "d0", "d1", "1e4", "1e6", table.name]));
        known.extend(report.columns.iter().map(|(column, _)| *column));
        for word in words(&text) {
            let is_keyword_or_number = word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
            assert!(is_keyword_or_number || known.contains(word.as_str()), "{}: {word}", report.name);
        }
        // A name of the answer that is no column of the table must come from an AS.
        for (column, _) in &report.columns {
            let is_column = table.columns.iter().any(|ours| ours.name == *column)
                || PARTITIONS.iter().any(|(name, _)| name == column);
            assert!(is_column || report.text.contains(&format!(" AS {column}")), "{}: {column}", report.name);
        }
    }
}

#[test]
fn names_are_those_of_the_files() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut names: Vec<&str> = reports().iter().map(|report| report.name).collect();
    files.sort();
    names.sort_unstable();
    assert_eq!(names, files);
    assert!(report(names[0]).is_some() && report("no_such_report").is_none());
}

#[test]
fn days_become_date_literals() {
    let sql = report("latency_percentiles_hourly").unwrap().sql("2026-11-01", "2026-11-02").unwrap();
    assert!(sql.contains("event_date BETWEEN DATE '2026-11-01' AND DATE '2026-11-02'"), "{sql}");
    assert!(!sql.contains(':'), "no parameter is left");
}

#[test]
fn what_is_no_range_of_days_is_refused() {
    for (first, last, expect) in [
        ("2026-11-02", "2026-11-01", DaysError::Reversed),
        ("2025-01-01", "2026-11-01", DaysError::TooMany),
        ("2026-02-30", "2026-11-01", DaysError::NotADay),
        ("2026-1-1", "2026-11-01", DaysError::NotADay),
        ("'; DROP TABLE imps", "2026-11-01", DaysError::NotADay),
        ("", "", DaysError::NotADay),
    ] {
        assert_eq!(days(first, last), Err(expect), "{first} {last}");
    }
}

#[test]
fn headers_that_are_not_understood_are_refused() {
    for (text, expect) in [
        ("SELECT 1", HeaderError::Missing("title")),
        ("-- title: a\n-- question: b\nSELECT 1", HeaderError::Missing("table")),
        ("-- title: a\n-- what is this\nSELECT 1", HeaderError::Line(2)),
        ("-- column: a\n", HeaderError::Line(1)),
        ("-- title: without an end", HeaderError::Line(1)),
    ] {
        assert_eq!(Report::parse("name", text), Err(expect), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_gets_into_the_sql(first in "\\PC*", last in "\\PC*") {
        if let Ok(sql) = report("failed_events_hourly").unwrap().sql(&first, &last) {
            prop_assert!(sql.contains(&first) && first.len() == 10);
        }
    }
}
