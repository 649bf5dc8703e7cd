//! What the tables of one row an event have in common: the columns of the envelope, and short ways to write the others.

use super::ColumnType::{Int32, Int64, Text, Timestamp};
use super::{Column, ColumnType, Reading, ScreenFact, Source};

/// The columns that every event has: first in its table.
pub(super) const HEAD: [Column; 10] = [
    envelope(
        "event_id",
        Text,
        Source::EventId,
        "identity of the event, a UUID; the same body sent again has the same one",
    ),
    envelope("event_type", Text, Source::EventType, "what happened"),
    envelope("schema_version", Int32, Source::SchemaVersion, "version of the envelope"),
    envelope("tenant_id", Text, Source::TenantId, "whose event it is"),
    Column {
        name: "auction_id",
        kind: Text,
        nullable: true,
        doc: "BidRequest.id of the auction it belongs to",
        source: Source::AuctionId,
    },
    envelope("event_ts", Timestamp, Source::EventTs, "when the event counts: when it was received"),
    envelope("received_ts", Timestamp, Source::ReceivedTs, "when the collector had the whole event"),
    envelope("enriched_ts", Timestamp, Source::EnrichedTs, "when it was enriched"),
    envelope("endpoint", Text, Source::Endpoint, "path it came in by"),
    Column {
        name: "warnings",
        kind: Text,
        nullable: true,
        doc: "rules that marked it, joined by commas",
        source: Source::Warnings,
    },
];

/// The columns that every event has: last in its table.
pub(super) const TAIL: [Column; 2] = [
    envelope("body_bytes", Int64, Source::BodyBytes, "size of the body"),
    envelope("body", Text, Source::Body, "the event as received, byte for byte"),
];

/// The columns of events that name an ad unit: what the screens table knows of it. Absent for an unknown one.
const SCREEN: [Column; 8] = [
    screen("publisher_id", Text, ScreenFact::PublisherId, "owner of the ad unit"),
    screen("venuetype_id", Int32, ScreenFact::VenueTypeId, "OpenOOH venue type of the screen, the finest known tier"),
    screen("venuetype_parent", Int32, ScreenFact::VenueTypeParent, "OpenOOH venue type of the screen, first tier"),
    screen("city", Text, ScreenFact::City, "city of the screen"),
    screen("country", Text, ScreenFact::Country, "ISO 3166 alpha-3"),
    screen("tz", Text, ScreenFact::Tz, "IANA time zone of the screen"),
    screen(
        "local_ts",
        Timestamp,
        ScreenFact::LocalTs,
        "wall clock at the screen at the display, else when the event was received",
    ),
    screen("local_hour", Int32, ScreenFact::LocalHour, "hour of that clock, 0 to 23"),
];

const fn screen(name: &'static str, kind: ColumnType, fact: ScreenFact, doc: &'static str) -> Column {
    Column { name, kind, nullable: true, doc, source: Source::Screen(fact) }
}

/// A table's own columns with those of the screen behind them. `ALL` is the sum of both lengths.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled: an index out of bounds does not compile")]
pub(super) const fn with_screen<const OWN: usize, const ALL: usize>(own: [Column; OWN]) -> [Column; ALL] {
    assert!(ALL == OWN + SCREEN.len(), "the sum of both lengths");
    let mut all = [SCREEN[0]; ALL];
    let mut index = 0;
    while index < ALL {
        all[index] = if index < OWN { own[index] } else { SCREEN[index - OWN] };
        index += 1;
    }
    all
}

/// The columns of a table of one row an event: head, its own, tail. `ALL` is the sum of the three lengths.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled: an index out of bounds does not compile")]
pub(super) const fn columns<const OWN: usize, const ALL: usize>(own: [Column; OWN]) -> [Column; ALL] {
    assert!(ALL == HEAD.len() + OWN + TAIL.len(), "the sum of the three lengths");
    let mut all = [HEAD[0]; ALL];
    let mut index = 0;
    while index < ALL {
        all[index] = if index < HEAD.len() {
            HEAD[index]
        } else if index < HEAD.len() + OWN {
            own[index - HEAD.len()]
        } else {
            TAIL[index - HEAD.len() - OWN]
        };
        index += 1;
    }
    all
}

const fn envelope(name: &'static str, kind: ColumnType, source: Source, doc: &'static str) -> Column {
    Column { name, kind, nullable: false, doc, source }
}

/// A member of the body, read by the column's type.
pub(super) const fn member(
    name: &'static str,
    kind: ColumnType,
    path: &'static [&'static str],
    doc: &'static str,
) -> Column {
    Column { name, kind, nullable: true, doc, source: Source::Member(path, Reading::Plain) }
}

/// A price per thousand of the body, in micros.
pub(super) const fn cpm_micros(name: &'static str, path: &'static [&'static str], doc: &'static str) -> Column {
    Column { name, kind: Int64, nullable: true, doc, source: Source::Member(path, Reading::CpmMicros) }
}

/// A multiplier of the body, in ten-thousandths.
pub(super) const fn multiplier_e4(name: &'static str, path: &'static [&'static str], doc: &'static str) -> Column {
    Column { name, kind: Int64, nullable: true, doc, source: Source::Member(path, Reading::MultiplierE4) }
}
