//! From the text of a query to a statement that may run: reading only, and nothing that names a path.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DescribeAlias, ObjectName, Query, SetExpr, ShowStatementFilter, ShowStatementFilterPosition, ShowStatementOptions,
    Statement as Ast, Visit as _, Visitor,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

use super::QueryError;

/// Nested deeper, a statement is refused instead of overflowing the stack.
const MAX_DEPTH: usize = 60;

/// A statement that the local Athena runs.
#[derive(Debug)]
pub(super) enum Statement {
    Query(Box<Query>),
    ShowDatabases { pattern: Option<String> },
    ShowTables { database: Option<String>, pattern: Option<String> },
    Describe { database: Option<String>, table: String },
}

pub(super) fn parse(sql: &str) -> Result<Statement, QueryError> {
    let statements = Parser::new(&GenericDialect {})
        .with_recursion_limit(MAX_DEPTH)
        .try_with_sql(sql)
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| syntax_error(&error))?;
    let mut statements = statements.into_iter();
    match (statements.next(), statements.next()) {
        (Some(statement), None) => allowed(statement),
        (None, _) => Err(QueryError::user("SYNTAX_ERROR", "the query is empty")),
        (Some(_), Some(_)) => Err(QueryError::user("SYNTAX_ERROR", "only one SQL statement is allowed")),
    }
}

fn allowed(statement: Ast) -> Result<Statement, QueryError> {
    match statement {
        Ast::Query(query) => {
            let mut check = ReadOnly;
            match query.visit(&mut check) {
                ControlFlow::Continue(()) => Ok(Statement::Query(query)),
                ControlFlow::Break(what) => Err(refused(what)),
            }
        }
        Ast::ShowDatabases { show_options, .. } | Ast::ShowSchemas { show_options, .. } => {
            Ok(Statement::ShowDatabases { pattern: pattern(&show_options)? })
        }
        Ast::ShowTables { show_options, .. } => {
            let database = show_options.show_in.as_ref().and_then(|given| given.parent_name.as_ref()).map(last_part);
            Ok(Statement::ShowTables { database, pattern: pattern(&show_options)? })
        }
        Ast::ExplainTable { describe_alias: DescribeAlias::Describe | DescribeAlias::Desc, table_name, .. } => {
            let mut parts: Vec<String> = table_name.0.iter().map(unquoted).collect();
            let table = parts.pop().unwrap_or_default();
            Ok(Statement::Describe { database: parts.pop(), table })
        }
        other => {
            let text = other.to_string();
            Err(refused(text.split_whitespace().next().unwrap_or_default()))
        }
    }
}

fn refused(what: &str) -> QueryError {
    let message =
        format!("{what} is not supported by the local Athena: it runs SELECT, WITH, VALUES, SHOW and DESCRIBE");
    QueryError::user("NOT_SUPPORTED", &message)
}

/// Finds what a query may not contain.
struct ReadOnly;

impl Visitor for ReadOnly {
    type Break = &'static str;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        fn body(part: &SetExpr) -> ControlFlow<&'static str> {
            match part {
                SetExpr::Insert(_) => ControlFlow::Break("INSERT"),
                SetExpr::Update(_) => ControlFlow::Break("UPDATE"),
                SetExpr::Delete(_) => ControlFlow::Break("DELETE"),
                SetExpr::Merge(_) => ControlFlow::Break("MERGE"),
                SetExpr::SetOperation { left, right, .. } => {
                    body(left)?;
                    body(right)
                }
                SetExpr::Select(select) if select.into.is_some() => ControlFlow::Break("SELECT INTO"),
                SetExpr::Select(select) if select.qualify.is_some() => ControlFlow::Break("QUALIFY"),
                SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) | SetExpr::Table(_) => {
                    ControlFlow::Continue(())
                }
            }
        }
        body(&query.body)
    }
}

