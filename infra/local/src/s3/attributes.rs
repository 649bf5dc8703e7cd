//! What S3 knows of an object beside its bytes, kept in a small file of its own.
//!
//! The file says which bytes it describes (inode, modification time, size). When it describes others, because the
//! process was killed between the two renames or because somebody put a file into the directory by hand, it is
//! ignored and the `ETag` is computed from the bytes.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use serde::{Deserialize, Serialize};

/// Everything that a client may say of an object, and gets back with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attributes {
    /// `Content-Type`; S3's `binary/octet-stream` when none was given.
    pub content_type: Option<String>,
    /// `Content-Encoding`, without `aws-chunked`.
    pub content_encoding: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `x-amz-meta-*`, at most 2 KB together.
    pub metadata: BTreeMap<String, String>,
    /// `x-amz-checksum-*` by algorithm, as they were verified.
    pub checksums: BTreeMap<String, String>,
}

/// Which bytes on disk a description is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    inode: u64,
    modified_s: i64,
    modified_ns: i64,
    pub(super) size: u64,
}

impl Identity {
    pub(super) fn of(file: &Metadata) -> Self {
        Self { inode: file.ino(), modified_s: file.mtime(), modified_ns: file.mtime_nsec(), size: file.size() }
    }
}

/// The content of the small file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) identity: Identity,
    pub(super) etag: String,
    pub(super) attributes: Attributes,
}
