//! The executions that the service knows: their states and times, with the clock as an argument.

use std::collections::{HashMap, VecDeque};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::error::QueryError;
use crate::meter::{Level, Reading, Sizes};

/// Executions that are remembered; the oldest finished ones are forgotten first.
const MAX_EXECUTIONS: usize = 10_000;
/// Executions queued or running, as in us-east-1.
pub(super) const MAX_ACTIVE: usize = 200;

/// Where an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }

    fn is_final(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
            Self::Queued | Self::Running => false,
        }
    }
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ColumnInfo {
    pub(super) name: String,
    /// In Athena's words.
    pub(super) kind: &'static str,
    pub(super) precision: u32,
    pub(super) scale: i8,
}

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) query: String,
    pub(super) database: String,
    pub(super) workgroup: String,
    /// Where the result goes: a location of S3 without the file's name.
    pub(super) output: String,
}

/// What a finished query leaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Outcome {
    pub(super) columns: Vec<ColumnInfo>,
    pub(super) scanned: u64,
    /// A result of SHOW or DESCRIBE: lines of text without a header.
    pub(super) is_text: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Execution {
    pub(super) id: String,
    pub(super) asked: Asked,
    pub(super) state: State,
    pub(super) error: Option<QueryError>,
    pub(super) submitted_ms: i64,
    pub(super) started_ms: Option<i64>,
    pub(super) completed_ms: Option<i64>,
    pub(super) outcome: Outcome,
    pub(super) cancel: CancellationToken,
}

impl Execution {
    /// The result's object.
    pub(super) fn result(&self) -> String {
        let slash = if self.asked.output.ends_with('/') { "" } else { "/" };
        let extension = if self.outcome.is_text { "txt" } else { "csv" };
        format!("{}{slash}{}.{extension}", self.asked.output, self.id)
    }
}

/// Why a query is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    TooMany,
    TokenReused,
}

/// A query that was taken, or known already by its token.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub(super) id: String,
    pub(super) is_new: bool,
}

/// A use, and how many were refused.
pub(super) type Used = (Reading, u64);

#[derive(Debug, Default)]
pub(super) struct Executions {
    by_id: HashMap<String, Execution>,
    /// Oldest first.
    order: VecDeque<String>,
    tokens: HashMap<String, String>,
    /// Queued or running.
    active: Level,
    refused: u64,
    query_bytes: Sizes,
}

impl Executions {
    pub(super) fn submit(&mut self, asked: Asked, token: Option<String>, now_ms: i64) -> Result<Taken, Refused> {
        if let Some(known) = token.as_ref().and_then(|token| self.tokens.get(token)).and_then(|id| self.by_id.get(id)) {
            return if known.asked == asked {
                Ok(Taken { id: known.id.clone(), is_new: false })
            } else {
                Err(Refused::TokenReused)
            };
        }
        let active = self.count_active();
        if active >= MAX_ACTIVE {
            self.refused += 1;
            return Err(Refused::TooMany);
        }
        self.active.set(active + 1, now_ms);
        self.forget();
        let id = Uuid::new_v4().hyphenated().to_string();
        let execution = Execution {
            id: id.clone(),
            asked,
            state: State::Queued,
            error: None,
            submitted_ms: now_ms,
            started_ms: None,
            completed_ms: None,
            outcome: Outcome::default(),
            cancel: CancellationToken::new(),
        };
        self.by_id.insert(id.clone(), execution);
        self.order.push_back(id.clone());
        if let Some(token) = token {
            self.tokens.insert(token, id.clone());
        }
        Ok(Taken { id, is_new: true })
    }

    fn count_active(&self) -> usize {
        self.by_id.values().filter(|execution| !execution.state.is_final()).count()
    }

    /// Notes the size of a query, also of one that is too large.
    pub(super) fn note_query(&mut self, bytes: usize, bytes_max: usize, now_ms: i64) {
        self.query_bytes.note(bytes, bytes_max, now_ms);
    }

    /// Queries queued or running, with those refused; and the sizes of queries.
    pub(super) fn usage(&mut self, now_ms: i64) -> (Used, Used) {
        let active = self.count_active();
        self.active.set(active, now_ms);
        ((self.active.read(now_ms), self.refused), (self.query_bytes.read(now_ms), self.query_bytes.over()))
    }

    pub(super) fn get(&self, id: &str) -> Option<&Execution> {
        self.by_id.get(id)
    }

