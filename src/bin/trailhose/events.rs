//! `trailhose events`: prints delivered events, found with the index.

use crate::args::EventsArgs;
use crate::followers::{FollowedFolder, SKIPPED_EVENTS};
use crate::{NOTHING_MATCHED, print, text};
use std::collections::BTreeMap;
use std::io::Write as _;
use trailhose::event::EventId;
use trailhose::index::{Index, IndexQuery, IndexedFields, end_second};
use trailhose::sink::jsonl::read_scattered_events;

/// Exit code: some events cannot be read.
const UNREADABLE: u8 = 1;

/// The number of events that are read before they are printed. It bounds the memory.
const READ_AT_ONCE: usize = 256;

/// Prints the events' own bytes, one event on each line, newest first. Returns the exit code.
pub(crate) async fn run(args: &EventsArgs) -> Result<u8, String> {
    let query = query(args);
    if query == IndexQuery::default() {
        return Err("no condition: use --id, --since, --name, --access-key or another one".into());
    }
    if let (Some(since), Some(until)) = (query.since, query.until)
        && since >= until
    {
        return Err("--since is not before --until".into());
    }
    let followed = FollowedFolder::open(&args.dest)?;
    let index = Index::open_read_only(&followed.index_path()).map_err(|error| error.to_string())?;
    let lacking = followed.not_indexed()?;
    if lacking > 0 {
        let lacking = match lacking {
            1 => "1 delivered event is".to_owned(),
            lacking => format!("{lacking} delivered events are"),
        };
        warn(&format!("{lacking} not in the index: run `trailhose index build`"));
    }
    if index.has_skipped_events().map_err(|error| error.to_string())? {
        warn(&format!("the index is not complete: {SKIPPED_EVENTS}"));
    }
    let found = index.find(&query, args.limit.saturating_add(1)).map_err(|error| error.to_string())?;
    let mut printed = 0;
    let mut unreadable: BTreeMap<String, u64> = BTreeMap::new();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    'print: for found in found[..found.len().min(args.limit as usize)].chunks(READ_AT_ONCE) {
        let positions: Vec<_> =
            found.iter().map(|event| (followed.segments.root().join(&event.path), event.position)).collect();
        for (event, (path, _)) in read_scattered_events(&positions).into_iter().zip(&positions) {
            let event = match event {
                Ok(event) => event,
                Err(fault) => {
                    *unreadable.entry(format!("{} {fault}", path.display())).or_default() += 1;
                    continue;
                }
            };
            // The index contains the first 8 bytes of the ID only.
            let id = query.id.as_deref().map(|id| EventId::from_text(id.as_bytes()));
            if id.is_some_and(|id| IndexedFields::read(&event).id(&event) != id) {
                continue;
            }
            printed += 1;
            // A closed pipe, as after `head`, is not an error.
            if let Err(error) = out.write_all(&event).and_then(|()| out.write_all(b"\n")) {
                print::check(Err(error));
                break 'print;
            }
        }
    }
    print::check(out.flush());
    for (fault, events) in &unreadable {
        let are = if *events == 1 { "event is" } else { "events are" };
        warn(&format!("{fault}: {events} found {are} not printed"));
    }
    if printed == 0 && unreadable.is_empty() {
        anstream::eprintln!("no delivered event matches");
    }
    if found.len() > args.limit as usize {
        warn(&format!("more than {} events match, and only the newest ones are printed: raise --limit", args.limit));
    }
    Ok(match printed {
        _ if !unreadable.is_empty() => UNREADABLE,
        0 => NOTHING_MATCHED,
        _ => 0,
    })
}

fn query(args: &EventsArgs) -> IndexQuery {
    IndexQuery {
        id: args.id.clone(),
        since: args.since.map(|time| time.as_second()),
        until: args.until.map(end_second),
        without_time: false,
        name: args.name.clone(),
        source: args.source.clone(),
        account: args.account.clone(),
        region: args.region.clone(),
        principal: args.principal.clone(),
        access_key: args.access_key.clone(),
        address: args.address.clone(),
        error: args.error.clone(),
        after: None,
    }
}

fn warn(message: &str) {
    anstream::eprintln!("warning: {}", text::one_line(message));
}
