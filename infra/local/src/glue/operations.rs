//! The operations on the wire: databases and tables here, partitions beside.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::GlueError;
use super::catalog::{Catalog, DatabaseEntry, TableEntry};
use crate::wire::{self, ServiceError};

pub(super) mod partitions;

/// The account that the local cloud plays.
const CATALOG_ID: &str = "000000000000";
/// The most databases or tables on one page.
const MAX_PAGE: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DatabaseRequest {
    name: Option<String>,
    database_input: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PageRequest {
    database_name: Option<String>,
    expression: Option<String>,
    max_results: Option<usize>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TableRequest {
    database_name: String,
    name: Option<String>,
    table_input: Option<Value>,
    version_id: Option<String>,
}

pub(super) fn call(catalog: &mut Catalog, operation: &str, body: &[u8], now_s: i64) -> Result<Vec<u8>, ServiceError> {
    let answer = match operation {
        "CreateDatabase" => create_database(catalog, wire::parse(body)?, now_s)?,
        "GetDatabase" => get_database(catalog, &wire::parse(body)?)?,
        "GetDatabases" => get_databases(catalog, &wire::parse(body)?)?,
        "UpdateDatabase" => update_database(catalog, wire::parse(body)?)?,
        "DeleteDatabase" => {
            let request: DatabaseRequest = wire::parse(body)?;
            catalog.delete_database(&name(request.name.as_deref())?)?;
            json!({})
        }
        "CreateTable" => create_table(catalog, wire::parse(body)?, now_s)?,
        "GetTable" => get_table(catalog, &wire::parse(body)?)?,
        "GetTables" => get_tables(catalog, &wire::parse(body)?)?,
        "UpdateTable" => update_table(catalog, wire::parse(body)?, now_s)?,
        "DeleteTable" => {
            let request: TableRequest = wire::parse(body)?;
            catalog.delete_table(&name(Some(&request.database_name))?, &name(request.name.as_deref())?)?;
            json!({})
        }
        other => return partitions::call(catalog, other, body, now_s),
    };
    wire::answer(&answer)
}

fn create_database(catalog: &mut Catalog, request: DatabaseRequest, now_s: i64) -> Result<Value, GlueError> {
    let input = object(request.database_input, "DatabaseInput is required.")?;
    let name = name(input.get("Name").and_then(Value::as_str))?;
    catalog.create_database(name, DatabaseEntry { input, created_s: now_s })?;
    Ok(json!({}))
}

fn update_database(catalog: &mut Catalog, request: DatabaseRequest) -> Result<Value, GlueError> {
    let input = object(request.database_input, "DatabaseInput is required.")?;
    catalog.update_database(&name(request.name.as_deref())?, input)?;
    Ok(json!({}))
}

fn get_database(catalog: &Catalog, request: &DatabaseRequest) -> Result<Value, GlueError> {
    let name = name(request.name.as_deref())?;
    Ok(json!({ "Database": database_object(&name, &catalog.database(&name)?.entry) }))
}

fn get_databases(catalog: &Catalog, request: &PageRequest) -> Result<Value, GlueError> {
    let all: Vec<_> = catalog.databases().iter().collect();
    let (page, next) = page(&all, |(name, _)| name.as_str(), request)?;
    let databases: Vec<Value> = page.iter().map(|(name, found)| database_object(name, &found.entry)).collect();
    Ok(with_token(json!({ "DatabaseList": databases }), next))
}

fn create_table(catalog: &mut Catalog, request: TableRequest, now_s: i64) -> Result<Value, GlueError> {
    let input = object(request.table_input, "TableInput is required.")?;
    let table = name(input.get("Name").and_then(Value::as_str))?;
    let entry = TableEntry { input, version: 0, created_s: now_s, updated_s: now_s };
    catalog.create_table(&name(Some(&request.database_name))?, table, entry)?;
    Ok(json!({}))
}

fn update_table(catalog: &mut Catalog, request: TableRequest, now_s: i64) -> Result<Value, GlueError> {
    let input = object(request.table_input, "TableInput is required.")?;
    let table = name(input.get("Name").and_then(Value::as_str))?;
    let database = name(Some(&request.database_name))?;
    catalog.update_table((&database, &table), input, request.version_id.as_deref(), now_s)?;
    Ok(json!({}))
}

fn get_table(catalog: &Catalog, request: &TableRequest) -> Result<Value, GlueError> {
    let (database, table) = (name(Some(&request.database_name))?, name(request.name.as_deref())?);
    Ok(json!({ "Table": table_object(&database, &table, &catalog.table(&database, &table)?.entry) }))
}

fn get_tables(catalog: &Catalog, request: &PageRequest) -> Result<Value, GlueError> {
    let database = name(request.database_name.as_deref())?;
    let pattern = request.expression.as_deref().map(NamePattern::parse).transpose()?;
    let tables = &catalog.database(&database)?.tables;
    let wanted: Vec<_> =
        tables.iter().filter(|(name, _)| pattern.as_ref().is_none_or(|pattern| pattern.matches(name))).collect();
    let (page, next) = page(&wanted, |(name, _)| name.as_str(), request)?;
    let list: Vec<Value> = page.iter().map(|(name, found)| table_object(&database, name, &found.entry)).collect();
    Ok(with_token(json!({ "TableList": list }), next))
}

/// A page of items, and the token for the rest.
type Page<'a, T> = (&'a [T], Option<String>);

/// Items after the token's name, and the token for the rest.
fn page<'a, T>(items: &'a [T], name_of: impl Fn(&T) -> &str, request: &PageRequest) -> Result<Page<'a, T>, GlueError> {
    let size = match request.max_results {
        None => MAX_PAGE,
        Some(size) if (1..=MAX_PAGE).contains(&size) => size,
        Some(_) => return Err(GlueError::Invalid { what: "MaxResults is 1 to 100." }),
    };
    let after = request.next_token.as_deref().unwrap_or_default();
    let start = items.partition_point(|item| name_of(item) <= after);
    let rest = items.get(start..).unwrap_or_default();
    let page = rest.get(..size).unwrap_or(rest);
    let next = page.last().filter(|_| page.len() < rest.len()).map(|last| name_of(last).to_owned());
    Ok((page, next))
}

