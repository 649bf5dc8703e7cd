//! A delivery stream as it lies on disk: one small file in its directory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::destination::{Destination, usual_hints};
use super::{FirehoseError, invalid};
use crate::data_dir;

/// The file that makes a directory a delivery stream.
pub(super) const CONFIG_FILE: &str = "stream.json";
/// The id of a stream's one destination.
pub(super) const DESTINATION_ID: &str = "destinationId-000000000001";

/// What a delivery stream was asked to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamConfig {
    pub(super) name: String,
    pub(super) created_ms: i64,
    /// `ExtendedS3DestinationConfiguration` as it was given.
    pub(super) destination: Value,
    /// Grows with each change of the destination.
    #[serde(default = "first_version")]
    pub(super) version: u64,
    #[serde(default)]
    pub(super) updated_ms: Option<i64>,
    /// The Kinesis stream that records come from.
    #[serde(default)]
    pub(super) source: Option<Source>,
    /// `DeliveryStreamEncryptionConfigurationInput` while encryption is on.
    #[serde(default)]
    pub(super) encryption: Option<Value>,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    /// The table that records are converted by, where one of its versions was asked for: later ones do not change it.
    #[serde(default)]
    pub(super) table: Option<Value>,
}

/// A Kinesis stream as a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Source {
    /// The stream's name.
    pub(super) stream: String,
    /// `KinesisStreamSourceConfiguration` as it was given.
    pub(super) given: Value,
    pub(super) begun_ms: i64,
}

fn first_version() -> u64 {
    1
}

impl StreamConfig {
    pub(super) fn arn(&self) -> String {
        format!("arn:aws:firehose:us-east-1:000000000000:deliverystream/{}", self.name)
    }

    /// Reads the destination.
    ///
    /// # Errors
    /// As [`Destination::read`].
    pub(super) fn destination(&self) -> Result<Destination, FirehoseError> {
        Destination::read(&self.destination)
    }

    /// What `DescribeDeliveryStream` says.
    pub(super) fn describe(&self) -> Value {
        let encryption = match &self.encryption {
            None => json!({ "Status": "DISABLED" }),
            Some(given) => with(given, "Status", json!("ENABLED")),
        };
        let kind = if self.source.is_some() { "KinesisStreamAsSource" } else { "DirectPut" };
        let mut described = json!({
            "DeliveryStreamName": self.name,
            "DeliveryStreamARN": self.arn(),
            "DeliveryStreamStatus": "ACTIVE",
            "DeliveryStreamEncryptionConfiguration": encryption,
            "DeliveryStreamType": kind,
            "VersionId": self.version.to_string(),
            "CreateTimestamp": self.created_ms / 1000,
            "HasMoreDestinations": false,
            "Destinations": [{
                "DestinationId": DESTINATION_ID,
                "ExtendedS3DestinationDescription": self.described_destination(),
            }],
        });
        let fields = described.as_object_mut();
        if let (Some(fields), Some(updated_ms)) = (fields, self.updated_ms) {
            fields.insert("LastUpdateTimestamp".to_owned(), json!(updated_ms / 1000));
        }
        match &self.source {
            None => described,
            Some(source) => {
                let begun = with(&source.given, "DeliveryStartTimestamp", json!(source.begun_ms / 1000));
                with(&described, "Source", json!({ "KinesisStreamSourceDescription": begun }))
            }
        }
    }

    /// The destination with what was left out.
    pub(super) fn described_destination(&self) -> Value {
        let mut destination = self.destination.clone();
        if let Some(fields) = destination.as_object_mut() {
            let is_on = |block: &str, unsaid: bool| {
                let block = self.destination.get(block);
                block.is_some_and(|block| block.get("Enabled").and_then(Value::as_bool).unwrap_or(unsaid))
            };
            let is_large =
                is_on("DataFormatConversionConfiguration", true) || is_on("DynamicPartitioningConfiguration", false);
            let (size_mb, interval_s) = usual_hints(is_large);
            let hints = json!({ "SizeInMBs": size_mb, "IntervalInSeconds": interval_s });
            fields.entry("BufferingHints").or_insert(hints);
            fields.entry("CompressionFormat").or_insert_with(|| json!("UNCOMPRESSED"));
            fields.entry("EncryptionConfiguration").or_insert_with(|| json!({ "NoEncryptionConfig": "NoEncryption" }));
        }
        destination
    }

    /// The configuration after `UpdateDestination`: members replace those that are there, but for the block of conversion,
    /// whose own members do.
    ///
    /// # Errors
    /// `InvalidArgumentException` for what cannot be or can be said at creation only.
    pub(super) fn updated(&self, update: &Value, now_ms: i64) -> Result<Self, FirehoseError> {
        let Some(changes) = update.as_object() else { return Err(invalid("ExtendedS3DestinationUpdate is an object")) };
        // From the described one: what was left out at creation is a value that an update has to fit to.
        let mut destination = self.described_destination();
        let Some(fields) = destination.as_object_mut() else { return Err(invalid("the destination is an object")) };
        for (name, value) in changes {
            match (name.as_str(), fields.get_mut(name)) {
                ("DataFormatConversionConfiguration", Some(found)) => merge(found, value),
                _ => drop(fields.insert(name.clone(), value.clone())),
            }
        }
        let updated = Self { destination, version: self.version + 1, updated_ms: Some(now_ms), ..self.clone() };
        let (before, after) = (self.destination()?, updated.destination()?);
        if before.partitioning.is_none() && after.partitioning.is_some() {
            return Err(invalid("Dynamic Partitioning can only be enabled when a Firehose stream is created."));
        }
        Ok(updated)
    }
}

/// Members of objects replace those that are there, at every depth.
fn merge(into: &mut Value, from: &Value) {
    match (into.as_object_mut(), from.as_object()) {
        (Some(fields), Some(changes)) => {
            for (name, value) in changes {
                merge(fields.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        _ => *into = from.clone(),
    }
}

fn with(object: &Value, name: &str, value: Value) -> Value {
    let mut fields: Map<String, Value> = object.as_object().cloned().unwrap_or_default();
    fields.insert(name.to_owned(), value);
    Value::Object(fields)
}

/// Makes the directory of a new stream, or replaces the file in it.
pub(super) fn store(dir: &Path, config: &StreamConfig) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    data_dir::replace_file(&dir.join(CONFIG_FILE), &serde_json::to_vec(config)?)?;
    dir.parent().map_or(Ok(()), data_dir::sync_dir)
}

/// The streams that lie in a directory. One without its file was being created or deleted, and is gone.
pub(super) fn load(root: &Path) -> io::Result<Vec<StreamConfig>> {
    fs::create_dir_all(root)?;
    let mut configs = Vec::new();
    for entry in fs::read_dir(root)? {
        let dir = entry?.path();
        match fs::read(dir.join(CONFIG_FILE)) {
            Ok(content) => configs.push(serde_json::from_slice(&content)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_dir_all(&dir)?,
            Err(error) => return Err(error),
        }
    }
    Ok(configs)
}
