//! The table of bids.

use super::ColumnType::{Int32, Int64, Text, Timestamp};
use super::{Column, ColumnType, Reading, Source, Storage, Table};

/// One row a bid of an accepted `bid_response`.
pub static BIDS: Table = Table {
    name: "bids",
    grain: "one bid of a bid response",
    storage: Storage::Parquet,
    columns: &COLUMNS,
    key: &["event_id", "bid_index"],
    sort: &["auction_id", "event_ts"],
};

const COLUMNS: [Column; 25] = [
    envelope("event_id", Text, Source::EventId, "the bid response's event_id"),
    envelope("bid_index", Int32, Source::BidIndex, "position among the bids of the response, from 0"),
    envelope("tenant_id", Text, Source::TenantId, "whose event it is"),
    optional("auction_id", Text, Source::AuctionId, "BidRequest.id"),
    envelope("event_ts", Timestamp, Source::EventTs, "when the event counts: when it was received"),
    envelope("received_ts", Timestamp, Source::ReceivedTs, "when the collector had the whole event"),
    optional("dsp_id", Text, Source::Member(&["dsp_id"], Reading::Plain), "bidder"),
    optional("seat_id", Text, Source::SeatMember(&["seat"], Reading::Plain), "seatbid.seat"),
    bid("bid_id", Text, &["id"], Reading::Plain, "bid.id"),
    optional("bidid", Text, Source::Member(&["response", "bidid"], Reading::Plain), "bidder's id of the response"),
    bid("imp_id", Text, &["impid"], Reading::Plain, "bid.impid: imp that is bid for"),
    bid("bid_price_cpm_micros", Int64, &["price"], Reading::CpmMicros, "price per thousand, in micros of bid_cur"),
    optional("bid_cur", Text, Source::Member(&["response", "cur"], Reading::Plain), "its currency; USD where absent"),
    bid("dealid", Text, &["dealid"], Reading::Plain, "bid.dealid"),
    bid("crid", Text, &["crid"], Reading::Plain, "bid.crid: creative"),
    bid("cid", Text, &["cid"], Reading::Plain, "bid.cid: campaign"),
    bid("adid", Text, &["adid"], Reading::Plain, "bid.adid: preloaded ad"),
    bid("adomain", Text, &["adomain"], Reading::List, "bid.adomain, joined by commas"),
    bid("cat", Text, &["cat"], Reading::List, "bid.cat, joined by commas"),
    bid("attr", Text, &["attr"], Reading::List, "bid.attr, joined by commas"),
    bid("mtype", Int32, &["mtype"], Reading::Plain, "bid.mtype: 1 banner, 2 video, 3 audio, 4 native"),
    bid("dur_s", Int32, &["dur"], Reading::Plain, "bid.dur: seconds of a video or audio"),
    bid("bid_exp_s", Int64, &["exp"], Reading::Plain, "bid.exp: seconds the bidder waits for the impression"),
    bid("loss_reason", Int32, &["ext", "loss_reason"], Reading::Plain, "why the exchange did not take it"),
    optional("warnings", Text, Source::Warnings, "rules that marked the whole response, joined by commas"),
];

const fn envelope(name: &'static str, kind: ColumnType, source: Source, doc: &'static str) -> Column {
    Column { name, kind, nullable: false, doc, source }
}

const fn optional(name: &'static str, kind: ColumnType, source: Source, doc: &'static str) -> Column {
    Column { name, kind, nullable: true, doc, source }
}

const fn bid(
    name: &'static str,
    kind: ColumnType,
    path: &'static [&'static str],
    reading: Reading,
    doc: &'static str,
) -> Column {
    Column { name, kind, nullable: true, doc, source: Source::BidMember(path, reading) }
}
