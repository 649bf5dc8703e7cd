//! TLS in the server itself: a certificate and its key from two files, which may change while the process runs.
//!
//! TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN. Connections that are open keep the certificate that they began with.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig, crypto};
use tokio_rustls::server::TlsStream;

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those between it and the root, in this order, as PEM.
    pub cert: PathBuf,
    /// The certificate's private key as PEM: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// Why two files are no certificate with its key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file of the certificate has none.
    #[error("{} holds no certificate in PEM form", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file of the key has none.
    #[error("{} holds no private key in PEM form", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A file is not what PEM looks like.
    #[error("{} is not in PEM form", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: pem::Error,
    },
    /// Each is well-formed, and together they are no use.
    #[error("the certificate and the key cannot be used together")]
    Pair(#[source] rustls::Error),
}

/// Encrypts connections. A cheap handle: all copies have the newest certificate.
#[derive(Debug, Clone)]
pub struct Tls {
    config: watch::Receiver<Arc<ServerConfig>>,
}

/// The other end of a [`Tls`], through which its certificate is renewed.
#[derive(Debug)]
pub struct Renewal {
    files: TlsFiles,
    seen: Content,
    config: watch::Sender<Arc<ServerConfig>>,
}

/// What is in the two files.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, or what is wrong with them.
    pub fn read(files: TlsFiles) -> Result<(Self, Renewal), TlsError> {
        let seen = Content::read(&files)?;
        let (sender, config) = watch::channel(seen.server_config(&files)?);
        Ok((Self { config }, Renewal { files, seen, config: sender }))
    }

    /// Shakes hands; says whether the two sides speak HTTP/2.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, bool)> {
        let config = Arc::clone(&self.config.borrow());
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
        Ok((stream, is_http2))
    }
}

impl Renewal {
    /// Reads the files again at every interval and at every signal, for ever. A pair that is wrong changes nothing, and
    /// is logged once.
    pub async fn watch(mut self, every: Duration, mut hang_up: Signal) {
        let mut ticks = tokio::time::interval(every);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = hang_up.recv() => {}
            }
            match self.look() {
                Ok(true) => tracing::info!("the certificate was read again"),
                Ok(false) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "the certificate was not renewed; the old one stays in use");
                }
            }
        }
    }

    /// Reads the files; says whether they have changed.
    ///
    /// # Errors
    /// What is wrong with changed ones, once: they count as seen then.
    pub(crate) fn look(&mut self) -> Result<bool, TlsError> {
        let content = match Content::read(&self.files) {
            Ok(content) => content,
            Err(error) => {
                let was_there = std::mem::replace(&mut self.seen, Content::none()) != Content::none();
                return if was_there { Err(error) } else { Ok(false) };
            }
        };
        if content == self.seen {
            return Ok(false);
        }
        self.seen = content;
        self.config.send_replace(self.seen.server_config(&self.files)?);
        Ok(true)
    }
}

impl Content {
    fn none() -> Self {
        Self { cert: Vec::new(), key: Vec::new() }
    }

    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |path: &Path| std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source });
        Ok(Self { cert: read(&files.cert)?, key: read(&files.key)? })
    }

    fn server_config(&self, files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
        let pem = |path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::Pem { path, source }
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.cert).collect();
        let chain = chain.map_err(pem(&files.cert))?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate { path: files.cert.clone() });
        }
        let key = match PrivateKeyDer::from_pem_slice(&self.key) {
            Ok(key) => key,
            Err(pem::Error::NoItemsFound) => return Err(TlsError::NoKey { path: files.key.clone() }),
            Err(error) => return Err(pem(&files.key)(error)),
        };
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(TlsError::Pair)?.with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests;
