//! The fields that a plan can name.

use super::PlanError;
use crate::suggest;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A field of an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum QueryField {
    /// A field with a fixed name, or a value that is computed from such fields.
    Column(Column),
    /// A field within an object whose fields depend on the service.
    Path(Path),
}

/// A path within a [`ServiceField`], for example `requestParameters.bucketName`.
///
/// A name selects a field of an object, and `[N]` selects an element of an array, from 0. A path with a step that does not
/// exist in the event has no value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    root: ServiceField,
    steps: Vec<PathStep>,
}

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathStep {
    /// The name of a field.
    Name(String),
    /// The index of an element of an array.
    Index(usize),
}

/// Maximum number of steps of a path.
const MAX_STEPS: usize = 32;

/// An object whose fields depend on the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceField {
    /// `requestParameters`
    RequestParameters,
    /// `responseElements`
    ResponseElements,
    /// `additionalEventData`
    AdditionalEventData,
}

impl ServiceField {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::RequestParameters, Self::ResponseElements, Self::AdditionalEventData];

    /// Returns the name in an event.
    pub fn name(self) -> &'static str {
        match self {
            Self::RequestParameters => "requestParameters",
            Self::ResponseElements => "responseElements",
            Self::AdditionalEventData => "additionalEventData",
        }
    }
}

