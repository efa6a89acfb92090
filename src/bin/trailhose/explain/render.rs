//! Prints an explanation to standard output.

use super::contents::ObjectContents;
use super::{Explanation, KeyInfo, LedgerInfo};
use crate::text::{counted, one_line};
use clap::builder::styling::Style;
use indicatif::{DecimalBytes, HumanCount};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Maximum number of accounts or regions listed.
const MAX_NAMES: usize = 4;

/// Maximum number of characters of each name.
const MAX_NAME_CHARS: usize = 64;

/// Prints the explanation as a table or as one JSON object.
pub(super) fn print(explained: &Explanation, json: bool) {
    let text = match json {
        false => table(explained),
        true => match serde_json::to_string(explained) {
            Ok(text) => text + "\n",
            Err(error) => format!("{{\"error\":{:?}}}\n", error.to_string()),
        },
    };
    crate::print::print(&text);
}

fn table(explained: &Explanation) -> String {
    let Explanation { object, name, stored_bytes, contents, unreadable, ledger, verdict } = explained;
    let bold = Style::new().bold();
    let mut out = format!("{bold}{}{bold:#}\n", one_line(object));
    row(&mut out, "name", &name_text(name));
    match contents {
        Some(contents) => contents_rows(&mut out, contents, *stored_bytes),
        None => row(&mut out, "stored", &DecimalBytes(*stored_bytes).to_string()),
    }
    if let Some(unreadable) = unreadable {
        row(&mut out, "unreadable", &one_line(&unreadable.reason));
    }
    if let Some(known) = ledger {
        row(&mut out, "ledger", &ledger_text(known));
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

fn name_text(name: &KeyInfo) -> String {
    let KeyInfo { recognized, because, kind, account, region, delivered } = name;
    match (kind, account, region, delivered) {
        (Some(kind), Some(account), Some(region), Some(day)) => {
            format!("{kind} log of {account} in {region}, delivered {day}; recognized by {because}")
        }
        _ if *recognized == "digest" => format!("a digest, recognized by {because}"),
        _ => format!("not a CloudTrail log: {because}"),
    }
}

fn contents_rows(out: &mut String, contents: &ObjectContents, stored: u64) {
    let count = |number: u64| HumanCount(number).to_string();
    let packing = match contents.gzip_members {
        0 => "not compressed".to_owned(),
        1 => format!("gzip of {}", DecimalBytes(contents.json_bytes)),
        members => format!("gzip of {} in {members} members", DecimalBytes(contents.json_bytes)),
    };
    row(out, "stored", &format!("{}, {packing}", DecimalBytes(stored)));
    let times = match (&contents.oldest, &contents.newest) {
        (Some(oldest), Some(newest)) if oldest == newest => format!(", all at {oldest}"),
        (Some(oldest), Some(newest)) => format!(", from {oldest} to {newest}"),
        _ => String::new(),
    };
    row(out, "events", &format!("{}{times}", count(contents.events)));
    if contents.events == 0 {
        return;
    }
    row(
        out,
        "scope",
        &format!("account {}; region {}", first_names(&contents.accounts), first_names(&contents.regions)),
    );
    let pages = format!(
        "{} in the ledger (account, region and 15 minutes), the largest with {} events",
        count(contents.pages),
        count(contents.largest_page)
    );
    row(out, "pages", &pages);
    row(out, "longest", &format!("{} bytes", count(contents.longest)));
    for (number, what) in [
        (contents.duplicates, "duplicates within the object, not delivered again"),
        (contents.conflicts, "duplicates with different content; the first is delivered"),
        (contents.without_id, "without an eventID, identified by their content and their number in the object"),
        (contents.other_ids, "with an eventID that is not a UUID in lower case, identified by its text"),
        (contents.without_time, "without a valid eventTime or timeWindow"),
        (contents.oversize, "larger than a Firehose record: stored separately, a pointer record is delivered"),
    ] {
        if number > 0 {
            row(out, "of these", &format!("{} {what}", count(number)));
        }
    }
}

fn first_names(names: &BTreeSet<String>) -> String {
    // A name comes from an event, so it may have any length and contain any characters.
    let shown = |name: &String| one_line(&name.chars().take(MAX_NAME_CHARS).collect::<String>());
    let first: Vec<String> = names.iter().take(MAX_NAMES).map(shown).collect();
    let rest = names.len().saturating_sub(MAX_NAMES);
    if rest == 0 { first.join(", ") } else { format!("{} and {rest} more", first.join(", ")) }
}

fn ledger_text(known: &LedgerInfo) -> String {
    let Some(status) = known.status else { return "no row for this object".into() };
    let mut text = status.to_owned();
    if let (Some(delivered), Some(duplicate)) = (known.delivered, known.duplicate) {
        let _ = write!(text, ": {delivered} delivered, {}", counted(duplicate, "duplicate"));
    }
    if let Some(cursor) = known.cursor.filter(|&cursor| cursor > 0) {
        let _ = write!(text, ", the events before event {cursor} are delivered");
    }
    if let Some(seconds) = known.leased_for {
        let _ = write!(text, ", leased for another {seconds} s");
    }
    if let Some(reason) = &known.reason {
        let _ = write!(text, ": {}", one_line(reason));
    }
    text
}

fn owners_text(known: &LedgerInfo) -> String {
    let LedgerInfo { events_new, events_own, events_of_others_delivered, events_of_others_owed, .. } = known;
    format!(
        "{events_own} owned, {} owned by other objects ({events_of_others_owed} not yet proven delivered), {events_new} \
         unclaimed",
        events_of_others_delivered + events_of_others_owed
    )
}
