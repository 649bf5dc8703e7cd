//! Variables: defaults, ranges, and all faults at once.

use super::*;

fn config(vars: &[(&str, &str)]) -> Result<Config, ConfigFaults> {
    Config::from_vars(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())), Front::Server)
}

#[test]
fn nothing_set_is_a_working_server() {
    let config = config(&[("PATH", "/bin")]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!((config.raw_stream.as_str(), config.linger), ("ad-events", Duration::from_millis(5)));
    assert_eq!((config.settings.body_bytes_max, config.settings.batch_bytes_max), (256 * 1024, 4 * 1024 * 1024));
    assert_eq!(config.settings.tenant_id, "demo");
    for (calls, linger_ms) in [(None, 0), (Some("1"), 0), (Some("16"), 5)] {
        let calls = calls.map(|calls| (LAMBDA_MAX_CONCURRENCY.to_owned(), calls.to_owned()));
        let config = Config::from_vars(calls, Front::Lambda).unwrap();
        assert_eq!(config.linger, Duration::from_millis(linger_ms));
    }
}

#[test]
fn who_has_no_keys_is_served_on_this_machine_only() {
    let built_in = config(&[(LISTEN, "0.0.0.0:8080")]).unwrap();
    assert_eq!((built_in.limits.peers, built_in.tenants), (Peers::Loopback, None));
    let named = config(&[(TENANTS_FILE, "/etc/tenants.json")]).unwrap();
    assert_eq!((named.limits.peers, named.tenants), (Peers::Any, Some(Location::File("/etc/tenants.json".into()))));
    let endpoints = [(AWS_ENDPOINT_URL, "http://a"), (AWS_ENDPOINT_URL_SSM, "http://b")];
    for (name, location, endpoint) in [
        (TENANTS_FILE, Location::File("x".into()), None),
        (TENANTS_SECRET_ID, Location::Secret("x".to_owned()), Some("http://a")),
        (TENANTS_SSM_PARAMETER, Location::Parameter("x".to_owned()), Some("http://b")),
    ] {
        let named = config(&[(name, "x"), endpoints[0], endpoints[1]]).unwrap();
        assert_eq!((named.limits.peers, named.tenants), (Peers::Any, Some(location)));
        assert_eq!(named.tenants_endpoint.as_deref(), endpoint);
    }
    let two = config(&[(TENANTS_FILE, "x"), (TENANTS_SSM_PARAMETER, "y")]).unwrap_err().to_string();
    assert!(two.starts_with("TENANTS_SSM_PARAMETER is not valid: "), "{two}");
    assert!(named.settings.serves_metrics);
    assert!(!Config::from_vars([], Front::Lambda).unwrap().settings.serves_metrics);
}

#[test]
fn what_is_set_counts() {
    let config = config(&[(LISTEN, "[::1]:9000"), (RAW_STREAM, "other"), (LINGER_MS, "20"), (HEAD_TIMEOUT_MS, "5000")]);
    let config = config.unwrap();
    assert_eq!(config.listen.to_string(), "[::1]:9000");
    assert_eq!((config.raw_stream.as_str(), config.linger), ("other", Duration::from_millis(20)));
    assert_eq!(config.limits.head_timeout, Duration::from_secs(5));
}

#[test]
fn compression_is_asked_for() {
    let level = |text| config(&[(COMPRESSION_LEVEL, text)]).map(|config| config.compression_level).ok();
    assert_eq!(config(&[]).unwrap().compression_level, None);
    for (text, expect) in [("", Some(None)), ("1", Some(Some(1))), ("9", Some(Some(9))), ("0", None), ("fast", None)] {
        assert_eq!(level(text), expect, "{text:?}");
    }
}

#[test]
fn bodies_are_as_large_as_their_way_allows() {
    let body_bytes = |vars: &[(&str, &str)]| config(vars).map(|config| config.settings.body_bytes_max).ok();
    let bucket = (CLAIM_CHECK_BUCKET, "large");
    for (vars, expect) in [
        (&[(BODY_BYTES_MAX, "327680")][..], Some(327_680)),
        (&[(BODY_BYTES_MAX, "327681"), (RECORD_BYTES_MAX, "4194304")], Some(327_681)),
        (&[(BODY_BYTES_MAX, "4194304"), (RECORD_BYTES_MAX, "10485760")], None),
        (&[bucket], Some(4 << 20)),
        (&[bucket, (BODY_BYTES_MAX, "10485760")], Some(10 << 20)),
        (&[bucket, (BODY_BYTES_MAX, "10485761")], None),
        (&[(RECORD_BYTES_MAX, "1048575")], None),
        (&[(RECORD_BYTES_MAX, "10485761")], None),
    ] {
        assert_eq!(body_bytes(vars), expect, "{vars:?}");
    }
    let vars = [bucket, (AWS_ENDPOINT_URL, "http://a"), (AWS_ENDPOINT_URL_S3, "http://b")];
    assert_eq!(config(&vars).unwrap().s3_endpoint.as_deref(), Some("http://b"));
}

#[test]
fn all_faults_are_reported_at_once_and_without_values() {
    let vars = [
        (LISTEN, "secret"),
        (RAW_STREAM, ""),
        (LINGER_MS, "-1"),
        (BODY_BYTES_MAX, "327681"),
        (TENANT_ID, "a b"),
        (CONNECTIONS_MAX, "0"),
    ];
    let message = config(&vars).unwrap_err().to_string();
    for (name, _) in vars {
        assert!(message.contains(&format!("{name} is not valid: ")), "{message}");
    }
    assert_eq!(message.lines().count(), vars.len());
    assert!(!message.contains("secret"));
}

#[test]
fn help_lists_every_variable() {
    let help = help();
    for variable in VARIABLES {
        assert!(help.contains(variable.name) && help.contains(variable.default), "{}", variable.name);
    }
    for (name, value) in [(LISTEN, "x"), (BATCH_BYTES_MAX, "x"), (MEMORY_BYTES_MAX, "x"), (BUFFER_BYTES_MAX, "x")] {
        assert!(config(&[(name, value)]).unwrap_err().to_string().starts_with(name));
    }
}

#[test]
fn spool_and_certificate_are_the_servers() {
    let bare = config(&[]).unwrap();
    assert_eq!((bare.spool, bare.tls, bare.settings.wait_max), (None, None, Duration::from_secs(2)));
    let vars = [
        (SPOOL_DIR, "/spool"),
        (SPOOL_BYTES_MAX, "2000000"),
        (TLS_CERT, "c.pem"),
        (TLS_KEY, "k.pem"),
        (WAIT_MS_MAX, "500"),
    ];
    let set = config(&vars).unwrap();
    let spool = set.spool.unwrap();
    assert_eq!((spool.folder.to_str(), spool.bytes_max), (Some("/spool"), 2_000_000));
    assert_eq!(set.tls, Some(TlsFiles { cert: "c.pem".into(), key: "k.pem".into() }));
    assert_eq!(set.settings.wait_max, Duration::from_millis(500));
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let function = Config::from_vars(vars, Front::Lambda).unwrap();
    assert_eq!((function.spool, function.tls), (None, None));
    for (vars, expect) in [
        (&[(TLS_CERT, "c.pem")][..], TLS_KEY),
        (&[(TLS_KEY, "k.pem")], TLS_CERT),
        (&[(SPOOL_DIR, "/spool"), (SPOOL_BYTES_MAX, "1")], SPOOL_BYTES_MAX),
        (&[(BUFFER_BYTES_MAX, "4194303")], BUFFER_BYTES_MAX),
        (&[(WAIT_MS_MAX, "0")], WAIT_MS_MAX),
    ] {
        assert!(config(vars).unwrap_err().to_string().starts_with(&format!("{expect} is not valid: ")), "{expect}");
    }
}
