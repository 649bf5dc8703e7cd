//! A run of one shard's records, as it lies in its stream's log.
//!
//! ```text
//! head: body length u32 · records u32 · shard u64 · first counter u64 · arrival_ms i64 · commit u64 · body crc32 · head crc32
//! body: (key length u16 · data length u32 · partition key · data)*
//! ```
//! Little-endian. The head's checksum covers the bytes before it. Whoever puts makes body and body checksum; the log's
//! writer, who alone knows counter, arrival and commit, fills in the head. A commit is what was written and synced
//! together; commits are numbered through.

use std::ops::Range;

use bytes::Bytes;

/// Bytes before the body.
pub(super) const HEAD_BYTES: usize = 48;

const HEAD_CHECKSUM_AT: usize = HEAD_BYTES - 4;
const RECORD_HEAD_BYTES: usize = 6;
/// A block is closed when its body has reached this: what a reader who wants one record verifies at most, unless a
/// record is larger.
const BODY_BYTES_FULL: usize = 64 * 1024;
/// The longest body: one not quite full, then the largest record with a partition key of 256 characters of 4 bytes.
const BODY_BYTES_MAX: usize = BODY_BYTES_FULL + RECORD_HEAD_BYTES + 1_024 + 10 * 1024 * 1024;

/// What a block's head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The body's bytes.
    pub(super) length: u32,
    pub(super) records: u32,
    pub(super) shard: u64,
    /// The counter of the first record.
    pub(super) counter: u64,
    pub(super) arrival_ms: i64,
    pub(super) commit: u64,
    body_checksum: u32,
}

/// A record's data before it lies in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload<'a> {
    /// Decoded straight into the block.
    Base64(&'a str),
    /// As it is.
    Raw(&'a [u8]),
}

/// One block of [`Blocks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) shard: u64,
    /// Where the block starts in the buffer, and how long it is with its head.
    pub(super) offset: usize,
    pub(super) length: usize,
    pub(super) records: u32,
    /// The counter that the first record got; `None` before, and when the shard took none.
    pub(super) counter: Option<u64>,
}

/// The blocks of one request, in one buffer.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    bytes: Vec<u8>,
    runs: Vec<Run>,
}

/// A block in memory, its checksum verified.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) head: Head,
    pub(super) body: Bytes,
}

/// What lies at an offset of a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole block with right checksums, and where its body is.
    Block(Head, Range<usize>),
    /// The buffer ends within the block.
    Incomplete,
    /// No block starts here, or a checksum is wrong. The head, where at least that is whole.
    Corrupt(Option<Head>),
}

impl Head {
    /// The counter after the last record's.
    pub(super) fn end(&self) -> u64 {
        self.counter.saturating_add(u64::from(self.records))
    }

    /// The block's bytes, its head among them.
    pub(super) fn block_bytes(&self) -> usize {
        HEAD_BYTES + usize::try_from(self.length).expect("32 bits fit")
    }

    fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        put(&mut bytes, 0, &self.length.to_le_bytes());
        put(&mut bytes, 4, &self.records.to_le_bytes());
        put(&mut bytes, 8, &self.shard.to_le_bytes());
        put(&mut bytes, 16, &self.counter.to_le_bytes());
        put(&mut bytes, 24, &self.arrival_ms.to_le_bytes());
        put(&mut bytes, 32, &self.commit.to_le_bytes());
        put(&mut bytes, 40, &self.body_checksum.to_le_bytes());
        let checksum = crc32fast::hash(bytes.get(..HEAD_CHECKSUM_AT).unwrap_or_default());
        put(&mut bytes, HEAD_CHECKSUM_AT, &checksum.to_le_bytes());
        bytes
    }

    /// Reads a head and verifies its checksum.
    fn from_bytes(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let (covered, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(covered) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let head = Self {
            length: u32::from_le_bytes(field(bytes, 0)?),
            records: u32::from_le_bytes(field(bytes, 4)?),
            shard: u64::from_le_bytes(field(bytes, 8)?),
            counter: u64::from_le_bytes(field(bytes, 16)?),
            arrival_ms: i64::from_le_bytes(field(bytes, 24)?),
            commit: u64::from_le_bytes(field(bytes, 32)?),
            body_checksum: u32::from_le_bytes(field(bytes, 40)?),
        };
        (head.block_bytes() <= HEAD_BYTES + BODY_BYTES_MAX).then_some(head)
    }
}

impl Blocks {
    /// Room for so many bytes of data and partition keys, in so many records.
    pub(super) fn with_room(bytes: usize, records: usize, shards: usize) -> Self {
        let heads = (shards + bytes / BODY_BYTES_FULL) * HEAD_BYTES;
        Self {
            bytes: Vec::with_capacity(bytes + records * RECORD_HEAD_BYTES + heads),
            runs: Vec::with_capacity(shards),
        }
    }

