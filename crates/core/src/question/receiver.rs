//! Questions for the resource that a request changed: `which users had a policy attached`.
//!
//! Users and roles also make requests. In these questions they are what the requests name in their parameters, not the callers.

use super::draft::EventClause;
use super::event::FoundVerb;
use super::noun::{self, FAMILIES, Family};
use super::object::{Noun, family_at};
use super::operations::{needed_source, status, unique};
use super::reader::Reader;
use super::verb::Verb;
use super::vocabulary::Vocabulary;
use super::words::Role;

/// The resource that requests changed: its family and its words.
#[derive(Debug, Clone, Copy)]
struct Receiver {
    family: &'static Family,
    start: usize,
    end: usize,
}

/// Words between a resource and a participle in the passive voice: `which users were added`.
const PASSIVE: &str = "were|was|are|is|got|get|gets|been|being";

impl Reader {
    /// Consumes `users had a policy attached` and `roles that got a policy removed`. A question that no plan can answer
    /// is refused.
    pub(super) fn read_received(&mut self) {
        for at in 0..self.words.len() {
            let who = self.words.phrase(at, "who").filter(|_| at == 0);
            let receiver = family_at(&self.words, at).filter(|(family, _)| can_receive(family));
            let Some(length) = receiver.map(|(_, length)| length).or(who) else { continue };
            let receiver = receiver.map(|(family, length)| Receiver { family, start: at, end: at + length });
            let next = at + length + self.words.phrase(at + length, "that|who|which").unwrap_or(0);
            let Some(length) = self.words.phrase(next, "had|has|have|having|got|get|gets") else { continue };
            let article = self.words.phrase(next + length, "a|an|the|their|its|any|some").unwrap_or(0);
            let start = next + length + article;
            let Some(group) = self.participles_after(start) else { continue };
            let (Some(first), Some(last)) = (group.first().copied(), group.last().copied()) else { continue };
            let verbs: Vec<Verb> = group.iter().map(|found| found.verb).collect();
            let Some(receiver) = receiver else {
                if self.nouns(&verbs).iter().any(|noun| noun.start >= start && noun.end <= first.at) {
                    self.refuse_who();
                }
                return;
            };
            let Some(object) = self.received_object(receiver.family, start, first.at, &verbs) else { continue };
            let found: Vec<Vec<String>> =
                verbs.iter().map(|&verb| self.received_events(verb, receiver.family, &object)).collect();
            if found.iter().any(Vec::is_empty) {
                let words: Vec<&str> = (at..last.end).map(|at| self.words.text(at)).collect();
                self.refusal = Some(format!("no event is known for \"{}\"", words.join(" ")));
                return;
            }
            let names = unique(found.into_iter().flatten());
            let Some(mut clause) = self.received_clause(receiver, object.family, names, &group) else { return };
            clause.conditions.extend(self.name_condition(&object, false));
            self.draft.events.push(clause);
            let end = last.end + self.words.phrase(last.end, "to|from|for|on them|it").unwrap_or(0);
            self.words.consume(at..end, Role::Object);
            return;
        }
    }

