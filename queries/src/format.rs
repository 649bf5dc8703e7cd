//! An answer as text: a table for people, JSON or CSV for programs.

use std::str::FromStr;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::{Number, Value};

use crate::result::{QueryResult, ResultColumn};

/// How an answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// An array of objects: numbers and booleans as such, all else as strings, NULL as null.
    Json,
    /// A header and a line a row (RFC 4180); NULL is empty, and the empty string is `""`.
    Csv,
}

/// Not the name of a format.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the format is one of table, json and csv")]
pub struct FormatError;

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<Self, FormatError> {
        match name {
            "table" => Ok(Format::Table),
            "json" => Ok(Format::Json),
            "csv" => Ok(Format::Csv),
            _ => Err(FormatError),
        }
    }
}

impl Format {
    /// The answer as text that ends with a line feed.
    pub fn show(self, result: &QueryResult) -> String {
        match self {
            Format::Table => table(result),
            Format::Json => json(result),
            Format::Csv => csv(result),
        }
    }
}

fn table(result: &QueryResult) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(result.columns.iter().map(|column| column.name.as_str()));
    for row in &result.rows {
        let cells = row.iter().zip(&result.columns).map(|(cell, column)| {
            let alignment = if column.is_number() { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(cell.as_deref().unwrap_or_default()).set_alignment(alignment)
        });
        table.add_row(cells);
    }
    format!("{table}\n")
}

fn json(result: &QueryResult) -> String {
    let object = |row: &Vec<Option<String>>| {
        let cells = row.iter().zip(&result.columns);
        let members = cells.map(|(cell, column)| {
            format!("{}:{}", Value::from(column.name.as_str()), json_value(column, cell.as_deref()))
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    };
    let rows: Vec<String> = result.rows.iter().map(object).collect();
    if rows.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", rows.join(",\n")) }
}

/// A cell as JSON. A number stays digit for digit what it is; one that JSON cannot write (`NaN`) becomes a string.
fn json_value(column: &ResultColumn, cell: Option<&str>) -> String {
    let Some(cell) = cell else { return "null".to_owned() };
    let is_literal = column.is_boolean() && matches!(cell, "true" | "false")
        || column.is_number() && serde_json::from_str::<Number>(cell).is_ok();
    if is_literal { cell.to_owned() } else { Value::from(cell).to_string() }
}

fn csv(result: &QueryResult) -> String {
    let mut text = String::new();
    let header: Vec<Option<&str>> = result.columns.iter().map(|column| Some(column.name.as_str())).collect();
    csv_line(&mut text, &header);
    for row in &result.rows {
        csv_line(&mut text, &row.iter().map(Option::as_deref).collect::<Vec<_>>());
    }
    text
}

fn csv_line(text: &mut String, cells: &[Option<&str>]) {
    for (position, cell) in cells.iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        match cell {
            None => {}
            Some(cell) if cell.is_empty() || cell.contains(['"', ',', '\n', '\r']) => {
                text.push('"');
                text.push_str(&cell.replace('"', "\"\""));
                text.push('"');
            }
            Some(cell) => text.push_str(cell),
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::result::Statistics;

    fn result(columns: &[(&str, &str)], rows: &[&[Option<&str>]]) -> QueryResult {
        let column = |(name, kind): &(&str, &str)| ResultColumn { name: (*name).into(), kind: (*kind).into() };
        QueryResult {
            query_execution_id: "id".into(),
            columns: columns.iter().map(column).collect(),
            rows: rows.iter().map(|row| row.iter().map(|cell| cell.map(str::to_owned)).collect()).collect(),
            statistics: Statistics::default(),
        }
    }

    fn check(format: &str, result: &QueryResult, expect: &Expect) {
        expect.assert_eq(&format.parse::<Format>().unwrap().show(result));
    }

    fn sample() -> QueryResult {
        result(
            &[
                ("name", "varchar"),
                ("n", "bigint"),
                ("x", "double"),
                ("d", "decimal(18,6)"),
                ("b", "boolean"),
                ("t", "timestamp(3)"),
            ],
            &[
                &[
                    Some("a \"b\", c"),
                    Some("9007199254740993"),
                    Some("1.0E-4"),
                    Some("0.50"),
                    Some("true"),
                    Some("2026-11-22 17:00:00.000"),
                ],
                &[Some(""), None, Some("NaN"), None, Some("false"), None],
            ],
        )
    }

    #[test]
    fn tables() {
        check(
            "table",
            &sample(),
            &expect![[r#"
                ┌──────────┬──────────────────┬────────┬──────┬───────┬─────────────────────────┐
                │ name     ┆ n                ┆ x      ┆ d    ┆ b     ┆ t                       │
                ╞══════════╪══════════════════╪════════╪══════╪═══════╪═════════════════════════╡
                │ a "b", c ┆ 9007199254740993 ┆ 1.0E-4 ┆ 0.50 ┆ true  ┆ 2026-11-22 17:00:00.000 │
                │          ┆                  ┆    NaN ┆      ┆ false ┆                         │
                └──────────┴──────────────────┴────────┴──────┴───────┴─────────────────────────┘
            "#]],
        );
        check(
            "table",
            &result(&[("n", "bigint")], &[]),
            &expect![[r#"
                ┌───┐
                │ n │
                ╞═══╡
                └───┘
            "#]],
        );
    }

    #[test]
    fn json_has_numbers_where_columns_have() {
        check(
            "json",
            &sample(),
            &expect![[r#"
                [
                {"name":"a \"b\", c","n":9007199254740993,"x":1.0E-4,"d":0.50,"b":true,"t":"2026-11-22 17:00:00.000"},
                {"name":"","n":null,"x":"NaN","d":null,"b":false,"t":null}
                ]
            "#]],
        );
        check(
            "json",
            &result(&[("n", "bigint")], &[]),
            &expect![[r#"
            []
        "#]],
        );
    }

    #[test]
    fn csv_tells_null_from_empty() {
        check(
            "csv",
            &sample(),
            &expect![[r#"
            name,n,x,d,b,t
            "a ""b"", c",9007199254740993,1.0E-4,0.50,true,2026-11-22 17:00:00.000
            "",,NaN,,false,
        "#]],
        );
    }

    #[test]
    fn other_formats_are_refused() {
        assert_eq!("xml".parse::<Format>(), Err(FormatError));
    }
}
