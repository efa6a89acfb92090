//! Whether events have the request parameters that the conditions and groups of a question refer to.
//!
//! A condition on a parameter that an event never has selects nothing, and a group by it has no names. Both would be a wrong
//! answer to a question that reads well, such as `which users were deleted from the group admins`.

use super::draft::{Draft, EventClause, any};
use super::object::Noun;
use super::operations::unique;
use super::vocabulary::Vocabulary;
use crate::plan::{Path, PathStep, Predicate, QueryField, ServiceField, ValueTest};

/// Events whose parameters contain a name in a list or a structure, and the parameter that contains it in other events.
const ELSEWHERE: &[(&str, &str)] = &[
    ("RunInstances", "instanceId"),
    ("StartInstances", "instanceId"),
    ("StopInstances", "instanceId"),
    ("RebootInstances", "instanceId"),
    ("TerminateInstances", "instanceId"),
    ("MonitorInstances", "instanceId"),
    ("UnmonitorInstances", "instanceId"),
    ("GetParameters", "name"),
    ("DeleteParameters", "name"),
    ("DeleteAlarms", "alarmName"),
    ("DisableAlarmActions", "alarmName"),
    ("EnableAlarmActions", "alarmName"),
    ("PutConfigRule", "configRuleName"),
    ("InviteAccountToOrganization", "accountId"),
    ("BatchDeleteImage", "imageIds"),
    ("PutImage", "imageIds"),
    ("ChangeResourceRecordSets", "changeBatch"),
    ("AuthorizeSecurityGroupIngress", "ipPermissions"),
    ("AuthorizeSecurityGroupEgress", "ipPermissions"),
    ("RevokeSecurityGroupIngress", "ipPermissions"),
    ("RevokeSecurityGroupEgress", "ipPermissions"),
    ("ModifySecurityGroupRules", "ipPermissions"),
];

/// Events that create something whose ID is only in the response: the parameter of other events, and the path below
/// `responseElements`.
const CREATED: &[(&str, &str, &[&str])] = &[
    ("CreateVolume", "volumeId", &["volumeId"]),
    ("CreateSnapshot", "snapshotId", &["snapshotId"]),
    ("CreateImage", "imageId", &["imageId"]),
    ("RegisterImage", "imageId", &["imageId"]),
    ("CreateVpc", "vpcId", &["vpc", "vpcId"]),
    ("CreateSubnet", "subnetId", &["subnet", "subnetId"]),
    ("CreateRouteTable", "routeTableId", &["routeTable", "routeTableId"]),
    ("CreateNetworkAcl", "networkAclId", &["networkAcl", "networkAclId"]),
    ("CreateVpnConnection", "vpnConnectionId", &["vpnConnection", "vpnConnectionId"]),
    ("AllocateAddress", "allocationId", &["allocationId"]),
    ("CreateKey", "keyId", &["keyMetadata", "keyId"]),
    ("CreateDetector", "detectorId", &["detectorId"]),
    ("CreateHostedZone", "hostedZoneId", &["hostedZone", "id"]),
    ("CreateAccessKey", "accessKeyId", &["accessKey", "accessKeyId"]),
    ("CreateVirtualMFADevice", "serialNumber", &["virtualMFADevice", "serialNumber"]),
    ("CreateGrant", "grantId", &["grantId"]),
    ("ImportCertificate", "certificateArn", &["certificateArn"]),
    ("RequestCertificate", "certificateArn", &["certificateArn"]),
];

/// Starts of events whose response describes what they created, with the resources that it belongs to.
const CREATING: &[&str] = &["Create", "Run", "Launch", "Restore", "Copy", "Import", "Allocate", "Request", "Register"];

/// Where the value of a condition is in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Nowhere: the event does not have the parameter.
    Absent,
    /// In a list or a structure.
    Elsewhere,
    /// In the parameter, or this is unknown.
    Parameter,
}

