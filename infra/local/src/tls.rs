//! The certificate of the HTTPS door: made on first use, kept in the data directory.
//!
//! Clients trust `tls/ca.pem`. The authority's key is thrown away as soon as it has signed the door's certificate, so
//! that nobody can sign another one that they would trust. Everything else lies in one file that only its owner can
//! read: it is there whole or not at all. A certificate that ends soon, or that does not name the address, is replaced
//! together with its authority.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Datelike as _};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rcgen::{KeyUsagePurpose, SanType};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::data_dir::{replace_file, sync_dir};

/// What clients are to trust.
const AUTHORITY_FILE: &str = "ca.pem";
/// The door's key, its certificate and the authority's, behind a line that says what they are good for.
const IDENTITY_FILE: &str = "identity.pem";
/// How long a certificate lasts: what Apple's clients allow for one is 825 days.
const LIFE_DAYS: i64 = 820;
/// A certificate with less to live is replaced.
const RENEW_DAYS: i64 = 30;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Why the HTTPS door cannot have its certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The files cannot be read or written.
    #[error("keep the certificate in {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A certificate cannot be made.
    #[error("make a certificate")]
    Make(#[from] rcgen::Error),
    /// What was kept is no certificate any more.
    #[error("read the certificate in {}; remove the file, and a new one is made", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The key does not fit the certificate.
    #[error("use the certificate in {}; remove the file, and a new one is made", path.display())]
    Use {
        /// The file.
        path: PathBuf,
        /// What the library said.
        source: rustls::Error,
    },
}

/// What the door shows to its clients.
#[derive(Clone)]
pub struct Identity {
    acceptor: TlsAcceptor,
    authority: PathBuf,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Identity").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Identity {
    /// The identity that is kept in `dir`, or a new one, good for `address` and every name of this machine's loopback.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn open(dir: &Path, address: IpAddr, now_ms: i64) -> Result<Self, TlsError> {
        let io_error = |source| TlsError::Io { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(io_error)?;
        let (authority, identity) = (dir.join(AUTHORITY_FILE), dir.join(IDENTITY_FILE));
        let kept = match fs::read_to_string(&identity) {
            Ok(text) => Some(text).filter(|text| is_good_for(text, address, now_ms)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(TlsError::Io { path: identity, source }),
        };
        let text = match kept {
            Some(text) => text,
            None => {
                let text = make(address, now_ms)?;
                write_private(dir, &identity, text.as_bytes()).map_err(io_error)?;
                text
            }
        };
        let read = |source| TlsError::Read { path: identity.clone(), source };
        let certificates: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(read)?;
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(read)?;
        let authority_pem = text.rfind("-----BEGIN CERTIFICATE-----").and_then(|at| text.get(at..)).unwrap_or_default();
        if fs::read_to_string(&authority).ok().as_deref() != Some(authority_pem) {
            replace_file(&authority, authority_pem.as_bytes()).map_err(io_error)?;
        }
        let config = config(certificates, key).map_err(|source| TlsError::Use { path: identity, source })?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), authority })
    }

    /// The file that clients are to trust, as in `AWS_CA_BUNDLE`.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

/// TLS 1.2 and 1.3; a client chooses HTTP/2 or HTTP/1.1 by ALPN, and gets HTTP/1.1 if it does not say.
fn config(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    // Named, since the process has two: the AWS clients bring another.
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    let mut config = builder.with_single_cert(certificates, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Whether the first line of an identity says that it lasts and names the address.
fn is_good_for(text: &str, address: IpAddr, now_ms: i64) -> bool {
    let mut words = text.lines().next().unwrap_or_default().split(' ').skip(1);
    let lasts = words.next().and_then(|word| word.parse::<i64>().ok());
    let lasts = lasts.is_some_and(|until_ms| until_ms.saturating_sub(now_ms) > RENEW_DAYS * DAY_MS);
    lasts && words.any(|word| word.parse() == Ok(address))
}

fn addresses(address: IpAddr) -> Vec<IpAddr> {
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    if !addresses.contains(&address) {
        addresses.push(address);
    }
    addresses
}

/// A new identity: a line `until ADDRESS…`, the key, its certificate, the authority's certificate.
fn make(address: IpAddr, now_ms: i64) -> Result<String, TlsError> {
    let addresses = addresses(address);
    let until_ms = now_ms.saturating_add(LIFE_DAYS * DAY_MS);
    // A day before, for clients whose clocks are behind.
    let [not_before, not_after] = [now_ms.saturating_sub(DAY_MS), until_ms].map(|ms| {
        let (year, month, day) = date(ms);
        rcgen::date_time_ymd(year, month, day)
    });

    let mut authority = CertificateParams::default();
    (authority.not_before, authority.not_after) = (not_before, not_after);
    authority.distinguished_name.push(DnType::CommonName, "Millrace local cloud");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let mut door = CertificateParams::new(vec!["localhost".to_owned(), "*.localhost".to_owned()])?;
    (door.not_before, door.not_after) = (not_before, not_after);
    door.distinguished_name.push(DnType::CommonName, "localhost");
    door.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
    door.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    door.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    door.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = door.signed_by(&key, &authority)?;

    let words: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let first = format!("until {until_ms} {}", words.join(" "));
    Ok(format!("{first}\n{}{}{}", key.serialize_pem(), certificate.pem(), authority.pem()))
}

/// Year, month and day of a time, UTC.
fn date(ms: i64) -> (i32, u8, u8) {
    let date = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    (date.year(), u8::try_from(date.month()).unwrap_or(1), u8::try_from(date.day()).unwrap_or(1))
}

/// As [`replace_file`], but for the owner's eyes alone.
fn write_private(dir: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NOW_MS: i64 = 1_795_348_800_000;
    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn an_identity_is_kept_until_it_ends_or_the_address_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let open = |address: IpAddr, now_ms: i64| {
            let identity = Identity::open(dir.path(), address, now_ms).unwrap();
            fs::read_to_string(identity.authority()).unwrap()
        };
        let first = open(LOOPBACK, NOW_MS);
        assert!(first.starts_with("-----BEGIN CERTIFICATE-----") && first.matches("BEGIN").count() == 1, "{first}");
        assert_eq!(open(LOOPBACK, NOW_MS + 700 * DAY_MS), first);
        assert_eq!(open(IpAddr::V6(Ipv6Addr::LOCALHOST), NOW_MS), first);
        let renewed = open(LOOPBACK, NOW_MS + 791 * DAY_MS);
        assert_ne!(renewed, first);
        let elsewhere = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
        assert_ne!(open(elsewhere, NOW_MS), renewed);
        let mode = fs::metadata(dir.path().join(IDENTITY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_lost_authority_is_written_again_and_a_broken_identity_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::open(dir.path(), LOOPBACK, NOW_MS).unwrap();
        let authority = fs::read_to_string(identity.authority()).unwrap();
        fs::remove_file(identity.authority()).unwrap();
        Identity::open(dir.path(), LOOPBACK, NOW_MS).unwrap();
        assert_eq!(fs::read_to_string(identity.authority()).unwrap(), authority);
        let path = dir.path().join(IDENTITY_FILE);
        let first = fs::read_to_string(&path).unwrap().lines().next().unwrap().to_owned();
        fs::write(&path, first).unwrap();
        let error = Identity::open(dir.path(), LOOPBACK, NOW_MS).unwrap_err();
        assert!(matches!(error, TlsError::Read { .. } | TlsError::Use { .. }), "{error}");
        assert!(error.to_string().contains(IDENTITY_FILE), "{error}");
    }
}
