//! The folder (partition) of an event.

use crate::event::EventScope;
use sha2::{Digest, Sha256};

/// Returns the folder of an event, relative to the destination: `account=…/region=…/date=YYYY-MM-DD`.
///
/// The values come from the event and are untrusted. A value of at most 48 characters that has only characters of
/// account IDs and region names is used unchanged. Any other value is cut to 48 characters, its other characters are
/// replaced, and a hash of the value is appended. So a value can neither escape the destination nor collide with
/// another value, even on a case-insensitive file system. An absent value becomes `unknown`, and the literal value
/// `unknown` gets a hash.
pub(super) fn folder(scope: &EventScope) -> String {
    format!(
        "account={}/region={}/date={}",
        folder_value(&scope.account),
        folder_value(&scope.region),
        date(scope.minute)
    )
}

const UNKNOWN: &str = "unknown";

/// The maximum number of characters of a value in a folder name. File systems limit a name to 255 bytes.
const MAX_VALUE_CHARS: usize = 48;

/// Returns the account or region of an event as part of a folder name. See [`folder`].
pub(super) fn folder_value(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() {
        return UNKNOWN.to_owned();
    }
    if text.len() <= MAX_VALUE_CHARS && text.chars().all(is_plain) && text != UNKNOWN {
        return text.to_owned();
    }
    let mut safe: String = text
        .chars()
        .take(MAX_VALUE_CHARS)
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
        .collect();
    safe.push('~');
    Sha256::digest(text).iter().take(8).fold(safe, |safe, byte| format!("{safe}{byte:02x}"))
}

/// Returns the day of a minute as `YYYY-MM-DD`, or `unknown` if the minute is absent or not in the years 0 to 9999.
pub(super) fn date(minute: Option<i64>) -> String {
    let day = || {
        let days = jiff::Span::new().try_days(minute?.div_euclid(24 * 60)).ok()?;
        let date = jiff::civil::date(1970, 1, 1).checked_add(days).ok()?;
        (date.year() >= 0).then(|| date.to_string())
    };
    day().unwrap_or_else(|| UNKNOWN.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn scope(account: &str, region: &str, minute: Option<i64>) -> EventScope {
        EventScope { account: account.into(), region: region.into(), minute }
    }

    #[test]
    fn folder_names_account_region_and_day() {
        let minute = Some(28_000_000);
        assert_eq!(
            folder(&scope("111122223333", "eu-west-1", minute)),
            "account=111122223333/region=eu-west-1/date=2023-03-28"
        );
    }

    #[test]
    fn absent_value_and_literal_unknown_are_distinct() {
        assert_eq!(folder(&scope("", "", None)), "account=unknown/region=unknown/date=unknown");
        assert_ne!(folder_value("unknown"), "unknown");
        for minute in [i64::MAX, i64::MIN, -2_000_000_000] {
            assert_eq!(date(Some(minute)), "unknown", "{minute}");
        }
        assert_eq!(date(Some(-1)), "1969-12-31");
        assert_eq!(date(Some(253_402_300_799 / 60)), "9999-12-31");
    }

    #[test]
    fn values_that_differ_in_case_do_not_collide() {
        assert_ne!(folder_value("Ab").to_lowercase(), folder_value("ab").to_lowercase());
        assert_ne!(folder_value("AB").to_lowercase(), folder_value("Ab").to_lowercase());
    }

    proptest! {
        #[test]
        fn no_value_escapes_its_folder(text in any::<String>()) {
            let safe = folder_value(&text);
            prop_assert!(safe.len() < 100 && !safe.is_empty(), "{safe}");
            prop_assert!(safe.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_~".contains(&b)), "{safe}");
        }

        #[test]
        fn distinct_values_never_share_a_folder(texts in proptest::collection::hash_set("(\\.|/|a|A|-|unknown|\\PC){0,6}", 0..40)) {
            let mut seen = HashMap::new();
            for text in texts {
                let folded = folder_value(&text).to_lowercase();
                if let Some(other) = seen.insert(folded, text.clone()) {
                    prop_assert!(false, "{text:?} and {other:?} share a folder");
                }
            }
        }
    }

    #[test]
    fn path_as_account_stays_inside() {
        for text in ["..", "../../etc", "/etc/passwd", "a/b", ".", "\0", "a\nb", "C:\\x", &"9".repeat(4000)] {
            let folder = folder(&scope(text, text, None));
            assert_eq!(folder.split('/').count(), 3, "{folder}");
            assert!(!folder.contains("..") && folder.len() < 200, "{folder}");
        }
    }
}
