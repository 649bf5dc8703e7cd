//! Asks Athena: starts a query, waits for its end, reads all pages of the answer. Whoever stops waiting stops the query.

mod stop;

use std::time::Duration;

use aws_sdk_athena::Client;
use aws_sdk_athena::error::SdkError;
use aws_sdk_athena::operation::get_query_execution::GetQueryExecutionError;
use aws_sdk_athena::operation::get_query_results::{GetQueryResultsError, GetQueryResultsOutput};
use aws_sdk_athena::operation::start_query_execution::StartQueryExecutionError;
use aws_sdk_athena::types::{
    AthenaError, QueryExecution, QueryExecutionContext, QueryExecutionState, ResultConfiguration, Row,
};
use tokio::time::sleep;
use uuid::Uuid;

use crate::result::{QueryResult, ResultColumn, Statistics};
use stop::StopOnDrop;

/// First pause between two looks at a query; each is half as long again as the one before, up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause: Athena admits 500 looks a second for all of an account's queries.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Athena: rows of a page.
const PAGE_ROWS_MAX: i32 = 1000;
/// Athena: bytes of a query.
pub const SQL_BYTES_MAX: usize = 262_144;
/// Rows of an answer that are read: an answer is for people and dashboards, and is held in memory.
pub const ROWS_MAX: usize = 100_000;

