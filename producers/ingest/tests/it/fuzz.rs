//! The whole router against made-up calls: whatever comes, it answers, and never with a fault of its own.

use std::io::Write;

use axum::body::Body;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use http::{HeaderValue, Request};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::rig::{GOOD, Rig};
use crate::stream::Mode;

/// Printed by the assertion that fails; change it to look elsewhere.
const SEED: u64 = 20_261_122;
const CALLS: usize = 3_000;

const PATHS: [&str; 16] = [
    "/v1/ad_requests",
    "/v1/bid_requests",
    "/v1/bid_responses",
    "/v1/auctions",
    "/v1/win_notices",
    "/v1/loss_notices",
    "/v1/billing_notices",
    "/v1/proof_of_plays",
    "/v1/events",
    "/v1/events?type=auction",
    "/openrtb2/auction",
    "/v1/notices/burl",
    "/v1/notices/nurl?auction_id=a&auction_price=",
    "/v1/notices/lurl?sig=&tenant=demo&sig=00",
    "/problems/x",
    "/",
];

const SEEDS: [&str; 8] = [
    GOOD,
    r#"{"auction_id":"a","dsp_id":"d","outcome":"bid","response":{"id":"a","seatbid":[{"bid":[{"id":"b","impid":"1","price":1.5}]}]},"request":{"id":"a","imp":[{"id":"1"}]}}"#,
    r#"{"event_type":"proof_of_play","adunit_id":"u","imp_ts":1795000000000,"play_status":"completed"}"#,
    r#"{"id":"\ud800","imp":[{"id":"1","banner":{"w":1e308,"h":-0}}],"site":{},"tmax":18446744073709551615}"#,
    r#"{"id":"1","id":2,"imp":[{"id":"1","id":"2","video":null}],"app":[],"device":{"geo":{"lat":1e999}}}"#,
    r#"{"id":1e400,"imp":NaN,"x":Infinity}"#,
    "",
    "null",
];

const FRAGMENTS: [&str; 20] = [
    "{", "}", "[", "]", ",", ":", "\"", "\\u0000", "\\", "null", "-1", "1e999", "0.1", "\"imp\"", "\"id\"", "\n",
    "\r\n", "é", "\u{feff}", "true",
];

/// Bytes made from a seed by some changes.
fn mutated(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = SEEDS[random.random_range(0..SEEDS.len())].as_bytes().to_vec();
    for _ in 0..random.random_range(0..6) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.random()),
            2 => {
                let fragment = FRAGMENTS[random.random_range(0..FRAGMENTS.len())];
                bytes.splice(at..at, fragment.bytes());
            }
            3 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            4 => {
                let depth = random.random_range(0..3_000);
                bytes.splice(at..at, std::iter::repeat_n(b'[', depth));
            }
            _ => {
                let copy = bytes[at..].to_vec();
                bytes.extend(copy);
            }
        }
    }
    bytes
}

fn encoded(random: &mut StdRng, bytes: Vec<u8>) -> (Option<&'static str>, Vec<u8>) {
    let (name, mut encoded) = match random.random_range(0..8) {
        0 => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&bytes).unwrap();
            (Some("gzip"), encoder.finish().unwrap())
        }
        1 => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&bytes).unwrap();
            (Some("deflate"), encoder.finish().unwrap())
        }
        2 => (Some("zstd"), zstd::stream::encode_all(&bytes[..], 1).unwrap()),
        3 => (Some("br"), bytes),
        _ => (None, bytes),
    };
    if random.random_range(0..4) == 0 && !encoded.is_empty() && name.is_some() {
        let at = random.random_range(0..encoded.len());
        encoded[at] = random.random();
    }
    (name, encoded)
}

