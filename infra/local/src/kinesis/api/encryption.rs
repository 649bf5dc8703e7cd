//! `StartStreamEncryption` and `StopStreamEncryption`: what a stream says of itself. There are no keys here, and what
//! is on the disk is not encrypted.

use serde::Deserialize;

use crate::kinesis::settings::admit_change;
use crate::kinesis::store::Store;
use crate::wire::{Request, ServiceError};

use super::validate::{Checks, KEY_ID};
use super::{StreamRef, begin, change_settings, invalid_argument, limit_exceeded};

/// Starts, and stops, of one stream within 24 hours.
const CHANGES_MAX: usize = 25;

#[derive(Deserialize)]
struct Input {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "EncryptionType")]
    encryption_type: Option<String>,
    #[serde(rename = "KeyId")]
    key_id: Option<String>,
}

impl Input {
    /// The stream and the key.
    fn check(&self) -> Result<&str, ServiceError> {
        let mut checks = Checks::default();
        checks.stream(&self.stream);
        let kinds = &[("NONE", false), ("KMS", true)];
        let is_kms = checks.required_choice("encryptionType", self.encryption_type.as_deref(), kinds);
        let key_id = checks.required_text("keyId", self.key_id.as_deref(), &KEY_ID);
        checks.finish()?;
        if is_kms == Some(true) { Ok(key_id) } else { Err(invalid_argument("The only valid EncryptionType is KMS.")) }
    }
}

/// Names the key that the stream is encrypted with.
pub(super) async fn start(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: Input = request.parse()?;
    let key_id = input.check()?;
    let stream = input.stream.find(store)?;
    let change = begin(&stream)?;
    let now_ms = store.clock().now_ms();
    change_settings(&stream, |settings| {
        if settings.encryption_key.as_deref() == Some(key_id) {
            return Ok(());
        }
        if !admit_change(&mut settings.recent.encryption_starts, CHANGES_MAX, now_ms) {
            return Err(over_limit(stream.name()));
        }
        settings.encryption_key = Some(key_id.to_owned());
        Ok(())
    })
    .await?;
    change.made();
    Ok(Vec::new())
}

/// The stream is not encrypted any more.
pub(super) async fn stop(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: Input = request.parse()?;
    input.check()?;
    let stream = input.stream.find(store)?;
    let change = begin(&stream)?;
    let now_ms = store.clock().now_ms();
    change_settings(&stream, |settings| {
        if settings.encryption_key.is_none() {
            return Ok(());
        }
        if !admit_change(&mut settings.recent.encryption_stops, CHANGES_MAX, now_ms) {
            return Err(over_limit(stream.name()));
        }
        settings.encryption_key = None;
        Ok(())
    })
    .await?;
    change.made();
    Ok(Vec::new())
}

fn over_limit(stream: &str) -> ServiceError {
    limit_exceeded(format!("The encryption of stream {stream} was changed {CHANGES_MAX} times within 24 hours."))
}
