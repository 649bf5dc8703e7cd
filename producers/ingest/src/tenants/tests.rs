//! Files, keys, signatures, quotas, reloading.

use super::*;

fn sha256(key: &str) -> String {
    Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file(members: &str) -> String {
    format!(
        r#"{{"tenants":[{{"tenant_id":"acme","keys_sha256":["{}","{}"]{members}}}]}}"#,
        sha256("old"),
        sha256("new")
    )
}

fn access(text: &str) -> (Access, watch::Sender<Arc<Tenants>>) {
    let (sender, receiver) = watch::channel(Arc::new(file::parse(text.as_bytes()).unwrap()));
    (Access::Named(receiver), sender)
}

#[test]
fn keys_name_their_tenant() {
    let (access, _sender) = access(&file(""));
    for (key, expect) in [
        (Some("old"), Ok("acme")),
        (Some("new"), Ok("acme")),
        (Some("other"), Err(Denied::Unknown)),
        (Some(""), Err(Denied::Unknown)),
        (None, Err(Denied::Unknown)),
    ] {
        let found = access.by_key(key.map(str::as_bytes));
        assert_eq!(found.as_ref().map(|tenant| tenant.id.as_str()).map_err(|denied| *denied), expect, "{key:?}");
    }
    // The stored hash itself opens nothing.
    assert_eq!(access.by_key(Some(sha256("old").as_bytes())).err(), Some(Denied::Unknown));
}

#[test]
fn files_that_are_wrong_are_refused_without_their_secrets() {
    let key = sha256("secret");
    for (text, expect) in [
        ("{".to_owned(), "line 1"),
        (r#"{"tenants":[{"tenant_id":"a"}]}"#.to_owned(), "line 1"),
        (file(r#","unknown":1"#), "line 1"),
        (file(r#","policy":{"chanel_required":true}"#), "line 1"),
        (file(r#","quota":{"requests_per_s":0}"#), "line 1"),
        (file(r#","notice_secret":"abcd""#), "notice_secret"),
        (r#"{"tenants":[{"tenant_id":"a b","keys_sha256":[]}]}"#.to_owned(), "tenant_id must be"),
        (format!(r#"{{"tenants":[{{"tenant_id":"a","keys_sha256":["{key}","{key}"]}}]}}"#), "one tenant's only"),
        (format!(r#"{{"tenants":[{{"tenant_id":"a","keys_sha256":["{key}00"]}}]}}"#), "SHA-256"),
        (r#"{"tenants":[{"tenant_id":"a","keys_sha256":["1","2","3"]}]}"#.to_owned(), "at most two"),
        (r#"{"tenants":[{"tenant_id":"a","keys_sha256":[]},{"tenant_id":"a","keys_sha256":[]}]}"#.to_owned(), "unique"),
    ] {
        let error = file::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expect) && !error.contains(&key), "{error}: {text}");
    }
}

#[test]
fn signatures() {
    let secret = "5a".repeat(32);
    let (access, _sender) = access(&file(&format!(r#","notice_secret":"{secret}""#)));
    let sign = |signed: &str| -> String {
        let mut hmac = Hmac::<Sha256>::new_from_slice(&[0x5a; 32]).unwrap();
        hmac.update(signed.as_bytes());
        hmac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let good = sign("/v1/notices/burl?a=1");
    assert_eq!(access.by_signature("acme", b"/v1/notices/burl?a=1", &good).unwrap().id, "acme");
    for (tenant, signed, signature) in [
        ("acme", "/v1/notices/burl?a=2", good.as_str()),
        ("other", "/v1/notices/burl?a=1", &good),
        ("acme", "/v1/notices/burl?a=1", good.get(..62).unwrap()),
        ("acme", "/v1/notices/burl?a=1", ""),
        ("acme", "/v1/notices/burl?a=1", "zz"),
    ] {
        assert_eq!(access.by_signature(tenant, signed.as_bytes(), signature).err(), Some(Denied::Signature));
    }
}

#[test]
fn reloading_changes_tenants_and_keeps_what_is_used() {
    let quota = r#","quota":{"requests_per_s":1}"#;
    let (access, sender) = access(&file(quota));
    let uses =
        |access: &Access| (0..20).filter(|_| access.by_key(Some(b"new")).unwrap().limiters.request().is_ok()).count();
    assert!(uses(&access) < 10);
    assert_eq!(reload(file(quota).as_bytes(), &sender).unwrap(), 1);
    assert!(uses(&access) < 10, "the quota is used up still");
    assert!(reload(b"{", &sender).is_err());
    assert!(access.by_key(Some(b"old")).is_ok(), "a wrong file changes nothing");
    reload(file(r#","disabled":true"#).as_bytes(), &sender).unwrap();
    assert_eq!(access.by_key(Some(b"old")).err(), Some(Denied::Disabled));
    reload(br#"{"tenants":[]}"#, &sender).unwrap();
    assert_eq!(access.by_key(Some(b"old")).err(), Some(Denied::Unknown));
}

#[test]
fn quotas() {
    let rate = |number| std::num::NonZeroU32::new(number).unwrap();
    let limiters =
        Limiters::new(Quota { requests_per_s: rate(5), bytes_per_s: rate(1000), refused_bytes_per_s: rate(10) });
    let taken = (0..200).filter(|_| limiters.request().is_ok()).count();
    assert!((5..100).contains(&taken), "{taken}");
    assert_eq!(limiters.request(), Err(OverQuota { retry_after_s: 1 }));
    assert_eq!(limiters.bytes(32 << 20), Ok(()), "the largest batch is a burst");
    assert!(limiters.bytes(32 << 20).unwrap_err().retry_after_s > 1_000);
    assert!(limiters.keeps_refused(10 << 20), "the largest body is a burst");
    assert!(!limiters.keeps_refused(512 * 1024));
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_read_again() {
    let folder = std::env::temp_dir().join(format!("tenants-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("tenants.json");
    std::fs::write(&path, file("")).unwrap();
    let source = Source::new(&source::Location::File(path.clone()), None).unwrap();
    let tenants = Tenants::parse(&source.read().await.unwrap()).unwrap();
    let (sender, mut receiver) = watch::channel(Arc::new(tenants));
    let access = Access::Named(receiver.clone());
    let watching = tokio::spawn(watch(source, Duration::from_secs(5), sender));
    tokio::time::sleep(Duration::from_secs(1)).await;
    std::fs::write(&path, r#"{"tenants":[]}"#).unwrap();
    receiver.wait_for(|tenants| tenants.is_empty()).await.unwrap();
    // A file that is gone or wrong changes nothing.
    for is_gone in [false, true] {
        assert!(!access.is_stale());
        if is_gone {
            std::fs::remove_file(&path).unwrap();
        } else {
            std::fs::write(&path, "{").unwrap();
        }
        while !access.is_stale() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // As it was before: nothing changed, and that is known again.
        std::fs::write(&path, r#"{"tenants":[]}"#).unwrap();
        while access.is_stale() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    std::fs::write(&path, file("")).unwrap();
    receiver.wait_for(|tenants| tenants.len() == 1).await.unwrap();
    watching.abort();
    std::fs::remove_dir_all(&folder).unwrap();
}
