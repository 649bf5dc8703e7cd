//! The files of one stream's log.
//!
//! A segment `NUMBER-START_MS.log` holds the blocks of all shards in the order of their commits; the last one is
//! written, the others are sealed. Nothing in a segment arrived before its start, nothing in those before it after that.
//! Its header says where each shard stands at its beginning, so that a start reads the last segment alone, however much
//! there is. `NUMBER.idx` beside a sealed one says where each shard's blocks lie.
//!
//! ```text
//! magic · number u64 · start_ms i64 · first commit u64 · shards u32 · crc32 u32 · (shard u64 · next counter u64)*
//! ```

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::data_dir::sync_dir;
use crate::kinesis::block::{self, Found};

use super::index::{self, Index};

const MAGIC: &[u8; 8] = b"MRSTREM2";
const FIXED_BYTES: usize = 40;
const ENTRY_BYTES: usize = 16;
/// Shards in one header at most: open ones, and closed ones that are kept.
const SHARDS_MAX: u32 = 1_000_000;

/// A segment's name: its number, and the time before which nothing in it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentId {
    pub(super) number: u64,
    pub(super) start_ms: i64,
}

/// What a segment says about its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: SegmentId,
    pub(super) first_commit: u64,
    /// The counter that each shard's next record gets; a shard that is not listed begins in this segment or later.
    pub(super) counters: HashMap<u64, u64>,
}

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) index: Index,
    /// The offset after the last whole block.
    pub(super) end: u64,
    /// The number of the last commit.
    pub(super) commit: u64,
    /// Where each shard stands after it.
    pub(super) counters: HashMap<u64, u64>,
    /// Never before the segment's start.
    pub(super) last_arrival_ms: i64,
    /// Bytes after the last whole block.
    pub(super) torn_bytes: u64,
    /// Behind those bytes lies a block of a later commit, so they were acknowledged.
    pub(super) is_damaged: bool,
}

impl Scan {
    /// Of a segment without blocks.
    fn of(header: &Header) -> Self {
        Self {
            index: Index::default(),
            end: header.length(),
            commit: header.first_commit.saturating_sub(1),
            counters: header.counters.clone(),
            last_arrival_ms: header.id.start_ms,
            torn_bytes: 0,
            is_damaged: false,
        }
    }
}

impl Header {
    /// The bytes before the first block.
    pub(super) fn length(&self) -> u64 {
        wide(FIXED_BYTES + self.counters.len() * ENTRY_BYTES)
    }

    /// The counter that a shard's next record gets.
    pub(super) fn counter(&self, shard: u64) -> u64 {
        self.counters.get(&shard).copied().unwrap_or(1)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut counters: Vec<(u64, u64)> = self.counters.iter().map(|(shard, next)| (*shard, *next)).collect();
        counters.sort_unstable();
        let mut table = Vec::with_capacity(counters.len() * ENTRY_BYTES);
        for (shard, next) in &counters {
            table.extend_from_slice(&shard.to_le_bytes());
            table.extend_from_slice(&next.to_le_bytes());
        }
        let mut bytes = Vec::with_capacity(FIXED_BYTES + table.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.id.number.to_le_bytes());
        bytes.extend_from_slice(&self.id.start_ms.to_le_bytes());
        bytes.extend_from_slice(&self.first_commit.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(counters.len()).unwrap_or(u32::MAX).to_le_bytes());
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&bytes);
        checksum.update(&table);
        bytes.extend_from_slice(&checksum.finalize().to_le_bytes());
        bytes.extend_from_slice(&table);
        bytes
    }

    /// Reads the header of a segment's file; `None` when it is damaged.
    fn read(file: &File) -> io::Result<Option<Self>> {
        let mut fixed = [0; FIXED_BYTES];
        if file.metadata()?.len() < wide(FIXED_BYTES) {
            return Ok(None);
        }
        file.read_exact_at(&mut fixed, 0)?;
        let [magic, number, start_ms, first_commit, sizes] = fixed.as_chunks::<8>().0 else { return Ok(None) };
        let sizes = u64::from_le_bytes(*sizes);
        let (shards, checksum) = (sizes & u64::from(u32::MAX), sizes >> 32);
        let length = shards.saturating_mul(wide(ENTRY_BYTES));
        let is_here = file.metadata()?.len() >= length.saturating_add(wide(FIXED_BYTES));
        if magic != MAGIC || shards > u64::from(SHARDS_MAX) || !is_here {
            return Ok(None);
        }
        let mut table = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut table, wide(FIXED_BYTES))?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(fixed.get(..FIXED_BYTES - 4).unwrap_or_default());
        hasher.update(&table);
        if u64::from(hasher.finalize()) != checksum {
            return Ok(None);
        }
        let pair = |entry: &[u8; ENTRY_BYTES]| {
            let (shard, next) = entry.split_first_chunk::<8>()?;
            Some((u64::from_le_bytes(*shard), u64::from_le_bytes(*next.first_chunk::<8>()?)))
        };
        let counters = table.as_chunks::<ENTRY_BYTES>().0.iter().filter_map(pair).collect();
        let id = SegmentId { number: u64::from_le_bytes(*number), start_ms: i64::from_le_bytes(*start_ms) };
        Ok(Some(Self { id, first_commit: u64::from_le_bytes(*first_commit), counters }))
    }
}

