//! Where the blocks of each shard lie in a segment.
//!
//! In memory for the segment that is being written; in a file beside each sealed one, from which a reader takes its
//! shard's section alone. An index can always be made again from its segment.
//!
//! ```text
//! magic · segment's end u64 · last commit u64 · shards u32 · crc32 u32
//! directory: (shard u64 · spans u32 · section's crc32 u32)*, ascending
//! sections: (counter u64 · first arrival_ms i64 · last arrival_ms i64 · offset u64 · length u32 · records u32)*
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::kinesis::block::Head;

const MAGIC: &[u8; 8] = b"MRINDEX2";
const FIXED_BYTES: usize = 32;
const ENTRY_BYTES: usize = 16;
const SPAN_BYTES: usize = 40;
/// Shards in one index at most: open ones, and closed ones that are kept.
const SHARDS_MAX: u32 = 1_000_000;

/// Blocks of one shard that touch are one span up to this length.
const SPAN_LENGTH_FULL: u32 = 64 * 1024;

/// Blocks of one shard that lie one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The counter of the first record.
    pub(super) counter: u64,
    /// The arrival of the first block.
    pub(super) arrival_ms: i64,
    /// The arrival of the last block.
    pub(super) last_arrival_ms: i64,
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) records: u32,
}

/// All spans of a segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    shards: HashMap<u64, Vec<Span>>,
    spans: usize,
}

impl Span {
    /// The offset after its last block.
    pub(super) fn end(&self) -> u64 {
        self.offset + u64::from(self.length)
    }

    /// The counter after its last record's.
    pub(super) fn end_counter(&self) -> u64 {
        self.counter + u64::from(self.records)
    }

    fn to_bytes(self) -> [u8; SPAN_BYTES] {
        let mut bytes = [0; SPAN_BYTES];
        let fields = [
            self.counter.to_le_bytes(),
            self.arrival_ms.to_le_bytes(),
            self.last_arrival_ms.to_le_bytes(),
            self.offset.to_le_bytes(),
            (u64::from(self.length) | u64::from(self.records) << 32).to_le_bytes(),
        ];
        for (slot, field) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(fields) {
            *slot = field;
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; SPAN_BYTES]) -> Option<Self> {
        let [counter, arrival_ms, last_arrival_ms, offset, sizes] = bytes.as_chunks::<8>().0 else { return None };
        let sizes = u64::from_le_bytes(*sizes);
        Some(Self {
            counter: u64::from_le_bytes(*counter),
            arrival_ms: i64::from_le_bytes(*arrival_ms),
            last_arrival_ms: i64::from_le_bytes(*last_arrival_ms),
            offset: u64::from_le_bytes(*offset),
            length: u32::try_from(sizes & u64::from(u32::MAX)).ok()?,
            records: u32::try_from(sizes >> 32).ok()?,
        })
    }
}

/// The spans from the one that holds `counter` on.
pub(super) fn from_counter(spans: &[Span], counter: u64) -> &[Span] {
    let after = spans.partition_point(|span| span.counter <= counter);
    spans.get(after.saturating_sub(1)..).unwrap_or_default()
}

/// The counter of the last span that begins before `arrival_ms`, or of the first one.
pub(super) fn counter_before_arrival(spans: &[Span], arrival_ms: i64) -> Option<u64> {
    let after = spans.partition_point(|span| span.arrival_ms < arrival_ms);
    spans.get(after.saturating_sub(1)).map(|span| span.counter)
}

impl Index {
    /// Notes a block at an offset, behind all that were noted.
    pub(super) fn note(&mut self, head: &Head, offset: u64) {
        let spans = self.shards.entry(head.shard).or_default();
        let length = u32::try_from(head.block_bytes()).unwrap_or(u32::MAX);
        match spans.last_mut() {
            Some(last) if last.end() == offset && last.length < SPAN_LENGTH_FULL => {
                last.length = last.length.saturating_add(length);
                last.records = last.records.saturating_add(head.records);
                last.last_arrival_ms = head.arrival_ms;
            }
            _ => {
                let (counter, arrival_ms, records) = (head.counter, head.arrival_ms, head.records);
                spans.push(Span { counter, arrival_ms, last_arrival_ms: arrival_ms, offset, length, records });
                self.spans += 1;
            }
        }
    }

    /// How many spans there are.
    pub(super) fn len(&self) -> usize {
        self.spans
    }

    /// Each shard's spans.
    pub(super) fn sections(&self) -> impl Iterator<Item = (u64, &[Span])> {
        self.shards.iter().map(|(shard, spans)| (*shard, spans.as_slice()))
    }

    /// A shard's spans, in order.
    pub(super) fn section(&self, shard: u64) -> &[Span] {
        self.shards.get(&shard).map_or(&[], Vec::as_slice)
    }

