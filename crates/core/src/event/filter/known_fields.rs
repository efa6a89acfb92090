//! What a filter does with an event if only some of its fields are known.

use super::condition::Condition;
use super::{Filter, Rule, Rules};
use crate::event::json::Leaf;
use std::borrow::Cow;

/// A top-level field that is known, and its text.
pub type KnownField<'a> = (&'a str, &'a str);

impl Filter {
    /// Returns whether every event with these texts of top-level fields is dropped, regardless of its other fields.
    pub fn drops_every(&self, known: &[KnownField<'_>]) -> bool {
        self.0.as_ref().is_some_and(|rules| rules.drops_every(known))
    }
}

impl Rules {
    fn drops_every(&self, known: &[KnownField<'_>]) -> bool {
        let is_certain = |rule: &Rule, wanted: bool| match wanted {
            true => rule.conditions.iter().all(|condition| self.fulfills_known(condition, known) == Some(true)),
            false => rule.conditions.iter().any(|condition| self.fulfills_known(condition, known) == Some(false)),
        };
        let is_included_by_none = !self.include.is_empty() && self.include.iter().all(|rule| is_certain(rule, false));
        is_included_by_none || self.exclude.iter().any(|rule| is_certain(rule, true))
    }

    /// Returns whether the known fields fulfill a condition. `None` if its field is not known.
    fn fulfills_known(&self, condition: &Condition, known: &[KnownField<'_>]) -> Option<bool> {
        let path = &self.paths[condition.path];
        let (_, text) = known.iter().find(|(name, _)| path.is_top_level() && path.names[0] == *name)?;
        Some(condition.matches(&[Leaf::Text(Cow::Borrowed(text.as_bytes()))]))
    }
}

#[cfg(all(test, feature = "filter-file"))]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_known_fields_decide_is_certain() {
        let known = [("eventName", "Decrypt"), ("eventSource", "kms.amazonaws.com")];
        let name = |kind: &str, more: &str| {
            format!("[[{kind}]]\nwhen = [{{ field = \"eventName\", equals = \"Decrypt\" }}{more}]\n")
        };
        let other = ", { field = \"readOnly\", equals = \"false\" }";
        let absent = ", { field = \"errorCode\", exists = false }";
        let another = "[[include]]\nwhen = [{ field = \"eventName\", equals = \"GetObject\" }]\n";
        for (text, expected) in [
            (name("exclude", ""), true),
            (name("exclude", other), false),
            // The field can be present in another event.
            (name("exclude", absent), false),
            (name("include", ""), false),
            (name("include", other), false),
            (another.to_owned(), true),
            (another.to_owned() + &name("include", other), false),
            (another.to_owned() + "[[include]]\nwhen = [{ field = \"readOnly\", equals = \"false\" }]\n", false),
            ("[[exclude]]\nwhen = [{ field = \"eventName\", equals = \"Decrypt\", not = true }]\n".to_owned(), false),
            ("[[exclude]]\nwhen = [{ field = \"eventName\", equals = \"GetObject\", not = true }]\n".to_owned(), true),
        ] {
            let filter = Filter::from_toml("filter.toml", &text).unwrap();
            assert_eq!(filter.drops_every(&known), expected, "{text}");
        }
        assert!(!Filter::default().drops_every(&known));
    }
}