macro_rules! columns {
    ($($(#[doc = $doc:literal])* $variant:ident = [$($name:literal),+]),+ $(,)?) => {
        /// A field with a fixed name, or a value that is computed from such fields.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Column {
            $($(#[doc = $doc])* $variant),+
        }

        impl Column {
            /// All columns, in the order in which they are shown.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the names of the path to the value in an event. For a computed column, this is the name of the column,
            /// which is not a field of events.
            pub fn path(self) -> &'static [&'static str] {
                match self {
                    $(Self::$variant => &[$($name),+]),+
                }
            }
        }
    };
}

columns! {
    /// `eventTime`, such as `2026-02-28T12:00:00Z`
    EventTime = ["eventTime"],
    /// `eventSource`, such as `s3.amazonaws.com`
    EventSource = ["eventSource"],
    /// `eventName`, such as `DeleteBucket`
    EventName = ["eventName"],
    /// Computed: `userIdentity.arn`; without it `invokedBy`, `principalId` or `type` of `userIdentity`, in this order.
    Principal = ["principal"],
    /// `sourceIPAddress`: an address, or the name of a service
    SourceIpAddress = ["sourceIPAddress"],
    /// `errorCode`
    ErrorCode = ["errorCode"],
    /// `errorMessage`
    ErrorMessage = ["errorMessage"],
    /// `recipientAccountId`: the account that received the event
    RecipientAccountId = ["recipientAccountId"],
    /// `awsRegion`
    AwsRegion = ["awsRegion"],
    /// `readOnly`: `true` or `false`
    ReadOnly = ["readOnly"],
    /// `userAgent`
    UserAgent = ["userAgent"],
    /// `userIdentity.type`, such as `Root`
    UserIdentityType = ["userIdentity", "type"],
    /// `userIdentity.arn`
    UserIdentityArn = ["userIdentity", "arn"],
    /// `userIdentity.principalId`
    UserIdentityPrincipalId = ["userIdentity", "principalId"],
    /// `userIdentity.userName`
    UserIdentityUserName = ["userIdentity", "userName"],
    /// `userIdentity.accountId`: the account of the caller
    UserIdentityAccountId = ["userIdentity", "accountId"],
    /// `userIdentity.accessKeyId`
    UserIdentityAccessKeyId = ["userIdentity", "accessKeyId"],
    /// `userIdentity.invokedBy`: the service that made the request
    UserIdentityInvokedBy = ["userIdentity", "invokedBy"],
    /// `userIdentity.identityProvider`
    UserIdentityIdentityProvider = ["userIdentity", "identityProvider"],
    /// `userIdentity.onBehalfOf.userId`: the Identity Center user
    UserIdentityOnBehalfOfUserId = ["userIdentity", "onBehalfOf", "userId"],
    /// `userIdentity.sessionContext.sessionIssuer.type`
    SessionIssuerType = ["userIdentity", "sessionContext", "sessionIssuer", "type"],
    /// `userIdentity.sessionContext.sessionIssuer.arn`: the role of a session
    SessionIssuerArn = ["userIdentity", "sessionContext", "sessionIssuer", "arn"],
    /// `userIdentity.sessionContext.sessionIssuer.userName`: the name of the role of a session
    SessionIssuerUserName = ["userIdentity", "sessionContext", "sessionIssuer", "userName"],
    /// `userIdentity.sessionContext.attributes.mfaAuthenticated`: `true` or `false`
    MfaAuthenticated = ["userIdentity", "sessionContext", "attributes", "mfaAuthenticated"],
    /// `userIdentity.sessionContext.sourceIdentity`
    SourceIdentity = ["userIdentity", "sessionContext", "sourceIdentity"],
    /// `sessionCredentialFromConsole`: `true`, or absent
    SessionCredentialFromConsole = ["sessionCredentialFromConsole"],
    /// `eventID`
    EventId = ["eventID"],
    /// `eventType`, such as `AwsApiCall`
    EventType = ["eventType"],
    /// `eventCategory`: `Management`, `Data` and others
    EventCategory = ["eventCategory"],
    /// `managementEvent`: `true` or `false`
    ManagementEvent = ["managementEvent"],
    /// `apiVersion`
    ApiVersion = ["apiVersion"],
    /// `eventVersion`
    EventVersion = ["eventVersion"],
    /// `requestID`
    RequestId = ["requestID"],
    /// `sharedEventID`
    SharedEventId = ["sharedEventID"],
    /// `vpcEndpointId`
    VpcEndpointId = ["vpcEndpointId"],
    /// `vpcEndpointAccountId`
    VpcEndpointAccountId = ["vpcEndpointAccountId"],
    /// `tlsDetails.tlsVersion`
    TlsVersion = ["tlsDetails", "tlsVersion"],
    /// `tlsDetails.cipherSuite`
    CipherSuite = ["tlsDetails", "cipherSuite"],
    /// `tlsDetails.clientProvidedHostHeader`
    ClientProvidedHostHeader = ["tlsDetails", "clientProvidedHostHeader"],
    /// `requestParameters`, as JSON
    RequestParameters = ["requestParameters"],
    /// `responseElements`, as JSON
    ResponseElements = ["responseElements"],
    /// `additionalEventData`, as JSON
    AdditionalEventData = ["additionalEventData"],
    /// `resources`, as JSON
    Resources = ["resources"],
    /// Computed: the day of `eventTime` in UTC, such as `2026-02-28`. No value if `eventTime` is invalid.
    Day = ["day"],
    /// Computed: the hour of `eventTime` in UTC, such as `2026-02-28T12`. No value if `eventTime` is invalid.
    Hour = ["hour"],
}

impl Column {
    /// The value of [`Column::Principal`] is that of the first of these columns that has a value.
    pub(super) const PRINCIPAL_PARTS: [Self; 4] =
        [Self::UserIdentityArn, Self::UserIdentityInvokedBy, Self::UserIdentityPrincipalId, Self::UserIdentityType];

    /// Returns whether the value is computed from other fields.
    pub fn is_computed(self) -> bool {
        matches!(self, Self::Principal | Self::Day | Self::Hour)
    }

    /// Returns the name in plans, for example `userIdentity.arn`.
    pub fn name(self) -> String {
        self.path().join(".")
    }
}

impl From<Column> for QueryField {
    fn from(column: Column) -> Self {
        Self::Column(column)
    }
}

impl Path {
    /// Creates a path.
    ///
    /// # Errors
    /// No step, more than 32 steps, or a name that is empty or contains a control character.
    pub fn new(root: ServiceField, steps: Vec<PathStep>) -> Result<Self, PlanError> {
        if steps.is_empty() || steps.len() > MAX_STEPS {
            return Err(PlanError::new(format!(
                "a path below {} has {} steps: expected 1 to {MAX_STEPS}",
                root.name(),
                steps.len()
            )));
        }
        if steps.iter().any(|step| matches!(step, PathStep::Name(name) if name.is_empty())) {
            return Err(PlanError::new(format!("a path below {} contains an empty name", root.name())));
        }
        // The names become literals of SQL, which must not contain control characters.
        if steps.iter().any(|step| matches!(step, PathStep::Name(name) if name.contains(char::is_control))) {
            return Err(PlanError::new(format!("a path below {} contains a control character", root.name())));
        }
        Ok(Self { root, steps })
    }

    /// Creates a path of one name.
    ///
    /// # Errors
    /// The name is empty or contains a control character.
    pub fn name(root: ServiceField, name: &str) -> Result<Self, PlanError> {
        Self::new(root, vec![PathStep::Name(name.to_owned())])
    }

    /// Returns the field that the path starts in.
    pub fn root(&self) -> ServiceField {
        self.root
    }

    /// Returns the steps below the root, at least one.
    pub fn steps(&self) -> &[PathStep] {
        &self.steps
    }
}

/// Writes the form that [`QueryField::from_str`] parses. `.`, `[` and `\` within a name are escaped with `\`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.root.name())?;
        for step in &self.steps {
            match step {
                PathStep::Index(index) => write!(f, "[{index}]")?,
                PathStep::Name(name) => {
                    f.write_str(".")?;
                    for c in name.chars() {
                        if matches!(c, '.' | '[' | '\\') {
                            f.write_str("\\")?;
                        }
                        write!(f, "{c}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for QueryField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column(column) => f.write_str(&column.name()),
            Self::Path(path) => path.fmt(f),
        }
    }
}

impl FromStr for QueryField {
    type Err = PlanError;

    /// Parses the name of a column, or a path such as `responseElements.instancesSet.items[0].instanceId`.
    ///
    /// # Errors
    /// An unknown name, with a suggestion, or an invalid path.
    fn from_str(text: &str) -> Result<Self, PlanError> {
        if let Some(column) = Column::ALL.iter().find(|column| column.name() == text) {
            return Ok(Self::Column(*column));
        }
        for root in ServiceField::ALL {
            if let Some(rest) = text.strip_prefix(root.name())
                && rest.starts_with(['.', '['])
            {
                let steps =
                    parse_steps(rest).map_err(|what| PlanError::new(format!("invalid field {text:?}: {what}")))?;
                return Path::new(root, steps).map(Self::Path);
            }
        }
        let names: Vec<String> = Column::ALL.iter().map(|column| column.name()).collect();
        let hint = suggest::similar(text, names.iter().map(String::as_str));
        let hint = hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        Err(PlanError::new(format!(
            "unknown field {text:?}: expected a field of CloudTrail events such as eventName, or a path below \
             requestParameters, responseElements or additionalEventData{hint}"
        )))
    }
}

/// Parses `.name`, `[0]` and their sequences.
fn parse_steps(text: &str) -> Result<Vec<PathStep>, &'static str> {
    let mut steps = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '[' {
            let mut digits = String::new();
            loop {
                match chars.next() {
                    Some(']') => break,
                    Some(digit) if digit.is_ascii_digit() => digits.push(digit),
                    Some(_) | None => return Err("expected a number between [ and ]"),
                }
            }
            steps.push(PathStep::Index(digits.parse().map_err(|_| "expected a number between [ and ]")?));
        } else if c == '.' {
            let mut name = String::new();
            while let Some(&next) = chars.peek() {
                match next {
                    '.' | '[' => break,
                    '\\' => {
                        chars.next();
                        name.push(chars.next().ok_or("\\ must precede the character that it escapes")?);
                    }
                    _ => {
                        chars.next();
                        name.push(next);
                    }
                }
            }
            if name.is_empty() {
                return Err("a name is empty");
            }
            steps.push(PathStep::Name(name));
        } else {
            return Err("expected . or [ after ]");
        }
    }
    Ok(steps)
}

impl TryFrom<String> for QueryField {
    type Error = PlanError;

    fn try_from(text: String) -> Result<Self, PlanError> {
        text.parse()
    }
}

impl From<QueryField> for String {
    fn from(field: QueryField) -> Self {
        field.to_string()
    }
}
