//! The findings of one check, and the shapes of field that many rules share.

use crate::json::Json;
use crate::violation::{Place, Severity, Violation};

/// Findings so far, at most [`VIOLATIONS_MAX`].
#[derive(Debug, Default)]
pub(super) struct Findings {
    violations: Vec<Violation>,
}

/// A request with more faults than this is not read more clearly by listing the rest (our choice).
const VIOLATIONS_MAX: usize = 100;

/// An object under check, and its place and section in the specification.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'p, 'j> {
    pub(super) value: &'p Json<'j>,
    pub(super) place: &'p Place<'p>,
    pub(super) section: &'static str,
}

impl Findings {
    pub(super) fn into_violations(self) -> Vec<Violation> {
        self.violations
    }

    pub(super) fn error(
        &mut self,
        code: &'static str,
        section: &'static str,
        place: &Place<'_>,
        message: &'static str,
    ) {
        self.add(Violation {
            code,
            severity: Severity::Error,
            path: place.to_string(),
            section,
            message,
            offset: None,
        });
    }

    pub(super) fn warning(
        &mut self,
        code: &'static str,
        section: &'static str,
        place: &Place<'_>,
        message: &'static str,
    ) {
        self.add(Violation {
            code,
            severity: Severity::Warning,
            path: place.to_string(),
            section,
            message,
            offset: None,
        });
    }

    fn add(&mut self, violation: Violation) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        }
    }

    /// The object under a key; a finding where something else stands there.
    pub(super) fn object<'p, 'j>(&mut self, node: Node<'p, 'j>, key: &str) -> Option<&'p Json<'j>> {
        let value = node.value.get(key)?;
        if !matches!(value, Json::Object(_)) {
            self.error("field.type", node.section, &node.place.key(key), "must be an object");
            return None;
        }
        Some(value)
    }

    /// The elements of the array under a key; a finding where something else stands there.
    pub(super) fn array<'p, 'j>(&mut self, node: Node<'p, 'j>, key: &str) -> &'p [Json<'j>] {
        let Some(value) = node.value.get(key) else { return &[] };
        if !matches!(value, Json::Array(_)) {
            self.error("field.type", node.section, &node.place.key(key), "must be an array");
        }
        value.elements()
    }

    /// A required string that is not empty.
    pub(super) fn required_text(&mut self, node: Node<'_, '_>, key: &str, code: &'static str) {
        if node.value.get(key).and_then(Json::as_str).is_none_or(str::is_empty) {
            self.error(code, node.section, &node.place.key(key), "must be a string that is not empty");
        }
    }

    /// Flags that decide what may be done with the data: 0 or 1 where present.
    pub(super) fn legal_flags(&mut self, node: Node<'_, '_>, keys: &[&str]) {
        for key in keys {
            let Some(value) = node.value.get(key) else { continue };
            if !matches!(value.as_i64(), Some(0 | 1)) {
                self.error("flags", node.section, &node.place.key(key), "must be 0 or 1");
            }
        }
    }

    /// Other flags: numbers where present. Senders put other numbers than 0 and 1 there; those only mark the row.
    pub(super) fn flags(&mut self, node: Node<'_, '_>, keys: &[&str]) {
        for key in keys {
            let Some(value) = node.value.get(key) else { continue };
            let place = node.place.key(key);
            match value.as_i64() {
                Some(0 | 1) => {}
                Some(_) => self.warning("flags", node.section, &place, "should be 0 or 1"),
                None => self.error("flags", node.section, &place, "must be 0 or 1"),
            }
        }
    }

    /// A currency: shaped like a code; a code that ISO 4217 does not list as active only marks the row.
    pub(super) fn currency(&mut self, code: &'static str, section: &'static str, place: &Place<'_>, value: &Json<'_>) {
        match value.as_str() {
            Some(currency) if crate::currency::is_active(currency) => {}
            Some(currency) if crate::currency::is_code_shaped(currency) => {
                self.warning(code, section, place, "should be an active ISO 4217 code");
            }
            Some(_) | None => self.error(code, section, place, "must be an ISO 4217 code"),
        }
    }

    /// Sizes, counts and durations: whole numbers, 0 or greater, where present.
    pub(super) fn counts(&mut self, node: Node<'_, '_>, keys: &[&str]) {
        for key in keys {
            let Some(value) = node.value.get(key) else { continue };
            if value.as_i64().is_none_or(|count| count < 0) {
                self.error("field.count", node.section, &node.place.key(key), "must be a whole number, 0 or greater");
            }
        }
    }

    /// A price per thousand and its currency. A negative floor is read as none.
    pub(super) fn floor(&mut self, node: Node<'_, '_>) {
        if let Some(value) = node.value.get("bidfloor") {
            let place = node.place.key("bidfloor");
            match value.as_f64() {
                None => self.error("imp.bidfloor", node.section, &place, "must be a number"),
                Some(floor) if crate::money::cpm_micros(floor).is_some() => {}
                Some(_) => {
                    self.warning("imp.bidfloor", node.section, &place, "should be 0 or greater, and is read as 0")
                }
            }
        }
        if let Some(value) = node.value.get("bidfloorcur") {
            self.currency("imp.bidfloor", node.section, &node.place.key("bidfloorcur"), value);
        }
    }
}
