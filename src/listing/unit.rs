//! Unit: a piece of the backfill that one worker can do by itself, and the message it travels in.

use super::folder_level::{Filters, names};
use super::span::Span;
use serde::{Deserialize, Serialize};

/// Some days of one account, kind and region; or all of a folder that follows no layout.
///
/// It serialises to the body of a message on the backfill queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// Bucket name, or `file://` and the absolute path of a folder.
    pub bucket: String,
    /// The folder, ending in a slash; empty for a whole bucket.
    pub prefix: String,
    /// What lies in it.
    pub layout: Layout,
    /// The days.
    pub span: Span,
    /// What is looked for, where the folder does not say it: in a flat one.
    #[serde(default, skip_serializing_if = "Filters::is_all")]
    pub filters: Filters,
    /// Which objects are handed in.
    #[serde(default)]
    pub pick: Pick,
    /// What is done with them.
    #[serde(default)]
    pub act: Act,
    /// The key up to which all is done; its day is part of it. Set when a unit is put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What lies in a unit's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Folders `YYYY/MM/DD/`: the days asked for are one stretch of the keys.
    Days,
    /// Anything, in any order of time: every key is listed, and told by its name.
    Flat,
}

/// Which objects are handed in, beside those nobody has begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pick {
    /// Those whose worker left them half done.
    #[default]
    Unfinished,
    /// Those and the quarantined ones, which are opened again.
    UnfinishedAndQuarantined,
}

/// What is done with what is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// It is handed in.
    #[default]
    HandIn,
    /// It is counted: a dry run.
    Count,
}

/// A message that is no unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a unit of the backfill: {0}")]
pub struct UnitError(String);

impl Unit {
    /// Reads the body of a message.
    ///
    /// # Errors
    /// Says what is missing, unknown or contradictory, and where. The message must then not be acknowledged.
    pub fn parse(body: &str) -> Result<Self, UnitError> {
        let unit: Self = serde_json::from_str(body).map_err(|error| UnitError(error.to_string()))?;
        unit.check()?;
        Ok(unit)
    }

    /// Whether its parts fit together, which no type says.
    ///
    /// # Errors
    /// Says what does not.
    pub fn check(&self) -> Result<(), UnitError> {
        let Self { prefix, after, .. } = self;
        if !prefix.is_empty() && !prefix.ends_with('/') {
            return Err(UnitError(format!("prefix {prefix:?} does not end in a slash")));
        }
        match after {
            // Going on behind a foreign key could leave out the whole folder.
            Some(after) if !after.starts_with(prefix) => {
                Err(UnitError(format!("after {after:?} does not lie under prefix {prefix:?}")))
            }
            _ => Ok(()),
        }
    }

    /// The body of its message.
    pub fn body(&self) -> String {
        // A struct of strings, sets of strings and plain enums: there is nothing in it that JSON could not hold.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The account, kind and region, where the folder says them.
    pub fn names(&self) -> [Option<&str>; 3] {
        names(&self.prefix)
    }

    /// Behind which key to begin, and before which to stop.
    pub(crate) fn stretch(&self) -> (Option<String>, Option<String>) {
        let (first, end) = match self.layout {
            Layout::Days => self.span.stretch(&self.prefix),
            Layout::Flat => (String::new(), None),
        };
        let after = self.after.clone().unwrap_or_default().max(first);
        (Some(after).filter(|after| !after.is_empty()), end)
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}, {}", self.bucket, self.prefix, self.span)?;
        self.after.as_ref().map_or(Ok(()), |after| write!(f, ", from {after} on"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_unit_is_read_back_from_its_message_the_same(
            prefix in "(\\PC{1,20}/)?",
            rest in proptest::option::of("\\PC{0,20}"),
            flat: bool,
            quarantined: bool,
            count: bool,
            accounts in proptest::collection::btree_set("[0-9]{12}", 0..3),
        ) {
            let unit = Unit {
                bucket: "logs".to_owned(),
                after: rest.map(|rest| format!("{prefix}{rest}")),
                prefix,
                layout: if flat { Layout::Flat } else { Layout::Days },
                span: Span::parse("2026-11-01", "2026-11-04").unwrap(),
                filters: Filters { accounts, ..Filters::default() },
                pick: if quarantined { Pick::UnfinishedAndQuarantined } else { Pick::Unfinished },
                act: if count { Act::Count } else { Act::HandIn },
            };
            prop_assert_eq!(Unit::parse(&unit.body()).unwrap(), unit);
        }
    }

    #[test]
    fn a_message_that_is_no_unit_is_refused_with_the_reason() {
        let unit = |more: &str| {
            let body = r#"{"bucket":"b","prefix":"p/","layout":"days","span":{"from":"2026-11-01","to":"2026-11-02"}"#;
            Unit::parse(&format!("{body}{more}}}"))
        };
        assert!(unit("").is_ok());
        for (more, said) in [
            (r#","after":"q/1""#, "after \"q/1\" does not lie under prefix \"p/\""),
            (r#","dry":true"#, "unknown field `dry`"),
            (r#","act":"guess""#, "unknown variant `guess`"),
        ] {
            let error = unit(more).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(Unit::parse(r#"{"Records":[]}"#).is_err());
    }
}
