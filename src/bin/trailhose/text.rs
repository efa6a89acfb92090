//! Formats texts for people: one-line messages, counts with their nouns, dollars, and the names of reasons.

use indicatif::HumanCount;
use std::collections::BTreeMap;

/// Replaces line breaks, control characters and text direction marks by single spaces. An AWS SDK error may have several
/// lines, and a key may contain any bytes.
pub(crate) fn one_line(text: &str) -> String {
    let is_direction_mark =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.split(|c: char| c.is_whitespace() || c.is_control() || is_direction_mark(c))
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Returns a count with its noun: `1 object`, `2 objects`, `1,000 duplicates`. The plural must be the noun and an `s`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", HumanCount(count))
}

/// Returns a count of objects as the subject of a sentence: `1 object is`, `2 objects are`.
pub(crate) fn objects_are(count: u64) -> String {
    format!("{} {}", counted(count, "object"), if count == 1 { "is" } else { "are" })
}

/// Formats dollars with the sign first: two decimals from one dollar up, `decimals` below.
pub(crate) fn dollars(dollars: f64, decimals: usize) -> String {
    if dollars >= 1.0 { format!("${dollars:.2}") } else { format!("${dollars:.decimals$}") }
}

/// Returns the words for the identifier of a reason, as used in JSON, metrics and the ledger.
pub(crate) fn reason_kind(kind: &str) -> String {
    match kind {
        "gzip" => "with invalid gzip",
        "json" => "with invalid JSON",
        "truncated" => "with truncated JSON",
        "no_records" => "without Records",
        "too_large" => "too large",
        "too_many" => "with too many events",
        "value_too_long" => "with a value that is too long",
        "elsewhere" => "with another name",
        "not_a_file" => "not a regular file",
        "other_extension" => "with another extension",
        "unknown_kind" | "unselectable" => "of an unknown kind",
        "kms" => "with a KMS key that cannot be used",
        "missing" => "deleted before reading",
        "changed" => "replaced before reading",
        // Words that need no change, such as `empty`, `archived` or `leased`, and the kinds of a newer version.
        other => return other.replace('_', " "),
    }
    .to_owned()
}

/// Returns counts by reason: `2 with invalid gzip, 1 empty, 3 digest files`.
pub(crate) fn reasons(kinds: &BTreeMap<String, u64>) -> String {
    let one = |(kind, &count): (&String, &u64)| match kind.as_str() {
        "digest" => counted(count, "digest file"),
        "folder_marker" => counted(count, "folder marker"),
        kind => format!("{} {}", HumanCount(count), reason_kind(kind)),
    };
    kinds.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "object")), ["0 objects", "1 object", "2 objects"]);
        assert_eq!([1, 1000].map(objects_are), ["1 object is", "1,000 objects are"]);
    }

    #[test]
    fn sign_precedes_the_amount() {
        assert_eq!([0.0, 0.25, 1.5].map(|amount| dollars(amount, 4)), ["$0.0000", "$0.2500", "$1.50"]);
    }

    #[test]
    fn reasons_are_words() {
        let kinds = [("digest", 1), ("gzip", 2), ("other_extension", 1_000)].map(|(kind, count)| (kind.into(), count));
        assert_eq!(reasons(&kinds.into()), "1 digest file, 2 with invalid gzip, 1,000 with another extension");
    }

    #[test]
    fn no_reason_contains_an_underscore() {
        for kind in ["other_extension", "folder_marker", "value_too_long", "no_records", "a_newer_kind"] {
            assert!(!reason_kind(kind).contains('_'), "{kind}");
        }
    }
}
