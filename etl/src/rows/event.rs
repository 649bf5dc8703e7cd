//! The rows of an event whose tables say by themselves where each column comes from.

use std::borrow::Cow;

use events::envelope::EventType;
use events::json::Json;
use events::money;
use events::table::{BIDS, Column, ColumnType, Reading, ScreenFact, Source, Table};

use super::{Checked, HourRows, int32};
use crate::columns::{TableRows, Value};

/// What a column may be read from.
#[derive(Clone, Copy)]
struct Row<'r, 'e, 'j> {
    event: &'r Checked<'e, 'j>,
    body: &'r Json<'j>,
    seat: &'r Json<'j>,
    bid: &'r Json<'j>,
    bid_index: i32,
}

/// A value before the column takes it; text may have to be made.
enum Cell<'r> {
    Text(Cow<'r, str>),
    Int32(i32),
    Int64(i64),
    Float64(f64),
    Bool(bool),
    Timestamp(i64),
}

/// Appends the row of an event to its table, and the rows of its bids where it has any.
pub(super) fn append(rows: &mut HourRows, table: &'static Table, event: &Checked<'_, '_>, body: &Json<'_>) {
    let row = Row { event, body, seat: &Json::Null, bid: &Json::Null, bid_index: 0 };
    push(rows.table(table), table, row);
    if event.envelope.event_type != EventType::BidResponse {
        return;
    }
    let seats = body.at(&["response", "seatbid"]).map_or(&[][..], Json::elements);
    let bids = seats
        .iter()
        .flat_map(|seat| seat.get("bid").map_or(&[][..], Json::elements).iter().map(move |bid| (seat, bid)));
    for ((seat, bid), bid_index) in bids.zip(0..) {
        push(rows.table(&BIDS), &BIDS, Row { seat, bid, bid_index, ..row });
    }
}

fn push(rows: &mut TableRows, table: &'static Table, row: Row<'_, '_, '_>) {
    let cells: Vec<Option<Cell<'_>>> = table.columns.iter().map(|column| cell(column, row)).collect();
    rows.push_columns(cells.iter().zip(table.columns).map(|(cell, column)| value(column.kind, cell.as_ref())));
}

fn value<'c>(kind: ColumnType, cell: Option<&'c Cell<'_>>) -> Value<'c> {
    match (kind, cell) {
        (_, Some(Cell::Text(text))) => Value::Text(text),
        (_, Some(Cell::Int32(number))) => Value::Int32(*number),
        (_, Some(Cell::Int64(number))) => Value::Int64(*number),
        (_, Some(Cell::Float64(number))) => Value::OptFloat64(Some(*number)),
        (_, Some(Cell::Bool(flag))) => Value::Bool(*flag),
        (_, Some(Cell::Timestamp(time))) => Value::Timestamp(*time),
        (ColumnType::Text, None) => Value::OptText(None),
        (ColumnType::Int32, None) => Value::OptInt32(None),
        (ColumnType::Int64, None) => Value::OptInt64(None),
        (ColumnType::Float64, None) => Value::OptFloat64(None),
        (ColumnType::Bool, None) => Value::OptBool(None),
        (ColumnType::Timestamp, None) => Value::OptTimestamp(None),
    }
}