/// A way to ask.
#[derive(Debug, Clone)]
pub struct Athena {
    client: Client,
    database: String,
    output: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The text is longer than Athena takes.
    #[error("the query has {bytes} bytes; Athena takes {SQL_BYTES_MAX}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The query was not started.
    #[error("start the query")]
    Start(#[source] Box<SdkError<StartQueryExecutionError>>),
    /// How the query stands could not be read.
    #[error("look at query {id}")]
    Look {
        /// Which query.
        id: String,
        /// Why.
        #[source]
        source: Box<SdkError<GetQueryExecutionError>>,
    },
    /// The query failed.
    #[error("{reason} (query {id})")]
    Failed {
        /// Which query.
        id: String,
        /// In Athena's words.
        reason: String,
        /// Whether the same query may succeed later.
        retryable: bool,
    },
    /// Somebody stopped the query.
    #[error("the query was cancelled: {reason} (query {id})")]
    Cancelled {
        /// Which query.
        id: String,
        /// In Athena's words.
        reason: String,
    },
    /// The answer could not be read.
    #[error("read the answer of query {id}")]
    Read {
        /// Which query.
        id: String,
        /// Why.
        #[source]
        source: Box<SdkError<GetQueryResultsError>>,
    },
    /// The answer is longer than is read.
    #[error("the answer has more than {ROWS_MAX} rows; add a LIMIT (query {id})")]
    TooManyRows {
        /// Which query.
        id: String,
    },
    /// Athena's answer makes no sense.
    #[error("Athena's answer to a call has no {0}")]
    Incomplete(&'static str),
}

impl Athena {
    /// Asks about the tables of a database. Where answers are kept is left to the workgroup.
    pub fn new(client: Client, database: impl Into<String>) -> Self {
        Self { client, database: database.into(), output: None }
    }

    /// The same, but answers are kept in `output`, such as `s3://bucket/folder/`.
    #[must_use]
    pub fn with_output(self, output: impl Into<String>) -> Self {
        Self { output: Some(output.into()), ..self }
    }

    /// Asks, and waits for the whole answer. If the returned future is dropped before it is done, the query is stopped.
    ///
    /// # Errors
    /// When the query is not started, fails, is cancelled, or its answer cannot be read or is too long.
    pub async fn run(&self, sql: &str) -> Result<QueryResult, QueryError> {
        if sql.len() > SQL_BYTES_MAX {
            return Err(QueryError::TooLong { bytes: sql.len() });
        }
        let id = self.start(sql).await?;
        let stop = StopOnDrop::new(self.client.clone(), id.clone());
        let execution = self.wait(&id).await;
        // Whatever the query has come to, it has come to it: only a query that we lost sight of is worth stopping.
        if !matches!(execution, Err(QueryError::Look { .. } | QueryError::Incomplete(_))) {
            stop.disarm();
        }
        self.read(id, &execution?).await
    }

    async fn start(&self, sql: &str) -> Result<String, QueryError> {
        let output = self.output.as_ref().map(|output| ResultConfiguration::builder().output_location(output).build());
        let start = self
            .client
            .start_query_execution()
            .query_string(sql)
            // The SDK's own retries repeat the token, so that a query whose answer was lost is not started twice.
            .client_request_token(Uuid::new_v4().to_string())
            .query_execution_context(QueryExecutionContext::builder().database(&self.database).build())
            .set_result_configuration(output);
        let started = start.send().await.map_err(|error| QueryError::Start(Box::new(error)))?;
        started.query_execution_id.ok_or(QueryError::Incomplete("query id"))
    }

    async fn wait(&self, id: &str) -> Result<QueryExecution, QueryError> {
        let mut pause = PAUSE_MIN;
        loop {
            let look = self.client.get_query_execution().query_execution_id(id).send().await;
            let look = look.map_err(|source| QueryError::Look { id: id.to_owned(), source: Box::new(source) })?;
            let execution = look.query_execution.ok_or(QueryError::Incomplete("query"))?;
            if let Some(outcome) = outcome(id, execution)? {
                return Ok(outcome);
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(PAUSE_MAX);
        }
    }

    async fn read(&self, id: String, execution: &QueryExecution) -> Result<QueryResult, QueryError> {
        let mut result = QueryResult {
            query_execution_id: id.clone(),
            columns: Vec::new(),
            rows: Vec::new(),
            statistics: statistics(execution),
        };
        let mut token: Option<String> = None;
        let mut is_first = true;
        loop {
            let page = self.client.get_query_results().query_execution_id(&id).max_results(PAGE_ROWS_MAX);
            let page = page.set_next_token(token).send().await;
            let page = page.map_err(|source| QueryError::Read { id: id.clone(), source: Box::new(source) })?;
            append(&mut result, &page, is_first);
            is_first = false;
            token = page.next_token;
            if token.is_none() {
                return Ok(result);
            }
            if result.rows.len() > ROWS_MAX {
                return Err(QueryError::TooManyRows { id });
            }
        }
    }
}

/// What a query has come to; `None` while it has not. A running query may be queued again.
fn outcome(id: &str, execution: QueryExecution) -> Result<Option<QueryExecution>, QueryError> {
    let status = execution.status().ok_or(QueryError::Incomplete("status"))?;
    let reason = status.state_change_reason().unwrap_or("no reason given").to_owned();
    let state = status.state().ok_or(QueryError::Incomplete("state"))?;
    if *state == QueryExecutionState::Succeeded {
        return Ok(Some(execution));
    }
    if *state == QueryExecutionState::Failed {
        let retryable = status.athena_error().is_some_and(AthenaError::retryable);
        return Err(QueryError::Failed { id: id.to_owned(), reason, retryable });
    }
    if *state == QueryExecutionState::Cancelled {
        return Err(QueryError::Cancelled { id: id.to_owned(), reason });
    }
    // Queued or running, or in a state that Athena has learned since: it will come to an end.
    Ok(None)
}

fn statistics(execution: &QueryExecution) -> Statistics {
    let Some(statistics) = execution.statistics() else { return Statistics::default() };
    Statistics {
        scanned_bytes: statistics.data_scanned_in_bytes().unwrap_or_default(),
        engine_ms: statistics.engine_execution_time_in_millis().unwrap_or_default(),
        total_ms: statistics.total_execution_time_in_millis().unwrap_or_default(),
    }
}

fn append(result: &mut QueryResult, page: &GetQueryResultsOutput, is_first: bool) {
    let Some(set) = page.result_set() else { return };
    if is_first && let Some(metadata) = set.result_set_metadata() {
        let columns = metadata.column_info().iter();
        result.columns = columns
            .map(|column| ResultColumn { name: column.name().to_owned(), kind: column.r#type().to_owned() })
            .collect();
    }
    let cells = |row: &Row| row.data().iter().map(|datum| datum.var_char_value().map(str::to_owned)).collect();
    let mut rows: Vec<Vec<Option<String>>> = set.rows().iter().map(cells).collect();
    // The first row of the answer to a SELECT repeats the names.
    let names = result.columns.iter().map(|column| Some(column.name.as_str()));
    if is_first && rows.first().is_some_and(|row| row.iter().map(Option::as_deref).eq(names)) {
        rows.remove(0);
    }
    result.rows.append(&mut rows);
}

#[cfg(test)]
mod tests;
