//! Operations on two resources: `removed users from a group`, `deleted a policy from a role`.

use super::draft::EventClause;
use super::event::FoundVerb;
use super::noun;
use super::object::{Noun, forms};
use super::operations::{needed_source, unique};
use super::parameters::{events_text, is_related};
use super::reader::Reader;
use super::verb::Verb;
use super::vocabulary::Vocabulary;
use super::words::Role;

/// Prepositions before the resource that another one belongs to.
const PREPOSITIONS: &[&str] = &["from", "to", "of", "in", "on", "for", "inside", "within", "into", "with"];

impl Reader {
    /// Consumes verbs with a member and its container, if an operation joins both. Returns `false` and consumes nothing if
    /// there is none.
    pub(super) fn read_join(&mut self, group: &[FoundVerb], nouns: &[Noun]) -> bool {
        let mut nouns = nouns.to_vec();
        if !nouns
            .last()
            .zip(nouns.first())
            .is_some_and(|(last, first)| self.is_asked_container(last, std::slice::from_ref(first), self.words.len()))
        {
            nouns.sort_by_key(|noun| noun.start);
        }
        let nouns = nouns.as_slice();
        let joined = nouns.windows(2).find_map(|pair| {
            let [member, container] = pair else { return None };
            let preposition = match container.start < member.start {
                true => self
                    .fronted_preposition(container)
                    .or_else(|| self.stranded_preposition(member.end.max(group.last()?.end)))?,
                false => self.word_before(container.start),
            };
            let found: Vec<Vec<String>> =
                group.iter().map(|found| self.joining(found.verb, member, container, preposition)).collect();
            let is_known = found.iter().all(|names| !names.is_empty());
            is_known.then(|| (member.clone(), container.clone(), unique(found.into_iter().flatten())))
        });
        let Some((member, container, names)) = joined else { return false };
        let mut clause = EventClause::names(unique(names.iter().flat_map(|name| Vocabulary::with_versions(name))));
        let source = container.family.map(|family| family.source.to_owned()).or_else(|| container.source.clone());
        clause.sources = needed_source(&clause.names, source);
        clause.conditions.extend(self.name_condition(&member, false));
        clause.conditions.extend(self.name_condition(&container, false));
        // `users were removed` asks for the users without `which`.
        let is_receiver = self.passive_receiver(group, nouns).is_some_and(|receiver| receiver.start == member.start);
        match member.name_paths(false) {
            [path] if is_receiver && self.draft.counts => {
                self.draft.count_distinct = Some(noun::request_parameter(path));
            }
            paths if is_receiver => {
                self.draft.group_by_one_of(paths.iter().map(|path| noun::request_parameter(path)).collect());
            }
            _ => self.group_by_asked_names(&member, false),
        }
        self.group_by_asked_names(&container, false);
        self.draft.events.push(clause);
        for noun in [member, container] {
            self.words.consume(noun.start..noun.end, Role::Object);
        }
        true
    }

    /// Whether a question asks for the resource of a preposition that is after the verb or the member: `which groups did bob
    /// remove users from`.
    pub(super) fn is_asked_container(&self, noun: &Noun, rest: &[Noun], end: usize) -> bool {
        let is_fronted = self.fronted_preposition(noun).is_some_and(|word| PREPOSITIONS.contains(&word));
        if is_fronted && noun.names.is_empty() && !rest.is_empty() {
            return rest.iter().all(|other| other.start > noun.start);
        }
        let before = self.word_before(noun.start);
        noun.names.is_empty()
            && matches!(before, "which" | "what")
            && !rest.is_empty()
            && rest
                .iter()
                .all(|other| other.start > noun.start && !PREPOSITIONS.contains(&self.word_before(other.start)))
            && (noun.end..end.min(self.words.len())).any(|at| {
                // `from today` is a time. After `which roles did bob …` it may be the end of the question and a time.
                let is_asked = matches!(self.words.lower(noun.end), "did" | "was" | "were" | "has" | "have" | "had");
                self.stranded_preposition(at).is_some() && (is_asked || self.words.is_free(at))
            })
    }

    /// The preposition before `which` and this noun: `from which groups`.
    pub(super) fn fronted_preposition(&self, noun: &Noun) -> Option<&str> {
        let which = self.words.before(noun.start)?;
        let is_asked = matches!(self.words.lower(which), "which" | "what");
        which.checked_sub(1).filter(|_| is_asked).map(|at| self.words.lower(at)).filter(|word| !word.is_empty())
    }

    /// Whether a question asks for the callers or the accounts of events with this noun: `by which users`, `in which account`.
    pub(super) fn is_asked_column(&self, noun: &Noun) -> bool {
        let is_account = noun.family.is_some_and(|family| family.objects == "Account");
        self.fronted_preposition(noun).is_some_and(|word| word == "by" || is_account)
    }

