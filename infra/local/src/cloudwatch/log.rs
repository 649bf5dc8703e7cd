//! Metrics on disk: a file a day, a line for each change; removed whole when they are too old.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::series::{Datum, RETENTION_MS};
use crate::clock;
use crate::data_dir;

const SUFFIX: &str = "ndjson";

/// The file that lines go to.
#[derive(Debug)]
pub(super) struct Log {
    dir: PathBuf,
    /// The day of the open file.
    day: String,
    file: File,
}

impl Log {
    /// Opens the log, and reads what it has of the last 15 days. A line that a crash cut off was never acknowledged.
    pub(super) fn open(dir: PathBuf, now_ms: i64) -> io::Result<(Self, Vec<Datum>)> {
        fs::create_dir_all(&dir)?;
        let oldest = clock::date_text(now_ms.saturating_sub(RETENTION_MS));
        let mut data = Vec::new();
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let day = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            if path.extension().is_none_or(|extension| extension != SUFFIX) {
                continue;
            }
            if *day < *oldest {
                fs::remove_file(&path)?;
                continue;
            }
            let text = fs::read(&path)?;
            // A torn end has no line feed; the next line must not be glued to it.
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            if whole < text.len() {
                OpenOptions::new().write(true).open(&path)?.set_len(u64::try_from(whole).unwrap_or(0))?;
            }
            let lines = text.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n');
            data.extend(lines.filter_map(|line| serde_json::from_slice::<Datum>(line).ok()));
        }
        let day = clock::date_text(now_ms);
        let file = open_day(&dir, &day)?;
        Ok((Self { dir, day, file }, data))
    }

    /// Appends lines; they are durable when this returns.
    pub(super) fn append(&mut self, data: &[Datum], now_ms: i64) -> io::Result<()> {
        let day = clock::date_text(now_ms);
        if day != self.day {
            self.file = open_day(&self.dir, &day)?;
            self.day = day;
        }
        let mut lines = Vec::new();
        for datum in data {
            serde_json::to_writer(&mut lines, datum)?;
            lines.push(b'\n');
        }
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(&lines).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // Half a line must not stay in the way of the next one.
            self.file.set_len(before)?;
        }
        written
    }
}

fn open_day(dir: &Path, day: &str) -> io::Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(dir.join(format!("{day}.{SUFFIX}")))?;
    data_dir::sync_dir(dir)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::super::series::{MetricKey, StatisticSet};
    use super::*;

    #[test]
    fn what_was_appended_is_read_again_until_it_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m");
        let now_ms = 1_700_000_000_000;
        let dimensions = [("Stream".to_owned(), "s".to_owned())].into();
        let key = MetricKey { namespace: "n".to_owned(), name: "m".to_owned(), dimensions };
        let datum = Datum { key, unit: "Count".to_owned(), at_ms: now_ms, values: StatisticSet::of(2.5) };
        let (mut log, none) = Log::open(path.clone(), now_ms).unwrap();
        assert_eq!(none, []);
        log.append(std::slice::from_ref(&datum), now_ms).unwrap();
        log.append(std::slice::from_ref(&datum), now_ms + 86_400_000).unwrap();
        drop(log);
        let first = path.join("2023-11-14.ndjson");
        let mut torn = fs::read(&first).unwrap();
        torn.extend_from_slice(b"{\"names");
        fs::write(&first, &torn).unwrap();
        let (mut log, both) = Log::open(path.clone(), now_ms).unwrap();
        assert_eq!(both, [datum.clone(), datum.clone()]);
        log.append(std::slice::from_ref(&datum), now_ms).unwrap();
        assert_eq!(Log::open(path.clone(), now_ms).unwrap().1.len(), 3, "nothing is glued to the torn end");
        assert_eq!(Log::open(path, now_ms + RETENTION_MS + 86_400_000).unwrap().1.len(), 1);
        assert!(!first.exists());
    }
}
