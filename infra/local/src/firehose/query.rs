//! `MetadataExtraction`: a JQ expression that takes the partition keys out of a record.
//!
//! All of JQ's language is there, and of its functions those that need no more crates: not those of regular expressions,
//! of floating-point mathematics and of formats such as `@base64`. They are refused by name when the stream is made.

use std::collections::BTreeMap;
use std::fmt;

use jaq_core::data::JustLut;
use jaq_core::load::parse::Def;
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars};
use jaq_json::{Val, read};
use serde_json::value::RawValue;

mod calendar;

/// Definitions of the standard library that rest on what is not here.
const ABSENT: [&str; 25] = [
    "stderr",
    "debug",
    "halt_error",
    "logb",
    "significand",
    "pow10",
    "drem",
    "nexttoward",
    "scalb",
    "gamma",
    "test",
    "scan_",
    "match",
    "capture",
    "splits",
    "sub",
    "gsub",
    "scan",
    "@html",
    "@htmld",
    "@uri",
    "@urid",
    "@base64",
    "@base64d",
    "capture_of_match",
];

/// Why an expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("MetadataExtractionQuery {query} is not a JQ expression: {what}")]
pub(super) struct QueryError {
    query: String,
    what: String,
}

/// Why a record has no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExtractionError {
    #[error("Non JSON record provided")]
    NotJson,
    #[error("the expression fails: {what}")]
    Fails { what: String },
    #[error("the expression gives nothing")]
    Nothing,
    #[error("the expression gives {found}, and not an object of keys")]
    NotAnObject { found: String },
    #[error("partitionKeys values must not be null or empty: {key}")]
    Null { key: String },
    #[error("partitionKeys values must be strings, numbers or booleans: {key}")]
    NotAText { key: String },
}

/// An expression, read once.
pub(super) struct Query {
    text: String,
    filter: Filter<JustLut<Val>>,
}

impl fmt::Debug for Query {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Query").field(&self.text).finish()
    }
}

impl Query {
    /// Reads an expression.
    ///
    /// # Errors
    /// When it cannot be parsed, or names a function that is not there.
    pub(super) fn read(text: &str) -> Result<Self, QueryError> {
        let refused = |what: String| QueryError { query: text.to_owned(), what };
        let definitions = jaq_core::defs().chain(jaq_std::defs().filter(is_here)).chain(jaq_json::defs());
        let functions = jaq_core::funs().chain(jaq_std::base_funs()).chain(jaq_json::funs());
        let functions = functions.chain(calendar::functions());
        let arena = Arena::default();
        let modules = Loader::new(definitions).load(&arena, File { code: text, path: () });
        let modules = modules.map_err(|_errors| refused("it cannot be parsed".to_owned()))?;
        let filter = Compiler::default().with_funs(functions).compile(modules);
        let filter = filter.map_err(|errors| {
            let unknown: Vec<&str> = errors.iter().flat_map(|(_, errors)| errors).map(|(name, _)| *name).collect();
            refused(format!("it names what is not there: {}", unknown.join(", ")))
        })?;
        Ok(Self { text: text.to_owned(), filter })
    }

    /// The keys of a record: the members of the object that the expression gives first. Numbers and booleans become text.
    ///
    /// # Errors
    /// See [`ExtractionError`].
    pub(super) fn keys(&self, record: &[u8]) -> Result<BTreeMap<String, String>, ExtractionError> {
        // What reads JSON for the expression reads more than JSON.
        let json: &RawValue = serde_json::from_slice(record).map_err(|_error| ExtractionError::NotJson)?;
        let input = read::parse_single(json.get().as_bytes()).map_err(|_error| ExtractionError::NotJson)?;
        let context = Ctx::<JustLut<Val>>::new(&self.filter.lut, Vars::new([]));
        let first = self.filter.id.run((context, input)).next().ok_or(ExtractionError::Nothing)?;
        // Not with the crate's own function: that ends the process where an expression halts.
        let found = first.map_err(|exception| ExtractionError::Fails {
            what: exception.get_err().map_or_else(|_other| "it halts".to_owned(), |error| error.to_string()),
        })?;
        let Val::Obj(members) = &found else {
            return Err(ExtractionError::NotAnObject { found: found.to_string() });
        };
        members.iter().map(|(key, value)| key_value(key, value)).collect()
    }
}

