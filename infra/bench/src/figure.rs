//! One measured number beside its goal and its peer.

use std::fmt;

use serde::Serialize;

/// One measured number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) goal: Option<f64>,
    pub(crate) better: Better,
    pub(crate) peer: Option<String>,
    pub(crate) peer_value: Option<f64>,
    pub(crate) note: String,
}

/// Which way is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<26} {} {}", self.name, rounded(self.value), self.unit)?;
        if let Some(goal) = self.goal {
            let is_reached = match self.better {
                Better::Higher => self.value >= goal,
                Better::Lower => self.value <= goal,
            };
            let word = if is_reached { "reached" } else { "NOT reached" };
            write!(formatter, "   goal {} {word}", rounded(goal))?;
        }
        if let Some(peer) = &self.peer {
            match self.peer_value {
                Some(value) => write!(formatter, "   {peer} {}", rounded(value))?,
                None => write!(formatter, "   {peer} could not be had")?,
            }
        }
        if self.note.is_empty() { Ok(()) } else { write!(formatter, "   ({})", self.note) }
    }
}

/// Three digits that count.
fn rounded(value: f64) -> String {
    let decimals = if value.abs() >= 100.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: f64, better: Better) -> Figure {
        Figure {
            name: "a.b",
            value,
            unit: "events/s",
            goal: Some(100.0),
            better,
            peer: Some("peer".into()),
            peer_value: Some(2.5),
            note: "n".into(),
        }
    }

    #[test]
    fn a_line_says_value_goal_and_peer() {
        let check = |value, better, expect: &str| {
            assert_eq!(figure(value, better).to_string().split_whitespace().collect::<Vec<_>>().join(" "), expect);
        };
        check(123.4, Better::Higher, "a.b 123 events/s goal 100 reached peer 2.50 (n)");
        check(12.34, Better::Higher, "a.b 12.3 events/s goal 100 NOT reached peer 2.50 (n)");
        check(12.34, Better::Lower, "a.b 12.3 events/s goal 100 reached peer 2.50 (n)");
    }
}
