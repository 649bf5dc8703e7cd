//! `IncreaseStreamRetentionPeriod` and `DecreaseStreamRetentionPeriod`.

use serde::Deserialize;

use crate::kinesis::settings::{RETENTION_HOURS_MAX, RETENTION_HOURS_MIN};
use crate::kinesis::store::Store;
use crate::wire::{Request, ServiceError};

use super::validate::Checks;
use super::{StreamRef, begin, change_settings, invalid_argument, io_failure};

#[derive(Deserialize)]
struct Input {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "RetentionPeriodHours")]
    hours: Option<i64>,
}

/// Keeps records longer. What has expired does not come back.
pub(super) async fn increase(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    set(store, request, |now, hours| hours >= now, "Requested retention period must be greater than the current").await
}

/// Keeps records shorter; what is too old is deleted at once.
pub(super) async fn decrease(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    set(store, request, |now, hours| hours <= now, "Requested retention period must be less than the current").await
}

async fn set(
    store: &Store,
    request: Request<'_>,
    is_allowed: fn(u32, u32) -> bool,
    refusal: &str,
) -> Result<Vec<u8>, ServiceError> {
    let input: Input = request.parse()?;
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    let asked = checks.required("retentionPeriodHours", input.hours);
    checks.finish()?;
    let in_range =
        u32::try_from(asked).ok().filter(|hours| (RETENTION_HOURS_MIN..=RETENTION_HOURS_MAX).contains(hours));
    let Some(hours) = in_range else {
        return Err(invalid_argument(format!(
            "Retention period must be between {RETENTION_HOURS_MIN} and {RETENTION_HOURS_MAX} hours, not {asked}."
        )));
    };
    let stream = input.stream.find(store)?;
    let change = begin(&stream)?;
    let now_ms = store.clock().now_ms();
    change_settings(&stream, |settings| {
        let now = settings.retention_hours;
        if !is_allowed(now, hours) {
            return Err(invalid_argument(format!("{refusal} retention period of {now} hours, not {hours}.")));
        }
        settings.horizon_floor_ms = settings.horizon_ms(now_ms);
        settings.retention_hours = hours;
        Ok(())
    })
    .await?;
    stream.trim(now_ms).await.map_err(|error| io_failure(&error))?;
    change.made();
    Ok(Vec::new())
}
