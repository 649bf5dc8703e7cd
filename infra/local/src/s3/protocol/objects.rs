//! Operations on one object, and deleting many.

use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::{
    Answer, Attributes, Claims, Condition, DEFAULT_CONTENT_TYPE, ETag, ETagCondition, File, ObjectInfo, Protocol,
    PutOptions, READ_BUFFER, ReaderStream, S3Request, S3Response, S3Result, StreamingBlob, SystemTime, Timestamp,
    checked_metadata, condition, copy_hashed, dto, s3_error, trailing, upload,
};

/// The most keys that one `DeleteObjects` names.
const MAX_DELETES: usize = 1000;

/// What a reader asks of the object before it wants its bytes.
#[derive(Debug, Default)]
struct ReadConditions {
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
}

impl ReadConditions {
    fn check(&self, info: &ObjectInfo) -> S3Result<()> {
        let same = |condition: &ETagCondition| match condition {
            ETagCondition::Any => true,
            ETagCondition::ETag(etag) => etag.value() == info.etag,
        };
        let modified = whole_seconds(info.modified);
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) if !same(condition) => return Err(s3_error!(PreconditionFailed)),
            (None, Some(since)) if modified > *since => return Err(s3_error!(PreconditionFailed)),
            (Some(_) | None, _) => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) if same(condition) => Err(s3_error!(NotModified)),
            (None, Some(since)) if modified <= *since => Err(s3_error!(NotModified)),
            (Some(_) | None, _) => Ok(()),
        }
    }
}

