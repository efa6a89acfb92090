//! Which objects are named, and how: every object that is not ingested has a reason, and its reason is said.

use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use trailhose::ingest::{Deferred, Outcome};
use trailhose::object::ObjectRef;
use trailhose::object::key::{NotALog, Recognized, recognize};

/// Objects of one reason that are named when not all are asked for.
const FEW: u64 = 20;

/// Objects that a JSON summary names. Memory must not grow with a bucket that is all wrong.
const LISTED: usize = 1000;

/// An object that was not ingested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Named {
    /// Where it lies.
    pub(crate) object: String,
    /// `quarantined`, `failed`, `later`, `skipped` or `passed over`.
    pub(crate) what: &'static str,
    /// One word for the reason.
    pub(crate) kind: String,
    /// The reason, for a person.
    pub(crate) reason: String,
}

impl Named {
    /// Names an object, if it was not ingested.
    pub(crate) fn of(at: &ObjectRef, outcome: &Outcome) -> Option<Self> {
        let (what, kind, reason) = match outcome {
            Outcome::Done(_) | Outcome::AlreadyDone => return None,
            Outcome::Skipped(kind) => ("skipped", (*kind).to_owned(), why_skipped(&at.key)),
            Outcome::Quarantined(aside) => ("quarantined", aside.kind.clone(), aside.reason.clone()),
            Outcome::Deferred(Deferred::Leased { .. }) => {
                ("later", "leased".into(), "another worker is at work on it; the same command takes it up again".into())
            }
            Outcome::Deferred(Deferred::OwnerInProgress { .. }) => (
                "later",
                "owner_at_work".into(),
                "some of its events are being delivered with another object; the same command takes it up again".into(),
            ),
            Outcome::Deferred(Deferred::OutOfTime) => {
                ("later", "out_of_time".into(), "its time ran out; the same command goes on where it stopped".into())
            }
            Outcome::Failed(failure) => ("failed", "failed".into(), failure.to_string()),
        };
        Some(Self { object: at.to_string(), what, kind, reason })
    }

    /// Names a folder that was not looked into.
    pub(crate) fn passed_over(folder: &ObjectRef) -> Self {
        let reason = "no folder of CloudTrail's; it is read without --since, --until, --account, --region and --kind, or \
                      as a SOURCE of its own";
        Self { object: folder.to_string(), what: "passed over", kind: "folder".into(), reason: reason.into() }
    }

    /// Whether it is part of every bucket and nobody's concern: named only when all are asked for.
    fn expected(&self) -> bool {
        self.what == "skipped" && matches!(self.kind.as_str(), "digest" | "folder_marker")
    }

    /// As one line.
    pub(crate) fn line(&self) -> String {
        let Self { object, what, reason, .. } = self;
        one_line(&format!("{what}: {object}: {reason}"))
    }
}