    /// Consumes passive verbs with their receiver and a further noun: `users were added to the group admins`. Returns `None`
    /// and consumes nothing if the verbs are active, or if the receiver alone determines the events: `users were deleted`.
    pub(super) fn read_passive(&mut self, group: &[FoundVerb], nouns: &[Noun]) -> Option<bool> {
        let Some(noun) = self.passive_receiver(group, nouns) else {
            return (!nouns.is_empty() && self.refuse_passive_who(group)).then_some(true);
        };
        let receiver = Receiver { family: noun.family?, start: noun.start, end: noun.end };
        let events = |object: &Noun| -> Option<Vec<String>> {
            let found: Vec<Vec<String>> = group.iter().map(|found| self.events(found.verb, object, nouns)).collect();
            found.iter().all(|names| !names.is_empty()).then(|| unique(found.into_iter().flatten()))
        };
        let others: Vec<(&Noun, Vec<String>)> = nouns
            .iter()
            .filter(|other| other.start != noun.start)
            .filter_map(|other| Some((other, events(other)?)))
            .collect();
        let named = others.iter().position(|(_, names)| !naming(receiver.family, names).is_empty());
        if named.is_none() && events(noun).is_some() {
            return None;
        }
        let (object, names) = others.into_iter().nth(named.unwrap_or(0))?;
        let Some(mut clause) = self.received_clause(receiver, object.family, names, group) else { return Some(true) };
        clause.conditions.extend(self.name_condition(object, false));
        self.draft.events.push(clause);
        self.words.consume(noun.start..noun.end, Role::Object);
        self.words.consume(object.start..object.end, Role::Object);
        Some(true)
    }

