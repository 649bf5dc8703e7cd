//! The rules of what a request says of its screen, under whatever name.

use crate::dooh::{self, Found, Path, Venue};
use crate::json::Json;
use crate::validate::findings::{Findings, Node};
use crate::violation::Place;

pub(super) fn check(findings: &mut Findings, request: Node<'_, '_>) {
    if !dooh::is_dooh(request.value) {
        return;
    }
    let venuetype = dooh::venuetype(request.value);
    identity(findings, request, venuetype);
    if let Some(found) = venuetype {
        venue(findings, request, found);
    }
    if let Some(found) = dooh::venuetypetax(request.value) {
        at(request.place, found.path, &mut |place| {
            if found.value.as_i64().is_none() {
                findings.warning("dooh.venuetypetax", "3.2.32", place, "should be the number of a taxonomy");
            } else if found.path != ["dooh", "venuetypetax"] {
                findings.normalized("dooh.venuetypetax", "3.2.32", place, "is read as dooh.venuetypetax");
            }
        });
    }
    multiplier(findings, request);
    if let Some(found) = dooh::audience(request.value) {
        let is_count = found.value.as_f64().is_some_and(|audience| audience >= 0.0);
        at(request.place, found.path, &mut |place| {
            if is_count {
                findings.normalized("dooh.audience", "", place, "is read as the column dooh_audience");
            } else {
                findings.warning("dooh.audience", "", place, "should be a number, 0 or greater, and is read as absent");
            }
        });
    }
}

/// A `dooh` object names its screen or says what place it is in.
fn identity(findings: &mut Findings, request: Node<'_, '_>, venuetype: Option<Found<'_, '_>>) {
    let Some(dooh) = request.value.get("dooh") else { return };
    let is_given = |value: &Json<'_>| match value {
        Json::Text(text) => !text.is_empty(),
        Json::Array(elements) => !elements.is_empty(),
        Json::Integer(_) => true,
        Json::Null | Json::Bool(_) | Json::Float(_) | Json::Object(_) => false,
    };
    let is_named = dooh.get("id").is_some_and(is_given) || venuetype.is_some_and(|found| is_given(found.value));
    if findings.policy.dooh_id_or_venuetype_required && !is_named {
        let place = request.place.key("dooh");
        findings.error("dooh.id_or_venuetype", "3.2.32", &place, "must have an id or a venuetype");
    }
}

fn venue(findings: &mut Findings, request: Node<'_, '_>, found: Found<'_, '_>) {
    let is_unknown = dooh::venue(request.value) == Venue::Unknown;
    at(request.place, found.path, &mut |place| {
        if !dooh::is_venuetype_as_specified(found) {
            let message = "is read as an array of strings `dooh.venuetype`";
            findings.normalized("dooh.venuetype", "3.2.32", place, message);
        }
        if is_unknown {
            let message = "is not an OpenOOH venue type, and is read as absent";
            findings.warning("dooh.venuetype", "3.2.32", place, message);
        }
    });
}

/// One multiplier for all imps, as exchanges gave it before `imp.qty` was there.
fn multiplier(findings: &mut Findings, request: Node<'_, '_>) {
    const CODE: &str = "imp.qty.multiplier";
    let Some(found) = dooh::multiplier(request.value) else { return };
    let is_positive = found.value.as_f64().is_some_and(|multiplier| multiplier > 0.0);
    let is_plausible =
        found.value.as_f64().is_some_and(|multiplier| multiplier <= super::imp::MULTIPLIER_PLAUSIBLE_MAX);
    at(request.place, found.path, &mut |place| {
        if !is_positive {
            findings.warning(CODE, "3.2.31", place, "should be a number greater than 0, and is read as absent");
            return;
        }
        findings.normalized(CODE, "3.2.31", place, "is read as imp.qty.multiplier of the imps that have no qty");
        if !is_plausible {
            findings.warning(CODE, "3.2.31", place, "is above 10,000");
        }
    });
}

/// Calls with the place at the end of a path.
fn at(place: &Place<'_>, path: Path, run: &mut dyn FnMut(&Place<'_>)) {
    match path {
        [] => run(place),
        [key, rest @ ..] => at(&place.key(key), rest, run),
    }
}
