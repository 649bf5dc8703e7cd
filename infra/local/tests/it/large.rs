//! Events larger than a record of a stream, from outside: posted, enriched, staged, asked for by SQL.

use futures::TryStreamExt as _;
use millrace::names;
use object_store::ObjectStoreExt as _;

use crate::running::Running;

/// A request of so many bytes with `imps` imps, each of which the enrichment adds to.
fn request(id: &str, imps: usize, bytes: usize) -> String {
    let imps: Vec<String> =
        (0..imps).map(|imp| format!(r#"{{"id":"{imp}","tagid":"berlin-1","banner":{{}}}}"#)).collect();
    let start = format!(r#"{{"id":"{id}","imp":[{}],"dooh":{{"id":"berlin-1"}},"ext":{{"x":""#, imps.join(","));
    let filling = "ü".repeat((bytes - start.len() - 3) / 2);
    format!("{start}{filling}\"}}}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_event_is_a_row_with_all_its_bytes() {
    let running = Running::start().await;
    let large = request("large", 1, 3 << 20);
    // Fits a record as it is received, and not with what is known of its imps.
    let wide = request("wide", 3_000, 900 << 10);
    for body in [&large, &wide, &large, &request("small", 1, 500)] {
        assert_eq!(running.post(body).await, 200);
    }
    running.drain().await;
    let rows = running.sql("SELECT auction_id, body, body_bytes FROM ad_requests ORDER BY 1").await;
    let row = |at: usize| (rows[at][0].as_deref().expect("an id"), rows[at][1].as_deref().expect("a body"));
    assert_eq!(rows.len(), 3);
    assert!(row(0) == ("large", large.as_str()), "the body is another");
    assert!(row(2) == ("wide", wide.as_str()), "the body is another");
    assert_eq!(rows[0][2].as_deref(), Some(large.len().to_string().as_str()));
    let known = "SELECT count(*) FROM imps WHERE auction_id = 'wide' AND screen_known AND city = 'Berlin'";
    assert_eq!(running.number(known).await, 3_000);
    let audit = running.audit().await;
    assert!(audit.balances, "{audit:?}");
    assert_eq!((audit.total.accepted, audit.total.duplicates, audit.total.failed), (4, 1, 0));
    running.pipeline.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_refusals_and_missing_objects_are_failed_events() {
    let running = Running::start().await;
    let refused = request("", 1, 2 << 20);
    assert_eq!(running.post(&refused).await, 400);
    running.drain().await;
    let rows = running.sql("SELECT payload, error_code, payload_bytes, processor FROM failed_events").await;
    assert_eq!(rows.len(), 1);
    let payload = base64_simd::STANDARD.decode_to_vec(rows[0][0].as_deref().expect("a payload")).expect("base64");
    assert!(payload == refused.as_bytes(), "the payload is another");
    assert_eq!((rows[0][1].as_deref(), rows[0][3].as_deref()), (Some("id.required"), Some("ingest")));

    // The object is lost before anybody reads it: a pointer that stands for nothing.
    let lake = lake(&running);
    let kinesis = aws_sdk_kinesis::Client::new(running.pipeline.aws());
    let prefix = object_store::path::Path::from("claim_checks/raw");
    let objects: Vec<_> = object_store::ObjectStore::list(&lake, Some(&prefix)).try_collect().await.expect("a list");
    assert_eq!(objects.len(), 1);
    let pointer = format!(
        r#"{{"claim_check":{{"bucket":"{}","key":"claim_checks/raw/tenant_id=demo/event_date=2026-11-22/gone.json"}},"event_id":"dd1fea66-86da-8627-8acd-eaef763c71b2","event_type":"ad_request","schema_version":1,"tenant_id":"demo","auction_id":"gone","received_ts":{},"endpoint":"/v1/ad_requests","handler_us":1,"body":{{}}}}"#,
        names::LAKE_BUCKET,
        millrace::clock::now_ms()
    );
    let blob = aws_sdk_kinesis::primitives::Blob::new(pointer.clone());
    kinesis.put_record().stream_name(names::RAW_STREAM).partition_key("k").data(blob).send().await.expect("it is put");
    running.drain().await;
    let rows =
        running.sql("SELECT payload, event_id FROM failed_events WHERE error_code = 'claim_check.missing'").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0][0].as_deref(), Some(base64_simd::STANDARD.encode_to_string(&pointer).as_str()));
    let audit = running.audit().await;
    assert!(audit.balances, "{audit:?}");
    assert_eq!((audit.total.accepted, audit.total.failed), (1, 1));
    lake.head(&objects[0].location).await.expect("nothing deletes what was stored");
    running.pipeline.stop().await.expect("it stops");
}

fn lake(running: &Running) -> std::sync::Arc<dyn object_store::ObjectStore> {
    let endpoint = running.pipeline.cloud().endpoint();
    millrace::clients::local_bucket(&endpoint, names::LAKE_BUCKET).expect("a store")
}
