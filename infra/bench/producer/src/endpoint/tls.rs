//! TLS for peers that speak nothing else, with a certificate that is made at each start and that nobody trusts.

use std::sync::Arc;

use anyhow::Context as _;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivatePkcs8KeyDer},
};

/// The first byte of every TLS connection: a handshake.
const HANDSHAKE: u8 = 0x16;

/// Whether a client begins with TLS.
pub(super) async fn begins(stream: &TcpStream) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && first == [HANDSHAKE]
}

pub(super) fn acceptor() -> anyhow::Result<TlsAcceptor> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).context("make a certificate")?;
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().context("set up TLS")?.with_no_client_auth();
    let config = config.with_single_cert(vec![cert.der().clone()], key.into()).context("set up TLS")?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
