//! Where an object lies on disk: the rule between a key and a path, in both directions.
//!
//! `objects/<bucket>/<segment>/<segment>`: a key's segments are directories and its last one is a plain file, so that
//! a person, `DuckDB` or `DataFusion` can read the directory as it is. What a path cannot hold is percent-encoded.
//! Two things that S3 allows do not fit and are refused: a segment over 255 bytes, and a key that runs through
//! another object (`a` beside `a/b`).

use std::path::PathBuf;

use super::StoreError;

/// The longest name of a file that Linux file systems take, in bytes.
const MAX_SEGMENT: usize = 255;
/// The longest key of S3, in UTF-8 bytes.
const MAX_KEY: usize = 1024;

/// Returns the path of an object below `objects/`, with `/` between segments.
///
/// # Errors
/// When the bucket's name is not one, or the key does not fit a path.
pub(super) fn relative_path(bucket: &str, key: &str) -> Result<String, StoreError> {
    check_bucket(bucket)?;
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(StoreError::KeyTooLong { length: key.len() });
    }
    let mut path = String::with_capacity(bucket.len() + key.len() + 8);
    path.push_str(bucket);
    for segment in key.split('/') {
        path.push('/');
        let encoded = encode_segment(segment);
        if encoded.len() > MAX_SEGMENT {
            return Err(StoreError::KeyTooLong { length: encoded.len() });
        }
        path.push_str(&encoded);
    }
    Ok(path)
}

/// Returns the directory of a bucket below `objects/`.
///
/// # Errors
/// When the bucket's name is not one.
pub(super) fn bucket_path(bucket: &str) -> Result<PathBuf, StoreError> {
    check_bucket(bucket)?;
    Ok(PathBuf::from(bucket))
}

/// The rule for names of buckets: 3 to 63 of `a-z 0-9 . -`, beginning and ending with a letter or digit.
fn check_bucket(bucket: &str) -> Result<(), StoreError> {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = bucket.as_bytes();
    let fits = (3..=63).contains(&bytes.len())
        && bytes.iter().all(|byte| alphanumeric(byte) || matches!(byte, b'.' | b'-'))
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && !bucket.contains("..");
    if fits { Ok(()) } else { Err(StoreError::InvalidBucket { bucket: bucket.to_owned() }) }
}

/// Writes one segment of a key as the name of a file.
///
/// `#` is encoded because `object_store` takes `name#1` for an unfinished upload and hides it.
pub(super) fn encode_segment(segment: &str) -> String {
    match segment {
        "" => return "%e".to_owned(),
        "." => return "%2E".to_owned(),
        ".." => return "%2E%2E".to_owned(),
        _ => {}
    }
    let mut name = String::with_capacity(segment.len());
    for character in segment.chars() {
        if character.is_ascii_control() || matches!(character, '%' | '#') {
            name.push_str(&format!("%{:02X}", u32::from(character)));
        } else {
            name.push(character);
        }
    }
    name
}

/// Reads a file's name back; `None` when no key could have given that name.
pub(super) fn decode_segment(name: &str) -> Option<String> {
    if name == "%e" {
        return Some(String::new());
    }
    let mut segment = Vec::with_capacity(name.len());
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            segment.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            segment.push(byte);
        }
    }
    let segment = String::from_utf8(segment).ok()?;
    (encode_segment(&segment) == name).then_some(segment)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{decode_segment, encode_segment, relative_path};

    #[test]
    fn keys_become_paths() {
        let check =
            |key: &str, path: Option<&str>| assert_eq!(relative_path("bucket", key).ok().as_deref(), path, "{key}");
        check("a", Some("bucket/a"));
        check("t/dt=2026-11-01/p.parquet", Some("bucket/t/dt=2026-11-01/p.parquet"));
        check("a/", Some("bucket/a/%e"));
        check("/a//b", Some("bucket/%e/a/%e/b"));
        check("../../etc/passwd", Some("bucket/%2E%2E/%2E%2E/etc/passwd"));
        check("50%#1\n", Some("bucket/50%25%231%0A"));
        check("", None);
        check(&"x".repeat(256), None);
        check(&"x/".repeat(600), None);
        for bucket in ["..", "a", "A-bucket", "-ab", "a/b", "a..b", "%e"] {
            assert!(relative_path(bucket, "k").is_err(), "{bucket}");
        }
    }

    #[test]
    fn names_that_no_key_gives_are_not_objects() {
        for name in ["%", "%2e", "%41", ".", "a%2", "#"] {
            assert_eq!(decode_segment(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn segments_come_back(text in any::<String>()) {
            let segment = text.replace('/', "");
            assert_eq!(decode_segment(&encode_segment(&segment)), Some(segment));
        }
    }
}
