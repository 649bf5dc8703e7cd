//! Requests that botocore has signed, the service's own example of signed chunks, and what is refused.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::*;

/// Made with botocore 1.43.11, `botocore.auth`, its clock standing at 2026-11-22 17:00:00 UTC.
const BOTOCORE: &str = include_str!("tests/botocore.json");
const NOW_MS: i64 = 1_795_366_800_000;
const MINUTE_MS: i64 = 60_000;
const PAIR: (&str, &str) = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");

#[derive(Debug, Clone, Deserialize)]
struct Vector {
    name: String,
    service: String,
    method: String,
    uri: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Vector {
    fn verify(&self, keys: &KeyRing, now_ms: i64) -> Result<Payload, Refusal> {
        let names = ["kinesis", "lambda", "s3"];
        let name = names.into_iter().find(|name| *name == self.service).unwrap();
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (HeaderName::try_from(name).unwrap(), HeaderValue::from_str(value).unwrap()));
        let (uri, headers, method) =
            (self.uri.parse().unwrap(), headers.collect(), Method::from_bytes(self.method.as_bytes()).unwrap());
        let head = Head { method: &method, uri: &uri, headers: &headers };
        let body = (name != "s3").then_some(self.body.as_bytes());
        verify(keys, Service { name }, head, body, now_ms)
    }

    fn with(&self, header: &str, value: &str) -> Self {
        let mut changed = self.clone();
        changed.headers.insert(header.to_owned(), value.to_owned());
        changed
    }
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(BOTOCORE).unwrap()
}

fn vector(name: &str) -> Vector {
    vectors().into_iter().find(|vector| vector.name == name).unwrap()
}

#[test]
fn what_botocore_signs_is_admitted_and_nothing_else() {
    let (keys, others) = (KeyRing::of([PAIR]), KeyRing::of([(PAIR.0, "another secret")]));
    for vector in vectors() {
        let name = &vector.name;
        vector.verify(&keys, NOW_MS).unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        let is_mismatch = |result| matches!(result, Err(Refusal::Mismatch { .. }));
        assert!(is_mismatch(vector.verify(&others, NOW_MS)), "{name}");
        assert!(
            is_mismatch(Vector { uri: format!("/x{}", vector.uri), ..vector.clone() }.verify(&keys, NOW_MS)),
            "{name}"
        );
        assert!(is_mismatch(Vector { method: "DELETE".to_owned(), ..vector.clone() }.verify(&keys, NOW_MS)), "{name}");
        assert!(is_mismatch(vector.with("host", "elsewhere").verify(&keys, NOW_MS)), "{name}");
        if vector.service != "s3" {
            let changed = Vector { body: "{ }".to_owned(), ..vector.clone() };
            assert!(is_mismatch(changed.verify(&keys, NOW_MS)), "{name}");
        }
        let unknown = vector.verify(&KeyRing::default(), NOW_MS);
        assert_eq!(unknown.unwrap_err(), Refusal::UnknownKey { access_key: PAIR.0.to_owned() }, "{name}");
    }
}

#[test]
fn a_signature_is_good_for_some_minutes() {
    let keys = KeyRing::of([PAIR]);
    let check = |name: &str, minutes: i64, expected: fn(&Refusal) -> bool| {
        let verdict = |now_ms| vector(name).verify(&keys, now_ms);
        assert!(verdict(NOW_MS + minutes * MINUTE_MS).is_ok(), "{name}");
        assert!(verdict(NOW_MS + minutes * MINUTE_MS + 1_000).is_err_and(|refusal| expected(&refusal)), "{name}");
    };
    check("kinesis json", 5, |refusal| matches!(refusal, Refusal::Expired { .. }));
    check("s3 get", 15, |refusal| matches!(refusal, Refusal::Expired { .. }));
    check("kinesis presigned", 1, |refusal| *refusal == Refusal::Ended);
    check("s3 presigned", 60, |refusal| *refusal == Refusal::Ended);
    let early = vector("kinesis json").verify(&keys, NOW_MS - 5 * MINUTE_MS - 1_000).unwrap_err();
    let expected = "Signature not yet current: 20261122T170000Z is still later than 20261122T165959Z \
                    (20261122T165459Z + 5 min.)";
    assert_eq!(early.to_string(), expected);
    let late = vector("kinesis json").verify(&keys, NOW_MS + 6 * MINUTE_MS).unwrap_err();
    let expected = "Signature expired: 20261122T170000Z is now earlier than 20261122T170100Z \
                    (20261122T170600Z - 5 min.)";
    assert_eq!(late.to_string(), expected);
}

