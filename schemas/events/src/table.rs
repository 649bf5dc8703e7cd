//! The tables: one definition each, from which Arrow schema, Glue columns and documentation are made.
//!
//! Every table is partitioned by `event_date` and `event_hour` (UTC), which stand in no file.

mod ad_requests;
mod auctions;
mod bid_requests;
mod bid_responses;
mod bids;
mod event;
mod failed_events;
mod imps;
mod notices;
mod proof_of_plays;

use crate::envelope::EventType;

pub use ad_requests::AD_REQUESTS;
pub use auctions::AUCTIONS;
pub use bid_requests::BID_REQUESTS;
pub use bid_responses::BID_RESPONSES;
pub use bids::BIDS;
pub use failed_events::FAILED_EVENTS;
pub use imps::IMPS;
pub use notices::NOTICES;
pub use proof_of_plays::PROOF_OF_PLAYS;

/// All tables.
pub const TABLES: [&Table; 9] =
    [&AD_REQUESTS, &IMPS, &BID_REQUESTS, &BID_RESPONSES, &BIDS, &AUCTIONS, &NOTICES, &PROOF_OF_PLAYS, &FAILED_EVENTS];

/// The tables of one row an event: every accepted event is a row of exactly one of them.
pub const EVENT_TABLES: [&Table; 6] =
    [&AD_REQUESTS, &BID_REQUESTS, &BID_RESPONSES, &AUCTIONS, &NOTICES, &PROOF_OF_PLAYS];

/// The partition columns of every table, by name and Glue type.
pub const PARTITIONS: [(&str, &str); 2] = [("event_date", "date"), ("event_hour", "int")];

/// A table.
#[derive(Debug)]
pub struct Table {
    /// Name in the catalog.
    pub name: &'static str,
    /// What one row is.
    pub grain: &'static str,
    /// How rows are stored.
    pub storage: Storage,
    /// Columns in order.
    pub columns: &'static [Column],
    /// The columns that identify a row: rows that agree in them are repeats of one another.
    pub key: &'static [&'static str],
    /// The columns that published files are sorted by.
    pub sort: &'static [&'static str],
}

/// How rows are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Parquet files, published through a manifest.
    Parquet,
    /// One JSON object a line, gzip.
    JsonLines,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Name.
    pub name: &'static str,
    /// Type.
    pub kind: ColumnType,
    /// Whether a row may be without it.
    pub nullable: bool,
    /// Meaning and unit.
    pub doc: &'static str,
    /// Where its value comes from.
    pub source: Source,
}

/// Where the value of a column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Calculated where the table's rows are made.
    Row,
    /// The envelope's `event_id`.
    EventId,
    /// The envelope's `event_type`.
    EventType,
    /// The envelope's `schema_version`.
    SchemaVersion,
    /// The envelope's `tenant_id`.
    TenantId,
    /// The envelope's `auction_id`; absent where it is empty.
    AuctionId,
    /// The enrichment's `event_ts`.
    EventTs,
    /// The envelope's `received_ts`.
    ReceivedTs,
    /// The enrichment's `enriched_ts`.
    EnrichedTs,
    /// The envelope's `endpoint`.
    Endpoint,
    /// The envelope's `warnings`, joined by commas.
    Warnings,
    /// The size of the body.
    BodyBytes,
    /// The body, byte for byte.
    Body,
    /// Position of the bid among all bids of its response, from 0.
    BidIndex,
    /// What the enrichment knows of the event's screen.
    Screen(ScreenFact),
    /// A member of the body.
    Member(&'static [&'static str], Reading),
    /// A member of the body, or where that is absent another one.
    EitherMember([&'static [&'static str]; 2], Reading),
    /// A member of the `seatbid` that the bid stands in.
    SeatMember(&'static [&'static str], Reading),
    /// A member of the bid.
    BidMember(&'static [&'static str], Reading),
}

