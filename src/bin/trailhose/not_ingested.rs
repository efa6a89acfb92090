//! Lists objects that were not ingested, each with its reason.

use crate::text::{one_line, reason_kind};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use trailhose::ingest::{Deferred, Outcome};
use trailhose::object::ObjectRef;
use trailhose::object::key::{NotALog, Recognized, recognize};

/// Maximum number of objects printed for each reason without `--verbose`.
const MAX_PRINTED: u64 = 20;

/// Maximum number of objects listed in a JSON summary. Bounds memory if a whole bucket is invalid.
const MAX_LISTED: usize = 1000;

/// An object that was not ingested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct NotIngested {
    /// Location of the object.
    pub(crate) object: String,
    /// `quarantined`, `failed`, `deferred`, `skipped` or `unvisited`.
    pub(crate) outcome: &'static str,
    /// The reason as an identifier.
    pub(crate) kind: String,
    /// The reason in words.
    pub(crate) reason: String,
    /// Whether a person accepted that the object stays quarantined.
    #[serde(skip)]
    accepted: bool,
}

/// Why a folder outside CloudTrail's layout was not listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnvisitedCause {
    /// The user selects days, accounts, kinds or regions.
    Selection,
    /// A round of a watch after the first looks back a few days.
    LookBack,
    /// As [`Self::LookBack`], but the next round reads everything.
    ReadNext,
}

impl NotIngested {
    /// Returns the entry for an object, or `None` if it was ingested.
    pub(crate) fn of(at: &ObjectRef, outcome: &Outcome) -> Option<Self> {
        let (result, kind, reason) = match outcome {
            Outcome::Done(_) | Outcome::AlreadyDone => return None,
            Outcome::Skipped("not_a_file") => (
                "skipped",
                "not_a_file".into(),
                "not a regular file with a UTF-8 name in this folder, and its name is not that of a log".into(),
            ),
            Outcome::Skipped(kind) => ("skipped", (*kind).to_owned(), why_skipped(&at.key)),
            Outcome::Quarantined(quarantined) => {
                let more = match &quarantined.accepted {
                    Some(why) => format!(" (accepted: {why})"),
                    None => advice(&quarantined.kind).to_owned(),
                };
                ("quarantined", quarantined.kind.clone(), format!("{}{more}", quarantined.reason))
            }
            Outcome::Deferred(Deferred::Leased { .. }) => {
                ("deferred", "leased".into(), "another worker is processing it; rerun to resume".into())
            }
            Outcome::Deferred(Deferred::OwnerInProgress { .. }) => (
                "deferred",
                "owner_in_progress".into(),
                "some of its events are being delivered by another object; rerun to resume".into(),
            ),
            Outcome::Deferred(Deferred::OutOfTime) => {
                ("deferred", "out_of_time".into(), "the time limit was reached; rerun to resume".into())
            }
            Outcome::Failed(failure) => ("failed", "failed".into(), failure.to_string()),
        };
        let accepted = matches!(outcome, Outcome::Quarantined(quarantined) if quarantined.accepted.is_some());
        Some(Self { object: at.to_string(), outcome: result, kind, reason, accepted })
    }

    /// Returns the entry for a folder that was not listed.
    pub(crate) fn unvisited(folder: &ObjectRef, cause: UnvisitedCause) -> Self {
        let reason = match cause {
            UnvisitedCause::Selection => {
                "not a CloudTrail folder; to read it, omit --since, --until, --account, --region and --kind, or use it as \
                 SOURCE"
            }
            UnvisitedCause::LookBack => {
                "not a CloudTrail folder; only the first round reads such folders of a bucket; to read it in every round, \
                 add it as a source"
            }
            UnvisitedCause::ReadNext => "not a CloudTrail folder; the next round reads it",
        };
        Self {
            object: folder.to_string(),
            outcome: "unvisited",
            kind: "folder".into(),
            reason: reason.into(),
            accepted: false,
        }
    }

    /// Whether the object is expected: it occurs in every bucket, or a person accepted it. Such objects are printed only
    /// with `--verbose`.
    fn is_expected(&self) -> bool {
        self.accepted || self.outcome == "skipped" && matches!(self.kind.as_str(), "digest" | "folder_marker")
    }

    /// Returns the entry as one line.
    pub(crate) fn line(&self) -> String {
        let Self { object, outcome, reason, .. } = self;
        one_line(&format!("{outcome}: {object}: {reason}"))
    }
}

/// Returns the text after the reason of a quarantine of this kind: the option that avoids it, if there is one.
fn advice(kind: &str) -> &'static str {
    match kind {
        "too_large" => {
            "; if it is not a decompression bomb, raise --max-object-bytes and reopen it (`trailhose ledger quarantine retry`)"
        }
        _ => "",
    }
}

fn why_skipped(key: &str) -> String {
    match recognize(key) {
        Recognized::Digest => "digest file, contains no events".into(),
        Recognized::NotALog(NotALog::UnknownKind) => {
            "unknown kind of CloudTrail file, so its account, region and day are unknown too; to read it, omit --since, \
             --until, --account, --region and --kind"
                .into()
        }
        Recognized::NotALog(NotALog::Elsewhere) => {
            "neither its name nor its folders match a CloudTrail log; use --all-files to read it".into()
        }
        Recognized::NotALog(why) => why.to_string(),
        Recognized::Log { .. } => "not a log".into(),
    }
}

/// Maximum number of remembered objects of earlier rounds. Above it, some objects are printed twice.
const MAX_REMEMBERED: usize = 100_000;

