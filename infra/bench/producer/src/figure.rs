//! One measured number beside its goal and its peer.

use std::fmt;

use serde::Serialize;

/// One measured number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// Group and name, separated by a dot.
    pub name: &'static str,
    /// What was measured, in `unit`.
    pub value: f64,
    /// Unit of `value`, `goal` and `peer_value`.
    pub unit: &'static str,
    /// What was promised, if it was.
    pub goal: Option<f64>,
    /// Which way is up.
    pub better: Better,
    /// Name and version of the peer.
    pub peer: Option<String>,
    /// What the peer reached in the same run; `None` if it could not be had.
    pub peer_value: Option<f64>,
    /// Under which conditions.
    pub note: String,
}

/// Which way is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
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
