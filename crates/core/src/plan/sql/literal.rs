//! Literals and patterns of SQL.

use super::RenderError;
use crate::plan::{Network, PathStep};
use std::fmt::Write as _;
use std::net::IpAddr;

/// The character that escapes `%` and `_` in patterns of `LIKE`.
const LIKE_ESCAPE: char = '!';

/// Returns a text as a literal.
///
/// # Errors
/// The text contains a control character.
pub(super) fn text_literal(text: &str) -> Result<String, RenderError> {
    match text.chars().any(char::is_control) {
        true => Err(RenderError::ControlCharacter(text.to_owned())),
        false => Ok(format!("'{}'", text.replace('\'', "''"))),
    }
}

/// Returns a name in quotation marks.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns the condition that a value matches a text. `before` and `after` are `%` or nothing.
pub(super) fn like_condition(value: &str, before: &str, text: &str, after: &str) -> Result<String, RenderError> {
    let mut escaped = String::new();
    for character in text.chars() {
        if matches!(character, '%' | '_' | LIKE_ESCAPE) {
            escaped.push(LIKE_ESCAPE);
        }
        escaped.push(character);
    }
    let pattern = text_literal(&format!("{before}{escaped}{after}"))?;
    Ok(match escaped.len() == text.len() {
        true => format!("{value} LIKE {pattern}"),
        false => format!("{value} LIKE {pattern} ESCAPE '{LIKE_ESCAPE}'"),
    })
}

/// Returns a path in the notation of `json_extract`.
pub(super) fn json_path(root: &[&str], steps: &[PathStep]) -> String {
    let mut path = "$".to_owned();
    let names = root.iter().map(|name| PathStep::Name((*name).to_owned()));
    for step in names.chain(steps.iter().cloned()) {
        match step {
            PathStep::Index(index) => {
                let _ = write!(path, "[{index}]");
            }
            PathStep::Name(name) => {
                let is_plain = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                    && name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_');
                let _ = match is_plain {
                    true => write!(path, ".{name}"),
                    false => write!(path, "[\"{}\"]", name.replace('\\', "\\\\").replace('"', "\\\"")),
                };
            }
        }
    }
    path
}

/// Returns a regular expression for the addresses of an IPv4 network, or `None` for an IPv6 network. It matches the whole
/// address.
pub(super) fn ipv4_pattern(network: Network) -> Option<String> {
    const ANY: &str = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
    let IpAddr::V4(first) = network.first() else { return None };
    let octets: Vec<_> = first
        .octets()
        .into_iter()
        .enumerate()
        .map(|(index, octet)| {
            let fixed_bits = usize::from(network.prefix_length()).saturating_sub(8 * index).min(8);
            match fixed_bits {
                8 => octet.to_string(),
                0 => ANY.to_owned(),
                bits => {
                    let numbers: Vec<_> =
                        (0..1_u16 << (8 - bits)).map(|offset| (u16::from(octet) + offset).to_string()).collect();
                    format!("(?:{})", numbers.join("|"))
                }
            }
        })
        .collect();
    Some(format!("^{}$", octets.join("\\.")))
}

/// Returns a regular expression that finds a text within a value of a JSON document, and not within a name.
///
/// A value follows `:`, `[` or `,`, and precedes `,`, `]` or `}`; a name precedes `:`.
pub(super) fn anywhere_pattern(text: &str) -> String {
    let in_text: String = text.chars().map(json_character).collect();
    let mut pattern = format!(r#"[:\[,]\s*"(?:[^"\\]|\\.)*{in_text}(?:[^"\\]|\\.)*"\s*[,\]}}]"#);
    // Numbers, `true` and `false` are values too. `null` is not.
    let is_in_number = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E'));
    if is_in_number {
        let number = text.replace('+', r"\+").replace('.', r"\.");
        let _ = write!(pattern, r"|[:\[,]\s*[-0-9+.eE]*{number}[-0-9+.eE]*\s*[,\]}}]");
    }
    for word in ["true", "false"].into_iter().filter(|word| word.contains(text)) {
        let _ = write!(pattern, r"|[:\[,]\s*{word}\s*[,\]}}]");
    }
    pattern
}

/// Returns a regular expression for the forms that a character has in the JSON texts of usual serializers. It does not cover
/// `\u` for the other characters of ASCII.
fn json_character(character: char) -> String {
    let mut units = [0; 2];
    let escape: String = character.encode_utf16(&mut units).iter().map(|unit| format!(r"\\u(?i:{unit:04x})")).collect();
    match character {
        '"' => r#"(?:\\"|\\u0022)"#.to_owned(),
        '\\' => r"(?:\\\\|\\u(?i:005c))".to_owned(),
        '/' => r"(?:\\?/|\\u(?i:002f))".to_owned(),
        // Serializers for HTML escape these characters.
        '<' | '>' | '&' | '\'' | '=' => format!("(?:{character}|{escape})"),
        _ if character.is_ascii_alphanumeric() || character == ' ' || character == '_' => character.to_string(),
        _ if character.is_ascii() => format!("\\{character}"),
        _ => format!("(?:{character}|{escape})"),
    }
}
