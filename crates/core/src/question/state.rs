//! Properties of requests: failed, denied, throttled, by the root user, without MFA, from the console.

use super::draft::{ErrorKind, EventClause};
use super::noun::request_parameter;
use super::reader::Reader;
use super::words::Role;
use crate::plan::{Column, Predicate, ValueTest};

const LOGIN: &[&str] = &[
    "management? console? login|logins|logon|logons|sign-in|sign-ins|signin|signins|log-in|log-ins",
    "log|logs|logged|logging|sign|signs|signed|signing in|on|into to|at? the? aws? management? console",
    "log|logs|logged|logging|sign|signs|signed|signing into the? aws? management? console",
    "log|logged|logging|sign|signed|signing in",
];

const DENIED: &[&str] = &[
    "denied access to?",
    "access|permission denied|denials errors|error?",
    "permission errors|error|failures",
    "denied errors|error?",
    "accessdenied errors|error?",
    "unauthorized|unauthorised errors|error?",
    "not authorized|allowed|permitted",
    "forbidden errors|error?",
    "access-denied errors|error?",
];

const THROTTLED: &[&str] =
    &["throttled errors?", "throttling errors|error?", "rate limited", "rate-limited", "throttles"];

const FAILED: &[&str] = &[
    "failed",
    "unsuccessful",
    "failing",
    "fail",
    "failure",
    "failures",
    "with|returned|caused an? error|errors",
    "errored",
    "that|which had|have an? error|errors",
];

const SUCCESSFUL: &[&str] =
    &["successful", "succeeded", "successfully", "without an? error|errors", "with success", "not failed"];

const ROOT: &[&str] = &["the? root user|users|account|accounts|credentials", "account root user?", "root"];

const WITHOUT_MFA: &[&str] = &[
    "without mfa",
    "without multi-factor authentication",
    "no mfa",
    "not using mfa",
    "without using mfa",
    "without an? mfa device",
];

const WITH_MFA: &[&str] = &["with mfa", "using mfa", "mfa authenticated", "mfa-authenticated"];

const CONSOLE: &[&str] = &[
    "used|uses|use|using the? aws? management? console",
    "in|from|through|via|using|with the? aws? management? console",
    "by console",
    "in the? web console",
    "console activity",
];

const READ: &[&str] = &[
    "read-only",
    "readonly",
    "read only",
    "read events|event|calls|operations|requests|activity|actions",
    "non-mutating",
];

const WRITE: &[&str] = &[
    "write|mutating|modifying events|event|calls|operations|requests|activity|actions",
    "write-only",
    "non-read-only",
    "writes",
    "not read-only",
    "mutating",
];

const FROM_SERVICES: &[&str] =
    &["aws services|service", "requests of aws services", "by an? aws services|service", "service-internal"];

const NO_SNAPSHOT: &[&str] = &["without a|the? final snapshot", "no final snapshot", "skipping the? final snapshot"];

const CROSS_ACCOUNT: &[&str] =
    &["cross-account access?", "cross account access?", "from another|other|external|foreign account|accounts"];

impl Reader {
    /// Consumes sign-ins. Called before [`Reader::read_states`], which reads `the console` as where a request came from.
    pub(super) fn read_logins(&mut self) {
        let mut is_found = false;
        for at in 0..self.words.len() {
            let Some(length) = LOGIN.iter().filter_map(|phrase| self.words.phrase(at, phrase)).max() else { continue };
            // A login profile is the password of a user.
            if !matches!(self.words.lower(at + length), "profile" | "profiles") {
                self.words.consume(at..at + length, Role::Event);
                is_found = true;
            }
        }
        if is_found {
            self.draft.events.push(EventClause::names(vec!["ConsoleLogin".into()]));
        }
    }

    /// Consumes phrases that describe how or by whom a request was made.
    pub(super) fn read_states(&mut self) {
        self.read_snapshots_and_services();
        self.read_error_codes();
        self.read_clients();
        // `SUCCESSFUL` is first, because `without errors` contains a phrase of `FAILED`.
        for (phrases, kind) in [
            (SUCCESSFUL, ErrorKind::Successful),
            (DENIED, ErrorKind::Denied),
            (THROTTLED, ErrorKind::Throttled),
            (FAILED, ErrorKind::Failed),
        ] {
            let mut is_found = false;
            while self.words.find(phrases, Role::State).is_some() {
                is_found = true;
            }
            if is_found {
                self.draft.errors.push(kind);
            }
        }
        if let Some((at, _)) = self.words.find(ROOT, Role::State) {
            let root = Predicate::equals(Column::UserIdentityType, "Root");
            let direct = Predicate::Field(Column::UserIdentityInvokedBy.into(), ValueTest::Null);
            if self.take_negation(at) {
                self.draft.conditions.push(root.negated());
            } else {
                self.draft.conditions.extend([root, direct]);
            }
        }
        if self.words.find(WITHOUT_MFA, Role::State).is_some() {
            self.draft.has_mfa = Some(false);
        } else if self.words.find(WITH_MFA, Role::State).is_some() {
            self.draft.has_mfa = Some(true);
        }
        if let Some((at, _)) = self.words.find(CONSOLE, Role::State) {
            self.draft.from_console = Some(!self.take_negation(at));
        }
        for (phrases, value) in [(READ, "true"), (WRITE, "false")] {
            if let Some((at, _)) = self.words.find(phrases, Role::State) {
                let read_only = Predicate::equals(Column::ReadOnly, value);
                let is_negated = self.take_negation(at);
                self.draft.conditions.push(if is_negated { read_only.negated() } else { read_only });
            }
        }
        for (phrase, category) in
            [("data events", "Data"), ("management events", "Management"), ("insight|insights events", "Insight")]
        {
            if self.words.find(&[phrase], Role::State).is_some() {
                self.draft.conditions.push(Predicate::equals(Column::EventCategory, category));
            }
        }
        if self.words.find(CROSS_ACCOUNT, Role::State).is_some() {
            let caller = || Column::UserIdentityAccountId.into();
            let same = Predicate::Field(caller(), ValueTest::SameAs(Column::RecipientAccountId.into()));
            let absent = Predicate::Field(caller(), ValueTest::Null);
            self.draft.conditions.extend([same.negated(), absent.negated()]);
        }
    }

