//! The thread that works on the log's files, so that the producer's task never blocks. It does one job after the other, and
//! sleeps while there is none.

use std::{ops::Range, sync::mpsc, thread};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::spool::{
    SpoolError,
    log::{Log, Read},
};

/// What to do next. At most one job of each kind is under way, so the channels need no bound of their own.
#[derive(Debug)]
pub(crate) enum Job {
    /// Make frames durable.
    Append { numbers: Range<u64>, frames: Vec<u8> },
    /// Read on, about so many bytes.
    Read { bytes_max: usize },
    /// Every record below this number was stored.
    Drained { below: u64 },
    /// The stream refuses these for good.
    Reject { numbers: Vec<u64> },
}

/// What became of a job.
#[derive(Debug)]
pub(crate) enum Done {
    Appended {
        numbers: Range<u64>,
        /// The buffer of the frames, to be used again.
        frames: Vec<u8>,
        result: Result<(), SpoolError>,
        disk_bytes: u64,
    },
    Read(Result<Read, SpoolError>),
    Drained {
        below: u64,
        result: Result<(), SpoolError>,
        disk_bytes: u64,
    },
    Rejected {
        numbers: Vec<u64>,
        result: Result<(), SpoolError>,
        disk_bytes: u64,
    },
}

/// The thread's two ends.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) done: UnboundedReceiver<Done>,
}

/// Starts the thread. It ends when the sender of jobs is dropped, and closes the log before the last receiver learns of it.
pub(crate) fn start(mut log: Log) -> Result<Worker, SpoolError> {
    let (jobs, inbox) = mpsc::channel();
    let (outbox, done) = unbounded_channel();
    let run = move || {
        work(&mut log, &inbox, &outbox);
        drop(log);
        drop(outbox);
    };
    let thread = thread::Builder::new().name("kinesis-spool".into()).spawn(run);
    // It is not joined: that the outbox is closed tells that it has ended.
    drop(thread.map_err(SpoolError::io("start the thread of", "spool"))?);
    Ok(Worker { jobs, done })
}

fn work(log: &mut Log, inbox: &mpsc::Receiver<Job>, outbox: &UnboundedSender<Done>) {
    for job in inbox {
        let done = match job {
            Job::Append { numbers, mut frames } => {
                let result = log.append(&numbers, &frames);
                frames.clear();
                Done::Appended { numbers, frames, result, disk_bytes: log.disk_bytes() }
            }
            Job::Read { bytes_max } => Done::Read(log.read(bytes_max)),
            Job::Drained { below } => {
                let result = log.drained(below);
                Done::Drained { below, result, disk_bytes: log.disk_bytes() }
            }
            Job::Reject { numbers } => {
                let result = log.reject(&numbers);
                Done::Rejected { numbers, result, disk_bytes: log.disk_bytes() }
            }
        };
        if outbox.send(done).is_err() {
            return;
        }
    }
}