    fn to_bytes(&self, end: u64, commit: u64) -> Vec<u8> {
        let sorted: BTreeMap<u64, &Vec<Span>> = self.shards.iter().map(|(shard, spans)| (*shard, spans)).collect();
        let mut directory = Vec::with_capacity(sorted.len() * ENTRY_BYTES);
        let mut sections = Vec::with_capacity(self.spans * SPAN_BYTES);
        for (shard, spans) in &sorted {
            let start = sections.len();
            for span in *spans {
                sections.extend_from_slice(&span.to_bytes());
            }
            let checksum = crc32fast::hash(sections.get(start..).unwrap_or_default());
            directory.extend_from_slice(&shard.to_le_bytes());
            directory.extend_from_slice(&u32::try_from(spans.len()).unwrap_or(u32::MAX).to_le_bytes());
            directory.extend_from_slice(&checksum.to_le_bytes());
        }
        let mut bytes = Vec::with_capacity(FIXED_BYTES + directory.len() + sections.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&end.to_le_bytes());
        bytes.extend_from_slice(&commit.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(sorted.len()).unwrap_or(u32::MAX).to_le_bytes());
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&bytes);
        checksum.update(&directory);
        bytes.extend_from_slice(&checksum.finalize().to_le_bytes());
        bytes.extend_from_slice(&directory);
        bytes.extend_from_slice(&sections);
        bytes
    }
}

/// A file's fixed part and directory, verified.
struct Directory {
    end: u64,
    commit: u64,
    /// Shard, spans, the section's checksum and where the section starts.
    sections: Vec<(u64, usize, u32, u64)>,
}

impl Directory {
    /// `None` when the file is not an index, or damaged.
    fn read(file: &File) -> io::Result<Option<Self>> {
        let mut fixed = [0; FIXED_BYTES];
        file.read_exact_at(&mut fixed, 0)?;
        let (Some(end), Some(commit), Some(shards), Some(checksum)) =
            (number(&fixed, 8), number(&fixed, 16), half_number(&fixed, 24), half_number(&fixed, 28))
        else {
            return Ok(None);
        };
        if !fixed.starts_with(MAGIC) || shards > SHARDS_MAX {
            return Ok(None);
        }
        let mut directory = vec![0; usize::try_from(shards).unwrap_or(0) * ENTRY_BYTES];
        file.read_exact_at(&mut directory, wide(FIXED_BYTES))?;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(fixed.get(..28).unwrap_or_default());
        hasher.update(&directory);
        if hasher.finalize() != checksum {
            return Ok(None);
        }
        let mut at = wide(FIXED_BYTES + directory.len());
        let mut sections = Vec::with_capacity(directory.len() / ENTRY_BYTES);
        for entry in directory.as_chunks::<ENTRY_BYTES>().0 {
            let (Some(shard), Some(spans), Some(checksum)) =
                (number(entry, 0), half_number(entry, 8), half_number(entry, 12))
            else {
                return Ok(None);
            };
            let spans = usize::try_from(spans).unwrap_or(usize::MAX);
            sections.push((shard, spans, checksum, at));
            at = at.saturating_add(wide(spans.saturating_mul(SPAN_BYTES)));
        }
        Ok(Some(Self { end, commit, sections }))
    }

    fn section(&self, file: &File, at: usize) -> io::Result<Option<Vec<Span>>> {
        let Some((_, spans, checksum, offset)) = self.sections.get(at).copied() else { return Ok(Some(Vec::new())) };
        // What the directory says is checked, and what it asks for must be in the file before it is reserved.
        let length = spans.saturating_mul(SPAN_BYTES);
        if offset.saturating_add(wide(length)) > file.metadata()?.len() {
            return Ok(None);
        }
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset)?;
        if crc32fast::hash(&bytes) != checksum {
            return Ok(None);
        }
        Ok(bytes.as_chunks::<SPAN_BYTES>().0.iter().map(Span::from_bytes).collect())
    }
}

/// Writes an index of a segment up to `end`. It need not be durable: a lost or torn one is made again.
pub(super) fn write(path: &Path, index: &Index, end: u64, commit: u64) -> io::Result<()> {
    fs::write(path, index.to_bytes(end, commit))
}

/// One shard's spans; `None` when the file is missing or damaged.
pub(super) fn read_section(path: &Path, shard: u64) -> Option<Vec<Span>> {
    let file = File::open(path).ok()?;
    let directory = Directory::read(&file).ok()??;
    match directory.sections.binary_search_by_key(&shard, |section| section.0) {
        Ok(at) => directory.section(&file, at).ok()?,
        Err(_not_listed) => Some(Vec::new()),
    }
}

/// All spans, with the end and the last commit that they reach to; `None` when the file is missing or damaged.
pub(super) fn read(path: &Path) -> Option<(Index, u64, u64)> {
    let file = File::open(path).ok()?;
    let directory = Directory::read(&file).ok()??;
    let mut index = Index::default();
    for (at, (shard, ..)) in directory.sections.iter().enumerate() {
        let spans = directory.section(&file, at).ok()??;
        index.spans += spans.len();
        index.shards.insert(*shard, spans);
    }
    Some((index, directory.end, directory.commit))
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
}

fn half_number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes))
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
