//! What a validator says of a body: rule, severity, place and reason, and never a value (values may be personal).

use std::fmt;

use serde::Serialize;

/// What a finding does to the event: refuse it, mark its row, or only tell how its columns were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The event is refused.
    Error,
    /// The event is accepted and its row carries the rule's name.
    Warning,
    /// A known variant of the right form: columns hold the right one, the body stays as it was received.
    Normalized,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The rule, such as `imp.qty.multiplier`.
    pub code: &'static str,
    /// Refused, marked or normalised.
    pub severity: Severity,
    /// JSON pointer (RFC 6901) to the place; empty for the whole body.
    pub path: String,
    /// Section of OpenRTB 2.6; empty where the rule is not OpenRTB's.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub section: &'static str,
    /// What must hold.
    pub message: &'static str,
    /// The byte of the body at which reading stopped, from 0, where the body is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<usize>,
}

/// A place in a document, as a chain of steps on the stack: only a finding pays for the text.
#[derive(Debug, Clone, Copy)]
pub struct Place<'p> {
    parent: Option<&'p Place<'p>>,
    step: Step<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'p> {
    Root,
    Key(&'p str),
    Index(usize),
}

impl<'p> Place<'p> {
    /// The whole document.
    pub const ROOT: Place<'static> = Place { parent: None, step: Step::Root };

    /// The place of a member.
    pub fn key(&'p self, key: &'p str) -> Place<'p> {
        Place { parent: Some(self), step: Step::Key(key) }
    }

    /// The place of an element.
    pub fn index(&'p self, index: usize) -> Place<'p> {
        Place { parent: Some(self), step: Step::Index(index) }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(formatter)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Key(key) => write!(formatter, "/{}", key.replace('~', "~0").replace('/', "~1")),
            Step::Index(index) => write!(formatter, "/{index}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_json_pointers() {
        let imp = Place::ROOT.key("imp");
        let first = imp.index(0);
        assert_eq!(Place::ROOT.to_string(), "");
        assert_eq!(first.key("qty").key("a/b~c").to_string(), "/imp/0/qty/a~1b~0c");
    }
}
