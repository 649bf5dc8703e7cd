//! A table's partitions on disk: an append log of checked lines, rewritten when most of it is stale.
//!
//! `<crc32 in 8 hex digits> <json>\n`. A line is durable before the change is answered. What a crash leaves at the end
//! was never acknowledged, and is cut off at the next start.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data_dir;

/// A log is rewritten at the start when it has so many lines more than twice its partitions.
const STALE_LINES: usize = 1000;

/// Partitions by their values, in the order of the values.
pub(super) type Partitions = BTreeMap<Vec<String>, Arc<Value>>;

/// One change to the partitions of a table.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    Put { values: Vec<String>, partition: Arc<Value> },
    Delete { values: Vec<String> },
}

impl Change {
    pub(super) fn apply(self, partitions: &mut Partitions) {
        match self {
            Self::Put { values, partition } => drop(partitions.insert(values, partition)),
            Self::Delete { values } => drop(partitions.remove(&values)),
        }
    }
}

#[derive(Debug)]
pub(super) struct PartitionLog {
    file: File,
    length: u64,
    /// Set when a failed append could not be taken back: what follows it would be unreadable.
    broken: bool,
}

impl PartitionLog {
    /// Opens the log, making it if it is not there, and replays it.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Partitions)> {
        let content = match fs::read(path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let (mut partitions, mut lines, mut good) = (Partitions::new(), 0_usize, 0_usize);
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            let Some(change) = read_line(line) else { break };
            change.apply(&mut partitions);
            lines += 1;
            good += line.len();
        }
        if good < content.len() {
            let cut = content.len() - good;
            tracing::warn!(path = %path.display(), bytes = cut, "cut an unfinished change off a partition log");
        }
        if lines > 2 * partitions.len() + STALE_LINES {
            good = rewrite(path, &partitions)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let length = u64::try_from(good).map_err(io::Error::other)?;
        file.set_len(length)?;
        file.sync_all()?;
        if let Some(parent) = path.parent() {
            data_dir::sync_dir(parent)?;
        }
        Ok((Self { file, length, broken: false }, partitions))
    }

    /// Writes changes, durable when this returns. All of them or, on an error, none.
    pub(super) fn append(&mut self, changes: &[Change]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write of this partition log failed; restart to recover it"));
        }
        let mut lines = Vec::new();
        for change in changes {
            write_line(change, &mut lines)?;
        }
        match self.file.write_all(&lines).and_then(|()| self.file.sync_data()) {
            Ok(()) => {
                self.length += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.broken = self.file.set_len(self.length).and_then(|()| self.file.sync_data()).is_err();
                Err(error)
            }
        }
    }
}

fn rewrite(path: &Path, partitions: &Partitions) -> io::Result<usize> {
    let mut lines = Vec::new();
    for (values, partition) in partitions {
        write_line(&Change::Put { values: values.clone(), partition: Arc::clone(partition) }, &mut lines)?;
    }
    data_dir::replace_file(path, &lines)?;
    Ok(lines.len())
}

fn write_line(change: &Change, lines: &mut Vec<u8>) -> io::Result<()> {
    let json = serde_json::to_vec(change)?;
    write!(lines, "{:08x} ", crc32fast::hash(&json))?;
    lines.extend_from_slice(&json);
    lines.push(b'\n');
    Ok(())
}

fn read_line(line: &[u8]) -> Option<Change> {
    let line = line.strip_suffix(b"\n")?;
    let (sum, json) = line.split_at_checked(9)?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?.trim_end(), 16).ok()?;
    if sum != crc32fast::hash(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use serde_json::json;

    use super::{Change, PartitionLog};

    fn put(value: &str, location: &str) -> Change {
        Change::Put { values: vec![value.to_owned()], partition: Arc::new(json!({ "Location": location })) }
    }

    #[test]
    fn changes_come_back_and_a_torn_end_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("partitions.log");
        let (mut log, _) = PartitionLog::open(&path).unwrap();
        log.append(&[put("a", "1"), put("b", "2")]).unwrap();
        log.append(&[Change::Delete { values: vec!["a".to_owned()] }, put("b", "3")]).unwrap();
        drop(log);
        let whole = fs::read(&path).unwrap();

        for torn in
            [whole.clone(), [&whole[..], b"0badc0de {\"delete\":"].concat(), [&whole[..], &whole[..20]].concat()]
        {
            fs::write(&path, torn).unwrap();
            let (mut log, partitions) = PartitionLog::open(&path).unwrap();
            let found: Vec<_> = partitions
                .iter()
                .map(|(values, partition)| (values[0].as_str(), partition["Location"].clone()))
                .collect();
            assert_eq!(found, [("b", json!("3"))]);
            assert_eq!(fs::read(&path).unwrap(), whole);
            log.append(&[put("c", "4")]).unwrap();
            assert_eq!(PartitionLog::open(&path).unwrap().1.len(), 2);
        }
    }

    #[test]
    fn a_stale_log_is_rewritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("partitions.log");
        let (mut log, _) = PartitionLog::open(&path).unwrap();
        let changes: Vec<Change> = (0..2000).map(|round| put("a", &round.to_string())).collect();
        log.append(&changes).unwrap();
        let before = fs::metadata(&path).unwrap().len();
        let (mut log, partitions) = PartitionLog::open(&path).unwrap();
        assert_eq!(partitions[&vec!["a".to_owned()]]["Location"], json!("1999"));
        assert!(fs::metadata(&path).unwrap().len() * 100 < before);
        log.append(&[put("b", "x")]).unwrap();
        assert_eq!(PartitionLog::open(&path).unwrap().1.len(), 2);
    }
}
