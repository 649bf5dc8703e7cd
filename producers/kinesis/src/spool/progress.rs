//! How far the log is drained: a file of two slots, written in turn, so that a torn write leaves the other one.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::spool::SpoolError;

/// Slots lie in different sectors, so that one write cannot tear both.
const SLOT_DISTANCE: u64 = 4096;

/// Generation, number, CRC-32 of both.
const SLOT_BYTES: usize = 8 + 8 + 4;

/// Every record with a lower number has been stored by the stream.
#[derive(Debug)]
pub(crate) struct Progress {
    file: File,
    path: PathBuf,
    generation: u64,
    pub(crate) number: u64,
}

impl Progress {
    pub(crate) fn open(folder: &Path) -> Result<Self, SpoolError> {
        let path = folder.join("progress");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(SpoolError::io("open", &path))?;
        let mut bytes = Vec::new();
        (&file).take(2 * SLOT_DISTANCE).read_to_end(&mut bytes).map_err(SpoolError::io("read", &path))?;
        let second = bytes.get(usize::try_from(SLOT_DISTANCE).unwrap_or(usize::MAX)..).unwrap_or_default();
        let newest = [parse(&bytes), parse(second)].into_iter().flatten().max();
        let (generation, number) = newest.unwrap_or_default();
        Ok(Progress { file, path, generation, number })
    }

    /// Makes `number` durable.
    pub(crate) fn write(&mut self, number: u64) -> Result<(), SpoolError> {
        let generation = self.generation + 1;
        let slot = encode(generation, number);
        let at = generation % 2 * SLOT_DISTANCE;
        let written = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.write_all(&slot));
        written.and_then(|()| self.file.sync_data()).map_err(SpoolError::io("write", &self.path))?;
        (self.generation, self.number) = (generation, number);
        Ok(())
    }
}

fn encode(generation: u64, number: u64) -> Vec<u8> {
    let mut slot = Vec::with_capacity(SLOT_BYTES);
    slot.extend_from_slice(&generation.to_le_bytes());
    slot.extend_from_slice(&number.to_le_bytes());
    slot.extend_from_slice(&crc32fast::hash(&slot).to_le_bytes());
    slot
}

/// Generation and number, if the slot is whole.
fn parse(bytes: &[u8]) -> Option<(u64, u64)> {
    let slot = bytes.get(..SLOT_BYTES)?;
    let (generation, rest) = slot.split_first_chunk()?;
    let (number, _) = rest.split_first_chunk()?;
    let (generation, number) = (u64::from_le_bytes(*generation), u64::from_le_bytes(*number));
    (slot == encode(generation, number)).then_some((generation, number))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Progress;

    #[test]
    fn the_newest_whole_slot_counts() {
        let folder = tempfile::tempdir().unwrap();
        let mut progress = Progress::open(folder.path()).unwrap();
        assert_eq!(progress.number, 0);
        for number in [5, 9, 12] {
            progress.write(number).unwrap();
            assert_eq!(Progress::open(folder.path()).unwrap().number, number);
        }
        // The third generation lies in the second slot; tear it.
        let path = folder.path().join("progress");
        let mut bytes = fs::read(&path).unwrap();
        bytes[4096 + 9] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(Progress::open(folder.path()).unwrap().number, 9);
        fs::write(&path, &bytes[..10]).unwrap();
        assert_eq!(Progress::open(folder.path()).unwrap().number, 0);
    }
}
