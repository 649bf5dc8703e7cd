//! A page of keys: an ordered walk of a bucket's directory that enters only where the page can be.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use super::StoreError;
use super::layout::{decode_segment, encode_segment};
use super::store::is_absent;

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys that have this after the prefix are folded into one common prefix.
    pub delimiter: Option<String>,
    /// Only keys and common prefixes after this one.
    pub after: String,
    /// At most so many keys and common prefixes together.
    pub max_keys: usize,
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListEntry {
    /// An object.
    Object {
        /// Its key.
        key: String,
        /// Its size in bytes.
        size: u64,
        /// When it was written.
        modified: SystemTime,
    },
    /// Several keys with the same beginning.
    CommonPrefix(String),
}

impl ListEntry {
    /// The key or the common prefix: what the order is by.
    pub fn name(&self) -> &str {
        match self {
            Self::Object { key, .. } => key,
            Self::CommonPrefix(prefix) => prefix,
        }
    }
}

/// A page, in the order of the keys' UTF-8 bytes.
#[derive(Debug, Clone, Default)]
pub struct ListPage {
    /// At most `max_keys` of them.
    pub entries: Vec<ListEntry>,
    /// Whether there are more after the last.
    pub truncated: bool,
}

pub(super) fn list(bucket: &Path, request: &ListRequest) -> Result<ListPage, StoreError> {
    let mut walk = Walk { request, page: ListPage::default() };
    if request.max_keys > 0 {
        walk.directory(bucket, "")?;
    }
    Ok(walk.page)
}

struct Walk<'a> {
    request: &'a ListRequest,
    page: ListPage,
}

impl Walk<'_> {
    fn directory(&mut self, path: &Path, key: &str) -> Result<(), StoreError> {
        for (name, is_directory) in sorted_names(path)? {
            if self.page.truncated {
                return Ok(());
            }
            let full = format!("{key}{name}");
            let segment = if is_directory { name.trim_end_matches('/') } else { &name };
            let child = path.join(encode_segment(segment));
            if is_directory {
                if self.may_hold(&full) {
                    self.directory(&child, &full)?;
                }
            } else {
                self.object(&child, full)?;
            }
        }
        Ok(())
    }

    /// Whether the page can have keys that begin with this directory's.
    fn may_hold(&self, directory: &str) -> bool {
        let ListRequest { prefix, after, .. } = self.request;
        let in_prefix = directory.starts_with(prefix.as_str()) || prefix.starts_with(directory);
        let behind = after.as_str() > directory && !after.starts_with(directory);
        in_prefix && !behind && !self.is_folded(directory)
    }

    /// Whether everything below has been said already by a common prefix, on this page or the one before.
    fn is_folded(&self, directory: &str) -> bool {
        let Some(common) = self.common_prefix(directory) else { return false };
        common == self.request.after || self.page.entries.last().is_some_and(|last| last.name() == common)
    }

    fn object(&mut self, path: &Path, key: String) -> Result<(), StoreError> {
        if !key.starts_with(&self.request.prefix) || key <= self.request.after || self.is_folded(&key) {
            return Ok(());
        }
        if self.page.entries.len() == self.request.max_keys {
            self.page.truncated = true;
            return Ok(());
        }
        if let Some(common) = self.common_prefix(&key) {
            let common = common.to_owned();
            self.page.entries.push(ListEntry::CommonPrefix(common));
            return Ok(());
        }
        match fs::metadata(path) {
            Ok(found) => {
                let entry = ListEntry::Object { key, size: found.len(), modified: found.modified()? };
                self.page.entries.push(entry);
                Ok(())
            }
            // Deleted between the reading of the directory and now.
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn common_prefix<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.request.delimiter.as_deref().filter(|text| !text.is_empty())?;
        let rest = key.strip_prefix(self.request.prefix.as_str())?;
        let at = rest.find(delimiter)?;
        key.get(..self.request.prefix.len() + at + delimiter.len())
    }
}

/// A decoded name, and whether it is a directory's.
type Name = (String, bool);

/// The decoded names of a directory in the order of the keys below them: a directory sorts as `name/`.
fn sorted_names(path: &Path) -> Result<Vec<Name>, StoreError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let is_directory = entry.file_type()?.is_dir();
        if let Some(mut name) = entry.file_name().to_str().and_then(decode_segment) {
            if is_directory {
                name.push('/');
            }
            names.push((name, is_directory));
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::collection::{btree_set, vec};
    use proptest::prelude::proptest;

    use super::{ListRequest, list};
    use crate::s3::layout::encode_segment;

    fn bucket(keys: &[String]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for key in keys {
            let mut path = directory.path().to_owned();
            for segment in key.split('/') {
                path.push(encode_segment(segment));
            }
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"x").unwrap();
        }
        directory
    }

    /// All pages of a listing, each of at most `max_keys`.
    fn names(bucket: &tempfile::TempDir, prefix: &str, delimiter: Option<&str>, max_keys: usize) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        loop {
            let after = all.last().cloned().unwrap_or_default();
            let delimiter = delimiter.map(str::to_owned);
            let request = ListRequest { prefix: prefix.to_owned(), delimiter, after, max_keys };
            let page = list(bucket.path(), &request).unwrap();
            assert!(page.entries.len() <= max_keys);
            all.extend(page.entries.iter().map(|entry| entry.name().to_owned()));
            if !page.truncated {
                return all;
            }
        }
    }

    #[test]
    fn prefixes_delimiters_and_pages() {
        let keys = ["a-b", "a/", "a/x/1", "a/x/2", "a/y", "a0", "b", "c//d", "c/e"].map(str::to_owned);
        let bucket = bucket(&keys);
        let check = |prefix: &str, delimiter: Option<&str>, expected: &[&str]| {
            for page in [1, 2, 1000] {
                assert_eq!(names(&bucket, prefix, delimiter, page), expected, "{prefix} {delimiter:?} by {page}");
            }
        };
        check("", None, &["a-b", "a/", "a/x/1", "a/x/2", "a/y", "a0", "b", "c//d", "c/e"]);
        check("", Some("/"), &["a-b", "a/", "a0", "b", "c/"]);
        check("a/", Some("/"), &["a/", "a/x/", "a/y"]);
        check("a/x", None, &["a/x/1", "a/x/2"]);
        check("c/", Some("/"), &["c//", "c/e"]);
        check("", Some("x/"), &["a-b", "a/", "a/x/", "a/y", "a0", "b", "c//d", "c/e"]);
        check("nothing", Some("/"), &[]);
    }

    proptest! {
        #[test]
        fn equals_a_sorted_set(
            raw in btree_set(vec("[ab.-]{1,2}", 1..4), 0..12), prefix in "[ab./]{0,2}", page in 1_usize..4, fold in 0..2,
        ) {
            // An object cannot be a directory too: such keys are refused when they are written.
            let all: Vec<String> = raw.iter().map(|segments| segments.join("/")).collect();
            let keys: Vec<String> = all.iter().filter(|key| !all.iter().any(|other| other.starts_with(&format!("{key}/")))).cloned().collect();
            let bucket = bucket(&keys);
            let delimiter = (fold == 1).then_some("/");
            let mut expected: Vec<String> = keys.iter().filter(|key| key.starts_with(&prefix)).map(|key| {
                let rest = key.strip_prefix(&prefix).unwrap();
                match delimiter.and_then(|text| rest.split_once(text)) {
                    Some((folded, _)) => format!("{prefix}{folded}/"),
                    None => key.clone(),
                }
            }).collect();
            expected.sort();
            expected.dedup();
            assert_eq!(names(&bucket, &prefix, delimiter, page), expected);
        }
    }
}
