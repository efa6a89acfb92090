//! Which events a question is about: event names, and verbs with their objects.

use super::draft::EventClause;
use super::literal::Literal;
use super::noun::{self, Family, SERVICE_EVENTS};
use super::object::{Noun, forms};
use super::operations::{needed_source, operations, policy_events, status, unique};
use super::reader::Reader;
use super::service;
use super::stop_words;
use super::verb::{CHANGES, Verb};
use super::vocabulary::Vocabulary;
use super::words::Role;
use crate::plan::{Column, Predicate};

/// A verb and its position.
#[derive(Debug, Clone, Copy)]
pub(super) struct FoundVerb {
    pub(super) at: usize,
    pub(super) end: usize,
    pub(super) verb: Verb,
}

impl Reader {
    /// Consumes event names such as `GetSecretValue`, `sts:GetCallerIdentity` and `Describe*`.
    pub(super) fn read_event_names(&mut self) {
        for at in 0..self.words.len() {
            if !self.words.is_free(at) || self.words.all.get(at).is_some_and(|word| word.is_quoted) {
                continue;
            }
            let Some(mut clause) = self.event_name(at) else { continue };
            self.words.consume(at..at + 1, Role::Event);
            clause.is_negated = self.take_negation(at);
            self.draft.events.push(clause);
        }
    }

    fn event_name(&self, at: usize) -> Option<EventClause> {
        let text = self.words.text(at);
        let (service, name) = text.split_once(':').map_or((None, text), |(service, name)| (Some(service), name));
        let sources: Vec<String> = match service {
            Some(service) => vec![Vocabulary::get().service(&service.to_lowercase())?.to_owned()],
            None => Vec::new(),
        };
        if let Some(start) = name.strip_suffix('*') {
            let is_start = start.len() >= 3
                && start.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && start.starts_with(|c: char| c.is_ascii_uppercase());
            let clause = EventClause { prefixes: vec![start.to_owned()], sources, ..EventClause::names(Vec::new()) };
            return is_start.then_some(clause);
        }
        let operation = Vocabulary::get().operation(&name.to_lowercase(), &sources)?;
        let parts = operation.name.bytes().filter(u8::is_ascii_uppercase).count();
        let is_same_case = operation.name == name;
        let next = self.words.lower(at + 1);
        let is_called = matches!(
            next,
            "call" | "calls" | "event" | "events" | "api" | "request" | "requests" | "operations" | "errors"
        ) || (at > 0 && matches!(self.words.lower(at - 1), "called" | "call"))
            || (at > 1 && self.words.lower(at - 1) == "to" && matches!(self.words.lower(at - 2), "calls" | "call"));
        let is_name = service.is_some()
            || (parts >= 2 && (is_same_case || !stop_words::is_known(&name.to_lowercase())))
            || (is_called && (is_same_case || self.follows_service(at, &operation.sources)));
        is_name.then(|| EventClause { sources, ..EventClause::names(Vocabulary::with_versions(&operation.name)) })
    }

    /// Whether the word before is one of these services.
    fn follows_service(&self, at: usize, sources: &[String]) -> bool {
        let found = at.checked_sub(1).and_then(|before| service::at(&self.words, before));
        found.is_some_and(|(source, length)| length == 1 && sources.contains(&source))
    }

