//! A log of changes on disk: checked lines that are appended, replayed at the start, and rewritten when most are stale.
//!
//! A line is `<crc32 in 8 hex digits> <json>\n`. What a crash leaves torn at the end was never acknowledged, and is cut
//! off; a line that does not check before the end is damage, and then the journal refuses to open.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::data_dir;
use crate::faults::Faults;

/// A journal is rewritten only when it is longer than this: below, its staleness costs nothing.
const REWRITE_BYTES_MIN: u64 = 1 << 20;

/// An open journal. Its owner keeps it behind the lock of the state that it is the log of.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    /// Its length after the last rewrite; 0 before.
    kept: u64,
    /// Set when a failed append could not be taken back: what follows it would be unreadable.
    is_broken: bool,
    faults: Faults,
    clock: Clock,
}

impl Journal {
    /// Opens the journal, or makes it, and hands each change to `apply`. Blocks.
    ///
    /// # Errors
    /// What the operating system says, and damage before the last line.
    pub(crate) fn open<T: DeserializeOwned>(
        path: &Path,
        (faults, clock): (Faults, Clock),
        mut apply: impl FnMut(T),
    ) -> io::Result<Self> {
        let content = match fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut good = 0_usize;
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            match read_line(line) {
                Some(change) => {
                    apply(change);
                    good += line.len();
                }
                None if good + line.len() == content.len() => break,
                None => {
                    let message = format!("{} is damaged at byte {good}, before its end", path.display());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
            }
        }
        if good < content.len() {
            let bytes = content.len() - good;
            tracing::warn!(path = %path.display(), bytes, "cut an unfinished change off a journal");
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let length = u64::try_from(good).map_err(io::Error::other)?;
        file.set_len(length)?;
        file.sync_all()?;
        path.parent().map_or(Ok(()), data_dir::sync_dir)?;
        Ok(Self { path: path.to_owned(), file, length, kept: 0, is_broken: false, faults, clock })
    }

    /// Writes changes, durable when this returns: all of them or, on an error, none.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn append<T: Serialize>(&mut self, changes: &[T]) -> io::Result<()> {
        self.write(changes, true)
    }

    /// Writes changes that a crash of the machine may take back, though a crash of this process does not.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn note<T: Serialize>(&mut self, changes: &[T]) -> io::Result<()> {
        self.write(changes, false)
    }

    /// Whether so little of it is still true that it should be rewritten. The true part is guessed without its escapes,
    /// so what the last rewrite kept counts as well.
    pub(crate) fn is_stale(&self, live_bytes: u64) -> bool {
        let enough = live_bytes.max(self.kept).saturating_mul(2).saturating_add(REWRITE_BYTES_MIN);
        self.length > enough
    }

    /// Puts `changes` in place of all that was written. On an error the old content still stands.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn rewrite<T: Serialize>(&mut self, changes: impl IntoIterator<Item = T>) -> io::Result<()> {
        self.faults.check_disk(self.clock.now_ms())?;
        let mut lines = Vec::new();
        for change in changes {
            write_line(&change, &mut lines)?;
        }
        data_dir::replace_file(&self.path, &lines)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.length = u64::try_from(lines.len()).map_err(io::Error::other)?;
        (self.kept, self.is_broken) = (self.length, false);
        Ok(())
    }

    fn write<T: Serialize>(&mut self, changes: &[T], is_synced: bool) -> io::Result<()> {
        if self.is_broken {
            return Err(io::Error::other("an earlier write of this journal failed; restart to recover it"));
        }
        self.faults.check_disk(self.clock.now_ms())?;
        let mut lines = Vec::new();
        for change in changes {
            write_line(change, &mut lines)?;
        }
        let written = self.file.write_all(&lines);
        match written.and_then(|()| if is_synced { self.file.sync_data() } else { Ok(()) }) {
            Ok(()) => {
                self.length += u64::try_from(lines.len()).map_err(io::Error::other)?;
                Ok(())
            }
            Err(error) => {
                self.is_broken = self.file.set_len(self.length).and_then(|()| self.file.sync_data()).is_err();
                Err(error)
            }
        }
    }
}

fn write_line<T: Serialize>(change: &T, lines: &mut Vec<u8>) -> io::Result<()> {
    let json = serde_json::to_vec(change)?;
    write!(lines, "{:08x} ", crc32fast::hash(&json))?;
    lines.extend_from_slice(&json);
    lines.push(b'\n');
    Ok(())
}

fn read_line<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let (sum, json) = line.strip_suffix(b"\n")?.split_at_checked(9)?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?.strip_suffix(' ')?, 16).ok()?;
    (sum == crc32fast::hash(json)).then(|| serde_json::from_slice(json).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use crate::faults::{FaultKind, FaultRule};

    use super::*;

    fn open(path: &Path, faults: &Faults) -> io::Result<(Journal, Vec<String>)> {
        let mut found = Vec::new();
        let rim = (faults.clone(), Clock::standing_at(0));
        let journal = Journal::open(path, rim, |change: String| found.push(change))?;
        Ok((journal, found))
    }

    #[test]
    fn changes_come_back_a_torn_end_is_cut_and_damage_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let faults = Faults::default();
        let (mut journal, none) = open(&path, &faults).unwrap();
        assert!(none.is_empty());
        journal.append(&["a", "b"]).unwrap();
        journal.note(&["c"]).unwrap();
        drop(journal);
        let whole = fs::read(&path).unwrap();
        for torn in [&whole[..5], &whole[..whole.len() - 1], b"0badc0de \"x\"\n"] {
            fs::write(&path, [&whole, torn].concat()).unwrap();
            // The second of these holds two whole lines and a torn one.
            let (mut journal, found) = open(&path, &faults).unwrap();
            assert_eq!(found[..3], ["a", "b", "c"]);
            journal.append(&["d"]).unwrap();
            assert_eq!(open(&path, &faults).unwrap().1.last().unwrap(), "d");
        }
        let mut damaged = whole;
        damaged[10] ^= 1;
        fs::write(&path, &damaged).unwrap();
        assert!(open(&path, &faults).unwrap_err().to_string().contains("damaged at byte 0"));
        assert_eq!(fs::read(&path).unwrap(), damaged, "a refused journal is not touched");
    }

    #[test]
    fn a_full_disk_takes_nothing_and_a_rewrite_keeps_what_it_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let faults = Faults::default();
        let (mut journal, _) = open(&path, &faults).unwrap();
        journal.append(&["a"]).unwrap();
        faults.set(vec![FaultRule::new(FaultKind::DiskFull)], 0).unwrap();
        assert_eq!(journal.append(&["b"]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(journal.rewrite(["c"]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        faults.set(Vec::new(), 0).unwrap();
        assert_eq!(open(&path, &faults).unwrap().1, ["a"]);
        let line = "x".repeat(1_000);
        while !journal.is_stale(1_000) {
            journal.append(&[&line]).unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() > REWRITE_BYTES_MIN);
        journal.rewrite(["kept"]).unwrap();
        journal.append(&["later"]).unwrap();
        assert_eq!(open(&path, &faults).unwrap().1, ["kept", "later"]);
    }
}
