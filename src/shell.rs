//! Texts as words of a command line, so that a printed command works when it is copied.

/// Returns a text as one word of a POSIX shell: unchanged if it has no special characters, otherwise in quotes.
pub fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_@%+=:,./-".contains(c);
    match text {
        text if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
        text => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_quoted() {
        for (text, expected) in [
            ("/a/events-1.jsonl", "/a/events-1.jsonl"),
            ("/événements", "/événements"),
            ("/my events", "'/my events'"),
            ("a#1", "'a#1'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(word(text), expected);
        }
    }
}