impl Draft {
    /// Removes events that cannot fulfill the conditions, and groups that no event has.
    ///
    /// # Errors
    /// Returns the reason if no event is left, or no group of those that the question asks for.
    pub(super) fn check_parameters(&mut self) -> Result<(), String> {
        let mut is_elsewhere = vec![false; self.conditions.len()];
        for clause in self.events.iter_mut().filter(|clause| !clause.is_negated && !clause.names.is_empty()) {
            let sources = effective_sources(clause, &self.services);
            let place = |condition: &Predicate, event: &str| place_of(condition, event, &sources);
            let all: Vec<&Predicate> = clause.conditions.iter().chain(&self.conditions).collect();
            let can_match = |event: &&String| all.iter().all(|condition| place(condition, event) > Place::Absent);
            if let Some((parameter, first, second)) = contradiction(&all) {
                return Err(format!(
                    "{parameter} cannot be both {first:?} and {second:?} in one event; ask about each of them, or join them with \
                     \"or\""
                ));
            }
            let kept: Vec<String> = clause.names.iter().filter(can_match).cloned().collect();
            if kept.is_empty() {
                return Err(missing_parameters(&clause.names, &all, &sources));
            }
            let needs_search =
                |condition: &Predicate| kept.iter().any(|event| place(condition, event) == Place::Elsewhere);
            for (is_elsewhere, condition) in is_elsewhere.iter_mut().zip(&self.conditions) {
                *is_elsewhere |= needs_search(condition);
            }
            let used: Vec<Predicate> = clause
                .conditions
                .iter()
                .map(|condition| match needs_search(condition) {
                    true => anywhere(condition),
                    false => without_absent(condition, &kept, &sources),
                })
                .collect();
            clause.conditions = used;
            clause.names = kept;
        }
        for (condition, is_elsewhere) in self.conditions.iter_mut().zip(is_elsewhere) {
            if is_elsewhere {
                *condition = anywhere(condition);
            }
        }
        self.check_groups()
    }

    /// Replaces groups by parameters that no event has.
    fn check_groups(&mut self) -> Result<(), String> {
        self.check_unnamed()?;
        let clauses: Vec<&EventClause> = self.events.iter().filter(|clause| !clause.is_negated).collect();
        if clauses.is_empty() || clauses.iter().any(|clause| clause.names.is_empty()) {
            return Ok(());
        }
        let of_clause = |clause: &&EventClause| {
            let sources = effective_sources(clause, &self.services);
            clause.names.iter().map(|name| (name.clone(), sources.clone())).collect::<Vec<_>>()
        };
        let events: Vec<(String, Vec<String>)> = clauses.iter().flat_map(of_clause).collect();
        let asked =
            self.alternatives.clone().into_iter().chain(self.count_distinct.iter().map(|field| vec![field.clone()]));
        for fields in asked {
            if fields.iter().any(|field| !available(field, &events).is_empty()) {
                let is_without = |event: &&(String, Vec<String>)| {
                    fields.iter().all(|field| available(field, std::slice::from_ref(*event)).is_empty())
                };
                let without = unique(events.iter().filter(is_without).map(|(name, _)| name.clone()));
                if !without.is_empty() {
                    self.note = Some(format!(
                        "Events of {} are one row without a name, because no parameter contains a single name.",
                        events_text(&without)
                    ));
                }
                continue;
            }
            let names = unique(events.iter().map(|(name, _)| name.clone()));
            let parameters = unique(fields.iter().filter_map(parameter_of).map(str::to_owned));
            if self.by == fields
                && self.lists_events()
                && parameters.iter().any(|parameter| is_listed(parameter, &events))
            {
                self.by.clear();
                self.note = Some(format!(
                    "The events are not grouped by {}, because one request of {} can be about several; each event contains all of \
                     them.",
                    parameters.join(" and "),
                    events_text(&names),
                ));
                return Ok(());
            }
            return Err(format!(
                "the parameters of {} have no {}, so there is nothing to group by; ask for the events themselves, or who made them",
                events_text(&names),
                parameters.join(" or "),
            ));
        }
        for field in std::mem::take(&mut self.by).iter().flat_map(|field| available(field, &events)) {
            if !self.by.contains(&field) {
                self.by.push(field);
            }
        }
        self.count_distinct =
            self.count_distinct.take().and_then(|field| available(&field, &events).into_iter().next());
        Ok(())
    }

    /// Refuses or notes groups that the question asks for if no parameter is known for them.
    fn check_unnamed(&mut self) -> Result<(), String> {
        let Some(words) = &self.unnamed else { return Ok(()) };
        if self.by.is_empty() && (self.has_top || self.having.is_some()) {
            return Err(format!(
                "it is not known which parameter names the {words}, so the events cannot be grouped by it; ask for the events \
                 themselves, or who made them"
            ));
        }
        if !self.counts && self.time_of.is_none() {
            self.note = Some(format!("The events are not grouped by {words}."));
        }
        Ok(())
    }

