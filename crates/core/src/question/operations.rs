//! The operations of a verb with an object, and what distinguishes them.

use super::event::FoundVerb;
use super::noun::{self, Family};
use super::object::Noun;
use super::verb::Verb;
use super::vocabulary::Vocabulary;
use crate::plan::{Path, PathStep, Predicate, QueryField, ServiceField};

/// The source that distinguishes events of the same name.
pub(super) fn needed_source(names: &[String], source: Option<String>) -> Vec<String> {
    let Some(source) = source.filter(|source| !source.is_empty()) else { return Vec::new() };
    let is_ambiguous = names.iter().any(|name| {
        let operation = Vocabulary::get().operation(&name.to_lowercase(), &[]);
        operation.is_some_and(|operation| operation.sources.len() > 1 && operation.sources.contains(&source))
    });
    if is_ambiguous { vec![source] } else { Vec::new() }
}

/// The condition that distinguishes `disabled` from `enabled` if one operation does both.
pub(super) fn status(group: &[FoundVerb], names: &[String]) -> Option<Predicate> {
    let (path, on, off): (&[&str], _, _) = match names {
        [name] if name == "PutBucketVersioning" => (&["VersioningConfiguration", "Status"], "Enabled", "Suspended"),
        [create, modify] if create == "CreateDBInstance" && modify == "ModifyDBInstance" => {
            let is_public = group.iter().all(|found| found.verb.name == "publicize");
            let accessible = Predicate::equals(noun::request_parameter("publiclyAccessible"), "true");
            return is_public.then_some(accessible);
        }
        [name] if name == "UpdateAccessKey" => (&["status"], "Active", "Inactive"),
        _ => return None,
    };
    let is_on = |found: &FoundVerb| match found.verb.name {
        "enable" | "activate" | "turn on" => Some(true),
        "disable" | "deactivate" | "suspend" | "turn off" => Some(false),
        _ => None,
    };
    let wanted =
        group.first().and_then(is_on).filter(|wanted| group.iter().all(|found| is_on(found) == Some(*wanted)))?;
    let steps = path.iter().map(|name| PathStep::Name((*name).to_owned())).collect();
    let path = Path::new(ServiceField::RequestParameters, steps).ok()?;
    Some(Predicate::equals(QueryField::Path(path), if wanted { on } else { off }))
}

/// The operations of a verb on an object. `change` includes `Delete` if an operation `Put` sets the object.
pub(super) fn operations(verb: Verb, forms: &[String], sources: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    let mut starts = verb.starts.to_vec();
    if verb.name == "change" {
        let is_put = forms.iter().any(|form| Vocabulary::get().operation(&format!("put{form}"), sources).is_some());
        starts.extend(is_put.then_some("Delete"));
    }
    for start in starts {
        for form in forms {
            if let Some(operation) = Vocabulary::get().operation(&format!("{}{form}", start.to_lowercase()), sources) {
                names.push(operation.name.clone());
            }
        }
    }
    unique(names)
}

/// Keeps the policy events of the principal type that another noun names: `a policy to a role`.
pub(super) fn policy_events(events: Vec<String>, family: &Family, noun: &Noun, nouns: &[Noun]) -> Vec<String> {
    if !family.names.contains("policy") || events.len() < 3 {
        return events;
    }
    let targets: Vec<&str> = nouns
        .iter()
        .filter(|other| other.start != noun.start)
        .filter_map(|other| other.family)
        .map(|family| family.objects)
        .filter(|object| matches!(*object, "Role" | "User" | "Group"))
        .collect();
    let kept: Vec<String> = events
        .iter()
        .filter(|event| targets.iter().any(|target| event.contains(&format!("{target}Policy"))))
        .cloned()
        .collect();
    if kept.is_empty() { events } else { kept }
}

pub(super) fn unique(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut unique: Vec<String> = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    unique
}