fn pattern(options: &ShowStatementOptions) -> Result<Option<String>, QueryError> {
    let Some(ShowStatementFilterPosition::Infix(filter) | ShowStatementFilterPosition::Suffix(filter)) =
        &options.filter_position
    else {
        return Ok(None);
    };
    match filter {
        ShowStatementFilter::Like(text) | ShowStatementFilter::NoKeyword(text) => Ok(Some(text.clone())),
        ShowStatementFilter::ILike(_) | ShowStatementFilter::Where(_) => {
            Err(QueryError::user("NOT_SUPPORTED", "SHOW takes a pattern, not ILIKE or WHERE"))
        }
    }
}

fn last_part(name: &ObjectName) -> String {
    name.0.last().map(unquoted).unwrap_or_default()
}

fn unquoted(part: &datafusion::sql::sqlparser::ast::ObjectNamePart) -> String {
    part.as_ident().map(|ident| ident.value.to_lowercase()).unwrap_or_default()
}

/// Hive's pattern of names: `*` for any text, `|` between alternatives.
pub(super) fn name_matches(pattern: Option<&str>, name: &str) -> bool {
    let Some(pattern) = pattern else { return true };
    pattern.split('|').any(|one| {
        let pieces: Vec<&str> = one.split('*').collect();
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return false };
        if pieces.len() == 1 {
            return name == *first;
        }
        let Some(mut rest) = name.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
        pieces.iter().skip(1).take(pieces.len() - 2).all(|piece| match rest.split_once(piece) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    })
}

/// The parser says `… at Line: 1, Column: 8`; Athena says `line 1:8: …`.
fn syntax_error(error: &ParserError) -> QueryError {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "the statement is nested too deeply",
    };
    let placed = text.rsplit_once(" at Line: ").and_then(|(what, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some(format!("line {line}:{column}: {what}"))
    });
    QueryError::user("SYNTAX_ERROR", &placed.unwrap_or_else(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{name_matches, parse};

    #[test]
    fn only_reading_is_allowed() {
        let check = |sql: &str, expected: &str| {
            let found = match parse(sql) {
                Ok(statement) => format!("{statement:?}").split([' ', '(']).next().unwrap().to_owned(),
                Err(error) => error.message,
            };
            assert!(found.starts_with(expected), "{sql}: {found}");
        };
        check("SELECT 1", "Query");
        check("SELECT 1;", "Query");
        check("WITH a AS (SELECT 1) SELECT * FROM a", "Query");
        check("VALUES (1, 2)", "Query");
        check("SHOW TABLES IN adx 'ad_*'", "ShowTables");
        check("SHOW DATABASES", "ShowDatabases");
        check("DESCRIBE adx.imps", "Describe");
        check("INSERT INTO t SELECT 1", "NOT_SUPPORTED: INSERT is not supported");
        check("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", "NOT_SUPPORTED: INSERT");
        check("CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/etc'", "");
        check("DROP TABLE t", "NOT_SUPPORTED: DROP");
        check("COPY t TO 'x'", "NOT_SUPPORTED: COPY");
        check("SET x = 1", "NOT_SUPPORTED: SET");
        check("SELECT 1; SELECT 2", "SYNTAX_ERROR: only one");
        check("", "SYNTAX_ERROR: the query is empty");
        check("SELECT 1 FORM t x", "SYNTAX_ERROR: line 1:15: ");
        check("SELECT 'x", "SYNTAX_ERROR: line 1:8: Unterminated string literal");
        check(&format!("SELECT {}1{}", "(".repeat(500), ")".repeat(500)), "SYNTAX_ERROR: the statement is nested");
    }

    #[test]
    fn patterns_of_names() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(name_matches(Some(pattern), name), expected, "{pattern} {name}");
        };
        check("ad_*", "ad_requests", true);
        check("*req*", "ad_requests", true);
        check("imps|ad_*", "imps", true);
        check("imps", "imps2", false);
        check("a*a", "a", false);
        assert!(name_matches(None, "any"));
    }
}
