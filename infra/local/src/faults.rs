//! Faults on demand: the local cloud fails as the services do, as often and as long as it is told.
//!
//! A rule names operations and a kind of fault, with a probability and a duration; a seed makes the same calls fail
//! again. The first rule that strikes decides. Rules are set over `PUT /_millrace/faults`, or with [`Faults::set`], and
//! are gone after a restart.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use crate::wire::ServiceError;

/// Rules at once.
const RULES_MAX: usize = 64;
/// The longest delay of an answer.
const DELAY_MS_MAX: u64 = 600_000;

/// What a struck call meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The whole call is throttled, as `ProvisionedThroughputExceededException`.
    Throttle,
    /// The whole call fails with status 500.
    InternalError,
    /// Single records of `PutRecords` are throttled; the others are put.
    Record,
    /// The answer comes late by `delay_ms`.
    Slow,
    /// No answer comes, and the connection stays open.
    Hang,
    /// The call is carried out, and the connection is cut before its answer.
    CutAfterCommit,
}

/// When which calls fail how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// What happens.
    pub kind: FaultKind,
    /// Operations of Kinesis, such as `PutRecords`; empty means all.
    #[serde(default)]
    pub operations: Vec<String>,
    /// How likely a call (for [`FaultKind::Record`] a record) is struck: 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// How long the rule holds, in milliseconds; without it, until the rules are set again.
    #[serde(default)]
    pub duration_ms: Option<i64>,
    /// The delay of [`FaultKind::Slow`], in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// Starts the row of random numbers.
    #[serde(default)]
    pub seed: u64,
}

/// Why rules are refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FaultError {
    /// More rules than there may be.
    #[error("{count} rules are over the limit of {RULES_MAX}")]
    TooMany {
        /// How many were given.
        count: usize,
    },
    /// Not between 0 and 1.
    #[error("the probability {probability} is not between 0 and 1")]
    Probability {
        /// What was given.
        probability: f64,
    },
    /// Longer than ten minutes.
    #[error("the delay of {delay_ms} ms is over the limit of {DELAY_MS_MAX} ms")]
    Delay {
        /// What was given.
        delay_ms: u64,
    },
}

/// What becomes of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Carried out and answered.
    Answer,
    /// Refused with this error.
    Refuse(ServiceError),
    /// Carried out and answered after this time.
    Delay(Duration),
    /// Never answered.
    Hang,
    /// Carried out, and its connection cut.
    Cut,
}

/// The rules that hold. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Held for a throw of the dice.
    rules: Arc<Mutex<Vec<Armed>>>,
}

#[derive(Debug)]
struct Armed {
    rule: FaultRule,
    ends_ms: Option<i64>,
    dice: StdRng,
    struck: u64,
}

/// A rule as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FaultStatus {
    /// The rule.
    #[serde(flatten)]
    pub rule: FaultRule,
    /// Milliseconds that it still holds; missing when it holds until the rules are set again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<i64>,
    /// Calls or records that it has struck.
    pub struck: u64,
}

fn always() -> f64 {
    1.0
}

impl FaultRule {
    fn check(&self) -> Result<(), FaultError> {
        if !(0.0..=1.0).contains(&self.probability) {
            return Err(FaultError::Probability { probability: self.probability });
        }
        if self.delay_ms > DELAY_MS_MAX {
            return Err(FaultError::Delay { delay_ms: self.delay_ms });
        }
        Ok(())
    }
}

impl Armed {
    fn strikes(&mut self, operation: &str, now_ms: i64) -> bool {
        let holds = self.ends_ms.is_none_or(|ends_ms| now_ms < ends_ms);
        let is_meant = self.rule.operations.is_empty() || self.rule.operations.iter().any(|meant| meant == operation);
        // No dice are thrown for what is not meant: a rule's row depends on its own calls alone.
        let strikes = holds && is_meant && self.dice.random_bool(self.rule.probability);
        self.struck += u64::from(strikes);
        strikes
    }
}

impl Faults {
    /// Puts these rules in place of those that hold.
    ///
    /// # Errors
    /// See [`FaultError`]; the old rules hold on then.
    pub fn set(&self, rules: Vec<FaultRule>, now_ms: i64) -> Result<(), FaultError> {
        if rules.len() > RULES_MAX {
            return Err(FaultError::TooMany { count: rules.len() });
        }
        rules.iter().try_for_each(FaultRule::check)?;
        let arm = |rule: FaultRule| Armed {
            ends_ms: rule.duration_ms.map(|duration_ms| now_ms.saturating_add(duration_ms)),
            dice: StdRng::seed_from_u64(rule.seed),
            struck: 0,
            rule,
        };
        *self.rules() = rules.into_iter().map(arm).collect();
        Ok(())
    }

    /// The rules, with what they have done.
    pub fn status(&self, now_ms: i64) -> Vec<FaultStatus> {
        let rules = self.rules();
        let show = |armed: &Armed| FaultStatus {
            rule: armed.rule.clone(),
            left_ms: armed.ends_ms.map(|ends_ms| ends_ms.saturating_sub(now_ms).max(0)),
            struck: armed.struck,
        };
        rules.iter().map(show).collect()
    }

