//! What events are about: nouns of a question with the names of resources.

use super::draft::any;
use super::literal::Literal;
use super::noun::{self, FAMILIES, Family, FamilyName};
use super::reader::Reader;
use super::service;
use super::stop_words;
use super::verb::Verb;
use super::vocabulary::Vocabulary;
use crate::plan::{Predicate, QueryField, ValueTest};

/// Longest noun in words.
const MAX_NOUN: usize = 6;

/// A noun phrase: a family of the table, or words of operations' names.
#[derive(Debug, Clone)]
pub(super) struct Noun {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) family: Option<&'static Family>,
    /// The words without spaces in lower case: as written, singular, plural.
    pub(super) forms: Vec<String>,
    /// The service that is named before it.
    pub(super) source: Option<String>,
    pub(super) names: Vec<ObjectName>,
    pub(super) is_asked: bool,
}

/// Which resource, by its name or ID.
#[derive(Debug, Clone)]
pub(super) enum ObjectName {
    /// The value of a request parameter.
    Exact(String),
    /// A part of the value of a request parameter: `an admin group`.
    Part(String),
    /// A unique text, which is searched anywhere in the event.
    Id(String),
}

impl Noun {
    /// Returns the paths below `requestParameters` that distinguish resources if a question asks which ones.
    pub(super) fn asked_paths(&self, is_assumption: bool) -> &'static [&'static str] {
        let asked = noun::ASKED.iter().find(|(names, _)| self.family.is_some_and(|family| family.names == *names));
        asked.map_or_else(|| self.name_paths(is_assumption), |(_, paths)| paths)
    }

    /// Returns the paths below `requestParameters` that contain its name.
    pub(super) fn name_paths(&self, is_assumption: bool) -> &'static [&'static str] {
        match (self.family, is_assumption) {
            (_, true) => &["roleArn"],
            (Some(family), _) => family.paths,
            (None, _) => &[],
        }
    }
}

impl Reader {
    pub(super) fn nouns(&self, verbs: &[Verb]) -> Vec<Noun> {
        let mut nouns = Vec::new();
        let mut at = 0;
        while at < self.words.len() {
            match self.noun(at, verbs) {
                Some(noun) => {
                    at = noun.end;
                    nouns.push(noun);
                }
                None => at += 1,
            }
        }
        nouns
    }

    /// The longest noun at this position, with its name.
    pub(super) fn noun(&self, at: usize, verbs: &[Verb]) -> Option<Noun> {
        if !self.words.is_free(at) {
            return None;
        }
        if let Some(Literal::ResourceId(id, family)) = self.literal(at) {
            let family =
                FAMILIES.iter().find(|known| !family.is_empty() && known.names.split('|').any(|name| name == *family));
            return Some(Noun {
                start: at,
                end: at + 1,
                family,
                forms: Vec::new(),
                source: None,
                names: vec![ObjectName::Id(id.clone())],
                is_asked: false,
            });
        }
        let (source, skipped) =
            service::at(&self.words, at).map_or((None, 0), |(source, length)| (Some(source), length));
        let family = family_at(&self.words, at).filter(|(_, length)| *length >= skipped);
        let start = at + skipped;
        let inner_family = (skipped > 0).then(|| family_at(&self.words, start)).flatten();
        // `config rule` is a part of `DeleteConfigRule`.
        let words = self
            .operation_words(at, verbs, None)
            .filter(|(_, end)| skipped > 0 && *end > start)
            .or_else(|| self.operation_words(start, verbs, source.as_deref()));
        let family_end = family.map_or(0, |(_, length)| at + length);
        let inner_end =
            inner_family.filter(|(it, _)| source.as_deref() == Some(it.source)).map_or(0, |(_, length)| start + length);
        let words_end = words.as_ref().map_or(0, |(_, end)| *end);
        let end = family_end.max(inner_end).max(words_end);
        let dimension = self.dimension(at).map_or(0, |(_, length)| at + length);
        if end == 0 || dimension > end {
            return None;
        }
        let (family, forms, source) = if end == family_end {
            (family.map(|(family, _)| family), Vec::new(), None)
        } else if end == inner_end {
            (inner_family.map(|(family, _)| family), Vec::new(), None)
        } else {
            (None, words.map(|(forms, _)| forms).unwrap_or_default(), source)
        };
        let mut noun = Noun { start: at, end, family, forms, source, names: Vec::new(), is_asked: false };
        self.read_name(&mut noun);
        Some(noun)
    }

