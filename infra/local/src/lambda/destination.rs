//! Where given-up records go: the body that the service writes about them, and the bucket it is put into.

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::kinesis::Record;
use crate::s3::{self, PutOptions, S3};

use super::function::VERSION;
use super::shard::Condition;

/// An on-failure destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnFailure {
    /// A bucket of the local cloud: what happened, and the whole event.
    S3 {
        /// The bucket's name.
        bucket: String,
    },
}

/// A destination that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OnFailureError {
    /// A service that AWS takes and that is not in the local cloud.
    #[error("{service} as an on-failure destination is not in the Millrace local cloud; an S3 bucket is")]
    NotHere {
        /// Which.
        service: &'static str,
    },
    /// It names no destination.
    #[error("{arn} is not the ARN of a queue, a topic or a bucket")]
    NotADestination {
        /// What was given.
        arn: String,
    },
}

impl OnFailure {
    /// Reads a destination's ARN.
    ///
    /// # Errors
    /// For queues and topics, which are not here, and for what is none.
    pub fn from_arn(arn: &str) -> Result<Self, OnFailureError> {
        let mut parts = arn.splitn(6, ':');
        let (service, name) = match (parts.next(), parts.next(), parts.next(), parts.nth(2)) {
            (Some("arn"), Some(_partition), Some(service), Some(name)) => (service, name),
            _ => return Err(OnFailureError::NotADestination { arn: arn.to_owned() }),
        };
        match service {
            "s3" if !name.is_empty() && !name.contains('/') => Ok(Self::S3 { bucket: name.to_owned() }),
            "sqs" => Err(OnFailureError::NotHere { service: "an SQS queue" }),
            "sns" => Err(OnFailureError::NotHere { service: "an SNS topic" }),
            "kafka" => Err(OnFailureError::NotHere { service: "a Kafka topic" }),
            _ => Err(OnFailureError::NotADestination { arn: arn.to_owned() }),
        }
    }
}

/// Records that were given up, and why.
#[derive(Debug, Clone)]
pub(super) struct Discarded {
    pub(super) mapping_id: Uuid,
    pub(super) function_arn: String,
    pub(super) stream_arn: String,
    pub(super) shard_id: String,
    pub(super) condition: Condition,
    pub(super) invocations: u32,
    /// The last invocation's; none if there was none.
    pub(super) request_id: Option<String>,
    pub(super) records: Vec<Record>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_context: Option<ResponseContext>,
    version: &'static str,
    timestamp: String,
    #[serde(rename = "KinesisBatchInfo")]
    batch: BatchInfo<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    request_id: &'a str,
    function_arn: &'a str,
    condition: &'static str,
    approximate_invoke_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseContext {
    status_code: u16,
    executed_version: &'static str,
    function_error: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchInfo<'a> {
    shard_id: &'a str,
    start_sequence_number: String,
    end_sequence_number: String,
    approximate_arrival_of_first_record: String,
    approximate_arrival_of_last_record: String,
    batch_size: usize,
    stream_arn: &'a str,
}

impl Discarded {
    /// The body for S3: what happened, and the event as a string in `payload`.
    fn body(&self, now_ms: i64) -> serde_json::Result<Vec<u8>> {
        let event = super::batch::payload(&self.records, &self.stream_arn, None);
        let payload = serde_json::value::to_raw_value(&String::from_utf8_lossy(&event))?;
        let (first, last) = (self.records.first(), self.records.last());
        let number = |record: Option<&Record>| record.map(|record| record.sequence_number.to_string());
        let arrival = |record: Option<&Record>| time_text(record.map_or(0, |record| record.arrival_ms));
        let body = Body {
            request_context: RequestContext {
                request_id: self.request_id.as_deref().unwrap_or_default(),
                function_arn: &self.function_arn,
                condition: self.condition.text(),
                approximate_invoke_count: self.invocations,
            },
            response_context: (self.invocations > 0).then_some(ResponseContext {
                status_code: 200,
                executed_version: VERSION,
                function_error: "Unhandled",
            }),
            version: "1.0",
            timestamp: time_text(now_ms),
            batch: BatchInfo {
                shard_id: &self.shard_id,
                start_sequence_number: number(first).unwrap_or_default(),
                end_sequence_number: number(last).unwrap_or_default(),
                approximate_arrival_of_first_record: arrival(first),
                approximate_arrival_of_last_record: arrival(last),
                batch_size: self.records.len(),
                stream_arn: &self.stream_arn,
            },
            payload: Some(&payload),
        };
        serde_json::to_vec(&body)
    }

