//! The table of auctions.

use super::ColumnType::{Bool, Float64, Int32, Text, Timestamp};
use super::event::{columns, cpm_micros, member, with_screen};
use super::{Column, Storage, Table};

/// One row an accepted `auction`: a request and an imp.
pub static AUCTIONS: Table = Table {
    name: "auctions",
    grain: "the end of the auction of one imp",
    storage: Storage::Parquet,
    columns: &COLUMNS,
    key: &["event_id"],
    sort: &["auction_id", "event_ts"],
};

const COLUMNS: [Column; 38] = columns(with_screen::<18, 26>([
    member("imp_id", Text, &["imp_id"], "imp that was sold, or was not"),
    member("adunit_id", Text, &["adunit_id"], "ad unit of the imp"),
    member("status", Text, &["status"], "filled or no_fill"),
    member("no_fill_reason", Text, &["no_fill_reason"], "why it was not sold"),
    member("auction_ts", Timestamp, &["auction_ts"], "when it ended"),
    member("bids_received", Int32, &["bids_received"], "number of bids"),
    member("dsp_id", Text, &["dsp_id"], "bidder that won"),
    member("seat_id", Text, &["seat_id"], "its seat"),
    member("bid_id", Text, &["bid_id"], "bid that won"),
    member("dealid", Text, &["dealid"], "deal it was sold in"),
    member("crid", Text, &["crid"], "creative that won"),
    member(
        "at",
        Int32,
        &["at"],
        "auction type: 1 first price, 2 second price plus, 3 fixed price, 500 and above others",
    ),
    cpm_micros(
        "clearing_cpm_micros",
        &["clearing_cpm"],
        "price per thousand that the winner pays, in micros of clearing_cur",
    ),
    member("clearing_cur", Text, &["clearing_cur"], "its currency"),
    cpm_micros("floor_cpm_micros", &["floor_cpm"], "floor per thousand, in micros of floor_cur"),
    member("floor_cur", Text, &["floor_cur"], "its currency"),
    member("market_bid_ratio", Float64, &["market_bid_ratio"], "clearing price over bid price"),
    member("test", Bool, &["test"], "not billable"),
]));
