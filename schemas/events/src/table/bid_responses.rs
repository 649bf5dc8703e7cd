//! The table of bid responses.

use super::ColumnType::{Bool, Int32, Int64, Text};
use super::event::{columns, member};
use super::{Column, Reading, Source, Storage, Table};

/// One row an accepted `bid_response`. Its bids are rows of `bids`.
pub static BID_RESPONSES: Table = Table {
    name: "bid_responses",
    grain: "the answer of one bidder in an auction, or its absence",
    storage: Storage::Parquet,
    columns: &COLUMNS,
    key: &["event_id"],
    sort: &["auction_id", "event_ts"],
};

const COLUMNS: [Column; 23] = columns([
    member("dsp_id", Text, &["dsp_id"], "bidder that answered"),
    member("outcome", Text, &["outcome"], "bid, nobid, timeout, error, invalid or throttled"),
    member("http_status", Int32, &["http_status"], "status of the answer; absent for none"),
    member("latency_ms", Int64, &["latency_ms"], "from the request to the answer"),
    Column {
        name: "nbr",
        kind: Int32,
        nullable: true,
        doc: "no-bid reason of OpenRTB: the event's, else that of the answer",
        source: Source::EitherMember([&["nbr"], &["response", "nbr"]], Reading::Plain),
    },
    member("nonbid_statuscode", Int32, &["nonbid_statuscode"], "seat non-bid status code"),
    member("response_bytes", Int64, &["response_bytes"], "size of the answer"),
    member("response_id", Text, &["response", "id"], "BidResponse.id; the auction id in a correct answer"),
    member("bidid", Text, &["response", "bidid"], "bidder's id of the answer"),
    member("cur", Text, &["response", "cur"], "currency of the bids; USD where absent"),
    member("test", Bool, &["test"], "not billable"),
]);
