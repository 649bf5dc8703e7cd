//! Pairs that are none, each with its reason, and pairs that change.

use super::*;

/// Certificates for `localhost` that signed themselves, with keys that protect nothing.
const ONE: [&str; 2] = [include_str!("../../tests/fixtures/one.pem"), include_str!("../../tests/fixtures/one.key")];
const TWO: [&str; 2] = [include_str!("../../tests/fixtures/two.pem"), include_str!("../../tests/fixtures/two.key")];

fn write(folder: &Path, [cert, key]: [&str; 2]) -> TlsFiles {
    let files = TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    std::fs::write(&files.cert, cert).unwrap();
    std::fs::write(&files.key, key).unwrap();
    files
}

#[test]
fn what_is_no_pair_is_told_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    for (pair, expect) in [
        (["", ONE[1]], "cert.pem holds no certificate in PEM form"),
        ([ONE[1], ONE[1]], "cert.pem holds no certificate in PEM form"),
        ([ONE[0], ""], "key.pem holds no private key in PEM form"),
        ([ONE[0], ONE[0]], "key.pem holds no private key in PEM form"),
        ([ONE[0].split_at(100).0, ONE[1]], "cert.pem is not in PEM form"),
        ([ONE[0], TWO[1]], "the certificate and the key cannot be used together"),
    ] {
        let error = Tls::read(write(folder.path(), pair)).unwrap_err();
        assert!(error.to_string().ends_with(expect), "{error}");
    }
    let files = TlsFiles { cert: folder.path().join("none.pem"), ..write(folder.path(), ONE) };
    assert!(matches!(Tls::read(files).unwrap_err(), TlsError::Read { path, .. } if path.ends_with("none.pem")));
}

#[test]
fn a_changed_pair_is_taken_and_a_wrong_one_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let (tls, mut renewal) = Tls::read(write(folder.path(), ONE)).unwrap();
    let newest = || Arc::as_ptr(&tls.config.borrow());
    let first = newest();
    assert!(!renewal.look().unwrap(), "nothing has changed");
    // Half of a change: the certificate is there, its key is not yet.
    write(folder.path(), [TWO[0], ONE[1]]);
    assert!(matches!(renewal.look(), Err(TlsError::Pair(_))));
    assert!(!renewal.look().unwrap(), "told once");
    assert_eq!(newest(), first);
    write(folder.path(), TWO);
    assert!(renewal.look().unwrap());
    assert_ne!(newest(), first);
    std::fs::remove_file(folder.path().join("key.pem")).unwrap();
    assert!(matches!(renewal.look(), Err(TlsError::Read { .. })));
    assert!(!renewal.look().unwrap(), "told once");
    write(folder.path(), ONE);
    assert!(renewal.look().unwrap());
}
