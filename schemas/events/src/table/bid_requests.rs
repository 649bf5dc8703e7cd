//! The table of bid requests.

use super::ColumnType::{Bool, Int64, Text, Timestamp};
use super::event::{columns, member};
use super::{Column, Storage, Table};

/// One row an accepted `bid_request`: an auction and a bidder.
pub static BID_REQUESTS: Table = Table {
    name: "bid_requests",
    grain: "one request of the exchange to one bidder",
    storage: Storage::Parquet,
    columns: &COLUMNS,
    key: &["event_id"],
    sort: &["auction_id", "event_ts"],
};

const COLUMNS: [Column; 18] = columns([
    member("dsp_id", Text, &["dsp_id"], "bidder that was asked"),
    member("sent_ts", Timestamp, &["sent_ts"], "when it was sent"),
    member("tmax_ms", Int64, &["tmax_ms"], "time the bidder had"),
    member("outcome", Text, &["outcome"], "sent, or throttled: not sent after all"),
    member("request_bytes", Int64, &["request_bytes"], "size of the request as sent"),
    member("test", Bool, &["test"], "not billable"),
]);
