//! Filter criteria of a mapping: which records the function gets at all.
//!
//! A record passes when one of the filters matches. A filter looks at the record's metadata and, below `data`, at its
//! content, which must be JSON then: what is not is dropped, as at AWS. What does not pass counts as handled.

mod pattern;

use serde_json::{Map, Value};

use crate::kinesis::Record;

use pattern::Pattern;
pub use pattern::PatternError;

/// Filters of one mapping: the service's default quota.
pub const FILTERS_MAX: usize = 5;
/// Bytes of one filter's text.
pub const FILTER_BYTES_MAX: usize = 4_096;

/// A filter that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// There are too many.
    #[error("a mapping has at most {FILTERS_MAX} filters")]
    TooMany,
    /// One is too long.
    #[error("a filter has at most {FILTER_BYTES_MAX} bytes")]
    TooLong,
    /// It is not JSON.
    #[error("a filter is not JSON")]
    Json(#[from] serde_json::Error),
    /// What is below `data` must be a pattern for JSON.
    #[error("the filter pattern for data must be a JSON object")]
    Data,
    /// It is not a pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// The filters of one mapping; without any, all records pass.
#[derive(Debug, Clone, Default)]
pub(super) struct Filters {
    filters: Vec<Filter>,
}

#[derive(Debug, Clone)]
struct Filter {
    pattern: Pattern,
    needs_data: bool,
}

impl Filters {
    /// Reads the filters' texts.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub(super) fn parse(texts: &[String]) -> Result<Self, FilterError> {
        if texts.len() > FILTERS_MAX {
            return Err(FilterError::TooMany);
        }
        let filters = texts.iter().map(|text| Filter::parse(text)).collect::<Result<_, _>>()?;
        Ok(Self { filters })
    }

    /// Whether a record is for the function.
    pub(super) fn pass(&self, record: &Record) -> bool {
        if self.filters.is_empty() {
            return true;
        }
        let needs_data = self.filters.iter().any(|filter| filter.needs_data);
        let data = if needs_data { serde_json::from_slice::<Value>(&record.data).ok() } else { None };
        let has_data = data.is_some();
        let value = view(record, data);
        self.filters.iter().any(|filter| (has_data || !filter.needs_data) && filter.pattern.matches(&value))
    }
}

impl Filter {
    fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > FILTER_BYTES_MAX {
            return Err(FilterError::TooLong);
        }
        let value: Value = serde_json::from_str(text)?;
        let data = value.get("data");
        if data.is_some_and(|data| !data.is_object()) {
            return Err(FilterError::Data);
        }
        // Alternatives may hide it deeper; then it is read to be sure.
        let needs_data = data.is_some() || value.get("$or").is_some();
        Ok(Self { pattern: Pattern::parse(&value)?, needs_data })
    }
}

/// What a filter sees of a record.
fn view(record: &Record, data: Option<Value>) -> Value {
    let mut fields = Map::new();
    fields.insert("kinesisSchemaVersion".to_owned(), "1.0".into());
    fields.insert("partitionKey".to_owned(), record.partition_key.as_str().into());
    fields.insert("sequenceNumber".to_owned(), record.sequence_number.to_string().into());
    if let Some(data) = data {
        fields.insert("data".to_owned(), data);
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests {
    use crate::kinesis::SequenceNumber;

    use super::*;

    fn record(key: &str, data: &str) -> Record {
        Record {
            sequence_number: SequenceNumber::new(1, 0, 7),
            arrival_ms: 0,
            partition_key: key.to_owned(),
            data: data.as_bytes().to_vec().into(),
        }
    }

    fn check(filters: &[&str], key: &str, data: &str, expected: bool) {
        let texts: Vec<String> = filters.iter().map(|text| (*text).to_owned()).collect();
        let filters = Filters::parse(&texts).unwrap();
        assert_eq!(filters.pass(&record(key, data)), expected, "{texts:?} on {key} {data}");
    }

    #[test]
    fn filters_look_at_the_key_and_at_the_data() {
        check(&[], "k", "x", true);
        let by_key = r#"{"partitionKey":["k1"]}"#;
        check(&[by_key], "k1", "not JSON", true);
        check(&[by_key], "k2", "{}", false);
        let by_data = r#"{"data":{"type":["ad_request"]}}"#;
        check(&[by_data], "k", r#"{"type":"ad_request"}"#, true);
        check(&[by_data], "k", r#"{"type":"bid"}"#, false);
        check(&[by_data], "k", "ad_request", false);
        check(&[by_data], "k", "7", false);
        check(&[by_data, by_key], "k1", "not JSON", true);
        check(&[by_data, by_key], "k2", r#"{"type":"ad_request"}"#, true);
        let both = r#"{"partitionKey":[{"prefix":"k"}],"data":{"n":[{"numeric":[">",5]}]}}"#;
        check(&[both], "k1", r#"{"n":6}"#, true);
        check(&[both], "x1", r#"{"n":6}"#, false);
        check(&[both], "k1", r#"{"n":5}"#, false);
        // Absence is a match on JSON only: what is not JSON is dropped before.
        let absent = r#"{"data":{"test":[{"exists":false}]}}"#;
        check(&[absent], "k", "{}", true);
        check(&[absent], "k", "x", false);
    }

    #[test]
    fn filters_that_cannot_be_used_are_refused() {
        let error = |text: &str| Filters::parse(&[text.to_owned()]).unwrap_err().to_string();
        assert_eq!(error("{"), "a filter is not JSON");
        assert_eq!(error(r#"{"data":["plain"]}"#), "the filter pattern for data must be a JSON object");
        assert!(error(r#"{"data":{"a":"b"}}"#).contains("data.a"), "{}", error(r#"{"data":{"a":"b"}}"#));
        assert!(error(&format!(r#"{{"partitionKey":["{}"]}}"#, "x".repeat(5_000))).contains("4096"));
        let many = vec![r#"{"partitionKey":["a"]}"#.to_owned(); FILTERS_MAX + 1];
        assert!(matches!(Filters::parse(&many), Err(FilterError::TooMany)));
    }
}
