//! Records of a stream that were given up: the body that the service writes about them.

use chrono::DateTime;
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::kinesis::Record;
use crate::lambda::batch;
use crate::lambda::function::VERSION;
use crate::lambda::shard::Condition;
use crate::s3::StoreError;

use super::{Destination, Letter, SinkError, Sinks, time_text};

/// Records that were given up, and why.
#[derive(Debug, Clone)]
pub(in crate::lambda) struct Discarded {
    pub(in crate::lambda) mapping_id: Uuid,
    pub(in crate::lambda) function_arn: String,
    pub(in crate::lambda) stream_arn: String,
    pub(in crate::lambda) shard_id: String,
    pub(in crate::lambda) condition: Condition,
    pub(in crate::lambda) invocations: u32,
    /// The last invocation's; none if there was none.
    pub(in crate::lambda) request_id: Option<String>,
    pub(in crate::lambda) records: Vec<Record>,
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
    /// What happened, and for a bucket the event as a string in `payload`.
    fn body(&self, now_ms: i64, has_payload: bool) -> serde_json::Result<String> {
        let payload = match has_payload {
            true => {
                let event = batch::payload(&self.records, &self.stream_arn, None);
                Some(serde_json::value::to_raw_value(&String::from_utf8_lossy(&event))?)
            }
            false => None,
        };
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
            payload: payload.as_deref(),
        };
        serde_json::to_string(&body)
    }

    /// The object's key.
    fn key(&self, now_ms: i64, object_id: Uuid) -> String {
        let at = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
        let (day, time) = (at.format("%Y/%m/%d"), at.format("%Y-%m-%dT%H.%M.%S"));
        format!("aws/lambda/{}/{}/{day}/{time}-{object_id}", self.mapping_id, self.shard_id)
    }

    /// Puts it into its destination; durable when this returns. A bucket gets the event too, a queue or a topic only what
    /// tells where it lies on the stream.
    pub(in crate::lambda) async fn keep(
        &self,
        destination: &Destination,
        sinks: &Sinks,
        now_ms: i64,
    ) -> Result<(), SinkError> {
        let has_payload = matches!(destination, Destination::Bucket { .. });
        let body = self.body(now_ms, has_payload).map_err(std::io::Error::from).map_err(StoreError::from)?;
        sinks.put(destination, Letter { body, key: self.key(now_ms, Uuid::new_v4()), ..Letter::default() }).await
    }
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
            serde_json::from_str(&discarded(3).body(1_700_000_060_000, true).unwrap()).unwrap();
        let payload = body.as_object_mut().unwrap().remove("payload").unwrap();
        let event: serde_json::Value = serde_json::from_str(payload.as_str().unwrap()).unwrap();
        assert_eq!(event["Records"][1]["kinesis"]["data"], "aGk=");
        let for_queues: serde_json::Value =
            serde_json::from_str(&discarded(3).body(1_700_000_060_000, false).unwrap()).unwrap();
        assert_eq!(for_queues, body, "a queue gets the same without the event");
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
        let never_called: serde_json::Value = serde_json::from_str(&discarded(0).body(0, true).unwrap()).unwrap();
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
}