    /// Consumes verbs and their objects.
    pub(super) fn read_objects(&mut self) {
        self.read_made_public();
        self.read_configuration_changes();
        self.read_received();
        let groups = self.verb_groups();
        if groups.is_empty() {
            return;
        }
        let all: Vec<Verb> = groups.iter().flatten().map(|found| found.verb).collect();
        let nouns = self.nouns(&all);
        // A verb may be a part of a noun, as in `key deletions that were scheduled`.
        let is_outside_nouns = |verb: &FoundVerb| !nouns.iter().any(|noun| noun.start <= verb.at && verb.at < noun.end);
        let has_verb = |group: &Vec<FoundVerb>| group.iter().any(is_outside_nouns);
        let groups: Vec<Vec<FoundVerb>> = match groups.iter().any(has_verb) {
            true => groups
                .into_iter()
                .filter(has_verb)
                .map(|group| group.into_iter().filter(is_outside_nouns).collect())
                .collect(),
            false => groups,
        };
        for (index, group) in groups.iter().enumerate() {
            let start = index.checked_sub(1).and_then(|index| groups.get(index)?.last()).map_or(0, |verb| verb.end);
            let first = group.first().map_or(0, |verb| verb.at);
            let last = group.last().map_or(0, |verb| verb.end);
            let end = groups.get(index + 1).and_then(|group| group.first()).map_or(self.words.len(), |verb| verb.at);
            let within = |from: usize, to: usize| -> Vec<Noun> {
                nouns.iter().filter(|noun| noun.start >= from && noun.end <= to).cloned().collect()
            };
            let (mut before, after) = (within(start, first), within(last, end));
            before.retain(|noun| !self.is_asked_column(noun));
            let known_events = self.draft.events.len();
            let both: Vec<Noun> = before.into_iter().chain(after.iter().cloned()).collect();
            // `which groups did bob remove users from` asks for what the preposition refers to.
            if let Some((asked, rest)) = both.split_first()
                && self.is_asked_container(asked, rest, end)
            {
                let rotated: Vec<Noun> = rest.iter().chain([asked]).cloned().collect();
                if self.read_verb_group(group, &rotated) {
                    self.words.consume(first..last, Role::Event);
                    if known_events > 0 {
                        self.refuse_relative_clause(start, first);
                    }
                }
                continue;
            }
            // In `objects deleted from the bucket`, the object of the verb is before it.
            let is_passive = both.len() > after.len()
                && after.first().is_some_and(|noun| {
                    noun.start > 0
                        && matches!(
                            self.word_before(noun.start),
                            "from" | "in" | "on" | "to" | "of" | "for" | "by" | "with"
                        )
                });
            let candidates = if is_passive { [&both, &after] } else { [&after, &both] };
            let is_resolved = candidates.into_iter().any(|nouns| self.read_verb_group(group, nouns));
            if is_resolved && known_events > 0 {
                self.refuse_relative_clause(start, first);
            }
            if is_resolved || self.read_service_event(group) || self.read_general_event(group) {
                self.words.consume(first..last, Role::Event);
            } else if group.iter().all(|found| self.is_label(*found)) {
                self.words.consume(first..last, Role::Label);
            }
        }
    }

    /// Turns `made … public` into one verb.
    fn read_made_public(&mut self) {
        let made = (0..self.words.len())
            .find(|&at| self.words.is_free(at) && matches!(self.words.lower(at), "made" | "make" | "makes" | "making"));
        let public = (0..self.words.len()).find(|&at| self.words.is_free(at) && self.words.lower(at) == "public");
        if let (Some(made), Some(public)) = (made, public)
            && made < public
            && let Some(word) = self.words.all.get_mut(public)
        {
            word.lower = "publicize".into();
            self.words.consume(made..made + 1, Role::Label);
        }
    }

    /// Verbs, grouped if only `and`, `or` and words without a meaning are between them.
    fn verb_groups(&self) -> Vec<Vec<FoundVerb>> {
        let mut groups: Vec<Vec<FoundVerb>> = Vec::new();
        let mut at = 0;
        while at < self.words.len() {
            let found = self.verb(at);
            if let Some(found) = found {
                let last = groups.last().and_then(|group| group.last()).map(|verb| verb.end);
                let is_joined = last.is_some_and(|last| {
                    (last..at).all(|between| matches!(self.words.lower(between), "and" | "or" | "the" | "of" | "a"))
                });
                match groups.last_mut().filter(|_| is_joined) {
                    Some(group) => group.push(found),
                    None => groups.push(vec![found]),
                }
                at = found.end;
            } else {
                at += 1;
            }
        }
        groups
    }

