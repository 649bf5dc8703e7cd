//! The S3 operations as the protocol crate asks for them: objects and buckets.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use std::time::SystemTime;

use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{self, ETag, ETagCondition, StreamingBlob, Timestamp};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};
use tokio_util::io::ReaderStream;

use super::attributes::Attributes;
use super::front::Trailers;
use super::store::{Condition, ObjectInfo, PutOptions, Store, Temporary};
use super::upload::{self, Claims};
use super::{StoreError, hex};

mod listings;
mod objects;
mod uploads;

/// The most of `x-amz-meta-*` on one object, names and values together, in bytes.
const MAX_METADATA_BYTES: usize = 2 << 10;
/// What S3 says of an object when the client said nothing.
const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";
/// Objects are sent in pieces of so many bytes.
const READ_BUFFER: usize = 256 << 10;

type Answer<T> = S3Result<S3Response<T>>;

#[derive(Debug)]
pub(super) struct Protocol {
    store: Arc<Store>,
}

impl Protocol {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> S3Result<T> {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || work(&store)).await.map_err(StoreError::from);
        done.and_then(|result| result).map_err(S3Error::from)
    }
}

#[async_trait::async_trait]
impl s3s::S3 for Protocol {
    async fn create_bucket(&self, request: S3Request<dto::CreateBucketInput>) -> Answer<dto::CreateBucketOutput> {
        self.make_bucket(request.input).await
    }
    async fn delete_bucket(&self, request: S3Request<dto::DeleteBucketInput>) -> Answer<dto::DeleteBucketOutput> {
        self.blocking(move |store| store.delete_bucket(&request.input.bucket)).await?;
        Ok(S3Response::new(dto::DeleteBucketOutput::default()))
    }
    async fn head_bucket(&self, request: S3Request<dto::HeadBucketInput>) -> Answer<dto::HeadBucketOutput> {
        self.blocking(move |store| store.bucket(&request.input.bucket)).await?;
        Ok(S3Response::new(dto::HeadBucketOutput::default()))
    }
    async fn get_bucket_location(
        &self,
        request: S3Request<dto::GetBucketLocationInput>,
    ) -> Answer<dto::GetBucketLocationOutput> {
        self.blocking(move |store| store.bucket(&request.input.bucket)).await?;
        Ok(S3Response::new(dto::GetBucketLocationOutput::default()))
    }
    async fn list_buckets(&self, _: S3Request<dto::ListBucketsInput>) -> Answer<dto::ListBucketsOutput> {
        self.buckets().await
    }
    async fn list_objects(&self, request: S3Request<dto::ListObjectsInput>) -> Answer<dto::ListObjectsOutput> {
        self.list_v1(request.input).await
    }
    async fn list_objects_v2(&self, request: S3Request<dto::ListObjectsV2Input>) -> Answer<dto::ListObjectsV2Output> {
        self.list_v2(request.input).await
    }
    async fn put_object(&self, request: S3Request<dto::PutObjectInput>) -> Answer<dto::PutObjectOutput> {
        self.put(request).await
    }
    async fn get_object(&self, request: S3Request<dto::GetObjectInput>) -> Answer<dto::GetObjectOutput> {
        self.get(request.input).await
    }
    async fn head_object(&self, request: S3Request<dto::HeadObjectInput>) -> Answer<dto::HeadObjectOutput> {
        self.head(request.input).await
    }
    async fn copy_object(&self, request: S3Request<dto::CopyObjectInput>) -> Answer<dto::CopyObjectOutput> {
        self.copy(request).await
    }
    async fn delete_object(&self, request: S3Request<dto::DeleteObjectInput>) -> Answer<dto::DeleteObjectOutput> {
        self.delete(request.input).await
    }
    async fn delete_objects(&self, request: S3Request<dto::DeleteObjectsInput>) -> Answer<dto::DeleteObjectsOutput> {
        self.delete_many(request.input).await
    }
    async fn create_multipart_upload(
        &self,
        request: S3Request<dto::CreateMultipartUploadInput>,
    ) -> Answer<dto::CreateMultipartUploadOutput> {
        self.create_upload(request.input).await
    }
    async fn upload_part(&self, request: S3Request<dto::UploadPartInput>) -> Answer<dto::UploadPartOutput> {
        self.put_part(request).await
    }
    async fn list_parts(&self, request: S3Request<dto::ListPartsInput>) -> Answer<dto::ListPartsOutput> {
        self.parts(request.input).await
    }
    async fn complete_multipart_upload(
        &self,
        request: S3Request<dto::CompleteMultipartUploadInput>,
    ) -> Answer<dto::CompleteMultipartUploadOutput> {
        self.complete_upload(request.input).await
    }
    async fn abort_multipart_upload(
        &self,
        request: S3Request<dto::AbortMultipartUploadInput>,
    ) -> Answer<dto::AbortMultipartUploadOutput> {
        self.abort_upload(request.input).await
    }
}

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::InvalidBucket { .. } => s3_error!(InvalidBucketName, "{message}"),
            StoreError::NoSuchBucket { .. } => s3_error!(NoSuchBucket, "{message}"),
            StoreError::BucketNotEmpty { .. } => s3_error!(BucketNotEmpty, "{message}"),
            StoreError::NoSuchKey { .. } => s3_error!(NoSuchKey, "{message}"),
            StoreError::KeyTooLong { .. } => s3_error!(KeyTooLongError, "{message}"),
            StoreError::KeyConflict { .. } => s3_error!(InvalidRequest, "{message}"),
            StoreError::PreconditionFailed { .. } => s3_error!(PreconditionFailed, "{message}"),
            StoreError::Contended => s3_error!(OperationAborted, "{message}"),
            StoreError::NoSuchUpload { .. } => s3_error!(NoSuchUpload, "{message}"),
            StoreError::InvalidPartOrder => s3_error!(InvalidPartOrder, "{message}"),
            StoreError::InvalidPart { .. } => s3_error!(InvalidPart, "{message}"),
            StoreError::PartTooSmall { .. } => s3_error!(EntityTooSmall, "{message}"),
            StoreError::TooLarge { .. } => s3_error!(EntityTooLarge, "{message}"),
            StoreError::Io(source) => io_error(source),
            StoreError::Stopped(source) => s3_error!(source, ServiceUnavailable, "{message}"),
        }
    }
}

