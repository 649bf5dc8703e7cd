//! What a request says of its screen, under whatever name.
//!
//! The specification's own samples, `OpenOOH` and exchanges give the same facts other names and put them elsewhere. The
//! first place that holds a value counts; columns have the specification's name, and the body stays as it was received.

use std::borrow::Cow;

use crate::json::Json;

/// The way to a member of a request.
pub type Path = &'static [&'static str];

/// Where the venue type may stand: the specification, its samples, `OpenOOH` for `OpenRTB` 2.5.
const VENUETYPES: [Path; 4] = [
    &["dooh", "venuetype"],
    &["dooh", "venuetypeid"],
    &["device", "ext", "dooh", "venuetypeid"],
    &["device", "ext", "dooh", "venuetypelist"],
];

/// Where the taxonomy of the venue type may stand: the specification, its samples.
const VENUETYPETAXES: [Path; 2] = [&["dooh", "venuetypetax"], &["dooh", "venuetax"]];

/// Where an exchange of `OpenRTB` 2.5 puts the multiplier of all imps.
const MULTIPLIERS: [Path; 2] = [&["dooh", "impmultiply"], &["device", "ext", "dooh", "impmultiply"]];

/// Where such an exchange puts how many people an opportunity reaches.
const AUDIENCES: [Path; 2] = [&["dooh", "audience"], &["device", "ext", "dooh", "audience"]];

/// A fact and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Found<'r, 'j> {
    /// The member.
    pub value: &'r Json<'j>,
    /// The way to it.
    pub path: Path,
}

/// `dooh.venuetype`, or its other names.
pub fn venuetype<'r, 'j>(request: &'r Json<'j>) -> Option<Found<'r, 'j>> {
    find(request, &VENUETYPES)
}

/// `dooh.venuetypetax`, or its other name.
pub fn venuetypetax<'r, 'j>(request: &'r Json<'j>) -> Option<Found<'r, 'j>> {
    find(request, &VENUETYPETAXES)
}

/// `impmultiply`, which counts for the imps that have no `qty`.
pub fn multiplier<'r, 'j>(request: &'r Json<'j>) -> Option<Found<'r, 'j>> {
    find(request, &MULTIPLIERS)
}

/// `audience`.
pub fn audience<'r, 'j>(request: &'r Json<'j>) -> Option<Found<'r, 'j>> {
    find(request, &AUDIENCES)
}

/// Whether the request is for a screen out of home: it has a `dooh`, where the specification puts it or where exchanges
/// of `OpenRTB` 2.5 do.
pub fn is_dooh(request: &Json<'_>) -> bool {
    request.get("dooh").is_some() || request.at(&["device", "ext", "dooh"]).is_some()
}

fn find<'r, 'j>(request: &'r Json<'j>, places: &[Path]) -> Option<Found<'r, 'j>> {
    places.iter().find_map(|path| Some(Found { value: request.at(path)?, path }))
}

/// How a venue type is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Venue<'r> {
    /// As a type of its taxonomy.
    Known(Cow<'r, str>),
    /// As none, because `OpenOOH` has no such type.
    Unknown,
    /// Nothing is given.
    Absent,
}

/// The venue type of a request. Of a list, which may be a type with those above it, the finest that is known counts.
pub fn venue<'r>(request: &'r Json<'_>) -> Venue<'r> {
    let Some(found) = venuetype(request) else { return Venue::Absent };
    let is_list = matches!(found.value, Json::Array(_));
    let values = if is_list { found.value.elements() } else { std::slice::from_ref(found.value) };
    if values.is_empty() {
        return Venue::Absent;
    }
    // Only OpenOOH's ids (1 is the default, 5 is version 1.1) can be looked up here.
    let taxonomy = venuetypetax(request).and_then(|found| found.value.as_i64()).unwrap_or(1);
    if !matches!(taxonomy, 1 | 5) {
        return values.first().and_then(text).map_or(Venue::Unknown, Venue::Known);
    }
    let texts = values.iter().filter_map(text).flat_map(parts);
    let known = texts.filter(|text| text.parse().is_ok_and(crate::venue::is_known));
    known.max_by_key(|text| text.len()).map_or(Venue::Unknown, Venue::Known)
}

