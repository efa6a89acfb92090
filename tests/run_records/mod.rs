//! [`RunRecords`] in memory.

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Mutex;
use trailhose::backfill::record::{PartOutcome, RecordError, RunPart, RunRecords};
use trailhose::backfill::{Run, RunId};

#[derive(Debug, Default)]
pub struct MemoryRunRecords {
    runs: Mutex<BTreeMap<RunId, Run>>,
    parts: Mutex<BTreeMap<(RunId, String), RunPart>>,
}

#[async_trait]
impl RunRecords for MemoryRunRecords {
    async fn start(&self, run: &Run) -> Result<Run, RecordError> {
        Ok(self.runs.lock().unwrap().entry(run.id.clone()).or_insert_with(|| run.clone()).clone())
    }

    async fn save(&self, run: &RunId, part: &RunPart) -> Result<(), RecordError> {
        let mut parts = self.parts.lock().unwrap();
        let name = (run.clone(), part.name());
        if parts.get(&name).is_none_or(|saved| *saved.outcome() != PartOutcome::Done) {
            parts.insert(name, part.clone());
        }
        Ok(())
    }

    async fn run(&self, id: &RunId) -> Result<Option<Run>, RecordError> {
        Ok(self.runs.lock().unwrap().get(id).cloned())
    }

    async fn parts(&self, id: &RunId) -> Result<Vec<RunPart>, RecordError> {
        let parts = self.parts.lock().unwrap();
        Ok(parts.iter().filter(|((run, _), _)| run == id).map(|(_, part)| part.clone()).collect())
    }

    async fn runs(&self, most: usize) -> Result<Vec<Run>, RecordError> {
        let mut runs: Vec<Run> = self.runs.lock().unwrap().values().cloned().collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.started));
        runs.truncate(most);
        Ok(runs)
    }
}
