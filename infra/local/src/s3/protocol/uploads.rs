//! Multipart uploads.

use crate::s3::multipart::{MAX_PARTS, UploadName};

use super::{
    Answer, Attributes, Claims, ETag, Protocol, S3Request, S3Response, S3Result, checked_metadata, condition, dto,
    s3_error, trailing, upload,
};

impl Protocol {
    pub(super) async fn create_upload(
        &self,
        input: dto::CreateMultipartUploadInput,
    ) -> Answer<dto::CreateMultipartUploadOutput> {
        let attributes = Attributes {
            content_type: input.content_type,
            content_encoding: input.content_encoding,
            content_disposition: input.content_disposition,
            content_language: input.content_language,
            cache_control: input.cache_control,
            metadata: checked_metadata(input.metadata)?,
            ..Attributes::default()
        };
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let id = self.blocking(move |store| store.create_upload(&bucket, &key, attributes)).await?;
        Ok(S3Response::new(dto::CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: input.checksum_type,
            ..dto::CreateMultipartUploadOutput::default()
        }))
    }

    pub(super) async fn put_part(&self, request: S3Request<dto::UploadPartInput>) -> Answer<dto::UploadPartOutput> {
        let (trailers, algorithm) = trailing(&request);
        let input = request.input;
        let number = input.part_number;
        if !(1..=MAX_PARTS).contains(&number) {
            return Err(s3_error!(InvalidArgument, "a part's number is 1 to 10,000"));
        }
        let name = UploadName { bucket: input.bucket, key: input.key, id: input.upload_id };
        let probe = name.clone();
        self.blocking(move |store| store.upload_parts(&probe)).await?;
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
        let received = upload::receive(&self.store, input.body, claims).await?;
        let md5 = received.md5.clone();
        self.blocking(move |store| store.put_part(&name, number, &received.file, &md5)).await?;
        let checksums = received.checksums;
        Ok(S3Response::new(dto::UploadPartOutput {
            e_tag: Some(ETag::Strong(received.md5)),
            checksum_crc32: checksums.checksum_crc32,
            checksum_crc32c: checksums.checksum_crc32c,
            checksum_crc64nvme: checksums.checksum_crc64nvme,
            checksum_sha1: checksums.checksum_sha1,
            checksum_sha256: checksums.checksum_sha256,
            ..dto::UploadPartOutput::default()
        }))
    }

    pub(super) async fn parts(&self, input: dto::ListPartsInput) -> Answer<dto::ListPartsOutput> {
        let name = UploadName { bucket: input.bucket.clone(), key: input.key.clone(), id: input.upload_id.clone() };
        let uploaded = self.blocking(move |store| store.upload_parts(&name)).await?;
        let after = input.part_number_marker.unwrap_or_default();
        let limit = input.max_parts.unwrap_or(1000).clamp(1, 1000);
        let mut rest: Vec<_> = uploaded.into_iter().filter(|part| part.number > after).collect();
        let truncated = i32::try_from(rest.len()).is_ok_and(|left| left > limit);
        rest.truncate(usize::try_from(limit).unwrap_or_default());
        let next = rest.last().filter(|_| truncated).map(|part| part.number);
        let mut parts = Vec::with_capacity(rest.len());
        for part in rest {
            parts.push(dto::Part {
                part_number: Some(part.number),
                e_tag: Some(ETag::Strong(part.etag)),
                size: Some(i64::try_from(part.size).map_err(|error| s3_error!(error, InternalError))?),
                last_modified: Some(part.modified.into()),
                ..dto::Part::default()
            });
        }
        Ok(S3Response::new(dto::ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            is_truncated: Some(truncated),
            next_part_number_marker: next,
            max_parts: Some(limit),
            parts: Some(parts),
            ..dto::ListPartsOutput::default()
        }))
    }

    pub(super) async fn complete_upload(
        &self,
        input: dto::CompleteMultipartUploadInput,
    ) -> Answer<dto::CompleteMultipartUploadOutput> {
        let condition = condition(input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let listed = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let chosen = listed
            .into_iter()
            .map(|part| {
                let number = part.part_number.ok_or_else(|| s3_error!(MalformedXML, "a part has no number"))?;
                Ok((number, part.e_tag.map(ETag::into_value)))
            })
            .collect::<S3Result<Vec<_>>>()?;
        let name = UploadName { bucket: input.bucket.clone(), key: input.key.clone(), id: input.upload_id };
        let info = self.blocking(move |store| store.complete_upload(&name, &chosen, condition)).await?;
        Ok(S3Response::new(dto::CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(info.etag)),
            ..dto::CompleteMultipartUploadOutput::default()
        }))
    }

    pub(super) async fn abort_upload(
        &self,
        input: dto::AbortMultipartUploadInput,
    ) -> Answer<dto::AbortMultipartUploadOutput> {
        let name = UploadName { bucket: input.bucket, key: input.key, id: input.upload_id };
        self.blocking(move |store| store.abort_upload(&name)).await?;
        Ok(S3Response::new(dto::AbortMultipartUploadOutput::default()))
    }
}