/// The objects that were not ingested so far.
#[derive(Debug, Default)]
pub(crate) struct NotIngestedLog {
    /// Whether every object is printed (`--verbose`).
    all: bool,
    /// Hashes of objects printed by earlier rounds: a quarantined object occurs in every round.
    before: HashSet<u64>,
    /// Hashes of the reasons of failures printed by this round.
    printed_failures: HashSet<u64>,
    /// Whether this round found an object that no earlier round found.
    has_new: bool,
    /// Number of objects by outcome and kind.
    counts: BTreeMap<(&'static str, String), u64>,
    list: Vec<NotIngested>,
}

impl NotIngestedLog {
    pub(crate) fn new(all: bool) -> Self {
        Self { all, ..Self::default() }
    }

    /// Starts another round.
    pub(crate) fn start_round(&mut self) {
        self.counts.clear();
        self.list.clear();
        self.printed_failures.clear();
        self.has_new = false;
        if self.before.len() > MAX_REMEMBERED {
            self.before.clear();
        }
    }

    /// Records an object and returns the line to print, if any.
    pub(crate) fn note(&mut self, named: NotIngested) -> Option<String> {
        let count = self.counts.entry((named.outcome, named.kind.clone())).or_default();
        *count += u64::from(!named.accepted);
        let is_new = self.before.insert(hash(&(&named.object, named.outcome, &named.kind)));
        self.has_new |= is_new;
        let print = is_new && (self.all || (*count <= MAX_PRINTED && !named.is_expected()));
        // A failure that concerns every object is explained once.
        let line =
            print.then(|| match named.outcome == "failed" && !self.printed_failures.insert(hash(&named.reason)) {
                true => one_line(&format!("{}: {}: the same error as above", named.outcome, named.object)),
                false => named.line(),
            });
        if !named.is_expected() && self.list.len() < MAX_LISTED {
            self.list.push(named);
        }
        line
    }

    /// Whether this round printed a failure with this reason.
    pub(crate) fn has_printed(&self, reason: &str) -> bool {
        self.printed_failures.contains(&hash(reason))
    }

    /// Returns one line for each reason whose objects were not all printed.
    pub(crate) fn rest(&self) -> Vec<String> {
        if self.all || !self.has_new {
            return Vec::new();
        }
        let over = self.counts.iter().filter(|((outcome, kind), count)| {
            **count > MAX_PRINTED && !(*outcome == "skipped" && matches!(kind.as_str(), "digest" | "folder_marker"))
        });
        over.map(|((outcome, kind), count)| {
            format!("{outcome}: … and {} more {}; --verbose lists all", count - MAX_PRINTED, reason_kind(kind))
        })
        .collect()
    }

    /// Returns the recorded objects, up to `MAX_LISTED`.
    pub(crate) fn list(&self) -> &[NotIngested] {
        &self.list
    }
}

fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(key: &str, kind: &'static str) -> NotIngested {
        NotIngested::of(&ObjectRef::new("b", key), &Outcome::Skipped(kind)).unwrap()
    }

    #[test]
    fn objects_above_the_limit_are_counted() {
        let mut names = NotIngestedLog::new(false);
        let printed = (0..50).filter_map(|n| names.note(skipped(&format!("{n}.txt"), "other_extension"))).count();
        assert_eq!(printed as u64, MAX_PRINTED);
        assert_eq!(names.rest(), ["skipped: … and 30 more with another extension; --verbose lists all"]);
        assert_eq!(names.list().len(), 50);
    }

    #[test]
    fn digests_are_printed_only_with_verbose() {
        let (mut some, mut all) = (NotIngestedLog::new(false), NotIngestedLog::new(true));
        assert_eq!(some.note(skipped("d", "digest")), None);
        assert!(all.note(skipped("d", "digest")).is_some());
        let printed = (0..50).filter_map(|n| all.note(skipped(&format!("{n}.txt"), "other_extension"))).count();
        assert_eq!((printed, all.rest().len(), some.rest().len()), (50, 0, 0));
    }

    #[test]
    fn objects_of_earlier_rounds_are_not_printed_again() {
        let mut names = NotIngestedLog::new(false);
        (0..50).for_each(|n| drop(names.note(skipped(&format!("{n}.txt"), "other_extension"))));
        names.start_round();
        assert!((0..50).all(|n| names.note(skipped(&format!("{n}.txt"), "other_extension")).is_none()));
        assert_eq!((names.rest().len(), names.list().len()), (0, 50), "the JSON list contains all of them");
        names.start_round();
        assert!(names.note(skipped("new.txt", "other_extension")).is_some());
    }

    #[test]
    fn failure_of_several_objects_is_explained_once() {
        let failed = |key: &str| {
            let error = trailhose::sink::SinkError::Unavailable("no answer".into());
            NotIngested::of(&ObjectRef::new("b", key), &Outcome::Failed(error.into())).unwrap()
        };
        let mut names = NotIngestedLog::new(false);
        let printed: Vec<_> = ["a", "c"].iter().filter_map(|key| names.note(failed(key))).collect();
        let expected = ["failed: s3://b/a: deliver: no answer", "failed: s3://b/c: the same error as above"];
        assert_eq!(printed, expected);
        assert!(names.has_printed("deliver: no answer"));
        names.start_round();
        assert!(!names.has_printed("deliver: no answer"));
        assert_eq!(names.list().len(), 0);
    }

    #[test]
    fn any_key_is_printed_on_one_line() {
        let line = skipped("a\nb\u{1b}[31m.txt", "other_extension").line();
        assert!(line.starts_with("skipped: s3://b/a b [31m.txt: "), "{line}");
    }

    #[test]
    fn reason_describes_the_name() {
        let line = skipped("notes.txt", "other_extension").line();
        assert_eq!(line, "skipped: s3://b/notes.txt: its name ends neither in .json.gz nor in .json");
    }
}