/// Whether a definition of the standard library can be compiled. Of `split` that with a separator can.
fn is_here(definition: &Def<&'static str>) -> bool {
    !ABSENT.contains(&definition.name) && (definition.name != "split" || definition.args.len() == 1)
}

fn key_value(key: &Val, value: &Val) -> Result<(String, String), ExtractionError> {
    let text = |value: &Val| match value {
        Val::TStr(bytes) | Val::BStr(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Val::Num(number) => Some(number.to_string()),
        Val::Bool(value) => Some(value.to_string()),
        Val::Null | Val::Arr(_) | Val::Obj(_) => None,
    };
    let key = text(key).unwrap_or_default();
    match (value, text(value)) {
        (_, Some(text)) if !text.is_empty() => Ok((key, text)),
        (Val::Null, _) | (_, Some(_)) => Err(ExtractionError::Null { key }),
        (_, None) => Err(ExtractionError::NotAText { key }),
    }
}

#[cfg(test)]
mod tests {
    use super::Query;

    /// The keys of a record as `k=v`, or why there are none.
    fn keys(query: &str, record: &str) -> String {
        match Query::read(query) {
            Err(error) => error.to_string(),
            Ok(query) => match query.keys(record.as_bytes()) {
                Err(error) => error.to_string(),
                Ok(keys) => keys.iter().map(|(key, value)| format!("{key}={value};")).collect(),
            },
        }
    }

    #[test]
    fn expressions_give_keys() {
        let check = |query: &str, record: &str, expected: &str| assert_eq!(keys(query, record), expected, "{query}");
        let record =
            r#"{"customer_id":"7","n":12,"b":true,"type":{"device":"mobile","user":"x"},"ts":1565382027,"l":[1,2]}"#;
        check("{customer_id:.customer_id, device:.type.device}", record, "customer_id=7;device=mobile;");
        check("{n, b}", record, "b=true;n=12;");
        check(r#"{year: .ts | strftime("%Y"), month: .ts | strftime("%m")}"#, record, "month=08;year=2019;");
        check(r#"{a: (if (.missing // "") == "" then "none" else .missing end)}"#, record, "a=none;");
        check("{a: .l[1], b: (.customer_id | tonumber % 4 | tostring)}", record, "a=2;b=3;");
        check(
            r#"{a: (.t | strptime("%Y-%m-%dT%H:%M:%SZ") | mktime | strftime("%j"))}"#,
            r#"{"t":"2026-02-01T00:00:00Z"}"#,
            "a=032;",
        );
        check(r#"{a: (.t | fromdate | todate | split("-") | .[1])}"#, r#"{"t":"2026-02-01T00:00:00Z"}"#, "a=02;");
        check("{a: .customer_id} | .b = .a", record, "a=7;b=7;");
    }

    #[test]
    fn records_without_keys_and_expressions_that_are_none_say_so() {
        let check = |query: &str, record: &str, expected: &str| {
            let found = keys(query, record);
            assert!(found.contains(expected), "{query} of {record}: {found}");
        };
        check("{a:.a}", "{}", "partitionKeys values must not be null or empty: a");
        check("{a:.a}", r#"{"a":""}"#, "partitionKeys values must not be null or empty: a");
        check("{a:.a}", r#"{"a":[1]}"#, "must be strings, numbers or booleans: a");
        check("{a:.a}", "nothing", "Non JSON record provided");
        check("{a:.a}", r#"{"a":1}{"a":2}"#, "Non JSON record provided");
        check(".a", r#"{"a":1}"#, "gives 1, and not an object of keys");
        check("empty", "{}", "gives nothing");
        check("{a: (.a | error)}", r#"{"a":"no"}"#, "the expression fails: ");
        check("halt", "{}", "it halts");
        check("{a:", "{}", "cannot be parsed");
        check(r#"{a: (.a | test("x"))}"#, "{}", "names what is not there: test");
        check(r#"{a: (.a | strftime("%Q"))}"#, r#"{"a":1}"#, "is not a format of time");
        check("{a: nonsense(.a)}", "{}", "names what is not there: nonsense");
    }
}
