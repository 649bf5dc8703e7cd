//! Opaque texts that come back: shard iterators and page tokens.
//!
//! base64 of `version u8 · issued_ms i64 · created_ms i64 · shard u64 · counter u64 · stream name · crc32 u32`. The
//! checksum tells a text that we made from any other; it is no secret, as nothing here is.

use crate::clock::Clock;

/// Lives five minutes, as the service's.
pub(super) const TOKEN_LIFE_MS: i64 = 300_000;

const VERSION: u8 = 1;
const FIXED_BYTES: usize = 33;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) issued_ms: i64,
    /// Which stream of that name: one made again later does not take the old one's tokens.
    pub(super) created_ms: i64,
    pub(super) shard: u64,
    pub(super) counter: u64,
    pub(super) stream: String,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenError {
    /// Not a text that we made.
    Invalid,
    /// Older than five minutes.
    Expired { issued_ms: i64, now_ms: i64 },
}

impl Token {
    pub(super) fn write(&self) -> String {
        let mut bytes = Vec::with_capacity(FIXED_BYTES + self.stream.len() + 4);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.issued_ms.to_le_bytes());
        bytes.extend_from_slice(&self.created_ms.to_le_bytes());
        bytes.extend_from_slice(&self.shard.to_le_bytes());
        bytes.extend_from_slice(&self.counter.to_le_bytes());
        bytes.extend_from_slice(self.stream.as_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        base64_simd::STANDARD.encode_to_string(bytes)
    }

    pub(super) fn read(text: &str, clock: &Clock) -> Result<Self, TokenError> {
        let bytes = base64_simd::STANDARD.decode_to_vec(text).map_err(|_not_base64| TokenError::Invalid)?;
        let token = Self::from_bytes(&bytes).ok_or(TokenError::Invalid)?;
        let now_ms = clock.now_ms();
        if now_ms.saturating_sub(token.issued_ms) >= TOKEN_LIFE_MS {
            return Err(TokenError::Expired { issued_ms: token.issued_ms, now_ms });
        }
        Ok(token)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let (version, rest) = body.split_first()?;
        let (issued_ms, rest) = rest.split_first_chunk::<8>()?;
        let (created_ms, rest) = rest.split_first_chunk::<8>()?;
        let (shard, rest) = rest.split_first_chunk::<8>()?;
        let (counter, stream) = rest.split_first_chunk::<8>()?;
        (*version == VERSION).then_some(())?;
        Some(Self {
            issued_ms: i64::from_le_bytes(*issued_ms),
            created_ms: i64::from_le_bytes(*created_ms),
            shard: u64::from_le_bytes(*shard),
            counter: u64::from_le_bytes(*counter),
            stream: std::str::from_utf8(stream).ok()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(clock: &Clock) -> Token {
        Token { issued_ms: clock.now_ms(), created_ms: 1, shard: 2, counter: 3, stream: "s".repeat(128) }
    }

    #[test]
    fn a_token_comes_back_until_it_expires() {
        let clock = Clock::default();
        let token = token(&clock);
        let text = token.write();
        assert!(text.len() <= 512);
        assert_eq!(Token::read(&text, &clock), Ok(token));
        clock.jump(TOKEN_LIFE_MS);
        assert!(matches!(Token::read(&text, &clock), Err(TokenError::Expired { .. })));
    }

    #[test]
    fn other_texts_are_refused() {
        let clock = Clock::default();
        let text = token(&clock).write();
        for other in ["", "garbage", "AAAA", text.get(4..).unwrap(), &text.replacen('A', "B", 1)] {
            assert_eq!(Token::read(other, &clock), Err(TokenError::Invalid), "{other}");
        }
    }
}
