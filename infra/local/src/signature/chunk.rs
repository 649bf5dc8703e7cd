//! The signatures within an upload: each chunk's covers the one before, the trailers' the last chunk's.

use hmac::Mac as _;
use sha2::{Digest as _, Sha256};

use super::{Digest, hex, mac, unhex};

/// The SHA-256 of nothing, which chunks are signed with in place of headers.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Follows the chain of signatures through one upload.
#[derive(Clone)]
pub(crate) struct ChunkSigner {
    key: Digest,
    signed_at: String,
    scope: String,
    previous: Digest,
    hash: Sha256,
    has_trailer: bool,
}

impl std::fmt::Debug for ChunkSigner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ChunkSigner").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl ChunkSigner {
    /// The chain that begins at the signature of the request's head.
    pub(super) fn new(key: Digest, signed_at: String, scope: String, seed: Digest) -> Self {
        Self { key, signed_at, scope, previous: seed, hash: Sha256::new(), has_trailer: false }
    }

    pub(super) fn with_trailer(self, has_trailer: bool) -> Self {
        Self { has_trailer, ..self }
    }

    /// Whether the trailers are signed too.
    pub(crate) fn has_trailer(&self) -> bool {
        self.has_trailer
    }

    /// Takes data of the chunk under way, or a canonical trailer once the chunks have ended.
    pub(crate) fn update(&mut self, data: &[u8]) {
        self.hash.update(data);
    }

    /// Whether the chunk that has ended was signed so; the next one begins.
    pub(crate) fn ends_chunk(&mut self, signature: &str) -> bool {
        let hash = hex(&self.hash.finalize_reset().into());
        let previous = hex(&self.previous);
        let text = format!("AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{previous}\n{EMPTY}\n{hash}", self.signed_at, self.scope);
        self.follows(&text, signature)
    }

    /// Whether the trailers, each given to [`ChunkSigner::update`] as `name:value\n`, were signed so.
    pub(crate) fn ends_trailers(&mut self, signature: &str) -> bool {
        let hash = hex(&self.hash.finalize_reset().into());
        let previous = hex(&self.previous);
        let text = format!("AWS4-HMAC-SHA256-TRAILER\n{}\n{}\n{previous}\n{hash}", self.signed_at, self.scope);
        self.follows(&text, signature)
    }

    fn follows(&mut self, text: &str, signature: &str) -> bool {
        let Some(signature) = unhex(signature) else { return false };
        let is_right = mac(&self.key, text.as_bytes()).verify_slice(&signature).is_ok();
        self.previous = signature;
        is_right
    }
}
