//! The operations on partitions, one by one and in batches.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{CATALOG_ID, fields_of, name, object, with_token};
use crate::glue::GlueError;
use crate::glue::catalog::{Catalog, Table};
use crate::glue::expression::Expression;
use crate::glue::partition_log::Change;
use crate::wire::{self, ServiceError};

/// Glue's limits on the batches and pages.
pub(in crate::glue) const MAX_CREATE: usize = 100;
pub(in crate::glue) const MAX_DELETE: usize = 25;
pub(in crate::glue) const MAX_GET: usize = 1000;
const MAX_PAGE: usize = 1000;
const MAX_SEGMENTS: u64 = 10;
/// The longest value of a partition key, in characters.
const MAX_VALUE: usize = 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    database_name: String,
    table_name: String,
    partition_input: Option<Value>,
    partition_input_list: Option<Vec<Value>>,
    partition_values: Option<Vec<String>>,
    partition_value_list: Option<Vec<String>>,
    partitions_to_delete: Option<Vec<ValueList>>,
    partitions_to_get: Option<Vec<ValueList>>,
    entries: Option<Vec<UpdateEntry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ValueList {
    values: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateEntry {
    partition_value_list: Vec<String>,
    partition_input: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListRequest {
    database_name: String,
    table_name: String,
    expression: Option<String>,
    max_results: Option<usize>,
    next_token: Option<String>,
    segment: Option<Segment>,
    exclude_column_schema: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Segment {
    segment_number: u64,
    total_segments: u64,
}

pub(super) fn call(catalog: &mut Catalog, operation: &str, body: &[u8], now_s: i64) -> Result<Vec<u8>, ServiceError> {
    if operation == "GetPartitions" {
        return wire::answer(&list(catalog, &wire::parse(body)?)?);
    }
    let run = match operation {
        "CreatePartition" => create,
        "BatchCreatePartition" => batch_create,
        "GetPartition" => get,
        "BatchGetPartition" => batch_get,
        "UpdatePartition" => update,
        "BatchUpdatePartition" => batch_update,
        "DeletePartition" => delete,
        "BatchDeletePartition" => batch_delete,
        _ => return Err(ServiceError::not_here("Glue", operation)),
    };
    let request: Request = wire::parse(body)?;
    let target = (name(Some(&request.database_name))?, name(Some(&request.table_name))?);
    wire::answer(&run(catalog, &target, request, now_s)?)
}

type Target = (String, String);

fn create(catalog: &mut Catalog, target: &Target, request: Request, now_s: i64) -> Result<Value, GlueError> {
    let input = object(request.partition_input, "PartitionInput is required.")?;
    let change = new_partition(catalog.table(&target.0, &target.1)?, target, &input, now_s)?;
    catalog.change(&target.0, &target.1, vec![change])?;
    Ok(json!({}))
}

/// Creates what can be created, in one durable step; the rest is said partition by partition.
fn batch_create(catalog: &mut Catalog, target: &Target, request: Request, now_s: i64) -> Result<Value, GlueError> {
    let inputs = request.partition_input_list.unwrap_or_default();
    catalog.batches.create.note(inputs.len(), MAX_CREATE, now_s * 1_000);
    if inputs.len() > MAX_CREATE {
        return Err(GlueError::Invalid { what: "PartitionInputList has at most 100 partitions." });
    }
    let table = catalog.table(&target.0, &target.1)?;
    let (mut changes, mut errors, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for input in inputs {
        let values = values_of(&input);
        let made = if seen.insert(values.clone()) {
            new_partition(table, target, &input, now_s)
        } else {
            Err(GlueError::PartitionExists { values: values.clone() })
        };
        match made {
            Ok(change) => changes.push(change),
            Err(error) => errors.push(partition_error("PartitionValues", &values, &error)),
        }
    }
    catalog.change(&target.0, &target.1, changes)?;
    Ok(json!({ "Errors": errors }))
}

fn get(catalog: &mut Catalog, target: &Target, request: Request, _now_s: i64) -> Result<Value, GlueError> {
    let values = request.partition_values.ok_or(GlueError::Invalid { what: "PartitionValues is required." })?;
    let table = catalog.table(&target.0, &target.1)?;
    let partition = table.partitions.get(&values).ok_or(GlueError::NoPartition { values })?;
    Ok(json!({ "Partition": partition }))
}

fn batch_get(catalog: &mut Catalog, target: &Target, request: Request, now_s: i64) -> Result<Value, GlueError> {
    let wanted = request.partitions_to_get.unwrap_or_default();
    catalog.batches.get.note(wanted.len(), MAX_GET, now_s * 1_000);
    if wanted.len() > MAX_GET {
        return Err(GlueError::Invalid { what: "PartitionsToGet has at most 1,000 partitions." });
    }
    let table = catalog.table(&target.0, &target.1)?;
    let found: Vec<_> = wanted.iter().filter_map(|list| table.partitions.get(&list.values)).collect();
    Ok(json!({ "Partitions": found, "UnprocessedKeys": [] }))
}

fn update(catalog: &mut Catalog, target: &Target, request: Request, now_s: i64) -> Result<Value, GlueError> {
    let old = request.partition_value_list.ok_or(GlueError::Invalid { what: "PartitionValueList is required." })?;
    let input = object(request.partition_input, "PartitionInput is required.")?;
    let changes = replace(catalog.table(&target.0, &target.1)?, target, &old, (input, now_s))?;
    catalog.change(&target.0, &target.1, changes)?;
    Ok(json!({}))
}

fn batch_update(catalog: &mut Catalog, target: &Target, request: Request, now_s: i64) -> Result<Value, GlueError> {
    let entries = request.entries.unwrap_or_default();
    catalog.batches.update.note(entries.len(), MAX_CREATE, now_s * 1_000);
    if entries.is_empty() || entries.len() > MAX_CREATE {
        return Err(GlueError::Invalid { what: "Entries has 1 to 100 partitions." });
    }
    let mut errors = Vec::new();
    for entry in entries {
        let old = entry.partition_value_list;
        let table = catalog.table(&target.0, &target.1)?;
        let changed = replace(table, target, &old, (entry.partition_input, now_s))
            .and_then(|changes| catalog.change(&target.0, &target.1, changes));
        if let Err(error) = changed {
            errors.push(partition_error("PartitionValueList", &old, &error));
        }
    }
    Ok(json!({ "Errors": errors }))
}

fn delete(catalog: &mut Catalog, target: &Target, request: Request, _now_s: i64) -> Result<Value, GlueError> {
    let values = request.partition_values.ok_or(GlueError::Invalid { what: "PartitionValues is required." })?;
    if !catalog.table(&target.0, &target.1)?.partitions.contains_key(&values) {
        return Err(GlueError::NoPartition { values });
    }
    catalog.change(&target.0, &target.1, vec![Change::Delete { values }])?;
    Ok(json!({}))
}

fn batch_delete(catalog: &mut Catalog, target: &Target, request: Request, now_s: i64) -> Result<Value, GlueError> {
    let wanted = request.partitions_to_delete.unwrap_or_default();
    catalog.batches.delete.note(wanted.len(), MAX_DELETE, now_s * 1_000);
    if wanted.len() > MAX_DELETE {
        return Err(GlueError::Invalid { what: "PartitionsToDelete has at most 25 partitions." });
    }
    let table = catalog.table(&target.0, &target.1)?;
    let (mut changes, mut errors) = (Vec::new(), Vec::new());
    for ValueList { values } in wanted {
        if table.partitions.contains_key(&values) {
            changes.push(Change::Delete { values });
        } else {
            let error = GlueError::NoPartition { values: values.clone() };
            errors.push(partition_error("PartitionValues", &values, &error));
        }
    }
    catalog.change(&target.0, &target.1, changes)?;
    Ok(json!({ "Errors": errors }))
}

fn list(catalog: &Catalog, request: &ListRequest) -> Result<Value, GlueError> {
    let table = catalog.table(&name(Some(&request.database_name))?, &name(Some(&request.table_name))?)?;
    let size = match request.max_results {
        None => MAX_PAGE,
        Some(size) if (1..=MAX_PAGE).contains(&size) => size,
        Some(_) => return Err(GlueError::Invalid { what: "MaxResults is 1 to 1,000." }),
    };
    if request.segment.as_ref().is_some_and(|segment| {
        !(1..=MAX_SEGMENTS).contains(&segment.total_segments) || segment.segment_number >= segment.total_segments
    }) {
        return Err(GlueError::Invalid { what: "A segment is one of 1 to 10." });
    }
    let expression =
        Expression::parse(request.expression.as_deref().unwrap_or_default(), &table.entry.partition_keys())?;
    let after = request.next_token.as_deref().map(read_token).transpose()?;
    let (mut page, mut next) = (Vec::new(), None);
    let rest = table.partitions.iter().filter(|(values, _)| after.as_ref().is_none_or(|after| *values > after));
    let mut last = None;
    for (values, partition) in rest {
        let in_segment = request.segment.as_ref().is_none_or(|segment| {
            let mut hasher = DefaultHasher::new();
            values.hash(&mut hasher);
            hasher.finish() % segment.total_segments == segment.segment_number
        });
        if !in_segment || !expression.holds(values) {
            continue;
        }
        if page.len() == size {
            next = last.map(token);
            break;
        }
        page.push(shown(partition, request.exclude_column_schema == Some(true)));
        last = Some(values);
    }
    Ok(with_token(json!({ "Partitions": page }), next))
}

/// The stored object of a new partition, if it may be made.
fn new_partition(table: &Table, target: &Target, input: &Value, now_s: i64) -> Result<Change, GlueError> {
    let values = values_of(input);
    let keys = table.entry.partition_keys().len();
    if values.len() != keys {
        return Err(GlueError::ValueCount { keys, values: values.len() });
    }
    if values.iter().any(|value| value.is_empty() || value.chars().count() > MAX_VALUE) {
        return Err(GlueError::Invalid { what: "A partition value has 1 to 1,024 characters." });
    }
    if table.partitions.contains_key(&values) {
        return Err(GlueError::PartitionExists { values });
    }
    Ok(Change::Put { partition: Arc::new(stored(target, input, now_s)), values })
}

fn stored(target: &Target, input: &Value, now_s: i64) -> Value {
    let mut fields: Map<String, Value> = fields_of(input);
    fields.insert("DatabaseName".to_owned(), json!(target.0));
    fields.insert("TableName".to_owned(), json!(target.1));
    fields.insert("CreationTime".to_owned(), json!(now_s));
    fields.insert("CatalogId".to_owned(), json!(CATALOG_ID));
    Value::Object(fields)
}

/// The changes that put `input` in the place of the partition `old`, whose values may change with it.
fn replace(table: &Table, target: &Target, old: &[String], new: (Value, i64)) -> Result<Vec<Change>, GlueError> {
    let (input, now_s) = new;
    let created_s = table.partitions.get(old).ok_or_else(|| GlueError::NoPartition { values: old.to_vec() })?;
    let created_s = created_s.get("CreationTime").and_then(Value::as_i64).unwrap_or(now_s);
    let values = values_of(&input);
    if values == old {
        return Ok(vec![Change::Put { values, partition: Arc::new(stored(target, &input, created_s)) }]);
    }
    Ok(vec![new_partition(table, target, &input, created_s)?, Change::Delete { values: old.to_vec() }])
}

fn values_of(input: &Value) -> Vec<String> {
    let values = input.get("Values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn partition_error(field: &str, values: &[String], error: &GlueError) -> Value {
    let detail = json!({ "ErrorCode": error.code(), "ErrorMessage": error.to_string() });
    json!({ field: values, "ErrorDetail": detail })
}

fn shown(partition: &Value, without_columns: bool) -> Value {
    let mut partition = partition.clone();
    if without_columns && let Some(storage) = partition.get_mut("StorageDescriptor").and_then(Value::as_object_mut) {
        storage.remove("Columns");
    }
    partition
}

/// The token of a page is the values of its last partition.
fn token(values: &Vec<String>) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(json!(values).to_string())
}

fn read_token(token: &str) -> Result<Vec<String>, GlueError> {
    let text = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(token).ok();
    let values = text.and_then(|text| serde_json::from_slice(&text).ok());
    values.ok_or(GlueError::Invalid { what: "NextToken is not one of ours." })
}
