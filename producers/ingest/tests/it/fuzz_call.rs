//! Any bytes as a call: a line with method and target, lines of headers, a blank line, the body.
//!
//! The fuzz target reads its inputs so too, and its corpus is run here.

use axum::body::Body;
use http::{HeaderName, HeaderValue, Method, Request, Uri};

/// The call that bytes stand for; none if they have no target that HTTP would carry.
pub(crate) fn call_of(bytes: &[u8]) -> Option<Request<Body>> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let (head, body) = (bytes.get(..end)?, bytes.get(end + 2..).unwrap_or_default());
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let target = Uri::try_from(words.next()?).ok()?;
    let mut request = Request::new(Body::from(body.to_vec()));
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':');
        let Some((name, value)) = colon.and_then(|colon| line.split_at_checked(colon)) else { continue };
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            request.headers_mut().append(name, value);
        }
    }
    (*request.method_mut(), *request.uri_mut()) = (method, target);
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::Rig;
    use crate::stream::Mode;

    #[tokio::test]
    async fn the_corpus_is_answered_without_a_fault_of_ours() {
        let rig = Rig::start(Mode::Take).await;
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/router");
        let mut statuses = std::collections::BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let request = call_of(&bytes).unwrap_or_else(|| panic!("{} is no call", path.display()));
            let answer = rig.call(request).await;
            assert!(answer.status.as_u16() < 500, "{}: {}", path.display(), answer.text);
            statuses.insert(answer.status.as_u16());
            // Cut anywhere, it is another call or none.
            for end in 0..bytes.len().min(400) {
                if let Some(request) = call_of(&bytes[..end]) {
                    let answer = rig.call(request).await;
                    assert!(answer.status.as_u16() < 500, "{} up to {end}: {}", path.display(), answer.text);
                }
            }
        }
        assert!(statuses.is_superset(&[200, 204, 400, 404, 405, 413, 415].into()), "{statuses:?}");
    }
}
