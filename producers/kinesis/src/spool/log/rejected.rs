//! Records of the log that the stream refuses for good: they were acknowledged, so they are kept, for a person to decide on.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use crate::{
    record::Record,
    spool::{
        SpoolError,
        frame::encode,
        segment::{self, Head, Numbered, SegmentReader, Stop},
    },
};

const NAME: &str = "rejected";

/// The file of rejected records, made with the first one. It counts as used space, so it is bounded as the log is.
#[derive(Debug)]
pub(super) struct Rejected {
    path: PathBuf,
    bytes: u64,
}

impl Rejected {
    pub(super) fn open(folder: &Path) -> Result<Self, SpoolError> {
        let path = folder.join(NAME);
        let bytes = match path.metadata() {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => return Err(SpoolError::io("read", path)(error)),
        };
        Ok(Rejected { path, bytes })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn write(&mut self, record: &Numbered) -> Result<(), SpoolError> {
        let mut bytes = if self.bytes == 0 { segment::head(0) } else { Vec::new() };
        encode(record.number, &record.record, record.sent_as.as_ref(), &mut bytes);
        let written = self.file().and_then(|mut file| file.write_all(&bytes));
        written.map_err(SpoolError::io("write", &self.path))?;
        self.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), SpoolError> {
        self.file().and_then(|file| file.sync_all()).map_err(SpoolError::io("write", &self.path))
    }

    fn file(&self) -> std::io::Result<File> {
        OpenOptions::new().append(true).create(true).open(&self.path)
    }
}

/// The records that the stream refused for good after the spool had acknowledged them, in the order of their refusal. They
/// lie in the file `rejected` of the spool's folder; deleting it, while no producer uses the folder, frees its space.
///
/// Reading ends at bytes that are no record, which a crash can leave at the end.
#[derive(Debug)]
pub struct RejectedRecords {
    reader: Option<(SegmentReader, u64)>,
    piece: std::vec::IntoIter<Numbered>,
}

impl RejectedRecords {
    /// Opens the file in the folder of a spool; nothing was rejected if there is none.
    ///
    /// # Errors
    /// When the file is there and cannot be read, or has another format.
    pub fn open(folder: &Path) -> Result<Self, SpoolError> {
        let path = folder.join(NAME);
        let piece = Vec::new().into_iter();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(RejectedRecords { reader: None, piece });
            }
            Err(error) => return Err(SpoolError::io("open", path)(error)),
        };
        let mut head = Vec::new();
        let limit = u64::try_from(segment::HEAD_BYTES).unwrap_or(u64::MAX);
        (&file).take(limit).read_to_end(&mut head).map_err(SpoolError::io("read", &path))?;
        let bytes = file.metadata().map_err(SpoolError::io("read", &path))?.len();
        let reader = match segment::read_head(&head, 0) {
            Head::Ours => Some((SegmentReader::open_path(path, 0)?, bytes)),
            Head::Torn => None,
            Head::Foreign => return Err(SpoolError::Format { path }),
        };
        Ok(RejectedRecords { reader, piece })
    }
}

impl Iterator for RejectedRecords {
    type Item = Result<Record, SpoolError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(next) = self.piece.next() {
            return Some(Ok(next.record));
        }
        let (mut reader, bytes) = self.reader.take()?;
        let mut piece = Vec::new();
        match reader.read(bytes, 1 << 20, &mut piece) {
            Ok(Stop::Piece) => self.reader = Some((reader, bytes)),
            Ok(Stop::End | Stop::Damaged(_)) => {}
            Err(error) => return Some(Err(error)),
        }
        self.piece = piece.into_iter();
        self.piece.next().map(|next| Ok(next.record))
    }
}
