//! Golden bytes in both directions, round trips, and bytes of any kind.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize, Serializer};

use super::*;

/// A time, as services write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct Time(i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(TIMESTAMP, &self.0)
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    text: String,
    list: Vec<i64>,
    map: BTreeMap<String, String>,
    float: f64,
    flag: bool,
    none: Option<u8>,
    time: Time,
}

#[derive(Debug, Deserialize)]
struct Jackson<'a> {
    a: String,
    b: (u8, f64),
    #[serde(borrow)]
    c: std::borrow::Cow<'a, [u8]>,
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn the_bytes_are_golden() {
    let value = Everything {
        text: "é".to_owned(),
        list: vec![0, 23, 24, 255, 256, 65_535, 65_536, 4_294_967_296, -1, -25, i64::MIN],
        map: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        float: 1.5,
        flag: true,
        none: None,
        time: Time(1_700_000_000_123),
    };
    let golden = hex(
        "a7 64 74657874 62 c3a9  64 6c697374 8b 00 17 1818 18ff 190100 19ffff 1a00010000 1b0000000100000000 20 3818 \
         3b7fffffffffffffff  63 6d6170 a1 6161 6162  65 666c6f6174 fb3ff8000000000000  64 666c6167 f5  64 6e6f6e65 f6 \
         64 74696d65 c1 1b0000018bcfe5687b",
    );
    assert_eq!(to_vec(&value).unwrap(), golden);
    assert_eq!(from_slice::<Everything>(&golden).unwrap(), value);
}

#[test]
fn what_jackson_writes_is_read() {
    // Indefinite map, array, text in two pieces and bytes in two pieces.
    let bytes = hex("bf 61 61 7f 6162 6163 ff 61 62 9f 01 f97e00 ff 61 63 5f 41 01 42 02 03 ff ff");
    let read: Jackson<'_> = from_slice(&bytes).unwrap();
    assert_eq!((read.a.as_str(), read.b.0), ("bc", 1));
    assert!(read.b.1.is_nan());
    assert_eq!(*read.c, [1, 2, 3]);
}

#[test]
fn halves() {
    for (bits, value) in
        [("f90000", 0.0), ("f93c00", 1.0), ("f93e00", 1.5), ("f97bff", 65_504.0), ("f98001", -5.960_464_477_539_063e-8)]
    {
        assert!((from_slice::<f64>(&hex(bits)).unwrap() - value).abs() < 1e-12, "{bits}");
    }
}

#[test]
fn other_bytes_are_refused() {
    let check = |text: &str, expected: CborError| {
        assert_eq!(from_slice::<serde_json::Value>(&hex(text)), Err(expected), "{text}");
    };
    check("", CborError::Truncated);
    check("62 61", CborError::Truncated);
    check("1b 00", CborError::Truncated);
    check("9b ffffffffffffffff", CborError::Truncated);
    check("5b ffffffffffffffff 00", CborError::Truncated);
    check("01 02 03", CborError::Trailing { bytes: 2 });
    check("1c", CborError::Unexpected { byte: 0x1c });
    check("ff", CborError::Unexpected { byte: 0xff });
    check("df 01", CborError::Unexpected { byte: 0xdf });
    check("f8 20", CborError::Unexpected { byte: 0xf8 });
    check("7f 41 61 ff", CborError::Unexpected { byte: 0x41 });
    check("61 ff", CborError::NotText);
    check("3b ffffffffffffffff", CborError::OutOfRange);
    check(&"81".repeat(100_000), CborError::TooDeep);
    check(&"9f".repeat(100_000), CborError::TooDeep);
    check(&"c1".repeat(100_000), CborError::Truncated);
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<u64>().prop_map(serde_json::Value::from),
        (-1e300..1e300).prop_map(serde_json::Value::from),
        "\\PC{0,300}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(serde_json::Value::from),
            proptest::collection::btree_map("\\PC{0,30}", inner, 0..8)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(value in json()) {
        prop_assert_eq!(from_slice::<serde_json::Value>(&to_vec(&value).unwrap()), Ok(value));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _any = from_slice::<serde_json::Value>(&bytes);
        let _typed = from_slice::<Everything>(&bytes);
    }

    #[test]
    fn no_damaged_item_panics(value in json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = to_vec(&value).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _read = from_slice::<serde_json::Value>(&bytes);
        let _cut = from_slice::<serde_json::Value>(&bytes[..at]);
    }
}
