//! The operations on the wire.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Athena;
use super::executions::{Asked, Execution, Refused, State};
use super::result_file::{self, Row};
use super::table::Location;
use crate::wire::{self, ServiceError};

/// Athena's limits.
pub(super) const MAX_QUERY_BYTES: usize = 262_144;
const MAX_RESULTS: usize = 1_000;
const MAX_BATCH: usize = 50;
const WORKGROUP: &str = "primary";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StartRequest {
    query_string: String,
    client_request_token: Option<String>,
    query_execution_context: Option<Context>,
    result_configuration: Option<ResultConfiguration>,
    work_group: Option<String>,
    execution_parameters: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Context {
    database: Option<String>,
    catalog: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ResultConfiguration {
    output_location: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IdRequest {
    query_execution_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BatchRequest {
    query_execution_ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ResultsRequest {
    query_execution_id: String,
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListRequest {
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WorkGroupRequest {
    work_group: String,
}

pub(super) async fn call(athena: &Athena, operation: &str, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let answer = match operation {
        "StartQueryExecution" => start(athena, wire::parse(body)?)?,
        "GetQueryExecution" => {
            let request: IdRequest = wire::parse(body)?;
            json!({ "QueryExecution": describe(&athena.execution(&request.query_execution_id)?) })
        }
        "BatchGetQueryExecution" => batch_get(athena, &wire::parse(body)?)?,
        "GetQueryResults" => results(athena, &wire::parse(body)?).await?,
        "StopQueryExecution" => {
            let request: IdRequest = wire::parse(body)?;
            athena.stop(&request.query_execution_id)?;
            json!({})
        }
        "ListQueryExecutions" => list(athena, &wire::parse(body)?)?,
        "GetWorkGroup" => {
            let request: WorkGroupRequest = wire::parse(body)?;
            known_workgroup(&request.work_group)?;
            json!({ "WorkGroup": workgroup() })
        }
        "ListWorkGroups" => json!({ "WorkGroups": [workgroup()] }),
        other => return Err(ServiceError::not_here("Athena", other)),
    };
    wire::answer(&answer)
}

fn start(athena: &Athena, request: StartRequest) -> Result<Value, ServiceError> {
    athena.executions().note_query(request.query_string.len(), MAX_QUERY_BYTES, athena.now_ms());
    if request.query_string.is_empty() || request.query_string.len() > MAX_QUERY_BYTES {
        return Err(invalid("QueryString has 1 to 262,144 bytes"));
    }
    if request.client_request_token.as_ref().is_some_and(|token| !(32..=128).contains(&token.len())) {
        return Err(invalid("ClientRequestToken has 32 to 128 characters"));
    }
    if request.execution_parameters.is_some_and(|parameters| !parameters.is_empty()) {
        return Err(invalid("ExecutionParameters are not implemented by the Millrace local cloud"));
    }
    let workgroup = request.work_group.unwrap_or_else(|| WORKGROUP.to_owned());
    known_workgroup(&workgroup)?;
    let (database, catalog) =
        request.query_execution_context.map_or((None, None), |context| (context.database, context.catalog));
    if catalog.is_some_and(|catalog| !catalog.eq_ignore_ascii_case("awsdatacatalog")) {
        return Err(invalid("the only catalog is AwsDataCatalog"));
    }
    let output = request.result_configuration.and_then(|given| given.output_location);
    let output = output.unwrap_or_else(|| super::DEFAULT_OUTPUT.to_owned());
    if Location::parse(&output).is_none() {
        return Err(invalid("OutputLocation is not a location of S3"));
    }
    let database = database.unwrap_or_else(|| "default".to_owned()).to_lowercase();
    let asked = Asked { query: request.query_string, database, workgroup, output };
    match athena.submit(asked, request.client_request_token) {
        Ok(id) => Ok(json!({ "QueryExecutionId": id })),
        Err(Refused::TokenReused) => Err(invalid("Idempotent parameters do not match")),
        Err(Refused::TooMany) => Err(ServiceError::client(
            "TooManyRequestsException",
            "You have exceeded the limit for the number of queries you can run concurrently",
        )),
    }
}

fn batch_get(athena: &Athena, request: &BatchRequest) -> Result<Value, ServiceError> {
    if !(1..=MAX_BATCH).contains(&request.query_execution_ids.len()) {
        return Err(invalid("QueryExecutionIds has 1 to 50 members"));
    }
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for id in &request.query_execution_ids {
        match athena.execution(id) {
            Ok(execution) => found.push(describe(&execution)),
            Err(error) => missing.push(json!({
                "QueryExecutionId": id, "ErrorCode": error.code, "ErrorMessage": error.message,
            })),
        }
    }
    Ok(json!({ "QueryExecutions": found, "UnprocessedQueryExecutionIds": missing }))
}

async fn results(athena: &Athena, request: &ResultsRequest) -> Result<Value, ServiceError> {
    let execution = athena.execution(&request.query_execution_id)?;
    match execution.state {
        State::Succeeded => {}
        State::Queued | State::Running => {
            let state = execution.state.name();
            return Err(invalid(&format!("Query has not yet finished. Current state: {state}")));
        }
        State::Failed | State::Cancelled => {
            let state = execution.state.name();
            return Err(invalid(&format!("Query did not finish successfully. Final query state: {state}")));
        }
    }
    let limit = request.max_results.unwrap_or(MAX_RESULTS);
    if !(1..=MAX_RESULTS).contains(&limit) {
        return Err(invalid("MaxResults is 1 to 1,000"));
    }
    let start = match &request.next_token {
        None => 0,
        Some(token) => token.parse().map_err(|_not_ours| invalid("NextToken is not one of ours"))?,
    };
    let result = Location::parse(&execution.result()).ok_or_else(|| invalid("the result's location is lost"))?;
    let opened = athena.s3().open_object(&result.bucket, &result.key).await;
    let (file, _) = opened.map_err(|error| invalid(&format!("the query's result cannot be read: {error}")))?;
    let is_text = execution.outcome.is_text;
    let page = tokio::task::spawn_blocking(move || result_file::read_page(file, start, limit, is_text)).await;
    let page = page.map_err(std::io::Error::other).and_then(|page| page).map_err(|error| {
        ServiceError::internal("InternalServerException", format!("read the query's result: {error}"))
    })?;
    let columns: Vec<Value> = execution
        .outcome
        .columns
        .iter()
        .map(|column| {
            json!({
                "CatalogName": "hive", "SchemaName": "", "TableName": "", "Name": column.name, "Label": column.name,
                "Type": column.kind, "Precision": column.precision, "Scale": column.scale, "Nullable": "UNKNOWN",
                "CaseSensitive": column.kind == "varchar",
            })
        })
        .collect();
    let rows: Vec<Value> = page.rows.iter().map(row).collect();
    let set = json!({ "Rows": rows, "ResultSetMetadata": { "ColumnInfo": columns } });
    let mut answer = json!({ "UpdateCount": 0, "ResultSet": set });
    if let (Some(next), Some(fields)) = (page.next, answer.as_object_mut()) {
        fields.insert("NextToken".to_owned(), json!(next.to_string()));
    }
    Ok(answer)
}

fn row(values: &Row) -> Value {
    let data: Vec<Value> = values
        .iter()
        .map(|value| match value {
            Some(text) => json!({ "VarCharValue": text }),
            None => json!({}),
        })
        .collect();
    json!({ "Data": data })
}

fn list(athena: &Athena, request: &ListRequest) -> Result<Value, ServiceError> {
    let limit = request.max_results.unwrap_or(MAX_BATCH);
    if limit > MAX_BATCH {
        return Err(invalid("MaxResults is 0 to 50"));
    }
    let ids = athena.ids();
    let start = match &request.next_token {
        None => 0,
        Some(token) => {
            let place = ids.iter().position(|id| id == token);
            place.ok_or_else(|| invalid("NextToken is not one of ours"))? + 1
        }
    };
    let rest = ids.get(start..).unwrap_or_default();
    let page = rest.get(..limit).unwrap_or(rest);
    let next = page.last().filter(|_| page.len() < rest.len());
    Ok(json!({ "QueryExecutionIds": page, "NextToken": next }))
}

fn describe(execution: &Execution) -> Value {
    let seconds = |millis: i64| json!(millis.div_euclid(1000));
    let between = |from: Option<i64>, to: Option<i64>| Some((to? - from?).max(0));
    let (started, completed) = (execution.started_ms, execution.completed_ms);
    let submitted = Some(execution.submitted_ms);
    let error = execution.error.as_ref().map(|error| {
        json!({
            "ErrorCategory": error.category_number(), "ErrorType": error.error_type(), "Retryable": false,
            "ErrorMessage": error.message,
        })
    });
    let reason = match execution.state {
        State::Cancelled => Some("Query cancelled by user".to_owned()),
        State::Queued | State::Running | State::Succeeded | State::Failed => {
            execution.error.as_ref().map(|error| error.message.clone())
        }
    };
    json!({
        "QueryExecutionId": execution.id,
        "Query": execution.asked.query,
        "StatementType": if execution.outcome.is_text { "UTILITY" } else { "DML" },
        "ResultConfiguration": { "OutputLocation": execution.result() },
        "QueryExecutionContext": { "Database": execution.asked.database, "Catalog": "awsdatacatalog" },
        "Status": {
            "State": execution.state.name(),
            "StateChangeReason": reason,
            "SubmissionDateTime": seconds(execution.submitted_ms),
            "CompletionDateTime": completed.map(seconds),
            "AthenaError": error,
        },
        "Statistics": {
            "EngineExecutionTimeInMillis": between(started, completed),
            "DataScannedInBytes": execution.outcome.scanned,
            "TotalExecutionTimeInMillis": between(submitted, completed),
            "QueryQueueTimeInMillis": between(submitted, started.or(completed)),
        },
        "WorkGroup": execution.asked.workgroup,
        "EngineVersion": { "SelectedEngineVersion": "AUTO", "EffectiveEngineVersion": "Athena engine version 3" },
    })
}

fn workgroup() -> Value {
    json!({
        "Name": WORKGROUP,
        "State": "ENABLED",
        "Configuration": { "ResultConfiguration": { "OutputLocation": super::DEFAULT_OUTPUT } },
        "EngineVersion": { "SelectedEngineVersion": "AUTO", "EffectiveEngineVersion": "Athena engine version 3" },
    })
}

fn known_workgroup(name: &str) -> Result<(), ServiceError> {
    if name == WORKGROUP { Ok(()) } else { Err(invalid(&format!("WorkGroup {name} is not found."))) }
}

fn invalid(message: &str) -> ServiceError {
    ServiceError::client("InvalidRequestException", message)
}