    /// Whether the answer is a list of events if there are no groups.
    fn lists_events(&self) -> bool {
        !self.counts && !self.has_top && self.having.is_none() && self.time_of.is_none()
    }
}

/// Whether some event contains the values of a parameter in a list or a structure.
fn is_listed(parameter: &str, events: &[(String, Vec<String>)]) -> bool {
    events.iter().any(|(event, sources)| place_in_event(event, sources, parameter) == Place::Elsewhere)
}

/// Returns whether the events can be about the resource of a further noun: their names contain it, or their parameters name it.
pub(super) fn is_related(events: &[String], sources: &[String], noun: &Noun) -> bool {
    let Some(family) = noun.family else {
        let has_form = |event: &String| noun.forms.iter().any(|form| event.to_lowercase().contains(form.as_str()));
        return noun.forms.is_empty() || events.iter().any(has_form);
    };
    let is_general = matches!(family.objects, "*" | "Account" | "Organization");
    let is_id = noun.names.iter().any(|name| matches!(name, super::object::ObjectName::Id(_)));
    is_general
        || events.iter().any(|event| {
            family.objects.split('|').any(|object| !object.is_empty() && event.contains(object))
                || family.paths.iter().any(|path| place_in_event(event, sources, path) > Place::Absent)
                || (is_id && CREATING.iter().any(|start| event.starts_with(start)))
        })
}

/// Returns the fields that contain what a field of `by` asks for in some event. Other fields than parameters stay.
fn available(field: &QueryField, events: &[(String, Vec<String>)]) -> Vec<QueryField> {
    let Some(parameter) = parameter_of(field) else { return vec![field.clone()] };
    let has = |(event, sources): &(String, Vec<String>)| place_in_event(event, sources, parameter) == Place::Parameter;
    let mut fields: Vec<QueryField> = events.iter().any(has).then(|| field.clone()).into_iter().collect();
    for (_, _, path) in
        CREATED.iter().filter(|(created, of, _)| *of == parameter && events.iter().any(|(event, _)| event == created))
    {
        let steps = path.iter().map(|&name| PathStep::Name(name.to_owned())).collect();
        let response = Path::new(ServiceField::ResponseElements, steps).ok().map(QueryField::Path);
        fields.extend(response.filter(|response| !fields.contains(response)));
    }
    fields
}

fn effective_sources(clause: &EventClause, services: &[String]) -> Vec<String> {
    if clause.sources.is_empty() { services.to_vec() } else { clause.sources.clone() }
}