    /// Throws the dice for a call.
    pub(crate) fn strike(&self, operation: &str, now_ms: i64) -> Fate {
        for armed in self.rules().iter_mut() {
            let is_of_calls = armed.rule.kind != FaultKind::Record;
            if !is_of_calls || !armed.strikes(operation, now_ms) {
                continue;
            }
            return match armed.rule.kind {
                FaultKind::Throttle => Fate::Refuse(ServiceError::client(
                    "ProvisionedThroughputExceededException",
                    "Rate exceeded: a fault that was asked for.",
                )),
                FaultKind::InternalError => Fate::Refuse(ServiceError::internal(
                    "InternalFailureException",
                    "Internal Service Failure: a fault that was asked for.",
                )),
                FaultKind::Slow => Fate::Delay(Duration::from_millis(armed.rule.delay_ms)),
                FaultKind::Hang => Fate::Hang,
                FaultKind::CutAfterCommit => Fate::Cut,
                FaultKind::Record => Fate::Answer,
            };
        }
        Fate::Answer
    }

    /// Throws the dice for the records of a `PutRecords` call; `None` when no rule is about records.
    pub(crate) fn strike_records(&self, count: usize, now_ms: i64) -> Option<Vec<bool>> {
        let mut rules = self.rules();
        let armed = rules.iter_mut().find(|armed| armed.rule.kind == FaultKind::Record)?;
        Some((0..count).map(|_| armed.strikes("PutRecords", now_ms)).collect())
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.rules.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(kind: FaultKind, probability: f64) -> FaultRule {
        FaultRule { kind, operations: Vec::new(), probability, duration_ms: None, delay_ms: 0, seed: 7 }
    }

    #[test]
    fn a_seed_strikes_the_same_calls() {
        let row = |seed: u64| -> Vec<bool> {
            let faults = Faults::default();
            faults.set(vec![FaultRule { seed, ..rule(FaultKind::Throttle, 0.3) }], 0).unwrap();
            (0..1_000).map(|_| faults.strike("PutRecords", 0) != Fate::Answer).collect()
        };
        assert_eq!(row(1), row(1));
        assert_ne!(row(1), row(2));
        let struck = row(1).into_iter().filter(|struck| *struck).count();
        assert!((250..350).contains(&struck), "{struck} of 1,000 at 0.3");
    }

    #[test]
    fn a_rule_holds_for_its_operations_and_its_time() {
        let faults = Faults::default();
        let operations = vec!["PutRecords".to_owned()];
        let timed = FaultRule { operations, duration_ms: Some(100), ..rule(FaultKind::Hang, 1.0) };
        faults.set(vec![timed.clone(), rule(FaultKind::CutAfterCommit, 0.0)], 1_000).unwrap();
        assert_eq!(faults.strike("PutRecords", 1_099), Fate::Hang);
        assert_eq!(faults.strike("GetRecords", 1_099), Fate::Answer);
        assert_eq!(faults.status(1_040)[0], FaultStatus { rule: timed, left_ms: Some(60), struck: 1 });
        assert_eq!(faults.strike("PutRecords", 1_100), Fate::Answer);
        faults.set(Vec::new(), 0).unwrap();
        assert!(faults.status(0).is_empty());
    }

    #[test]
    fn rules_about_records_leave_calls_alone() {
        let faults = Faults::default();
        assert_eq!(faults.strike_records(3, 0), None);
        faults.set(vec![rule(FaultKind::Record, 1.0), rule(FaultKind::Slow, 1.0)], 0).unwrap();
        assert_eq!(faults.strike_records(3, 0), Some(vec![true; 3]));
        assert_eq!(faults.strike("PutRecords", 0), Fate::Delay(Duration::ZERO));
    }

    #[test]
    fn bad_rules_are_refused_and_the_old_ones_hold() {
        let faults = Faults::default();
        faults.set(vec![rule(FaultKind::Hang, 1.0)], 0).unwrap();
        for probability in [-0.1, 1.1, f64::NAN] {
            assert!(matches!(
                faults.set(vec![rule(FaultKind::Slow, probability)], 0),
                Err(FaultError::Probability { .. })
            ));
        }
        let slow = FaultRule { delay_ms: 600_001, ..rule(FaultKind::Slow, 1.0) };
        assert_eq!(faults.set(vec![slow], 0), Err(FaultError::Delay { delay_ms: 600_001 }));
        let many = vec![rule(FaultKind::Slow, 1.0); 65];
        assert_eq!(faults.set(many, 0), Err(FaultError::TooMany { count: 65 }));
        assert_eq!(faults.strike("PutRecords", 0), Fate::Hang);
        let unknown = serde_json::from_str::<FaultRule>(r#"{"kind":"slow","delay":5}"#);
        assert!(unknown.is_err(), "a misspelt member is no rule");
    }
}
