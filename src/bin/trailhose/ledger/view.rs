//! A ledger row as text or JSON.

use crate::text::{counted, one_line};
use clap::builder::styling::Style;
use indicatif::HumanCount;
use serde::Serialize;
use std::fmt::Write as _;
use trailhose::ledger::model::row::{CURSOR_END, Row, Seconds};

/// A ledger row for output.
#[derive(Debug, Serialize)]
pub(super) struct RowView {
    /// The object with `#` and its version, as accepted by other commands. It can contain any character.
    pub(super) object: String,
    pub(super) status: &'static str,
    /// Ordinal after the last event whose delivery is recorded; `None` if all are delivered.
    pub(super) cursor: Option<u32>,
    /// End of the lease, if unexpired.
    pub(super) leased_until: Option<String>,
    pub(super) reason: Option<String>,
    /// Time of the quarantine.
    pub(super) quarantined_at: Option<String>,
    /// Why a person accepted that the object stays quarantined.
    pub(super) accepted: Option<String>,
    pub(super) seen: Option<u64>,
    pub(super) delivered: Option<u64>,
    pub(super) duplicate: Option<u64>,
    pub(super) filtered: Option<u64>,
    pub(super) oversize: Option<u64>,
    /// Time after which the row may be deleted.
    pub(super) expires: Option<String>,
}

impl RowView {
    pub(super) fn of(row: &Row, now: Seconds) -> Self {
        let counts = row.counts;
        Self {
            object: named(row),
            status: row.status.as_str(),
            cursor: Some(row.cursor).filter(|&cursor| cursor != CURSOR_END),
            leased_until: row.leased(now).then(|| time(row.until)),
            reason: row.reason.clone(),
            quarantined_at: row.quarantined_at.map(time),
            accepted: row.accepted.clone(),
            seen: counts.map(|counts| counts.seen),
            delivered: counts.map(|counts| counts.delivered),
            duplicate: counts.map(|counts| counts.duplicate),
            filtered: counts.map(|counts| counts.filtered),
            oversize: counts.map(|counts| counts.oversize),
            expires: row.expires.map(time),
        }
    }

    /// Returns the row as text.
    pub(super) fn text(&self) -> String {
        let bold = Style::new().bold();
        let mut out = format!("{bold}{}{bold:#}\n", one_line(&self.object));
        line(&mut out, "status", self.status);
        if let Some(cursor) = self.cursor.filter(|&cursor| cursor > 0) {
            line(&mut out, "delivered", &format!("the events before event {cursor}"));
        }
        if let (Some(seen), Some(delivered), Some(duplicate)) = (self.seen, self.delivered, self.duplicate) {
            let more = |count: Option<u64>, what: &str| match count {
                Some(count) if count > 0 => format!(", {} {what}", HumanCount(count)),
                _ => String::new(),
            };
            let text = format!(
                "{}: {} delivered, {}{}{}",
                HumanCount(seen),
                HumanCount(delivered),
                counted(duplicate, "duplicate"),
                more(self.filtered, "filtered"),
                more(self.oversize, "oversize")
            );
            line(&mut out, "events", &text);
        }
        for (name, text) in [
            ("leased until", &self.leased_until),
            ("quarantined", &self.quarantined_at),
            ("reason", &self.reason),
            ("accepted", &self.accepted),
            ("kept until", &self.expires),
        ] {
            if let Some(text) = text {
                line(&mut out, name, &one_line(text));
            }
        }
        out
    }
}

/// Returns the object with its version. Output for people must pass it to [`one_line`], because a key can contain any
/// character.
pub(super) fn named(row: &Row) -> String {
    format!("{}#{}", row.object, row.object.etag)
}

/// Adds a line with a name and a text.
pub(super) fn line(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "  {name:<14}{text}");
}

/// Prints a message to standard error.
pub(super) fn say(text: &str) {
    anstream::eprintln!("{}", one_line(text));
}

fn time(seconds: Seconds) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| format!("{seconds} s since 1970"), |time| time.to_string())
}
