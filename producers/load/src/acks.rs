//! The acknowledged ids, written to a file as they come, so that a proof can be made after any crash.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Answers that may wait for the file; senders wait when it is full.
const WAITING_MAX: usize = 1_024;

/// The open file: ids go in, lines come out.
#[derive(Debug)]
pub(crate) struct Acks {
    sender: mpsc::Sender<Vec<u8>>,
    writer: JoinHandle<io::Result<()>>,
}

impl Acks {
    /// Opens the file to append to it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let writer = tokio::task::spawn_blocking(move || write(file, receiver));
        Ok(Self { sender, writer })
    }

    /// What a worker writes to.
    pub(crate) fn sender(&self) -> mpsc::Sender<Vec<u8>> {
        self.sender.clone()
    }

    /// Waits until everything is in the file, once all workers are gone.
    pub(crate) async fn close(self) -> io::Result<()> {
        drop(self.sender);
        self.writer.await.map_err(io::Error::other)?
    }
}

/// Each answer's ids are handed to the system at once: killing a process does not take back what was written.
fn write(mut file: File, mut receiver: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(mut lines) = receiver.blocking_recv() {
        while let Ok(more) = receiver.try_recv() {
            lines.extend_from_slice(&more);
        }
        file.write_all(&lines)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ids_are_appended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acks");
        for round in ["a\nb\n", "c\n"] {
            let acks = Acks::open(&path).unwrap();
            acks.sender().send(round.as_bytes().to_vec()).await.unwrap();
            acks.close().await.unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\nc\n");
        assert!(Acks::open(folder.path()).is_err());
    }
}
