//! Bodies of every shape, against one set of rules.

use std::io::Write;

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
    let received = receive(&headers, body, rules(&memory)).await.map(|received| received.bytes);
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
        ("br", Err(Kind::UnsupportedEncoding)),
        ("zstd", Err(Kind::UnsupportedEncoding)),
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
    assert_eq!(unannounced.err(), Some(Kind::Overloaded));
    let also_held = receive(&headers, Body::from(vec![b' '; 3 * 1024]), rules(&memory)).await.unwrap();
    assert_eq!(receive(&headers, Body::from(" "), rules(&memory)).await.err(), Some(Kind::Overloaded));
    drop((held, also_held));
    assert!(receive(&headers, chunks(&[b"{}"]), rules(&memory)).await.is_ok());
}

proptest! {
    #[test]
    fn what_is_compressed_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
        let expect = if bytes.len() <= BYTES_MAX { Ok(Bytes::from(bytes.clone())) } else { Err(Kind::TooLarge) };
        prop_assert_eq!(decompress(&gzip(&bytes), BYTES_MAX), expect);
    }

    #[test]
    fn no_bytes_make_decompression_panic(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        let with_header = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], &bytes[..]].concat();
        for raw in [bytes, with_header] {
            if let Ok(decompressed) = decompress(&raw, BYTES_MAX) {
                prop_assert!(decompressed.len() <= BYTES_MAX);
            }
        }
    }
}
