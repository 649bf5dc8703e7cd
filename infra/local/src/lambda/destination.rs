//! Where goes what a function could not handle, and what became of asynchronous invocations: buckets, queues, topics and
//! functions of this local cloud.

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

use crate::kinesis::{ACCOUNT, REGION};
use crate::s3::{PutOptions, S3, StoreError};
use crate::sns::{self, Publication, Sns, SnsError};
use crate::sqs::{self, AttributeValue, Content, SendError, Sqs};

use super::function::function_arn;

mod discarded;

pub(super) use discarded::Discarded;

/// A destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Destination {
    /// A bucket of the local cloud: it gets what happened, and the whole event.
    Bucket {
        /// Its name.
        bucket: String,
    },
    /// A queue.
    Queue {
        /// Its name.
        queue: String,
    },
    /// A topic.
    Topic {
        /// Its ARN.
        topic: String,
    },
    /// A function, which is called asynchronously.
    Function {
        /// Its name.
        function: String,
    },
}

/// What may be a destination of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Of batches of a stream that were given up.
    Batches,
    /// Of asynchronous invocations that succeeded.
    OnSuccess,
    /// Of asynchronous invocations that were given up.
    OnFailure,
    /// Of their events, as they were.
    DeadLetters,
}

/// A destination that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DestinationError {
    /// A service that AWS takes and that is not in the local cloud.
    #[error("{service} as a destination is not in the Millrace local cloud")]
    NotHere {
        /// Which.
        service: &'static str,
    },
    /// It names no destination, or not one of such a thing.
    #[error("{arn} is not the ARN of {expected} in this region and account")]
    NotADestination {
        /// What was given.
        arn: String,
        /// What it may be.
        expected: &'static str,
    },
}

impl Use {
    fn expected(self) -> &'static str {
        match self {
            Self::Batches => "a queue, a topic or a bucket",
            Self::OnSuccess => "a queue, a topic or a function",
            Self::OnFailure => "a queue, a topic, a bucket or a function",
            Self::DeadLetters => "a queue or a topic",
        }
    }

    fn takes(self, destination: &Destination) -> bool {
        match destination {
            Destination::Bucket { .. } => matches!(self, Self::Batches | Self::OnFailure),
            Destination::Function { .. } => matches!(self, Self::OnSuccess | Self::OnFailure),
            Destination::Queue { .. } | Destination::Topic { .. } => true,
        }
    }
}

impl Destination {
    /// Reads a destination's ARN.
    ///
    /// # Errors
    /// For what is not here, and for what is none.
    pub fn from_arn(arn: &str) -> Result<Self, DestinationError> {
        Self::for_use(arn, Use::OnFailure)
    }

    /// Reads the ARN of what may be a destination of something.
    pub(super) fn for_use(arn: &str, used: Use) -> Result<Self, DestinationError> {
        let not_here = |service| Err(DestinationError::NotHere { service });
        let service = arn.split(':').nth(2).unwrap_or_default();
        if arn.starts_with("kafka://") || service == "kafka" {
            return not_here("a Kafka topic");
        }
        if service == "events" {
            return not_here("an event bus");
        }
        let bucket = arn.strip_prefix("arn:aws:s3:::").filter(|name| !name.is_empty() && !name.contains('/'));
        let function = arn.strip_prefix(&function_arn("")).filter(|name| !name.is_empty() && !name.contains(':'));
        let found = if let Some(bucket) = bucket {
            Some(Self::Bucket { bucket: bucket.to_owned() })
        } else if let Some(queue) = sqs::queue_name(arn) {
            Some(Self::Queue { queue: queue.to_owned() })
        } else if sns::is_topic_arn(arn) {
            Some(Self::Topic { topic: arn.to_owned() })
        } else {
            function.map(|function| Self::Function { function: function.to_owned() })
        };
        let expected = used.expected();
        found
            .filter(|found| used.takes(found))
            .ok_or(DestinationError::NotADestination { arn: arn.to_owned(), expected })
    }

    /// Its ARN.
    pub fn arn(&self) -> String {
        match self {
            Self::Bucket { bucket } => format!("arn:aws:s3:::{bucket}"),
            Self::Queue { queue } => format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"),
            Self::Topic { topic } => topic.clone(),
            Self::Function { function } => function_arn(function),
        }
    }

