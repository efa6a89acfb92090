//! AWS: one configuration, one HTTPS client, and one reading of what went wrong, for every adapter.

mod function;
mod https;

pub use function::function_config;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, SdkConfig};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::time::Duration;

/// How long a connection may take. The SDK's own figure is 3.1 s; within a region a connection takes milliseconds.
const CONNECT: Duration = Duration::from_secs(3);

/// How long the first byte of an answer may take, the request's own upload included. The largest request here is a
/// `PutRecordBatch` of 4 MiB, 5.6 MiB in base64: at 25 s it needs no more than 2 Mbit/s.
const READ: Duration = Duration::from_secs(25);

/// How long one attempt may take, name lookup, connection and TLS included.
const ATTEMPT: Duration = Duration::from_secs(30);

/// Attempts the SDK makes of one operation, the first included. Its default is 3; a backfill that meets S3's
/// `503 SlowDown` is better slowed down than failed.
const ATTEMPTS: u32 = 5;

/// What every client is made from: region, credentials and endpoint from the usual places (environment, profile,
/// container, instance), this house's timeouts, and one HTTPS client for all of them.
///
/// Nothing is asked over the network here: credentials are looked up, and root certificates read, at the first request.
pub async fn config() -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(https::client())
        .retry_config(retries())
        .timeout_config(timeouts());
    if let Some(name) = app_name() {
        loader = loader.app_name(name);
    }
    loader.load().await
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(ATTEMPTS)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT).read_timeout(READ).operation_attempt_timeout(ATTEMPT).build()
}

/// The name by which these requests are found in server access logs and, fittingly, in CloudTrail.
fn app_name() -> Option<AppName> {
    AppName::new(concat!("trailhose-", env!("CARGO_PKG_VERSION"))).ok()
}

/// An S3 client. With an endpoint of one's own (an emulator, MinIO, a gateway) the bucket's name goes into the path,
/// for `bucket.localhost` resolves nowhere.
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let own_endpoint = config.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
    let config = aws_sdk_s3::config::Builder::from(config).force_path_style(own_endpoint).build();
    aws_sdk_s3::Client::from_conf(config)
}

#[cfg(feature = "firehose")]
/// A Firehose client that tries each call once: what of a call is sent again, and until when, is the sink's to decide,
/// which would otherwise send whole calls again where only some records failed.
pub fn firehose(config: &SdkConfig) -> aws_sdk_firehose::Client {
    let config = aws_sdk_firehose::config::Builder::from(config).retry_config(RetryConfig::disabled()).build();
    aws_sdk_firehose::Client::from_conf(config)
}

#[cfg(feature = "dynamodb")]
/// A DynamoDB client that tries each call once: how long a conditional write of unknown outcome is repeated is the
/// ledger's to decide.
pub fn dynamodb(config: &SdkConfig) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::config::Builder::from(config).retry_config(RetryConfig::disabled()).build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

/// What kind of failure a call met. Decides what to do; [`AwsFailure::code`] only says what to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// No permission, or no valid credentials. Trying again does not help until somebody changes something.
    Denied,
    /// Too much at once. The request had no effect; try again later.
    Throttled,
    /// What was asked for does not exist (404, `NoSuchKey`, `ResourceNotFoundException`).
    NotFound,
    /// A condition did not hold (412, `ConditionalCheckFailedException`).
    Refused,
    /// The service understood, and says that the request is wrong. Trying again does not help.
    Invalid,
    /// Timeout, connection lost, 5xx, an answer that cannot be read: the request **may have taken effect**.
    Unknown,
}

/// What went wrong with one call, in the same words for every service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsFailure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// The service's error code, or one of `Timeout`, `Connection`, `Response`, `Request`, `Credentials`, `HTTP nnn`.
    pub code: String,
    /// The service's own sentence, or the chain of causes where no service answered.
    pub message: String,
    /// The action that was denied, such as `kms:Decrypt`, where the service says so.
    pub action: Option<String>,
    /// The service's name for this request, which AWS support asks for.
    pub request_id: Option<String>,
}

impl AwsFailure {
    /// Whether the same request may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, FailureKind::Throttled | FailureKind::Unknown)
    }
}

