//! Texts of findings. Pure.

/// Returns a duration in seconds as `n minutes ago`.
pub(crate) fn ago(seconds: i64) -> String {
    format!("{} ago", duration(seconds))
}

/// Returns a duration in seconds in the largest unit of which it has at least two.
pub(crate) fn duration(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} minutes", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} hours", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// Returns `1 object` or `2 objects`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Returns a text on one line, shortened to `max` characters.
pub(crate) fn short(text: &str, max: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_in_the_largest_suitable_unit() {
        let all = [0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(duration);
        assert_eq!(all, ["0 s", "119 s", "2 minutes", "119 minutes", "2 hours", "47 hours", "2 days"]);
        assert_eq!(ago(-5), "0 s ago");
    }

    #[test]
    fn long_text_is_shortened_at_a_character() {
        assert_eq!(short("aé\n b", 2), "aé…");
        assert_eq!(
            (short("ab", 2), counted(1, "object"), counted(2, "object")),
            ("ab".into(), "1 object".into(), "2 objects".into())
        );
    }
}