#[test]
fn what_is_missing_or_malformed_is_named() {
    let keys = KeyRing::of([PAIR]);
    let good = vector("kinesis json");
    let authorization = good.headers.get("authorization").unwrap().clone();
    let check = |from: &str, to: &str, expected: &str| {
        let changed = good.with("authorization", &authorization.replace(from, to));
        let refusal = changed.verify(&keys, NOW_MS).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{from} -> {to}: {refusal}");
    };
    check("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", "not supported");
    check("Credential=", "Credentials=", "requires 'Credential'");
    check("/us-east-1/", "/eu-west-1/", "a valid region: 'us-east-1'");
    check("/kinesis/", "/firehose/", "correct service: 'kinesis'");
    check("aws4_request", "aws5_request", "aws4_request");
    check("20261122/", "20261121/", "does not match YYYYMMDD");
    check("AKIDEXAMPLE/20261122/us-east-1/", "", "5 slash-delimited elements");
    check("host;", "", "not signed: host");
    check("Signature=98", "Signature=zz", "64 hexadecimal digits");
    let mut bare = good.clone();
    bare.headers.remove("authorization");
    assert_eq!(bare.verify(&keys, NOW_MS).unwrap_err(), Refusal::Missing);
    let mut timeless = good.clone();
    timeless.headers.remove("x-amz-date");
    assert!(timeless.verify(&keys, NOW_MS).unwrap_err().to_string().contains("'X-Amz-Date'"));
    let extra = vector("s3 get").with("x-amz-acl", "private").verify(&keys, NOW_MS).unwrap_err();
    assert_eq!(extra, Refusal::NotSigned { name: "x-amz-acl".to_owned() });
}

#[test]
fn a_put_says_what_its_body_has_to_be() {
    let keys = KeyRing::of([PAIR]);
    match vector("s3 put").verify(&keys, NOW_MS).unwrap() {
        Payload::Sha256(hash) => assert_eq!(hash, Digest::from(Sha256::digest(b"hello"))),
        other @ (Payload::Checked | Payload::Chunks(_)) => panic!("{other:?}"),
    }
    assert!(matches!(vector("s3 presigned").verify(&keys, NOW_MS), Ok(Payload::Checked)));
}

/// The example in the service's documentation, "Signature calculations for the Authorization header: transferring
/// payload in multiple chunks".
#[test]
fn the_chain_of_chunks_is_the_documented_one() {
    let scope = ["20130524", "us-east-1", "s3", "aws4_request"];
    let mut key = b"AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_vec();
    for part in scope {
        key = hmac(&key, part.as_bytes()).to_vec();
    }
    let seed = unhex("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9").unwrap();
    let new =
        || ChunkSigner::new(key.clone().try_into().unwrap(), "20130524T000000Z".to_owned(), scope.join("/"), seed);
    let chunks = [
        (65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
        (1_024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
        (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
    ];
    let mut signer = new();
    for (bytes, signature) in chunks {
        signer.update(&vec![b'a'; bytes]);
        assert!(signer.ends_chunk(signature), "{bytes}");
    }
    let mut signer = new();
    signer.update(&vec![b'a'; 65_535]);
    assert!(!signer.ends_chunk(chunks[0].1));
    assert!(!new().ends_chunk("") && !new().ends_trailers("zz"));
}
