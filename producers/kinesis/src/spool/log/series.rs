//! Which life of the log gave a number. A number alone does not name a record for ever: what a damaged disk lost may have had
//! numbers that are given again. So each time the log is opened, a new series begins, with a name that nothing else has.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use crate::spool::{SpoolError, log::sync_folder};

const NAME: &str = "series";

/// Magic and version.
const MAGIC: &[u8; 8] = b"KPSERIE\x01";

/// Two numbers.
const ENTRY_BYTES: usize = 16;

/// Lives that left records behind, at most; the oldest are taken for one with the next then, and their records' numbers mean
/// nothing to readers.
const ENTRIES_MAX: usize = 4096;

/// From the number `from` on, until the next series begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Series {
    pub(crate) from: u64,
    pub(crate) name: u64,
}

/// Begins a series at the number `next`, and makes it durable. Returns all that have records which are not done.
pub(super) fn begin(folder: &Path, done_below: u64, next: u64, name: u64) -> Result<Vec<Series>, SpoolError> {
    let path = folder.join(NAME);
    let found = match fs::read(&path) {
        Ok(bytes) => parse(&bytes).unwrap_or_else(|| {
            tracing::warn!(path = %path.display(), "spool: damaged; readers may find records twice that are sent again");
            Vec::new()
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(SpoolError::io("read", path)(error)),
    };
    let mut all: Vec<Series> = found.into_iter().filter(|series| series.from < next).collect();
    all.push(Series { from: next, name });
    // What ends before the first record that is not done has nothing to name.
    let needed = all.partition_point(|series| series.from <= done_below).saturating_sub(1);
    all.drain(..needed.max(all.len().saturating_sub(ENTRIES_MAX)));
    let temporary = path.with_extension("new");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(&encode(&all))?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    });
    written.map_err(SpoolError::io("write", &path))?;
    sync_folder(folder)?;
    Ok(all)
}

fn encode(all: &[Series]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for series in all {
        bytes.extend_from_slice(&series.from.to_le_bytes());
        bytes.extend_from_slice(&series.name.to_le_bytes());
    }
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn parse(bytes: &[u8]) -> Option<Vec<Series>> {
    let (content, checksum) = bytes.split_last_chunk::<4>()?;
    let entries = content.strip_prefix(MAGIC)?;
    if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (entries, []) = entries.as_chunks::<ENTRY_BYTES>() else { return None };
    let number = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    entries.iter().map(|entry| Some(Series { from: number(entry)?, name: number(entry.get(8..)?)? })).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{ENTRIES_MAX, Series, begin};

    fn series(all: &[(u64, u64)]) -> Vec<Series> {
        all.iter().map(|(from, name)| Series { from: *from, name: *name }).collect()
    }

    #[test]
    fn a_series_begins_with_each_life_and_ends_when_its_records_are_done() {
        let folder = tempfile::tempdir().unwrap();
        let begin = |done_below, next, name| begin(folder.path(), done_below, next, name).unwrap();
        assert_eq!(begin(0, 0, 7), series(&[(0, 7)]));
        assert_eq!(begin(0, 5, 8), series(&[(0, 7), (5, 8)]));
        // A life that wrote nothing has no series.
        assert_eq!(begin(4, 5, 9), series(&[(0, 7), (5, 9)]));
        // Numbers that are given again have another name.
        assert_eq!(begin(0, 3, 10), series(&[(0, 7), (3, 10)]));
        assert_eq!(begin(3, 9, 11), series(&[(3, 10), (9, 11)]));
        assert_eq!(begin(9, 9, 12), series(&[(9, 12)]));
        // Damaged: nothing is known of what is older.
        fs::write(folder.path().join("series"), b"KPSERIE\x01 and then something else").unwrap();
        assert_eq!(begin(9, 20, 13), series(&[(20, 13)]));
    }

    #[test]
    fn lives_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let many: Vec<Series> = (0..5_000).map(|from| Series { from, name: from }).collect();
        fs::write(folder.path().join("series"), super::encode(&many)).unwrap();
        let all = begin(folder.path(), 0, 5_000, 1).unwrap();
        assert_eq!((all.len(), all[0].from), (ENTRIES_MAX, 5_001 - 4_096));
    }
}