/// Text without line ends, and without what moves a terminal's cursor or turns its writing round: an error of the AWS SDK
/// may have several lines, and a key any bytes.
pub(crate) fn one_line(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.split(|c: char| c.is_whitespace() || c.is_control() || turns(c))
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn why_skipped(key: &str) -> String {
    match recognize(key) {
        Recognized::Digest => "a digest, which holds no events".into(),
        Recognized::NotALog(NotALog::UnknownKind) => {
            "of a kind of CloudTrail files that is not known here, so its account, region and day are not known \
             either; without --since, --until, --account, --region and --kind it is read"
                .into()
        }
        Recognized::NotALog(NotALog::Elsewhere) => {
            "neither its name nor its folders are those of a CloudTrail log; --all-files reads it all the same".into()
        }
        Recognized::NotALog(why) => why.to_string(),
        Recognized::Log { .. } => "not a log".into(),
    }
}

/// Objects of earlier rounds that are remembered. Beyond that some are named twice.
const REMEMBERED: usize = 100_000;

/// The objects named so far.
#[derive(Debug, Default)]
pub(crate) struct Names {
    all: bool,
    /// Hashes of what earlier rounds named: a quarantined object is met in every round.
    before: HashSet<u64>,
    /// Whether this round named something that none did before.
    anew: bool,
    /// By what and kind: how many there are.
    counts: BTreeMap<(&'static str, String), u64>,
    list: Vec<Named>,
}

impl Names {
    pub(crate) fn new(all: bool) -> Self {
        Self { all, ..Self::default() }
    }

    /// Begins another round.
    pub(crate) fn begin(&mut self) {
        self.counts.clear();
        self.list.clear();
        self.anew = false;
        if self.before.len() > REMEMBERED {
            self.before.clear();
        }
    }

    /// Notes an object, and returns the line to print, if there is one to print.
    pub(crate) fn note(&mut self, named: Named) -> Option<String> {
        let count = self.counts.entry((named.what, named.kind.clone())).or_default();
        *count += 1;
        let anew = self.before.insert(hash(&named));
        self.anew |= anew;
        let print = anew && (self.all || (*count <= FEW && !named.expected()));
        let line = print.then(|| named.line());
        if !named.expected() && self.list.len() < LISTED {
            self.list.push(named);
        }
        line
    }

    /// One line for each reason of which not all were printed.
    pub(crate) fn rest(&self) -> Vec<String> {
        if self.all || !self.anew {
            return Vec::new();
        }
        let over = self.counts.iter().filter(|((what, kind), count)| {
            **count > FEW && !(*what == "skipped" && matches!(kind.as_str(), "digest" | "folder_marker"))
        });
        over.map(|((what, kind), count)| {
            format!("{what}: … and {} more of the kind {kind}; --verbose names all", count - FEW)
        })
        .collect()
    }

    /// The objects, as far as there is room for them.
    pub(crate) fn list(&self) -> &[Named] {
        &self.list
    }
}

fn hash(named: &Named) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&named.object, named.what, &named.kind).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skipped(key: &str, kind: &'static str) -> Named {
        Named::of(&ObjectRef::new("b", key), &Outcome::Skipped(kind)).unwrap()
    }

    #[test]
    fn of_many_with_one_reason_a_few_are_named_and_the_rest_counted() {
        let mut names = Names::new(false);
        let printed = (0..50).filter_map(|n| names.note(skipped(&format!("{n}.txt"), "other_extension"))).count();
        assert_eq!(printed as u64, FEW);
        assert_eq!(names.rest(), ["skipped: … and 30 more of the kind other_extension; --verbose names all"]);
        assert_eq!(names.list().len(), 50);
    }

    #[test]
    fn all_are_named_when_all_are_asked_for_and_digests_only_then() {
        let (mut some, mut all) = (Names::new(false), Names::new(true));
        assert_eq!(some.note(skipped("d", "digest")), None);
        assert!(all.note(skipped("d", "digest")).is_some());
        let printed = (0..50).filter_map(|n| all.note(skipped(&format!("{n}.txt"), "other_extension"))).count();
        assert_eq!((printed, all.rest().len(), some.rest().len()), (50, 0, 0));
    }

    #[test]
    fn what_one_round_named_the_next_does_not_name_again() {
        let mut names = Names::new(false);
        (0..50).for_each(|n| drop(names.note(skipped(&format!("{n}.txt"), "other_extension"))));
        names.begin();
        assert!((0..50).all(|n| names.note(skipped(&format!("{n}.txt"), "other_extension")).is_none()));
        assert_eq!((names.rest().len(), names.list().len()), (0, 50), "and a program is told of all");
        names.begin();
        assert!(names.note(skipped("new.txt", "other_extension")).is_some());
    }

    #[test]
    fn whatever_a_key_holds_it_is_named_in_one_line() {
        let line = skipped("a\nb\u{1b}[31m.txt", "other_extension").line();
        assert!(line.starts_with("skipped: s3://b/a b [31m.txt: "), "{line}");
    }

    #[test]
    fn a_reason_says_what_was_found() {
        let line = skipped("notes.txt", "other_extension").line();
        assert_eq!(line, "skipped: s3://b/notes.txt: its name ends neither in .json.gz nor in .json");
    }
}
