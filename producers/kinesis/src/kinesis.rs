//! The only place that calls the SDK: `PutRecords` and `ListShards`, and what their errors mean.

mod body;
mod cbor;
mod spare;
mod written;

use std::{error::Error, sync::Arc, time::Duration};

use aws_sdk_kinesis::{
    Client,
    config::{StalledStreamProtectionConfig, http::HttpResponse, retry::RetryConfig, timeout::TimeoutConfig},
    error::{ProvideErrorMetadata, SdkError},
    types::{PutRecordsResultEntry, ShardFilter, ShardFilterType},
};
use kinesis_record::HashRange;

use self::{body::StreamId, spare::Spare, written::Written};
use crate::{
    config::WireFormat,
    error::{Failure, FailureClass, ShardMapError},
    pipeline::{
        batch::Entry,
        outcome::{EntryOutcome, Outcome},
    },
    shard_map::{Shard, ShardMap},
};

/// A stream as the SDK reaches it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    client: Client,
    /// Exactly one of the two.
    name: Option<Arc<str>>,
    arn: Option<Arc<str>>,
    spare: Spare,
    format: WireFormat,
}

impl Stream {
    /// In which format records are put; JSON unless it is told.
    pub(crate) fn speaking(self, format: WireFormat) -> Self {
        Stream { format, ..self }
    }

    /// Takes over `client`'s endpoint, region, credentials and connections, but neither its retries (they would hide from
    /// the pipeline what was sent) nor its timeouts.
    pub(crate) fn new(client: &Client, name_or_arn: &str, request_timeout: Duration) -> Self {
        let timeouts = TimeoutConfig::builder().operation_timeout(request_timeout).connect_timeout(request_timeout / 2);
        let config = client
            .config()
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts.build())
            // The timeout of the whole request covers a stalled one, without watching each chunk.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let is_arn = name_or_arn.starts_with("arn:");
        let stream: Arc<str> = name_or_arn.into();
        Stream {
            client: Client::from_conf(config.build()),
            name: (!is_arn).then(|| Arc::clone(&stream)),
            arn: is_arn.then_some(stream),
            spare: Spare::default(),
            format: WireFormat::Json,
        }
    }

    /// Makes one `PutRecords` call; whatever happens to it is an outcome.
    pub(crate) async fn put_records(&self, entries: Vec<Entry>) -> Outcome {
        let stream = match (&self.name, &self.arn) {
            (Some(name), _) => StreamId::Name(name),
            (None, arn) => StreamId::Arn(arn.as_deref().unwrap_or_default()),
        };
        let body = match self.format {
            WireFormat::Json => self.spare.text(|text| body::put_records(stream, &entries, text)),
            WireFormat::Cbor => self.spare.body(|bytes| cbor::put_records(stream, &entries, bytes)),
        };
        drop(entries);
        // The SDK resolves, signs and sends; but the records are ours to write: see `body`.
        let call = self.client.put_records().set_records(Some(Vec::new()));
        let call = call.set_stream_name(self.name.as_deref().map(Into::into));
        let call = call.set_stream_arn(self.arn.as_deref().map(Into::into));
        let call = call.customize().interceptor(Written::new(body.bytes.clone()));
        let call = match self.format {
            WireFormat::Json => call,
            WireFormat::Cbor => call.interceptor(cbor::Spoken),
        };
        let answer = call.send().await;
        drop(body);
        match answer {
            Ok(output) => Outcome::Answered(output.records.into_iter().map(entry_outcome).collect()),
            Err(error) => Outcome::Failed(failure(error)),
        }
    }

    /// Reads the open shards, page by page.
    pub(crate) async fn shard_map(&self) -> Result<ShardMap, ShardMapError> {
        let mut shards = Vec::new();
        let mut token = None;
        loop {
            let call = self.client.list_shards();
            let call = match token {
                // With a token, the service refuses whatever else names the stream.
                Some(token) => call.next_token(token),
                None => {
                    let latest = ShardFilter::builder().r#type(ShardFilterType::AtLatest).build();
                    call.set_stream_name(self.name.as_deref().map(Into::into))
                        .set_stream_arn(self.arn.as_deref().map(Into::into))
                        .shard_filter(latest.map_err(|error| ShardMapError::Call(Failure::NotSent(Arc::new(error))))?)
                }
            };
            let page = call.send().await.map_err(|error| ShardMapError::Call(failure(error)))?;
            for shard in page.shards.unwrap_or_default() {
                // Some endpoints ignore the filter and list closed shards too.
                let is_open =
                    shard.sequence_number_range().is_none_or(|range| range.ending_sequence_number().is_none());
                if is_open {
                    shards.push(open_shard(&shard)?);
                }
            }
            token = page.next_token;
            if token.is_none() {
                return ShardMap::new(shards);
            }
        }
    }
}

