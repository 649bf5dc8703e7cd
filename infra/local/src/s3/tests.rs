//! The store through its HTTP door: what it keeps, and who wins when many write at once.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};

use super::S3;
use crate::clock::Clock;
use crate::faults::{FaultRule, Faults};

async fn open() -> (tempfile::TempDir, S3) {
    let directory = tempfile::tempdir().unwrap();
    let s3 = S3::open(directory.path().join("s3")).await.unwrap();
    s3.create_bucket("bucket").await.unwrap();
    (directory, s3)
}

async fn send(
    s3: &S3,
    request: http::request::Builder,
    body: impl Into<Bytes>,
) -> (StatusCode, http::HeaderMap, Bytes) {
    let body = body.into();
    let request = request.header("content-length", body.len());
    let response = s3.handle(request.body(Full::new(body)).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
}

fn etag(headers: &http::HeaderMap) -> String {
    headers.get("etag").unwrap().to_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_object_comes_back_after_a_restart() {
    let (directory, s3) = open().await;
    let put = Request::put("/bucket/t/dt=2026-11-01/p%23.bin")
        .header("content-type", "text/plain")
        .header("x-amz-meta-by", "me")
        .header("authorization", "AWS4-HMAC-SHA256 Credential=AK/20261101/eu/s3/aws4_request, Signature=00");
    let (status, headers, _) = send(&s3, put, "hello world").await;
    assert_eq!((status, etag(&headers).as_str()), (StatusCode::OK, "\"5eb63bbbe01eeed093cb22bb8f5acdc3\""));
    drop(s3);

    let s3 = S3::open(directory.path().join("s3")).await.unwrap();
    let (status, headers, body) = send(&s3, Request::get("/bucket/t/dt=2026-11-01/p%23.bin"), "").await;
    assert_eq!((status, body.as_ref()), (StatusCode::OK, &b"hello world"[..]));
    assert_eq!(headers.get("content-type").unwrap(), "text/plain");
    assert_eq!(headers.get("x-amz-meta-by").unwrap(), "me");
    let ranged = Request::get("/bucket/t/dt=2026-11-01/p%23.bin").header("range", "bytes=6-7");
    let (status, headers, body) = send(&s3, ranged, "").await;
    assert_eq!((status, body.as_ref()), (StatusCode::PARTIAL_CONTENT, &b"wo"[..]));
    assert_eq!(headers.get("content-range").unwrap(), "bytes 6-7/11");
    assert_eq!(s3.get("bucket", "t/dt=2026-11-01/p#.bin", 100).await.unwrap(), "hello world");
}

#[tokio::test]
async fn conditions_of_writes_and_reads() {
    let (_directory, s3) = open().await;
    let put = |name: &'static str, value: String| Request::put("/bucket/k").header(name, value);
    let check = async |request: http::request::Builder, body: &'static str, expected: u16| {
        let (status, headers, _) = send(&s3, request, body).await;
        assert_eq!(status.as_u16(), expected);
        headers
    };
    check(put("if-match", "\"x\"".to_owned()), "0", 404).await;
    let first = etag(&check(put("if-none-match", "*".to_owned()), "1", 200).await);
    check(put("if-none-match", "*".to_owned()), "2", 412).await;
    let second = etag(&check(put("if-match", first.clone()), "3", 200).await);
    check(put("if-match", first.clone()), "4", 412).await;
    check(put("if-match", "*".to_owned()), "3", 200).await;
    assert_eq!(s3.get("bucket", "k", 9).await.unwrap(), "3");

    check(Request::get("/bucket/k").header("if-none-match", second.clone()), "", 304).await;
    check(Request::get("/bucket/k").header("if-match", second), "", 200).await;
    check(Request::get("/bucket/k").header("if-match", first), "", 412).await;
    check(Request::delete("/bucket/k"), "", 204).await;
    check(Request::delete("/bucket/k"), "", 204).await;
    check(Request::get("/bucket/k"), "", 404).await;
    check(Request::put("/none/k"), "", 404).await;
    check(Request::put("/bucket/k").header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA=="), "x", 400).await;
    check(Request::get("/bucket/k"), "", 404).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixteen_conditional_writers_one_wins() {
    let (_directory, s3) = open().await;
    for round in 0..8 {
        let writers: Vec<_> = (0..16)
            .map(|writer| {
                let s3 = s3.clone();
                tokio::spawn(async move {
                    let request = Request::put(format!("/bucket/race/{round}")).header("if-none-match", "*");
                    (writer, send(&s3, request, format!("writer {writer}")).await.0)
                })
            })
            .collect();
        let outcomes = futures::future::join_all(writers).await;
        let outcomes: Vec<(i32, StatusCode)> = outcomes.into_iter().map(Result::unwrap).collect();
        let winners: Vec<i32> =
            outcomes.iter().filter(|(_, status)| status.is_success()).map(|(writer, _)| *writer).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        assert!(outcomes.iter().all(|(_, status)| status.is_success() || *status == StatusCode::PRECONDITION_FAILED));
        let kept = s3.get("bucket", &format!("race/{round}"), 100).await.unwrap();
        assert_eq!(kept, format!("writer {}", winners[0]));
    }
}

#[tokio::test]
async fn an_upload_in_parts() {
    let (_directory, s3) = open().await;
    let (_, _, body) = send(&s3, Request::post("/bucket/big?uploads"), "").await;
    let body = String::from_utf8(body.to_vec()).unwrap();
    let id = body.split_once("<UploadId>").unwrap().1.split_once("</UploadId>").unwrap().0.to_owned();
    let mut tags = Vec::new();
    for (number, content) in [(1, vec![b'a'; 5 << 20]), (2, b"end".to_vec())] {
        let request = Request::put(format!("/bucket/big?partNumber={number}&uploadId={id}"));
        let (status, headers, _) = send(&s3, request, content).await;
        assert_eq!(status, StatusCode::OK);
        tags.push(etag(&headers));
    }
    let parts: String = tags
        .iter()
        .zip(1..)
        .map(|(tag, number)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"))
        .collect();
    let complete = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    s3.put("bucket", "big", Bytes::new(), super::PutOptions::default()).await.unwrap();
    let request = || Request::post(format!("/bucket/big?uploadId={id}"));
    let (status, _, _) = send(&s3, request().header("if-none-match", "*"), complete.clone()).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    let (status, _, answer) = send(&s3, request(), complete.clone()).await;
    assert_eq!(status, StatusCode::OK, "{answer:?}");
    assert!(String::from_utf8_lossy(&answer).contains("-2"), "{answer:?}");
    assert_eq!(s3.get("bucket", "big", 10 << 20).await.unwrap().len(), (5 << 20) + 3);
    assert_eq!(send(&s3, request(), complete).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_full_disk_refuses_parts_and_loses_none_that_was_taken() {
    let directory = tempfile::tempdir().unwrap();
    let (faults, clock) = (Faults::default(), Clock::default());
    let s3 = S3::open_with(directory.path().join("s3"), faults.clone(), clock.clone()).await.unwrap();
    s3.create_bucket("bucket").await.unwrap();
    let fill = |is_full: bool| {
        let rules: Vec<FaultRule> =
            serde_json::from_str(if is_full { r#"[{"kind":"disk_full"}]"# } else { "[]" }).unwrap();
        faults.set(rules, clock.now_ms()).unwrap();
    };
    let begin = async || send(&s3, Request::post("/bucket/big?uploads"), "").await;
    fill(true);
    assert_eq!(begin().await.0, StatusCode::SERVICE_UNAVAILABLE);
    fill(false);
    let (_, _, body) = begin().await;
    let body = String::from_utf8(body.to_vec()).unwrap();
    let id = body.split_once("<UploadId>").unwrap().1.split_once("</UploadId>").unwrap().0.to_owned();
    let put = async |number: u32, content: Vec<u8>| {
        send(&s3, Request::put(format!("/bucket/big?partNumber={number}&uploadId={id}")), content).await
    };
    let (status, first, _) = put(1, vec![b'a'; 5 << 20]).await;
    assert_eq!(status, StatusCode::OK);
    fill(true);
    assert_eq!(put(2, b"end".to_vec()).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(put(1, b"other".to_vec()).await.0, StatusCode::SERVICE_UNAVAILABLE);
    let part = |number: u32, tag: &str| format!("<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>");
    let complete = async |parts: String| {
        let request = Request::post(format!("/bucket/big?uploadId={id}"));
        send(&s3, request, format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")).await.0
    };
    assert_eq!(complete(part(1, &etag(&first))).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(send(&s3, Request::get("/bucket/big"), "").await.0, StatusCode::NOT_FOUND);
    fill(false);
    let (_, second, _) = put(2, b"end".to_vec()).await;
    assert_eq!(complete(part(1, &etag(&first)) + &part(2, &etag(&second))).await, StatusCode::OK);
    assert_eq!(s3.get("bucket", "big", 10 << 20).await.unwrap().len(), (5 << 20) + 3);
}

#[tokio::test]
async fn what_is_written_after_a_jump_of_the_clock_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::standing_at(1_700_000_000_000);
    let s3 = S3::open_with(directory.path().join("s3"), Faults::default(), clock.clone()).await.unwrap();
    s3.create_bucket("bucket").await.unwrap();
    let modified = async || {
        send(&s3, Request::put("/bucket/k").header("content-type", "text/plain"), "v").await;
        let (_, headers, _) = send(&s3, Request::head("/bucket/k"), "").await;
        assert_eq!(headers.get("content-type").unwrap(), "text/plain", "the description is of these bytes");
        headers.get("last-modified").unwrap().to_str().unwrap().to_owned()
    };
    assert_eq!(modified().await, "Tue, 14 Nov 2023 22:13:20 GMT");
    clock.jump(86_400_000);
    assert_eq!(modified().await, "Wed, 15 Nov 2023 22:13:20 GMT");
    clock.jump(-2 * 86_400_000);
    assert_eq!(modified().await, "Mon, 13 Nov 2023 22:13:20 GMT");
}

#[tokio::test]
async fn a_key_through_another_is_refused_clearly() {
    let (_directory, s3) = open().await;
    assert_eq!(send(&s3, Request::put("/bucket/a"), "1").await.0, StatusCode::OK);
    let (status, _, body) = send(&s3, Request::put("/bucket/a/b"), "2").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(String::from_utf8_lossy(&body).contains("cannot be both a file and a directory"));
    assert_eq!(send(&s3, Request::put("/bucket/d/e"), "3").await.0, StatusCode::OK);
    assert_eq!(send(&s3, Request::put("/bucket/d"), "4").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(send(&s3, Request::get("/bucket/d"), "").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn foreign_files_are_objects_and_leftovers_are_not() {
    let (directory, s3) = open().await;
    std::fs::write(s3.objects_dir().join("bucket/by-hand"), b"hello world").unwrap();
    let (_, headers, _) = send(&s3, Request::head("/bucket/by-hand"), "").await;
    assert_eq!(etag(&headers), "\"5eb63bbbe01eeed093cb22bb8f5acdc3\"");
    std::fs::write(directory.path().join("s3/temp/9.part"), b"half").unwrap();
    let s3 = S3::open(directory.path().join("s3")).await.unwrap();
    assert_eq!(std::fs::read_dir(directory.path().join("s3/temp")).unwrap().count(), 0);
    let (_, _, body) = send(&s3, Request::get("/bucket?list-type=2"), "").await;
    assert_eq!(String::from_utf8_lossy(&body).matches("<Contents>").count(), 1);
}
