//! The identity of a row, compact and exact, read out of a table's key columns.

use arrow::array::{Array, AsArray, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{Int32Type, TimestampMillisecondType};
use events::event_id::{EventId, EventIdError};
use events::table::{ColumnType, Table};

/// The column that tells a redelivery (the same) from a request that was sent again (another).
pub(crate) const RECEIVED_TS: &str = "received_ts";

/// Identity of a row: the event, and the position in it where the table has several rows an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RowKey {
    event_id: [u64; 2],
    index: i32,
}

/// One arrival of a row: the same request sent twice is received twice, the same record delivered twice is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Arrival {
    /// Which row.
    pub(crate) key: RowKey,
    /// When its event was received, in milliseconds since the epoch.
    pub(crate) received_ts: i64,
}

/// Why the arrivals of a batch are not read: the file is not one of the table.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A column is missing or of another type.
    #[error("column {0} is missing or of another type")]
    Column(&'static str),
    /// An id is no id.
    #[error("read an event id")]
    EventId(#[from] EventIdError),
}

impl RowKey {
    /// The key of a row of an event.
    pub(crate) fn new(event_id: EventId, index: i32) -> Self {
        let bits = u128::from_be_bytes(*event_id.as_bytes());
        let [high, low] = [bits >> 64, bits & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or(u64::MAX));
        Self { event_id: [high, low], index }
    }

    /// The event.
    pub(crate) fn event_id(self) -> String {
        let [high, low] = self.event_id;
        uuid::Uuid::from_u64_pair(high, low).to_string()
    }

    /// The position in the event; 0 in a table of one row an event.
    pub(crate) fn index(self) -> i32 {
        self.index
    }
}

/// The columns that [`arrivals`] reads.
pub(crate) fn arrival_columns(table: &Table) -> impl Iterator<Item = &'static str> {
    table.key.iter().copied().chain([RECEIVED_TS])
}

/// The arrivals of a batch, row by row. The batch may hold other columns too.
///
/// # Errors
/// When the batch is not one of the table.
pub(crate) fn arrivals(table: &Table, batch: &RecordBatch) -> Result<Vec<Arrival>, KeyError> {
    let mut event_ids: Option<&StringArray> = None;
    let mut indexes: Option<&Int32Array> = None;
    for name in table.key {
        let column = batch.column_by_name(name).ok_or(KeyError::Column(name))?;
        let kind = table.columns.iter().find(|column| column.name == *name).map(|column| column.kind);
        match kind {
            Some(ColumnType::Text) => event_ids = column.as_string_opt(),
            Some(ColumnType::Int32) => indexes = column.as_primitive_opt::<Int32Type>(),
            Some(ColumnType::Int64 | ColumnType::Float64 | ColumnType::Bool | ColumnType::Timestamp) | None => {
                return Err(KeyError::Column(name));
            }
        }
    }
    let event_ids = event_ids.ok_or(KeyError::Column("event_id"))?;
    let times = batch.column_by_name(RECEIVED_TS).ok_or(KeyError::Column(RECEIVED_TS))?;
    let times: &TimestampMillisecondArray =
        times.as_primitive_opt::<TimestampMillisecondType>().ok_or(KeyError::Column(RECEIVED_TS))?;
    let mut arrivals = Vec::with_capacity(event_ids.len());
    for (row, (event_id, received_ts)) in event_ids.iter().zip(times.values()).enumerate() {
        let event_id: EventId = event_id.unwrap_or_default().parse()?;
        let index = indexes.and_then(|indexes| indexes.values().get(row)).copied().unwrap_or(0);
        arrivals.push(Arrival { key: RowKey::new(event_id, index), received_ts: *received_ts });
    }
    Ok(arrivals)
}

#[cfg(test)]
mod tests {
    use events::table::{FAILED_EVENTS, TABLES};

    use super::*;

    #[test]
    fn every_published_table_has_a_key_that_is_read() {
        for table in TABLES {
            let kinds: Vec<ColumnType> = table
                .key
                .iter()
                .filter_map(|key| table.columns.iter().find(|column| column.name == *key))
                .map(|column| column.kind)
                .collect();
            let is_read = matches!(kinds.as_slice(), [ColumnType::Text] | [ColumnType::Text, ColumnType::Int32]);
            assert!(is_read || std::ptr::eq(table, &FAILED_EVENTS), "{}", table.name);
        }
    }

    #[test]
    fn keys_keep_every_bit() {
        let event_id = EventId::of_content("t", "ad_request", "a", b"{}");
        let key = RowKey::new(event_id, 7);
        assert_eq!((key.event_id(), key.index()), (event_id.to_string(), 7));
        assert_ne!(key, RowKey::new(event_id, 8));
    }
}
