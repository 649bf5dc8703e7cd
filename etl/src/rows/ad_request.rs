//! One row of `ad_requests` from an event.

use events::ad_request::Channel;

use super::{Checked, int32};
use crate::columns::TableRows;
use crate::columns::Value::{Bool, Int32, Int64, OptBool, OptFloat64, OptInt32, OptInt64, OptText, Text, Timestamp};

pub(super) fn append(rows: &mut TableRows, event: &Checked<'_, '_>) {
    let (envelope, enrichment, request) = (event.envelope, event.enrichment, event.request);
    let first_imp = enrichment.imps.first();
    let adunit_id = first_imp.and_then(|imp| imp.adunit_id.as_deref());
    let screen_publisher = first_imp.and_then(|imp| imp.screen.as_ref()).map(|screen| screen.publisher_id.as_ref());
    let position = request.position();
    let warnings = (!envelope.warnings.is_empty()).then(|| envelope.warnings.join(","));
    let currencies = request.text_list(&["cur"]);
    let gpp_sections = request.integer_list(&["regs", "gpp_sid"]);
    let schain = request.schain();
    let nodes = schain.and_then(|schain| schain.get("nodes"));
    let integer = |path: &[&str]| int32(request.integer(path));
    rows.push([
        ("event_id", Text(&event.event_id)),
        ("schema_version", Int32(i32::try_from(envelope.schema_version).unwrap_or(i32::MAX))),
        ("tenant_id", Text(&envelope.tenant_id)),
        ("auction_id", Text(&envelope.auction_id)),
        ("event_ts", Timestamp(enrichment.event_ts)),
        ("received_ts", Timestamp(envelope.received_ts)),
        ("enriched_ts", Timestamp(enrichment.enriched_ts)),
        ("endpoint", Text(&envelope.endpoint)),
        ("handler_us", Int64(i64::try_from(envelope.handler_us).unwrap_or(i64::MAX))),
        ("warnings", OptText(warnings.as_deref())),
        ("channel", OptText(request.channel().map(Channel::name))),
        ("adunit_id", OptText(adunit_id)),
        ("publisher_id", OptText(request.publisher_id().or(screen_publisher))),
        ("dooh_id", OptText(request.text(&["dooh", "id"]))),
        ("dooh_name", OptText(request.text(&["dooh", "name"]))),
        ("dooh_domain", OptText(request.text(&["dooh", "domain"]))),
        ("dooh_audience", OptFloat64(request.audience())),
        ("imps", Int32(i32::try_from(enrichment.imps.len()).unwrap_or(i32::MAX))),
        ("at", OptInt32(integer(&["at"]))),
        ("tmax_ms", OptInt64(request.integer(&["tmax"]))),
        ("cur", OptText(currencies.as_deref())),
        ("test", Bool(request.is_test())),
        ("source_tid", OptText(request.text(&["source", "tid"]))),
        ("source_fd", OptInt32(integer(&["source", "fd"]))),
        ("regs_coppa", OptInt32(integer(&["regs", "coppa"]))),
        ("regs_gdpr", OptInt32(int32(request.gdpr()))),
        ("regs_us_privacy", OptText(request.us_privacy())),
        ("regs_gpp_sid", OptText(gpp_sections.as_deref())),
        ("regs_gpc", OptBool(request.gpc())),
        ("schain_complete", OptInt32(int32(schain.and_then(|schain| schain.get("complete")?.as_i64())))),
        ("schain_nodes", OptInt32(nodes.and_then(|nodes| i32::try_from(nodes.elements().len()).ok()))),
        ("device_ua", OptText(request.text(&["device", "ua"]))),
        ("device_ifa", OptText(request.text(&["device", "ifa"]))),
        ("device_w", OptInt32(integer(&["device", "w"]))),
        ("device_h", OptInt32(integer(&["device", "h"]))),
        ("device_ppi", OptInt32(integer(&["device", "ppi"]))),
        ("device_geo_lat", OptFloat64(position.map(|(lat, _)| lat))),
        ("device_geo_lon", OptFloat64(position.map(|(_, lon)| lon))),
        ("device_geo_country", OptText(request.country())),
        ("body_bytes", Int64(i64::try_from(event.body.len()).unwrap_or(i64::MAX))),
        ("body", Text(event.body)),
    ]);
}