    /// The words at this position that are the rest of an operation of one of the verbs.
    fn operation_words(&self, at: usize, verbs: &[Verb], source: Option<&str>) -> Option<(Vec<String>, usize)> {
        let sources: Vec<String> = source.map(str::to_owned).into_iter().collect();
        (1..=MAX_NOUN).rev().find_map(|length| {
            let range = at..at + length;
            // There are several kinds of keys.
            let is_vague =
                stop_words::is_stop_word(self.words.lower(at)) || matches!(self.words.lower(at), "key" | "keys");
            let is_free = range
                .clone()
                .all(|at| self.words.is_free(at) && !self.words.lower(at).is_empty() && self.literal(at).is_none());
            if !is_free || (length == 1 && is_vague) {
                return None;
            }
            let joined: String = range.map(|at| self.words.lower(at).replace('-', "")).collect();
            let forms = forms(&joined);
            let is_operation = verbs.iter().flat_map(|verb| verb.starts.iter()).any(|start| {
                forms.iter().any(|form| {
                    Vocabulary::get().operation(&format!("{}{form}", start.to_lowercase()), &sources).is_some()
                })
            });
            is_operation.then_some((forms, at + length))
        })
    }

    /// Finds the name of a noun: after it, after a preposition, or before it.
    fn read_name(&self, noun: &mut Noun) {
        if noun.start > 0
            && matches!(self.words.lower(noun.start - 1), "admin" | "administrator" | "administrators" | "admins")
        {
            noun.start -= 1;
            noun.names.push(ObjectName::Part("admin".into()));
            return;
        }
        let mut at =
            noun.end + self.words.phrase(noun.end, "named|called|id|ids|with name|named? name? id?").unwrap_or(0);
        // A plain word after a noun may be another noun, as in `bucket contents`.
        let has_article = noun.start > 0 && matches!(self.words.lower(noun.start - 1), "the" | "of");
        let is_labelled =
            at > noun.end || (noun.family.is_some() && (has_article || !self.words.lower(at).ends_with('s')));
        let mut name = self.name_at(at, is_labelled);
        if name.is_none() && matches!(self.words.lower(at), "of" | "on" | "for" | "from" | "in" | "to") {
            name = self.name_at(at + 1, false);
            at += 1;
        }
        if let Some(name) = name {
            noun.names.push(name);
            noun.end = at + 1;
            while matches!(self.words.lower(noun.end), "and" | "or")
                && let Some(name) = self.name_at(noun.end + 1, false)
            {
                noun.names.push(name);
                noun.end += 2;
            }
            return;
        }
        if noun.start > 0
            && let Some(name) = self.name_at(noun.start - 1, false)
        {
            noun.start -= 1;
            noun.names.push(name);
        }
    }

    /// The name at this position. A plain word is a name only after its noun.
    fn name_at(&self, at: usize, follows_noun: bool) -> Option<ObjectName> {
        match self.literal(at) {
            Some(Literal::ResourceId(id, _)) | Some(Literal::Uuid(id)) => return Some(ObjectName::Id(id.clone())),
            Some(Literal::Arn(arn)) => return Some(ObjectName::Id(arn.clone())),
            Some(Literal::Email(name)) => return Some(ObjectName::Exact(name.clone())),
            Some(_) => return None,
            None => {}
        }
        let word = self.words.all.get(at)?;
        let is_special = word.is_quoted || word.text.bytes().any(|byte| !byte.is_ascii_alphabetic());
        (self.words.is_name(at) && (is_special || follows_noun)).then(|| ObjectName::Exact(word.text.clone()))
    }

