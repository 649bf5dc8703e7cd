//! The rows of `imps` from an event.

use super::{Checked, int32};
use crate::columns::TableRows;
use crate::columns::Value::{
    Bool, Int32, Int64, OptFloat64, OptInt32, OptInt64, OptText, OptTimestamp, Text, Timestamp,
};

pub(super) fn append(rows: &mut TableRows, event: &Checked<'_, '_>) {
    let (envelope, enrichment, request) = (event.envelope, event.enrichment, event.request);
    let position = request.position();
    let request_venuetype = request.venuetype();
    let test = request.is_test();
    for (index, (imp, enriched)) in request.imps().zip(&enrichment.imps).enumerate() {
        let screen = enriched.screen.as_ref();
        let screen_publisher = screen.map(|screen| screen.publisher_id.as_ref());
        rows.push([
            ("event_id", Text(&event.event_id)),
            ("imp_index", Int32(i32::try_from(index).unwrap_or(i32::MAX))),
            ("tenant_id", Text(&envelope.tenant_id)),
            ("auction_id", Text(&envelope.auction_id)),
            ("imp_id", Text(imp.id().unwrap_or_default())),
            ("event_ts", Timestamp(enrichment.event_ts)),
            ("received_ts", Timestamp(envelope.received_ts)),
            ("adunit_id", OptText(enriched.adunit_id.as_deref())),
            ("imp_tagid", OptText(imp.text(&["tagid"]))),
            ("media_type", Text(&imp.media_type())),
            ("imp_bidfloor_cpm_micros", Int64(imp.floor_cpm_micros())),
            ("imp_bidfloorcur", Text(imp.floor_cur())),
            ("imp_qty_multiplier_e4", Int64(enriched.multiplier_e4)),
            ("multiplier_source", Text(enriched.multiplier_source.name())),
            ("floor_cost_micros", OptInt64(enriched.floor_cost_micros)),
            ("imp_dt_ts", OptTimestamp(imp.display_ts())),
            ("imp_exp_s", OptInt64(imp.integer(&["exp"]))),
            ("imp_ssai", OptInt32(int32(imp.integer(&["ssai"])))),
            ("screen_known", Bool(screen.is_some())),
            ("publisher_id", OptText(screen_publisher.or(request.publisher_id()))),
            ("venuetype_id", OptInt32(screen.map(|screen| screen.venuetype_id))),
            ("venuetype_parent", OptInt32(screen.map(|screen| screen.venuetype_parent))),
            ("request_venuetype", OptText(request_venuetype.as_deref())),
            ("venuetypetax", OptInt32(int32(request.venuetypetax()))),
            ("city", OptText(screen.map(|screen| screen.city.as_ref()))),
            ("country", OptText(screen.map(|screen| screen.country.as_ref()))),
            ("device_geo_lat", OptFloat64(position.map(|(lat, _)| lat))),
            ("device_geo_lon", OptFloat64(position.map(|(_, lon)| lon))),
            ("tz", OptText(screen.map(|screen| screen.tz.as_ref()))),
            ("local_ts", OptTimestamp(screen.map(|screen| screen.local_ts))),
            ("local_hour", OptInt32(screen.map(|screen| screen.local_hour))),
            ("test", Bool(test)),
        ]);
    }
}
