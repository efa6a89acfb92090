//! The oracle of the key grammar. Parsing and rendering are inverses, a second implementation of the grammar agrees,
//! and account and region of a recognized key are plain words that cannot leave the folder that they name.

use crate::object::key::{FileCompression, FileName, Kind, LogKey, Recognized, recognize};

/// Checks the key parser with one input.
///
/// # Panics
/// If a property does not hold.
pub fn check(input: &[u8]) {
    let Ok(key) = std::str::from_utf8(input) else { return };
    let parsed = LogKey::parse(key);
    assert_eq!(parsed.is_some(), follows_grammar(key), "{key:?} is parsed as {parsed:?}");
    let recognized = recognize(key);
    if let Some(parsed) = &parsed {
        assert_eq!(parsed.to_string(), key);
        match recognized {
            Recognized::Log { kind, account, region, date } => {
                assert_eq!((kind, account, region), (parsed.kind, &*parsed.account, &*parsed.region));
                assert_eq!(date, parsed.date);
                assert!(matches!(parsed.file, FileName::Log { .. }));
            }
            Recognized::Digest => assert_eq!(parsed.kind, Kind::Digest),
            Recognized::NotALog(reason) => panic!("{key:?} follows the grammar but is not recognized: {reason}"),
        }
    }
    if let Recognized::Log { kind, account, region, .. } = recognized {
        assert!(kind.is_log() && key.contains(account) && key.contains(region));
        assert!(account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()), "{account:?}");
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(!region.is_empty() && region.bytes().all(is_plain), "{region:?}");
    }
    // The case of the extension does not matter.
    let extension = [".json.gz", ".json"].into_iter().find_map(|extension| {
        let at = key.len().checked_sub(extension.len())?;
        key.get(at..).filter(|end| end.eq_ignore_ascii_case(extension)).map(|_| at)
    });
    if let Some(at) = extension {
        let other_case: String = key[at..].chars().map(switch_case).collect();
        let other = format!("{}{other_case}", &key[..at]);
        assert_eq!(recognize(&other), recognized, "{other:?}");
    }
    // A decompressed file is still recognized as a log.
    if let Some(LogKey { file: FileName::Log { compression: FileCompression::Gzip, .. }, .. }) = parsed {
        assert!(matches!(recognize(key.strip_suffix(".gz").expect("the key ends in .gz")), Recognized::Log { .. }));
    }
}

fn switch_case(letter: char) -> char {
    if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
}

/// Returns whether a key follows the grammar. This second implementation parses from the start of the key.
fn follows_grammar(key: &str) -> bool {
    let parts: Vec<&str> = key.split('/').collect();
    let Some(top) = parts.len().checked_sub(8) else { return false };
    let (above, [account, kind, region, year, month, day, name]) = (&parts[..=top], &parts[top + 1..]) else {
        return false;
    };
    let has_organization = above.len() >= 2 && above[top].strip_prefix("o-").is_some_and(is_organization_id);
    let logs = if has_organization { above[top - 1] == "AWSLogs" } else { above[top] == "AWSLogs" };
    if !logs || !has_digits(account, 12) || !has_digits(year, 4) || !has_digits(month, 2) || !has_digits(day, 2) {
        return false;
    }
    let date = format!("{year}{month}{day}");
    let Some(rest) = name.strip_prefix(&format!("{account}_{kind}_{region}_")) else { return false };
    let kinds = ["CloudTrail", "CloudTrail-Insight", "CloudTrail-NetworkActivity", "CloudTrail-Aggregated"];
    if !is_date(&date) || !is_region(region) {
        return false;
    }
    if kinds.contains(kind) {
        let Some(rest) = rest.strip_suffix(".json.gz").or_else(|| rest.strip_suffix(".json")) else { return false };
        let Some((stamp, suffix)) = rest.split_once('_') else { return false };
        return !suffix.is_empty()
            && stamp.len() == 14
            && stamp.starts_with(&format!("{date}T"))
            && stamp.ends_with('Z')
            && is_time(&stamp.as_bytes()[9..13]);
    }
    let Some(rest) = rest.strip_suffix(".json.gz") else { return false };
    let rest = rest.strip_suffix("_backfill").unwrap_or(rest);
    let words: Vec<&str> = rest.split('_').collect();
    let [trail @ .., home, stamp] = &words[..] else { return false };
    *kind == "CloudTrail-Digest"
        && !trail.join("_").is_empty()
        && is_region(home)
        && stamp.len() == 16
        && stamp.starts_with(&format!("{date}T"))
        && stamp.ends_with('Z')
        && is_time(&stamp.as_bytes()[9..15])
}

fn is_organization_id(id: &str) -> bool {
    !id.is_empty() && id.chars().all(|letter| matches!(letter, 'a'..='z' | '0'..='9'))
}

fn has_digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether `YYYYMMDD` is a date of the Gregorian calendar.
fn is_date(date: &str) -> bool {
    let number = |text: &str| text.parse::<u32>().expect("digits");
    let (year, month, day) = (number(&date[..4]), number(&date[4..6]), number(&date[6..]));
    let leap = year % 4 == 0 && year % 100 != 0 || year % 400 == 0;
    let days = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    (1..=12).contains(&month) && (1..=days[month as usize - 1]).contains(&day)
}

/// Returns whether `HHmm` or `HHmmss` is a valid time.
fn is_time(has_digits: &[u8]) -> bool {
    has_digits.iter().all(u8::is_ascii_digit)
        && (10 * (has_digits[0] - b'0') + has_digits[1] - b'0') < 24
        && has_digits[2..].chunks(2).all(|pair| pair[0] < b'6')
}

fn is_region(text: &str) -> bool {
    let words: Vec<&str> = text.split('-').collect();
    let [names @ .., number] = &words[..] else { return false };
    !names.is_empty()
        && names.iter().all(|name| !name.is_empty() && name.chars().all(|letter| letter.is_ascii_lowercase()))
        && !number.is_empty()
        && number.chars().all(|digit| digit.is_ascii_digit())
}
