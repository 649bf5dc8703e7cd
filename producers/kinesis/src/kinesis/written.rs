//! A body that was written here, put into the SDK's request just before it is signed, together with its digest.
//!
//! A signature covers the SHA-256 of the body, which is most of what a call costs where the processor has no instructions for
//! it. The SDK computes it with portable code; the library of its TLS, which is there anyway, does so in about two thirds of
//! the time, and in as much where there are such instructions.

use std::error::Error;

use aws_lc_rs::digest;
use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_kinesis::config::{
    ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut,
};
use bytes::Bytes;

#[derive(Debug)]
pub(super) struct Written {
    body: Bytes,
    sha256: String,
}

impl Written {
    pub(super) fn new(body: Bytes) -> Self {
        Written { sha256: sha256_hex(&body), body }
    }
}

impl Intercept for Written {
    fn name(&self) -> &'static str {
        "Written"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let request = context.request_mut();
        request.headers_mut().insert("content-length", self.body.len().to_string());
        *request.body_mut() = self.body.clone().into();
        let digest = PayloadSigningOverride::Precomputed(self.sha256.clone());
        config.interceptor_state().store_put(digest);
        Ok(())
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = digest::digest(&digest::SHA256, bytes);
    let digits = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| DIGITS.get(usize::from(digit))).map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::sha256_hex;

    /// The test vectors of FIPS 180-4.
    #[test]
    fn digests_are_those_of_the_standard() {
        for (text, expect) in [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ] {
            assert_eq!(sha256_hex(text.as_bytes()), expect);
        }
    }
}
