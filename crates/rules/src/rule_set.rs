//! A set of rules, and the rules that match an event.

use crate::candidates::{CandidateIndex, RequiredKey};
use crate::check;
use crate::document::{self, Document, DocumentContent, MAX_FILE_BYTES};
use crate::exclusion::{Exclusion, Suppression};
use crate::nulls::separate_nulls;
use crate::panics::caught;
use crate::required::{RequiredText, fields, required};
use crate::rule::{DetectionRule, InvalidRule, RuleLevel};
use crate::rule_event::{self, RuleEvent};
use rsigma_eval::result::ResultBody;
use rsigma_eval::{CompiledRule, compile_rule, evaluate_rule};
use rsigma_parser::SigmaRule;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use trailhose_core::decode::{EventOffsets, SelectedFields, time};
use trailhose_core::finding::MatchedField;

/// Maximum bytes of the value of a [`MatchedField`]. A finding stays small even if its event has 1 MB.
const MAX_VALUE: usize = 1024;

/// Valid rules and filters.
#[derive(Debug, Default)]
pub struct RuleSet {
    pub(crate) rules: Vec<LoadedRule>,
    exclusions: Vec<Exclusion>,
    /// The fields that the rules and filters compare.
    selected: Arc<SelectedFields>,
    candidates: CandidateIndex,
}

/// A rule and what is needed to evaluate it.
#[derive(Debug)]
pub(crate) struct LoadedRule {
    rule: DetectionRule,
    pub(crate) compiled: CompiledRule,
    /// The indexes of the filter documents that apply to the rule.
    exclusions: Vec<usize>,
    /// How many evaluations panicked.
    panics: AtomicU64,
}

/// The result of reading rule files.
#[derive(Debug)]
pub struct LoadedRules {
    /// The valid documents.
    pub rules: RuleSet,
    /// The other documents: first those that are invalid on their own, in the order of the files, and then filter documents
    /// that refer to rules that are not loaded.
    pub invalid: Vec<InvalidRule>,
}

/// A rule that matches an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleMatch<'r> {
    /// The rule.
    pub rule: &'r DetectionRule,
    /// The index of the rule in [`RuleSet::rules`].
    pub rule_index: usize,
    /// The fields by which the event matches, in the order of the rule.
    pub matched_fields: Vec<MatchedField>,
    /// The suppression that applies to the event. A suppressed match is recorded and causes no alert.
    pub suppression: Option<&'r Suppression>,
}

impl RuleSet {
    /// Loads rule files: each with its name and its bytes. Each document is valid or invalid on its own.
    pub fn load(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> LoadedRules {
        let mut loading = Loading::default();
        for (name, bytes) in files {
            loading.add_file(&name, &bytes);
        }
        loading.finish()
    }

    /// Returns the rules in the order of the files.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &DetectionRule> {
        self.rules.iter().map(|loaded| &loaded.rule)
    }

    /// Returns the number of filter documents without an expiry date, and the number of those with one.
    pub fn filter_counts(&self) -> (usize, usize) {
        let expiring = self.exclusions.iter().filter(|exclusion| exclusion.suppression.is_some()).count();
        (self.exclusions.len() - expiring, expiring)
    }

    /// Returns the filter documents with an expiry date.
    pub fn suppressions(&self) -> impl Iterator<Item = &Suppression> {
        self.exclusions.iter().filter_map(|exclusion| exclusion.suppression.as_ref())
    }

    /// Returns the rules whose evaluation panicked, and how often. A panic is a defect of the rule engine. The rule is
    /// still evaluated for other events, because otherwise one event could switch a rule off.
    pub fn failed_rules(&self) -> Vec<(&DetectionRule, u64)> {
        let count = |loaded: &LoadedRule| loaded.panics.load(Ordering::Relaxed);
        self.rules.iter().map(|loaded| (&loaded.rule, count(loaded))).filter(|(_, count)| *count > 0).collect()
    }

