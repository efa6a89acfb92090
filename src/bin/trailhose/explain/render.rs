//! An explanation on standard output.

use super::contents::Contents;
use super::{Explained, Known, Name};
use crate::labels::one_line;
use clap::builder::styling::Style;
use indicatif::{DecimalBytes, HumanCount};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;

/// Accounts or regions that are spelled out.
const FEW: usize = 4;

/// Characters of each that are shown.
const LONGEST: usize = 64;

/// Prints it as a table, or as one JSON object.
pub(super) fn print(explained: &Explained, json: bool) {
    let text = match json {
        false => table(explained),
        true => match serde_json::to_string(explained) {
            Ok(text) => text + "\n",
            Err(error) => format!("{{\"error\":{:?}}}\n", error.to_string()),
        },
    };
    // A reader that has gone away has seen what it wanted.
    let _ = anstream::stdout().write_all(text.as_bytes());
}

fn table(explained: &Explained) -> String {
    let Explained { object, name, stored_bytes, contents, unreadable, ledger, verdict } = explained;
    let bold = Style::new().bold();
    let mut out = format!("{bold}{}{bold:#}\n", one_line(object));
    row(&mut out, "name", &name_text(name));
    match contents {
        Some(contents) => contents_rows(&mut out, contents, *stored_bytes),
        None => row(&mut out, "stored", &DecimalBytes(*stored_bytes).to_string()),
    }
    if let Some(unreadable) = unreadable {
        row(&mut out, "unreadable", &format!("{}: {}", unreadable.kind, one_line(&unreadable.reason)));
    }
    if let Some(known) = ledger {
        row(&mut out, "ledger", &known_text(known));
        if contents.is_some() {
            row(&mut out, "", &owners_text(known));
        }
    }
    row(&mut out, "sync", &format!("{bold}{verdict}{bold:#}"));
    out
}

fn row(out: &mut String, name: &str, text: &str) {
    let _ = writeln!(out, "  {name:<12}{text}");
}

fn name_text(name: &Name) -> String {
    let Name { recognised, because, kind, account, region, delivered } = name;
    match (kind, account, region, delivered) {
        (Some(kind), Some(account), Some(region), Some(day)) => {
            format!("{kind} log of {account} in {region}, delivered {day}; recognised by {because}")
        }
        _ if *recognised == "digest" => format!("a digest, by {because}"),
        _ => format!("no CloudTrail log: {because}"),
    }
}

fn contents_rows(out: &mut String, contents: &Contents, stored: u64) {
    let count = |number: u64| HumanCount(number).to_string();
    let packing = match contents.gzip_members {
        0 => "not compressed".to_owned(),
        1 => format!("gzip of {}", DecimalBytes(contents.json_bytes)),
        members => format!("gzip of {} in {members} members", DecimalBytes(contents.json_bytes)),
    };
    row(out, "stored", &format!("{}, {packing}", DecimalBytes(stored)));
    let times = match (&contents.oldest, &contents.newest) {
        (Some(oldest), Some(newest)) if oldest == newest => format!(", all of {oldest}"),
        (Some(oldest), Some(newest)) => format!(", from {oldest} to {newest}"),
        _ => String::new(),
    };
    row(out, "events", &format!("{}{times}", count(contents.events)));
    if contents.events == 0 {
        return;
    }
    row(out, "places", &format!("account {}; region {}", few(&contents.accounts), few(&contents.regions)));
    let pages = format!(
        "{} in the ledger (account, region and minute), the fullest of {} events",
        count(contents.pages),
        count(contents.largest_page)
    );
    row(out, "pages", &pages);
    row(out, "longest", &format!("{} bytes", count(contents.longest)));
    for (number, what) in [
        (contents.duplicates, "that stand earlier in this object, and are not delivered again"),
        (contents.conflicts, "of these with other content than the first"),
        (contents.without_id, "without an eventID: their content is their identity"),
        (contents.other_ids, "with an eventID that is no UUID in lower case: its text is their identity"),
        (contents.without_time, "without an eventTime that can be read"),
        (contents.oversize, "longer than a Firehose record: set aside, with a line that points there"),
    ] {
        if number > 0 {
            row(out, "of these", &format!("{} {what}", count(number)));
        }
    }
}

fn few(names: &BTreeSet<String>) -> String {
    // An event's own words: any bytes at all, and as many as it likes.
    let shown = |name: &String| one_line(&name.chars().take(LONGEST).collect::<String>());
    let some: Vec<String> = names.iter().take(FEW).map(shown).collect();
    let rest = names.len().saturating_sub(FEW);
    if rest == 0 { some.join(", ") } else { format!("{} and {rest} more", some.join(", ")) }
}

fn known_text(known: &Known) -> String {
    let Some(status) = known.status else { return "does not know this object".into() };
    let mut text = status.to_owned();
    if let (Some(delivered), Some(duplicate)) = (known.delivered, known.duplicate) {
        let _ = write!(text, ": {delivered} delivered, {duplicate} duplicates");
    }
    if let Some(cursor) = known.cursor.filter(|&cursor| cursor > 0) {
        let _ = write!(text, ", delivered as far as event {cursor}");
    }
    if let Some(seconds) = known.leased_for {
        let _ = write!(text, ", leased for another {seconds} s");
    }
    if let Some(reason) = &known.reason {
        let _ = write!(text, ": {}", one_line(reason));
    }
    text
}

fn owners_text(known: &Known) -> String {
    let Known { events_new, events_own, events_of_others_delivered, events_of_others_owed, .. } = known;
    format!(
        "of its events {events_own} are its own, {} another object's ({events_of_others_owed} not yet proven \
         delivered), {events_new} nobody's yet",
        events_of_others_delivered + events_of_others_owed
    )
}
