//! From what the producer says to what the sender is told: the one place where the two meet.

use kinesis_producer::{Failure, InvalidRecord, PutError, SpoolError, TrySendError};

use crate::counters::Class;
use crate::http::problem::Kind;

/// Why a valid event is not durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// No room in the producer's buffer: the event was not kept.
    QueueFull,
    /// Larger than a record of the stream can be.
    TooLarge,
    /// The stream did not take it, or did not say so in time.
    Unavailable,
}

/// What the service calls a record or request that it does not take as it is.
const VALIDATION_CODES: [&str; 2] = ["ValidationException", "InvalidArgumentException"];

impl Unsent {
    /// What the sender is told.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Unsent::QueueFull => Kind::QueueFull,
            Unsent::TooLarge => Kind::TooLarge,
            Unsent::Unavailable => Kind::StreamUnavailable,
        }
    }

    pub(crate) fn class(self) -> Class {
        match self {
            Unsent::QueueFull => Class::QueueFull,
            Unsent::TooLarge => Class::TooLarge,
            Unsent::Unavailable => Class::Unavailable,
        }
    }

    /// Whether the fault is on our side, so that an operator should hear of it.
    pub(crate) fn is_ours(self) -> bool {
        match self {
            Unsent::QueueFull | Unsent::Unavailable => true,
            Unsent::TooLarge => false,
        }
    }
}

impl From<&TrySendError> for Unsent {
    fn from(error: &TrySendError) -> Self {
        match error {
            TrySendError::Full(_) => Unsent::QueueFull,
            TrySendError::Closed(_) => Unsent::Unavailable,
            TrySendError::Invalid(InvalidRecord::TooLarge { .. }) => Unsent::TooLarge,
            // The door makes keys of 1 to 256 bytes, so this is a fault of ours.
            TrySendError::Invalid(InvalidRecord::PartitionKey { .. }) => Unsent::Unavailable,
        }
    }
}

impl From<&PutError> for Unsent {
    fn from(error: &PutError) -> Self {
        match error {
            // No permission and no such stream are ours to repair; a record that is not taken as it is, is too large,
            // because size is the only thing that a sender decides.
            PutError::Refused(failure) if is_validation(failure) => Unsent::TooLarge,
            // The stream has not taken events for so long that the disk is full of them.
            PutError::Spool(SpoolError::Full { .. }) => Unsent::QueueFull,
            PutError::Refused(_) | PutError::Expired { .. } | PutError::Spool(_) | PutError::Closed => {
                Unsent::Unavailable
            }
        }
    }
}

fn is_validation(failure: &Failure) -> bool {
    failure.code().is_some_and(|code| VALIDATION_CODES.contains(&code))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kinesis_producer::{FailureClass, Record};

    use super::*;

    fn refused(code: &str) -> PutError {
        PutError::Refused(Failure::Service { class: FailureClass::Refused, code: code.into(), message: "".into() })
    }

    #[test]
    fn what_the_sender_is_told() {
        let record = || Record::new("k", "data");
        for (error, expect) in [
            (TrySendError::Full(record()), Unsent::QueueFull),
            (TrySendError::Closed(record()), Unsent::Unavailable),
            (TrySendError::Invalid(InvalidRecord::TooLarge { bytes: 2, bytes_max: 1 }), Unsent::TooLarge),
            (TrySendError::Invalid(InvalidRecord::PartitionKey { bytes: 0 }), Unsent::Unavailable),
        ] {
            assert_eq!(Unsent::from(&error), expect, "{error}");
        }
        let no_answer = Failure::NoAnswer(Arc::new(std::io::Error::other("gone")));
        for (error, expect) in [
            (refused("ValidationException"), Unsent::TooLarge),
            (refused("AccessDeniedException"), Unsent::Unavailable),
            (refused("ResourceNotFoundException"), Unsent::Unavailable),
            (PutError::Refused(Failure::NotSent(Arc::new(std::io::Error::other("no region")))), Unsent::Unavailable),
            (PutError::Expired { attempts: 3, last: Some(no_answer) }, Unsent::Unavailable),
            (PutError::Closed, Unsent::Unavailable),
            (PutError::Spool(SpoolError::Full { bytes_max: 1 }), Unsent::QueueFull),
            (PutError::Spool(SpoolError::Gone), Unsent::Unavailable),
        ] {
            assert_eq!(Unsent::from(&error), expect, "{error}");
        }
    }
}
