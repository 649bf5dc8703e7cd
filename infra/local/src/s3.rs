//! S3: the REST protocol over a directory, with atomic conditional writes, durable before they are answered.
//!
//! `<data>/s3/objects/<bucket>/<key>` holds the plain objects and nothing else, so that `DataFusion`, `DuckDB` or a person
//! reads them as files. The protocol is carried by the `s3s` crate; the storage is our own, because `s3s-fs` neither
//! syncs nor makes conditional writes atomic.
//!
//! Not here: versioning, ACLs, tagging, encryption, virtual-hosted addressing. Asked for, they are `NotImplemented`.

mod attributes;
mod chunked;
mod front;
mod layout;
mod listing;
mod multipart;
mod protocol;
mod store;
mod upload;

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use s3s::crypto::{Checksum as _, Md5};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{HttpError, HttpResponse};

use crate::clock::Clock;
use crate::faults::Faults;

pub use attributes::Attributes;
pub use listing::{ListEntry, ListPage, ListRequest};
pub use store::{Condition, ObjectInfo, PutOptions};

use store::Store;

/// Why an operation on stored objects failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A bucket's name is 3 to 63 of `a-z 0-9 . -`.
    #[error("{bucket:?} is not the name of a bucket")]
    InvalidBucket {
        /// The name given.
        bucket: String,
    },
    /// There is no such bucket.
    #[error("bucket {bucket} does not exist")]
    NoSuchBucket {
        /// The bucket's name.
        bucket: String,
    },
    /// The bucket still holds objects.
    #[error("bucket {bucket} is not empty")]
    BucketNotEmpty {
        /// The bucket's name.
        bucket: String,
    },
    /// There is no such object.
    #[error("object {key} does not exist")]
    NoSuchKey {
        /// The object's key.
        key: String,
    },
    /// The key has no byte, more than 1,024, or more than 255 between two `/`.
    #[error("a key has 1 to 1,024 bytes and at most 255 between two slashes here, not {length}")]
    KeyTooLong {
        /// The length found, in bytes.
        length: usize,
    },
    /// One key runs through another: `a` beside `a/b`. AWS allows it; a directory cannot.
    #[error("another object or prefix is in the way: {path:?} cannot be both a file and a directory")]
    KeyConflict {
        /// The path in question.
        path: PathBuf,
    },
    /// The condition of a conditional write or delete does not hold.
    #[error("the condition given for {key} does not hold")]
    PreconditionFailed {
        /// The object's key.
        key: String,
    },
    /// Directories were removed beside the write again and again.
    #[error("too many deletes beside this write; try again")]
    Contended,
    /// There is no such multipart upload.
    #[error("upload {id} does not exist")]
    NoSuchUpload {
        /// The upload's id.
        id: String,
    },
    /// Parts must be named in ascending order.
    #[error("the list of parts is empty or not in ascending order")]
    InvalidPartOrder,
    /// A part is named that is not there.
    #[error("part {number} was not uploaded, or has another ETag")]
    InvalidPart {
        /// The part's number.
        number: i32,
    },
    /// A part is too small.
    #[error("part {number} has {size} bytes; all but the last need 5 MiB")]
    PartTooSmall {
        /// The part's number.
        number: i32,
        /// Its size in bytes.
        size: u64,
    },
    /// The object is larger than the caller can take in memory.
    #[error("object {key} has {size} bytes, more than the {limit} that are read at once")]
    TooLarge {
        /// The object's key.
        key: String,
        /// Its size in bytes.
        size: u64,
        /// The most that is read, in bytes.
        limit: u64,
    },
    /// The disk said no.
    #[error("read or write the object store")]
    Io(#[from] io::Error),
    /// The blocking pool is gone: the process is shutting down.
    #[error("the storage task did not finish")]
    Stopped(#[from] tokio::task::JoinError),
}

/// The object store: a cheap handle, for the HTTP door and for the services beside it.
#[derive(Debug, Clone)]
pub struct S3 {
    store: Arc<Store>,
    service: S3Service,
}

impl S3 {
    /// Opens the store in a directory, making it if it is not there, and removes what an earlier run left unfinished.
    ///
    /// # Errors
    /// When the directory cannot be made or read.
    pub async fn open(dir: PathBuf) -> Result<Self, StoreError> {
        Self::open_with(dir, Faults::default(), Clock::default()).await
    }

    /// [`S3::open`] with faults of the disk, by this clock.
    ///
    /// # Errors
    /// As [`S3::open`].
    pub(crate) async fn open_with(dir: PathBuf, faults: Faults, clock: Clock) -> Result<Self, StoreError> {
        let store = tokio::task::spawn_blocking(move || Store::open(dir, faults, clock)).await??;
        let store = Arc::new(store);
        let service = S3ServiceBuilder::new(protocol::Protocol::new(Arc::clone(&store))).build();
        Ok(Self { store, service })
    }

    /// Answers one HTTP request. Signatures are not checked here. Path-style addresses only.
    ///
    /// # Errors
    /// Only when no answer can be made; the connection is then to be closed.
    pub async fn handle<B>(&self, request: http::Request<B>) -> Result<HttpResponse, HttpError>
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        match front::not_here(request.uri()) {
            Some(name) => Ok(front::not_here_response(request.method(), name)),
            None => self.service.call(front::admit(request)).await,
        }
    }

    /// The directory with a sub-directory per bucket, and in it the objects as plain files.
    pub fn objects_dir(&self) -> PathBuf {
        self.store.objects()
    }

    /// The path of an object below [`Self::objects_dir`], with `/` between segments; the object need not exist.
    ///
    /// # Errors
    /// When the bucket's name or the key is none.
    pub fn relative_path(&self, bucket: &str, key: &str) -> Result<String, StoreError> {
        layout::relative_path(bucket, key)
    }

    /// Makes a bucket and says whether it is new.
    ///
    /// # Errors
    /// When the name is none, or the disk fails.
    pub async fn create_bucket(&self, bucket: &str) -> Result<bool, StoreError> {
        let bucket = bucket.to_owned();
        self.blocking(move |store| store.create_bucket(&bucket)).await
    }

    /// Puts an object; it is durable when this returns.
    ///
    /// # Errors
    /// When there is no such bucket, the key does not fit, the condition does not hold, or the disk fails.
    pub async fn put(
        &self,
        bucket: &str,
        key: &str,
        body: Bytes,
        options: PutOptions,
    ) -> Result<ObjectInfo, StoreError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.blocking(move |store| {
            let file = store.temporary();
            std::fs::File::create(&file.path)?.write_all(&body)?;
            let mut md5 = Md5::new();
            md5.update(&body);
            store.commit(&file, (&bucket, &key), hex(&md5.finalize()), options)
        })
        .await
    }

    /// Makes a file elsewhere an object, byte for byte; it is durable when this returns.
    ///
    /// # Errors
    /// As [`Self::put`], and when the file cannot be read.
    pub async fn put_file(
        &self,
        bucket: &str,
        key: &str,
        source: PathBuf,
        options: PutOptions,
    ) -> Result<ObjectInfo, StoreError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.blocking(move |store| {
            let file = store.temporary();
            let md5 = protocol::copy_hashed(&mut std::fs::File::open(source)?, &file)?;
            store.commit(&file, (&bucket, &key), md5, options)
        })
        .await
    }

    /// Reads an object whole.
    ///
    /// # Errors
    /// When there is none, it has more than `limit` bytes, or the disk fails.
    pub async fn get(&self, bucket: &str, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.blocking(move |store| {
            let (mut file, info) = store.open_object(&bucket, &key)?;
            if info.size > limit {
                return Err(StoreError::TooLarge { key, size: info.size, limit });
            }
            let mut content = Vec::new();
            file.read_to_end(&mut content)?;
            Ok(content.into())
        })
        .await
    }

    /// Opens an object's file for reading in pieces.
    ///
    /// # Errors
    /// When there is none, or the disk fails.
    pub async fn open_object(&self, bucket: &str, key: &str) -> Result<(std::fs::File, ObjectInfo), StoreError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.blocking(move |store| store.open_object(&bucket, &key)).await
    }

    /// Lists one page of a bucket. Costs a read of each directory that the page touches.
    ///
    /// # Errors
    /// When there is no such bucket, or the disk fails.
    pub async fn list(&self, bucket: &str, request: ListRequest) -> Result<ListPage, StoreError> {
        let bucket = bucket.to_owned();
        self.blocking(move |store| listing::list(&store.bucket(&bucket)?, &request)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || work(&store)).await?
    }
}

/// Writes bytes as lowercase hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}
