//! Taking over the logs of data directories of format 1, which had one log per shard.
//!
//! A segment `shardId-…/COUNTER.log` was `MRSHARD1 · counter u64`, then frames of `length u32 · crc32 u32 · counter u64 ·
//! arrival_ms i64 · key length u16 · partition key · data`, the checksum and the length over what follows them. The
//! records are copied into a new log in the order of their arrival; it gets its name when it is whole and durable, so a
//! copy that was cut short is begun again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};

use crate::data_dir::sync_dir;
use crate::kinesis::block::{Blocks, Payload};
use crate::kinesis::description::{parse_shard_id, shard_id};

use super::writer::Copier;
use super::{LogError, StreamLog};

const MAGIC: &[u8; 8] = b"MRSHARD1";
const SEGMENT_HEAD_BYTES: usize = 16;
/// Length and checksum.
const PREFIX_BYTES: usize = 8;
const FIXED_BYTES: usize = 18;
const LENGTH_MAX: usize = FIXED_BYTES + 1_024 + 10 * 1_024 * 1_024;
/// Records that arrived together are copied in pieces of this size.
const COPY_BYTES_FULL: usize = 1024 * 1024;

/// One record of an older log.
#[derive(Debug)]
struct Frame {
    counter: u64,
    arrival_ms: i64,
    /// Partition key and data.
    rest: Vec<u8>,
    key_length: usize,
}

/// Reads one shard's older log from its start.
#[derive(Debug)]
struct ShardFiles {
    dir: PathBuf,
    /// First counters of the segments that are left, ascending.
    bases: VecDeque<u64>,
    reader: Option<BufReader<File>>,
    next_counter: u64,
    offset: u64,
}

impl ShardFiles {
    fn open(dir: &Path) -> io::Result<Self> {
        let mut bases = Vec::new();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            let base = name.to_str().and_then(|name| name.strip_suffix(".log"));
            let base = base.and_then(|base| base.parse::<u64>().ok());
            bases.extend(base);
        }
        bases.sort_unstable();
        let next_counter = bases.first().copied().unwrap_or(1);
        Ok(Self { dir: dir.to_owned(), bases: bases.into(), reader: None, next_counter, offset: 0 })
    }

    /// The next record; `None` at the end, or at the torn tail of the last segment, of which nothing was acknowledged.
    fn next(&mut self) -> Result<Option<Frame>, LogError> {
        loop {
            let Some(reader) = &mut self.reader else {
                let Some(base) = self.bases.pop_front() else { return Ok(None) };
                self.reader = self.open_segment(base).map_err(|source| self.failed(source))?;
                (self.next_counter, self.offset) = (base, 0);
                continue;
            };
            match read_frame(reader) {
                Ok(Some(frame)) if frame.counter == self.next_counter => {
                    self.next_counter += 1;
                    self.offset += u64::try_from(PREFIX_BYTES + FIXED_BYTES + frame.rest.len()).unwrap_or(0);
                    return Ok(Some(frame));
                }
                Ok(other) => {
                    self.reader = None;
                    let is_last = self.bases.is_empty();
                    let continues = self.bases.front() == Some(&self.next_counter);
                    if !is_last && (other.is_some() || !continues) {
                        let segment = self.next_counter;
                        return Err(LogError::Damaged { dir: self.dir.clone(), segment, offset: self.offset });
                    }
                }
                Err(source) => return Err(self.failed(source)),
            }
        }
    }

    /// Opens a segment behind its head; `None` when it died before that was whole, and so holds nothing.
    fn open_segment(&self, base: u64) -> io::Result<Option<BufReader<File>>> {
        let mut reader = BufReader::with_capacity(16 * 1024, File::open(self.dir.join(format!("{base:020}.log")))?);
        let mut head = Vec::new();
        reader.by_ref().take(SEGMENT_HEAD_BYTES.try_into().unwrap_or(0)).read_to_end(&mut head)?;
        let is_whole = head.starts_with(MAGIC) && head.ends_with(&base.to_le_bytes());
        Ok(is_whole.then_some(reader))
    }

    fn failed(&self, source: io::Error) -> LogError {
        LogError::Io { dir: self.dir.clone(), source }
    }
}

