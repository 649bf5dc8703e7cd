//! Opaque texts that come back: shard iterators and page tokens.
//!
//! base64 of `version u8 · kind u8 · issued_ms i64 · created_ms i64 · shard u64 · counter u64 · filter u8 · filter value
//! i64 · name · crc32 u32`. The checksum tells a text that we made from any other; it is no secret, as nothing here is.

use crate::clock::Clock;
use crate::wire::ServiceError;

use super::filter::ShardFilter;
use super::invalid_argument;

/// Lives five minutes, as the service's.
pub(super) const TOKEN_LIFE_MS: i64 = 300_000;

const VERSION: u8 = 2;

/// What a text is for. One that is for something else is as wrong as garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A shard iterator.
    Iterator,
    /// A page of `ListShards`.
    Shards,
    /// A page of `ListStreams`.
    Streams,
    /// A page of `ListStreamConsumers`.
    Consumers,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) issued_ms: i64,
    /// Which stream of that name: one made again later does not take the old one's tokens.
    pub(super) created_ms: i64,
    pub(super) shard: u64,
    pub(super) counter: u64,
    pub(super) filter: ShardFilter,
    /// A stream's; for a page of consumers also the last one's, behind a `/`.
    pub(super) name: String,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenError {
    /// Not a text that we made.
    Invalid(TokenKind),
    /// Older than five minutes.
    Expired { kind: TokenKind, issued_ms: i64, now_ms: i64 },
}

impl Token {
    /// A token with nothing but a name.
    pub(super) fn new(kind: TokenKind, issued_ms: i64, name: String) -> Self {
        Self { kind, issued_ms, created_ms: 0, shard: 0, counter: 0, filter: ShardFilter::FromTrimHorizon, name }
    }

    pub(super) fn write(&self) -> String {
        let (filter, filter_value) = self.filter.to_code();
        let mut bytes = vec![VERSION, self.kind.code()];
        for number in [self.issued_ms, self.created_ms] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.shard, self.counter] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.push(filter);
        bytes.extend_from_slice(&filter_value.to_le_bytes());
        bytes.extend_from_slice(self.name.as_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        base64_simd::STANDARD.encode_to_string(bytes)
    }

    pub(super) fn read(text: &str, kind: TokenKind, clock: &Clock) -> Result<Self, TokenError> {
        let bytes = base64_simd::STANDARD.decode_to_vec(text).map_err(|_not_base64| TokenError::Invalid(kind))?;
        let token = Self::from_bytes(&bytes, kind).ok_or(TokenError::Invalid(kind))?;
        let now_ms = clock.now_ms();
        if now_ms.saturating_sub(token.issued_ms) >= TOKEN_LIFE_MS {
            return Err(TokenError::Expired { kind, issued_ms: token.issued_ms, now_ms });
        }
        Ok(token)
    }

    fn from_bytes(bytes: &[u8], kind: TokenKind) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let rest = body.strip_prefix(&[VERSION, kind.code()])?;
        let (issued_ms, rest) = rest.split_first_chunk::<8>()?;
        let (created_ms, rest) = rest.split_first_chunk::<8>()?;
        let (shard, rest) = rest.split_first_chunk::<8>()?;
        let (counter, rest) = rest.split_first_chunk::<8>()?;
        let (filter, rest) = rest.split_first()?;
        let (filter_value, name) = rest.split_first_chunk::<8>()?;
        Some(Self {
            kind,
            issued_ms: i64::from_le_bytes(*issued_ms),
            created_ms: i64::from_le_bytes(*created_ms),
            shard: u64::from_le_bytes(*shard),
            counter: u64::from_le_bytes(*counter),
            filter: ShardFilter::from_code(*filter, i64::from_le_bytes(*filter_value))?,
            name: std::str::from_utf8(name).ok()?.to_owned(),
        })
    }
}

impl TokenKind {
    fn code(self) -> u8 {
        match self {
            Self::Iterator => 1,
            Self::Shards => 2,
            Self::Streams => 3,
            Self::Consumers => 4,
        }
    }
}

impl From<TokenError> for ServiceError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid(TokenKind::Iterator) => invalid_argument("Invalid ShardIterator."),
            TokenError::Invalid(TokenKind::Shards | TokenKind::Streams | TokenKind::Consumers) => {
                invalid_argument("NextToken is invalid.")
            }
            TokenError::Expired { kind: TokenKind::Iterator, issued_ms, now_ms } => Self::client(
                "ExpiredIteratorException",
                format!(
                    "Iterator expired. The iterator was created at time {issued_ms} ms while right now it is {now_ms} \
                     ms, which is further in the future than the tolerated delay of {TOKEN_LIFE_MS} milliseconds."
                ),
            ),
            TokenError::Expired { kind: TokenKind::Shards | TokenKind::Streams | TokenKind::Consumers, .. } => {
                Self::client("ExpiredNextTokenException", "NextToken has expired: it lives 300 seconds.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(clock: &Clock) -> Token {
        Token {
            created_ms: 1,
            shard: 2,
            counter: 3,
            filter: ShardFilter::AtTimestamp(-5),
            ..Token::new(TokenKind::Iterator, clock.now_ms(), "s".repeat(128))
        }
    }

    #[test]
    fn a_token_comes_back_until_it_expires() {
        let clock = Clock::default();
        let token = token(&clock);
        let text = token.write();
        assert!(text.len() <= 512);
        assert_eq!(Token::read(&text, TokenKind::Iterator, &clock), Ok(token));
        assert_eq!(Token::read(&text, TokenKind::Shards, &clock), Err(TokenError::Invalid(TokenKind::Shards)));
        clock.jump(TOKEN_LIFE_MS);
        assert!(matches!(Token::read(&text, TokenKind::Iterator, &clock), Err(TokenError::Expired { .. })));
    }

    #[test]
    fn other_texts_are_refused() {
        let clock = Clock::default();
        let text = token(&clock).write();
        for other in ["", "garbage", "AAAA", text.get(4..).unwrap(), &text.replacen('A', "B", 1)] {
            let expected = Err(TokenError::Invalid(TokenKind::Iterator));
            assert_eq!(Token::read(other, TokenKind::Iterator, &clock), expected, "{other}");
        }
    }
}
