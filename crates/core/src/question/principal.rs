//! Who made the requests: users, roles, sessions, services.

use super::literal::Literal;
use super::reader::Reader;
use super::service;
use super::verb::Verb;
use super::words::Role;
use crate::plan::{Column, Predicate, ValueTest};

/// The type of principal that a name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PrincipalKind {
    Any,
    User,
    Role,
    Session,
}

/// Labels of principals.
const LABELS: &[(&str, PrincipalKind)] = &[
    ("iam? identity center user|users", PrincipalKind::User),
    ("iam|federated|sso? user|users", PrincipalKind::User),
    ("iam? role|roles", PrincipalKind::Role),
    ("role? session|sessions", PrincipalKind::Session),
    ("principal|principals", PrincipalKind::Any),
    ("identity|identities", PrincipalKind::Any),
];

/// Words such as `activity of`: the name after the preposition is the caller.
const REQUESTS: &[&str] = &[
    "activity",
    "activities",
    "events",
    "event",
    "calls",
    "call",
    "requests",
    "request",
    "actions",
    "action",
    "errors",
    "operations",
    "logins",
    "login",
    "sign-ins",
    "everything",
    "records",
    "log",
    "logs",
    "timeline",
    "history",
    "attempts",
    "usage",
    "region",
    "regions",
    "addresses",
    "ips",
    "services",
    "entries",
    "accounts",
    "denials",
    "access",
    "anything",
    "all",
];

impl Reader {
    /// Consumes principals with their labels.
    pub(super) fn read_principals(&mut self) {
        let mut at = 0;
        while at < self.words.len() {
            at = self.principal_at(at).map_or(at + 1, |next| next.max(at + 1));
        }
        self.read_calling_services();
    }

    /// Reads a principal whose label or name is at this position, and returns the position after it.
    fn principal_at(&mut self, at: usize) -> Option<usize> {
        let label =
            LABELS.iter().find_map(|(phrase, kind)| self.words.phrase(at, phrase).map(|length| (length, *kind)));
        let (mut name, mut kind) = label.map_or((at, PrincipalKind::Any), |(length, kind)| (at + length, kind));
        if label.is_some() {
            name += self.words.phrase(name, "named|called").unwrap_or(0);
        }
        let mut end = name + 1;
        if !self.is_principal_name(name) {
            return None;
        }
        if label.is_none() {
            // `the deploy role`
            let after = LABELS
                .iter()
                .find_map(|(phrase, kind)| self.words.phrase(name + 1, phrase).map(|length| (length, *kind)));
            let has_article = at > 0 && super::stop_words::is_article(self.words.lower(at - 1));
            if let Some((length, found)) = after.filter(|_| has_article) {
                kind = found;
                end = name + 1 + length;
            }
        }
        let has_label = kind != PrincipalKind::Any || label.is_some();
        if !self.is_caller(at, end, has_label) {
            return None;
        }
        let mut predicates = vec![self.principal(name, kind)];
        // `users alice and bob`
        while matches!(self.words.lower(end), "and" | "or")
            && self.is_principal_name(end + 1)
            && self.words.lower(end + 2) != "did"
        {
            predicates.push(self.principal(end + 1, kind));
            end += 2;
        }
        self.words.consume(at..end, Role::Principal);
        if self.take_negation(at) {
            self.draft.conditions.extend(predicates.into_iter().map(Predicate::negated));
        } else {
            self.draft.principals.extend(predicates);
        }
        Some(end)
    }

    fn is_principal_name(&self, at: usize) -> bool {
        match self.literal(at) {
            Some(Literal::Email(_)) => true,
            Some(Literal::Arn(arn)) => arn.contains(":iam::") || arn.contains(":sts::"),
            Some(_) => false,
            // `by source IP` names a group.
            None => self.words.is_name(at) && self.dimension(at).is_none(),
        }
    }

