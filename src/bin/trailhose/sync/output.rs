//! The files that earlier runs delivered: which are missing, and their rebuild.

use crate::components::Delivery;
use trailhose::ledger::{Ledger, ObjectState};
use trailhose::object::Object;
use trailhose::sink::jsonl::{FaultyFile, Rebuild};

/// Maximum number of faulty files that the warning names.
const MAX_NAMED: usize = 5;

/// The state of the files that earlier runs delivered.
#[derive(Debug, Default)]
pub(super) struct OutputFiles {
    /// Files that are missing or damaged, after a rebuild.
    pub(super) faulty: u64,
    /// The result of `--rebuild`.
    pub(super) rebuild: Option<Rebuild>,
}

impl OutputFiles {
    /// Checks the files, and with `rebuild` lets this run deliver the events of missing files again. Warns about files
    /// that are missing or damaged.
    ///
    /// # Errors
    /// The ledger cannot be read, or the files cannot be rebuilt.
    pub(super) async fn open(delivery: &Delivery, rebuild: bool) -> Result<Self, String> {
        let Some(files) = &delivery.files else {
            return match rebuild {
                true => Err("--rebuild requires a folder as DEST: a stream keeps no files".into()),
                false => Ok(Self::default()),
            };
        };
        let failed = |error| format!("DEST: {error}");
        let rebuild = match rebuild {
            true => Some(files.rebuild().await.map_err(failed)?),
            false => None,
        };
        let check = files.check_files().await.map_err(failed)?;
        if !check.faulty.is_empty() {
            tracing::warn!("{}", warning(&check.faulty, check.files));
        }
        Ok(Self { faulty: check.faulty.len() as u64, rebuild })
    }

    /// Returns the objects whose events should be delivered again and are not.
    pub(super) async fn not_rebuilt(&self, ledger: &Ledger) -> Vec<String> {
        let Some(rebuild) = &self.rebuild else { return Vec::new() };
        let name = |object: &Object| object.to_string();
        match ledger.states(&rebuild.objects).await {
            Ok(states) => {
                let open = rebuild.objects.iter().zip(states).filter(|(_, state)| *state != ObjectState::Done);
                open.map(|(object, _)| name(object)).collect()
            }
            // The ledger proves nothing, so no object counts as delivered again.
            Err(_) => rebuild.objects.iter().map(name).collect(),
        }
    }
}

fn warning(faulty: &[FaultyFile], files: u64) -> String {
    let mut text = format!("{} of {files} files that were delivered before are missing or damaged:", faulty.len());
    for FaultyFile { path, fault, events } in faulty.iter().take(MAX_NAMED) {
        let events = events.map_or(String::new(), |events| format!(" ({events} events)"));
        text += &format!(" {} {fault}{events};", path.display());
    }
    if faulty.len() > MAX_NAMED {
        text += &format!(" and {} more;", faulty.len() - MAX_NAMED);
    }
    text + " their events are not delivered again. Restore them, or deliver the events of missing files again with \
            `trailhose sync --rebuild`, or record with `trailhose ledger release` that they were moved"
}
