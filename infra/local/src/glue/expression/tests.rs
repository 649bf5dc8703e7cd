//! The filter over a table with a key of each kind.

use proptest::prelude::{any, proptest};

use super::{Expression, ExpressionError, PartitionKey, like};

fn keys() -> Vec<PartitionKey> {
    [("year", "string"), ("month", "int"), ("day", "date"), ("price", "decimal(10,2)"), ("m", "map<string,int>")]
        .map(|(name, kind)| PartitionKey { name: name.to_owned(), kind: kind.to_owned() })
        .to_vec()
}

fn holds(expression: &str, values: [&str; 4]) -> bool {
    let parsed = Expression::parse(expression, &keys()).unwrap_or_else(|error| panic!("{expression}: {error}"));
    parsed.holds(&values.map(str::to_owned))
}

#[test]
fn comparisons_are_typed() {
    let partition = ["2026", "9", "2026-09-05", "10.50"];
    let check = |expression: &str, expected: bool| assert_eq!(holds(expression, partition), expected, "{expression}");
    check("", true);
    check("year = '2026'", true);
    check("year='2026' AND month > 5", true);
    check("month < 10", true);
    check("month = '09'", true);
    check("month < '10'", true);
    check("10 > month", true);
    check("year = 2026", true);
    check("day = '2026-09-05'", true);
    check("day >= DATE '2026-09-06'", false);
    check("day BETWEEN '2026-09-01' AND '2026-09-05'", true);
    check("price = 10.5", true);
    check("price > 9", true);
    check("price < -1", false);
    check("year IN ('2024','2025') AND month BETWEEN 2 AND 3", false);
    check("year IN ('2024', '2026')", true);
    check("month NOT IN (1, 2)", true);
    check("year >= '2025' AND (month = 1 OR month = 9)", true);
    check("year LIKE '202_' AND NOT month < 9", true);
    check("year LIKE '202_' AND NOT month < 10", false);
    check("year NOT LIKE '%27'", true);
    check("month <> 9 OR month != 9", false);
    check("NOT NOT month = 9", true);
    check("not (month = 8 or month = 9)", false);
    check("month = 8 AND month = 9 OR year = '2026'", true);
    check("\"year\" = '2026' and `MONTH` = 9", true);
    check("month IS NULL", false);
    check("month IS NOT NULL", true);
    check("year = 'it''s'", false);
}

#[test]
fn what_is_not_of_its_type_is_null() {
    let partition = ["2026", "__HIVE_DEFAULT_PARTITION__", "2026-02-30", ""];
    let check = |expression: &str, expected: bool| assert_eq!(holds(expression, partition), expected, "{expression}");
    check("month = 1", false);
    check("NOT month = 1", false);
    check("month NOT IN (1)", false);
    check("month LIKE '%'", false);
    check("month IS NULL", true);
    check("day < '2027-01-01'", false);
    check("month = 1 OR year = '2026'", true);
    check("month = 1 AND year = '2026'", false);
    check("NOT (month = 1 AND year = '2025')", true);
}

#[test]
fn faults_are_named() {
    let check = |expression: &str, expected: &str| {
        assert_eq!(Expression::parse(expression, &keys()).unwrap_err().to_string(), expected, "{expression}");
    };
    check("colour = 1", "colour is not a partition key");
    check("month = 'May'", "May is not a value of partition key month");
    check("month =", "expected a value at character 7 of the expression");
    check("month", "expected a comparison at character 5 of the expression");
    check("(month = 1", "expected a closing parenthesis at character 10 of the expression");
    check("month = 1 year", "expected AND, OR or the end at character 10 of the expression");
    check("year = 'x", "expected a closing quote at character 7 of the expression");
    check("year ~ 'x'", "expected a name, a value or an operator at character 5 of the expression");
    check("month IN ()", "expected a value at character 10 of the expression");
    check("month BETWEEN 1 OR 2", "expected AND at character 16 of the expression");
    check("m = 1", "partition key m has type map<string,int>, which expressions cannot compare");
    check(&"(".repeat(100), "the expression is nested deeper than 64 levels");
    check(&"x".repeat(2049), "the expression is longer than 2,048 characters");
    assert_eq!(Expression::parse(&"NOT ".repeat(400), &keys()), Err(ExpressionError::TooDeep));
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        drop(Expression::parse(&text, &keys()));
    }

    #[test]
    fn like_equals_the_slow_way(text in "[ab]{0,6}", pattern in "[ab%_]{0,6}") {
        fn slow(text: &[u8], pattern: &[u8]) -> bool {
            match (text, pattern) {
                (_, [b'%', rest @ ..]) => slow(text, rest) || (!text.is_empty() && slow(&text[1..], pattern)),
                ([_, more @ ..], [b'_', rest @ ..]) => slow(more, rest),
                ([one, more @ ..], [same, rest @ ..]) => one == same && slow(more, rest),
                (_, []) => text.is_empty(),
                ([], _) => false,
            }
        }
        assert_eq!(like(&text, &pattern), slow(text.as_bytes(), pattern.as_bytes()));
    }
}