fn entry_outcome(entry: PutRecordsResultEntry) -> EntryOutcome {
    match (entry.shard_id, entry.sequence_number) {
        (Some(shard_id), Some(sequence_number)) if entry.error_code.is_none() => {
            EntryOutcome::Stored { shard_id: shard_id.into(), sequence_number: sequence_number.into() }
        }
        (_, _) => {
            let code = entry.error_code.as_deref().unwrap_or("NoSequenceNumber");
            // A single record is only ever failed for a temporary reason: what is wrong for good fails the whole call.
            let class = match class_of(code, SERVER_FAULT) {
                FailureClass::Throttled => FailureClass::Throttled,
                FailureClass::Temporary | FailureClass::Refused => FailureClass::Temporary,
            };
            EntryOutcome::Failed(Failure::service(code, entry.error_message.as_deref().unwrap_or_default(), class))
        }
    }
}

fn open_shard(shard: &aws_sdk_kinesis::types::Shard) -> Result<Shard, ShardMapError> {
    let number = |text: &str| text.parse::<u128>().ok();
    let range = shard.hash_key_range().and_then(|range| {
        Some(HashRange { start: number(range.starting_hash_key())?, end: number(range.ending_hash_key())? })
    });
    let Some(range) = range else { return Err(ShardMapError::Range { shard_id: shard.shard_id().to_owned() }) };
    Ok(Shard { id: shard.shard_id().into(), range })
}

/// What the end of a call means.
fn failure<E>(error: SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    if let SdkError::ServiceError(service) = &error {
        let status = service.raw().status().as_u16();
        // A proxy in between answers without a code.
        let code = service.err().code().unwrap_or("NoErrorCode");
        let class = class_of(code, status);
        return Failure::service(code, service.err().message().unwrap_or_default(), class);
    }
    if matches!(error, SdkError::ConstructionFailure(_)) {
        return Failure::NotSent(Arc::new(error));
    }
    Failure::NoAnswer(Arc::new(error))
}

const REQUEST_TIMEOUT: u16 = 408;
const TOO_MANY_REQUESTS: u16 = 429;
const SERVER_FAULT: u16 = 500;

/// The class of a service error, by its code, or else by the HTTP status.
fn class_of(code: &str, status: u16) -> FailureClass {
    match code {
        "ProvisionedThroughputExceededException"
        | "LimitExceededException"
        | "KMSThrottlingException"
        | "ThrottlingException"
        | "Throttling"
        | "RequestLimitExceeded"
        | "TooManyRequestsException" => FailureClass::Throttled,
        // Credentials are renewed, and a stream that is being made or changed becomes active.
        "ExpiredTokenException" | "RequestExpired" | "ResourceInUseException" | "InternalFailure" => {
            FailureClass::Temporary
        }
        _ if status == TOO_MANY_REQUESTS => FailureClass::Throttled,
        _ if status >= SERVER_FAULT || status == REQUEST_TIMEOUT => FailureClass::Temporary,
        _ => FailureClass::Refused,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::types::PutRecordsResultEntry;

    use super::{class_of, entry_outcome};
    use crate::{error::FailureClass, pipeline::outcome::EntryOutcome};

    #[test]
    fn errors_fall_into_classes() {
        use FailureClass::{Refused, Temporary, Throttled};
        for (code, status, class) in [
            ("ProvisionedThroughputExceededException", 400, Throttled),
            ("KMSThrottlingException", 400, Throttled),
            ("Unheard", 429, Throttled),
            ("InternalFailure", 400, Temporary),
            ("InternalFailureException", 500, Temporary),
            ("Unheard", 503, Temporary),
            ("ExpiredTokenException", 400, Temporary),
            ("ResourceInUseException", 400, Temporary),
            ("ResourceNotFoundException", 400, Refused),
            ("AccessDeniedException", 400, Refused),
            ("InvalidArgumentException", 400, Refused),
            ("ValidationException", 400, Refused),
            ("KMSDisabledException", 400, Refused),
            ("Unheard", 413, Refused),
        ] {
            assert_eq!(class_of(code, status), class, "{code} {status}");
        }
    }

    #[test]
    fn single_records_are_stored_throttled_or_failed_for_now() {
        let entry = |code: Option<&str>| {
            let stored = code.is_none();
            PutRecordsResultEntry::builder()
                .set_error_code(code.map(Into::into))
                .set_sequence_number(stored.then(|| "7".into()))
                .set_shard_id(stored.then(|| "shardId-0".into()))
                .build()
        };
        let class = |outcome| match outcome {
            EntryOutcome::Stored { .. } => None,
            EntryOutcome::Failed(failure) => Some(failure.class()),
        };
        for (code, expect) in [
            (None, None),
            (Some("ProvisionedThroughputExceededException"), Some(FailureClass::Throttled)),
            (Some("InternalFailure"), Some(FailureClass::Temporary)),
            (Some("SomethingNew"), Some(FailureClass::Temporary)),
        ] {
            assert_eq!(class(entry_outcome(entry(code))), expect, "{code:?}");
        }
        let neither = PutRecordsResultEntry::builder().build();
        assert_eq!(class(entry_outcome(neither)), Some(FailureClass::Temporary));
    }
}
