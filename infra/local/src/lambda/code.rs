//! A function's code: an archive that is unpacked into a directory of its own, within the service's limits.
//!
//! Whatever an archive says, nothing is written outside its directory. Files have the mode that the archive gives them,
//! so that one whose `bootstrap` is not executable fails when it is called, as at the service.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Cursor, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zip::ZipArchive;

use crate::data_dir::sync_dir;

/// An archive that comes in the call itself.
pub(super) const ZIPPED_BYTES_MAX: usize = 50 * 1_024 * 1_024;
/// All files of a function together.
pub(super) const UNZIPPED_BYTES_MAX: u64 = 250 * 1_024 * 1_024;
/// Files in an archive; the service does not say.
const FILES_MAX: usize = 20_000;
/// Of files whose archive does not say.
const MODE_DEFAULT: u32 = 0o644;

/// Why an archive is no function's code.
#[derive(Debug, thiserror::Error)]
pub(super) enum CodeError {
    #[error("Could not unzip uploaded file. Please check your file, then try to upload again.")]
    NotAnArchive(#[source] zip::result::ZipError),
    #[error("{name} in the archive lies outside of it")]
    Outside { name: String },
    #[error("{name} in the archive is a symbolic link, which the Millrace local cloud does not take")]
    Link { name: String },
    #[error("{name} is twice in the archive, or a file where there is a folder")]
    Twice { name: String },
    #[error("the archive has more than {FILES_MAX} files")]
    TooMany,
    #[error("Unzipped size must be smaller than {UNZIPPED_BYTES_MAX} bytes")]
    TooLarge,
    #[error("Uploaded file must be a non-empty zip")]
    Empty,
    #[error("the disk does not take the code")]
    Disk(#[from] io::Error),
}

/// Code that was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Code {
    /// Where its files lie.
    pub(super) dir: PathBuf,
    /// The archive's size.
    pub(super) bytes: u64,
    /// The archive's SHA-256, base64.
    pub(super) sha256: String,
}

/// Describes an archive without unpacking it.
pub(super) fn sha256(archive: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(Sha256::digest(archive))
}

/// Unpacks an archive into a new directory in `root`, durable when this returns. Blocks. What a crash leaves of it is
/// nobody's, and removed at the next start.
pub(super) fn unpack(root: &Path, archive: &[u8]) -> Result<Code, CodeError> {
    let dir = root.join(Uuid::now_v7().simple().to_string());
    fs::create_dir_all(&dir)?;
    let unpacked = unpack_into(&dir, archive).and_then(|()| Ok(sync_dir(root)?));
    if let Err(error) = unpacked {
        // What stays behind is removed at the next start.
        drop(fs::remove_dir_all(&dir));
        return Err(error);
    }
    let bytes = u64::try_from(archive.len()).unwrap_or(u64::MAX);
    Ok(Code { dir, bytes, sha256: sha256(archive) })
}

fn unpack_into(dir: &Path, archive: &[u8]) -> Result<(), CodeError> {
    let mut archive = ZipArchive::new(Cursor::new(archive)).map_err(CodeError::NotAnArchive)?;
    if archive.is_empty() {
        return Err(CodeError::Empty);
    }
    if archive.len() > FILES_MAX {
        return Err(CodeError::TooMany);
    }
    let mut room = UNZIPPED_BYTES_MAX;
    let mut folders = vec![dir.to_owned()];
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(CodeError::NotAnArchive)?;
        let name = match entry.name() {
            Ok(name) => name.into_owned(),
            Err(_unreadable) => return Err(CodeError::Outside { name: format!("file {index}") }),
        };
        // Neither absolute nor above the archive, by whatever way.
        let Some(path) = entry.enclosed_name().filter(|_| !name.starts_with('/')).map(|path| dir.join(path)) else {
            return Err(CodeError::Outside { name });
        };
        if entry.is_symlink() {
            return Err(CodeError::Link { name });
        }
        if entry.is_dir() {
            make_folder(&path, &mut folders)?;
            continue;
        }
        let twice = CodeError::Twice { name };
        if let Some(parent) = path.parent() {
            make_folder(parent, &mut folders)?;
        }
        let mode = entry.unix_mode().unwrap_or(MODE_DEFAULT) & 0o777;
        let made = OpenOptions::new().write(true).create_new(true).mode(mode | 0o400).open(&path);
        let is_twice = |kind| matches!(kind, io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory);
        let mut file = made.map_err(|error| if is_twice(error.kind()) { twice } else { CodeError::Disk(error) })?;
        // By what comes out, not by what the archive says of itself.
        let written = copy(&mut entry, &mut file, room)?;
        room = room.checked_sub(written).ok_or(CodeError::TooLarge)?;
        file.sync_all()?;
    }
    folders.iter().try_for_each(|folder| sync_dir(folder))?;
    Ok(())
}

