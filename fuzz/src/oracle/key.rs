//! The key grammar: parsing and rendering are inverses, a key is read as a forward reading of its parts reads it, and
//! nothing that is recognised can leave the folder it is put into.

use crate::object::key::{FileCompression, FileName, Kind, LogKey, Recognized, recognize};

/// # Panics
/// If a key is read otherwise than its parts say.
pub fn check(input: &[u8]) {
    let Ok(key) = std::str::from_utf8(input) else { return };
    let parsed = LogKey::parse(key);
    assert_eq!(parsed.is_some(), follows(key), "{key:?} is read as {parsed:?}");
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
            Recognized::NotALog(reason) => panic!("{key:?} follows the grammar and is foreign: {reason}"),
        }
    }
    if let Recognized::Log { kind, account, region, .. } = recognized {
        assert!(kind.is_log() && key.contains(account) && key.contains(region));
        assert!(account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()), "{account:?}");
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(!region.is_empty() && region.bytes().all(plain), "{region:?}");
    }
    // A key of the grammar that is changed in one part is another key, or none.
    if let Some(LogKey { file: FileName::Log { compression: FileCompression::Gzip, .. }, .. }) = parsed {
        assert!(matches!(recognize(key.strip_suffix(".gz").expect("gzip")), Recognized::Log { .. }));
    }
}

/// Whether a key follows the grammar, read from its start: by its parts, with no cleverness.
fn follows(key: &str) -> bool {
    let parts: Vec<&str> = key.split('/').collect();
    let Some(top) = parts.len().checked_sub(8) else { return false };
    let (above, [account, kind, region, year, month, day, name]) = (&parts[..=top], &parts[top + 1..]) else {
        return false;
    };
    let organised = above.len() >= 2 && above[top].strip_prefix("o-").is_some_and(is_organization_id);
    let logs = if organised { above[top - 1] == "AWSLogs" } else { above[top] == "AWSLogs" };
    if !logs || !digits(account, 12) || !digits(year, 4) || !digits(month, 2) || !digits(day, 2) {
        return false;
    }
    let date = format!("{year}{month}{day}");
    let Some(rest) = name.strip_prefix(&format!("{account}_{kind}_{region}_")) else { return false };
    let kinds = ["CloudTrail", "CloudTrail-Insight", "CloudTrail-NetworkActivity", "CloudTrail-Aggregated"];
    if !calendar(&date) || !is_region(region) {
        return false;
    }
    if kinds.contains(kind) {
        let Some(rest) = rest.strip_suffix(".json.gz").or_else(|| rest.strip_suffix(".json")) else { return false };
        let Some((stamp, suffix)) = rest.split_once('_') else { return false };
        return !suffix.is_empty()
            && stamp.len() == 14
            && stamp.starts_with(&format!("{date}T"))
            && stamp.ends_with('Z')
            && clock(&stamp.as_bytes()[9..13]);
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
        && clock(&stamp.as_bytes()[9..15])
}

fn is_organization_id(id: &str) -> bool {
    !id.is_empty() && id.chars().all(|letter| matches!(letter, 'a'..='z' | '0'..='9'))
}

fn digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `YYYYMMDD` of the Gregorian calendar.
fn calendar(date: &str) -> bool {
    let number = |text: &str| text.parse::<u32>().expect("digits");
    let (year, month, day) = (number(&date[..4]), number(&date[4..6]), number(&date[6..]));
    let leap = year % 4 == 0 && year % 100 != 0 || year % 400 == 0;
    let days = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    (1..=12).contains(&month) && (1..=days[month as usize - 1]).contains(&day)
}

/// `HHmm` or `HHmmss`.
fn clock(digits: &[u8]) -> bool {
    digits.iter().all(u8::is_ascii_digit)
        && (10 * (digits[0] - b'0') + digits[1] - b'0') < 24
        && digits[2..].chunks(2).all(|pair| pair[0] < b'6')
}

fn is_region(text: &str) -> bool {
    let words: Vec<&str> = text.split('-').collect();
    let [names @ .., number] = &words[..] else { return false };
    !names.is_empty()
        && names.iter().all(|name| !name.is_empty() && name.chars().all(|letter| letter.is_ascii_lowercase()))
        && !number.is_empty()
        && number.chars().all(|digit| digit.is_ascii_digit())
}
