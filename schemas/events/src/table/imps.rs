//! The table of imps.

use super::ColumnType::{Bool, Float64, Int32, Int64, Text, Timestamp};
use super::{Column, Storage, Table, optional, required};

/// One row an imp of an accepted ad request.
pub static IMPS: Table = Table {
    name: "imps",
    grain: "one imp of an accepted ad request",
    storage: Storage::Parquet,
    columns: COLUMNS,
    key: &["event_id", "imp_index"],
    sort: &["adunit_id", "event_ts"],
};

const COLUMNS: &[Column] = &[
    required("event_id", Text, "the ad request's event_id"),
    required("imp_index", Int32, "position in the request, from 0"),
    required("tenant_id", Text, "whose event it is"),
    required("auction_id", Text, "BidRequest.id"),
    required("imp_id", Text, "imp.id"),
    required("event_ts", Timestamp, "when the event counts: when it was received"),
    required("received_ts", Timestamp, "when the collector had the whole request"),
    optional("adunit_id", Text, "imp.tagid, else dooh.id, else device.ifa"),
    optional("imp_tagid", Text, "imp.tagid"),
    required("media_type", Text, "offered media types, joined by commas"),
    required("imp_bidfloor_cpm_micros", Int64, "floor per thousand, in micros of imp_bidfloorcur"),
    required("imp_bidfloorcur", Text, "the floor's currency"),
    required(
        "imp_qty_multiplier_e4",
        Int64,
        "impressions a play counts for, in ten-thousandths: imp.qty, else impmultiply, else the screen's, else 1",
    ),
    required("multiplier_source", Text, "request, screen or default"),
    optional("floor_cost_micros", Int64, "cost of one play at the floor: floor / 1000 x multiplier, in micros"),
    optional("imp_dt_ts", Timestamp, "imp.dt: estimated time of display"),
    optional("imp_exp_s", Int64, "imp.exp: seconds from auction to impression"),
    optional("imp_ssai", Int32, "imp.ssai"),
    required("screen_known", Bool, "whether the screens table has the ad unit"),
    optional("publisher_id", Text, "publisher of the screens table, else of the channel"),
    optional("venuetype_id", Int32, "OpenOOH venue type of the screens table, the finest known tier"),
    optional("venuetype_parent", Int32, "its first tier"),
    optional("request_venuetype", Text, "dooh.venuetype or its other names; absent where OpenOOH has no such type"),
    optional(
        "venuetypetax",
        Int32,
        "dooh.venuetypetax or its other name: taxonomy of request_venuetype, 1 where absent",
    ),
    optional("city", Text, "city of the screen"),
    optional("country", Text, "country of the screen, ISO 3166 alpha-3"),
    optional("device_geo_lat", Float64, "device.geo.lat in degrees"),
    optional("device_geo_lon", Float64, "device.geo.lon in degrees"),
    optional("tz", Text, "IANA time zone of the screen"),
    optional("local_ts", Timestamp, "wall clock at the screen"),
    optional("local_hour", Int32, "its hour, 0 to 23"),
    required("test", Bool, "not billable"),
];
