//! Faults on demand: the local cloud fails as the services do, as often and as long as it is told.
//!
//! A rule names a kind of fault and whom it strikes, with a probability and a duration; a seed makes the same calls fail
//! again. The first rule that strikes decides. Kinds are of calls (they decide at the door, before the service does), of
//! functions, of the disk, or something that happens by itself ([`Action`]): at once, or once a second for the rule's
//! time. Rules are set over `PUT /_millrace/faults`, by a file at the start, or with [`Faults::set`], and are gone after
//! a restart. Times are those of the cloud's clock: a jump of it moves the ends of rules too.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::Serialize;

pub mod action;
pub mod command;
mod rule;

pub use action::Action;
use rule::{Family, RULES_MAX};
pub use rule::{FaultError, FaultKind, FaultRule, FaultService};

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Carried out and answered.
    Answer,
    /// Refused as one too many.
    Throttle,
    /// Refused as the service's own failure.
    Fail,
    /// Carried out and answered after this time.
    Delay(Duration),
    /// Never answered.
    Hang,
    /// Carried out, and its connection cut.
    Cut,
}

/// What becomes of one invocation of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FunctionFate {
    /// The batch is handed over a second time after it has been handled.
    Duplicate,
    /// The process is killed after this time.
    Kill(Duration),
    /// The process is stopped after this time, and its timeout ends it.
    Freeze(Duration),
}

/// The rules that hold. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Held for a throw of the dice.
    rules: Arc<Mutex<Vec<Armed>>>,
    /// Whether any rule is about the disk: what most writes ask, and no more.
    is_about_disk: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Armed {
    rule: FaultRule,
    ends_ms: Option<i64>,
    dice: StdRng,
    struck: u64,
    /// The dice of an action that happens once were thrown.
    is_spent: bool,
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
    /// Calls, records, invocations or writes that it has struck.
    pub struck: u64,
}

impl Armed {
    fn new(rule: FaultRule, now_ms: i64) -> Self {
        let ends_ms = rule.duration_ms.map(|duration_ms| now_ms.saturating_add(duration_ms));
        Self { ends_ms, dice: StdRng::seed_from_u64(rule.seed), struck: 0, is_spent: false, rule }
    }

    /// Throws the dice for something that the rule is about. None are thrown for anything else: a rule's row depends
    /// on its own calls alone.
    fn strikes(&mut self, is_meant: bool, now_ms: i64) -> bool {
        let holds = self.ends_ms.is_none_or(|ends_ms| now_ms < ends_ms);
        let strikes = holds && is_meant && self.dice.random_bool(self.rule.probability);
        self.struck += u64::from(strikes);
        strikes
    }

    fn fate(&self) -> Fate {
        match self.rule.kind {
            FaultKind::Throttle => Fate::Throttle,
            FaultKind::InternalError => Fate::Fail,
            FaultKind::Slow => Fate::Delay(self.delay()),
            FaultKind::Hang => Fate::Hang,
            FaultKind::CutAfterCommit => Fate::Cut,
            FaultKind::Record
            | FaultKind::Duplicate
            | FaultKind::Kill
            | FaultKind::Freeze
            | FaultKind::DiskFull
            | FaultKind::Split
            | FaultKind::Merge
            | FaultKind::ClockJump => Fate::Answer,
        }
    }

    fn function_fate(&self) -> FunctionFate {
        if self.rule.kind == FaultKind::Duplicate {
            FunctionFate::Duplicate
        } else if self.rule.kind == FaultKind::Kill {
            FunctionFate::Kill(self.delay())
        } else {
            FunctionFate::Freeze(self.delay())
        }
    }

    fn delay(&self) -> Duration {
        Duration::from_millis(self.rule.delay_ms)
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
        let mut held = self.rules();
        self.is_about_disk.store(rules.iter().any(|rule| rule.kind == FaultKind::DiskFull), Ordering::Release);
        *held = rules.into_iter().map(|rule| Armed::new(rule, now_ms)).collect();
        Ok(())
    }

    /// The rules, with what they have done.
    pub fn status(&self, now_ms: i64) -> Vec<FaultStatus> {
        let rules = self.rules();
        let show = |armed: &Armed| FaultStatus {
            rule: armed.rule.clone(),
            left_ms: match (armed.ends_ms, armed.is_spent) {
                (_, true) => Some(0),
                (ends_ms, false) => ends_ms.map(|ends_ms| ends_ms.saturating_sub(now_ms).max(0)),
            },
            struck: armed.struck,
        };
        rules.iter().map(show).collect()
    }

    /// Throws the dice for a call.
    pub(crate) fn strike(&self, service: FaultService, operation: &str, now_ms: i64) -> Fate {
        for armed in self.rules().iter_mut() {
            let is_meant = armed.rule.kind.family() == Family::Call && armed.rule.means(service, operation);
            if armed.strikes(is_meant, now_ms) {
                return armed.fate();
            }
        }
        Fate::Answer
    }

    /// Throws the dice for the records of a `PutRecords` call; `None` when no rule is about records.
    pub(crate) fn strike_records(&self, count: usize, now_ms: i64) -> Option<Vec<bool>> {
        let mut rules = self.rules();
        let armed = rules.iter_mut().find(|armed| armed.rule.kind == FaultKind::Record)?;
        let is_meant = armed.rule.means(FaultService::Kinesis, "PutRecords");
        Some((0..count).map(|_| armed.strikes(is_meant, now_ms)).collect())
    }

    /// Throws the dice for an invocation of the function, or of the mapping, of this name.
    pub(crate) fn strike_function(&self, function: &str, now_ms: i64) -> Option<FunctionFate> {
        for armed in self.rules().iter_mut() {
            let is_meant = armed.rule.kind.family() == Family::Function && armed.rule.means_name(function);
            if armed.strikes(is_meant, now_ms) {
                return Some(armed.function_fate());
            }
        }
        None
    }

    /// Throws the dice for a write of the disk.
    ///
    /// # Errors
    /// What the operating system says when the disk is full.
    pub(crate) fn check_disk(&self, now_ms: i64) -> io::Result<()> {
        if !self.is_about_disk.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut rules = self.rules();
        let mut about_disk = rules.iter_mut().filter(|armed| armed.rule.kind == FaultKind::DiskFull);
        if about_disk.any(|armed| armed.strikes(true, now_ms)) {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "no space left on device: a fault that was asked for",
            ));
        }
        Ok(())
    }

    /// What is to happen now: of rules without a duration once, of the others each time that this is asked.
    pub(crate) fn due_actions(&self, now_ms: i64) -> Vec<Action> {
        let mut due = Vec::new();
        for armed in self.rules().iter_mut() {
            if armed.is_spent || armed.rule.kind.family() != Family::Action {
                continue;
            }
            armed.is_spent = armed.rule.duration_ms.is_none();
            if armed.strikes(true, now_ms) {
                due.extend(Action::of(&armed.rule));
            }
        }
        due
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.rules.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