    /// Appends a record of a shard. Records of one shard that follow each other share blocks.
    ///
    /// # Errors
    /// When a text is not base64; nothing is appended then.
    pub(super) fn push(&mut self, shard: u64, key: &str, data: Payload<'_>) -> Result<(), base64_simd::Error> {
        let is_open =
            self.runs.last().is_some_and(|run| run.shard == shard && run.length < HEAD_BYTES + BODY_BYTES_FULL);
        let start = self.bytes.len();
        if !is_open {
            self.bytes.extend_from_slice(&[0; HEAD_BYTES]);
        }
        let record = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD_HEAD_BYTES]);
        self.bytes.extend_from_slice(key.as_bytes());
        let data_start = self.bytes.len();
        match data {
            Payload::Raw(bytes) => self.bytes.extend_from_slice(bytes),
            Payload::Base64("") => {}
            Payload::Base64(text) => {
                if let Err(error) = base64_simd::STANDARD.decode_append(text.as_bytes(), &mut self.bytes) {
                    self.bytes.truncate(start);
                    return Err(error);
                }
            }
        }
        let key_length = u16::try_from(key.len()).expect("a partition key has at most 1,024 bytes");
        let data_length = u32::try_from(self.bytes.len() - data_start).expect("a record has at most 10 MiB");
        let head = self.bytes.get_mut(record..).expect("the record was just appended");
        put(head, 0, &key_length.to_le_bytes());
        put(head, 2, &data_length.to_le_bytes());
        if !is_open {
            self.runs.push(Run { shard, offset: start, length: 0, records: 0, counter: None });
        }
        if let Some(run) = self.runs.last_mut() {
            run.records += 1;
            run.length = self.bytes.len() - run.offset;
        }
        Ok(())
    }

    /// Computes the bodies' checksums: the last thing that needs no knowledge of the log.
    pub(super) fn seal(&mut self) {
        for run in &self.runs {
            let Some(block) = self.bytes.get_mut(run.offset..run.offset + run.length) else { continue };
            let checksum = crc32fast::hash(block.get(HEAD_BYTES..).unwrap_or_default());
            put(block, 40, &checksum.to_le_bytes());
        }
    }

    /// The blocks, in the order in which they were begun.
    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// All bytes, heads of blocks among them.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Fills in the head of the `at`-th block, which gets its counters from `counter` on.
    pub(super) fn stamp(&mut self, at: usize, (counter, arrival_ms, commit): (u64, i64, u64)) -> Option<Head> {
        let run = self.runs.get_mut(at)?;
        let bytes = self.bytes.get_mut(run.offset..)?.first_chunk_mut::<HEAD_BYTES>()?;
        let head = Head {
            length: u32::try_from(run.length - HEAD_BYTES).expect("a block has at most 11 MiB"),
            records: run.records,
            shard: run.shard,
            counter,
            arrival_ms,
            commit,
            body_checksum: u32::from_le_bytes(field(bytes, 40)?),
        };
        *bytes = head.to_bytes();
        run.counter = Some(counter);
        Some(head)
    }

    /// Takes the buffer apart from what was noted about it.
    pub(super) fn into_parts(self) -> (Bytes, Vec<Run>) {
        (self.bytes.into(), self.runs)
    }
}

/// Reads the block that starts at `offset` and verifies its checksums.
pub(super) fn find(buffer: &[u8], offset: usize) -> Found {
    let rest = buffer.get(offset..).unwrap_or_default();
    let Some(head) = rest.first_chunk::<HEAD_BYTES>() else { return Found::Incomplete };
    let Some(head) = Head::from_bytes(head) else { return Found::Corrupt(None) };
    let Some(body) = rest.get(HEAD_BYTES..head.block_bytes()) else { return Found::Incomplete };
    if crc32fast::hash(body) != head.body_checksum {
        return Found::Corrupt(Some(head));
    }
    Found::Block(head, offset + HEAD_BYTES..offset + head.block_bytes())
}

/// The records of a body, first to last: where key and data lie in it. Ends early where a body is not one.
pub(super) fn records(body: &[u8]) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let head = body.get(at..)?.first_chunk::<RECORD_HEAD_BYTES>()?;
        let key_length = usize::from(u16::from_le_bytes(field(head, 0)?));
        let data_length = usize::try_from(u32::from_le_bytes(field(head, 2)?)).ok()?;
        let key = at + RECORD_HEAD_BYTES..at + RECORD_HEAD_BYTES + key_length;
        let data = key.end..key.end.checked_add(data_length)?;
        at = data.end;
        (at <= body.len()).then_some((key, data))
    })
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes.get_mut(at..at + value.len()).expect("a head is whole").copy_from_slice(value);
}

#[cfg(test)]
mod tests;
