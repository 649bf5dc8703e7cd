//! States and pages as Athena documents them.

use aws_sdk_athena::types::{ColumnInfo, Datum, QueryExecutionStatus, ResultSet, ResultSetMetadata};

use super::*;

fn execution(state: QueryExecutionState, reason: Option<&str>, retryable: bool) -> QueryExecution {
    let status = QueryExecutionStatus::builder()
        .state(state)
        .set_state_change_reason(reason.map(str::to_owned))
        .athena_error(AthenaError::builder().retryable(retryable).build());
    QueryExecution::builder().status(status.build()).build()
}

#[test]
fn states_and_what_they_come_to() {
    for state in [QueryExecutionState::Queued, QueryExecutionState::Running, "BRAND_NEW".into()] {
        assert!(outcome("id", execution(state, None, false)).unwrap().is_none());
    }
    assert!(outcome("id", execution(QueryExecutionState::Succeeded, None, false)).unwrap().is_some());
    let failed = outcome("id", execution(QueryExecutionState::Failed, Some("line 1:8: no column x"), true));
    let Err(QueryError::Failed { reason, retryable: true, .. }) = failed else { panic!("{failed:?}") };
    assert_eq!(reason, "line 1:8: no column x");
    let cancelled = outcome("id", execution(QueryExecutionState::Cancelled, None, false)).unwrap_err();
    assert_eq!(cancelled.to_string(), "the query was cancelled: no reason given (query id)");
    assert!(matches!(outcome("id", QueryExecution::builder().build()), Err(QueryError::Incomplete("status"))));
}

fn page(columns: &[&str], rows: &[&[Option<&str>]]) -> GetQueryResultsOutput {
    let column = |name: &&str| ColumnInfo::builder().name(*name).r#type("varchar").build().unwrap();
    let cell = |cell: &Option<&str>| Datum::builder().set_var_char_value(cell.map(str::to_owned)).build();
    let row = |row: &&[Option<&str>]| Row::builder().set_data(Some(row.iter().map(cell).collect())).build();
    let metadata = ResultSetMetadata::builder().set_column_info(Some(columns.iter().map(column).collect()));
    let set = ResultSet::builder().result_set_metadata(metadata.build()).set_rows(Some(rows.iter().map(row).collect()));
    GetQueryResultsOutput::builder().result_set(set.build()).build()
}

#[test]
fn pages_are_joined_and_the_header_is_left_out_once() {
    let mut result = QueryResult {
        query_execution_id: "id".into(),
        columns: vec![],
        rows: vec![],
        statistics: Statistics::default(),
    };
    append(&mut result, &page(&["a", "b"], &[&[Some("a"), Some("b")], &[Some("1"), None]]), true);
    append(&mut result, &page(&["a", "b"], &[&[Some("a"), Some("b")]]), false);
    assert_eq!(result.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let rows = [[Some("1"), None], [Some("a"), Some("b")]].map(|row| row.map(|cell| cell.map(str::to_owned)).to_vec());
    assert_eq!(result.rows, rows);
}

#[test]
fn a_statement_without_a_header_loses_no_row() {
    let mut result = QueryResult {
        query_execution_id: "id".into(),
        columns: vec![],
        rows: vec![],
        statistics: Statistics::default(),
    };
    append(&mut result, &page(&["col_name"], &[&[Some("event_id\tstring")]]), true);
    assert_eq!(result.rows.len(), 1);
}