/// The first name of a path below `requestParameters`.
fn parameter_of(field: &QueryField) -> Option<&str> {
    match field {
        QueryField::Path(path) if path.root() == ServiceField::RequestParameters => match path.steps().first() {
            Some(PathStep::Name(name)) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

fn place_in_event(event: &str, sources: &[String], parameter: &str) -> Place {
    if ELSEWHERE.iter().any(|(name, of)| *name == event && *of == parameter) {
        return Place::Elsewhere;
    }
    match Vocabulary::get().has_parameter(event, sources, parameter) {
        // Requests that describe resources have lists of names and filters.
        Some(false) if event.starts_with("Describe") => Place::Elsewhere,
        Some(false) => Place::Absent,
        Some(true) | None => Place::Parameter,
    }
}

/// Where the value that a condition compares is in an event of this name.
fn place_of(condition: &Predicate, event: &str, sources: &[String]) -> Place {
    let inner = |inner: &Predicate| place_of(inner, event, sources);
    match condition {
        Predicate::All(all) => all.iter().map(inner).min().unwrap_or(Place::Parameter),
        Predicate::Any(any) => any.iter().map(inner).max().unwrap_or(Place::Parameter),
        Predicate::Field(_, ValueTest::Null) | Predicate::Not(_) | Predicate::Anywhere(_) => Place::Parameter,
        Predicate::Field(field, _) => {
            parameter_of(field).map_or(Place::Parameter, |parameter| place_in_event(event, sources, parameter))
        }
    }
}

/// The condition without alternatives that none of the events can fulfill.
fn without_absent(condition: &Predicate, events: &[String], sources: &[String]) -> Predicate {
    let Predicate::Any(alternatives) = condition else { return condition.clone() };
    let is_possible =
        |alternative: &&Predicate| events.iter().any(|event| place_of(alternative, event, sources) > Place::Absent);
    any(alternatives.iter().filter(is_possible).cloned().collect()).unwrap_or_else(|| condition.clone())
}

/// The condition that the compared names occur anywhere in the event.
fn anywhere(condition: &Predicate) -> Predicate {
    let names = unique(compared(condition));
    match names.as_slice() {
        [] => condition.clone(),
        [name] => Predicate::Anywhere(name.clone()),
        names => Predicate::Any(names.iter().cloned().map(Predicate::Anywhere).collect()),
    }
}

/// The names that a condition compares with request parameters.
fn compared(condition: &Predicate) -> Vec<String> {
    match condition {
        Predicate::All(inner) | Predicate::Any(inner) => inner.iter().flat_map(compared).collect(),
        Predicate::Field(field, ValueTest::Equals(names) | ValueTest::Contains(names))
            if parameter_of(field).is_some() =>
        {
            names.clone()
        }
        _ => Vec::new(),
    }
}

/// The first parameter that must have two different values, and the values.
fn contradiction<'c>(conditions: &[&'c Predicate]) -> Option<(&'c str, &'c str, &'c str)> {
    let mut required: Vec<(&str, Vec<&str>)> = Vec::new();
    for condition in conditions {
        let Some((parameter, values)) = required_names(condition) else { continue };
        let other =
            required.iter().find(|(known, others)| *known == parameter && others.iter().all(|it| !values.contains(it)));
        if let Some((_, others)) = other {
            return Some((parameter, others.first()?, values.first()?));
        }
        required.push((parameter, values));
    }
    None
}

/// The parameter that a condition compares, and the names that the condition accepts.
fn required_names(condition: &Predicate) -> Option<(&str, Vec<&str>)> {
    match condition {
        Predicate::Field(field, ValueTest::Equals(names)) => {
            Some((parameter_of(field)?, names.iter().map(String::as_str).collect()))
        }
        Predicate::Field(field, ValueTest::Suffix(ends)) => {
            let names = ends.iter().map(|end| end.trim_start_matches(['/', ':']));
            Some((parameter_of(field)?, names.collect()))
        }
        Predicate::Any(alternatives) => {
            let all: Option<Vec<(&str, Vec<&str>)>> = alternatives.iter().map(required_names).collect();
            let all = all?;
            let (parameter, _) = *all.first().map(|(parameter, names)| (*parameter, names)).as_ref()?;
            let is_same = all.iter().all(|(other, _)| *other == parameter);
            is_same.then(|| (parameter, all.into_iter().flat_map(|(_, names)| names).collect()))
        }
        _ => None,
    }
}

/// The reason for a question whose events cannot fulfill its conditions.
fn missing_parameters(events: &[String], conditions: &[&Predicate], sources: &[String]) -> String {
    let parameters = |condition: &Predicate| -> Vec<String> { parameters_in(condition) };
    let is_missing =
        |condition: &&&Predicate| events.iter().all(|event| place_of(condition, event, sources) == Place::Absent);
    let mut missing = unique(conditions.iter().filter(is_missing).flat_map(|condition| parameters(condition)));
    let mut join = " or ";
    if missing.is_empty() {
        missing = unique(conditions.iter().flat_map(|condition| parameters(condition)));
        join = " together with ";
    }
    format!(
        "the parameters of {} have no {}, so the answer would always be empty; name the event that you look for, or leave out \
         the other resource",
        events_text(events),
        missing.join(join),
    )
}

fn parameters_in(condition: &Predicate) -> Vec<String> {
    match condition {
        Predicate::All(inner) | Predicate::Any(inner) => inner.iter().flat_map(parameters_in).collect(),
        Predicate::Field(field, _) => parameter_of(field).map(str::to_owned).into_iter().collect(),
        Predicate::Not(_) | Predicate::Anywhere(_) => Vec::new(),
    }
}

/// Names of events in a sentence.
pub(super) fn events_text(events: &[String]) -> String {
    match events {
        [first, second, third, _, _, ..] => {
            format!("{first}, {second}, {third} and {} other events", events.len() - 3)
        }
        [first @ .., before, last] => {
            first.iter().map(|event| format!("{event}, ")).collect::<String>() + &format!("{before} and {last}")
        }
        [only] => only.clone(),
        [] => String::new(),
    }
}
