//! The data directory: its format version, the lock that keeps a second process out, and durable small files.
//!
//! The version is read before anything is written, so that a directory of a newer Millrace, or of another program,
//! stays exactly as it was.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::faults::Faults;

/// Version of the layout under the data directory. Format 1 had a log for each shard of a stream; it is read, and becomes
/// format 2 when it is opened.
pub const FORMAT_VERSION: u32 = 2;
/// The oldest format that is read.
const FORMAT_VERSION_MIN: u32 = 1;

const VERSION_FILE: &str = "VERSION";
const LOCK_FILE: &str = "LOCK";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// Why a data directory cannot be used. Each message is one line for a person.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process holds the lock.
    #[error("the data directory {} is in use by another process", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// The format is newer than this program knows. Nothing was touched.
    #[error(
        "the data directory {} was written by a newer Millrace (format {found}, this one knows up to {FORMAT_VERSION})",
        path.display()
    )]
    Newer {
        /// The data directory.
        path: PathBuf,
        /// The format version found.
        found: u32,
    },
    /// The directory has content and no readable `VERSION`. Nothing was touched.
    #[error("{} is not a Millrace data directory, and is not empty", path.display())]
    NotMillrace {
        /// The directory.
        path: PathBuf,
    },
    /// The directory cannot be read, created or written.
    #[error("cannot use {} as the data directory: {source}", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// An open data directory. The lock is held until this value is dropped, and ends with the process in any case.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    faults: Faults,
    _lock: File,
}

impl DataDir {
    /// Opens `root`, creating it if it is missing, and locks it.
    ///
    /// # Errors
    /// See [`DataDirError`]; an existing directory is not changed by a refusal.
    pub fn open(root: &Path) -> Result<Self, DataDirError> {
        let not_writable = |source| DataDirError::NotWritable { path: root.to_owned(), source };
        let found = check_version(root)?;
        fs::create_dir_all(root).map_err(not_writable)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join(LOCK_FILE))
            .map_err(not_writable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::InUse { path: root.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(not_writable(source)),
        }
        if found != Some(FORMAT_VERSION) {
            replace_file(&root.join(VERSION_FILE), format!("{FORMAT_VERSION}\n").as_bytes()).map_err(not_writable)?;
        }
        Ok(Self { root: root.to_owned(), faults: Faults::default(), _lock: lock })
    }

    /// The faults that were asked for; those of the disk strike whoever writes here.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The path of one part of the local cloud within the directory.
    pub fn join(&self, part: &str) -> PathBuf {
        self.root.join(part)
    }
}

/// Replaces a small file so that a crash leaves the old content or the new, never a mix: a temporary file beside it
/// is written and synced, renamed over it, and the directory is synced. Two calls for one path must not overlap.
///
/// # Errors
/// What the operating system says; the old content then still stands.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY_SUFFIX);
    let temporary = PathBuf::from(temporary);
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes names created or removed in a directory durable.
///
/// # Errors
/// What the operating system says.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The version of `root`, which is one we know; `None` when it is missing or empty.
fn check_version(root: &Path) -> Result<Option<u32>, DataDirError> {
    let not_writable = |source| DataDirError::NotWritable { path: root.to_owned(), source };
    let not_millrace = || DataDirError::NotMillrace { path: root.to_owned() };
    match fs::read(root.join(VERSION_FILE)) {
        Ok(text) => {
            let version = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse::<u32>().ok());
            match version {
                Some(found @ FORMAT_VERSION_MIN..=FORMAT_VERSION) => Ok(Some(found)),
                Some(found) if found > FORMAT_VERSION => Err(DataDirError::Newer { path: root.to_owned(), found }),
                Some(_) | None => Err(not_millrace()),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let entries = match fs::read_dir(root) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(not_writable(error)),
            };
            for entry in entries {
                let name = entry.map_err(not_writable)?.file_name();
                // A first start that died half-way leaves these two; they are ours to take over.
                let is_ours = name == LOCK_FILE || name == "VERSION.tmp";
                if !is_ours {
                    return Err(not_millrace());
                }
            }
            Ok(None)
        }
        Err(error) => Err(not_writable(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_directory_is_made_locked_and_found_again() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("a/b");
        let open = DataDir::open(&root).unwrap();
        assert_eq!(names(&root), ["LOCK", "VERSION"]);
        let error = DataDir::open(&root).unwrap_err();
        assert!(matches!(error, DataDirError::InUse { .. }));
        assert!(!error.to_string().contains('\n'));
        drop(open);
        DataDir::open(&root).unwrap();
    }

    #[test]
    fn refusals_touch_nothing() {
        let check = |file: &str, content: &str, expected: &str| {
            let root = tempfile::tempdir().unwrap();
            fs::write(root.path().join(file), content).unwrap();
            let error = DataDir::open(root.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(names(root.path()), [file]);
            assert_eq!(fs::read_to_string(root.path().join(file)).unwrap(), content);
        };
        check("VERSION", "3\n", "written by a newer Millrace (format 3,");
        check("VERSION", "hello", "is not a Millrace data directory");
        check("VERSION", "0", "is not a Millrace data directory");
        check("holiday.jpg", "…", "is not a Millrace data directory");
    }

    #[test]
    fn an_unusable_path_is_said_in_one_line() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let error = DataDir::open(&root.path().join("file/data")).unwrap_err();
        assert!(matches!(error, DataDirError::NotWritable { .. }), "{error}");
    }

    #[test]
    fn a_start_that_died_before_its_version_is_taken_over() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("LOCK"), "").unwrap();
        fs::write(root.path().join("VERSION.tmp"), "").unwrap();
        DataDir::open(root.path()).unwrap();
        assert_eq!(fs::read_to_string(root.path().join("VERSION")).unwrap(), "2\n");
    }

    #[test]
    fn format_1_is_opened_and_closed_to_older_programs() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("VERSION"), "1\n").unwrap();
        fs::create_dir(root.path().join("kinesis")).unwrap();
        DataDir::open(root.path()).unwrap();
        assert_eq!(fs::read_to_string(root.path().join("VERSION")).unwrap(), "2\n");
    }
}
