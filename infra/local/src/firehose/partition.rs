//! Dynamic partitioning: from records as they come to records with the prefix that they belong to.
//!
//! A record that holds several is cut first. Then a JQ expression gives the values of the keys that the prefix names. A
//! record without a value, or one that would open a partition too many, becomes a failed record.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::failed::{self, Reason};
use super::lane::Lane;
use super::prefix::{Instance, Prefixes, fits};
use super::query::Query;
use super::segment::Entry;

/// The most records that one is cut into; one that holds more is passed as it is.
const MAX_PARTS: usize = 500;
/// The most partitions with buffers that are not delivered yet, as a stream has without asking for more.
pub(super) const MAX_ACTIVE: usize = 500;

/// How a record is cut into several: `RecordDeAggregation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cut {
    /// JSON objects one behind the other.
    Json,
    /// Between these bytes.
    Delimited(Vec<u8>),
}

/// What is done with the records of a stream with dynamic partitioning.
#[derive(Debug)]
pub(super) struct Partitioning {
    pub(super) cut: Option<Cut>,
    pub(super) query: Query,
}

impl Partitioning {
    /// The lanes of records, and the records of each in their order. `active` has the partitions that are open or not
    /// delivered yet.
    ///
    /// # Errors
    /// When a failed record cannot be described.
    pub(super) fn route(
        &self,
        entries: Vec<Entry>,
        prefixes: &Prefixes,
        mut active: BTreeSet<Lane>,
        now_ms: i64,
    ) -> io::Result<BTreeMap<Lane, Vec<Entry>>> {
        let mut lanes: BTreeMap<Lane, Vec<Entry>> = BTreeMap::new();
        for entry in entries {
            for data in self.cut(&entry.data) {
                let part = Entry { data, ..entry.clone() };
                let lane = self.partition(&part, prefixes).and_then(|lane| {
                    let is_room = active.contains(&lane) || active.len() < MAX_ACTIVE;
                    if is_room { Ok(lane) } else { Err((failed::TOO_MANY_PARTITIONS, too_many())) }
                });
                match lane {
                    Ok(lane) => {
                        active.insert(lane.clone());
                        lanes.entry(lane).or_default().push(part);
                    }
                    Err((kind, reason)) => {
                        let data = failed::unprocessed(&part, &reason, now_ms)?.into();
                        let lane = Lane::Failed { output_type: kind.to_owned() };
                        lanes.entry(lane).or_default().push(Entry { data, ..part });
                    }
                }
            }
        }
        Ok(lanes)
    }

    fn partition(&self, entry: &Entry, prefixes: &Prefixes) -> Result<Lane, (&'static str, Reason)> {
        let fault = |message: String| {
            (failed::EXTRACTION, Reason { code: "DynamicPartitioning.MetadataExtractionFailed", message })
        };
        let keys = self.query.keys(&entry.data).map_err(|error| fault(error.to_string()))?;
        let wanted = prefixes.data.keys();
        if let Some(key) = wanted.iter().find(|key| keys.get(**key).is_none_or(String::is_empty)) {
            return Err(fault(format!("partitionKeys values must not be null or empty: {key}")));
        }
        let instance = Instance { arrival_ms: entry.arrival_ms, output_type: "", keys: &keys };
        let prefix = prefixes.data.eval(instance, prefixes.zone);
        if !fits(&prefix) {
            return Err(fault("the evaluated prefix has more than 512 characters".to_owned()));
        }
        Ok(Lane::Partition { prefix })
    }

    fn cut(&self, data: &Bytes) -> Vec<Bytes> {
        let parts = match &self.cut {
            None => None,
            Some(Cut::Json) => json_parts(data),
            Some(Cut::Delimited(delimiter)) => delimited_parts(data, delimiter),
        };
        parts.unwrap_or_else(|| vec![data.clone()])
    }
}

fn too_many() -> Reason {
    let message = format!("The stream has {MAX_ACTIVE} active partitions, and this record is of none of them.");
    Reason { code: "DynamicPartitioning.ActivePartitionsLimitExceeded", message }
}

/// `None` for what is no sequence of JSON objects, or a longer one than is cut.
fn json_parts(data: &Bytes) -> Option<Vec<Bytes>> {
    let mut parts = Vec::new();
    for value in serde_json::Deserializer::from_slice(data).into_iter::<&RawValue>() {
        let value = value.ok().filter(|value| value.get().starts_with('{'))?;
        if parts.len() == MAX_PARTS {
            return None;
        }
        parts.push(data.slice_ref(value.get().as_bytes()));
    }
    Some(parts).filter(|parts| !parts.is_empty())
}

fn delimited_parts(data: &Bytes, delimiter: &[u8]) -> Option<Vec<Bytes>> {
    let mut parts = Vec::new();
    let mut rest: &[u8] = data;
    while !rest.is_empty() {
        if parts.len() == MAX_PARTS {
            return None;
        }
        let at = rest.windows(delimiter.len()).position(|window| window == delimiter).unwrap_or(rest.len());
        let (part, behind) = rest.split_at_checked(at)?;
        if !part.is_empty() {
            parts.push(data.slice_ref(part));
        }
        rest = behind.get(delimiter.len()..).unwrap_or_default();
    }
    Some(parts).filter(|parts| !parts.is_empty())
}

#[cfg(test)]
mod tests;