    fn read_snapshots_and_services(&mut self) {
        if self.words.find(NO_SNAPSHOT, Role::State).is_some() {
            self.draft.conditions.push(Predicate::equals(request_parameter("skipFinalSnapshot"), "true"));
        }
        if self.words.find(&["manually", "by hand", "by people|humans"], Role::State).is_some() {
            self.draft.conditions.push(Predicate::Field(Column::UserIdentityInvokedBy.into(), ValueTest::Null));
        }
        self.words.find(&["against aws? services"], Role::Label);
        if let Some((at, _)) = self.words.find(FROM_SERVICES, Role::State) {
            let address = || Column::SourceIpAddress.into();
            let name = Predicate::Field(address(), ValueTest::Suffix(vec![".amazonaws.com".into()]));
            let internal = Predicate::equals(Column::SourceIpAddress, "AWS Internal");
            if self.take_negation(at) {
                self.draft.conditions.extend([name.negated(), internal.negated()]);
            } else {
                self.draft.conditions.push(Predicate::Any(vec![name, internal]));
            }
        }
    }

    /// `user agent contains aws-cli`, `TLS 1.0`.
    fn read_clients(&mut self) {
        const USER_AGENT: &[&str] = &[
            "the? user agent contains|containing|includes|including|like|matches|matching|is",
            "with|using the? user agent",
        ];
        for at in 0..self.words.len() {
            let length = USER_AGENT.iter().filter_map(|phrase| self.words.phrase(at, phrase)).max();
            if let Some(length) = length.filter(|length| self.words.is_name(at + length)) {
                let text = self.words.text(at + length).to_owned();
                self.words.consume(at..at + length + 1, Role::State);
                self.draft.conditions.push(Predicate::Field(Column::UserAgent.into(), ValueTest::Contains(vec![text])));
            }
            let tls = self.words.phrase(at, "with|over|using? tls version?");
            let version = tls.map(|length| (length, self.words.lower(at + length).to_owned()));
            if let Some((length, version)) = version
                && matches!(version.as_str(), "1.0" | "1.1" | "1.2" | "1.3" | "1")
            {
                // TLS 1.0 is `TLSv1` in events.
                let version = if version == "1.0" { "1".to_owned() } else { version };
                self.words.consume(at..at + length + 1, Role::State);
                self.draft.tls_versions.push(format!("TLSv{version}"));
                if matches!(self.words.lower(at + length + 1), "or" | "and")
                    && matches!(self.words.lower(at + length + 2), "1.1" | "1.2" | "1.3")
                {
                    self.draft.tls_versions.push(format!("TLSv{}", self.words.lower(at + length + 2)));
                    self.words.consume(at + length + 1..at + length + 3, Role::State);
                }
            }
        }
    }

    /// `NoSuchBucket errors`, `error code NoSuchBucket`, `errors`.
    fn read_error_codes(&mut self) {
        for at in 0..self.words.len() {
            if !self.words.is_free(at) {
                continue;
            }
            let text = self.words.text(at).to_owned();
            let has_form = text.bytes().filter(u8::is_ascii_uppercase).count() >= 2
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
                && text.bytes().any(|byte| byte.is_ascii_lowercase());
            let is_exception = has_form && (text.ends_with("Exception") || text.ends_with("Error"));
            let follows = at > 0 && matches!(self.words.lower(at - 1), "code" | "error" | "errorcode");
            let precedes = matches!(self.words.lower(at + 1), "error" | "errors");
            if has_form && (is_exception || follows || precedes) {
                let start = if follows && self.words.lower(at - 1) == "code" && at > 1 {
                    at - 2
                } else {
                    at - usize::from(follows)
                };
                let start = if self.words.lower(start).starts_with("error") { start } else { at };
                self.words.consume(start..at + 1 + usize::from(precedes), Role::State);
                let is_denial =
                    matches!(text.as_str(), "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation");
                self.draft.errors.push(if is_denial { ErrorKind::Denied } else { ErrorKind::Code(text) });
            }
        }
    }
}
