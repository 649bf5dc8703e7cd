//! A bounded log on disk for records that the stream does not take now: what it is asked to do, and how it can fail.
//!
//! Reading order: `core` decides, without any I/O, what to write, read and forget; `log` does it on files; `worker` is the
//! thread between them; `front` joins all that to the producer's task. `frame` and `segment` are the format.

mod core;
mod frame;
mod front;
mod log;
mod progress;
mod segment;
mod worker;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

pub use self::log::RejectedRecords;
pub(crate) use self::{
    core::Waiting,
    front::{Setting, Spool},
    log::{Log, Series},
    worker::Done,
};

/// Below this, segments would be too small to be worth their files.
const SPOOL_BYTES_MIN: u64 = 1 << 20;

/// A bounded log on disk, for what the stream does not take now.
///
/// A record that the log has taken is durable: its [`Delivery`](crate::Delivery) ends with
/// [`Delivered::Spooled`](crate::Delivered::Spooled) after `fsync`, it survives the end of the process, however that comes,
/// and it is sent to the stream later, in the order of its key, by this producer or the next one over the same folder.
///
/// With a log, half of `buffer_bytes_max` is kept for what is read back from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolConfig {
    /// The folder, made if it is missing. One producer at a time may use it.
    pub folder: PathBuf,
    /// Bytes on disk at most, 1 MiB or more. When they are used up, records are refused with [`SpoolError::Full`].
    pub bytes_max: u64,
    /// When records take the way over the disk.
    pub policy: SpoolPolicy,
}

/// When records take the way over the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolPolicy {
    /// Every record is on disk before its sender is told anything. One `fsync` is shared by all that came during the one
    /// before.
    Always,
    /// Only from when a record has waited this long for the stream, or three quarters of the buffer are taken, until all
    /// that was written is on its way. What waits in memory at that moment is written too, and its senders are told.
    WhenSlow {
        /// How long a record may wait for the stream before it goes to disk.
        after: Duration,
    },
}

impl SpoolConfig {
    /// A log in `folder` of at most 1 GiB, used from when a record has waited for one second.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        SpoolConfig {
            folder: folder.into(),
            bytes_max: 1 << 30,
            policy: SpoolPolicy::WhenSlow { after: Duration::from_secs(1) },
        }
    }

    pub(crate) fn has_room_to_work(&self) -> bool {
        self.bytes_max >= SPOOL_BYTES_MIN
    }

    /// Files are deleted one by one as they are drained, so they are a small part of the whole; but not so many that
    /// opening the folder takes long.
    pub(crate) fn segment_bytes(&self) -> u64 {
        (self.bytes_max / 8).clamp(64 << 10, 32 << 20)
    }
}

/// Why the log on disk did not take a record, or could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SpoolError {
    /// The bytes that it may use are used up. The record was not kept.
    #[error("the spool has no room: {bytes_max} bytes are in use")]
    Full {
        /// The limit.
        bytes_max: u64,
    },
    /// A file could not be written, read or made. A record that was to be written was not kept.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another producer uses the folder.
    #[error("{} is in use by another producer", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder holds files that this version cannot read. Nothing was touched.
    #[error("{} is not a spool file of version {}", path.display(), segment::VERSION)]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The thread that writes is gone.
    #[error("the spool's thread is gone")]
    Gone,
}

impl SpoolError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> SpoolError {
        let path = path.into();
        move |source| SpoolError::Io { action, path, source: Arc::new(source) }
    }
}
