//! The rules of `imp`: what is offered, in which media types, for how much.

use std::collections::HashSet;

use crate::json::Json;
use crate::validate::findings::{Findings, Node};
use crate::violation::Place;

/// A multiplier above this is possible and more often a fault (rule `imp.qty.multiplier`).
pub(super) const MULTIPLIER_PLAUSIBLE_MAX: f64 = 10_000.0;

/// Longest time from a request to its display: what exchanges announce (rule `imp.dt`).
const LEAD_MS_MAX: i64 = 48 * 3_600_000;

/// Clocks of players and of ours may differ by this before a time is called past.
const CLOCK_SKEW_MS: i64 = 60_000;

pub(super) fn check_all(findings: &mut Findings, request: Node<'_, '_>) {
    let place = request.place.key("imp");
    let imps = match request.value.get("imp") {
        Some(Json::Array(imps)) if !imps.is_empty() => imps,
        Some(_) | None => {
            findings.error("imp.required", "3.2.1", &place, "must be an array of at least one imp");
            return;
        }
    };
    // Nothing is allocated for the one imp that most requests have.
    let mut ids = HashSet::with_capacity(if imps.len() > 1 { imps.len().min(64) } else { 0 });
    for (index, imp) in imps.iter().enumerate() {
        let imp_place = place.index(index);
        if !matches!(imp, Json::Object(_)) {
            findings.error("field.type", "3.2.4", &imp_place, "must be an object");
            continue;
        }
        let node = Node { value: imp, place: &imp_place, section: "3.2.4" };
        findings.required_text(node, "id", "imp.id.required");
        let id = imp.get("id").and_then(Json::as_str).filter(|id| !id.is_empty());
        if imps.len() > 1 && id.is_some_and(|id| !ids.insert(id)) {
            findings.error("imp.id.unique", "3.2.4", &imp_place.key("id"), "must be unique in the request");
        }
        check(findings, node);
    }
}

fn check(findings: &mut Findings, imp: Node<'_, '_>) {
    media_types(findings, imp);
    findings.floor(imp);
    findings.flags(imp, &["instl", "secure"]);
    findings.counts(imp, &["exp"]);
    findings.listed(imp, "ssai", 0..=3);
    display_time(findings, imp);
    quantity(findings, imp);
    deals(findings, imp);
    metrics(findings, imp);
}

/// The estimated time of display, in milliseconds; seconds, which samples of the specification carry, are read as such.
fn display_time(findings: &mut Findings, imp: Node<'_, '_>) {
    let Some(value) = imp.value.get("dt") else { return };
    let place = imp.place.key("dt");
    let Some(time) = value.as_f64().and_then(crate::time::millis) else {
        findings.warning("imp.dt", imp.section, &place, "should be a time in milliseconds since 1970");
        return;
    };
    if time.was_seconds {
        findings.normalized("imp.dt", imp.section, &place, "is in seconds, and is read as such");
    }
    let lead_ms = time.ms.saturating_sub(findings.now_ms);
    if !(-CLOCK_SKEW_MS..=LEAD_MS_MAX).contains(&lead_ms) {
        findings.warning("imp.dt", imp.section, &place, "should be within 48 hours from now");
    }
}

fn media_types(findings: &mut Findings, imp: Node<'_, '_>) {
    let banner = findings.object(imp, "banner");
    let video = findings.object(imp, "video");
    let audio = findings.object(imp, "audio");
    let native = findings.object(imp, "native");
    if ["banner", "video", "audio", "native"].iter().all(|key| imp.value.get(key).is_none()) {
        findings.error("imp.media_type.required", "3.2.4", imp.place, "must have a banner, video, audio or native");
    }
    if let Some(banner) = banner {
        let place = imp.place.key("banner");
        let node = Node { value: banner, place: &place, section: "3.2.6" };
        findings.counts(node, &["w", "h"]);
        formats(findings, node);
        banner_size(findings, node);
    }
    if let Some(video) = video {
        let place = imp.place.key("video");
        timed_media(findings, Node { value: video, place: &place, section: "3.2.7" }, "imp.video.mimes");
    }
    if let Some(audio) = audio {
        let place = imp.place.key("audio");
        timed_media(findings, Node { value: audio, place: &place, section: "3.2.8" }, "imp.audio.mimes");
    }
    if let Some(native) = native {
        native_request(findings, imp, native);
    }
}

fn formats(findings: &mut Findings, banner: Node<'_, '_>) {
    let place = banner.place.key("format");
    for (index, format) in findings.array(banner, "format").iter().enumerate() {
        let format_place = place.index(index);
        let node = Node { value: format, place: &format_place, section: "3.2.10" };
        findings.counts(node, &["w", "h", "wratio", "hratio", "wmin"]);
    }
}

/// A banner says its size: by `format`, or by `w` and `h`.
fn banner_size(findings: &mut Findings, banner: Node<'_, '_>) {
    let is_positive = |key: &str| banner.value.get(key).and_then(Json::as_i64).is_some_and(|pixels| pixels > 0);
    let has_formats = banner.value.get("format").is_some_and(|formats| !formats.elements().is_empty());
    let is_sized = has_formats || is_positive("w") && is_positive("h");
    if !is_sized {
        findings.warning("imp.banner.size", banner.section, banner.place, "should have format, or w and h");
    }
}