    pub(super) fn verb(&self, at: usize) -> Option<FoundVerb> {
        if !self.words.is_free(at) || stop_words::is_stop_word(self.words.lower(at)) {
            return None;
        }
        for (phrase, name) in
            [("turned|turn|turns|switched off", "turn off"), ("turned|turn|turns|switched on", "turn on")]
        {
            if let Some(length) = self.words.phrase(at, phrase) {
                return Verb::from_word(name).map(|verb| FoundVerb { at, end: at + length, verb });
            }
        }
        Verb::from_word(self.words.lower(at)).map(|verb| FoundVerb { at, end: at + 1, verb })
    }

    /// Consumes a group of verbs with their objects. Returns `false` and consumes nothing if no event has these verbs and
    /// objects.
    fn read_verb_group(&mut self, group: &[FoundVerb], nouns: &[Noun]) -> bool {
        let mut events: Vec<(Vec<String>, Option<&'static Family>, usize)> = Vec::new();
        // In `functions whose code was changed`, the object is the code.
        let mut nouns = nouns.to_vec();
        if let Some(index) = nouns.iter().position(|noun| noun.start > 0 && self.words.lower(noun.start - 1) == "whose")
        {
            nouns.rotate_left(index);
        }
        let nouns = nouns.as_slice();
        if self.read_join(group, nouns) {
            self.consume_used(nouns);
            return true;
        }
        if let Some(is_read) = self.read_passive(group, nouns) {
            return is_read;
        }
        let is_scheduled = group.iter().any(|found| matches!(found.verb.name, "schedule" | "cancel"));
        for (index, noun) in nouns.iter().enumerate() {
            let is_alternative = index > 0 && self.joins(nouns.get(index - 1).map_or(0, |noun| noun.end), noun.start);
            if !events.is_empty() && !is_alternative {
                continue;
            }
            let mut names = Vec::new();
            let mut understood = 0;
            for found in group {
                // `scheduled the deletion`
                if is_scheduled && found.verb.name == "delete" {
                    understood += 1;
                    continue;
                }
                let found = self.events(found.verb, noun, nouns);
                understood += usize::from(!found.is_empty());
                names.extend(found);
            }
            if understood == group.len() && !names.is_empty() {
                names.dedup();
                events.push((names, noun.family, index));
            }
        }
        if events.is_empty() {
            return false;
        }
        let mains: Vec<usize> = events.iter().map(|(_, _, index)| *index).collect();
        for (names, family, index) in events {
            let Some(noun) = nouns.get(index) else { continue };
            let mut clause = EventClause::names(unique(names.iter().flat_map(|name| Vocabulary::with_versions(name))));
            let source = family.map(|family| family.source.to_owned()).or_else(|| noun.source.clone());
            clause.sources = needed_source(&clause.names, source);
            if clause.names == ["*"] {
                clause.names.clear();
                clause.prefixes =
                    group.iter().flat_map(|found| found.verb.starts.iter().map(|&start| start.to_owned())).collect();
            }
            let is_assumption = clause.names == ["AssumeRole"];
            clause.conditions.extend(self.name_condition(noun, is_assumption));
            clause.conditions.extend(status(group, &clause.names));
            self.group_by_asked_names(noun, is_assumption);
            self.words.consume(noun.start..noun.end, Role::Object);
            for (_, other) in nouns.iter().enumerate().filter(|(index, _)| !mains.contains(index)) {
                if self.words.is_free(other.end - 1) && !self.joins(noun.end, other.start) {
                    clause.conditions.extend(self.name_condition(other, false));
                    self.refuse_unrelated(&clause, other);
                    self.group_by_asked_names(other, false);
                }
            }
            self.draft.events.push(clause);
        }
        let has_left =
            self.draft.events.last().is_some_and(|clause| clause.names.iter().any(|name| name == "LeaveOrganization"));
        let is_shared = group.iter().any(|found| matches!(found.verb.name, "share" | "publicize"));
        if is_shared {
            self.words.find(&["with another|other|external account|accounts"], Role::Label);
        }
        if has_left {
            self.words.find(&["account|accounts"], Role::Object);
        }
        self.consume_used(nouns);
        true
    }

    fn consume_used(&mut self, nouns: &[Noun]) {
        for noun in nouns {
            if self.is_used(noun) {
                self.words.consume(noun.start..noun.end, Role::Object);
            }
        }
    }

    /// Whether a further noun belongs to the events. `by account` is a part of the output instead.
    fn is_used(&self, noun: &Noun) -> bool {
        let follows_by = noun.start > 0 && self.words.lower(noun.start - 1) == "by";
        !noun.names.is_empty() || (!follows_by && noun.family.is_some_and(|family| family.objects != "Account"))
    }

    fn joins(&self, from: usize, to: usize) -> bool {
        (from..to).any(|at| matches!(self.words.lower(at), "and" | "or"))
            && !(from..to).any(|at| matches!(self.words.lower(at), "of" | "to" | "for" | "from" | "by" | "in" | "on"))
    }

    /// The events of a verb with an object.
    pub(super) fn events(&self, verb: Verb, noun: &Noun, nouns: &[Noun]) -> Vec<String> {
        let Some(family) = noun.family else {
            let sources: Vec<String> = noun.source.iter().cloned().collect();
            return operations(verb, &noun.forms, &sources);
        };
        if family.objects == "*" {
            return vec!["*".into()];
        }
        if verb.name == "assume" {
            return if family.objects == "Role" { vec!["AssumeRole".into()] } else { Vec::new() };
        }
        let listed = family.events.iter().find(|(verbs, _)| verbs.split('|').any(|name| name == verb.name));
        if let Some((_, events)) = listed {
            let events: Vec<String> = events.iter().map(|&event| event.to_owned()).collect();
            return policy_events(events, family, noun, nouns);
        }
        let forms: Vec<String> = family.objects.split('|').flat_map(|object| forms(&object.to_lowercase())).collect();
        operations(verb, &unique(forms), &[family.source.to_owned()])
    }

    /// Groups the events by the names of the resources if the question asks for them: `which buckets`.
    pub(super) fn group_by_asked_names(&mut self, noun: &Noun, is_assumption: bool) {
        let mut at = noun.start;
        while at > 0
            && matches!(
                self.words.lower(at - 1),
                "new" | "iam" | "the" | "different" | "distinct" | "aws" | "s3" | "most"
            )
        {
            at -= 1;
        }
        let is_asked = at > 0
            && (matches!(self.words.lower(at - 1), "which" | "what")
                || self.words.phrase(at - 1, "of").is_some()
                    && at > 1
                    && matches!(self.words.lower(at - 2), "list" | "names" | "which"));
        let is_asked =
            is_asked || noun.is_asked || (self.draft.has_top && self.draft.by.is_empty() && self.follows_top(at));
        if let Some(new) = (at..noun.start).find(|&at| self.words.lower(at) == "new") {
            self.words.consume(new..new + 1, Role::Label);
        }
        if is_asked && noun.names.is_empty() {
            if noun.asked_paths(is_assumption).is_empty() {
                let words: Vec<&str> = (noun.start..noun.end).map(|at| self.words.text(at)).collect();
                self.draft.unnamed = Some(words.join(" "));
            }
            let fields = noun.asked_paths(is_assumption).iter().map(|path| noun::request_parameter(path));
            self.draft.group_by_one_of(fields.collect());
        }
    }

    /// Whether `top` refers to the noun at this position: `top users that deleted buckets` asks for users.
    fn follows_top(&self, noun: usize) -> bool {
        let top = (0..noun).rev().find(|&at| self.words.role(at) == Some(Role::Output)).map_or(0, |top| top + 1);
        (top..noun).all(|at| self.dimension(at).is_none())
    }

    /// Whether a verb without an object does not restrict the events: `accounts accessed from`, `events invoked by
    /// CloudFormation`.
    fn is_label(&self, found: FoundVerb) -> bool {
        let is_passive = self.words.role(found.end) == Some(Role::Principal);
        match self.words.lower(found.at) {
            "accessed" => true,
            "invoked" | "executed" | "started" => is_passive,
            _ => false,
        }
    }

    /// `delete operations`, `what changed`: verbs without an object.
    fn read_general_event(&mut self, group: &[FoundVerb]) -> bool {
        let Some(last) = group.last() else { return false };
        let is_general =
            matches!(self.words.lower(last.end), "events" | "operations" | "calls" | "actions" | "requests");
        if is_general {
            let prefixes = group.iter().flat_map(|found| found.verb.starts.iter().map(|&start| start.to_owned()));
            let prefixes = unique(prefixes);
            self.draft.events.push(EventClause { prefixes, ..EventClause::names(Vec::new()) });
            return true;
        }
        let next = self.words.lower(last.end);
        let is_end =
            next.is_empty() || !self.words.is_free(last.end) || matches!(next, "did" | "by" | "in" | "were" | "made");
        let is_change = is_end && matches!(self.words.lower(last.at), "changed" | "changes") && group.len() == 1;
        if is_change {
            self.draft.conditions.push(Predicate::equals(Column::ReadOnly, "false"));
        }
        is_change
    }

    /// Consumes IDs, ARNs and named resources that no verb refers to: `activity in the bucket reports`.
    pub(super) fn read_named_resources(&mut self) {
        for noun in self.nouns(&[]) {
            if !noun.names.is_empty() && self.has_certain_name(&noun) {
                self.draft.conditions.extend(self.name_condition(&noun, false));
                self.words.consume(noun.start..noun.end, Role::Object);
            }
        }
        for at in 0..self.words.len() {
            if let Some(Literal::Arn(text) | Literal::ResourceId(text, _) | Literal::Uuid(text)) =
                self.literal(at).cloned()
            {
                self.words.consume(at..at + 1, Role::Object);
                self.draft.conditions.push(Predicate::Anywhere(text));
            }
        }
    }

    /// `disabled GuardDuty`, `stopped CloudTrail`, `changes in IAM`.
    fn read_service_event(&mut self, group: &[FoundVerb]) -> bool {
        let Some((at, (source, length))) =
            (0..self.words.len()).find_map(|at| Some((at, service::at(&self.words, at)?)))
        else {
            return false;
        };
        let mut names: Vec<String> = Vec::new();
        for found in group {
            let listed = SERVICE_EVENTS
                .iter()
                .find(|(known, verbs, _)| *known == source && verbs.split('|').any(|verb| verb == found.verb.name));
            let known: Vec<String> = match listed {
                Some((_, _, events)) => events.iter().map(|&event| event.to_owned()).collect(),
                None => {
                    let joined: String = (at..at + length).map(|at| self.words.lower(at)).collect();
                    operations(found.verb, &[joined], std::slice::from_ref(&source))
                }
            };
            if known.is_empty() && found.verb.starts == CHANGES {
                self.read_changes_of(at, length, source);
                return true;
            }
            if known.is_empty() {
                return false;
            }
            names.extend(known);
        }
        self.words.consume(at..at + length, Role::Object);
        let mut clause = EventClause::names(unique(names));
        clause.sources = needed_source(&clause.names, Some(source));
        self.draft.events.push(clause);
        true
    }

    /// `CloudTrail configuration changes`, `IAM changes`: all events that change something in a service.
    fn read_configuration_changes(&mut self) {
        for at in 0..self.words.len() {
            let Some((source, length)) = service::at(&self.words, at) else { continue };
            let changes = "configuration|config|setting|settings? changes|change|modifications|updates";
            if let Some(rest) = self.words.phrase(at + length, changes) {
                self.words.consume(at + length..at + length + rest, Role::State);
                self.read_changes_of(at, length, source);
                return;
            }
        }
    }

    fn read_changes_of(&mut self, at: usize, length: usize, source: String) {
        self.words.consume(at..at + length, Role::Service);
        let after = self.words.phrase(at + length, "configuration|config|setting|settings").unwrap_or(0);
        self.words.consume(at + length..at + length + after, Role::State);
        self.draft.services.push(source);
        self.draft.conditions.push(Predicate::equals(Column::ReadOnly, "false"));
    }
}
