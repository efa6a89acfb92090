//! The operations of AWS services, from botocore's service models. `tools/vocabulary` writes the data.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::LazyLock;

/// A raw deflate stream. `tools/vocabulary` describes the format.
const OPERATIONS: &[u8] = include_bytes!("operations.deflate");

/// The characters for the numbers of parameters.
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-/_!?*@";

/// Event names that are not operations, and their services. Their request parameters are unknown.
const OTHER_EVENTS: &[(&str, &str)] = &[
    ("signin", "ConsoleLogin"),
    ("signin", "SwitchRole"),
    ("signin", "ExitRole"),
    ("signin", "RenewRole"),
    ("signin", "CheckMfa"),
    ("signin", "CredentialChallenge"),
    ("signin", "CredentialVerification"),
    ("signin", "UserAuthentication"),
    ("signin", "PasswordRecoveryRequested"),
    ("signin", "PasswordRecoveryCompleted"),
    ("signin", "EmailUpdated"),
    ("signin", "PasswordUpdated"),
    ("signin", "GetSigninToken"),
    ("sso", "Federate"),
    ("sso", "Authenticate"),
    ("sso", "Logout"),
    ("iam", "PasswordRecoveryRequested"),
    ("kms", "DeleteKey"),
    ("kms", "RotateKey"),
    ("kms", "SynchronizeMultiRegionKey"),
    ("s3", "PreflightRequest"),
    ("s3", "PutBucketPublicAccessBlock"),
    ("s3", "DeleteBucketPublicAccessBlock"),
    ("s3", "GetBucketPublicAccessBlock"),
    ("s3", "PutAccountPublicAccessBlock"),
    ("s3", "DeleteAccountPublicAccessBlock"),
    ("s3", "GetAccountPublicAccessBlock"),
    ("s3", "PutBucketLifecycle"),
    ("s3", "PutBucketNotification"),
    ("ec2", "BidEvictedEvent"),
    ("ec2", "SharedSnapshotVolumeCreated"),
    ("ec2", "SharedSnapshotCopyInitiated"),
    ("secretsmanager", "RotationStarted"),
    ("secretsmanager", "RotationSucceeded"),
    ("secretsmanager", "RotationFailed"),
    ("secretsmanager", "StartSecretVersionDelete"),
    ("secretsmanager", "EndSecretVersionDelete"),
    ("secretsmanager", "CancelSecretVersionDelete"),
    ("organizations", "CreateAccountResult"),
    ("organizations", "CloseAccountResult"),
    ("autoscaling", "TerminateInstances"),
    ("lambda", "Invoke"),
    ("eks", "AssumeRoleForPodIdentity"),
    ("ecs", "SubmitTaskStateChange"),
    ("controltower", "SetupLandingZone"),
    ("controltower", "UpdateManagedAccount"),
    ("controltower", "CreateManagedAccount"),
    ("ecr", "PolicyExecutionEvent"),
];

/// Operations of Lambda that are also logged with a suffix, and the suffixes.
const LAMBDA_VERSIONS: &[(&str, &[&str])] = &[
    ("AddLayerVersionPermission", &["20181031"]),
    ("AddPermission", &["20150331", "20150331v2"]),
    ("CreateAlias", &["20150331"]),
    ("CreateEventSourceMapping", &["20150331"]),
    ("CreateFunction", &["20150331"]),
    ("DeleteAlias", &["20150331"]),
    ("DeleteEventSourceMapping", &["20150331"]),
    ("DeleteFunction", &["20150331"]),
    ("DeleteFunctionConcurrency", &["20171031"]),
    ("DeleteLayerVersion", &["20181031"]),
    ("GetEventSourceMapping", &["20150331"]),
    ("GetFunction", &["20150331", "20150331v2"]),
    ("GetFunctionConfiguration", &["20150331", "20150331v2"]),
    ("GetPolicy", &["20150331", "20150331v2"]),
    ("ListEventSourceMappings", &["20150331"]),
    ("ListFunctions", &["20150331"]),
    ("ListTags", &["20170331"]),
    ("ListVersionsByFunction", &["20150331"]),
    ("PublishLayerVersion", &["20181031"]),
    ("PublishVersion", &["20150331"]),
    ("PutFunctionConcurrency", &["20171031"]),
    ("RemovePermission", &["20150331", "20150331v2"]),
    ("TagResource", &["20170331v2"]),
    ("UntagResource", &["20170331v2"]),
    ("UpdateAlias", &["20150331"]),
    ("UpdateEventSourceMapping", &["20150331"]),
    ("UpdateFunctionCode", &["20150331", "20150331v2"]),
    ("UpdateFunctionConfiguration", &["20150331", "20150331v2"]),
];

