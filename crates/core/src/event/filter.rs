//! Filter: which events are noise. Pure.
//!
//! A filtered event is counted and dropped; it is neither claimed nor delivered, so that a filter that is taken away
//! later loses nothing that another object still brings.

use super::members::members;
use serde::Deserialize;

/// Drops the events that match any of its rules. The default drops nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    rules: Vec<Rule>,
}

/// Every one of these top-level fields has one of its values.
type Rule = Vec<(String, Vec<String>)>;

impl Filter {
    /// Reads rules as they are configured: `eventSource=kms.amazonaws.com,eventName=Decrypt|Encrypt; readOnly=true`.
    /// `;` parts rules of which one must match, `,` the fields of a rule that must all match, `|` the values of a field.
    /// Values are compared with the field's text as CloudTrail writes it, letter by letter.
    ///
    /// # Errors
    /// Names the part that is not `field=value`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rules = text.split(';').map(str::trim).filter(|rule| !rule.is_empty()).map(|rule| {
            let fields = rule.split(',').map(|part| match part.trim().split_once('=') {
                Some((field, values)) if !field.is_empty() && !values.is_empty() => {
                    Ok((field.trim().to_owned(), values.split('|').map(|value| value.trim().to_owned()).collect()))
                }
                _ => Err(format!("expected field=value in the filter, found {part:?}; for example readOnly=true")),
            });
            fields.collect()
        });
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    /// Whether the event on this line is noise. A line that cannot be read is never.
    pub fn drops(&self, line: &[u8]) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let named = |name: &str| self.rules.iter().flatten().any(|(field, _)| field == name);
        let Ok(fields) = members(line, named) else { return false };
        let is = |field: &str, wanted: &str| {
            fields.get(field).is_some_and(|raw| match String::deserialize(*raw) {
                Ok(text) => text == wanted,
                Err(_) => raw.get() == wanted,
            })
        };
        self.rules.iter().any(|rule| rule.iter().all(|(field, values)| values.iter().any(|value| is(field, value))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drops(rules: &str, line: &str) -> bool {
        Filter::parse(rules).unwrap().drops(line.as_bytes())
    }

    #[test]
    fn a_rule_wants_all_of_its_fields_and_one_rule_is_enough() {
        let decrypt = r#"{"eventSource":"kms.amazonaws.com","eventName":"Decrypt","readOnly":true}"#;
        let rules = "eventSource=kms.amazonaws.com,eventName=Encrypt|Decrypt; eventName=Noise";
        assert!(drops(rules, decrypt));
        assert!(drops("readOnly=true", decrypt));
        assert!(!drops("eventSource=kms.amazonaws.com,eventName=Encrypt", decrypt));
        assert!(drops(rules, r#"{"eventName":"Noise"}"#));
        assert!(!drops(rules, r#"{"requestParameters":{"eventName":"Noise"}}"#));
    }

    #[test]
    fn nothing_is_dropped_by_no_rule_or_by_what_cannot_be_read() {
        assert!(!drops("", "{}"));
        assert!(!drops("a=b", "not json"));
        assert!(!drops("a=b", r#"{"a":["b"]}"#));
    }

    #[test]
    fn a_rule_without_a_value_is_refused() {
        for text in ["readOnly", "=x", "a=", "a=b,c"] {
            assert!(Filter::parse(text).unwrap_err().contains("field=value"), "{text}");
        }
    }
}
