//! Buckets and listings, in both versions of the protocol.

use crate::s3::listing::{self, ListEntry, ListPage, ListRequest};

use super::{Answer, Protocol, S3Response, S3Result, dto, s3_error};

/// The most that a page holds.
const MAX_KEYS: i32 = 1000;

impl Protocol {
    /// Makes a bucket; one's own again is no error, as in us-east-1.
    pub(super) async fn make_bucket(&self, input: dto::CreateBucketInput) -> Answer<dto::CreateBucketOutput> {
        let location = format!("/{}", input.bucket);
        self.blocking(move |store| store.create_bucket(&input.bucket)).await?;
        Ok(S3Response::new(dto::CreateBucketOutput { location: Some(location) }))
    }

    pub(super) async fn buckets(&self) -> Answer<dto::ListBucketsOutput> {
        let mut buckets = self
            .blocking(|store| {
                let mut buckets = Vec::new();
                for entry in std::fs::read_dir(store.objects())? {
                    let entry = entry?;
                    let Ok(name) = entry.file_name().into_string() else { continue };
                    let made = entry.metadata()?.modified()?;
                    let bucket =
                        dto::Bucket { name: Some(name), creation_date: Some(made.into()), ..dto::Bucket::default() };
                    buckets.push(bucket);
                }
                Ok(buckets)
            })
            .await?;
        buckets.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(S3Response::new(dto::ListBucketsOutput { buckets: Some(buckets), ..dto::ListBucketsOutput::default() }))
    }

    pub(super) async fn list_v2(&self, input: dto::ListObjectsV2Input) -> Answer<dto::ListObjectsV2Output> {
        let continued = match &input.continuation_token {
            Some(token) => Some(untoken(token)?),
            None => None,
        };
        let max_keys = page_size(input.max_keys)?;
        let request = ListRequest {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after: continued.or(input.start_after.clone()).unwrap_or_default(),
            max_keys,
        };
        let page = self.page(input.bucket.clone(), request).await?;
        let next = page.entries.last().filter(|_| page.truncated).map(|last| token(last.name()));
        let encode = Encode::of(input.encoding_type.as_ref());
        let truncated = page.truncated;
        let key_count = i32::try_from(page.entries.len()).ok();
        let (contents, common_prefixes) = split(page, encode)?;
        Ok(S3Response::new(dto::ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encode.text(input.prefix.unwrap_or_default())),
            max_keys: i32::try_from(max_keys).ok(),
            key_count,
            continuation_token: input.continuation_token,
            is_truncated: Some(truncated),
            next_continuation_token: next,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            delimiter: input.delimiter.map(|text| encode.text(text)),
            encoding_type: input.encoding_type,
            start_after: input.start_after.map(|text| encode.text(text)),
            ..dto::ListObjectsV2Output::default()
        }))
    }

    pub(super) async fn list_v1(&self, input: dto::ListObjectsInput) -> Answer<dto::ListObjectsOutput> {
        let max_keys = page_size(input.max_keys)?;
        let request = ListRequest {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone(),
            after: input.marker.clone().unwrap_or_default(),
            max_keys,
        };
        let page = self.page(input.bucket.clone(), request).await?;
        let encode = Encode::of(input.encoding_type.as_ref());
        let next = page.entries.last().filter(|_| page.truncated).map(|last| encode.text(last.name().to_owned()));
        let truncated = page.truncated;
        let (contents, common_prefixes) = split(page, encode)?;
        Ok(S3Response::new(dto::ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(encode.text(input.prefix.unwrap_or_default())),
            marker: Some(encode.text(input.marker.unwrap_or_default())),
            max_keys: i32::try_from(max_keys).ok(),
            is_truncated: Some(truncated),
            next_marker: next,
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            delimiter: input.delimiter.map(|text| encode.text(text)),
            encoding_type: input.encoding_type,
            ..dto::ListObjectsOutput::default()
        }))
    }

    async fn page(&self, bucket: String, request: ListRequest) -> S3Result<ListPage> {
        self.blocking(move |store| listing::list(&store.bucket(&bucket)?, &request)).await
    }
}

fn page_size(asked: Option<i32>) -> S3Result<usize> {
    usize::try_from(asked.unwrap_or(MAX_KEYS).min(MAX_KEYS))
        .map_err(|error| s3_error!(error, InvalidArgument, "max-keys is not negative"))
}

/// Objects and common prefixes, as the answer has them apart.
type Split = (Vec<dto::Object>, Vec<dto::CommonPrefix>);

fn split(page: ListPage, encode: Encode) -> S3Result<Split> {
    let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
    for entry in page.entries {
        match entry {
            ListEntry::Object { key, size, modified } => {
                let size = i64::try_from(size).map_err(|error| s3_error!(error, InternalError))?;
                objects.push(dto::Object {
                    key: Some(encode.text(key)),
                    size: Some(size),
                    last_modified: Some(modified.into()),
                    storage_class: Some(dto::ObjectStorageClass::from_static(dto::ObjectStorageClass::STANDARD)),
                    ..dto::Object::default()
                });
            }
            ListEntry::CommonPrefix(prefix) => prefixes.push(dto::CommonPrefix { prefix: Some(encode.text(prefix)) }),
        }
    }
    Ok((objects, prefixes))
}

/// Whether names are percent-encoded in the answer, since XML cannot hold every character.
#[derive(Debug, Clone, Copy)]
enum Encode {
    Plain,
    Url,
}

impl Encode {
    fn of(asked: Option<&dto::EncodingType>) -> Self {
        if asked.is_some_and(|kind| kind.as_str() == dto::EncodingType::URL) { Self::Url } else { Self::Plain }
    }

    fn text(self, text: String) -> String {
        match self {
            Self::Plain => text,
            Self::Url => text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
                if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/' | b'*') {
                    encoded.push(char::from(byte));
                } else {
                    encoded.push_str(&format!("%{byte:02X}"));
                }
                encoded
            }),
        }
    }
}

/// A continuation token is the last name of the page, made opaque.
fn token(name: &str) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(name)
}

fn untoken(token: &str) -> S3Result<String> {
    let name = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(token).ok().and_then(|name| String::from_utf8(name).ok());
    name.ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is not one of ours"))
}
