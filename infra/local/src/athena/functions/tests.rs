//! What a query answers, as text, beside what Trino's documentation says it answers.

use futures::TryStreamExt as _;

use crate::athena::engine::Engine;
use crate::athena::error::QueryError;
use crate::athena::render;
use crate::athena::statement::{self, Statement};
use crate::glue::Glue;
use crate::s3::S3;

struct Sql {
    _directory: tempfile::TempDir,
    engine: Engine,
}

impl Sql {
    async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let s3 = S3::open(directory.path().join("s3")).await.unwrap();
        let glue = Glue::open(directory.path().join("glue")).await.unwrap();
        Self { engine: Engine::new(glue, s3).unwrap(), _directory: directory }
    }

    /// All values, columns with `|` between and rows with a line end.
    async fn run(&self, sql: &str) -> Result<String, QueryError> {
        let Statement::Query(query) = statement::parse(sql)? else { panic!("{sql} is a query") };
        let running = self.engine.start(query, "default", 0).await?;
        let batches: Vec<_> = running.rows.try_collect().await?;
        let mut rows = Vec::new();
        for batch in batches {
            for row in 0..batch.num_rows() {
                let values = batch.columns().iter().map(|column| render::text(column, row).unwrap());
                rows.push(values.map(|value| value.unwrap_or_else(|| "NULL".to_owned())).collect::<Vec<_>>().join("|"));
            }
        }
        Ok(rows.join("\n"))
    }

    async fn check_all(&self, cases: &[(&str, &str)]) {
        let mut wrong = Vec::new();
        for (sql, expected) in cases {
            let sql = if sql.starts_with("SELECT") || sql.starts_with("WITH") {
                (*sql).to_owned()
            } else {
                format!("SELECT {sql}")
            };
            let found = match self.run(&sql).await {
                Ok(found) => found,
                Err(error) => error.message,
            };
            if found != *expected && !(expected.ends_with('…') && found.starts_with(expected.trim_end_matches('…')))
            {
                wrong.push(format!("{sql}\n  expected {expected}\n  found    {found}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[tokio::test]
async fn dates_and_times() {
    let cases = [
        ("date_diff('second', TIMESTAMP '2020-03-01 00:00:00', TIMESTAMP '2020-03-02 00:00:00')", "86400"),
        ("date_diff('day', DATE '2020-03-01', DATE '2020-03-02')", "1"),
        ("date_diff('day', TIMESTAMP '2020-03-01 12:00:00', TIMESTAMP '2020-03-02 11:59:59')", "0"),
        ("date_diff('hour', TIMESTAMP '2020-03-02 00:00:00', TIMESTAMP '2020-03-01 22:30:00')", "-1"),
        ("date_diff('month', DATE '2020-01-31', DATE '2020-02-29')", "1"),
        ("date_diff('month', DATE '2020-01-31', DATE '2020-02-28')", "0"),
        ("date_diff('year', DATE '2019-03-02', DATE '2020-03-01')", "0"),
        ("date_diff('quarter', DATE '2019-01-01', DATE '2020-01-01')", "4"),
        (
            "date_diff('hour', DATE '2019-01-01', DATE '2020-01-01')",
            "GENERIC_USER_ERROR: 'hour' is not a valid DATE field",
        ),
        (
            "date_diff('fortnight', DATE '2019-01-01', DATE '2020-01-01')",
            "GENERIC_USER_ERROR: 'fortnight' is not a valid time unit",
        ),
        ("date_add('second', 86, TIMESTAMP '2020-03-01 00:00:00')", "2020-03-01 00:01:26.000"),
        ("date_add('hour', 9, TIMESTAMP '2020-03-01 00:00:00')", "2020-03-01 09:00:00.000"),
        ("date_add('day', -1, TIMESTAMP '2020-03-01 00:00:00')", "2020-02-29 00:00:00.000"),
        ("date_add('month', 1, DATE '2020-01-31')", "2020-02-29"),
        ("date_add('week', 1, DATE '2020-01-31')", "2020-02-07"),
        ("year(DATE '2020-02-29'), month(DATE '2020-02-29'), day(DATE '2020-02-29')", "2020|2|29"),
        ("hour(TIMESTAMP '2020-02-29 13:14:15.678'), minute(TIMESTAMP '2020-02-29 13:14:15.678')", "13|14"),
        ("second(TIMESTAMP '2020-02-29 13:14:15.678'), millisecond(TIMESTAMP '2020-02-29 13:14:15.678')", "15|678"),
        ("day_of_week(DATE '2026-11-22'), day_of_week(DATE '2026-11-23'), day_of_year(DATE '2020-12-31')", "7|1|366"),
        ("week(DATE '2021-01-03'), year_of_week(DATE '2021-01-03'), quarter(DATE '2021-05-03')", "53|2020|2"),
        ("EXTRACT(DOW FROM DATE '2026-11-22'), EXTRACT(HOUR FROM TIMESTAMP '2020-01-01 07:00:00')", "7|7"),
        (
            "hour(DATE '2020-01-01')",
            "FUNCTION_NOT_FOUND: Unexpected parameters (date) for a function of the time of day",
        ),
        ("date_trunc('hour', TIMESTAMP '2001-08-22 03:04:05.321')", "2001-08-22 03:00:00.000"),
        ("date_trunc('week', DATE '2001-08-22')", "2001-08-20"),
        ("date_trunc('month', DATE '2001-08-22')", "2001-08-01"),
        ("date_trunc('quarter', TIMESTAMP '2001-08-22 03:04:05.321')", "2001-07-01 00:00:00.000"),
        ("from_unixtime(1.5)", "1970-01-01 00:00:01.500 UTC"),
        ("from_unixtime(1600000000)", "2020-09-13 12:26:40.000 UTC"),
        ("to_unixtime(TIMESTAMP '1970-01-01 00:00:01.500')", "1.5"),
        ("from_iso8601_timestamp('2020-05-11T11:15:05.055Z')", "2020-05-11 11:15:05.055 UTC"),
        (
            "from_iso8601_timestamp('2020-05-11T11:15:05+02:00')",
            "GENERIC_USER_ERROR: from_iso8601_timestamp with an offset…",
        ),
        ("from_iso8601_date('2020-05-11')", "2020-05-11"),
        ("date_format(TIMESTAMP '2022-10-20 05:10:00', '%m-%d-%Y %H')", "10-20-2022 05"),
        (
            "format_datetime(TIMESTAMP '2022-10-20 05:10:00.123', 'yyyy-MM-dd''T''HH:mm:ss.SSS')",
            "2022-10-20T05:10:00.123",
        ),
        ("CAST(TIMESTAMP '2026-11-20 10:11:12' AS varchar)", "2026-11-20 10:11:12.000"),
        ("DATE '2020-01-02' - DATE '2020-01-01'", "SYNTAX_ERROR: date - date is an interval in Athena…"),
        ("TIMESTAMP '2020-01-02 00:00:00' - TIMESTAMP '2020-01-01 23:00:00'", "0 01:00:00.000"),
        ("date('2020-01-02'), date(TIMESTAMP '2020-01-02 10:00:00')", "2020-01-02|2020-01-02"),
        ("date_diff('day', NULL, DATE '2020-01-01')", "NULL"),
        (
            "current_timestamp > TIMESTAMP '2020-01-01 00:00:00', TIMESTAMP '2020-01-01 00:00:00' > now() - INTERVAL '1' HOUR",
            "true|false",
        ),
        ("date_diff('second', current_timestamp, now()), current_date >= DATE '2020-01-01'", "0|true"),
        (
            "TIMESTAMP '2020-01-31 00:00:00' + INTERVAL '1' DAY, DATE '2020-01-31' + INTERVAL '1' MONTH",
            "2020-02-01 00:00:00.000|2020-02-29",
        ),
    ];
    Sql::open().await.check_all(&cases).await;
}

#[tokio::test]
async fn zones_of_each_row() {
    let cases = [
        (
            "TIMESTAMP '2012-10-31 01:00:00' AT TIME ZONE 'America/Los_Angeles'",
            "2012-10-30 18:00:00.000 America/Los_Angeles",
        ),
        ("hour(at_timezone(TIMESTAMP '2026-11-20 03:00:00', 'America/New_York'))", "22"),
        ("day_of_week(at_timezone(TIMESTAMP '2026-11-20 03:00:00', 'America/New_York'))", "4"),
        ("at_timezone(TIMESTAMP '2026-07-01 12:00:00', '+05:30')", "2026-07-01 17:30:00.000 +05:30"),
        (
            "SELECT hour(at_timezone(t, z)) FROM (VALUES (TIMESTAMP '2026-07-01 12:00:00', 'Europe/Berlin'), (TIMESTAMP '2026-01-01 12:00:00', 'Europe/Berlin'), (TIMESTAMP '2026-01-01 12:00:00', NULL)) v (t, z)",
            "14\n13\nNULL",
        ),
        (
            "at_timezone(TIMESTAMP '2026-07-01 12:00:00', 'Mars/Base')",
            "GENERIC_USER_ERROR: 'Mars/Base' is not a valid time zone",
        ),
        (
            "CAST(at_timezone(TIMESTAMP '2026-11-20 03:00:00', 'Europe/Berlin') AS varchar)",
            "2026-11-20 04:00:00.000 Europe/Berlin",
        ),
        (
            "CAST(at_timezone(TIMESTAMP '2026-11-20 03:00:00', 'Europe/Berlin') AS date)",
            "SYNTAX_ERROR: CAST of at_timezone…",
        ),
        (
            "date_diff('hour', at_timezone(TIMESTAMP '2026-11-20 03:00:00', 'Europe/Berlin'), TIMESTAMP '2026-11-20 05:00:00')",
            "2",
        ),
        ("to_unixtime(at_timezone(TIMESTAMP '1970-01-01 00:00:01', 'Europe/Berlin'))", "1.0"),
        (
            "date_trunc('day', at_timezone(TIMESTAMP '2026-11-20 03:00:00', 'Europe/Berlin'))",
            "GENERIC_USER_ERROR: date_trunc of at_timezone…",
        ),
    ];
    Sql::open().await.check_all(&cases).await;
}

#[tokio::test]
async fn aggregates() {
    let rows = "FROM (VALUES (1, 'a', 5), (2, 'b', NULL), (3, NULL, 7), (4, 'd', 1)) t (n, s, k)";
    let cases = [
        ("SELECT count_if(n > 2), count_if(n > 9), count_if(s IS NULL)", "2|0|1"),
        ("SELECT max_by(s, k), min_by(s, k), max_by(n, n)", "NULL|d|4"),
        ("SELECT arbitrary(k)", "5"),
        ("SELECT approx_percentile(n, 0.5), approx_percentile(n, 1.0)", "3|4"),
        ("SELECT approx_percentile(n, ARRAY[0.0, 1.0])", "[1, 4]"),
        ("SELECT approx_percentile(CAST(n AS double), 0.5) BETWEEN 2.0 AND 3.0", "true"),
        ("SELECT approx_percentile(k, 0.5) FILTER (WHERE k > 99)", "NULL"),
        ("SELECT approx_percentile(k, ARRAY[0.5]) FILTER (WHERE k > 99)", "NULL"),
        ("SELECT approx_percentile(n, 1.5)", "GENERIC_USER_ERROR: Percentile must be between 0 and 1"),
        ("SELECT approx_distinct(s), count(DISTINCT s), every(n > 0)", "3|3|true"),
        ("SELECT sum(n), avg(n), count(*)", "10|2.5|4"),
    ];
    let cases: Vec<(String, &str)> = cases.iter().map(|(sql, expected)| (format!("{sql} {rows}"), *expected)).collect();
    let cases: Vec<(&str, &str)> = cases.iter().map(|(sql, expected)| (sql.as_str(), *expected)).collect();
    let sql = Sql::open().await;
    sql.check_all(&cases).await;
    let grouped = "SELECT n % 2, max_by(s, k), count_if(k > 4), approx_percentile(n, ARRAY[1.0]) FROM (VALUES (1, 'a', 5), (2, 'b', NULL), (3, 'c', 7), (4, 'd', 1)) t (n, s, k) GROUP BY 1 ORDER BY 1";
    sql.check_all(&[(grouped, "0|d|0|[4]\n1|c|2|[3]")]).await;
}

/// The digest is exact at the ends and within a percent between, which is what Trino promises too.
#[tokio::test]
async fn percentiles_of_many() {
    let many = "FROM (SELECT a.n * 100 + b.n AS x FROM (SELECT unnest.n FROM UNNEST(range(0, 100)) AS unnest (n)) a CROSS JOIN (SELECT unnest.n FROM UNNEST(range(0, 100)) AS unnest (n)) b)";
    let sql = format!("SELECT approx_percentile(x, 0.95) BETWEEN 9400 AND 9600, approx_percentile(x, 0.0) {many}");
    assert_eq!(Sql::open().await.run(&sql).await.unwrap(), "true|0");
}

#[tokio::test]
async fn text_json_arrays_and_conditions() {
    let cases = [
        ("if(1 > 0, 'a', 'b'), if(1 < 0, 'a')", "a|NULL"),
        ("concat('a', 'b', 'c'), concat('a', NULL)", "abc|NULL"),
        ("substr('abc', 2), substr('abc', -2), substr('abc', 0), substr('abc', 2, 1), substr('abc', 9)", "bc|bc||b|"),
        ("substring('abc' FROM 2 FOR 1), substring('abc', -1)", "b|c"),
        ("greatest(1, NULL), least(2, 1), greatest(1, 3)", "NULL|1|3"),
        ("CAST('abcdef' AS varchar(3))", "abc"),
        ("regexp_replace('1a 2b 14m', '(\\d+)([ab]) ', '3c$2 '), regexp_replace('1a 2b', '[ab]')", "3ca 3cb 14m|1 2"),
        ("'a_b' LIKE 'a\\_b', 'a\\b' LIKE 'a\\b', 'a_b' LIKE 'a#_b' ESCAPE '#'", "false|true|true"),
        ("json_extract_scalar('{\"a\": {\"b\": [1, \"x\", null, true]}}', '$.a.b[1]')", "x"),
        ("json_extract_scalar('{\"a\": {\"b\": [1, \"x\", null, true]}}', '$.a.b[0]')", "1"),
        (
            "json_extract_scalar('{\"a\": {\"b\": [1]}}', '$.a.b'), json_extract_scalar('{\"a b\": 1.5}', '$[\"a b\"]')",
            "NULL|1.5",
        ),
        ("json_extract_scalar('not json', '$.a'), json_extract_scalar('{\"a\": null}', '$.a')", "NULL|NULL"),
        ("json_extract_scalar('{}', 'a')", "GENERIC_USER_ERROR: Invalid JSON path: 'a'"),
        ("json_extract_scalar('{}', '$.a[*]')", "GENERIC_USER_ERROR: wildcards in JSON paths…"),
        ("element_at(ARRAY[1, 2, 3], 1), element_at(ARRAY[1, 2, 3], -1), element_at(ARRAY[1, 2, 3], 4)", "1|3|NULL"),
        ("element_at(ARRAY[1, 2, 3], 0)", "GENERIC_USER_ERROR: SQL array indices start at 1"),
        ("element_at(MAP(ARRAY['a', 'b'], ARRAY[1, 2]), 'b'), element_at(MAP(ARRAY['a'], ARRAY[1]), 'z')", "2|NULL"),
        ("contains(ARRAY[1, 2], 2), cardinality(ARRAY[1, 2]), ARRAY['x', NULL]", "true|2|[x, null]"),
        ("mod(7, 3), 7 % 3, 7 / 2", "1|1|3"),
        ("length('äb'), upper('a'), strpos('abc', 'c')", "2|A|3"),
        ("UNNEST(ARRAY[1])", "NOT_SUPPORTED: UNNEST stands in FROM, not in an expression"),
        ("no_such_function(1)", "FUNCTION_NOT_FOUND: …"),
    ];
    Sql::open().await.check_all(&cases).await;
}

#[tokio::test]
async fn numbers_and_types() {
    let cases = [
        ("CAST(1.5e0 AS bigint), CAST(-1.5e0 AS integer), CAST(2.4e0 AS bigint)", "2|-2|2"),
        ("CAST(1.5 AS bigint), CAST(-0.4 AS bigint)", "2|0"),
        ("1.0 / 3, 1 / 3.00, 2.00 / 3", "0.3|0.33|0.67"),
        ("10 / 1000000.0, CAST(10 AS bigint) / 4.0", "0.0|2.5"),
        ("1.0 / 0", "DIVISION_BY_ZERO: Division by zero"),
        ("1e0 / 3, 1e10, 1.25e0, CAST(3 AS double) / 2", "0.3333333333333333|1.0E10|1.25|1.5"),
        ("0.1 + 0.2, 1.5 * 1.5", "0.3|2.25"),
        ("round(2.5e0), round(-2.5e0), round(3.14159e0, 2), round(1250, -2), round(7)", "3.0|-3.0|3.14|1300|7"),
        ("round(2.345, 2), round(-0.5), abs(-1.5), abs(-3), abs(-2.5e0)", "2.350|-1|1.5|3|2.5"),
        ("floor(-1.5e0), ceil(1.2e0), ceiling(3), truncate(-1.9e0), sign(-4), sign(0e0)", "-2.0|2.0|3|-1.0|-1|0.0"),
        ("sqrt(16), power(2, 10), ln(1), exp(0), log10(100), log2(8), cbrt(27)", "4.0|1024.0|0.0|1.0|2.0|3.0|3.0"),
        ("floor(1.5)", "FUNCTION_NOT_FOUND: floor, ceil, truncate and sign of a decimal are not supported…"),
        ("round(NULL), abs(NULL)", "NULL|NULL"),
        ("1 / 0", "DIVISION_BY_ZERO: Division by zero"),
        ("nullif(1, 1), coalesce(NULL, 2), TRY_CAST('x' AS integer)", "NULL|2|NULL"),
        ("CAST(1.5e0 AS varchar)", "SYNTAX_ERROR: CAST(Float64 AS varchar) is not supported…"),
        ("1 = '1'", "TYPE_MISMATCH: Cannot apply operator: bigint = varchar"),
        ("DATE '2020-01-01' = '2020-01-01'", "TYPE_MISMATCH: Cannot apply operator: date = varchar"),
        ("DATE '2020-01-01' IN ('2020-01-01')", "TYPE_MISMATCH: Cannot apply operator: date = varchar"),
        (
            "DATE '2020-01-01' BETWEEN '2020-01-01' AND '2020-01-02'",
            "TYPE_MISMATCH: Cannot apply operator: date >= varchar",
        ),
        ("DATE '2020-01-01' < TIMESTAMP '2020-01-01 00:00:01'", "true"),
        ("SELECT n FROM (VALUES (1), (NULL), (2)) t (n) ORDER BY n DESC", "2\n1\nNULL"),
        ("SELECT n FROM (VALUES (1), (NULL), (2)) t (n) ORDER BY n", "1\n2\nNULL"),
        ("WITH a AS (SELECT 1 AS x UNION ALL SELECT 2) SELECT count(*), count(*) FROM a", "2|2"),
        ("SELECT x FROM (SELECT 1 AS y)", "COLUMN_NOT_FOUND: Column 'x' cannot be resolved"),
        ("SELECT * FROM nowhere", "SCHEMA_NOT_FOUND: Schema 'default' does not exist"),
        ("SELECT * FROM '/etc/passwd'", "SCHEMA_NOT_FOUND: Schema 'default' does not exist"),
    ];
    Sql::open().await.check_all(&cases).await;
}

#[tokio::test]
async fn text_and_bytes() {
    let cases = [
        ("from_utf8(from_base64('eyJhIjoiw6kifQ=='))", "{\"a\":\"é\"}"),
        ("from_utf8(from_base64('Yf9i'))", "a\u{fffd}b"),
        ("to_base64(to_utf8('é')), from_utf8(to_utf8('x'))", "w6k=|x"),
        ("from_base64(CAST(NULL AS varchar)), from_utf8(NULL)", "NULL|NULL"),
        ("from_base64('YWJj')", "61 62 63"),
        ("from_base64('%')", "INVALID_FUNCTION_ARGUMENT: from_base64 was given what is no base64"),
        ("from_utf8('text')", "FUNCTION_NOT_FOUND: …"),
    ];
    Sql::open().await.check_all(&cases).await;
}
