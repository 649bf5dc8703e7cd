//! The rules of `device` and of a position.

use crate::json::Json;
use crate::validate::findings::{Findings, Node};

pub(super) fn check(findings: &mut Findings, request: Node<'_, '_>) {
    let Some(device) = findings.object(request, "device") else { return };
    let place = request.place.key("device");
    let node = Node { value: device, place: &place, section: "3.2.18" };
    findings.flags(node, &["dnt", "lmt", "js"]);
    findings.counts(node, &["w", "h", "ppi"]);
    let Some(geo) = findings.object(node, "geo") else { return };
    let geo_place = place.key("geo");
    position(findings, Node { value: geo, place: &geo_place, section: "3.2.19" });
}

/// Latitude and longitude in range, both or none. `long` is a common misspelling of `lon` and read as it.
fn position(findings: &mut Findings, geo: Node<'_, '_>) {
    findings.counts(geo, &["accuracy", "lastfix"]);
    let lat = coordinate(findings, geo, "lat", 90.0);
    let lon_key = if geo.value.get("lon").is_none() && geo.value.get("long").is_some() { "long" } else { "lon" };
    let lon = coordinate(findings, geo, lon_key, 180.0);
    if lat != lon {
        findings.error("geo.pair", geo.section, geo.place, "must have both lat and lon, or neither");
    }
}

/// Whether the coordinate is there; a finding when it is out of range or no number.
fn coordinate(findings: &mut Findings, geo: Node<'_, '_>, key: &str, limit: f64) -> bool {
    let Some(value) = geo.value.get(key) else { return false };
    if !Json::as_f64(value).is_some_and(|degrees| degrees.abs() <= limit) {
        findings.error("geo.range", geo.section, &geo.place.key(key), "must be a number of degrees in range");
    }
    true
}