    pub(super) fn passive_receiver<'n>(&self, group: &[FoundVerb], nouns: &'n [Noun]) -> Option<&'n Noun> {
        let first = group.first()?;
        if !self.is_participle(first.at) {
            return None;
        }
        nouns.iter().find(|noun| {
            let next = noun.end + self.words.phrase(noun.end, "that|who|which").unwrap_or(0);
            let next = next + self.words.phrase(next, "had|has|have").unwrap_or(0);
            let length = self.words.phrase(next, PASSIVE);
            // `functions whose code was changed` asks for the functions.
            let is_part = noun.start > 0 && self.words.lower(noun.start - 1) == "whose";
            noun.names.is_empty()
                && !is_part
                && noun.family.is_some_and(can_receive)
                && length.is_some_and(|length| next + length == first.at)
        })
    }

    /// Refuses `who was added to the group`, because the events name several kinds of resources.
    fn refuse_passive_who(&mut self, group: &[FoundVerb]) -> bool {
        let Some(first) = group.first().filter(|first| self.is_participle(first.at)) else { return false };
        let next = 1 + self.words.phrase(1, "had|has|have").unwrap_or(0);
        let is_who = self.words.phrase(0, "who").is_some()
            && self.words.phrase(next, PASSIVE).is_some_and(|length| next + length == first.at);
        if is_who {
            self.refuse_who();
        }
        is_who
    }

    /// The events of these names, grouped by the names of the receivers. Refuses the question and returns `None` if their
    /// parameters do not name a receiver.
    fn received_clause(
        &mut self,
        receiver: Receiver,
        object: Option<&'static Family>,
        names: Vec<String>,
        group: &[FoundVerb],
    ) -> Option<EventClause> {
        let Receiver { family, start, end } = receiver;
        let kept = naming(family, &names);
        let is_own_path = |path: &&str| {
            let is_of_receiver = |name: &str| !name.is_empty() && path.starts_with(name.to_lowercase().as_str());
            family.paths.contains(path) || family.objects.split('|').any(is_of_receiver)
        };
        let is_same_source = object.is_none_or(|object| object.source.is_empty() || object.source == family.source);
        let mut paths: Vec<&str> = Vec::new();
        if is_same_source {
            paths.extend(object.map_or(&[][..], |object| object.paths).iter().filter(|path| is_own_path(path)));
        }
        if paths.is_empty() && !kept.is_empty() && is_same_source {
            paths.extend(family.paths);
        }
        if paths.is_empty() {
            let words: Vec<&str> = (start..end).map(|at| self.words.text(at)).collect();
            self.refusal = Some(format!(
                "the parameters of {} do not name {}; ask who made these requests, or which resources they changed",
                names.join(" and "),
                words.join(" "),
            ));
            return None;
        }
        let names = if kept.is_empty() { names } else { kept };
        let fields: Vec<_> = paths.into_iter().map(noun::request_parameter).collect();
        if self.draft.counts && fields.len() == 1 {
            self.draft.count_distinct = fields.into_iter().next();
        } else {
            self.draft.group_by_one_of(fields);
        }
        let mut clause = EventClause::names(unique(names.iter().flat_map(|name| Vocabulary::with_versions(name))));
        clause.sources = needed_source(&clause.names, Some(family.source.to_owned()));
        clause.conditions.extend(status(group, &clause.names));
        Some(clause)
    }

    fn refuse_who(&mut self) {
        self.refusal = Some(
            "\"who\" asks for the caller of a request; name the resource that was changed, for example \"which users\" or \
             \"which roles\""
                .into(),
        );
    }

    /// The participles after an object that starts here, joined by `and` or `or`.
    fn participles_after(&self, start: usize) -> Option<Vec<FoundVerb>> {
        let first = (start..self.words.len()).find(|&at| !self.words.is_free(at) || self.is_participle(at))?;
        let mut group = vec![self.verb(first).filter(|_| first > start && self.is_participle(first))?];
        while let Some(end) = group.last().map(|found| found.end)
            && self.words.phrase(end, "and|or").is_some()
            && self.is_participle(end + 1)
            && let Some(found) = self.verb(end + 1)
        {
            group.push(found);
        }
        // In `roles that have policies deleted buckets`, the participle is the verb of the sentence.
        let end = group.last()?.end;
        let article = self.words.phrase(end, "a|an|the").unwrap_or(0);
        family_at(&self.words, end + article).is_none().then_some(group)
    }

    fn is_participle(&self, at: usize) -> bool {
        let word = self.words.lower(at);
        self.verb(at).is_some()
            && (word.ends_with("ed") || matches!(word, "set" | "reset" | "put" | "sent" | "written" | "publicize"))
    }

    /// What happened to the receiver, between `had` and the participle. `policy` of a bucket is a bucket policy.
    fn received_object(&self, receiver: &Family, start: usize, end: usize, verbs: &[Verb]) -> Option<Noun> {
        let words: Vec<&str> = (start..end).map(|at| self.words.lower(at)).collect();
        let words = words.join(" ");
        let is_named = |family: &&Family| {
            family.source == receiver.source
                && family.names.split('|').any(|name| {
                    receiver.names.split('|').any(|owner| {
                        let whole = format!("{owner} {words}");
                        whole == name || whole == noun::plural(name)
                    })
                })
        };
        if let Some(family) = FAMILIES.iter().find(is_named) {
            let noun = Noun {
                start,
                end,
                family: Some(family),
                forms: Vec::new(),
                source: None,
                names: Vec::new(),
                is_asked: false,
            };
            return Some(noun);
        }
        self.noun(start, verbs).filter(|noun| noun.end == end)
    }

    /// The events of a verb with this object. A policy is attached as a managed or as an inline policy.
    fn received_events(&self, verb: Verb, receiver: &'static Family, object: &Noun) -> Vec<String> {
        let mut names = self.events(verb, object, &[]);
        let is_policy = object.family.is_some_and(|family| family.names.contains("managed policy"));
        let inline = FAMILIES.iter().find(|family| is_policy && family.names == "inline policy");
        if let Some(inline) = inline {
            let inline = Noun { family: Some(inline), ..object.clone() };
            names.extend(self.events(verb, &inline, &[]));
        }
        if names.is_empty() || naming(receiver, &names).is_empty() { names } else { naming(receiver, &names) }
    }
}

/// Whether requests can change a resource of this family. Every event names an account, so a group by account needs no
/// parameter.
fn can_receive(family: &Family) -> bool {
    !family.objects.is_empty() && !matches!(family.objects, "*" | "Account" | "Organization")
}

/// The event names that contain the name of the family, such as `AttachUserPolicy` for users.
fn naming(family: &Family, names: &[String]) -> Vec<String> {
    let is_named = |name: &&String| family.objects.split('|').any(|object| !object.is_empty() && name.contains(object));
    names.iter().filter(is_named).cloned().collect()
}
