//! Secrets of the API: 256 random bits. Only their SHA-256 is stored.

use base64_simd::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

/// The start of every token, so that a scanner for secrets recognizes one.
const PREFIX: &str = "trailhose_";

/// Creates a token: 256 random bits as text.
///
/// # Errors
/// The operating system returned no random bits.
pub fn new_token() -> Result<String, String> {
    let mut bits = [0; 32];
    SystemRandom::new().fill(&mut bits).map_err(|_| "the operating system returned no random bits".to_owned())?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode_to_string(bits)))
}

/// Returns whether a text has the form of a token.
pub fn is_token(text: &str) -> bool {
    let bits = text.strip_prefix(PREFIX).and_then(|bits| URL_SAFE_NO_PAD.decode_to_vec(bits).ok());
    bits.is_some_and(|bits| bits.len() == 32)
}

/// Returns the SHA-256 of a token in hexadecimal digits. A token has 256 random bits, so a slow hash would add nothing.
pub fn token_hash(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_have_256_bits() {
        let (one, other) = (new_token().unwrap(), new_token().unwrap());
        assert_ne!(one, other);
        assert!(is_token(&one) && !is_token("trailhose_short") && !is_token(one.strip_prefix(PREFIX).unwrap()));
        assert_eq!(URL_SAFE_NO_PAD.decode_to_vec(one.strip_prefix(PREFIX).unwrap()).unwrap().len(), 32);
        assert_eq!(token_hash("a"), "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb");
    }
}
