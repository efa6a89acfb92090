//! Signatures of webhooks, as Standard Webhooks specifies
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use super::secret::{Secret, SecretError, SecretSource};
use ring::hmac;
use std::fmt;

/// The prefix of a key.
const KEY_PREFIX: &str = "whsec_";

/// The length of a key in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The keys of a webhook. During a rotation there are several: a receiver accepts a request if one signature is valid.
#[derive(Clone)]
pub struct SigningKeys(Vec<hmac::Key>);

impl SigningKeys {
    /// Reads keys, one on each line.
    ///
    /// # Errors
    /// A key cannot be read or is invalid. The message does not contain it.
    pub fn read(source: &SecretSource) -> Result<Self, String> {
        let secrets = source.read_list().map_err(|error: SecretError| error.to_string())?;
        let keys = secrets.iter().map(parse_key).collect::<Option<Vec<_>>>();
        keys.map(Self).ok_or_else(|| {
            format!(
                "a key in {source} is invalid: expected {KEY_PREFIX} and the Base64 form of {} to {} random bytes",
                KEY_BYTES.start(),
                KEY_BYTES.end()
            )
        })
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys({})", self.0.len())
    }
}

fn parse_key(secret: &Secret) -> Option<hmac::Key> {
    let text = secret.expose().strip_prefix(KEY_PREFIX)?;
    let bytes = base64_simd::STANDARD.decode_to_vec(text).ok()?;
    KEY_BYTES.contains(&bytes.len()).then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// Signs the requests of one webhook.
#[derive(Debug, Clone)]
pub struct WebhookSigner {
    keys: SigningKeys,
}

impl WebhookSigner {
    /// Creates a signer.
    pub fn new(keys: SigningKeys) -> Self {
        Self { keys }
    }

    /// Returns the headers of a request. `id` is the same on every retry; `timestamp` is the time of this attempt in
    /// seconds since 1970.
    pub fn headers(&self, id: &str, timestamp: i64, body: &[u8]) -> [(&'static str, String); 3] {
        let mut content = format!("{id}.{timestamp}.").into_bytes();
        content.extend_from_slice(body);
        let sign = |key: &hmac::Key| {
            format!("v1,{}", base64_simd::STANDARD.encode_to_string(hmac::sign(key, &content).as_ref()))
        };
        let signatures: Vec<String> = self.keys.0.iter().map(sign).collect();
        [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", signatures.join(" ")),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks libraries.
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn keys(text: &str) -> Result<SigningKeys, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        std::fs::write(&path, text).unwrap();
        SigningKeys::read(&SecretSource::File(path))
    }

    #[test]
    fn signature_is_that_of_the_specification() {
        let signer = WebhookSigner::new(keys(KEY).unwrap());
        let [id, timestamp, signature] =
            signer.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(id, ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned()));
        assert_eq!(timestamp, ("webhook-timestamp", "1614265330".to_owned()));
        assert_eq!(signature.1, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn rotation_sends_one_signature_for_each_key() {
        let other = format!("whsec_{}", base64_simd::STANDARD.encode_to_string([7; 24]));
        let signer = WebhookSigner::new(keys(&format!("{other}\n{KEY}\n")).unwrap());
        let [.., (_, signatures)] = signer.headers("id", 0, b"");
        let both: Vec<&str> = signatures.split(' ').collect();
        assert_eq!(both.len(), 2);
        assert!(both.iter().all(|signature| signature.starts_with("v1,")) && both[0] != both[1]);
    }

    #[test]
    fn invalid_key_is_refused_without_printing_it() {
        let short = format!("whsec_{}", base64_simd::STANDARD.encode_to_string([7; 23]));
        for text in ["hunter2", "whsec_hunter2!", short.as_str()] {
            let error = keys(text).unwrap_err();
            assert!(error.contains("24 to 64 random bytes") && !error.contains(text), "{error}");
        }
        assert_eq!(format!("{:?}", keys(KEY).unwrap()), "SigningKeys(1)");
    }
}