fn cell<'r>(column: &Column, row: Row<'r, '_, '_>) -> Option<Cell<'r>> {
    let (envelope, enrichment) = (row.event.envelope, row.event.enrichment);
    let text = |text: &'r str| Some(Cell::Text(Cow::Borrowed(text)));
    match column.source {
        Source::EventId => text(&row.event.event_id),
        Source::EventType => text(envelope.event_type.name()),
        Source::SchemaVersion => Some(Cell::Int32(int32(Some(envelope.schema_version.into())).unwrap_or(i32::MAX))),
        Source::TenantId => text(&envelope.tenant_id),
        Source::AuctionId => text(&envelope.auction_id).filter(|_| !envelope.auction_id.is_empty()),
        Source::EventTs => Some(Cell::Timestamp(enrichment.event_ts)),
        Source::ReceivedTs => Some(Cell::Timestamp(envelope.received_ts)),
        Source::EnrichedTs => Some(Cell::Timestamp(enrichment.enriched_ts)),
        Source::Endpoint => text(&envelope.endpoint),
        Source::Warnings => {
            (!envelope.warnings.is_empty()).then(|| Cell::Text(Cow::Owned(envelope.warnings.join(","))))
        }
        Source::BodyBytes => Some(Cell::Int64(i64::try_from(row.event.body.len()).unwrap_or(i64::MAX))),
        Source::Body => text(row.event.body),
        Source::BidIndex => Some(Cell::Int32(row.bid_index)),
        Source::Screen(fact) => {
            let screen = enrichment.screen.as_ref()?;
            match fact {
                ScreenFact::PublisherId => text(&screen.publisher_id),
                ScreenFact::VenueTypeId => Some(Cell::Int32(screen.venuetype_id)),
                ScreenFact::VenueTypeParent => Some(Cell::Int32(screen.venuetype_parent)),
                ScreenFact::City => text(&screen.city),
                ScreenFact::Country => text(&screen.country),
                ScreenFact::Tz => text(&screen.tz),
                ScreenFact::LocalTs => Some(Cell::Timestamp(screen.local_ts)),
                ScreenFact::LocalHour => Some(Cell::Int32(screen.local_hour)),
            }
        }
        Source::Member(path, reading) => read(row.body.at(path)?, column.kind, reading),
        Source::EitherMember([first, second], reading) => {
            read(row.body.at(first).or_else(|| row.body.at(second))?, column.kind, reading)
        }
        Source::SeatMember(path, reading) => read(row.seat.at(path)?, column.kind, reading),
        Source::BidMember(path, reading) => read(row.bid.at(path)?, column.kind, reading),
        // No table has such a column beside others: the definitions' test says so.
        Source::Row => None,
    }
}

/// What does not fit the column is absent there, and stays in the body.
fn read<'r>(member: &'r Json<'_>, kind: ColumnType, reading: Reading) -> Option<Cell<'r>> {
    match reading {
        Reading::Plain => plain(member, kind),
        Reading::CpmMicros => member.as_f64().and_then(money::cpm_micros).map(Cell::Int64),
        Reading::MultiplierE4 => member.as_f64().and_then(money::multiplier_e4).map(Cell::Int64),
        Reading::List => {
            let texts: Vec<Cow<'_, str>> = member.elements().iter().filter_map(text_of).collect();
            (!texts.is_empty()).then(|| Cell::Text(Cow::Owned(texts.join(","))))
        }
    }
}

fn plain<'r>(member: &'r Json<'_>, kind: ColumnType) -> Option<Cell<'r>> {
    match kind {
        ColumnType::Text => text_of(member).map(Cell::Text),
        ColumnType::Int32 => int32(member.as_i64()).map(Cell::Int32),
        ColumnType::Int64 => member.as_i64().map(Cell::Int64),
        ColumnType::Float64 => member.as_f64().map(Cell::Float64),
        ColumnType::Bool => match member {
            Json::Bool(flag) => Some(Cell::Bool(*flag)),
            Json::Null | Json::Integer(_) | Json::Float(_) | Json::Text(_) | Json::Array(_) | Json::Object(_) => {
                member.as_i64().map(|number| Cell::Bool(number == 1))
            }
        },
        ColumnType::Timestamp => member.as_f64().and_then(events::time::millis).map(|time| Cell::Timestamp(time.ms)),
    }
}

/// Ids come as strings, and from some senders as whole numbers.
fn text_of<'r>(member: &'r Json<'_>) -> Option<Cow<'r, str>> {
    member.as_str().map(Cow::Borrowed).or_else(|| member.as_i64().map(|number| Cow::Owned(number.to_string())))
}
