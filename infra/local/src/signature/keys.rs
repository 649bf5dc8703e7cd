//! The keys that may sign: the local cloud's own, and those of a credentials file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The access key that the stages of the local pipeline sign with; its secret is the same word.
pub const LOCAL_ACCESS_KEY: &str = "local";
/// A credentials file is not read past this.
const FILE_BYTES_MAX: u64 = 1_024 * 1_024;

/// Why a credentials file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// It cannot be read.
    #[error("read the credentials in {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A profile has one of the two and not the other.
    #[error("the profile {profile} in {} has no {missing}", path.display())]
    Half {
        /// The file.
        path: PathBuf,
        /// The profile.
        profile: String,
        /// The member that is not there.
        missing: &'static str,
    },
    /// The file has no keys.
    #[error("{} holds no profile with aws_access_key_id and aws_secret_access_key", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Secrets by access key. Cheap to clone; the secrets are never printed.
#[derive(Clone)]
pub struct KeyRing(Arc<BTreeMap<String, String>>);

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl Default for KeyRing {
    /// The local cloud's own pair, `local` and `local`.
    fn default() -> Self {
        Self::of([])
    }
}

impl KeyRing {
    /// Pairs of an access key and its secret, beside the local cloud's own.
    pub fn of<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        let own = (LOCAL_ACCESS_KEY, LOCAL_ACCESS_KEY);
        let pairs = pairs.into_iter().chain([own]);
        Self(Arc::new(pairs.map(|(key, secret)| (key.to_owned(), secret.to_owned())).collect()))
    }

    /// All profiles of a file as the AWS CLI and the SDKs keep them, beside the local cloud's own pair.
    ///
    /// # Errors
    /// A file that cannot be read or is over 1 MiB, a profile with half a pair, and a file without any.
    pub fn read(path: &Path) -> Result<Self, KeyRingError> {
        let io_error = |source| KeyRingError::Io { path: path.to_owned(), source };
        let bytes = std::fs::metadata(path).map_err(io_error)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(io_error(io::Error::other("it is over 1 MiB")));
        }
        let text = std::fs::read_to_string(path).map_err(io_error)?;
        let mut keys = BTreeMap::from([(LOCAL_ACCESS_KEY.to_owned(), LOCAL_ACCESS_KEY.to_owned())]);
        let own = keys.len();
        for (profile, (key, secret)) in profiles(&text) {
            let half = |missing| KeyRingError::Half { path: path.to_owned(), profile: profile.to_owned(), missing };
            match (key, secret) {
                (Some(key), Some(secret)) => keys.insert(key.to_owned(), secret.to_owned()),
                (Some(_), None) => return Err(half("aws_secret_access_key")),
                (None, Some(_)) => return Err(half("aws_access_key_id")),
                // A profile that names a role or a process.
                (None, None) => None,
            };
        }
        if keys.len() == own {
            return Err(KeyRingError::Empty { path: path.to_owned() });
        }
        Ok(Self(Arc::new(keys)))
    }

    pub(super) fn secret(&self, access_key: &str) -> Option<&str> {
        self.0.get(access_key).map(String::as_str)
    }
}

type Pair<'a> = (Option<&'a str>, Option<&'a str>);

fn profiles(text: &str) -> BTreeMap<&str, Pair<'_>> {
    let mut profiles: BTreeMap<&str, Pair<'_>> = BTreeMap::new();
    let mut profile = "default";
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            profile = name.trim();
        } else if let Some((name, value)) = line.split_once('=') {
            let pair = profiles.entry(profile).or_default();
            match name.trim() {
                "aws_access_key_id" => pair.0 = Some(value.trim()),
                "aws_secret_access_key" => pair.1 = Some(value.trim()),
                _ => {}
            }
        }
    }
    profiles
}

#[cfg(test)]
mod tests {
    use super::*;

    type Expected<'a> = Result<&'a [(&'a str, &'a str)], &'a str>;

    #[test]
    fn files_as_the_cli_keeps_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        let check = |text: &str, expected: Expected<'_>| {
            std::fs::write(&path, text).unwrap();
            match (KeyRing::read(&path), expected) {
                (Ok(keys), Ok(pairs)) => {
                    for (key, secret) in pairs.iter().chain(&[("local", "local")]) {
                        assert_eq!(keys.secret(key), Some(*secret), "{text}");
                    }
                    assert_eq!(keys.secret("nobody"), None);
                    assert!(!format!("{keys:?}").contains("s3cret"), "secrets are not printed");
                }
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (result, _) => panic!("{text}: {result:?}"),
            }
        };
        let one = "[default]\naws_access_key_id = AKID\naws_secret_access_key=s3cret=/+\nregion=x\n";
        check(one, Ok(&[("AKID", "s3cret=/+")]));
        let two = format!("# mine\n{one}[ other ]\naws_secret_access_key=b\naws_access_key_id=B\n[role]\nrole_arn=x");
        check(&two, Ok(&[("AKID", "s3cret=/+"), ("B", "b")]));
        check("[p]\naws_access_key_id=a", Err("profile p"));
        check("[p]\naws_secret_access_key=a", Err("has no aws_access_key_id"));
        check("", Err("holds no profile"));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(KeyRing::read(&path), Err(KeyRingError::Io { .. })));
    }
}