fn request(random: &mut StdRng) -> Request<Body> {
    let method = ["POST", "POST", "POST", "GET", "PUT", "HEAD"][random.random_range(0..6)];
    let path = PATHS[random.random_range(0..PATHS.len())];
    let mut builder = Request::builder().method(method);
    let tail: String = (0..random.random_range(0..20)).map(|_| char::from(random.random_range(b'!'..b'~'))).collect();
    let is_uri = |uri: &String| uri.parse::<http::Uri>().is_ok();
    let uri = Some(format!("{path}{}{tail}", if path.contains('?') { "&" } else { "?" })).filter(is_uri);
    builder = builder.uri(uri.unwrap_or_else(|| path.to_owned()));
    let bytes = mutated(random);
    let (encoding, bytes) = encoded(random, bytes);
    if let Some(encoding) = encoding {
        builder = builder.header("content-encoding", encoding);
    }
    if random.random_range(0..5) == 0 {
        let value: Vec<u8> = (0..random.random_range(0..30)).map(|_| random.random_range(0x20..0xff)).collect();
        let name = ["content-type", "content-encoding", "authorization", "x-api-key"][random.random_range(0..4)];
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            builder = builder.header(name, value);
        }
    }
    if random.random_range(0..3) > 0 {
        return builder.body(Body::from(bytes)).unwrap();
    }
    // Without a length, in pieces.
    let pieces: Vec<_> =
        bytes.chunks(random.random_range(1..64)).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    builder.body(Body::from_stream(futures::stream::iter(pieces))).unwrap()
}

#[tokio::test]
async fn whatever_comes_is_answered_and_never_with_a_fault_of_ours() {
    let rig = Rig::start(Mode::Take).await;
    let mut random = StdRng::seed_from_u64(SEED);
    let mut accepted = 0;
    for call in 0..CALLS {
        let request = request(&mut random);
        let shown = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
        let answer = rig.call(request).await;
        assert!(answer.status.as_u16() < 500, "call {call} of seed {SEED}: {shown}: {} {}", answer.status, answer.text);
        accepted += usize::from(answer.status.is_success());
    }
    assert!(accepted > CALLS / 20, "some of them are good: {accepted}");
    let counts = rig.ingest.counters();
    assert_eq!(u64::try_from(rig.events().len()).unwrap(), counts.accepted);
    assert_eq!(u64::try_from(rig.refused().len()).unwrap(), counts.refused_kept);
}

#[tokio::test]
async fn bodies_that_are_meant_to_hurt() {
    let rig = Rig::start(Mode::Take).await;
    let nested = |open: &str, close: &str, depth: usize| {
        let (open, close) = (open.repeat(depth), close.repeat(depth));
        GOOD.replace(r#""id":"r-1""#, &format!(r#""id":"r-1","x":{open}0{close}"#))
    };
    let keys: String = (0..20_000).map(|key| format!(r#""k{key}":1,"#)).collect();
    for (body, status) in [
        (nested("[", "]", 39), 200),
        (nested("[", "]", 40), 400),
        (nested("{\"a\":", "}", 10_000), 400),
        (GOOD.replace(r#""id":"r-1""#, r#""id":"r-0","id":"r-1""#), 200),
        (GOOD.replace(r#""id":"r-1""#, r#""id":"r-1","n":1e308,"m":123456789012345678901234567890"#), 200),
        (GOOD.replace(r#""id":"r-1""#, r#""id":"r-1","n":1e309"#), 400),
        (GOOD.replace(r#""id":"r-1""#, r#""id":"r-1","n":-NaN"#), 400),
        (GOOD.replace(r#""id":"r-1""#, r#""id":"\ud800""#), 400),
        (GOOD.replace(r#""id":"r-1""#, &format!(r#"{keys}"id":"r-1""#)), 200),
        (GOOD.replace("r-1", &"x".repeat(200_000)), 200),
        (GOOD.replace("r-1", &"x".repeat(300_000)), 413),
    ] {
        let answer = rig.post("/v1/ad_requests", body.clone()).await;
        assert_eq!(answer.status.as_u16(), status, "{:.90}: {}", body, answer.text);
    }
    let line = format!("{GOOD}\n{}\n{GOOD}", "x".repeat(10 << 20));
    rig.post("/v1/events", line).await.check_problem(413, "too-large");
    let within = format!("{GOOD}\n{}\n{GOOD}", "x".repeat(4_000_000));
    let answer = rig.post("/v1/events", within).await.json();
    assert_eq!((&answer["accepted"], &answer["results"][1]["status"]), (&2.into(), &413.into()));
}
