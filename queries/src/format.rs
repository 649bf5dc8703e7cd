//! An answer as text: a table for people, JSON or CSV for programs.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::{Number, Value};

use crate::result::{QueryResult, ResultColumn};

/// Aligned columns, numbers to the right; at most `rows_max` rows, and a line that says how many there are beyond.
pub fn table(result: &QueryResult, rows_max: Option<usize>) -> String {
    let rows_max = rows_max.unwrap_or(usize::MAX);
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(result.columns.iter().map(|column| column.name.as_str()));
    for row in result.rows.iter().take(rows_max) {
        let cells = row.iter().zip(&result.columns).map(|(cell, column)| {
            let alignment = if column.is_number() { CellAlignment::Right } else { CellAlignment::Left };
            Cell::new(cell.as_deref().unwrap_or_default()).set_alignment(alignment)
        });
        table.add_row(cells);
    }
    match result.rows.len().saturating_sub(rows_max) {
        0 => format!("{table}\n"),
        more => format!("{table}\n… and {more} more\n"),
    }
}

/// An array of objects: numbers and booleans as such, all else as strings, NULL as null.
pub fn json(result: &QueryResult) -> String {
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

/// A header and a line a row (RFC 4180). NULL is empty, and the empty string is `""`.
pub fn csv(result: &QueryResult) -> String {
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
    use expect_test::expect;

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
        expect![[r#"
                ┌──────────┬──────────────────┬────────┬──────┬───────┬─────────────────────────┐
                │ name     ┆ n                ┆ x      ┆ d    ┆ b     ┆ t                       │
                ╞══════════╪══════════════════╪════════╪══════╪═══════╪═════════════════════════╡
                │ a "b", c ┆ 9007199254740993 ┆ 1.0E-4 ┆ 0.50 ┆ true  ┆ 2026-11-22 17:00:00.000 │
                │          ┆                  ┆    NaN ┆      ┆ false ┆                         │
                └──────────┴──────────────────┴────────┴──────┴───────┴─────────────────────────┘
            "#]]
        .assert_eq(&table(&sample(), None));
        expect![[r#"
                ┌───┐
                │ n │
                ╞═══╡
                └───┘
            "#]]
        .assert_eq(&table(&result(&[("n", "bigint")], &[]), None));
    }

    #[test]
    fn json_has_numbers_where_columns_have() {
        expect![[r#"
                [
                {"name":"a \"b\", c","n":9007199254740993,"x":1.0E-4,"d":0.50,"b":true,"t":"2026-11-22 17:00:00.000"},
                {"name":"","n":null,"x":"NaN","d":null,"b":false,"t":null}
                ]
            "#]]
        .assert_eq(&json(&sample()));
        assert_eq!(json(&result(&[("n", "bigint")], &[])), "[]\n");
    }

    #[test]
    fn csv_tells_null_from_empty() {
        expect![[r#"
            name,n,x,d,b,t
            "a ""b"", c",9007199254740993,1.0E-4,0.50,true,2026-11-22 17:00:00.000
            "",,NaN,,false,
        "#]]
        .assert_eq(&csv(&sample()));
    }

    #[test]
    fn a_long_answer_is_cut_for_people() {
        assert!(table(&sample(), Some(2)).ends_with("┘\n"));
        assert!(table(&sample(), Some(1)).ends_with("┘\n… and 1 more\n"));
    }
}