    /// The most bytes that it takes at once.
    pub(super) fn bytes_max(&self) -> usize {
        match self {
            Self::Bucket { .. } => usize::MAX,
            Self::Queue { .. } | Self::Function { .. } => 1_048_576,
            Self::Topic { .. } => 262_144,
        }
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        destination.arn()
    }
}

impl TryFrom<String> for Destination {
    type Error = DestinationError;

    fn try_from(arn: String) -> Result<Self, DestinationError> {
        Self::from_arn(&arn)
    }
}

/// What is put into a destination.
#[derive(Debug, Clone, Default)]
pub(super) struct Letter {
    pub(super) body: String,
    /// Of an object, where it becomes one.
    pub(super) key: String,
    /// Of a message, where it becomes one.
    pub(super) attributes: std::collections::BTreeMap<String, AttributeValue>,
}

/// Why something is not in its destination.
#[derive(Debug, thiserror::Error)]
pub(super) enum SinkError {
    #[error("the bucket does not take it")]
    Bucket(#[from] StoreError),
    #[error("the queue does not take it")]
    Queue(#[from] SendError),
    #[error("the topic does not take it")]
    Topic(#[from] SnsError),
    #[error("function {function} cannot be called with it")]
    Function { function: String },
}

/// Where destinations are. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Sinks {
    pub(crate) s3: S3,
    pub(crate) sqs: Sqs,
    pub(crate) sns: Sns,
}

impl Sinks {
    /// Puts it there; durable when this returns. A function is none of these: its queue of events is the function's.
    pub(super) async fn put(&self, destination: &Destination, letter: Letter) -> Result<(), SinkError> {
        let Letter { body, key, attributes } = letter;
        match destination {
            Destination::Bucket { bucket } => {
                self.s3.put(bucket, &key, body.into(), PutOptions::default()).await?;
            }
            Destination::Queue { queue } => {
                self.sqs.send(queue, Content { body, attributes, trace_header: None }).await?
            }
            Destination::Topic { topic } => {
                self.sns.publish(topic, &Publication { message: body, subject: None, attributes }).await?;
            }
            Destination::Function { function } => return Err(SinkError::Function { function: function.clone() }),
        }
        Ok(())
    }
}

pub(super) fn time_text(at_ms: i64) -> String {
    DateTime::from_timestamp_millis(at_ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_by_their_arn() {
        let check = |arn: &str, used: Use, expected: Result<Destination, &str>| match (
            Destination::for_use(arn, used),
            expected,
        ) {
            (Ok(found), Ok(expected)) => {
                assert_eq!(found, expected);
                assert_eq!(found.arn(), arn);
            }
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{arn}: {error}"),
            (found, expected) => panic!("{arn} for {used:?}: {found:?}, not {expected:?}"),
        };
        let bucket = || Destination::Bucket { bucket: "dead".to_owned() };
        let queue = "arn:aws:sqs:us-east-1:000000000000:q";
        let topic = "arn:aws:sns:us-east-1:000000000000:t";
        let function = "arn:aws:lambda:us-east-1:000000000000:function:f";
        check("arn:aws:s3:::dead", Use::Batches, Ok(bucket()));
        check("arn:aws:s3:::dead", Use::OnFailure, Ok(bucket()));
        check("arn:aws:s3:::dead", Use::OnSuccess, Err("a queue, a topic or a function"));
        for used in [Use::Batches, Use::OnSuccess, Use::OnFailure, Use::DeadLetters] {
            check(queue, used, Ok(Destination::Queue { queue: "q".to_owned() }));
            check(topic, used, Ok(Destination::Topic { topic: topic.to_owned() }));
        }
        check(function, Use::OnSuccess, Ok(Destination::Function { function: "f".to_owned() }));
        check(function, Use::Batches, Err("a queue, a topic or a bucket"));
        check("kafka://t", Use::Batches, Err("a Kafka topic"));
        check("arn:aws:events:us-east-1:000000000000:event-bus/b", Use::OnSuccess, Err("an event bus"));
        for none in ["arn:aws:s3:::dead/letters", "arn:aws:s3", "dead", &queue.replace("us-east-1", "eu-west-1")] {
            check(none, Use::Batches, Err("is not the ARN"));
        }
    }
}
