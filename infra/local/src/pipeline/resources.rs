//! What the deployed pipeline has from its template, made on the local cloud: streams, delivery stream, catalog.
//! Everything that is there already stays as it is.

use std::time::Duration;

use anyhow::{Context as _, bail};
use aws_config::SdkConfig;
use aws_sdk_firehose::types::{
    BufferingHints, CompressionFormat, DeliveryStreamType, ExtendedS3DestinationConfiguration,
};
use aws_sdk_kinesis::error::ProvideErrorMetadata as _;
use aws_sdk_kinesis::types::StreamStatus;

use crate::names;

/// How long a new stream may take to become active.
const ACTIVE_ATTEMPTS: u32 = 200;
const ACTIVE_PAUSE: Duration = Duration::from_millis(50);

/// Firehose buffers: small, so that a failed event is in SQL within a minute.
const FAILED_BUFFER_MB: i32 = 1;
const FAILED_BUFFER_S: i32 = 10;

/// Makes both streams and the delivery stream.
pub(super) async fn make(aws: &SdkConfig, raw_shards: u16) -> anyhow::Result<()> {
    let kinesis = aws_sdk_kinesis::Client::new(aws);
    // An enriched event is about 1.3 times its raw one (measured on the demo's traffic).
    let enriched_shards = raw_shards + raw_shards.div_ceil(2);
    make_stream(&kinesis, names::RAW_STREAM, raw_shards).await?;
    make_stream(&kinesis, names::ENRICHED_STREAM, enriched_shards).await?;
    make_delivery_stream(&aws_sdk_firehose::Client::new(aws)).await
}

async fn make_stream(kinesis: &aws_sdk_kinesis::Client, stream: &str, shards: u16) -> anyhow::Result<()> {
    let created = kinesis.create_stream().stream_name(stream).shard_count(i32::from(shards)).send().await;
    match created {
        Ok(_) => {}
        Err(error) if error.code() == Some("ResourceInUseException") => {}
        Err(error) => return Err(error).with_context(|| format!("create the stream {stream}")),
    }
    for _ in 0..ACTIVE_ATTEMPTS {
        let answer = kinesis.describe_stream_summary().stream_name(stream).send().await;
        let answer = answer.with_context(|| format!("describe the stream {stream}"))?;
        let status = answer.stream_description_summary().map(|summary| summary.stream_status().clone());
        if matches!(status, Some(StreamStatus::Active | StreamStatus::Updating)) {
            return Ok(());
        }
        tokio::time::sleep(ACTIVE_PAUSE).await;
    }
    bail!("the stream {stream} did not become active")
}

async fn make_delivery_stream(firehose: &aws_sdk_firehose::Client) -> anyhow::Result<()> {
    let hints = BufferingHints::builder().size_in_mbs(FAILED_BUFFER_MB).interval_in_seconds(FAILED_BUFFER_S).build();
    let folder = names::FAILED_FOLDER;
    let destination = ExtendedS3DestinationConfiguration::builder()
        .role_arn("arn:aws:iam::000000000000:role/millrace-firehose")
        .bucket_arn(format!("arn:aws:s3:::{}", names::LAKE_BUCKET))
        .prefix(format!("{folder}/event_date=!{{timestamp:yyyy-MM-dd}}/event_hour=!{{timestamp:HH}}/"))
        .error_output_prefix(format!("{folder}_errors/!{{firehose:error-output-type}}/"))
        .compression_format(CompressionFormat::Gzip)
        .buffering_hints(hints)
        .build()
        .context("build the destination of failed events")?;
    let call = firehose
        .create_delivery_stream()
        .delivery_stream_name(names::FAILED_DELIVERY_STREAM)
        .delivery_stream_type(DeliveryStreamType::DirectPut)
        .extended_s3_destination_configuration(destination);
    // On the heap: the call's future is 32 kB, and would make every caller's that large.
    match Box::pin(call.send()).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("ResourceInUseException") => Ok(()),
        Err(error) => Err(error).context("create the delivery stream of failed events"),
    }
}
