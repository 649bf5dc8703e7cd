//! The canonical form of a request, which is what is signed.

use std::fmt::Write as _;

use http::HeaderMap;

use super::Head;

/// The canonical request. `signed` are header names in lower case, sorted; `payload` is the hash or the word for it.
pub(super) fn request(is_s3: bool, head: Head<'_>, signed: &[String], payload: &str) -> String {
    let path = if is_s3 { encode(&decode(head.uri.path(), false), true) } else { normal_path(head.uri.path()) };
    let mut text = format!("{}\n{path}\n{}\n", head.method, query(head.uri.query().unwrap_or_default()));
    for name in signed {
        let values = header_values(head, name);
        let _written = writeln!(text, "{name}:{values}");
    }
    let _written = write!(text, "\n{}\n{payload}", signed.join(";"));
    text
}

/// All values of a header, trimmed, with single spaces, joined by commas. HTTP/2 names the host elsewhere.
fn header_values(head: Head<'_>, name: &str) -> String {
    let headers: &HeaderMap = head.headers;
    if name == "host" && !headers.contains_key("host") {
        return head.uri.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
    }
    let one = |value: &http::HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes());
        text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
    };
    headers.get_all(name).iter().map(one).collect::<Vec<_>>().join(",")
}

/// Services other than S3: `.`, `..` and empty segments resolved, then what is encoded already is encoded again.
fn normal_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let slash = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    encode(format!("/{}{slash}", segments.join("/")).as_bytes(), true)
}

/// The parameters but for the signature, encoded, sorted by name and value.
fn query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encode(&decode(name, true), false), encode(&decode(value, true), false)))
        .filter(|(name, _)| name != "X-Amz-Signature")
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// Percent-encodes all but the unreserved characters, and `/` where it is to stay.
fn encode(bytes: &[u8], keeps_slashes: bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        let is_plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        if is_plain || (keeps_slashes && *byte == b'/') {
            text.push(char::from(*byte));
        } else {
            let _written = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Undoes percent-encoding; what is not well encoded stays. In a query, `+` is a space.
pub(super) fn decode(text: &str, is_query: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let pair = tail.first_chunk::<2>().filter(|_| *byte == b'%');
        let digits = pair.and_then(|pair| Some((hex_digit(pair[0])?, hex_digit(pair[1])?)));
        match digits {
            Some((high, low)) => {
                bytes.push(high * 16 + low);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(if is_query && *byte == b'+' { b' ' } else { *byte });
                rest = tail;
            }
        }
    }
    bytes
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries() {
        for (path, expected) in [
            ("/", "/"),
            ("", "/"),
            ("/a/./b/../c/", "/a/c/"),
            ("//a//b", "/a/b"),
            ("/2015-03-31/functions/arn%3Aaws", "/2015-03-31/functions/arn%253Aaws"),
            ("/../..", "/"),
        ] {
            assert_eq!(normal_path(path), expected, "{path}");
        }
        for (text, expected) in [
            ("", ""),
            ("b=2&a=1&a=0", "a=0&a=1&b=2"),
            ("list-type=2&prefix=a%2Fb+c&acl", "acl=&list-type=2&prefix=a%2Fb%20c"),
            ("X-Amz-Signature=00&x=%7e%", "x=~%25"),
            ("key=%e2%82%ac", "key=%E2%82%AC"),
        ] {
            assert_eq!(query(text), expected, "{text}");
        }
        assert_eq!(encode(&decode("/b/a b%20c+%", false), true), "/b/a%20b%20c%2B%25");
    }
}