/// Copies at most one byte more than there is room for.
fn copy(from: &mut impl io::Read, to: &mut File, room: u64) -> Result<u64, CodeError> {
    let mut from = from.take(room.saturating_add(1));
    let mut buffer = vec![0; 64 * 1_024];
    let mut written = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(written),
            Ok(read) => read,
            Err(error) => return Err(CodeError::NotAnArchive(error.into())),
        };
        to.write_all(buffer.get(..read).unwrap_or_default())?;
        written += u64::try_from(read).unwrap_or(u64::MAX);
    }
}

fn make_folder(path: &Path, folders: &mut Vec<PathBuf>) -> Result<(), CodeError> {
    if folders.iter().any(|made| made == path) {
        return Ok(());
    }
    match DirBuilder::new().recursive(true).mode(0o755).create(path) {
        Ok(()) => folders.push(path.to_owned()),
        Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory) => {
            return Err(CodeError::Twice { name: path.display().to_string() });
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    /// Name, mode and content.
    pub(in crate::lambda) type File<'f> = (&'f str, u32, &'f [u8]);

    /// An archive of files with their modes.
    pub(in crate::lambda) fn archive(files: &[File<'_>]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, mode, content) in files {
            writer.start_file(*name, SimpleFileOptions::default().unix_permissions(*mode)).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn files_lie_where_the_archive_says_with_its_modes() {
        let root = tempfile::tempdir().unwrap();
        let files: [File<'_>; 2] = [("bootstrap", 0o755, b"#!/bin/sh\n"), ("data/table", 0o644, b"x")];
        let code = unpack(root.path(), &archive(&files)).unwrap();
        let mode = |name: &str| fs::metadata(code.dir.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("bootstrap"), mode("data/table")), (0o755, 0o644));
        assert_eq!(fs::read(code.dir.join("data/table")).unwrap(), b"x");
        assert_eq!(code.sha256, sha256(&archive(&files)));
    }

    #[test]
    fn what_is_no_code_is_refused_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let check = |archive: &[u8], expected: &str| {
            let error = unpack(root.path(), archive).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "{expected}");
        };
        check(b"no archive", "Could not unzip");
        check(&archive(&[]), "non-empty");
        for outside in ["../../etc/cron.d/x", "/etc/passwd", "a/../../x"] {
            check(&archive(&[("bootstrap", 0o755, b""), (outside, 0o644, b"x")]), "lies outside");
        }
        check(&archive(&[("a", 0o644, b""), ("a/b", 0o644, b"")]), "is twice");
        let mut link = ZipWriter::new(Cursor::new(Vec::new()));
        link.add_symlink("bootstrap", "/bin/sh", SimpleFileOptions::default()).unwrap();
        check(&link.finish().unwrap().into_inner(), "symbolic link");
        let mut damaged = archive(&[("bootstrap", 0o755, &[b'x'; 4_096])]);
        damaged[40] ^= 0xff;
        check(&damaged, "Could not unzip");
    }

    #[test]
    fn an_archive_that_grows_past_the_limit_is_cut_off() {
        let root = tempfile::tempdir().unwrap();
        let megabyte = vec![0; 1 << 20];
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file("bootstrap", SimpleFileOptions::default().unix_permissions(0o755)).unwrap();
        for _ in 0..251 {
            writer.write_all(&megabyte).unwrap();
        }
        let bomb = writer.finish().unwrap().into_inner();
        assert!(bomb.len() < 1 << 20, "{}", bomb.len());
        assert!(matches!(unpack(root.path(), &bomb), Err(CodeError::TooLarge)));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