    pub(super) fn name_condition(&self, noun: &Noun, is_assumption: bool) -> Option<Predicate> {
        let paths = noun.name_paths(is_assumption);
        let paths = if paths == ["bucketName", "key"] { &["key"] } else { paths };
        let names = noun.names.iter().flat_map(|name| match name {
            ObjectName::Id(id) => vec![Predicate::Anywhere(id.clone())],
            ObjectName::Exact(text) if paths.is_empty() => vec![Predicate::Anywhere(text.clone())],
            ObjectName::Part(text) if paths.is_empty() => vec![Predicate::Anywhere(text.clone())],
            ObjectName::Exact(text) => paths.iter().flat_map(|path| name_predicates(path, text)).collect(),
            ObjectName::Part(text) => {
                let contains = |path: &&str| {
                    Predicate::Field(noun::request_parameter(path), ValueTest::Contains(vec![text.clone()]))
                };
                paths.iter().map(contains).collect()
            }
        });
        any(names.collect())
    }

    /// Whether each name is certainly a name: it has digits or punctuation, or is quoted.
    pub(super) fn has_certain_name(&self, noun: &Noun) -> bool {
        noun.names.iter().all(|name| match name {
            ObjectName::Id(_) => true,
            ObjectName::Part(_) => false,
            ObjectName::Exact(text) => {
                text.bytes().any(|byte| !byte.is_ascii_alphabetic())
                    || self.words.all.iter().any(|word| word.is_quoted && word.text == *text)
            }
        })
    }
}

/// The family with the longest name at this position, and its number of words.
pub(super) fn family_at(words: &super::words::Words, at: usize) -> Option<(&'static Family, usize)> {
    let lengths = noun::NAMES.iter().filter_map(|name| {
        let FamilyName { family, first, last } = name;
        let is_start =
            first.iter().enumerate().all(|(index, part)| words.is_free(at + index) && words.lower(at + index) == *part);
        let end = at + first.len();
        let is_end = is_start && words.is_free(end) && last.iter().any(|last| words.lower(end) == last);
        is_end.then_some((*family, first.len() + 1))
    });
    // The first of the longest ones.
    lengths.fold(None, |best, found| match best {
        Some((_, length)) if length >= found.1 => best,
        _ => Some(found),
    })
}

/// Returns the words as written, and with the singular and the plural of the last word.
pub(super) fn forms(joined: &str) -> Vec<String> {
    let mut forms = vec![joined.to_owned()];
    if let Some(stem) = joined.strip_suffix("ies") {
        forms.push(format!("{stem}y"));
    }
    if let Some(stem) = joined.strip_suffix("es") {
        forms.push(stem.to_owned());
    }
    if let Some(stem) = joined.strip_suffix('s') {
        forms.push(stem.to_owned());
    }
    forms.push(noun::plural(joined));
    forms
}

/// Returns the predicates that a request parameter is this name, or an ARN or a URL that ends with it.
fn name_predicates(path: &str, name: &str) -> Vec<Predicate> {
    let field = || -> QueryField { noun::request_parameter(path) };
    let exact = Predicate::equals(field(), name);
    let suffixes = || ValueTest::Suffix(vec![format!("/{name}"), format!(":{name}")]);
    match path {
        "secretId" => vec![exact, Predicate::Field(field(), ValueTest::Contains(vec![format!(":secret:{name}-")]))],
        "stackName" => vec![exact, Predicate::Field(field(), ValueTest::Contains(vec![format!(":stack/{name}/")]))],
        "policyArn" | "topicArn" | "queueUrl" | "roleArn" | "loadBalancerArn" | "certificateArn"
        | "permissionSetArn" => {
            vec![Predicate::Field(field(), suffixes())]
        }
        "name" | "functionName" | "keyId" | "trailName" => vec![exact, Predicate::Field(field(), suffixes())],
        _ => vec![exact],
    }
}