fn with_token(mut answer: Value, token: Option<String>) -> Value {
    if let (Some(token), Some(fields)) = (token, answer.as_object_mut()) {
        fields.insert("NextToken".to_owned(), Value::String(token));
    }
    answer
}

fn database_object(name: &str, entry: &DatabaseEntry) -> Value {
    let mut fields = fields_of(&entry.input);
    fields.insert("Name".to_owned(), json!(name));
    fields.insert("CreateTime".to_owned(), json!(entry.created_s));
    fields.insert("CatalogId".to_owned(), json!(CATALOG_ID));
    Value::Object(fields)
}

fn table_object(database: &str, name: &str, entry: &TableEntry) -> Value {
    let mut fields = fields_of(&entry.input);
    fields.insert("Name".to_owned(), json!(name));
    fields.insert("DatabaseName".to_owned(), json!(database));
    fields.insert("CreateTime".to_owned(), json!(entry.created_s));
    fields.insert("UpdateTime".to_owned(), json!(entry.updated_s));
    fields.insert("VersionId".to_owned(), json!(entry.version.to_string()));
    fields.insert("CatalogId".to_owned(), json!(CATALOG_ID));
    fields.insert("IsRegisteredWithLakeFormation".to_owned(), json!(false));
    fields.entry("PartitionKeys").or_insert_with(|| json!([]));
    fields.entry("Retention").or_insert_with(|| json!(0));
    Value::Object(fields)
}

fn fields_of(input: &Value) -> Map<String, Value> {
    input.as_object().cloned().unwrap_or_default()
}

fn object(input: Option<Value>, what: &'static str) -> Result<Value, GlueError> {
    input.filter(Value::is_object).ok_or(GlueError::Invalid { what })
}

/// A name of a database or table, folded to lower case: 1 to 255 bytes that a directory may be named by.
fn name(given: Option<&str>) -> Result<String, GlueError> {
    let given = given.unwrap_or_default();
    let fits = (1..=255).contains(&given.len())
        && !given.starts_with('.')
        && !given.chars().any(|character| character.is_control() || character == '/');
    if fits { Ok(given.to_lowercase()) } else { Err(GlueError::InvalidName { name: given.to_owned() }) }
}

/// The `Expression` of `GetTables`: names with `*` or `.*` for any text, alternatives with `|`.
#[derive(Debug)]
struct NamePattern(Vec<Vec<String>>);

impl NamePattern {
    fn parse(text: &str) -> Result<Self, GlueError> {
        let simple = text.replace(".*", "*");
        if simple.chars().any(|character| !(character.is_alphanumeric() || "_-*|".contains(character))) {
            return Err(GlueError::Invalid { what: "The local catalog reads only names, * and | in Expression." });
        }
        Ok(Self(simple.split('|').map(|one| one.split('*').map(str::to_lowercase).collect()).collect()))
    }

    fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pieces| matches_pieces(name, pieces))
    }
}

/// Whether a name is the pieces with any text between them.
fn matches_pieces(name: &str, pieces: &[String]) -> bool {
    let Some((first, rest)) = pieces.split_first() else { return name.is_empty() };
    let Some(mut left) = name.strip_prefix(first.as_str()) else { return false };
    let Some((last, middle)) = rest.split_last() else { return left.is_empty() };
    for piece in middle {
        let Some((_, after)) = left.split_once(piece.as_str()) else { return false };
        left = after;
    }
    left.ends_with(last.as_str())
}

#[cfg(test)]
mod tests {
    use super::NamePattern;

    #[test]
    fn patterns_of_names() {
        let check = |pattern: &str, name: &str, expected: bool| {
            assert_eq!(NamePattern::parse(pattern).unwrap().matches(name), expected, "{pattern} {name}");
        };
        check("*", "anything", true);
        check("ad_*", "ad_requests", true);
        check("ad_.*", "ad_requests", true);
        check("*_requests", "ad_requests", true);
        check("a*r*s", "ad_requests", true);
        check("a*x*s", "ad_requests", false);
        check("imps|ad_requests", "imps", true);
        check("imps", "imps2", false);
        check("", "x", false);
        assert!(NamePattern::parse("a[bc]").is_err());
    }
}
