//! The files that earlier runs delivered: which are missing, and their rebuild.

use crate::components::{Delivery, OpenedSource};
use crate::text::counted;
use futures_util::future::join_all;
use std::collections::HashSet;
use trailhose::ledger::{Ledger, ObjectState};
use trailhose::object::{Object, ObjectId, ObjectRef};
use trailhose::sink::SinkError;
use trailhose::sink::jsonl::{FaultyFile, FileCheck, FileFault, Outstanding, Rebuild};
use trailhose::source::SourceError;

/// Maximum number of faulty files that the warning names.
const MAX_NAMED: usize = 5;

/// Objects that are looked up in their source concurrently.
const CONCURRENT_LOOKUPS: usize = 16;

/// The state of the files that earlier runs delivered.
#[derive(Debug, Default)]
pub(crate) struct OutputFiles {
    /// Files that are missing or damaged, at the last check.
    pub(super) faulty: Vec<FaultyFile>,
    /// The result of `--rebuild`.
    pub(super) rebuild: Option<Rebuild>,
}

impl OutputFiles {
    /// Checks the files, and with `rebuild` lets this run deliver the events of missing files again. Warns about files
    /// that are missing or damaged. `sources` show which objects of an earlier rebuild are gone.
    ///
    /// # Errors
    /// The ledger cannot be read, or the files cannot be rebuilt.
    pub(crate) async fn open(delivery: &Delivery, rebuild: bool, sources: &[&OpenedSource]) -> Result<Self, String> {
        let Some(files) = &delivery.files else {
            return match rebuild {
                true => Err("--rebuild requires a folder as DEST: a stream keeps no files".into()),
                false => Ok(Self::default()),
            };
        };
        let failed = |error| format!("DEST: {error}");
        let rebuild = match rebuild {
            true => {
                let outstanding = files.outstanding().await.map_err(failed)?;
                let gone = gone(&outstanding.objects, &delivery.ledger, sources).await?;
                Some(files.rebuild(gone).await.map_err(failed)?)
            }
            false => None,
        };
        let mut output = Self { faulty: Vec::new(), rebuild };
        output.check(delivery).await.map_err(failed)?;
        Ok(output)
    }

    /// Checks the files again, and warns if other files than before are missing or damaged.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(crate) async fn check(&mut self, delivery: &Delivery) -> Result<(), SinkError> {
        let Some(files) = &delivery.files else { return Ok(()) };
        let FileCheck { files, faulty } = files.check_files().await?;
        if !faulty.is_empty() && faulty != self.faulty {
            tracing::warn!("{}", warning(&faulty, files));
        }
        self.faulty = faulty;
        Ok(())
    }

    /// Returns the events that this run or an earlier one should have delivered again, and did not.
    pub(super) async fn not_rebuilt(&self, delivery: &Delivery) -> Outstanding {
        let Some(files) = &delivery.files else { return Outstanding::default() };
        files.outstanding().await.unwrap_or_else(|_| {
            // The run has ended with an error of the ledger, which is its result.
            let rebuild = self.rebuild.clone().unwrap_or_default();
            Outstanding { events: rebuild.events, objects: rebuild.objects }
        })
    }
}

/// Returns the objects that cannot deliver their events: they are no longer in their source, or quarantined. An object of
/// another source, or one that cannot be looked up now, may still be delivered.
async fn gone(objects: &[Object], ledger: &Ledger, sources: &[&OpenedSource]) -> Result<HashSet<ObjectId>, String> {
    let states = ledger.states(objects).await.map_err(|error| format!("ledger: {error}"))?;
    let is_gone = async |object: &Object, state: &ObjectState| {
        if matches!(state, ObjectState::Quarantined(_)) {
            return true;
        }
        let Some(opened) = sources.iter().find(|opened| opened.bucket == object.bucket) else { return false };
        match opened.source.stat(&ObjectRef::new(&object.bucket, &object.key)).await {
            Ok(found) => found.etag.as_ref() != Some(&object.etag),
            Err(error) => matches!(error, SourceError::Missing(_)),
        }
    };
    let mut gone = HashSet::new();
    let all: Vec<(&Object, &ObjectState)> = objects.iter().zip(&states).collect();
    for part in all.chunks(CONCURRENT_LOOKUPS) {
        let found = join_all(part.iter().map(|(object, state)| is_gone(object, state))).await;
        gone.extend(part.iter().zip(found).filter(|(_, is_gone)| *is_gone).map(|((object, _), _)| object.id()));
    }
    Ok(gone)
}

fn warning(faulty: &[FaultyFile], files: u64) -> String {
    let mut text = format!("{} of {files} files that were delivered before are missing or damaged:", faulty.len());
    for FaultyFile { path, fault, events } in faulty.iter().take(MAX_NAMED) {
        let events = events.map_or(String::new(), |events| format!(" ({})", counted(events, "event")));
        text += &format!(" {} {fault}{events};", path.display());
    }
    if faulty.len() > MAX_NAMED {
        text += &format!(" and {} more;", faulty.len() - MAX_NAMED);
    }
    text += " their events are not delivered again. Restore them, or deliver the events of missing files again with \
             `trailhose sync --rebuild`, or record with `trailhose ledger release` that they were moved";
    if faulty.iter().any(|file| file.fault != FileFault::Missing) {
        text += ". A rebuild requires that damaged files are moved away first, so that they are missing";
    }
    text
}