    /// The object's key.
    fn key(&self, now_ms: i64, object_id: Uuid) -> String {
        let at = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
        let (day, time) = (at.format("%Y/%m/%d"), at.format("%Y-%m-%dT%H.%M.%S"));
        format!("aws/lambda/{}/{}/{day}/{time}-{object_id}", self.mapping_id, self.shard_id)
    }

    /// Puts it into the bucket; durable when this returns.
    pub(super) async fn keep(&self, destination: &OnFailure, s3: &S3, now_ms: i64) -> Result<(), s3::StoreError> {
        let OnFailure::S3 { bucket } = destination;
        let body = self.body(now_ms).map_err(std::io::Error::from)?;
        s3.put(bucket, &self.key(now_ms, Uuid::new_v4()), body.into(), PutOptions::default()).await?;
        Ok(())
    }
}

fn time_text(at_ms: i64) -> String {
    DateTime::from_timestamp_millis(at_ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use crate::kinesis::SequenceNumber;

    use super::*;

    fn discarded(invocations: u32) -> Discarded {
        let record = |counter| Record {
            sequence_number: SequenceNumber::new(1_700_000_000, 3, counter),
            arrival_ms: 1_700_000_000_123,
            partition_key: "k".to_owned(),
            data: b"hi".to_vec().into(),
        };
        Discarded {
            mapping_id: Uuid::nil(),
            function_arn: "arn:aws:lambda:us-east-1:000000000000:function:enrich".to_owned(),
            stream_arn: "arn:stream".to_owned(),
            shard_id: "shardId-000000000003".to_owned(),
            condition: Condition::RetryAttemptsExhausted,
            invocations,
            request_id: (invocations > 0).then(|| "7-b".to_owned()),
            records: vec![record(1), record(2)],
        }
    }

    #[test]
    fn the_body_is_the_service_s() {
        let mut body: serde_json::Value =
            serde_json::from_slice(&discarded(3).body(1_700_000_060_000).unwrap()).unwrap();
        let payload = body.as_object_mut().unwrap().remove("payload").unwrap();
        let event: serde_json::Value = serde_json::from_str(payload.as_str().unwrap()).unwrap();
        assert_eq!(event["Records"][1]["kinesis"]["data"], "aGk=");
        expect_test::expect![[r#"
            {
              "KinesisBatchInfo": {
                "approximateArrivalOfFirstRecord": "2023-11-14T22:13:20.123Z",
                "approximateArrivalOfLastRecord": "2023-11-14T22:13:20.123Z",
                "batchSize": 2,
                "endSequenceNumber": "49170000000000000000000000000000000000000002000000000003",
                "shardId": "shardId-000000000003",
                "startSequenceNumber": "49170000000000000000000000000000000000000001000000000003",
                "streamArn": "arn:stream"
              },
              "requestContext": {
                "approximateInvokeCount": 3,
                "condition": "RetryAttemptsExhausted",
                "functionArn": "arn:aws:lambda:us-east-1:000000000000:function:enrich",
                "requestId": "7-b"
              },
              "responseContext": {
                "executedVersion": "$LATEST",
                "functionError": "Unhandled",
                "statusCode": 200
              },
              "timestamp": "2023-11-14T22:14:20.000Z",
              "version": "1.0"
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&body).unwrap());
        let never_called: serde_json::Value = serde_json::from_slice(&discarded(0).body(0).unwrap()).unwrap();
        assert!(never_called.get("responseContext").is_none());
    }

    #[test]
    fn the_key_says_where_and_when() {
        assert_eq!(
            discarded(1).key(1_700_000_060_000, Uuid::nil()),
            "aws/lambda/00000000-0000-0000-0000-000000000000/shardId-000000000003/2023/11/14/\
             2023-11-14T22.14.20-00000000-0000-0000-0000-000000000000"
        );
    }

    #[test]
    fn destinations_by_their_arn() {
        assert_eq!(OnFailure::from_arn("arn:aws:s3:::dead"), Ok(OnFailure::S3 { bucket: "dead".to_owned() }));
        for (arn, expected) in [
            ("arn:aws:sqs:us-east-1:000000000000:q", "an SQS queue as an on-failure destination is not in"),
            ("arn:aws:sns:us-east-1:000000000000:t", "an SNS topic"),
            ("arn:aws:s3:::dead/letters", "is not the ARN"),
            ("arn:aws:s3", "is not the ARN"),
            ("dead", "is not the ARN"),
        ] {
            assert!(OnFailure::from_arn(arn).unwrap_err().to_string().contains(expected), "{arn}");
        }
    }
}