/// Reads a frame; `None` when what is there is not a whole one.
fn read_frame(reader: &mut BufReader<File>) -> io::Result<Option<Frame>> {
    let mut prefix = Vec::with_capacity(PREFIX_BYTES);
    reader.take(PREFIX_BYTES.try_into().unwrap_or(0)).read_to_end(&mut prefix)?;
    let Some((length, checksum)) = prefix.split_first_chunk::<4>() else { return Ok(None) };
    let Some(checksum) = checksum.first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if !(FIXED_BYTES..=LENGTH_MAX).contains(&length) {
        return Ok(None);
    }
    let mut covered = Vec::new();
    reader.take(length.try_into().unwrap_or(0)).read_to_end(&mut covered)?;
    if covered.len() < length || crc32fast::hash(&covered) != u32::from_le_bytes(*checksum) {
        return Ok(None);
    }
    let rest = covered.split_off(FIXED_BYTES);
    let fields = covered.split_first_chunk::<8>().and_then(|(counter, after)| {
        let (arrival_ms, key_length) = after.split_first_chunk::<8>()?;
        Some((counter, arrival_ms, key_length.first_chunk::<2>()?))
    });
    let Some((counter, arrival_ms, key_length)) = fields else { return Ok(None) };
    let key_length = usize::from(u16::from_le_bytes(*key_length));
    let (counter, arrival_ms) = (u64::from_le_bytes(*counter), i64::from_le_bytes(*arrival_ms));
    Ok((key_length <= rest.len()).then_some(Frame { counter, arrival_ms, rest, key_length }))
}

/// Takes the logs of a stream's shards over into its `log` directory, if there are any.
pub(in crate::kinesis) fn take_over(stream_dir: &Path, log_dir: &Path, now_ms: i64) -> Result<(), LogError> {
    let failed = |source| LogError::Io { dir: stream_dir.to_owned(), source };
    let mut numbers = Vec::new();
    for entry in fs::read_dir(stream_dir).map_err(failed)? {
        numbers.extend(entry.map_err(failed)?.file_name().to_str().and_then(parse_shard_id));
    }
    if numbers.is_empty() {
        return Ok(());
    }
    if !log_dir.exists() {
        let temporary = log_dir.with_extension("tmp");
        if temporary.exists() {
            fs::remove_dir_all(&temporary).map_err(failed)?;
        }
        fs::create_dir(&temporary).map_err(failed)?;
        copy(stream_dir, &numbers, &temporary, now_ms)?;
        fs::rename(&temporary, log_dir).map_err(failed)?;
        sync_dir(stream_dir).map_err(failed)?;
    }
    for number in numbers {
        fs::remove_dir_all(stream_dir.join(shard_id(number))).map_err(failed)?;
    }
    Ok(())
}

fn copy(stream_dir: &Path, numbers: &[u64], to: &Path, now_ms: i64) -> Result<(), LogError> {
    let failed = |source| LogError::Io { dir: to.to_owned(), source };
    let mut shards: HashMap<u64, (ShardFiles, Frame)> = HashMap::new();
    let mut first_counters = HashMap::new();
    let mut order = BinaryHeap::new();
    for number in numbers {
        let mut files = ShardFiles::open(&stream_dir.join(shard_id(*number))).map_err(failed)?;
        first_counters.insert(*number, files.next_counter);
        if let Some(frame) = files.next()? {
            order.push(Reverse((frame.arrival_ms, *number)));
            shards.insert(*number, (files, frame));
        }
    }
    let first_ms = order.peek().map_or(now_ms, |Reverse((arrival_ms, _))| *arrival_ms);
    let opened = StreamLog::open(to, first_ms, first_counters)?;
    let mut copier = Copier::new(opened.log, opened.seed).map_err(failed)?;
    let (mut blocks, mut arrival_ms) = (Blocks::default(), first_ms);
    while let Some(Reverse((next_ms, number))) = order.pop() {
        if next_ms != arrival_ms || blocks.bytes().len() >= COPY_BYTES_FULL {
            copier.write(std::mem::take(&mut blocks), arrival_ms).map_err(failed)?;
            arrival_ms = next_ms;
        }
        let Some((mut files, frame)) = shards.remove(&number) else { continue };
        let (key, data) = frame.rest.split_at_checked(frame.key_length).unwrap_or_default();
        let pushed = blocks.push(number, &String::from_utf8_lossy(key), Payload::Raw(data));
        pushed.expect("only base64 can be refused, and this is none");
        if let Some(next) = files.next()? {
            order.push(Reverse((next.arrival_ms, number)));
            shards.insert(number, (files, next));
        }
    }
    copier.write(blocks, arrival_ms).map_err(failed)?;
    copier.finish().map_err(failed)
}