/// A full disk is said as 503: the client may try again when there is room. Nothing was acknowledged.
pub(super) fn io_error(error: io::Error) -> S3Error {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    tracing::error!(%error, "object store failed");
    if full { s3_error!(error, ServiceUnavailable, "the disk is full") } else { s3_error!(error, InternalError) }
}

/// The condition of a write: `If-None-Match: *` or `If-Match`.
fn condition(if_match: Option<&ETagCondition>, if_none_match: Option<&ETagCondition>) -> S3Result<Condition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::None),
        (None, Some(ETagCondition::Any)) => Ok(Condition::Absent),
        (Some(ETagCondition::Any), None) => Ok(Condition::Present),
        (Some(ETagCondition::ETag(etag)), None) => Ok(Condition::Matches(etag.value().to_owned())),
        (None, Some(ETagCondition::ETag(_))) => {
            Err(s3_error!(NotImplemented, "If-None-Match of a write takes * and nothing else"))
        }
        (Some(_), Some(_)) => Err(s3_error!(NotImplemented, "If-Match and If-None-Match do not go together")),
    }
}

/// The trailers and the announced trailing algorithm of a request.
fn trailing<T>(request: &S3Request<T>) -> (Option<Trailers>, Option<String>) {
    let announced = request.headers.get("x-amz-trailer").and_then(|value| value.to_str().ok());
    let algorithm = announced.and_then(|name| name.trim().strip_prefix("x-amz-checksum-")).map(str::to_owned);
    (request.extensions.get().cloned(), algorithm)
}

fn checked_metadata(metadata: Option<dto::Metadata>) -> S3Result<BTreeMap<String, String>> {
    let metadata: BTreeMap<String, String> = metadata.unwrap_or_default().into_iter().collect();
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_METADATA_BYTES { Err(s3_error!(MetadataTooLarge)) } else { Ok(metadata) }
}

/// Copies a file into a temporary one and returns its MD5.
pub(super) fn copy_hashed(from: &mut File, to: &Temporary) -> Result<String, StoreError> {
    let mut to = File::create(&to.path)?;
    let mut md5 = Md5::new();
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        let read = from.read(&mut buffer)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(hex(&md5.finalize()));
        }
        md5.update(bytes);
        to.write_all(bytes)?;
    }
}