/// Which fact of [`crate::enriched::ScreenFacts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScreenFact {
    /// Who owns the ad unit.
    PublisherId,
    /// Venue type, the finest known tier.
    VenueTypeId,
    /// Venue type, first tier.
    VenueTypeParent,
    /// City.
    City,
    /// Country.
    Country,
    /// Time zone.
    Tz,
    /// The wall clock.
    LocalTs,
    /// Its hour.
    LocalHour,
}

/// How a member of a document becomes a value. What does not fit its column is absent there, and stays in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// By the column's type: a string (or a whole number as text), a number, true or 1, a time in milliseconds.
    Plain,
    /// A price per thousand as micros.
    CpmMicros,
    /// A multiplier as ten-thousandths.
    MultiplierE4,
    /// The strings and whole numbers of an array, joined by commas.
    List,
}

/// The types of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// UTF-8.
    Text,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// 64-bit float.
    Float64,
    /// Boolean.
    Bool,
    /// Milliseconds since the epoch, UTC.
    Timestamp,
}

impl ColumnType {
    /// The type's name in Glue and Athena.
    pub fn glue_name(self) -> &'static str {
        match self {
            ColumnType::Text => "string",
            ColumnType::Int32 => "int",
            ColumnType::Int64 => "bigint",
            ColumnType::Float64 => "double",
            ColumnType::Bool => "boolean",
            ColumnType::Timestamp => "timestamp",
        }
    }
}

const fn required(name: &'static str, kind: ColumnType, doc: &'static str) -> Column {
    Column { name, kind, nullable: false, doc, source: Source::Row }
}

const fn optional(name: &'static str, kind: ColumnType, doc: &'static str) -> Column {
    Column { name, kind, nullable: true, doc, source: Source::Row }
}

/// The table that an event of a type is one row of; none for what is refused at the door.
pub fn of_event(event_type: EventType) -> Option<&'static Table> {
    match event_type {
        EventType::AdRequest => Some(&AD_REQUESTS),
        EventType::BidRequest => Some(&BID_REQUESTS),
        EventType::BidResponse => Some(&BID_RESPONSES),
        EventType::Auction => Some(&AUCTIONS),
        EventType::WinNotice | EventType::LossNotice | EventType::BillingNotice => Some(&NOTICES),
        EventType::ProofOfPlay => Some(&PROOF_OF_PLAYS),
        EventType::FailedEvent => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn only_what_the_envelope_always_has_is_required_of_events() {
        for table in TABLES {
            let calculated = table.columns.iter().filter(|column| column.source == Source::Row).count();
            assert!(calculated == 0 || calculated == table.columns.len(), "{}: one way to make rows", table.name);
            for column in table.columns.iter().filter(|column| !column.nullable) {
                let may_be_absent = matches!(
                    column.source,
                    Source::AuctionId
                        | Source::Warnings
                        | Source::Member(..)
                        | Source::EitherMember(..)
                        | Source::SeatMember(..)
                        | Source::BidMember(..)
                );
                assert!(!may_be_absent, "{}.{}", table.name, column.name);
            }
        }
        for event_type in EventType::COLLECTED {
            let table = of_event(event_type).expect("every collected type has a table");
            assert!(EVENT_TABLES.iter().any(|event_table| std::ptr::eq(*event_table, table)));
        }
    }

    #[test]
    fn definitions_hold_together() {
        for table in TABLES {
            let names: HashSet<_> = table.columns.iter().map(|column| column.name).collect();
            assert_eq!(names.len(), table.columns.len(), "{}: names are unique", table.name);
            for key in table.key {
                let column = table.columns.iter().find(|column| column.name == *key).expect("the key is a column");
                assert!(!column.nullable, "{}: a key is never missing", table.name);
            }
            assert!(table.sort.iter().all(|name| names.contains(name)), "{}", table.name);
            let reserved = ["dt", "date", "time", "hour", "event_date", "event_hour"];
            assert!(reserved.iter().all(|name| !names.contains(name)), "{}", table.name);
            for column in table.columns {
                assert!(column.doc.len() > 3 && column.name.bytes().all(|byte| !byte.is_ascii_uppercase()));
            }
        }
    }
}