/// Whether a venue type has the form that the specification gives it: an array of strings `dooh.venuetype`.
pub fn is_venuetype_as_specified(found: Found<'_, '_>) -> bool {
    let is_text = |element: &Json<'_>| element.as_str().is_some();
    found.path == ["dooh", "venuetype"]
        && matches!(found.value, Json::Array(_))
        && found.value.elements().iter().all(is_text)
}

/// A string, or a whole number as one.
fn text<'r>(value: &'r Json<'_>) -> Option<Cow<'r, str>> {
    value.as_str().map(Cow::Borrowed).or_else(|| value.as_i64().map(|id| Cow::Owned(id.to_string())))
}

/// The parts of a list that is written as one string.
fn parts(text: Cow<'_, str>) -> Vec<Cow<'_, str>> {
    match text {
        Cow::Borrowed(text) => text.split(',').map(|part| Cow::Borrowed(part.trim())).collect(),
        Cow::Owned(_) => vec![text],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: &str, expect: &str) {
        let json = Json::parse(request.as_bytes()).unwrap();
        let shown = match venue(&json) {
            Venue::Known(id) => id.into_owned(),
            Venue::Unknown => "unknown".to_owned(),
            Venue::Absent => "absent".to_owned(),
        };
        assert_eq!(shown, expect, "{request}");
    }

    #[test]
    fn a_venue_type_is_found_under_each_of_its_names() {
        for (request, expect) in [
            (r#"{"dooh":{"venuetype":["301"]}}"#, "301"),
            (r#"{"dooh":{"venuetype":"301"}}"#, "301"),
            (r#"{"dooh":{"venuetypeid":301,"venuetax":1}}"#, "301"),
            (r#"{"dooh":{"venuetypeid":"301","venuetax":5}}"#, "301"),
            (r#"{"site":{},"device":{"ext":{"dooh":{"venuetypeid":10101}}}}"#, "10101"),
            (r#"{"device":{"ext":{"dooh":{"venuetypelist":[1,101,10101]}}}}"#, "10101"),
            (r#"{"device":{"ext":{"dooh":{"venuetypelist":"1, 101"}}}}"#, "101"),
            // Of a newer taxonomy: what is known of the list counts.
            (r#"{"device":{"ext":{"dooh":{"venuetypelist":[8,899]}}}}"#, "8"),
            // The specification's place counts before the others.
            (
                r#"{"dooh":{"venuetype":["301"],"venuetypeid":302},"device":{"ext":{"dooh":{"venuetypeid":303}}}}"#,
                "301",
            ),
            (r#"{"dooh":{"venuetype":["9999"]}}"#, "unknown"),
            (r#"{"dooh":{"venuetype":["retail"]}}"#, "unknown"),
            (r#"{"dooh":{"venuetype":["retail"],"venuetypetax":2}}"#, "retail"),
            (r#"{"dooh":{"venuetype":[]}}"#, "absent"),
            (r#"{"dooh":{"venuetype":{}}}"#, "unknown"),
            (r#"{"dooh":{}}"#, "absent"),
            ("{}", "absent"),
        ] {
            check(request, expect);
        }
    }

    #[test]
    fn the_facts_of_older_exchanges_are_found_in_both_places() {
        for request in [
            r#"{"dooh":{"impmultiply":1.34,"audience":1.56}}"#,
            r#"{"site":{},"device":{"ext":{"dooh":{"impmultiply":1.34,"audience":1.56}}}}"#,
        ] {
            let json = Json::parse(request.as_bytes()).unwrap();
            assert!(is_dooh(&json), "{request}");
            assert_eq!(multiplier(&json).unwrap().value.as_f64(), Some(1.34), "{request}");
            assert_eq!(audience(&json).unwrap().value.as_f64(), Some(1.56), "{request}");
        }
        assert!(!is_dooh(&Json::parse(br#"{"site":{},"device":{"ext":{}}}"#).unwrap()));
    }
}
