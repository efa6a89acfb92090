//! Unit: a part of the backfill that one worker processes independently, and its queue message.

use super::day_range::DayRange;
use super::folder_level::Filters;
use serde::{Deserialize, Serialize};

/// Several days of one account, kind and region; or a whole folder without CloudTrail's layout.
///
/// It serializes to the body of a message on the backfill queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// Bucket name, or `file://` and the absolute path of a folder.
    pub bucket: String,
    /// The folder, with a final slash; empty for a whole bucket.
    pub prefix: String,
    /// How the folder is organized.
    pub layout: Layout,
    /// The days.
    pub day_range: DayRange,
    /// Accounts, kinds and regions to include. Used for flat folders, whose names do not contain them.
    #[serde(default, skip_serializing_if = "Filters::is_all")]
    pub filters: Filters,
    /// Which objects are selected for ingestion.
    #[serde(default)]
    pub states: StateSelection,
    /// What is done with the selected objects.
    #[serde(default)]
    pub mode: BackfillMode,
    /// The cursor: the last key that is completely processed. Set when a unit is requeued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// How a unit's folder is organized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Folders `YYYY/MM/DD/`: the requested days are one contiguous range of keys.
    Days,
    /// Any keys, in any order of time: every key is listed and classified by its name.
    Flat,
}

/// Which objects are selected for ingestion in addition to objects without a ledger row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateSelection {
    /// Objects that a worker started and did not finish.
    #[default]
    Unfinished,
    /// Unfinished objects, and quarantined objects, which are released from quarantine first.
    UnfinishedAndQuarantined,
}

/// What a backfill does with the objects that need ingestion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackfillMode {
    /// Enqueues the objects for ingestion.
    #[default]
    Enqueue,
    /// Only counts the objects: a dry run.
    Count,
}

/// An error for a message that is not a valid unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid backfill unit: {0}")]
pub struct UnitError(String);

impl Unit {
    /// Reads the body of a message.
    ///
    /// # Errors
    /// Names the field that is missing, unknown or contradictory. The message must not be acknowledged.
    pub fn parse(body: &str) -> Result<Self, UnitError> {
        let unit: Self = serde_json::from_str(body).map_err(|error| UnitError(error.to_string()))?;
        unit.check()?;
        Ok(unit)
    }

    /// Checks that the fields are consistent with each other.
    ///
    /// # Errors
    /// Names the field that is not consistent.
    pub(crate) fn check(&self) -> Result<(), UnitError> {
        let Self { prefix, after, .. } = self;
        if !prefix.is_empty() && !prefix.ends_with('/') {
            return Err(UnitError(format!("prefix {prefix:?} does not end in a slash")));
        }
        match after {
            // Resuming after a key outside the folder could skip the whole folder.
            Some(after) if !after.starts_with(prefix) => {
                Err(UnitError(format!("after {after:?} is not under prefix {prefix:?}")))
            }
            _ => Ok(()),
        }
    }

    /// Returns the body of the unit's message.
    pub fn body(&self) -> String {
        // Strings, sets of strings and plain enums always serialize to JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns the key after which to start and the key before which to stop.
    pub fn key_range(&self) -> (Option<String>, Option<String>) {
        let (first, end) = match self.layout {
            Layout::Days => self.day_range.key_range(&self.prefix),
            Layout::Flat => (String::new(), None),
        };
        let after = self.after.clone().unwrap_or_default().max(first);
        (Some(after).filter(|after| !after.is_empty()), end)
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}, {}", self.bucket, self.prefix, self.day_range)?;
        self.after.as_ref().map_or(Ok(()), |after| write!(f, ", after {after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn message_round_trips(
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
                day_range: DayRange::parse("2026-11-01", "2026-11-04").unwrap(),
                filters: Filters { accounts, ..Filters::default() },
                states: if quarantined { StateSelection::UnfinishedAndQuarantined } else { StateSelection::Unfinished },
                mode: if count { BackfillMode::Count } else { BackfillMode::Enqueue },
            };
            prop_assert_eq!(Unit::parse(&unit.body()).unwrap(), unit);
        }
    }

    #[test]
    fn invalid_message_is_rejected_with_the_reason() {
        let unit = |more: &str| {
            let body =
                r#"{"bucket":"b","prefix":"p/","layout":"days","day_range":{"from":"2026-11-01","to":"2026-11-02"}"#;
            Unit::parse(&format!("{body}{more}}}"))
        };
        assert!(unit("").is_ok());
        for (more, error_text) in [
            (r#","after":"q/1""#, "after \"q/1\" is not under prefix \"p/\""),
            (r#","dry":true"#, "unknown field `dry`"),
            (r#","mode":"guess""#, "unknown variant `guess`"),
        ] {
            let error = unit(more).unwrap_err().to_string();
            assert!(error.contains(error_text), "{error}");
        }
        assert!(Unit::parse(r#"{"Records":[]}"#).is_err());
    }
}
