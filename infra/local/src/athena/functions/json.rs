//! `json_extract_scalar` over paths such as `$.a.b[0]` and `$["a b"]`.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::{exec_datafusion_err, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::ScalarFunctionArgs;
use serde_json::Value;

use super::{Function, argument, text, wrong_count};

pub(super) fn functions() -> Vec<Function> {
    vec![Function::new("json_extract_scalar", takes, |_| Ok(DataType::Utf8), extract)]
}

fn takes(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [json, path] => Ok(vec![text("json_extract_scalar", json)?, text("json_extract_scalar", path)?]),
        given => wrong_count("json_extract_scalar", given),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Member(String),
    Item(usize),
}

fn extract(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (documents, paths) = (argument(columns, 0)?.as_string::<i32>(), argument(columns, 1)?.as_string::<i32>());
    let mut last: Option<(String, Vec<Step>)> = None;
    let mut found = Vec::with_capacity(documents.len());
    for (document, path) in documents.iter().zip(paths.iter()) {
        let (Some(document), Some(path)) = (document, path) else {
            found.push(None);
            continue;
        };
        let steps = match last.take() {
            Some((same, steps)) if same == path => steps,
            _ => parse_path(path)?,
        };
        found.push(scalar(document, &steps));
        last = Some((path.to_owned(), steps));
    }
    Ok(Arc::new(StringArray::from(found)))
}

/// The scalar at a path as text; null for what is not JSON, not there, null, an object or an array.
fn scalar(document: &str, steps: &[Step]) -> Option<String> {
    let document: Value = serde_json::from_str(document).ok()?;
    let mut at = &document;
    for step in steps {
        at = match step {
            // A number names a member of an object too.
            Step::Item(place) => at.get(place).or_else(|| at.get(place.to_string()))?,
            Step::Member(name) => at.get(name)?,
        };
    }
    match at {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn parse_path(path: &str) -> Result<Vec<Step>> {
    let invalid = || exec_datafusion_err!("Invalid JSON path: '{path}'");
    let mut rest = path.strip_prefix('$').ok_or_else(invalid)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (step, behind) = match inside.strip_prefix(['"', '\'']) {
                Some(quoted) => {
                    let (name, behind) = quoted.split_once(['"', '\'']).ok_or_else(invalid)?;
                    (Step::Member(name.to_owned()), behind.strip_prefix(']').ok_or_else(invalid)?)
                }
                None => {
                    let (place, behind) = inside.split_once(']').ok_or_else(invalid)?;
                    if place == "*" {
                        return exec_err!("wildcards in JSON paths are not supported by the local Athena: '{path}'");
                    }
                    (Step::Item(place.parse().map_err(|_not_a_number| invalid())?), behind)
                }
            };
            steps.push(step);
            rest = behind;
        } else {
            let name = rest.strip_prefix('.').ok_or_else(invalid)?;
            let end = name.find(['.', '[']).unwrap_or(name.len());
            let (name, behind) = name.split_at_checked(end).ok_or_else(invalid)?;
            if name.is_empty() || name.contains(['*', '?', '@']) {
                return exec_err!("JSON path '{path}' is not supported by the local Athena");
            }
            steps.push(Step::Member(name.to_owned()));
            rest = behind;
        }
    }
    Ok(steps)
}