    /// Newest first.
    pub(super) fn ids(&self) -> impl Iterator<Item = &String> {
        self.order.iter().rev()
    }

    pub(super) fn started(&mut self, id: &str, now_ms: i64) {
        if let Some(execution) = self.active(id) {
            execution.state = State::Running;
            execution.started_ms = Some(now_ms);
        }
    }

    pub(super) fn finished(&mut self, id: &str, result: Result<Outcome, QueryError>, now_ms: i64) {
        let Some(execution) = self.active(id) else { return };
        execution.completed_ms = Some(now_ms);
        match result {
            Ok(outcome) => {
                execution.state = State::Succeeded;
                execution.outcome = outcome;
            }
            Err(error) => {
                execution.state = State::Failed;
                execution.error = Some(error);
            }
        }
    }

    /// Stops an execution; a finished one stays as it is. Says whether it is known.
    pub(super) fn cancel(&mut self, id: &str, now_ms: i64) -> bool {
        if let Some(execution) = self.active(id) {
            execution.state = State::Cancelled;
            execution.completed_ms = Some(now_ms);
            execution.cancel.cancel();
        }
        self.by_id.contains_key(id)
    }

    pub(super) fn cancel_all(&mut self, now_ms: i64) {
        let ids: Vec<String> = self.order.iter().cloned().collect();
        for id in ids {
            self.cancel(&id, now_ms);
        }
    }

    fn active(&mut self, id: &str) -> Option<&mut Execution> {
        self.by_id.get_mut(id).filter(|execution| !execution.state.is_final())
    }

    fn forget(&mut self) {
        while self.order.len() >= MAX_EXECUTIONS {
            let Some(place) =
                self.order.iter().position(|id| self.by_id.get(id).is_none_or(|one| one.state.is_final()))
            else {
                return;
            };
            if let Some(id) = self.order.remove(place) {
                self.by_id.remove(&id);
                self.tokens.retain(|_, of| *of != id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Executions, Outcome, QueryError, Refused, State};

    fn asked(query: &str) -> Asked {
        let [query, database, workgroup, output] = [query, "adx", "primary", "s3://out"].map(str::to_owned);
        Asked { query, database, workgroup, output }
    }

    #[test]
    fn states_only_go_forward() {
        let mut all = Executions::default();
        let id = all.submit(asked("a"), None, 1).unwrap().id;
        assert_eq!(all.get(&id).unwrap().state, State::Queued);
        assert_eq!(all.get(&id).unwrap().result(), format!("s3://out/{id}.csv"));
        all.started(&id, 2);
        all.finished(&id, Ok(Outcome::default()), 3);
        assert!(all.cancel(&id, 4));
        all.finished(&id, Err(QueryError::system("late")), 5);
        let found = all.get(&id).unwrap();
        assert_eq!((found.state, found.started_ms, found.completed_ms), (State::Succeeded, Some(2), Some(3)));
        assert!(!all.cancel("none", 6));

        let id = all.submit(asked("b"), None, 7).unwrap().id;
        all.cancel(&id, 8);
        all.started(&id, 9);
        assert_eq!(all.get(&id).unwrap().state, State::Cancelled);
        assert!(all.get(&id).unwrap().cancel.is_cancelled());
    }

    #[test]
    fn a_token_names_one_query() {
        let mut all = Executions::default();
        let token = || Some("t".repeat(32));
        let first = all.submit(asked("a"), token(), 1).unwrap();
        let again = all.submit(asked("a"), token(), 2).unwrap();
        assert_eq!((first.is_new, again.is_new, &first.id), (true, false, &again.id));
        assert_eq!(all.submit(asked("b"), token(), 3).unwrap_err(), Refused::TokenReused);
    }

    #[test]
    fn both_numbers_are_bounded() {
        let mut all = Executions::default();
        for _ in 0..200 {
            all.submit(asked("a"), None, 1).unwrap();
        }
        assert_eq!(all.submit(asked("a"), None, 1).unwrap_err(), Refused::TooMany);
        all.cancel_all(2);
        for round in 0..10_100 {
            let id = all.submit(asked("a"), Some(round.to_string()), 3).unwrap().id;
            all.finished(&id, Ok(Outcome::default()), 4);
        }
        assert_eq!((all.by_id.len(), all.order.len(), all.tokens.len()), (10_000, 10_000, 10_000));
    }
}
