//! How objects are compressed, in the containers that the service writes.

use std::io::{self, Write as _};

use flate2::Compression as Level;
use flate2::write::{DeflateEncoder, GzEncoder};

/// What opens a stream of `snappy-java`: its magic, its version and the oldest that reads it.
const SNAPPY_JAVA_HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
/// Bytes before compression that such a stream has in a block, and Hadoop's codec in one of its.
const SNAPPY_JAVA_BLOCK: usize = 32 << 10;
const HADOOP_BLOCK: usize = 256 << 10;

/// A `CompressionFormat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zip,
    Snappy,
    HadoopSnappy,
}

impl Compression {
    pub(super) fn read(name: &str) -> Option<Self> {
        Some(match name {
            "UNCOMPRESSED" => Self::None,
            "GZIP" => Self::Gzip,
            "ZIP" => Self::Zip,
            "Snappy" => Self::Snappy,
            "HADOOP_SNAPPY" => Self::HadoopSnappy,
            _ => return None,
        })
    }

    /// What objects' names end with.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zip => ".zip",
            Self::Snappy => ".snappy",
            Self::HadoopSnappy => ".hsnappy",
        }
    }

    /// Compresses an object's bytes. `name` is that of the one file in a ZIP archive.
    pub(super) fn apply(self, data: Vec<u8>, name: &str) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(data),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Level::new(6));
                encoder.write_all(&data)?;
                encoder.finish()
            }
            Self::Zip => zip(&data, name),
            Self::Snappy => snappy_java(&data),
            Self::HadoopSnappy => hadoop_snappy(&data),
        }
    }
}

/// A ZIP archive with one deflated file. Its sizes have 32 bits: a buffer has at most 128 MiB and a record.
fn zip(data: &[u8], name: &str) -> io::Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Level::new(6));
    encoder.write_all(data)?;
    let deflated = encoder.finish()?;
    let size = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
    let name_length = u16::try_from(name.len()).map_err(io::Error::other)?;
    // Version needed, flags, method (8 is deflate), time and date (1980-01-01).
    let mut entry = Vec::new();
    for number in [20_u16, 0, 8, 0, 33] {
        entry.extend_from_slice(&number.to_le_bytes());
    }
    for number in [crc32fast::hash(data), size(deflated.len())?, size(data.len())?] {
        entry.extend_from_slice(&number.to_le_bytes());
    }
    entry.extend_from_slice(&name_length.to_le_bytes());
    entry.extend_from_slice(&[0, 0]);
    let mut archive = [b"PK\x03\x04".as_slice(), &entry, name.as_bytes(), &deflated].concat();
    let directory_at = size(archive.len())?;
    archive.extend_from_slice(b"PK\x01\x02\x14\x00");
    archive.extend_from_slice(&entry);
    // Comment, disk, attributes within and without, and where the file begins: all zero.
    archive.extend_from_slice(&[0; 14]);
    archive.extend_from_slice(name.as_bytes());
    let directory_size = size(archive.len())? - directory_at;
    archive.extend_from_slice(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    archive.extend_from_slice(&directory_size.to_le_bytes());
    archive.extend_from_slice(&directory_at.to_le_bytes());
    archive.extend_from_slice(&[0, 0]);
    Ok(archive)
}

fn snappy_java(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = SNAPPY_JAVA_HEADER.to_vec();
    for block in data.chunks(SNAPPY_JAVA_BLOCK) {
        push_block(&mut stream, block)?;
    }
    Ok(stream)
}

fn hadoop_snappy(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = Vec::new();
    for block in data.chunks(HADOOP_BLOCK) {
        stream.extend_from_slice(&u32::try_from(block.len()).map_err(io::Error::other)?.to_be_bytes());
        push_block(&mut stream, block)?;
    }
    Ok(stream)
}

fn push_block(stream: &mut Vec<u8>, block: &[u8]) -> io::Result<()> {
    let packed = snap::raw::Encoder::new().compress_vec(block).map_err(io::Error::other)?;
    stream.extend_from_slice(&u32::try_from(packed.len()).map_err(io::Error::other)?.to_be_bytes());
    stream.extend_from_slice(&packed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::Compression;

    fn u32_at(bytes: &[u8], at: usize) -> usize {
        usize::try_from(u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())).unwrap()
    }

    #[test]
    fn blocks_of_snappy_come_back() {
        let data: Vec<u8> = (0..300_000_u32).flat_map(|number| (number / 7).to_le_bytes()).take(600_000).collect();
        let check = |compression: Compression, header: usize, has_length: bool, blocks: usize| {
            let packed = compression.apply(data.clone(), "").unwrap();
            let (mut at, mut found, mut count) = (header, Vec::new(), 0);
            while at < packed.len() {
                if has_length {
                    assert!(u32_at(&packed, at) <= 256 << 10);
                    at += 4;
                }
                let length = u32_at(&packed, at);
                found.extend(snap::raw::Decoder::new().decompress_vec(&packed[at + 4..at + 4 + length]).unwrap());
                (at, count) = (at + 4 + length, count + 1);
            }
            assert_eq!((found == data, count), (true, blocks), "{compression:?}");
        };
        check(Compression::Snappy, 16, false, 19);
        check(Compression::HadoopSnappy, 0, true, 3);
    }

    #[test]
    fn gzip_comes_back_and_nothing_stays_nothing() {
        let packed = Compression::Gzip.apply(b"hello".to_vec(), "").unwrap();
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
        assert_eq!(
            (text.as_str(), Compression::None.apply(b"hello".to_vec(), "").unwrap()),
            ("hello", b"hello".to_vec())
        );
        assert_eq!(Compression::read("SNAPPY"), None);
    }
}
