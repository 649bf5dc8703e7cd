//! Multipart uploads on disk: a directory per upload, a file per part, joined when the upload is completed.
//!
//! A part's file carries its number and its MD5 in its name, `00001-<md5>`, so that one rename makes it whole.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::SystemTime;

use s3s::crypto::{Checksum as _, Md5};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::attributes::Attributes;
use super::store::{Condition, ObjectInfo, PutOptions, Store, Temporary, sync_directory};
use super::{StoreError, hex};

/// Every part but the last holds at least so many bytes, as at AWS.
const MIN_PART_BYTES: u64 = 5 << 20;
/// The highest number of a part.
pub(super) const MAX_PARTS: i32 = 10_000;

/// What an upload will become.
#[derive(Debug, Serialize, Deserialize)]
struct Upload {
    bucket: String,
    key: String,
    attributes: Attributes,
}

/// One part, uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UploadedPart {
    pub(super) number: i32,
    pub(super) etag: String,
    pub(super) size: u64,
    pub(super) modified: SystemTime,
    path: PathBuf,
}

/// An upload, named as a client names it: all three must agree.
#[derive(Debug, Clone)]
pub(super) struct UploadName {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) id: String,
}

impl Store {
    pub(super) fn create_upload(&self, bucket: &str, key: &str, attributes: Attributes) -> Result<String, StoreError> {
        self.bucket(bucket)?;
        self.object_path(bucket, key)?;
        self.check_disk()?;
        let id = Uuid::now_v7().simple().to_string();
        let directory = self.uploads().join(&id);
        fs::create_dir(&directory)?;
        let upload = Upload { bucket: bucket.to_owned(), key: key.to_owned(), attributes };
        let mut file = File::create(directory.join("upload.json"))?;
        file.write_all(&serde_json::to_vec(&upload).map_err(io::Error::from)?)?;
        file.sync_all()?;
        sync_directory(&directory)?;
        sync_directory(&self.uploads())?;
        Ok(id)
    }

    pub(super) fn put_part(
        &self,
        name: &UploadName,
        number: i32,
        file: &Temporary,
        md5: &str,
    ) -> Result<(), StoreError> {
        let (directory, _) = self.upload(name)?;
        self.settle(file)?;
        let path = directory.join(format!("{number:05}-{md5}"));
        let replaced: Vec<_> = parts(&directory)?.into_iter().filter(|part| part.number == number).collect();
        fs::rename(&file.path, &path)?;
        for part in replaced.iter().filter(|part| part.path != path) {
            fs::remove_file(&part.path)?;
        }
        Ok(sync_directory(&directory)?)
    }

    pub(super) fn upload_parts(&self, name: &UploadName) -> Result<Vec<UploadedPart>, StoreError> {
        let (directory, _) = self.upload(name)?;
        parts(&directory)
    }

    pub(super) fn complete_upload(
        &self,
        name: &UploadName,
        chosen: &[(i32, Option<String>)],
        condition: Condition,
    ) -> Result<ObjectInfo, StoreError> {
        let (directory, upload) = self.upload(name)?;
        let uploaded = parts(&directory)?;
        let chosen = choose(&uploaded, chosen)?;
        let joined = self.temporary();
        let mut file = File::create(&joined.path)?;
        let mut hash = Md5::new();
        for part in &chosen {
            io::copy(&mut File::open(&part.path)?, &mut file)?;
            hash.update(&unhex(&part.etag));
        }
        let etag = format!("{}-{}", hex(&hash.finalize()), chosen.len());
        let write = PutOptions { condition, attributes: upload.attributes };
        let info = self.commit(&joined, (&name.bucket, &name.key), etag, write)?;
        fs::remove_dir_all(&directory)?;
        Ok(info)
    }

    pub(super) fn abort_upload(&self, name: &UploadName) -> Result<(), StoreError> {
        let (directory, _) = self.upload(name)?;
        fs::remove_dir_all(&directory)?;
        Ok(sync_directory(&self.uploads())?)
    }

