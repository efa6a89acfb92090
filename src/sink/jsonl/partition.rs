//! Which folder an event belongs in. Pure.

use crate::event::EventScope;
use sha2::{Digest, Sha256};

/// The folder of an event, relative to the destination: `account=…/region=…/date=YYYY-MM-DD`.
///
/// What an event says of itself is foreign text. A part that could be an account or a region stands as it is; any other
/// is made harmless and carries a hash of what it was, so that it can neither leave the destination nor be merged with
/// another, on file systems without upper and lower case too. What is absent reads `unknown`, and an account that is
/// really called that gets a hash.
pub(super) fn folder(scope: &EventScope) -> String {
    format!("account={}/region={}/date={}", part(&scope.account), part(&scope.region), date(scope.minute))
}

const UNKNOWN: &str = "unknown";

/// Bytes of a part that are kept: a file system allows 255 for a name.
const MAX_PART_CHARS: usize = 48;

fn part(text: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() {
        return UNKNOWN.to_owned();
    }
    if text.len() <= MAX_PART_CHARS && text.chars().all(plain) && text != UNKNOWN {
        return text.to_owned();
    }
    let mut safe: String = text
        .chars()
        .take(MAX_PART_CHARS)
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
        .collect();
    safe.push('~');
    Sha256::digest(text).iter().take(8).fold(safe, |safe, byte| format!("{safe}{byte:02x}"))
}

fn date(minute: Option<i64>) -> String {
    let day = || {
        let time = jiff::Timestamp::from_second(minute?.checked_mul(60)?).ok()?;
        let date = time.to_zoned(jiff::tz::TimeZone::UTC).date();
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
    fn an_ordinary_event_lies_under_its_account_region_and_day() {
        let minute = Some(28_000_000);
        assert_eq!(
            folder(&scope("111122223333", "eu-west-1", minute)),
            "account=111122223333/region=eu-west-1/date=2023-03-28"
        );
    }

    #[test]
    fn what_is_absent_is_unknown_and_what_is_called_unknown_is_not_absent() {
        assert_eq!(folder(&scope("", "", None)), "account=unknown/region=unknown/date=unknown");
        assert_ne!(part("unknown"), "unknown");
        for minute in [i64::MAX, i64::MIN, -2_000_000_000] {
            assert_eq!(date(Some(minute)), "unknown", "{minute}");
        }
        assert_eq!(date(Some(-1)), "1969-12-31");
    }

    #[test]
    fn upper_and_lower_case_do_not_meet_on_a_file_system_that_ignores_case() {
        assert_ne!(part("Ab").to_lowercase(), part("ab").to_lowercase());
        assert_ne!(part("AB").to_lowercase(), part("Ab").to_lowercase());
    }

    proptest! {
        #[test]
        fn no_text_leaves_its_folder(text in any::<String>()) {
            let part = part(&text);
            prop_assert!(part.len() < 100 && !part.is_empty(), "{part}");
            prop_assert!(part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_~".contains(&b)), "{part}");
        }

        #[test]
        fn two_texts_never_share_a_folder(texts in proptest::collection::hash_set("(\\.|/|a|A|-|unknown|\\PC){0,6}", 0..40)) {
            let mut seen = HashMap::new();
            for text in texts {
                let folded = part(&text).to_lowercase();
                if let Some(other) = seen.insert(folded, text.clone()) {
                    prop_assert!(false, "{text:?} and {other:?} share a folder");
                }
            }
        }
    }

    #[test]
    fn a_path_written_as_an_account_stays_inside() {
        for text in ["..", "../../etc", "/etc/passwd", "a/b", ".", "\0", "a\nb", "C:\\x", &"9".repeat(4000)] {
            let folder = folder(&scope(text, text, None));
            assert_eq!(folder.split('/').count(), 3, "{folder}");
            assert!(!folder.contains("..") && folder.len() < 200, "{folder}");
        }
    }
}