    /// Whether the name at this position is the caller, and not the object of the requests.
    fn is_caller(&self, start: usize, end: usize, has_label: bool) -> bool {
        let Some(before) = self.words.before(start) else { return has_label || self.words.lower(end) == "did" };
        let next = self.words.lower(end);
        match self.words.lower(before) {
            "by" | "did" | "does" | "as" | "than" | "using" | "except" | "excluding" | "used" | "via" => true,
            "do" | "has" | "have" | "why" => has_label,
            // `was the user bob removed`: the request changes the user.
            "is" | "was" | "were" | "are" => has_label && Verb::from_word(next).is_none(),
            // `functions created with the role admin`: the functions have the role.
            "with" => {
                let verb = Verb::from_word(self.word_before(before));
                has_label && verb.is_none_or(|verb| !matches!(verb.name, "share" | "create" | "launch" | "start"))
            }
            "of" | "for" | "from" | "to" => {
                // `AssumeRole calls for role x` may be about the role that is assumed.
                if self.draft.events.iter().any(|clause| clause.names == ["AssumeRole"]) {
                    return false;
                }
                let owner = self.word_before(before);
                REQUESTS.contains(&owner)
                    || self
                        .words
                        .before(before)
                        .is_some_and(|at| matches!(self.words.role(at), Some(Role::Event | Role::State)) && has_label)
            }
            "and" | "or" if has_label && self.follows_principal(before) => true,
            word => {
                matches!(next, "did" | "does" | "made" | "used" | "performed")
                    || (self.words.role(end) == Some(Role::Event) && matches!(next, "logged" | "signed"))
                    || (has_label && matches!(word, "user" | "what" | "activity" | "not" | "outside"))
            }
        }
    }

    fn follows_principal(&self, join: usize) -> bool {
        join > 0 && self.words.role(join - 1) == Some(Role::Principal)
    }

    fn principal(&self, at: usize, kind: PrincipalKind) -> Predicate {
        let name = self.words.text(at).to_owned();
        if name.starts_with("arn:") {
            let arn = vec![name];
            let is = |column: Column| Predicate::Field(column.into(), ValueTest::Equals(arn.clone()));
            return Predicate::Any(vec![is(Column::UserIdentityArn), is(Column::SessionIssuerArn)]);
        }
        let user = Predicate::equals(Column::UserIdentityUserName, name.clone());
        let session = Predicate::Field(Column::UserIdentityArn.into(), ValueTest::Suffix(vec![format!("/{name}")]));
        let role = Predicate::equals(Column::SessionIssuerUserName, name);
        match kind {
            PrincipalKind::Any => Predicate::Any(vec![user, session, role]),
            PrincipalKind::User => Predicate::Any(vec![user, session]),
            PrincipalKind::Role => role,
            PrincipalKind::Session => session,
        }
    }

    /// `by CloudFormation`, `outside of CloudFormation`: a service that makes requests for a user.
    fn read_calling_services(&mut self) {
        for at in 1..self.words.len() {
            let Some((source, length)) = service::at(&self.words, at) else { continue };
            let before = self.words.lower(at - 1);
            let is_outside = before == "outside" || (before == "of" && at > 1 && self.words.lower(at - 2) == "outside");
            if !(matches!(before, "by" | "via" | "through") || is_outside) || !self.words.is_free(at - 1) {
                continue;
            }
            let source = format!("{source}.amazonaws.com");
            let invoked = Predicate::equals(Column::UserIdentityInvokedBy, source.clone());
            let address = Predicate::equals(Column::SourceIpAddress, source);
            let start = if before == "of" { at - 2 } else { at - 1 };
            self.words.consume(start..at + length, Role::Principal);
            if is_outside || self.take_negation(start) {
                self.draft.conditions.extend([invoked.negated(), address.negated()]);
            } else {
                self.draft.principals.push(Predicate::Any(vec![invoked, address]));
            }
        }
    }
}