/// Operations by their names in lower case, and services by their names.
#[derive(Debug)]
pub(super) struct Vocabulary {
    operations: BTreeMap<String, Operation>,
    /// Names in lower case without `aws` and `amazon`.
    services: BTreeMap<String, String>,
    /// The request parameters that are recorded for operations. The position is the number of a parameter.
    parameters: Vec<String>,
}

/// An event name and the prefixes of the event sources that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) name: String,
    pub(super) sources: Vec<String>,
    /// For each source, the numbers of its request parameters. `None` if the parameters are unknown.
    parameters: Vec<Option<Vec<usize>>>,
}

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
    let mut text = String::new();
    // A test reads the data, so an error cannot occur here.
    let _ = flate2::read::DeflateDecoder::new(OPERATIONS).read_to_string(&mut text);
    Vocabulary::parse(&text)
});

impl Vocabulary {
    pub(super) fn get() -> &'static Self {
        &VOCABULARY
    }

    fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let names = lines.next().and_then(|line| line.split_once('\t')).map_or("", |(_, names)| names);
        let parameters = names.split(',').map(str::to_owned).collect();
        let mut vocabulary = Self { operations: BTreeMap::new(), services: BTreeMap::new(), parameters };
        for line in lines {
            let mut columns = line.split('\t');
            let (source, names, operations) = (columns.next(), columns.next(), columns.next());
            let Some(source) = source else { continue };
            for name in names.unwrap_or_default().split('|').chain([source]) {
                vocabulary.services.entry(name.to_owned()).or_insert_with(|| source.to_owned());
            }
            for group in operations.unwrap_or_default().split(';') {
                let (start, rest) = group.split_once(':').unwrap_or_default();
                for rest in rest.split(',') {
                    let (rest, letters) = rest.split_once('=').unwrap_or((rest, ""));
                    let numbers = letters.chars().filter_map(|letter| LETTERS.find(letter)).collect();
                    vocabulary.add(source, &format!("{start}{rest}"), Some(numbers));
                }
            }
        }
        for (source, name) in OTHER_EVENTS {
            vocabulary.add(source, name, None);
        }
        for (name, ends) in LAMBDA_VERSIONS {
            let unversioned = vocabulary.operation(&name.to_lowercase(), &["lambda".into()]);
            let of_lambda = unversioned.and_then(|it| it.sources.iter().position(|source| source == "lambda"));
            let numbers = of_lambda.and_then(|at| unversioned?.parameters.get(at)?.clone());
            for end in *ends {
                vocabulary.add("lambda", &format!("{name}{end}"), numbers.clone());
            }
        }
        vocabulary
    }

    fn add(&mut self, source: &str, name: &str, parameters: Option<Vec<usize>>) {
        let entry = self.operations.entry(name.to_lowercase());
        let operation =
            entry.or_insert_with(|| Operation { name: name.to_owned(), sources: Vec::new(), parameters: Vec::new() });
        if !operation.sources.iter().any(|known| known == source) {
            operation.sources.push(source.to_owned());
            operation.parameters.push(parameters);
        }
    }

    /// Returns whether the events of this name in these services have a request parameter. Without `sources`, any service
    /// counts. `None` if this is unknown: the event is not an operation, or the parameter is not recorded.
    pub(super) fn has_parameter(&self, event: &str, sources: &[String], parameter: &str) -> Option<bool> {
        let number = self.parameters.iter().position(|name| name == parameter)?;
        let operation = self.operations.get(&event.to_lowercase()).filter(|operation| operation.name == event)?;
        let of_sources: Vec<&Option<Vec<usize>>> = operation
            .sources
            .iter()
            .zip(&operation.parameters)
            .filter(|(source, _)| sources.is_empty() || sources.contains(source))
            .map(|(_, numbers)| numbers)
            .collect();
        let has = |numbers: &&Option<Vec<usize>>| numbers.as_ref().is_some_and(|numbers| numbers.contains(&number));
        if of_sources.iter().any(has) {
            return Some(true);
        }
        (!of_sources.is_empty() && of_sources.iter().all(|numbers| numbers.is_some())).then_some(false)
    }

    /// Returns the operation with this name in lower case, if one of these services has it. Without `sources`, any service
    /// counts.
    pub(super) fn operation(&self, lower: &str, sources: &[String]) -> Option<&Operation> {
        let operation = self.operations.get(lower)?;
        let is_in = sources.is_empty() || operation.sources.iter().any(|source| sources.contains(source));
        is_in.then_some(operation)
    }

    /// The prefix of the event source of the service with this name in lower case.
    pub(super) fn service(&self, name: &str) -> Option<&str> {
        self.services.get(name).map(String::as_str)
    }

    /// Returns the name of an event and the names with a suffix under which it is also logged.
    pub(super) fn with_versions(name: &str) -> Vec<String> {
        let versions =
            LAMBDA_VERSIONS.iter().find(|(operation, _)| *operation == name).map_or(&[][..], |(_, ends)| *ends);
        [name.to_owned()].into_iter().chain(versions.iter().map(|end| format!("{name}{end}"))).collect()
    }
}

