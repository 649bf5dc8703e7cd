//! The rules of `device` and of a position.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::json::Json;
use crate::validate::findings::{Findings, Node, severity};
use crate::violation::Severity;

/// `AdCOM` device type of a screen out of home.
const DEVICETYPE_OOH: i64 = 8;

pub(super) fn check(findings: &mut Findings, request: Node<'_, '_>) {
    let is_dooh = crate::dooh::is_dooh(request.value);
    let device = findings.object(request, "device");
    let place = request.place.key("device");
    if let Some(device) = device {
        let node = Node { value: device, place: &place, section: "3.2.18" };
        findings.flags(node, &["dnt", "lmt", "js"]);
        findings.counts(node, &["w", "h", "ppi"]);
        findings.listed(node, "devicetype", 1..=8);
        let devicetype = device.get("devicetype").and_then(Json::as_i64);
        if is_dooh && matches!(devicetype, Some(1..DEVICETYPE_OOH)) {
            findings.warning("device.devicetype", "3.2.18", &place.key("devicetype"), "should be 8 for a dooh screen");
        }
        addresses(findings, node);
        findings.exclusive(node, &[("language", "langb")]);
        position_of(findings, node);
    }
    let has_position = device.and_then(|device| device.at(&["geo", "lat"])).is_some();
    if is_dooh && !has_position {
        let (geo, message) = (place.key("geo"), "should have lat and lon for a dooh screen");
        match severity(findings.policy.dooh_position) {
            Severity::Error => findings.error("geo.dooh", "3.2.19", &geo, message),
            Severity::Warning | Severity::Normalized => findings.warning("geo.dooh", "3.2.19", &geo, message),
        }
    }
}

fn addresses(findings: &mut Findings, device: Node<'_, '_>) {
    let is_unreadable = |key: &str, is_address: fn(&str) -> bool| {
        // Empty is how many senders say that they do not tell.
        device.value.get(key).is_some_and(|value| !value.as_str().is_some_and(|ip| ip.is_empty() || is_address(ip)))
    };
    if is_unreadable("ip", |ip| ip.parse::<Ipv4Addr>().is_ok()) {
        findings.warning("device.ip", device.section, &device.place.key("ip"), "should be an IPv4 address");
    }
    if is_unreadable("ipv6", |ip| ip.parse::<Ipv6Addr>().is_ok()) {
        findings.warning("device.ipv6", device.section, &device.place.key("ipv6"), "should be an IPv6 address");
    }
}

/// The rules of the `geo` of a device or user.
pub(super) fn position_of(findings: &mut Findings, parent: Node<'_, '_>) {
    let Some(geo) = findings.object(parent, "geo") else { return };
    let place = parent.place.key("geo");
    let node = Node { value: geo, place: &place, section: "3.2.19" };
    position(findings, node);
    region(findings, node);
}

/// Latitude and longitude in range, both or none. `long` is a common misspelling of `lon` and read as it.
fn position(findings: &mut Findings, geo: Node<'_, '_>) {
    findings.counts(geo, &["accuracy", "lastfix"]);
    let lat = coordinate(findings, geo, "lat", 90.0);
    let is_misspelt = geo.value.get("lon").is_none() && geo.value.get("long").is_some();
    if is_misspelt {
        findings.normalized("geo.long", geo.section, &geo.place.key("long"), "is read as lon");
    }
    let lon = coordinate(findings, geo, if is_misspelt { "long" } else { "lon" }, 180.0);
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

/// Country, region and offset from UTC. An alpha-2 code of a country is read as its alpha-3 code.
fn region(findings: &mut Findings, geo: Node<'_, '_>) {
    if let Some(country) = geo.value.get("country") {
        let place = geo.place.key("country");
        match country.as_str() {
            Some(code) if code.is_empty() || crate::country::is_alpha_3(code) => {}
            Some(code) if crate::country::alpha_3_of(code).is_some() => {
                findings.normalized("geo.country", geo.section, &place, "is read as the country's alpha-3 code");
            }
            Some(_) | None => {
                findings.warning("geo.country", geo.section, &place, "should be an ISO 3166 alpha-3 code");
            }
        }
    }
    let is_region =
        |text: &str| text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if geo.value.get("region").is_some_and(|region| !region.as_str().is_some_and(is_region)) {
        findings.warning("geo.region", geo.section, &geo.place.key("region"), "should be an ISO 3166-2 code");
    }
    if let Some(offset) = geo.value.get("utcoffset")
        && !matches!(offset.as_i64(), Some(-720..=840))
    {
        let message = "should be minutes from -720 to 840";
        findings.warning("geo.utcoffset", geo.section, &geo.place.key("utcoffset"), message);
    }
}
