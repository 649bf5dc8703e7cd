//! The files of a partition: listed under its location, or named by the text files there.
//!
//! Text files of names are read once, when the query is planned. A publisher that replaces one by a single put so
//! switches the partition as a whole: a query reads the files before the switch or those after it.

use std::time::SystemTime;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use datafusion::common::{DataFusionError, exec_datafusion_err};
use datafusion::error::Result;
use datafusion::object_store::ObjectMeta;
use datafusion::object_store::path::Path;

use super::definition::{Format, Location};
use crate::s3::{ListEntry, ListRequest, S3, StoreError};

/// The most files that one partition has, and the largest text file of names, in bytes.
const MAX_FILES: usize = 100_000;
const MAX_MANIFEST: u64 = 64 << 20;
/// Keys on one page of a listing.
const PAGE: usize = 1000;

pub(super) async fn files(s3: &S3, format: Format, location: &Location) -> Result<Vec<ObjectMeta>> {
    let listed = list(s3, location).await?;
    match format {
        Format::Parquet | Format::Json => {
            listed.into_iter().map(|(key, size, modified)| meta(s3, &location.bucket, &key, size, modified)).collect()
        }
        Format::ParquetSymlinks => {
            let mut found = Vec::new();
            for (key, ..) in listed {
                let names = s3.get(&location.bucket, &key, MAX_MANIFEST).await.map_err(store_error)?;
                found.extend(named_files(s3, &names).await?);
            }
            Ok(found)
        }
    }
}

/// The visible objects under a location: hidden is what begins with `_` or `.` in any part of its name below it.
async fn list(s3: &S3, location: &Location) -> Result<Vec<(String, u64, SystemTime)>> {
    let prefix = location.prefix();
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let request = ListRequest { prefix: prefix.clone(), delimiter: None, after, max_keys: PAGE };
        let page = match s3.list(&location.bucket, request).await {
            Ok(page) => page,
            // As at AWS, a location with nothing in it is an empty partition.
            Err(StoreError::NoSuchBucket { .. }) => return Ok(found),
            Err(error) => return Err(store_error(error)),
        };
        after = page.entries.last().map(|last| last.name().to_owned()).unwrap_or_default();
        for entry in page.entries {
            let ListEntry::Object { key, size, modified } = entry else { continue };
            let below = key.strip_prefix(&prefix).unwrap_or(&key);
            let hidden = below.split('/').any(|part| part.starts_with(['_', '.']));
            if size > 0 && !hidden {
                found.push((key, size, modified));
            }
        }
        if found.len() > MAX_FILES {
            return Err(exec_datafusion_err!(
                "HIVE_EXCEEDED_PARTITION_LIMIT: {prefix} has more than {MAX_FILES} files"
            ));
        }
        if !page.truncated {
            return Ok(found);
        }
    }
}

async fn named_files(s3: &S3, names: &Bytes) -> Result<Vec<ObjectMeta>> {
    let names =
        std::str::from_utf8(names).map_err(|error| exec_datafusion_err!("HIVE_BAD_DATA: a symlink file: {error}"))?;
    let mut found = Vec::new();
    for name in names.lines().map(str::trim).filter(|name| !name.is_empty()) {
        let location = Location::parse(name)
            .ok_or_else(|| exec_datafusion_err!("HIVE_BAD_DATA: {name:?} in a symlink file is not an object of S3"))?;
        let (_, info) = s3.open_object(&location.bucket, &location.key).await.map_err(|error| {
            exec_datafusion_err!("HIVE_CANNOT_OPEN_SPLIT: Error opening Hive split {name}: {error}")
        })?;
        found.push(meta(s3, &location.bucket, &location.key, info.size, info.modified)?);
        if found.len() > MAX_FILES {
            return Err(exec_datafusion_err!(
                "HIVE_EXCEEDED_PARTITION_LIMIT: a symlink file names more than {MAX_FILES} files"
            ));
        }
    }
    Ok(found)
}

fn meta(s3: &S3, bucket: &str, key: &str, size: u64, modified: SystemTime) -> Result<ObjectMeta> {
    let path = s3.relative_path(bucket, key).map_err(store_error)?;
    let location = Path::parse(path).map_err(|error| DataFusionError::External(Box::new(error)))?;
    let last_modified: DateTime<Utc> = modified.into();
    Ok(ObjectMeta { location, last_modified, size, e_tag: None, version: None })
}

fn store_error(error: StoreError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
