//! The event filter.
//!
//! A filtered event is counted and dropped. It is neither claimed nor delivered. If the filter is removed later, the
//! event is delivered from the next object that contains it.

use super::{field, members::members};
use serde::Deserialize;

/// Drops the events that match at least one of its rules. The default filter drops no event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    rules: Vec<Rule>,
}

/// A rule matches if each of these top-level fields has one of its values.
type Rule = Vec<(String, Vec<String>)>;

impl Filter {
    /// Parses rules such as `eventSource=kms.amazonaws.com,eventName=Decrypt|Encrypt; readOnly=true`. `;` separates
    /// rules, one of which must match. `,` separates the fields of a rule, all of which must match. `|` separates the
    /// values of a field. The comparison is case-sensitive.
    ///
    /// # Errors
    /// A message that names the part that is not `field=value`, or the field that no event has or that cannot be
    /// compared.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rules = text.split(';').map(str::trim).filter(|rule| !rule.is_empty()).map(|rule| {
            let fields = rule.split(',').map(|part| match part.trim().split_once('=') {
                Some((field, values)) if !field.is_empty() && !values.is_empty() => {
                    let field = field.trim();
                    field::check(field).map_err(|what| format!("invalid filter {part:?}: {what}"))?;
                    Ok((field.to_owned(), values.split('|').map(|value| value.trim().to_owned()).collect()))
                }
                _ => Err(format!("invalid filter {part:?}: expected field=value, for example readOnly=true")),
            });
            fields.collect()
        });
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    /// Returns whether the event matches the filter. A line that is not a JSON object never matches.
    pub fn drops(&self, line: &[u8]) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let is_used = |name: &str| self.rules.iter().flatten().any(|(field, _)| field == name);
        let Ok(fields) = members(line, is_used) else { return false };
        let matches_value = |field: &str, value: &str| {
            fields.get(field).is_some_and(|raw| match String::deserialize(*raw) {
                Ok(text) => text == value,
                Err(_) => raw.get() == value,
            })
        };
        self.rules
            .iter()
            .any(|rule| rule.iter().all(|(field, values)| values.iter().any(|value| matches_value(field, value))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drops(rules: &str, line: &str) -> bool {
        Filter::parse(rules).unwrap().drops(line.as_bytes())
    }

    #[test]
    fn rule_matches_if_all_fields_match_and_one_rule_suffices() {
        let decrypt = r#"{"eventSource":"kms.amazonaws.com","eventName":"Decrypt","readOnly":true}"#;
        let rules = "eventSource=kms.amazonaws.com,eventName=Encrypt|Decrypt; eventName=Noise";
        assert!(drops(rules, decrypt));
        assert!(drops("readOnly=true", decrypt));
        assert!(!drops("eventSource=kms.amazonaws.com,eventName=Encrypt", decrypt));
        assert!(drops(rules, r#"{"eventName":"Noise"}"#));
        assert!(!drops(rules, r#"{"requestParameters":{"eventName":"Noise"}}"#));
    }

    #[test]
    fn empty_filter_and_invalid_line_drop_nothing() {
        assert!(!drops("", "{}"));
        assert!(!drops("eventName=b", "not json"));
        assert!(!drops("eventName=b", r#"{"eventName":["b"]}"#));
    }

    #[test]
    fn unknown_and_nested_fields_are_rejected() {
        for (text, expected) in [
            ("eventsource=kms.amazonaws.com", "did you mean eventSource?"),
            ("readOnly=true; evntName=x", "did you mean eventName?"),
            ("nosuchField=x", "unknown field \"nosuchField\": expected a top-level field"),
            ("userIdentity=Root", "userIdentity contains other fields"),
            ("userIdentity.type=Root", "unknown field"),
        ] {
            let error = Filter::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn rule_without_value_is_rejected() {
        for text in ["readOnly", "=x", "eventName=", "eventName=b,c"] {
            assert!(Filter::parse(text).unwrap_err().contains("field=value"), "{text}");
        }
    }
}