impl SegmentId {
    pub(super) fn log_path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{:012}-{}.log", self.number, self.start_ms))
    }

    pub(super) fn index_path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{:012}.idx", self.number))
    }

    fn parse(name: &str) -> Option<Self> {
        let (number, start_ms) = name.strip_suffix(".log")?.split_once('-')?;
        Some(Self { number: number.parse().ok()?, start_ms: start_ms.parse().ok()? })
    }
}

/// The segments in `dir`, ascending.
pub(super) fn list(dir: &Path) -> io::Result<Vec<SegmentId>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(dir)? {
        ids.extend(entry?.file_name().to_str().and_then(SegmentId::parse));
    }
    ids.sort_unstable_by_key(|id| id.number);
    Ok(ids)
}

/// Makes an empty segment, durable with its name. Under its name there is always a whole header.
pub(super) fn create(dir: &Path, header: &Header) -> io::Result<File> {
    let path = header.id.log_path(dir);
    // Always the same name: what a full disk left of one is overwritten by the next.
    let temporary = dir.join("next.tmp");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&temporary)?;
    file.write_all_at(&header.to_bytes(), 0)?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    sync_dir(dir)?;
    Ok(file)
}

/// The header of a segment.
pub(super) fn read_header(dir: &Path, id: SegmentId) -> io::Result<Header> {
    Header::read(&File::open(id.log_path(dir))?)?.ok_or_else(|| damaged("the header of a segment is damaged"))
}

/// Opens the last segment for writing.
pub(super) fn open_last(dir: &Path, id: SegmentId) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(id.log_path(dir))
}

/// What the last segment holds: from its index as far as that reaches, and from its blocks behind that.
///
/// An index is written after what it covers was synced, so a torn write can only lie behind it.
pub(super) fn recover(dir: &Path, header: &Header) -> io::Result<Scan> {
    let length = fs::metadata(header.id.log_path(dir))?.len();
    let indexed = index::read(&header.id.index_path(dir));
    let Some((index, end, commit)) = indexed.filter(|(_, end, _)| (header.length()..=length).contains(end)) else {
        return scan(dir, header);
    };
    let mut known = Scan { end, commit, ..Scan::of(header) };
    for (shard, spans) in index.sections() {
        if let Some(last) = spans.last() {
            known.counters.insert(shard, last.end_counter());
            known.last_arrival_ms = known.last_arrival_ms.max(last.last_arrival_ms);
        }
    }
    known.index = index;
    scan_on(dir, header, known)
}

/// Reads a segment's blocks up to the first that is not whole or does not follow on.
pub(super) fn scan(dir: &Path, header: &Header) -> io::Result<Scan> {
    scan_on(dir, header, Scan::of(header))
}

/// Reads what lies behind the part that is known.
fn scan_on(dir: &Path, header: &Header, mut scan: Scan) -> io::Result<Scan> {
    let mut bytes = Vec::new();
    let mut file = File::open(header.id.log_path(dir))?;
    file.seek(SeekFrom::Start(scan.end))?;
    file.read_to_end(&mut bytes)?;
    let mut at = 0;
    let broken = loop {
        match block::find(&bytes, at) {
            Found::Block(head, body) => {
                let next = scan.counters.entry(head.shard).or_insert(1);
                if head.counter != *next || head.commit < scan.commit {
                    break None;
                }
                *next = head.end();
                scan.index.note(&head, scan.end);
                scan.commit = head.commit;
                scan.last_arrival_ms = scan.last_arrival_ms.max(head.arrival_ms);
                scan.end += wide(body.end - at);
                at = body.end;
            }
            Found::Incomplete => break None,
            Found::Corrupt(head) => break head,
        }
    };
    let torn = bytes.get(at..).unwrap_or_default();
    scan.torn_bytes = wide(torn.len());
    // A commit is begun after the one before it is on the disk: of all that was torn, only one can be half-written. A
    // head that was lost says nothing of its commit, which then is the next one at most.
    let half_written = broken.map_or(scan.commit.saturating_add(1), |head| head.commit);
    scan.is_damaged = (1..torn.len()).any(|from| is_later(torn, from, half_written));
    Ok(scan)
}

fn is_later(bytes: &[u8], from: usize, commit: u64) -> bool {
    matches!(block::find(bytes, from), Found::Block(head, _) if head.commit > commit)
}

/// A shard's spans in a sealed segment; the index is made again where it is missing or damaged.
pub(super) fn section(dir: &Path, id: SegmentId, shard: u64) -> io::Result<Vec<index::Span>> {
    let path = id.index_path(dir);
    if let Some(spans) = index::read_section(&path, shard) {
        return Ok(spans);
    }
    let scan = scan(dir, &read_header(dir, id)?)?;
    if let Err(error) = index::write(&path, &scan.index, scan.end, scan.commit) {
        tracing::warn!(%error, path = %path.display(), "cannot keep a segment's index; it is made again at each use");
    }
    Ok(scan.index.section(shard).to_vec())
}

/// Deletes a segment and its index.
pub(super) fn remove(dir: &Path, id: SegmentId) -> io::Result<()> {
    for path in [id.log_path(dir), id.index_path(dir)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn damaged(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
