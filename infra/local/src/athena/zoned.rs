//! `timestamp with time zone` where each row has a zone of its own, as `at_timezone(ts, u.tz)` gives.
//!
//! Arrow keeps one zone per column, so such a value is a struct of the instant and the zone's name. Only functions
//! that know it take it; everything else refuses it by its type, which is better than an answer in the wrong zone.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringArray, StructArray, TimestampMillisecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, TimeUnit, TimestampMillisecondType};
use chrono::{DateTime, Offset as _, TimeZone as _};
use chrono_tz::Tz;
use datafusion::common::{DataFusionError, exec_datafusion_err};

const INSTANT: &str = "$instant";
const ZONE: &str = "$zone";

/// Milliseconds without a zone.
pub(super) const TIMESTAMP_MS: DataType = DataType::Timestamp(TimeUnit::Millisecond, None);

pub(super) fn zoned_type() -> DataType {
    DataType::Struct(fields())
}

pub(super) fn is_zoned(kind: &DataType) -> bool {
    matches!(kind, DataType::Struct(fields) if fields.iter().map(|field| field.name().as_str()).eq([INSTANT, ZONE]))
}

fn fields() -> Fields {
    Fields::from(vec![Field::new(INSTANT, TIMESTAMP_MS, true), Field::new(ZONE, DataType::Utf8, true)])
}

/// Puts instants and zones together; null where either is.
pub(super) fn zoned(instants: &ArrayRef, zones: &ArrayRef) -> Result<ArrayRef, DataFusionError> {
    let instants = instants_ms(instants)?;
    let zones = cast(zones, &DataType::Utf8)?;
    for zone in zones.as_string::<i32>().iter().flatten() {
        read_zone(zone)?;
    }
    let nulls = arrow::buffer::NullBuffer::union(instants.nulls(), zones.nulls());
    Ok(Arc::new(StructArray::try_new(fields(), vec![Arc::new(instants), zones], nulls)?))
}

/// The zone by its name: of the tz database, or an offset such as `+02:00`.
pub(super) fn read_zone(name: &str) -> Result<Zone, DataFusionError> {
    if let Ok(offset) = name.parse::<chrono::FixedOffset>() {
        return Ok(Zone::Offset(offset));
    }
    name.parse().map(Zone::Named).map_err(|_unknown| exec_datafusion_err!("'{name}' is not a valid time zone"))
}

/// A zone that can say what the clocks in it show.
#[derive(Debug, Clone, Copy)]
pub(super) enum Zone {
    Named(Tz),
    Offset(chrono::FixedOffset),
}

impl Zone {
    /// The clock's milliseconds at an instant.
    pub(super) fn local_ms(self, instant_ms: i64) -> Option<i64> {
        let utc = DateTime::from_timestamp_millis(instant_ms)?.naive_utc();
        let offset_s = match self {
            Self::Named(zone) => zone.offset_from_utc_datetime(&utc).fix().local_minus_utc(),
            Self::Offset(offset) => offset.local_minus_utc(),
        };
        instant_ms.checked_add(i64::from(offset_s) * 1000)
    }
}

/// The instants of dates, timestamps and zoned timestamps, in milliseconds since the epoch. A timestamp without a
/// zone is in the session's, which is UTC.
pub(super) fn instants_ms(values: &ArrayRef) -> Result<TimestampMillisecondArray, DataFusionError> {
    let values = match values.as_struct_opt() {
        Some(parts) if is_zoned(values.data_type()) => masked(parts)?,
        _ => Arc::clone(values),
    };
    let millis = match values.data_type() {
        // Taking the zone off keeps the instant here: the cast that Arrow makes would turn it into local time.
        DataType::Timestamp(unit, Some(_)) => {
            let utc = DataType::Timestamp(*unit, Some("UTC".into()));
            cast(&cast(&values, &utc)?, &TIMESTAMP_MS)?
        }
        _ => cast(&values, &TIMESTAMP_MS)?,
    };
    Ok(millis.as_primitive::<TimestampMillisecondType>().clone())
}

/// What the clocks show: dates and timestamps as they are, zoned ones in their zones.
pub(super) fn locals(values: &ArrayRef) -> Result<ArrayRef, DataFusionError> {
    match values.data_type() {
        kind if is_zoned(kind) => {
            let instants = instants_ms(values)?;
            let zones = values.as_struct().column(1);
            let zones = zones.as_string::<i32>();
            let local = instants.iter().zip(zones.iter()).map(|(instant, zone)| match (instant, zone) {
                (Some(instant), Some(zone)) => Ok(read_zone(zone)?.local_ms(instant)),
                (None, _) | (_, None) => Ok(None),
            });
            let local: Vec<Option<i64>> = local.collect::<Result<_, DataFusionError>>()?;
            Ok(Arc::new(millis(local)))
        }
        DataType::Timestamp(unit, Some(_)) => Ok(cast(values, &DataType::Timestamp(*unit, None))?),
        DataType::Timestamp(..) | DataType::Date32 => Ok(Arc::clone(values)),
        _ => Ok(cast(values, &TIMESTAMP_MS)?),
    }
}

/// Zone names beside the instants, for printing.
pub(super) fn zones(values: &StructArray) -> Option<&StringArray> {
    values.column_by_name(ZONE).and_then(|zones| zones.as_string_opt::<i32>())
}

/// The instants of a zoned column with the struct's own nulls put upon them.
fn masked(parts: &StructArray) -> Result<ArrayRef, DataFusionError> {
    let instants = parts.column_by_name(INSTANT).ok_or_else(|| exec_datafusion_err!("a zoned value has no instant"))?;
    let instants = instants.as_primitive::<TimestampMillisecondType>();
    let nulls = arrow::buffer::NullBuffer::union(instants.nulls(), parts.nulls());
    Ok(Arc::new(PrimitiveArray::<TimestampMillisecondType>::try_new(instants.values().clone(), nulls)?))
}

pub(super) fn millis(values: Vec<Option<i64>>) -> TimestampMillisecondArray {
    values
        .into_iter()
        .collect::<PrimitiveArray<TimestampMillisecondType>>()
        .with_data_type(TimestampMillisecondType::DATA_TYPE)
}