    /// Refuses `buckets deleted by the user who created the role`, because a query cannot combine events.
    pub(super) fn refuse_relative_clause(&mut self, from: usize, to: usize) {
        let is_relative = |at: usize| matches!(self.words.lower(at), "who" | "that" | "which" | "whose" | "also");
        if (from..to).any(is_relative) {
            self.refusal = Some("a query cannot compare several events; ask about each of them".into());
        }
    }

    /// Whether a time expression starts with this word.
    fn starts_time(&self, at: usize) -> bool {
        let is_time = |at: usize| self.words.role(at) == Some(Role::Time);
        is_time(at) && !at.checked_sub(1).is_some_and(is_time)
    }

    /// The preposition at this position, if no noun or name follows it.
    fn stranded_preposition(&self, at: usize) -> Option<&str> {
        let word = self.words.lower(at);
        let next = self.words.lower(at + 1);
        let is_end = at + 1 >= self.words.len() || self.words.role(at + 1) == Some(Role::Time);
        let is_last = is_end || matches!(next, "by" | "and");
        let is_preposition = matches!(word, "from" | "to" | "in" | "on" | "into" | "with" | "for");
        (is_preposition && ((self.words.is_free(at) && is_last) || self.starts_time(at))).then_some(word)
    }

    /// The operations that take a member from a container, or add it.
    fn joining(&self, verb: Verb, member: &Noun, container: &Noun, preposition: &str) -> Vec<String> {
        let is_inline = member.family.is_some_and(|family| family.names == "inline policy");
        let is_managed = (member.start..member.end).any(|at| self.words.lower(at) == "managed");
        let (starts, links, is_removal): (Vec<&str>, &[&str], bool) = match (verb.name, preposition) {
            ("delete" | "remove", "from") if is_inline => (vec!["Delete"], &["from"], true),
            ("delete" | "remove", "from") if is_managed => (vec!["Detach"], &["from"], true),
            ("delete" | "remove", "from") => {
                (vec!["Remove", "Detach", "Delete", "Deregister", "Disassociate"], &["from"], true)
            }
            ("detach" | "disassociate" | "deregister", "from") => (verb.starts.to_vec(), &["from"], true),
            ("add", "to") => (vec!["Add"], &["to"], false),
            ("attach" | "associate" | "register" | "put", "to" | "with") => {
                (verb.starts.to_vec(), &["to", "with"], false)
            }
            _ => return Vec::new(),
        };
        let source = container.family.map(|family| family.source.to_owned()).or_else(|| container.source.clone());
        let sources: Vec<String> = source.filter(|source| !source.is_empty()).into_iter().collect();
        let mut names = Vec::new();
        for start in starts {
            for member in object_forms(member) {
                for container in object_forms(container) {
                    let start = start.to_lowercase();
                    let linked = links.iter().map(|link| format!("{start}{member}{link}{container}"));
                    // `DeleteRolePolicy` deletes a policy from a role.
                    let owned = is_removal.then(|| format!("{start}{container}{member}"));
                    let known = linked.chain(owned).filter_map(|name| Vocabulary::get().operation(&name, &sources));
                    names.extend(known.map(|operation| operation.name.clone()));
                }
            }
        }
        unique(names)
    }

    /// Refuses the question if the events cannot be about a resource that follows a preposition: `a role of a stack`.
    pub(super) fn refuse_unrelated(&mut self, clause: &EventClause, noun: &Noun) {
        let has_condition = noun.family.is_some_and(|family| !family.paths.is_empty())
            && noun.names.iter().any(|name| !matches!(name, super::object::ObjectName::Id(_)));
        let is_further = PREPOSITIONS.contains(&self.word_before(noun.start));
        if !is_further || has_condition || clause.names.is_empty() || is_related(&clause.names, &clause.sources, noun) {
            return;
        }
        let words: Vec<&str> = (noun.start..noun.end).map(|at| self.words.text(at)).collect();
        self.refusal = Some(format!(
            "the parameters of {} do not name the {}; name the event that you look for, or leave out the other resource",
            events_text(&clause.names),
            words.join(" "),
        ));
    }
}

/// What the names of operations call a noun, in lower case.
fn object_forms(noun: &Noun) -> Vec<String> {
    let Some(family) = noun.family else { return noun.forms.clone() };
    let objects: Vec<&str> = match family.objects {
        "" => family.names.split('|').filter_map(|name| name.rsplit(' ').next()).collect(),
        objects => objects.split('|').collect(),
    };
    unique(objects.into_iter().flat_map(|object| forms(&object.to_lowercase())))
}
