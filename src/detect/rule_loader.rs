//! The rules of a function: the published set, or the last valid one if the published set cannot be used.

use super::rule_location::{PublishedRules, RuleLocation, RuleLocationError};
use crate::finding_store::dynamodb::DynamoFindings;
use crate::ledger::store::StoreError;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use trailhose_rules::RuleSet;

/// The time after which the manifest is read again.
const CHECK_AFTER: Duration = Duration::from_secs(60);

/// Loads the published rules.
#[derive(Debug)]
pub struct RuleLoader {
    location: RuleLocation,
    store: Arc<DynamoFindings>,
    loaded: Mutex<Option<LoadedSet>>,
}

#[derive(Debug)]
struct LoadedSet {
    rules: Arc<RuleSet>,
    id: String,
    /// The manifest of this set. Empty if the set was loaded after a cold start because the published one cannot be used.
    manifest: Vec<u8>,
    /// Why the published set cannot be used.
    problem: Option<String>,
    checked: Instant,
}

/// The rules to evaluate.
#[derive(Debug, Clone)]
pub struct RulesInUse {
    /// The rules.
    pub rules: Arc<RuleSet>,
    /// Whether this call loaded another set than the one that was recorded.
    pub is_change: bool,
    /// Why the published set cannot be used. Then an earlier set is in use.
    pub problem: Option<String>,
}

/// Why there are no rules.
#[derive(Debug, thiserror::Error)]
pub enum RuleLoaderError {
    /// The published set cannot be used, and there is no earlier one.
    #[error("no rules: {0}")]
    NoRules(RuleLocationError),
    /// The table of the findings cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RuleLoader {
    /// Creates a loader. Loads nothing.
    pub fn new(location: RuleLocation, store: Arc<DynamoFindings>) -> Self {
        Self { location, store, loaded: Mutex::default() }
    }

    /// Returns the rules. Reads the manifest at most once a minute.
    ///
    /// # Errors
    /// No set can be used, or the table cannot be used.
    pub async fn rules(&self) -> Result<RulesInUse, RuleLoaderError> {
        let mut loaded = self.loaded.lock().await;
        if let Some(set) = loaded.as_ref().filter(|set| set.checked.elapsed() < CHECK_AFTER) {
            return Ok(set.in_use(false));
        }
        let published = match self.location.current_manifest().await {
            Ok(manifest) => {
                // After a problem, the published set is read again, because a file can be missing for a short time.
                let is_same = |set: &&mut LoadedSet| set.manifest == manifest && set.problem.is_none();
                if let Some(set) = loaded.as_mut().filter(is_same) {
                    set.checked = Instant::now();
                    return Ok(set.in_use(false));
                }
                self.location.rules(&manifest).await.map(|published| (published, manifest))
            }
            Err(error) => Err(error),
        };
        match published {
            Ok((PublishedRules { id, rules }, manifest)) => {
                let now = jiff::Timestamp::now().as_millisecond();
                let is_change = self.store.record_rules(&id, rules.rules().len() as u64, now).await?;
                if is_change {
                    let rules = rules.rules().len();
                    tracing::info!(rule_set = id, rules, "the rule set changed");
                }
                let set = LoadedSet { rules: Arc::new(rules), id, manifest, problem: None, checked: Instant::now() };
                Ok(loaded.insert(set).in_use(is_change))
            }
            Err(error) => self.keep_last(&mut loaded, error).await,
        }
    }

    /// Keeps the set in use. After a cold start, loads the last valid set.
    async fn keep_last(
        &self,
        loaded: &mut Option<LoadedSet>,
        error: RuleLocationError,
    ) -> Result<RulesInUse, RuleLoaderError> {
        let set = match loaded.take() {
            Some(set) => set,
            None => {
                let Some(id) = self.store.last_valid_rules().await? else {
                    return Err(RuleLoaderError::NoRules(error));
                };
                let last = async { self.location.rules(&self.location.manifest(&id).await?).await };
                let PublishedRules { id, rules } = last.await.map_err(RuleLoaderError::NoRules)?;
                let checked = Instant::now();
                LoadedSet { rules: Arc::new(rules), id, manifest: Vec::new(), problem: None, checked }
            }
        };
        tracing::error!(rule_set = set.id, "{error}; the last valid rule set stays in use");
        let set = LoadedSet { problem: Some(error.to_string()), checked: Instant::now(), ..set };
        Ok(loaded.insert(set).in_use(false))
    }
}

impl LoadedSet {
    fn in_use(&self, is_change: bool) -> RulesInUse {
        RulesInUse { rules: Arc::clone(&self.rules), is_change, problem: self.problem.clone() }
    }
}