impl std::fmt::Display for AwsFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for AwsFailure {}

/// Reads any operation's error.
pub fn failure<E>(error: &SdkError<E>) -> AwsFailure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(service) => answered(service.err(), service.raw().status().as_u16()),
        SdkError::TimeoutError(_) => unanswered(FailureKind::Unknown, "Timeout", error),
        SdkError::ResponseError(_) => unanswered(FailureKind::Unknown, "Response", error),
        SdkError::ConstructionFailure(_) => unanswered(FailureKind::Invalid, "Request", error),
        SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() => {
            unanswered(FailureKind::Unknown, "Timeout", error)
        }
        SdkError::DispatchFailure(_) if lacks_credentials(error) => {
            unanswered(FailureKind::Denied, "Credentials", error)
        }
        SdkError::DispatchFailure(_) => unanswered(FailureKind::Unknown, "Connection", error),
        _ => unanswered(FailureKind::Unknown, "Unknown", error),
    }
}

/// The failure that a code alone tells, as Firehose gives for each record of a call.
pub fn failure_of_code(code: &str, message: &str) -> AwsFailure {
    AwsFailure {
        kind: kind_of_code(code).unwrap_or(FailureKind::Unknown),
        code: code.to_owned(),
        message: message.to_owned(),
        action: denied_action(message),
        request_id: None,
    }
}

fn answered(error: &(impl ProvideErrorMetadata + std::error::Error), status: u16) -> AwsFailure {
    let meta = error.meta();
    let kind = meta.code().and_then(kind_of_code).unwrap_or_else(|| kind_of_status(status));
    // An answer to HEAD has no body, so no code and no message: the status is all there is.
    let code = meta.code().map_or_else(|| format!("HTTP {status}"), str::to_owned);
    let message = meta.message().map_or_else(|| format!("answered {status} without a message"), str::to_owned);
    let request_id = meta.extra("aws_request_id").map(str::to_owned);
    AwsFailure { kind, code, action: denied_action(&message), message, request_id }
}