impl Protocol {
    pub(super) async fn put(&self, request: S3Request<dto::PutObjectInput>) -> Answer<dto::PutObjectOutput> {
        let (trailers, algorithm) = trailing(&request);
        let input = request.input;
        let condition = condition(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let metadata = checked_metadata(input.metadata)?;
        let claims = Claims {
            content_length: input.content_length,
            content_md5: input.content_md5,
            checksums: dto::Checksum {
                checksum_crc32: input.checksum_crc32,
                checksum_crc32c: input.checksum_crc32c,
                checksum_crc64nvme: input.checksum_crc64nvme,
                checksum_sha1: input.checksum_sha1,
                checksum_sha256: input.checksum_sha256,
                ..dto::Checksum::default()
            },
            algorithm,
            trailers,
        };
        let (bucket, key) = (input.bucket, input.key);
        let probe = (bucket.clone(), key.clone());
        self.blocking(move |store| store.bucket(&probe.0).and_then(|_| store.object_path(&probe.0, &probe.1))).await?;
        let received = upload::receive(&self.store, input.body, claims).await?;
        let attributes = Attributes {
            content_type: input.content_type,
            content_encoding: input.content_encoding,
            content_disposition: input.content_disposition,
            content_language: input.content_language,
            cache_control: input.cache_control,
            metadata,
            checksums: upload::kept(&received.checksums),
        };
        let write = PutOptions { condition, attributes };
        let md5 = received.md5;
        let info = self.blocking(move |store| store.commit(&received.file, (&bucket, &key), md5, write)).await?;
        let checksums = received.checksums;
        Ok(S3Response::new(dto::PutObjectOutput {
            e_tag: Some(ETag::Strong(info.etag)),
            checksum_crc32: checksums.checksum_crc32,
            checksum_crc32c: checksums.checksum_crc32c,
            checksum_crc64nvme: checksums.checksum_crc64nvme,
            checksum_sha1: checksums.checksum_sha1,
            checksum_sha256: checksums.checksum_sha256,
            ..dto::PutObjectOutput::default()
        }))
    }

    pub(super) async fn get(&self, input: dto::GetObjectInput) -> Answer<dto::GetObjectOutput> {
        let (bucket, key) = (input.bucket, input.key);
        let (file, info) = self.blocking(move |store| store.open_object(&bucket, &key)).await?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&info)?;
        let (start, length, content_range) = part(input.range, info.size)?;
        let whole = content_range.is_none() && input.checksum_mode.is_some();
        let checksums = if whole { upload::said(&info.attributes.checksums) } else { dto::Checksum::default() };
        let attributes = info.attributes;
        Ok(S3Response::new(dto::GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(stream(file, start, length).await?),
            cache_control: input.response_cache_control.or(attributes.cache_control),
            checksum_crc32: checksums.checksum_crc32,
            checksum_crc32c: checksums.checksum_crc32c,
            checksum_crc64nvme: checksums.checksum_crc64nvme,
            checksum_sha1: checksums.checksum_sha1,
            checksum_sha256: checksums.checksum_sha256,
            content_disposition: input.response_content_disposition.or(attributes.content_disposition),
            content_encoding: input.response_content_encoding.or(attributes.content_encoding),
            content_language: input.response_content_language.or(attributes.content_language),
            content_length: Some(signed(length)?),
            content_range,
            content_type: content_type(input.response_content_type.or(attributes.content_type)),
            e_tag: Some(ETag::Strong(info.etag)),
            last_modified: Some(info.modified.into()),
            metadata: Some(attributes.metadata.into_iter().collect()),
            ..dto::GetObjectOutput::default()
        }))
    }

    pub(super) async fn head(&self, input: dto::HeadObjectInput) -> Answer<dto::HeadObjectOutput> {
        let (bucket, key) = (input.bucket, input.key);
        let (_, info) = self.blocking(move |store| store.open_object(&bucket, &key)).await?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        conditions.check(&info)?;
        let (_, length, content_range) = part(input.range, info.size)?;
        let whole = content_range.is_none() && input.checksum_mode.is_some();
        let checksums = if whole { upload::said(&info.attributes.checksums) } else { dto::Checksum::default() };
        let attributes = info.attributes;
        Ok(S3Response::new(dto::HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: attributes.cache_control,
            checksum_crc32: checksums.checksum_crc32,
            checksum_crc32c: checksums.checksum_crc32c,
            checksum_crc64nvme: checksums.checksum_crc64nvme,
            checksum_sha1: checksums.checksum_sha1,
            checksum_sha256: checksums.checksum_sha256,
            content_disposition: attributes.content_disposition,
            content_encoding: attributes.content_encoding,
            content_language: attributes.content_language,
            content_length: Some(signed(length)?),
            content_range,
            content_type: content_type(attributes.content_type),
            e_tag: Some(ETag::Strong(info.etag)),
            last_modified: Some(info.modified.into()),
            metadata: Some(attributes.metadata.into_iter().collect()),
            ..dto::HeadObjectOutput::default()
        }))
    }

    pub(super) async fn copy(&self, request: S3Request<dto::CopyObjectInput>) -> Answer<dto::CopyObjectOutput> {
        // The crate's input has no field for them; AWS takes them on copies too.
        let header = |name: &str| {
            let value = request.headers.get(name)?;
            ETagCondition::parse_http_header(value.as_bytes()).ok()
        };
        let condition = condition(header("if-match").as_ref(), header("if-none-match").as_ref())?;
        let input = request.input;
        let dto::CopySource::Bucket { bucket: from_bucket, key: from_key, version_id: None } = input.copy_source else {
            return Err(s3_error!(NotImplemented, "copies go from a bucket and key, without a version"));
        };
        let conditions = ReadConditions {
            if_match: input.copy_source_if_match,
            if_none_match: input.copy_source_if_none_match,
            if_modified_since: input.copy_source_if_modified_since,
            if_unmodified_since: input.copy_source_if_unmodified_since,
        };
        let replace = input.metadata_directive.as_ref().is_some_and(|directive| directive.as_str() == "REPLACE");
        let replacement = Attributes {
            content_type: input.content_type,
            content_encoding: input.content_encoding,
            content_disposition: input.content_disposition,
            content_language: input.content_language,
            cache_control: input.cache_control,
            metadata: checked_metadata(input.metadata)?,
            ..Attributes::default()
        };
        let (mut file, source) = self.blocking(move |store| store.open_object(&from_bucket, &from_key)).await?;
        match conditions.check(&source) {
            Err(error) if *error.code() == s3s::S3ErrorCode::NotModified => return Err(s3_error!(PreconditionFailed)),
            result => result?,
        }
        let checksums = source.attributes.checksums.clone();
        let attributes = if replace { Attributes { checksums, ..replacement } } else { source.attributes };
        let info = self
            .blocking(move |store| {
                let temporary = store.temporary();
                let md5 = copy_hashed(&mut file, &temporary)?;
                store.commit(&temporary, (&input.bucket, &input.key), md5, PutOptions { condition, attributes })
            })
            .await?;
        let result = dto::CopyObjectResult {
            e_tag: Some(ETag::Strong(info.etag)),
            last_modified: Some(info.modified.into()),
            ..dto::CopyObjectResult::default()
        };
        Ok(S3Response::new(dto::CopyObjectOutput {
            copy_object_result: Some(result),
            ..dto::CopyObjectOutput::default()
        }))
    }

    pub(super) async fn delete(&self, input: dto::DeleteObjectInput) -> Answer<dto::DeleteObjectOutput> {
        let condition = condition(input.if_match.as_ref(), None)?;
        self.blocking(move |store| store.delete(&input.bucket, &input.key, &condition)).await?;
        Ok(S3Response::new(dto::DeleteObjectOutput::default()))
    }

    pub(super) async fn delete_many(&self, input: dto::DeleteObjectsInput) -> Answer<dto::DeleteObjectsOutput> {
        if input.delete.objects.is_empty() || input.delete.objects.len() > MAX_DELETES {
            return Err(s3_error!(MalformedXML, "DeleteObjects takes 1 to 1,000 keys"));
        }
        let quiet = input.delete.quiet.unwrap_or(false);
        let (bucket, objects) = (input.bucket, input.delete.objects);
        let outcomes = self
            .blocking(move |store| {
                store.bucket(&bucket)?;
                let outcome = |key: String| {
                    let result = store.delete(&bucket, &key, &Condition::None);
                    (key, result)
                };
                Ok(objects.into_iter().map(|object| outcome(object.key)).collect::<Vec<_>>())
            })
            .await?;
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for (key, outcome) in outcomes {
            match outcome {
                Ok(()) if quiet => {}
                Ok(()) => deleted.push(dto::DeletedObject { key: Some(key), ..dto::DeletedObject::default() }),
                Err(error) => {
                    let message = error.to_string();
                    let code = s3s::S3Error::from(error).code().as_str().to_owned();
                    errors.push(dto::Error {
                        code: Some(code),
                        key: Some(key),
                        message: Some(message),
                        version_id: None,
                    });
                }
            }
        }
        Ok(S3Response::new(dto::DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: Some(errors),
            ..dto::DeleteObjectsOutput::default()
        }))
    }
}

