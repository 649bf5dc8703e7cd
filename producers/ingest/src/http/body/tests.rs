//! Bodies of every shape, against one set of rules.

use std::io::Write;

use axum::body::Body;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use http::HeaderName;
use proptest::prelude::*;

use super::*;

const BYTES_MAX: usize = 4096;

fn rules(memory: &Semaphore) -> Rules<'_> {
    Rules { media_types: &["application/json"], bytes_max: BYTES_MAX, timeout: Duration::from_secs(5), memory }
}

async fn receive_with(headers: &[(HeaderName, &str)], body: Body) -> Result<Bytes, Kind> {
    let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
    let memory = memory(1 << 20);
    let received = receive(&headers, body, rules(&memory)).await;
    let received = received.map(|received| received.bytes).map_err(|failed| failed.kind);
    assert_eq!(memory.available_permits(), 1024, "all memory is given back");
    received
}

fn chunks(chunks: &[&'static [u8]]) -> Body {
    Body::from_stream(stream::iter(chunks.iter().map(|chunk| Ok::<_, std::io::Error>(*chunk)).collect::<Vec<_>>()))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn check_gzip(raw: Vec<u8>, expect: Result<&[u8], Kind>) {
    let received = receive_with(&[(header::CONTENT_ENCODING, "gzip")], Body::from(raw)).await;
    assert_eq!(received, expect.map(Bytes::copy_from_slice));
}

#[tokio::test]
async fn content_types() {
    let taken = Ok(Bytes::from_static(b"{}"));
    for (value, expect) in [
        ("application/json", taken.clone()),
        ("Application/JSON; charset=utf-8", taken.clone()),
        ("application/x-ndjson", Err(Kind::UnsupportedMediaType)),
        ("application/jsonx", Err(Kind::UnsupportedMediaType)),
        ("text/plain", Err(Kind::UnsupportedMediaType)),
        ("", Err(Kind::UnsupportedMediaType)),
    ] {
        assert_eq!(receive_with(&[(header::CONTENT_TYPE, value)], Body::from("{}")).await, expect, "{value}");
    }
    assert_eq!(receive_with(&[], Body::from("{}")).await, taken);
    let mut headers = HeaderMap::new();
    for _ in 0..2 {
        headers.append(header::CONTENT_TYPE, "application/json".parse().unwrap());
    }
    assert!(!is_media_type_taken(&headers, &["application/json"]));
}

#[tokio::test]
async fn encodings() {
    for (value, expect) in [
        ("identity", Ok(Bytes::from_static(b"{}"))),
        ("gzip, gzip", Err(Kind::UnsupportedEncoding)),
        ("compress", Err(Kind::UnsupportedEncoding)),
        ("br", Err(Kind::CorruptBody)),
        ("zstd", Err(Kind::CorruptBody)),
        ("deflate", Err(Kind::CorruptBody)),
        ("", Err(Kind::UnsupportedEncoding)),
    ] {
        assert_eq!(receive_with(&[(header::CONTENT_ENCODING, value)], Body::from("{}")).await, expect, "{value}");
    }
    let mut headers = HeaderMap::new();
    headers.append(header::CONTENT_ENCODING, "gzip".parse().unwrap());
    headers.append(header::CONTENT_ENCODING, "gzip".parse().unwrap());
    assert_eq!(encoding(&headers), None);
}

#[tokio::test]
async fn gzip_bodies() {
    check_gzip(gzip(b"{}"), Ok(b"{}")).await;
    check_gzip([gzip(b"{"), gzip(b"}")].concat(), Ok(b"{}")).await;
    check_gzip(gzip(&[b' '; BYTES_MAX]), Ok(&[b' '; BYTES_MAX])).await;
    check_gzip(gzip(&[b' '; BYTES_MAX + 1]), Err(Kind::TooLarge)).await;
    let bomb = gzip(&vec![b' '; 3 << 20]);
    assert!(bomb.len() < BYTES_MAX);
    check_gzip(bomb, Err(Kind::TooLarge)).await;
    let whole = gzip(b"{\"id\":\"1\"}");
    let truncated = whole[..whole.len() - 9].to_vec();
    check_gzip(truncated, Err(Kind::CorruptBody)).await;
    check_gzip(b"{}".to_vec(), Err(Kind::CorruptBody)).await;
    let mut wrong_checksum = whole.clone();
    let at = wrong_checksum.len() - 8;
    wrong_checksum[at] ^= 1;
    check_gzip(wrong_checksum, Err(Kind::CorruptBody)).await;
    check_gzip([whole, b"garbage".to_vec()].concat(), Err(Kind::CorruptBody)).await;
    check_gzip(vec![0; BYTES_MAX + 1], Err(Kind::TooLarge)).await;
}

/// `{"id":"1"}` as RFC 7932 has it: a window of 16 bits, one uncompressed meta-block of 10 bytes, the empty last one.
const BROTLI: &[u8] = b"\x90\x00\x10{\"id\":\"1\"}\x03";

#[test]
fn the_other_encodings() {
    let text = &b"{\"id\":\"1\"}"[..];
    let zlib = |text: &[u8]| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let bare = |text: &[u8]| {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |text: &[u8]| zstd::stream::encode_all(text, 3).unwrap();
    let large = vec![b' '; BYTES_MAX + 1];
    let check = |encoding, whole: Vec<u8>, bomb: Option<Vec<u8>>| {
        assert_eq!(decompress(encoding, &whole, BYTES_MAX).as_deref(), Ok(text), "{encoding:?}");
        for end in 1..whole.len() {
            let cut = decompress(encoding, &whole[..end], BYTES_MAX);
            assert!(cut.as_deref() != Ok(text) || end + 2 > whole.len(), "{encoding:?} cut at {end}");
        }
        if let Some(bomb) = bomb {
            assert_eq!(decompress(encoding, &bomb, BYTES_MAX), Err(Kind::TooLarge), "{encoding:?}");
        }
    };
    check(Encoding::Deflate, zlib(text), Some(zlib(&large)));
    check(Encoding::Deflate, bare(text), Some(bare(&large)));
    check(Encoding::Zstd, zstd(text), Some(zstd(&large)));
    check(Encoding::Brotli, BROTLI.to_vec(), None);
}

#[test]
fn the_ratio_is_bounded_above_a_free_size() {
    let zeros = |bytes: usize| zstd::stream::encode_all(&vec![b' '; bytes][..], 3).unwrap();
    let free = zeros(RATIO_FREE_BYTES);
    assert!(free.len() * RATIO_MAX < RATIO_FREE_BYTES);
    assert_eq!(decompress(Encoding::Zstd, &free, 4 << 20).map(|bytes| bytes.len()), Ok(RATIO_FREE_BYTES));
    assert_eq!(decompress(Encoding::Zstd, &zeros(RATIO_FREE_BYTES + 1), 4 << 20), Err(Kind::RatioTooLarge));
    assert_eq!(decompress(Encoding::Gzip, &gzip(&vec![b' '; 3 << 20]), 4 << 20), Err(Kind::RatioTooLarge));
}

#[tokio::test]
async fn bodies_in_many_frames() {
    assert_eq!(receive_with(&[], chunks(&[])).await, Ok(Bytes::new()));
    assert_eq!(
        receive_with(&[], chunks(&[b"", b"{", b"", b"\"a\":", b"1}"])).await,
        Ok(Bytes::from_static(b"{\"a\":1}"))
    );
    assert_eq!(receive_with(&[], chunks(&[&[b' '; BYTES_MAX]])).await, Ok(Bytes::from_static(&[b' '; BYTES_MAX])));
    assert_eq!(receive_with(&[], chunks(&[&[b' '; BYTES_MAX], b" "])).await, Err(Kind::TooLarge));
    assert_eq!(receive_with(&[], Body::from(vec![b' '; BYTES_MAX + 1])).await, Err(Kind::TooLarge));
    let broken = [Ok("{"), Err(std::io::Error::other("the sender went away"))];
    assert_eq!(receive_with(&[], Body::from_stream(stream::iter(broken))).await, Err(Kind::IncompleteBody));
}

#[tokio::test]
async fn the_rest_of_a_refused_body_is_read_unless_its_sender_waits_to_be_asked() {
    const FRAME: &[u8] = &[b' '; 64 * 1024];
    let refused_after_reading = async |frames: usize, headers: &[(HeaderName, &str)]| {
        let (read, mut counted) = tokio::sync::mpsc::unbounded_channel();
        let frames = (0..frames).map(move |_| {
            read.send(()).unwrap();
            Ok::<_, std::io::Error>(FRAME)
        });
        assert_eq!(receive_with(headers, Body::from_stream(stream::iter(frames))).await, Err(Kind::TooLarge));
        std::iter::from_fn(|| counted.try_recv().ok()).count()
    };
    assert_eq!(refused_after_reading(100, &[]).await, 100);
    assert_eq!(refused_after_reading(100, &[(header::EXPECT, "100-continue")]).await, 1);
    let at_most = 1 + DISCARD_BYTES_MAX / FRAME.len() + 1;
    assert_eq!(refused_after_reading(10_000, &[]).await, at_most, "patience ends");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_given_up() {
    let silent = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
    assert_eq!(receive_with(&[], silent).await, Err(Kind::SlowBody));
}

#[tokio::test]
async fn memory_is_bounded_by_what_is_announced() {
    let memory = memory(6 * 1024);
    let headers = HeaderMap::new();
    let held = receive(&headers, Body::from(vec![b' '; 3 * 1024]), rules(&memory)).await.unwrap();
    let unannounced = receive(&headers, chunks(&[b"{}"]), rules(&memory)).await;
    assert_eq!(unannounced.err().map(|failed| failed.kind), Some(Kind::Overloaded));
    let also_held = receive(&headers, Body::from(vec![b' '; 3 * 1024]), rules(&memory)).await.unwrap();
    let above = receive(&headers, Body::from(" "), rules(&memory)).await;
    assert_eq!(above.err().map(|failed| failed.kind), Some(Kind::Overloaded));
    drop((held, also_held));
    assert!(receive(&headers, chunks(&[b"{}"]), rules(&memory)).await.is_ok());
}

/// What is kept of a refused body, and how many bytes it is said to have had.
async fn kept(headers: &[(HeaderName, &str)], body: Body) -> (Kind, Bytes, usize) {
    let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
    let memory = memory(1 << 20);
    let failed = receive(&headers, body, rules(&memory)).await.unwrap_err();
    (failed.kind, failed.kept.clone(), failed.bytes)
}

#[tokio::test]
async fn what_is_refused_for_its_bytes_is_kept_as_it_came() {
    let gzip_header = [(header::CONTENT_ENCODING, "gzip")];
    let bomb = gzip(&vec![b' '; 3 << 20]);
    assert_eq!(kept(&gzip_header, Body::from("{}")).await, (Kind::CorruptBody, Bytes::from("{}"), 2));
    assert_eq!(
        kept(&gzip_header, Body::from(bomb.clone())).await,
        (Kind::TooLarge, Bytes::from(bomb.clone()), bomb.len())
    );
    let (kind, bytes, length) = kept(&[], chunks(&[&[b'a'; 3_000], &[b'b'; 3_000]])).await;
    assert_eq!((kind, bytes.len(), length), (Kind::TooLarge, 3_000, 3_000));
    let (kind, bytes, length) = kept(&[], Body::from(vec![b'a'; 100_000])).await;
    assert_eq!((kind, bytes.len(), length), (Kind::TooLarge, ANNOUNCED_KEPT_BYTES_MAX, 100_000));
    let (kind, bytes, length) = kept(&[(header::CONTENT_TYPE, "text/plain")], Body::from("{}")).await;
    assert_eq!((kind, bytes.len(), length), (Kind::UnsupportedMediaType, 0, 0));
}

proptest! {
    #[test]
    fn what_is_compressed_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
        let expect = if bytes.len() <= BYTES_MAX { Ok(Bytes::from(bytes.clone())) } else { Err(Kind::TooLarge) };
        prop_assert_eq!(decompress(Encoding::Gzip, &gzip(&bytes), BYTES_MAX), expect);
    }

    #[test]
    fn no_bytes_make_decompression_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        let with_header = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], &bytes[..]].concat();
        for raw in [bytes, with_header] {
            for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Brotli, Encoding::Zstd] {
                if let Ok(decompressed) = decompress(encoding, &raw, BYTES_MAX) {
                    prop_assert!(decompressed.len() <= BYTES_MAX);
                }
            }
        }
    }
}
