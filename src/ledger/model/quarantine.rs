//! Kind of a quarantine: distinguishes the causes whose end discovery can detect.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Why an object is quarantined, as far as discovery distinguishes it. Parsed from the reason that a row contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuarantineKind {
    /// The object is archived. Discovery reopens it when it is restored.
    Archived,
    /// The object's KMS key cannot be used. Discovery reopens it when the key can be used again.
    Kms {
        /// Hash of the key's ARN in the reason, or of the empty text if the reason contains no ARN of a key.
        key: u64,
    },
    /// Any other reason. A person decides.
    Other,
}

impl QuarantineKind {
    /// First word of the reason of an archived object.
    pub const ARCHIVED: &'static str = "archived";

    /// First word of the reason of an object whose KMS key cannot be used.
    pub const KMS: &'static str = "kms";

    /// Parses a row's reason: the kind in one word, a colon, and a text.
    pub fn of(reason: &str) -> Self {
        match reason.split_once(':') {
            Some((Self::ARCHIVED, _)) => Self::Archived,
            Some((Self::KMS, text)) => Self::Kms { key: key_hash(text) },
            _ => Self::Other,
        }
    }

    /// Returns the kind in one word if discovery reopens objects of this kind.
    pub fn reopened_by_discovery(self) -> Option<&'static str> {
        match self {
            Self::Archived => Some(Self::ARCHIVED),
            Self::Kms { .. } => Some(Self::KMS),
            Self::Other => None,
        }
    }

    /// Returns what a person can do about an object of this kind that an earlier run quarantined.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Archived => {
                "archived: restore it; the next sync or backfill that covers it delivers it without further action"
            }
            Self::Kms { .. } => {
                "its KMS key cannot be used: enable the key or cancel its deletion; the next sync or backfill that covers \
                 it delivers it without further action"
            }
            Self::Other => "quarantined by an earlier run",
        }
    }
}

/// Returns the hash of the first ARN of a KMS key in the text, or of the empty text if there is none.
fn key_hash(text: &str) -> u64 {
    let is_end = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '"' | '\'' | ')');
    let arn = text.split(is_end).find(|word| word.starts_with("arn:") && word.contains(":kms:")).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    arn.trim_end_matches('.').hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_is_the_first_word_of_the_reason() {
        assert_eq!(QuarantineKind::of("archived: restore it"), QuarantineKind::Archived);
        assert_eq!(QuarantineKind::of("archived"), QuarantineKind::Other);
        assert_eq!(QuarantineKind::of("gzip: an archived: kms: text"), QuarantineKind::Other);
        assert!(matches!(QuarantineKind::of("kms: no name"), QuarantineKind::Kms { .. }));
    }

    #[test]
    fn keys_are_distinguished_by_their_name() {
        let of = |name: &str, request: u32| {
            QuarantineKind::of(&format!(
                "kms: s3://b/{request}: arn:aws:kms:eu-west-1:111122223333:key/{name} is disabled."
            ))
        };
        assert_eq!(of("a", 1), of("a", 2), "the other parts of the reason do not matter");
        assert_ne!(of("a", 1), of("b", 1));
        assert_eq!(QuarantineKind::of("kms: x"), QuarantineKind::of("kms: y"));
    }
}