/// The first byte, the number of bytes and the `Content-Range` of an answer.
type Part = (u64, u64, Option<String>);

fn part(range: Option<dto::Range>, size: u64) -> S3Result<Part> {
    let Some(range) = range else { return Ok((0, size, None)) };
    let range = range.check(size)?;
    let last = range.end.saturating_sub(1);
    Ok((range.start, range.end - range.start, Some(format!("bytes {}-{last}/{size}", range.start))))
}

async fn stream(file: File, start: u64, length: u64) -> S3Result<StreamingBlob> {
    let mut file = tokio::fs::File::from_std(file);
    if start > 0 {
        file.seek(std::io::SeekFrom::Start(start)).await.map_err(super::io_error)?;
    }
    file.set_max_buf_size(READ_BUFFER);
    Ok(StreamingBlob::wrap(ReaderStream::with_capacity(file.take(length), READ_BUFFER)))
}

fn content_type(given: Option<String>) -> Option<String> {
    Some(given.unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned()))
}

fn signed(length: u64) -> S3Result<i64> {
    i64::try_from(length).map_err(|error| s3_error!(error, InternalError))
}

/// HTTP dates have whole seconds: compared with one, a time loses its fraction.
fn whole_seconds(time: SystemTime) -> Timestamp {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(since_epoch.as_secs()))
}
