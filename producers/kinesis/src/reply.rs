//! Whom to tell what became of a record: its sender, or the log on disk from which it was read.

use tokio::sync::{mpsc::UnboundedSender, oneshot};

use crate::{error::PutError, record::Delivered};

/// What became of a record.
pub(crate) type PutResult = Result<Delivered, PutError>;

/// What became of a record of the log, by its number there.
pub(crate) type SpoolResult = (u64, PutResult);

#[derive(Debug)]
pub(crate) enum Reply {
    /// Somebody may wait for it, and it has a deadline.
    Sender(oneshot::Sender<PutResult>),
    /// It is durable: whoever sent it has been told, it never expires, and no flush waits for it. The channel holds at most
    /// one result for each record that was read into the buffer.
    Spool { number: u64, results: UnboundedSender<SpoolResult> },
}

impl Reply {
    pub(crate) fn is_durable(&self) -> bool {
        match self {
            Reply::Sender(_) => false,
            Reply::Spool { .. } => true,
        }
    }

    /// The number of the record in the log, if it comes from there.
    pub(crate) fn spool_number(&self) -> Option<u64> {
        match self {
            Reply::Sender(_) => None,
            Reply::Spool { number, .. } => Some(*number),
        }
    }

    /// Whether somebody will look at the result.
    pub(crate) fn is_awaited(&self) -> bool {
        match self {
            Reply::Sender(sender) => !sender.is_closed(),
            Reply::Spool { .. } => true,
        }
    }

    pub(crate) fn send(self, result: PutResult) {
        match self {
            // Whoever sent it may not care.
            Reply::Sender(sender) => drop(sender.send(result)),
            // Fails only while the producer ends; then the record stays in the log.
            Reply::Spool { number, results } => drop(results.send((number, result))),
        }
    }
}