/// A native object without anything in it offers nothing, unless a template of the exchange completes the imp.
/// Older senders name the markup otherwise; without `request` the row is marked.
fn native_request(findings: &mut Findings, imp: Node<'_, '_>, native: &Json<'_>) {
    if native.get("request").and_then(Json::as_str).is_some_and(|request| !request.is_empty()) {
        return;
    }
    let place = imp.place.key("native");
    let request_place = place.key("request");
    let template =
        imp.value.at(&["ext", "prebid", "imp"]).or_else(|| imp.value.at(&["ext", "prebid", "storedrequest"]));
    let is_empty = matches!(native, Json::Object(members) if members.is_empty());
    if is_empty && template.is_none() {
        findings.error("imp.native.request", "3.2.9", &request_place, "must be a string that is not empty");
    } else {
        findings.tolerable("imp.native.request", "3.2.9", &request_place, "should be a string that is not empty");
    }
}

/// An empty list says that no type is supported; no list, which is common, leaves it open and marks the row.
fn mimes(findings: &mut Findings, media: Node<'_, '_>, code: &'static str) {
    let place = media.place.key("mimes");
    match media.value.get("mimes") {
        Some(Json::Array(mimes)) if !mimes.is_empty() => {}
        Some(_) => findings.error(code, media.section, &place, "must be an array of at least one element"),
        None => findings.tolerable(code, media.section, &place, "should be an array of at least one element"),
    }
}

fn timed_media(findings: &mut Findings, media: Node<'_, '_>, mimes_code: &'static str) {
    mimes(findings, media, mimes_code);
    let durations = ["minduration", "maxduration"];
    findings.counts(media, &["w", "h", "sequence", "minbitrate", "maxbitrate", "minduration", "maxduration"]);
    let [min, max] = durations.map(|key| media.value.get(key).and_then(Json::as_i64));
    let is_exclusive = media.value.get("rqddurs").is_some_and(|value| !value.elements().is_empty());
    if is_exclusive && (min.is_some() || max.is_some()) {
        let place = media.place.key("rqddurs");
        findings.tolerable(
            "imp.video.rqddurs",
            media.section,
            &place,
            "should stand without minduration and maxduration",
        );
    }
    if let (Some(min), Some(max)) = (min, max)
        && min > max
        && max != 0
    {
        let place = media.place.key("minduration");
        findings.error("imp.video.rqddurs", media.section, &place, "must not be above maxduration");
    }
}

fn quantity(findings: &mut Findings, imp: Node<'_, '_>) {
    let Some(qty) = findings.object(imp, "qty") else { return };
    let place = imp.place.key("qty");
    let node = Node { value: qty, place: &place, section: "3.2.31" };
    let multiplier = qty.get("multiplier").and_then(Json::as_f64);
    let is_positive = multiplier.is_some_and(|multiplier| multiplier > 0.0 && multiplier.is_finite());
    if !is_positive {
        let place = place.key("multiplier");
        findings.error("imp.qty.multiplier", node.section, &place, "must be a number greater than 0");
    } else if multiplier.is_some_and(|multiplier| multiplier > MULTIPLIER_PLAUSIBLE_MAX) {
        findings.warning("imp.qty.multiplier", node.section, &place.key("multiplier"), "is above 10,000");
    }
    if qty.get("sourcetype").is_none() {
        let message = "should say who measured it";
        findings.warning("imp.qty.sourcetype", node.section, &place.key("sourcetype"), message);
    }
    findings.listed(node, "sourcetype", 0..=3);
    if qty.get("sourcetype").and_then(Json::as_i64) == Some(1) {
        findings.required_text(node, "vendor", "imp.qty.vendor");
    }
}

fn deals(findings: &mut Findings, imp: Node<'_, '_>) {
    let Some(pmp) = findings.object(imp, "pmp") else { return };
    let pmp_place = imp.place.key("pmp");
    let pmp_node = Node { value: pmp, place: &pmp_place, section: "3.2.11" };
    let place = pmp_place.key("deals");
    for (index, deal) in findings.array(pmp_node, "deals").iter().enumerate() {
        let deal_place = place.index(index);
        let node = Node { value: deal, place: &deal_place, section: "3.2.12" };
        findings.required_text(node, "id", "imp.deals.id");
        findings.floor(node);
        let Some(at) = deal.get("at") else { continue };
        if !matches!(at.as_i64(), Some(1..=3 | 500..)) {
            findings.error("at", node.section, &deal_place.key("at"), "must be 1, 2, 3, or 500 and above");
        }
    }
}

fn metrics(findings: &mut Findings, imp: Node<'_, '_>) {
    let place = imp.place.key("metric");
    for (index, metric) in findings.array(imp, "metric").iter().enumerate() {
        let metric_place = place.index(index);
        let node = Node { value: metric, place: &metric_place, section: "3.2.5" };
        findings.required_text(node, "type", "imp.metric.type");
        if metric.get("value").and_then(Json::as_f64).is_none() {
            required_number(findings, &metric_place);
        }
    }
}

fn required_number(findings: &mut Findings, metric: &Place<'_>) {
    findings.error("imp.metric.value", "3.2.5", &metric.key("value"), "must be a number");
}
