//! The table of notices.

use super::ColumnType::{Bool, Float64, Int32, Int64, Text, Timestamp};
use super::event::{columns, cpm_micros, member, multiplier_e4, with_screen};
use super::{Column, Storage, Table};

/// One row an accepted `win_notice`, `loss_notice` or `billing_notice`.
pub static NOTICES: Table = Table {
    name: "notices",
    grain: "a notice to a bidder: event_type is win_notice, loss_notice or billing_notice",
    storage: Storage::Parquet,
    columns: &COLUMNS,
    key: &["event_id"],
    sort: &["auction_id", "event_ts"],
};

const COLUMNS: [Column; 38] = columns(with_screen::<18, 26>([
    member("imp_id", Text, &["imp_id"], "imp of the bid"),
    member("dsp_id", Text, &["dsp_id"], "bidder that was told"),
    member("seat_id", Text, &["seat_id"], "its seat"),
    member("bid_id", Text, &["bid_id"], "AUCTION_BID_ID: BidResponse.bidid"),
    member("ad_id", Text, &["ad_id"], "AUCTION_AD_ID"),
    member("adunit_id", Text, &["adunit_id"], "ad unit of the imp"),
    member("url_host", Text, &["url_host"], "host that was called"),
    member("attempt", Int32, &["attempt"], "which attempt, from 1"),
    member("http_status", Int32, &["http_status"], "status of the answer"),
    member("latency_ms", Int64, &["latency_ms"], "time to the answer"),
    cpm_micros(
        "auction_price_cpm_micros",
        &["auction_price"],
        "AUCTION_PRICE per thousand, in micros of auction_currency",
    ),
    member("auction_currency", Text, &["auction_currency"], "AUCTION_CURRENCY"),
    multiplier_e4("auction_multiplier_e4", &["auction_multiplier"], "AUCTION_MULTIPLIER, in ten-thousandths"),
    member("auction_loss", Int32, &["auction_loss"], "AUCTION_LOSS: loss reason"),
    cpm_micros("auction_min_to_win_cpm_micros", &["auction_min_to_win"], "AUCTION_MIN_TO_WIN per thousand, in micros"),
    member("auction_mbr", Float64, &["auction_mbr"], "AUCTION_MBR: market bid ratio"),
    member("imp_ts", Timestamp, &["auction_imp_ts"], "AUCTION_IMP_TS: when the ad was displayed"),
    member("test", Bool, &["test"], "not billable"),
]));