    /// Returns the rules that match an event, in the order of the files, or nothing if the bytes are not a JSON object.
    pub fn evaluate(&self, line: &[u8]) -> Vec<RuleMatch<'_>> {
        self.try_evaluate(line).unwrap_or_default()
    }

    /// Returns the rules that match an event, in the order of the files, or `None` if the bytes are not a JSON object. In
    /// bytes that the decoder did not accept, not every defect is noticed.
    pub fn try_evaluate(&self, line: &[u8]) -> Option<Vec<RuleMatch<'_>>> {
        let offsets = self.selected.offsets(line)?;
        Some(self.evaluate_event(&RuleEvent::new(line, &self.selected, &offsets)))
    }

    /// Returns the rules that match a decoded event, in the order of the files. `offsets` are those that the decoder noted for
    /// this line. The line is scanned again if they are not those of [`RuleSet::selected_fields`].
    pub fn evaluate_decoded(&self, line: &[u8], offsets: EventOffsets<'_>) -> Vec<RuleMatch<'_>> {
        match offsets.of(&self.selected) {
            Some(offsets) => self.evaluate_event(&RuleEvent::new(line, &self.selected, offsets)),
            None => self.evaluate(line),
        }
    }

    /// Returns the fields that the decoder notes for [`RuleSet::evaluate_decoded`].
    pub fn selected_fields(&self) -> Arc<SelectedFields> {
        Arc::clone(&self.selected)
    }

    fn evaluate_event(&self, event: &RuleEvent<'_>) -> Vec<RuleMatch<'_>> {
        self.candidates.with_candidates(event, |candidates| match candidates {
            [] => Vec::new(),
            candidates => self.matches(candidates, event),
        })
    }

    pub(crate) fn matches(&self, candidates: &[u32], event: &RuleEvent<'_>) -> Vec<RuleMatch<'_>> {
        let mut matches = Vec::new();
        for &number in candidates {
            let loaded = &self.rules[number as usize];
            match caught(|| self.evaluate_rule(number as usize, event)) {
                Some(found) => matches.extend(found),
                None => _ = loaded.panics.fetch_add(1, Ordering::Relaxed),
            }
        }
        matches
    }

    fn evaluate_rule(&self, rule_index: usize, event: &RuleEvent<'_>) -> Option<RuleMatch<'_>> {
        let loaded = &self.rules[rule_index];
        let result = evaluate_rule(&loaded.compiled, event)?;
        let mut suppression = None;
        for exclusion in loaded.exclusions.iter().map(|&index| &self.exclusions[index]) {
            match &exclusion.suppression {
                None if exclusion.excludes(event) => return None,
                Some(found) if suppression.is_none() && is_before(event, found) && exclusion.excludes(event) => {
                    suppression = Some(found);
                }
                _ => {}
            }
        }
        let ResultBody::Detection(body) = result.body else { return None };
        let matched_fields = body.matched_fields.into_iter().map(|found| {
            let value = match found.value {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            MatchedField { path: found.field, value: shortened(value) }
        });
        Some(RuleMatch { rule: &loaded.rule, rule_index, matched_fields: matched_fields.collect(), suppression })
    }
}

/// Returns whether an event happened before the end of a suppression. For an event without a valid time, returns false.
fn is_before(event: &RuleEvent<'_>, suppression: &Suppression) -> bool {
    let time = event.top_level("eventTime").map(rule_event::text);
    time.and_then(|time| time::seconds(time.as_bytes())).is_some_and(|seconds| seconds < suppression.until.as_second())
}

/// Returns the first [`MAX_VALUE`] bytes of a text, or fewer if a character would be divided.
fn shortened(mut text: String) -> String {
    if text.len() > MAX_VALUE {
        text.truncate(text.floor_char_boundary(MAX_VALUE));
    }
    text
}

/// The documents that were read so far.
#[derive(Debug, Default)]
struct Loading {
    rules: Vec<LoadedRule>,
    /// The key of each rule, by which its candidates are found.
    required: Vec<Option<RequiredKey>>,
    /// The fields that the rules compare.
    fields: Vec<String>,
    /// The filter documents, with the file and the line that an error names.
    exclusions: Vec<(Exclusion, InvalidRule)>,
    /// The file and line of each rule ID.
    ids: HashMap<String, String>,
    invalid: Vec<InvalidRule>,
}

impl Loading {
    fn add_file(&mut self, file: &str, bytes: &[u8]) {
        let whole_file = |reason: String| InvalidRule { file: file.to_owned(), line: 1, reason };
        if bytes.len() > MAX_FILE_BYTES {
            let reason = format!("the file has {} bytes: the maximum is {MAX_FILE_BYTES}", bytes.len());
            return self.invalid.push(whole_file(reason));
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let line = 1 + bytes[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
                let reason = "the file is not UTF-8".to_owned();
                return self.invalid.push(InvalidRule { line, ..whole_file(reason) });
            }
        };
        let version: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        for document in document::parse(file, text) {
            if let Err(invalid) = document.and_then(|document| self.add_document(&document, &version)) {
                self.invalid.push(invalid);
            }
        }
    }

    fn add_document(&mut self, document: &Document<'_>, version: &str) -> Result<(), InvalidRule> {
        match &document.content {
            DocumentContent::Rule(rule) => {
                let unknown_fields = check::rule(document, rule)?;
                self.add_rule(document, rule, version, unknown_fields)
            }
            DocumentContent::Filter(filter, members) => {
                let suppression = check::filter(document, filter, members)?;
                let exclusion =
                    Exclusion::new(filter, suppression).map_err(|reason| document.invalid("filter", reason))?;
                self.exclusions.push((exclusion, document.invalid("rules:", "")));
                Ok(())
            }
        }
    }

    fn add_rule(
        &mut self,
        document: &Document<'_>,
        sigma: &SigmaRule,
        version: &str,
        unknown_fields: Vec<String>,
    ) -> Result<(), InvalidRule> {
        let id = sigma.id.clone().unwrap_or_default();
        let place = format!("{}:{}", document.file, document.line());
        if let Some(first) = self.ids.get(&id) {
            return Err(
                document.invalid("id:", format!("the rule in {first} has the same id: each rule needs its own"))
            );
        }
        let names = required(&sigma.detection, "eventName");
        let shown = |texts: &Option<Vec<RequiredText>>| texts.iter().flatten().map(RequiredText::shown).collect();
        let rule = DetectionRule {
            id: id.clone(),
            name: sigma.name.clone(),
            title: sigma.title.clone(),
            level: sigma.level.map(RuleLevel::from).unwrap_or_default(),
            author: sigma.author.clone(),
            license: sigma.license.clone(),
            description: sigma.description.clone(),
            references: sigma.references.clone(),
            tags: sigma.tags.clone(),
            false_positives: sigma.falsepositives.clone(),
            version: version.to_owned(),
            event_names: shown(&names),
            event_sources: shown(&required(&sigma.detection, "eventSource")),
            unknown_fields,
            file: document.file.to_owned(),
            line: document.line(),
        };
        let mut sigma = sigma.clone();
        sigma.detection.named.values_mut().for_each(separate_nulls);
        let compiled = compile_rule(&sigma)
            .map_err(|error| document.invalid("detection", format!("invalid detection: {error}")))?;
        self.ids.insert(id, place);
        self.required.push(RequiredKey::of(&sigma.detection));
        self.fields.extend(fields(&sigma.detection));
        self.rules.push(LoadedRule { rule, compiled, exclusions: Vec::new(), panics: AtomicU64::new(0) });
        Ok(())
    }

    fn finish(mut self) -> LoadedRules {
        let rules: Vec<DetectionRule> = self.rules.iter().map(|loaded| loaded.rule.clone()).collect();
        let mut exclusions = Vec::new();
        for (exclusion, place) in self.exclusions {
            let unknown = exclusion.unknown_targets(&rules);
            if !unknown.is_empty() {
                let reason = format!("the filter refers to rules that are not loaded: {}", unknown.join(", "));
                self.invalid.push(InvalidRule { reason, ..place });
                continue;
            }
            for loaded in self.rules.iter_mut().filter(|loaded| exclusion.applies_to(&loaded.rule)) {
                loaded.exclusions.push(exclusions.len());
            }
            exclusions.push(exclusion);
        }
        let compared = exclusions.iter().flat_map(|exclusion: &Exclusion| &exclusion.fields).chain(&self.fields);
        // The end of a suppression is compared with the time of the event.
        let time = exclusions.iter().any(|exclusion| exclusion.suppression.is_some()).then_some("eventTime");
        let selected = rule_event::select(compared.map(String::as_str).chain(time));
        let candidates = CandidateIndex::new(self.required.iter().map(Option::as_ref), &selected);
        let rules = RuleSet { rules: self.rules, exclusions, selected: Arc::new(selected), candidates };
        LoadedRules { rules, invalid: self.invalid }
    }
}
