//! Settings of the account as a whole: the minimum throughput commitment that makes on-demand streams "Advantage".

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data_dir::replace_file;

/// A commitment lasts a day at least.
const COMMITMENT_MS_MIN: i64 = 24 * 60 * 60 * 1_000;

/// The account's settings, as they are kept in `kinesis-account.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Account {
    started_ms: Option<i64>,
    /// When it ends or ended, once that was asked for.
    end_ms: Option<i64>,
}

/// The commitment at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commitment {
    Disabled {
        started_ms: Option<i64>,
        ended_ms: Option<i64>,
    },
    Enabled {
        started_ms: i64,
    },
    /// Its end was asked for before a day had passed.
    Ending {
        started_ms: i64,
        end_ms: i64,
    },
}

impl Account {
    /// The commitment at `now_ms`.
    pub(super) fn commitment(&self, now_ms: i64) -> Commitment {
        match (self.started_ms, self.end_ms) {
            (Some(started_ms), None) => Commitment::Enabled { started_ms },
            (Some(started_ms), Some(end_ms)) if now_ms < end_ms => Commitment::Ending { started_ms, end_ms },
            (started_ms, ended_ms) => Commitment::Disabled { started_ms, ended_ms },
        }
    }

    /// Whether on-demand streams have warm throughput and 50 consumers.
    pub(super) fn is_advantage(&self, now_ms: i64) -> bool {
        match self.commitment(now_ms) {
            Commitment::Enabled { .. } | Commitment::Ending { .. } => true,
            Commitment::Disabled { .. } => false,
        }
    }

    /// Starts the commitment, or takes back the request to end it.
    pub(super) fn enable(&mut self, now_ms: i64) {
        if !self.is_advantage(now_ms) {
            self.started_ms = Some(now_ms);
        }
        self.end_ms = None;
    }

    /// Ends the commitment: now, or when it has lasted a day.
    pub(super) fn disable(&mut self, now_ms: i64) {
        if let Commitment::Enabled { started_ms } = self.commitment(now_ms) {
            self.end_ms = Some(now_ms.max(earliest_end_ms(started_ms)));
        }
    }

    pub(super) fn read(path: &Path) -> io::Result<Self> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        replace_file(path, &serde_json::to_vec_pretty(self)?)
    }
}

/// When a commitment may end.
pub(super) fn earliest_end_ms(started_ms: i64) -> i64 {
    started_ms.saturating_add(COMMITMENT_MS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commitment_lasts_a_day() {
        let mut account = Account::default();
        assert_eq!(account.commitment(5), Commitment::Disabled { started_ms: None, ended_ms: None });
        account.enable(5);
        account.enable(7);
        assert_eq!(account.commitment(9), Commitment::Enabled { started_ms: 5 });
        let end_ms = 5 + COMMITMENT_MS_MIN;
        account.disable(10);
        assert_eq!(account.commitment(11), Commitment::Ending { started_ms: 5, end_ms });
        assert!(account.is_advantage(end_ms - 1) && !account.is_advantage(end_ms));
        account.enable(12);
        assert_eq!(account.commitment(13), Commitment::Enabled { started_ms: 5 });
        account.disable(end_ms + 1);
        let ended = Commitment::Disabled { started_ms: Some(5), ended_ms: Some(end_ms + 1) };
        assert_eq!(account.commitment(end_ms + 1), ended);
        account.enable(end_ms + 2);
        assert_eq!(account.commitment(end_ms + 3), Commitment::Enabled { started_ms: end_ms + 2 });
    }
}
