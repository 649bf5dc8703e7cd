//! What a folder holds when it is opened: which files, how much of the last one is whole, and which number comes next.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::Read,
    path::Path,
};

use super::{Segment, make_segment, sync_folder};
use crate::spool::{
    SpoolError,
    segment::{self, HEAD_BYTES, Head, SegmentReader, Stop},
};

#[derive(Debug)]
pub(super) struct Recovered {
    /// Never empty, in the order of their numbers.
    pub(super) segments: VecDeque<Segment>,
    pub(super) next: u64,
    pub(super) cut_bytes: u64,
}

/// Makes the folder ready for writing. Nothing is changed before all files were found to be readable.
pub(super) fn recover(folder: &Path, done_below: u64) -> Result<Recovered, SpoolError> {
    let Listed { mut segments, torn } = list(folder)?;
    // Only the last file can be torn: the one before was complete when it was begun.
    for first in torn {
        let path = segment::path(folder, first);
        fs::remove_file(&path).map_err(SpoolError::io("delete", &path))?;
    }
    while let [first, second, ..] = segments.make_contiguous()
        && second.first <= done_below
    {
        let path = segment::path(folder, first.first);
        fs::remove_file(&path).map_err(SpoolError::io("delete", &path))?;
        segments.pop_front();
    }
    let Some(last) = segments.back_mut() else {
        let made = make_segment(folder, done_below)?;
        return Ok(Recovered { segments: VecDeque::from([made]), next: done_below, cut_bytes: 0 });
    };
    let end = scan(folder, *last)?;
    let cut_bytes = last.bytes.saturating_sub(end.bytes);
    if cut_bytes > 0 {
        let path = segment::path(folder, last.first);
        let file = OpenOptions::new().write(true).open(&path);
        let cut = file.and_then(|file| file.set_len(end.bytes).and_then(|()| file.sync_all()));
        cut.map_err(SpoolError::io("cut the torn end of", &path))?;
    }
    last.bytes = end.bytes;
    sync_folder(folder)?;
    Ok(Recovered { segments, next: end.next.max(done_below), cut_bytes })
}

/// The segment files of a folder.
struct Listed {
    /// In order.
    segments: VecDeque<Segment>,
    /// Those that hold not even a head.
    torn: Vec<u64>,
}

fn list(folder: &Path) -> Result<Listed, SpoolError> {
    let mut segments = Vec::new();
    let mut torn = Vec::new();
    for entry in fs::read_dir(folder).map_err(SpoolError::io("list", folder))? {
        let path = entry.map_err(SpoolError::io("list", folder))?.path();
        let Some(first) = segment::first_of(&path) else { continue };
        let file = File::open(&path).map_err(SpoolError::io("open", &path))?;
        let bytes = file.metadata().map_err(SpoolError::io("read", &path))?.len();
        let mut head = Vec::with_capacity(HEAD_BYTES);
        let limit = u64::try_from(HEAD_BYTES).unwrap_or(u64::MAX);
        (&file).take(limit).read_to_end(&mut head).map_err(SpoolError::io("read", &path))?;
        match segment::read_head(&head, first) {
            Head::Ours => segments.push(Segment { first, bytes }),
            Head::Torn => torn.push(first),
            Head::Foreign => return Err(SpoolError::Format { path }),
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(Listed { segments: segments.into(), torn })
}

struct End {
    bytes: u64,
    next: u64,
}

/// Where the whole frames of a file end.
fn scan(folder: &Path, segment: Segment) -> Result<End, SpoolError> {
    let mut reader = SegmentReader::open(folder, segment.first)?;
    let mut next = segment.first;
    let mut piece = Vec::new();
    loop {
        let stop = reader.read(segment.bytes, 1 << 20, &mut piece)?;
        if let Some(last) = piece.drain(..).next_back() {
            next = last.number + 1;
        }
        match stop {
            Stop::Piece => {}
            Stop::End => return Ok(End { bytes: segment.bytes, next }),
            Stop::Damaged(position) => return Ok(End { bytes: position, next }),
        }
    }
}
