//! The table of ad requests.

use super::ColumnType::{Bool, Float64, Int32, Int64, Text, Timestamp};
use super::{Column, Storage, Table, optional, required};

/// One row an accepted ad request.
pub static AD_REQUESTS: Table = Table {
    name: "ad_requests",
    grain: "one accepted ad request",
    storage: Storage::Parquet,
    columns: COLUMNS,
    key: &["event_id"],
    sort: &["adunit_id", "event_ts"],
};

const COLUMNS: &[Column] = &[
    required("event_id", Text, "identity of the event, a UUID; a retry with the same id and body has the same one"),
    required("schema_version", Int32, "version of the envelope"),
    required("tenant_id", Text, "whose event it is"),
    required("auction_id", Text, "BidRequest.id"),
    required("event_ts", Timestamp, "when the event counts: when it was received"),
    required("received_ts", Timestamp, "when the collector had the whole request"),
    required("enriched_ts", Timestamp, "when it was enriched"),
    required("endpoint", Text, "path it came in by"),
    required("handler_us", Int64, "microseconds from the whole request to the put"),
    optional("warnings", Text, "rules that marked it, joined by commas"),
    optional("channel", Text, "site, app or dooh"),
    optional("adunit_id", Text, "ad unit of the first imp: imp.tagid, else dooh.id, else device.ifa"),
    optional("publisher_id", Text, "publisher of the channel, else of the screens table"),
    optional("dooh_id", Text, "dooh.id"),
    optional("dooh_name", Text, "dooh.name"),
    optional("dooh_domain", Text, "dooh.domain"),
    optional("dooh_audience", Float64, "audience in dooh or device.ext.dooh: people that the opportunity reaches"),
    required("imps", Int32, "number of imps"),
    optional("at", Int32, "auction type: 1 first price, 2 second price plus, 500 and above the exchange's own"),
    optional("tmax_ms", Int64, "time the sender waits for bids"),
    optional("cur", Text, "allowed currencies, joined by commas"),
    required("test", Bool, "not billable"),
    optional("source_tid", Text, "source.tid: transaction id"),
    optional("source_fd", Int32, "source.fd: 1 if the sender does not decide the final sale"),
    optional("regs_coppa", Int32, "regs.coppa"),
    optional("regs_gdpr", Int32, "regs.gdpr"),
    optional("regs_us_privacy", Text, "regs.us_privacy; absent where it is no such string"),
    optional("regs_gpp_sid", Text, "regs.gpp_sid, joined by commas"),
    optional("regs_gpc", Bool, "regs.ext.gpc: the device asked not to be tracked"),
    optional("schain_complete", Int32, "source.schain.complete: 1 if the chain begins at the owner"),
    optional("schain_nodes", Int32, "number of nodes of the supply chain"),
    optional("device_ua", Text, "device.ua"),
    optional("device_ifa", Text, "device.ifa: id of the unit"),
    optional("device_w", Int32, "device.w in pixels"),
    optional("device_h", Int32, "device.h in pixels"),
    optional("device_ppi", Int32, "device.ppi: pixels per inch"),
    optional("device_geo_lat", Float64, "device.geo.lat in degrees"),
    optional("device_geo_lon", Float64, "device.geo.lon in degrees"),
    optional("device_geo_country", Text, "device.geo.country; an alpha-2 code as its alpha-3 one"),
    required("body_bytes", Int64, "size of the body"),
    required("body", Text, "the request as received, byte for byte"),
];
