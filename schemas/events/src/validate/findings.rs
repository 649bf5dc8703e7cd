//! The findings of one check, and the shapes of field that many rules share.

use crate::json::Json;
use crate::validate::{Policy, Response};
use crate::violation::{Place, Severity, Violation};

/// Findings so far, at most [`VIOLATIONS_MAX`], and what they are judged by.
#[derive(Debug)]
pub(super) struct Findings {
    violations: Vec<Violation>,
    pub(super) policy: Policy,
    /// When the event was received, in milliseconds since the epoch.
    pub(super) now_ms: i64,
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
    pub(super) fn new(policy: Policy, now_ms: i64) -> Self {
        Self { violations: Vec::new(), policy, now_ms }
    }

    /// The findings; when there are more than are listed, one that refuses is always among them.
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
        self.add(Severity::Error, (code, section, message), place);
    }

    pub(super) fn warning(
        &mut self,
        code: &'static str,
        section: &'static str,
        place: &Place<'_>,
        message: &'static str,
    ) {
        self.add(Severity::Warning, (code, section, message), place);
    }

    /// A column holds another form of what stands there.
    pub(super) fn normalized(
        &mut self,
        code: &'static str,
        section: &'static str,
        place: &Place<'_>,
        message: &'static str,
    ) {
        self.add(Severity::Normalized, (code, section, message), place);
    }

    /// A fault of the text that the policy either tolerates or does not.
    pub(super) fn tolerable(
        &mut self,
        code: &'static str,
        section: &'static str,
        place: &Place<'_>,
        message: &'static str,
    ) {
        self.add(severity(self.policy.tolerated_faults), (code, section, message), place);
    }

    fn add(&mut self, severity: Severity, rule: (&'static str, &'static str, &'static str), place: &Place<'_>) {
        let (code, section, message) = rule;
        let violation = || Violation { code, severity, path: place.to_string(), section, message, offset: None };
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation());
        } else if severity == Severity::Error
            && let Some(last) = self.violations.last_mut()
            && last.severity != Severity::Error
        {
            // Marks must not crowd out what refuses.
            *last = violation();
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

    /// Strings where present.
    pub(super) fn texts(&mut self, node: Node<'_, '_>, keys: &[&str]) {
        for key in keys {
            if node.value.get(key).is_some_and(|value| value.as_str().is_none()) {
                self.error("field.type", node.section, &node.place.key(key), "must be a string");
            }
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

    /// Other flags: numbers where present. Senders put other numbers than 0 and 1 there; policy decides on those.
    pub(super) fn flags(&mut self, node: Node<'_, '_>, keys: &[&str]) {
        for key in keys {
            let Some(value) = node.value.get(key) else { continue };
            let place = node.place.key(key);
            match value.as_i64() {
                Some(0 | 1) => {}
                Some(_) => self.tolerable("flags", node.section, &place, "should be 0 or 1"),
                None => self.error("flags", node.section, &place, "must be 0 or 1"),
            }
        }
    }

    /// A code list of which the numbers from 0 or 1 to `max` are known. Others pass, and mark the row.
    pub(super) fn listed(&mut self, node: Node<'_, '_>, key: &str, range: std::ops::RangeInclusive<i64>) {
        let Some(value) = node.value.get(key) else { return };
        if !value.as_i64().is_some_and(|number| range.contains(&number)) {
            let message = "is not in the specification's list";
            self.warning("enumeration", node.section, &node.place.key(key), message);
        }
    }

    /// A currency: shaped like a code; policy decides on a code that ISO 4217 does not list as active.
    pub(super) fn currency(&mut self, code: &'static str, section: &'static str, place: &Place<'_>, value: &Json<'_>) {
        match value.as_str() {
            Some(currency) if crate::currency::is_active(currency) => {}
            Some(currency) if crate::currency::is_code_shaped(currency) => {
                self.tolerable(code, section, place, "should be an active ISO 4217 code");
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

    /// A price per thousand, 0 or greater, where present.
    pub(super) fn price(&mut self, node: Node<'_, '_>, key: &str, code: &'static str) {
        let Some(value) = node.value.get(key) else { return };
        if value.as_f64().and_then(crate::money::cpm_micros).is_none() {
            self.error(code, node.section, &node.place.key(key), "must be a number, 0 or greater");
        }
    }

    /// A time in milliseconds since the epoch, where present. One in seconds, which is common, is read as one.
    pub(super) fn time(&mut self, node: Node<'_, '_>, key: &str, code: &'static str) -> Option<i64> {
        let value = node.value.get(key)?;
        let place = node.place.key(key);
        let Some(time) = value.as_f64().and_then(crate::time::millis) else {
            self.error(code, node.section, &place, "must be a time in milliseconds since 1970");
            return None;
        };
        if time.was_seconds {
            self.normalized(code, node.section, &place, "is in seconds, and is read as such");
        }
        Some(time.ms)
    }

    /// A time of display: not to come, and not longer ago than the longest known way from bid to play.
    pub(super) fn recent(&mut self, node: Node<'_, '_>, code: &'static str, time_ms: Option<i64>) {
        /// Bids may wait this long for their play: Broadsign's, the longest known (rule `imp_ts`).
        const PLAY_AGE_MS_MAX: i64 = 48 * 3_600_000;
        /// Clocks of players and of ours may differ by this.
        const CLOCK_SKEW_MS: i64 = 60_000;
        let age_ms = time_ms.map(|time_ms| self.now_ms.saturating_sub(time_ms));
        if age_ms.is_some_and(|age_ms| !(-CLOCK_SKEW_MS..=PLAY_AGE_MS_MAX).contains(&age_ms)) {
            self.warning(code, node.section, &node.place.key(code), "should be within the last 48 hours");
        }
    }

    /// A price per thousand and its currency. A negative floor is read as none where policy tolerates it.
    pub(super) fn floor(&mut self, node: Node<'_, '_>) {
        if let Some(value) = node.value.get("bidfloor") {
            let place = node.place.key("bidfloor");
            match value.as_f64() {
                None => self.error("imp.bidfloor", node.section, &place, "must be a number"),
                Some(floor) if crate::money::cpm_micros(floor).is_some() => {}
                Some(_) => {
                    self.tolerable("imp.bidfloor", node.section, &place, "should be 0 or greater, and is read as 0");
                }
            }
        }
        if let Some(value) = node.value.get("bidfloorcur") {
            self.currency("imp.bidfloor", node.section, &node.place.key("bidfloorcur"), value);
        }
    }

    /// Two members of which a sender gives at most one.
    pub(super) fn exclusive(&mut self, node: Node<'_, '_>, pairs: &[(&str, &str)]) {
        for (first, second) in pairs {
            let is_given = |key: &str| match node.value.get(key) {
                Some(Json::Array(elements)) => !elements.is_empty(),
                Some(Json::Text(text)) => !text.is_empty(),
                Some(_) => true,
                None => false,
            };
            if is_given(first) && is_given(second) {
                let place = node.place.key(second);
                self.warning("pairs", node.section, &place, "should not stand beside the other way to say it");
            }
        }
    }
}

/// What a finding is that policy decides on.
pub(super) fn severity(response: Response) -> Severity {
    match response {
        Response::Mark => Severity::Warning,
        Response::Refuse => Severity::Error,
    }
}
