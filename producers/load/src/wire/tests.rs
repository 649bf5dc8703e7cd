//! Answers as servers send them, whole and in pieces.

use proptest::prelude::*;

use super::*;

fn text(bytes: &[u8], whole: &Whole) -> String {
    let body = match &whole.body {
        Body::Plain(range) => &bytes[range.clone()],
        Body::Joined(joined) => joined,
    };
    String::from_utf8(body.to_vec()).unwrap()
}

/// The answer is found at its last byte and not before, and stands for its status, body and connection.
fn check(answer: &str, expect: (u16, &str, bool)) {
    let bytes = answer.as_bytes();
    for length in 0..bytes.len() {
        assert_eq!(read_answer(&bytes[..length], false), Ok(None), "{length} bytes of {answer:?}");
    }
    let whole = read_answer(bytes, false).unwrap().unwrap();
    assert_eq!((whole.status, text(bytes, &whole).as_str(), whole.keep_alive), expect, "{answer:?}");
    assert_eq!(whole.end, bytes.len());
    let with_more = [bytes, b"HTTP/1.1 "].concat();
    assert_eq!(read_answer(&with_more, false).unwrap().unwrap().end, bytes.len());
}

#[test]
fn answers_of_every_length() {
    check("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", (200, "{}", true));
    check("HTTP/1.1 204 No Content\r\n\r\n", (204, "", true));
    check("HTTP/1.1 503 x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", (503, "", false));
    check("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", (200, "", false));
    check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", (200, "x", true));
    check(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n",
        (200, "abc", true),
    );
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\nx: y\r\n\r\n", (200, "", true));
}

#[test]
fn an_answer_without_a_length_ends_with_the_connection() {
    let bytes = b"HTTP/1.1 200 OK\r\n\r\nabc";
    assert_eq!(read_answer(bytes, false), Ok(None));
    let whole = read_answer(bytes, true).unwrap().unwrap();
    assert_eq!((text(bytes, &whole).as_str(), whole.keep_alive), ("abc", false));
}

#[test]
fn what_is_no_answer_is_an_error() {
    for (bytes, expect) in [
        ("SSH-2.0-x\r\n", WireError::Syntax(httparse::Error::Version)),
        ("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", WireError::Length),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", WireError::TooLarge),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffff\r\n", WireError::TooLarge),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n", WireError::Length),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", WireError::Length),
    ] {
        assert_eq!(read_answer(bytes.as_bytes(), false), Err(expect), "{bytes:?}");
    }
}

#[test]
fn a_request_is_one_piece() {
    let mut out = b"left over".to_vec();
    write_request(&head_start("h:1", "/v1/events", "application/json"), b"{}", &mut out);
    let expect =
        "POST /v1/events HTTP/1.1\r\nhost: h:1\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(String::from_utf8(out).unwrap(), expect);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), is_closed: bool) {
        for head in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"] {
            let bytes = [head, &bytes].concat();
            if let Ok(Some(whole)) = read_answer(&bytes, is_closed) {
                prop_assert!(whole.end <= bytes.len());
            }
        }
    }
}