    fn upload(&self, name: &UploadName) -> Result<(PathBuf, Upload), StoreError> {
        let unknown = || StoreError::NoSuchUpload { id: name.id.clone() };
        let id = Uuid::try_parse(&name.id).ok().ok_or_else(unknown)?;
        let directory = self.uploads().join(id.simple().to_string());
        let content = fs::read(directory.join("upload.json")).ok().ok_or_else(unknown)?;
        let upload: Upload = serde_json::from_slice(&content).map_err(io::Error::from)?;
        if upload.bucket == name.bucket && upload.key == name.key { Ok((directory, upload)) } else { Err(unknown()) }
    }
}

/// The parts of an upload, by number.
fn parts(directory: &PathBuf) -> Result<Vec<UploadedPart>, StoreError> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some((number, etag)) = name.to_str().and_then(|name| name.split_once('-')) else { continue };
        let Ok(number) = number.parse() else { continue };
        let found = entry.metadata()?;
        let modified = found.modified()?;
        parts.push(UploadedPart { number, etag: etag.to_owned(), size: found.len(), modified, path: entry.path() });
    }
    parts.sort_by_key(|part| part.number);
    Ok(parts)
}

/// The parts that a client names, checked as AWS checks them: rising numbers, known `ETag`s, and sizes.
fn choose<'p>(
    uploaded: &'p [UploadedPart],
    chosen: &[(i32, Option<String>)],
) -> Result<Vec<&'p UploadedPart>, StoreError> {
    if chosen.is_empty() || !chosen.is_sorted_by(|one, next| one.0 < next.0) {
        return Err(StoreError::InvalidPartOrder);
    }
    let mut parts = Vec::with_capacity(chosen.len());
    for (number, etag) in chosen {
        let part = uploaded.iter().find(|part| part.number == *number);
        let part = part.filter(|part| etag.as_ref().is_none_or(|etag| *etag == part.etag));
        parts.push(part.ok_or(StoreError::InvalidPart { number: *number })?);
    }
    let (_, all_but_last) = parts.split_last().ok_or(StoreError::InvalidPartOrder)?;
    match all_but_last.iter().find(|part| part.size < MIN_PART_BYTES) {
        Some(small) => Err(StoreError::PartTooSmall { number: small.number, size: small.size }),
        None => Ok(parts),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits
        .chunks_exact(2)
        .filter_map(|pair| u8::try_from(pair.iter().fold(0, |sum, digit| sum * 16 + digit)).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::SystemTime;

    use super::{UploadedPart, choose, unhex};

    #[test]
    fn parts_are_checked() {
        let part = |number, size| UploadedPart {
            number,
            etag: format!("e{number}"),
            size,
            modified: SystemTime::UNIX_EPOCH,
            path: PathBuf::new(),
        };
        let uploaded = [part(1, 5 << 20), part(2, 10), part(7, 10)];
        let check = |chosen: &[(i32, &str)], expected: &str| {
            let chosen: Vec<_> = chosen.iter().map(|(number, etag)| (*number, Some((*etag).to_owned()))).collect();
            let found = match choose(&uploaded, &chosen) {
                Ok(parts) => format!("{:?}", parts.iter().map(|part| part.number).collect::<Vec<_>>()),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected);
        };
        check(&[(1, "e1"), (2, "e2")], "[1, 2]");
        check(&[(1, "e1"), (7, "e7")], "[1, 7]");
        check(&[(2, "e2")], "[2]");
        check(&[], "the list of parts is empty or not in ascending order");
        check(&[(2, "e2"), (1, "e1")], "the list of parts is empty or not in ascending order");
        check(&[(1, "e1"), (3, "e3")], "part 3 was not uploaded, or has another ETag");
        check(&[(1, "other")], "part 1 was not uploaded, or has another ETag");
        check(&[(2, "e2"), (7, "e7")], "part 2 has 10 bytes; all but the last need 5 MiB");
    }

    #[test]
    fn hex_comes_back() {
        assert_eq!(unhex("00ff10"), [0, 255, 16]);
    }
}