/// Returns whether a name is that of an event of some service.
pub fn is_event_name(name: &str) -> bool {
    Vocabulary::get().operation(&name.to_lowercase(), &[]).is_some_and(|operation| operation.name == name)
}

/// Returns whether a name is the event source of a service, such as `s3.amazonaws.com`.
pub fn is_event_source(name: &str) -> bool {
    let source = name.strip_suffix(".amazonaws.com");
    source.is_some_and(|source| Vocabulary::get().service(source) == Some(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_events_are_known() {
        let has = |event, parameter| Vocabulary::get().has_parameter(event, &[], parameter);
        assert_eq!(has("RemoveUserFromGroup", "groupName"), Some(true));
        assert_eq!(has("DeleteUser", "groupName"), Some(false));
        assert_eq!((has("DeleteObject", "key"), has("DeleteObjects", "key")), (Some(true), Some(false)));
        assert_eq!((has("PutBucketPolicy", "bucketName"), has("ListBuckets", "bucketName")), (Some(true), Some(false)));
        assert_eq!(has("DeleteFunction20150331", "functionName"), Some(true));
        assert_eq!(has("DeleteFunction20150331", "bucketName"), Some(false));
        // Events that are not operations, and parameters that are not recorded, are unknown.
        assert_eq!(has("ConsoleLogin", "bucketName"), None);
        assert_eq!(has("PutBucketPublicAccessBlock", "groupName"), None);
        assert_eq!(has("DeleteObject", "bypassGovernanceRetention"), None);
        assert_eq!(has("NoSuchEvent", "bucketName"), None);
        let of_eks = Vocabulary::get().has_parameter("DeleteCluster", &["eks".into()], "clusterName");
        assert_eq!(of_eks, Some(false));
        for path in super::super::noun::FAMILIES.iter().flat_map(|family| family.paths) {
            assert!(Vocabulary::get().parameters.iter().any(|known| known == path), "{path}: run tools/vocabulary");
        }
    }

    #[test]
    fn operations_and_services_are_read() {
        let vocabulary = Vocabulary::get();
        assert!(vocabulary.operations.len() > 13_000, "{}", vocabulary.operations.len());
        assert_eq!(vocabulary.operation("deletebucketpolicy", &[]).unwrap().sources, ["s3"]);
        assert_eq!(vocabulary.operation("createcluster", &["eks".into()]).unwrap().name, "CreateCluster");
        assert_eq!(vocabulary.operation("createcluster", &["s3".into()]), None);
        assert_eq!(vocabulary.service("key management"), Some("kms"));
        assert!(is_event_name("ConsoleLogin") && !is_event_name("consolelogin") && !is_event_name("DropTable"));
        assert!(
            is_event_source("s3.amazonaws.com")
                && !is_event_source("s3")
                && !is_event_source("key management.amazonaws.com")
        );
        assert_eq!(Vocabulary::with_versions("CreateFunction"), ["CreateFunction", "CreateFunction20150331"]);
    }
}