fn unanswered(kind: FailureKind, code: &str, error: &(impl std::error::Error + 'static)) -> AwsFailure {
    // Each error of the SDK says only its own part ("dispatch failure"); the cause is at the end of the chain.
    let message = causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    AwsFailure { kind, code: code.to_owned(), message, action: None, request_id: None }
}

fn lacks_credentials(error: &(impl std::error::Error + 'static)) -> bool {
    causes(error).any(|error| error.is::<aws_credential_types::provider::error::CredentialsError>())
}

/// The error, its cause, that one's cause, and so on.
pub(crate) fn causes<'a>(
    error: &'a (impl std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source())
}

/// What a code says, whatever its HTTP status: AWS throttles with 400, and S3 with 503.
fn kind_of_code(code: &str) -> Option<FailureKind> {
    // JSON services may spell `com.amazonaws.dynamodb#ThrottlingException`, KMS `KMS.ThrottlingException`.
    let code = code.rsplit(['#', '.']).next().unwrap_or(code);
    Some(match code {
        // The SDK's own list (aws-runtime, `retries::classifiers::THROTTLING_ERRORS`) with DynamoDB's conflict.
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "KMSThrottlingException"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "ProvisionedThroughputExceededException"
        | "TransactionInProgressException"
        | "TransactionConflictException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "LimitExceededException"
        | "RequestThrottled"
        | "SlowDown"
        | "PriorRequestNotComplete" => FailureKind::Throttled,
        "AccessDenied"
        | "AccessDeniedException"
        | "KMSAccessDeniedException"
        | "AllAccessDisabled"
        | "UnauthorizedOperation"
        | "UnrecognizedClientException"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "InvalidToken"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "RequestTimeTooSkewed"
        | "RequestExpired"
        | "OptInRequired"
        | "NotSignedUp" => FailureKind::Denied,
        "NoSuchKey" | "NoSuchBucket" | "NoSuchVersion" | "NotFound" | "ResourceNotFoundException" => {
            FailureKind::NotFound
        }
        // 403 like a denial, and none: the object lies in an archive.
        "InvalidObjectState" => FailureKind::Invalid,
        "PreconditionFailed" | "ConditionalCheckFailedException" => FailureKind::Refused,
        "RequestTimeout"
        | "RequestTimeoutException"
        | "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => FailureKind::Unknown,
        _ => return None,
    })
}

/// What a status says where the code is new to us or absent.
fn kind_of_status(status: u16) -> FailureKind {
    match status {
        401 | 403 => FailureKind::Denied,
        404 => FailureKind::NotFound,
        408 | 409 => FailureKind::Unknown,
        412 => FailureKind::Refused,
        429 => FailureKind::Throttled,
        300..=499 => FailureKind::Invalid,
        _ => FailureKind::Unknown,
    }
}

/// The action in AWS's sentence "User: … is not authorized to perform: kms:Decrypt on resource: …".
fn denied_action(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("not authorized to perform: ")?;
    let action = rest.split_whitespace().next()?.trim_end_matches([',', '.', ';']);
    action.contains(':').then(|| action.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_the_action_that_aws_names() {
        let sentence = "User: arn:aws:sts::111122223333:assumed-role/ingest/x is not authorized to perform: \
                        kms:Decrypt on resource: arn:aws:kms:eu-west-1:111122223333:key/a because no identity-based \
                        policy allows the kms:Decrypt action";
        let failure = failure_of_code("AccessDeniedException", sentence);
        assert_eq!((failure.kind, failure.action.as_deref()), (FailureKind::Denied, Some("kms:Decrypt")));
        assert_eq!(failure_of_code("AccessDenied", "Access Denied").action, None);
        assert_eq!(denied_action("is not authorized to perform: "), None);
    }

    #[test]
    fn a_code_outranks_its_status_and_survives_its_prefixes() {
        for (code, kind) in [
            ("ThrottlingException", FailureKind::Throttled),
            ("KMS.ThrottlingException", FailureKind::Throttled),
            ("com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", FailureKind::Refused),
            ("ServiceUnavailableException", FailureKind::Unknown),
            ("NoSuchBucket", FailureKind::NotFound),
            ("ExpiredToken", FailureKind::Denied),
        ] {
            assert_eq!(kind_of_code(code), Some(kind), "{code}");
        }
    }

    #[test]
    fn an_unheard_of_code_is_judged_by_its_status() {
        assert_eq!(kind_of_code("NeverHeardOf"), None);
        for (status, kind) in [
            (400, FailureKind::Invalid),
            (403, FailureKind::Denied),
            (404, FailureKind::NotFound),
            (412, FailureKind::Refused),
            (429, FailureKind::Throttled),
            (500, FailureKind::Unknown),
        ] {
            assert_eq!(kind_of_status(status), kind, "{status}");
        }
    }

    #[tokio::test]
    async fn the_configuration_loads_without_an_account() {
        let config = config().await;
        assert_eq!(config.retry_config().map(RetryConfig::max_attempts), Some(ATTEMPTS));
        assert!(config.http_client().is_some(), "one HTTPS client is shared by all services");
        assert_eq!(firehose(&config).config().retry_config().map(RetryConfig::max_attempts), Some(1));
    }

    #[tokio::test]
    async fn an_endpoint_of_ones_own_has_the_bucket_in_its_path() {
        let address = async |endpoint: Option<&str>| {
            let mut config = SdkConfig::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(aws_config::Region::new("eu-west-1"))
                .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(
                    aws_credential_types::Credentials::new("key", "secret", None, None, "test"),
                ));
            config.set_endpoint_url(endpoint.map(str::to_owned));
            let expires = aws_sdk_s3::presigning::PresigningConfig::expires_in(Duration::from_secs(1)).unwrap();
            let request = s3(&config.build()).get_object().bucket("logs").key("k").presigned(expires).await.unwrap();
            request.uri().split('?').next().unwrap_or_default().to_owned()
        };
        assert_eq!(address(Some("http://localhost:9000")).await, "http://localhost:9000/logs/k");
        assert_eq!(address(None).await, "https://logs.s3.eu-west-1.amazonaws.com/k");
    }
}
