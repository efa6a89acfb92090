//! The AWS client configuration, HTTPS client and error classification that all adapters share.

mod access;
mod advice;
mod credentials;
mod function;
mod https;
mod location;
#[cfg(feature = "operate")]
mod stack;

pub use access::BucketAccess;
pub use credentials::check as check_credentials;
pub use function::function_config;
#[cfg(feature = "model")]
pub(crate) use https::post_json;
#[cfg(feature = "wire")]
pub(crate) use https::put;
pub use location::{arn_region, split_location};
#[cfg(feature = "operate")]
pub use stack::{DeployedStack, StackError, StackResource, StackResources};

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, SdkConfig};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::time::Duration;

/// The connection timeout. The SDK's default is 3.1 s; within a region a connection takes milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The time limit until the first byte of a response, including the upload of the request. The largest request is a
/// `PutRecordBatch` of 4 MiB (5.6 MiB in base64), which needs 2 Mbit/s to finish in 25 s.
const READ_TIMEOUT: Duration = Duration::from_secs(25);

/// The time limit of one attempt, including DNS, connection and TLS.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// The SDK's attempts per operation, including the first. Its default is 3. A backfill that meets S3's `503 SlowDown`
/// should slow down rather than fail.
const MAX_ATTEMPTS: u32 = 5;

/// Loads the configuration that every client uses: region, credentials and endpoint from the standard providers
/// (environment, profile, container, instance), the timeouts of this module, and one shared HTTPS client.
///
/// This makes no network request, except to an instance's metadata service for the region. Credentials and root
/// certificates are loaded with the first request, or by [`check_credentials`]. `access` selects the profile and the type
/// of the endpoints.
pub async fn config(access: &BucketAccess) -> SdkConfig {
    let identity_cache = aws_config::identity::IdentityCache::lazy().load_timeout(credentials::LOAD_TIMEOUT).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .identity_cache(identity_cache)
        .http_client(https::client())
        .retry_config(retries())
        .timeout_config(timeouts());
    if let Some(name) = app_name() {
        loader = loader.app_name(name);
    }
    if let Some(profile) = &access.profile {
        loader = loader.profile_name(profile);
    }
    if access.fips {
        loader = loader.use_fips(true);
    }
    if access.dual_stack {
        loader = loader.use_dual_stack(true);
    }
    credentials::with_explanations(loader.load().await, access.profile.clone())
}

fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build()
}

/// Returns the application name that identifies these requests in server access logs and in CloudTrail.
fn app_name() -> Option<AppName> {
    AppName::new(concat!("trailhose-", env!("CARGO_PKG_VERSION"))).ok()
}

/// Returns an S3 client. With a custom endpoint (an emulator, MinIO or a gateway) it uses path-style addressing,
/// because a name such as `bucket.localhost` does not resolve.
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let custom_endpoint = config.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
    let config = aws_sdk_s3::config::Builder::from(config).force_path_style(custom_endpoint).build();
    aws_sdk_s3::Client::from_conf(config)
}

/// Returns an S3 client for access point ARNs. They need virtual-host addressing, also with a custom endpoint, and the
/// request goes to the region of the ARN.
pub fn s3_access_point(config: &SdkConfig) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(config).force_path_style(false).use_arn_region(true).build();
    aws_sdk_s3::Client::from_conf(config)
}

/// Returns a Firehose client without retries. The sink retries only the failed records of a call; the SDK would retry
/// whole calls.
#[cfg(feature = "firehose")]
pub fn firehose(config: &SdkConfig) -> aws_sdk_firehose::Client {
    let config = aws_sdk_firehose::config::Builder::from(config).retry_config(RetryConfig::disabled()).build();
    aws_sdk_firehose::Client::from_conf(config)
}

/// Returns a DynamoDB client without retries. The ledger store decides how long it retries a conditional write whose
/// outcome is unknown.
#[cfg(feature = "dynamodb")]
pub fn dynamodb(config: &SdkConfig) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::config::Builder::from(config).retry_config(RetryConfig::disabled()).build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

/// The class of a failed call. It decides how to proceed, in some cases together with [`AwsFailure::code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Access was denied, or there are no valid credentials. A retry fails until a person changes something.
    Denied,
    /// The request was throttled and had no effect. A retry can succeed.
    Throttled,
    /// The resource does not exist (404, `NoSuchKey`, `ResourceNotFoundException`).
    NotFound,
    /// A condition of the request was not met (412, `ConditionalCheckFailedException`).
    Refused,
    /// The service rejected the request as invalid. A retry fails again.
    Invalid,
    /// The outcome is unknown (timeout, lost connection, 5xx, invalid response). The request **may have taken effect**.
    Unknown,
}

/// A failed AWS call, in one form for all services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsFailure {
    /// The class of the failure.
    pub kind: FailureKind,
    /// The service's error code, or one of `Timeout`, `Connection`, `Response`, `Request`, `Credentials`, `HTTP nnn`.
    pub code: String,
    /// The service's message, or the chain of causes if there was no response.
    pub message: String,
    /// The denied action, such as `kms:Decrypt`, if the message names it.
    pub action: Option<String>,
    /// The request ID, which AWS support asks for.
    pub request_id: Option<String>,
    /// The region of the bucket, if the response of S3 names it.
    pub bucket_region: Option<String>,
}

impl AwsFailure {
    /// Returns whether a retry of the same request can succeed without a change by a person.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, FailureKind::Throttled | FailureKind::Unknown)
    }

    /// Returns whether the service did not answer, throttled the request or is unavailable. The request itself is then
    /// not the cause.
    pub fn is_unanswered(&self) -> bool {
        let is_unavailable = matches!(self.code.as_str(), "ServiceUnavailable" | "HTTP 502" | "HTTP 503" | "HTTP 504");
        self.kind == FailureKind::Throttled || is_unavailable || matches!(self.code.as_str(), "Timeout" | "Connection")
    }

    /// Returns whether the credentials are missing, invalid or expired, so that every request of this process fails.
    pub fn concerns_credentials(&self) -> bool {
        let code = self.code.rsplit(['#', '.']).next().unwrap_or(&self.code);
        CREDENTIAL_CODES.contains(&code)
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

/// The error codes of missing, invalid or expired credentials, and of a clock that differs too much.
const CREDENTIAL_CODES: [&str; 18] = [
    "Credentials",
    "UnrecognizedClientException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "InvalidToken",
    "ExpiredToken",
    "ExpiredTokenException",
    "TokenRefreshRequired",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestTimeTooSkewed",
    "RequestInTheFuture",
    "RequestExpired",
    "OptInRequired",
    "NotSignedUp",
];

/// Classifies the error of any operation.
pub fn failure<E>(error: &SdkError<E>) -> AwsFailure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let bucket_region = service.raw().headers().get("x-amz-bucket-region").map(str::to_owned);
            AwsFailure { bucket_region, ..service_failure(service.err(), service.raw().status().as_u16()) }
        }
        SdkError::TimeoutError(_) => no_response_failure(FailureKind::Unknown, "Timeout", error),
        SdkError::ResponseError(_) => no_response_failure(FailureKind::Unknown, "Response", error),
        SdkError::ConstructionFailure(_) => no_response_failure(FailureKind::Invalid, "Request", error),
        SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() => {
            no_response_failure(FailureKind::Unknown, "Timeout", error)
        }
        SdkError::DispatchFailure(_) if lacks_credentials(error) => {
            no_response_failure(FailureKind::Denied, "Credentials", error)
        }
        SdkError::DispatchFailure(_) => no_response_failure(FailureKind::Unknown, "Connection", error),
        _ => no_response_failure(FailureKind::Unknown, "Unknown", error),
    }
}

/// Classifies a code and a message without an HTTP status, such as Firehose's result for one record.
pub fn failure_of_code(code: &str, message: &str) -> AwsFailure {
    AwsFailure {
        kind: kind_of_code(code).unwrap_or(FailureKind::Unknown),
        code: code.to_owned(),
        message: message.to_owned(),
        action: denied_action(message),
        request_id: None,
        bucket_region: None,
    }
}

fn service_failure(error: &(impl ProvideErrorMetadata + std::error::Error), status: u16) -> AwsFailure {
    let meta = error.meta();
    let kind = meta.code().and_then(kind_of_code).unwrap_or_else(|| kind_of_status(status));
    // A response to HEAD has no body, so it has neither a code nor a message.
    let code = meta.code().map_or_else(|| format!("HTTP {status}"), str::to_owned);
    let message = meta.message().map_or_else(|| missing_message(status).to_owned(), str::to_owned);
    let request_id = meta.extra("aws_request_id").map(str::to_owned);
    AwsFailure { kind, code, action: denied_action(&message), message, request_id, bucket_region: None }
}

/// Returns the message for a failure whose response has none.
fn missing_message(status: u16) -> &'static str {
    match status {
        200..=299 => "the response is not one of this AWS service: check the endpoint and the region",
        _ => "the response contains no message",
    }
}

fn no_response_failure(kind: FailureKind, code: &str, error: &(impl std::error::Error + 'static)) -> AwsFailure {
    // Each SDK error describes only its own level ("dispatch failure"). The cause is at the end of the chain.
    let levels = causes(error).map(ToString::to_string);
    let levels = levels.filter(|text| !matches!(text.as_str(), "dispatch failure" | "io error" | "other"));
    let message = credentials::explained(error).unwrap_or_else(|| {
        let levels = levels.collect::<Vec<_>>().join(": ");
        if code == "Credentials" { format!("no AWS credentials: {levels}") } else { levels }
    });
    AwsFailure { kind, code: code.to_owned(), message, action: None, request_id: None, bucket_region: None }
}

fn lacks_credentials(error: &(impl std::error::Error + 'static)) -> bool {
    causes(error).any(|error| error.is::<aws_credential_types::provider::error::CredentialsError>())
}

/// Returns the error and its chain of causes.
pub(crate) fn causes<'a>(
    error: &'a (impl std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source())
}

/// Classifies an error code. The code takes precedence over the HTTP status, because throttling is a 400 for most
/// services and a 503 for S3.
fn kind_of_code(code: &str) -> Option<FailureKind> {
    // Codes can have prefixes: `com.amazonaws.dynamodb#ThrottlingException`, `KMS.ThrottlingException`.
    let code = code.rsplit(['#', '.']).next().unwrap_or(code);
    Some(match code {
        // The SDK's own list (aws-runtime, `retries::classifiers::THROTTLING_ERRORS`) with DynamoDB's conflict.
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "KMSThrottlingException"
        | "KMSThrottling"
        | "KmsThrottled"
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
        // SNS, whose topic has a key that cannot be used. The status is 400.
        | "KMSAccessDenied"
        | "KMSDisabled"
        | "KMSInvalidState"
        | "KMSNotFound"
        | "KMSOptInRequired"
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
        | "TokenRefreshRequired"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "RequestTimeTooSkewed"
        | "RequestInTheFuture"
        | "RequestExpired"
        | "OptInRequired"
        | "NotSignedUp" => FailureKind::Denied,
        "NoSuchKey" | "NoSuchBucket" | "NoSuchVersion" | "NotFound" | "ResourceNotFoundException" => {
            FailureKind::NotFound
        }
        // The status is 403, but it is not a denial: the object is archived.
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

/// Classifies an HTTP status, for a response with an unknown code or none.
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

/// Extracts the action from the message "User: … is not authorized to perform: kms:Decrypt on resource: …".
fn denied_action(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("not authorized to perform: ")?;
    let action = rest.split_whitespace().next()?.trim_end_matches([',', '.', ';']);
    action.contains(':').then(|| action.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_action_is_extracted() {
        let sentence = "User: arn:aws:sts::111122223333:assumed-role/ingest/x is not authorized to perform: \
                        kms:Decrypt on resource: arn:aws:kms:eu-west-1:111122223333:key/a because no identity-based \
                        policy allows the kms:Decrypt action";
        let failure = failure_of_code("AccessDeniedException", sentence);
        assert_eq!((failure.kind, failure.action.as_deref()), (FailureKind::Denied, Some("kms:Decrypt")));
        assert_eq!(failure_of_code("AccessDenied", "Access Denied").action, None);
        assert_eq!(denied_action("is not authorized to perform: "), None);
    }

    #[test]
    fn code_is_classified_with_and_without_prefixes() {
        for (code, kind) in [
            ("ThrottlingException", FailureKind::Throttled),
            ("KMS.ThrottlingException", FailureKind::Throttled),
            ("com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", FailureKind::Refused),
            ("ServiceUnavailableException", FailureKind::Unknown),
            ("NoSuchBucket", FailureKind::NotFound),
            ("ExpiredToken", FailureKind::Denied),
            ("KMSThrottling", FailureKind::Throttled),
            ("KMSAccessDenied", FailureKind::Denied),
            ("KMSDisabled", FailureKind::Denied),
            ("KMSInvalidState", FailureKind::Denied),
            ("KMSNotFound", FailureKind::Denied),
            ("KMSOptInRequired", FailureKind::Denied),
        ] {
            assert_eq!(kind_of_code(code), Some(kind), "{code}");
        }
    }

    /// S3 returns `TokenRefreshRequired` with the status 400, which alone would be an invalid request.
    #[test]
    fn every_code_of_unusable_credentials_is_a_denial() {
        for code in CREDENTIAL_CODES.into_iter().filter(|code| *code != "Credentials") {
            let failure = failure_of_code(code, "no message");
            assert_eq!((failure.kind, failure.concerns_credentials()), (FailureKind::Denied, true), "{code}");
        }
    }

    #[test]
    fn unknown_code_is_classified_by_status() {
        assert_eq!(kind_of_code("UnknownCode"), None);
        for (status, kind) in [
            (400, FailureKind::Invalid),
            (403, FailureKind::Denied),
            (404, FailureKind::NotFound),
            (408, FailureKind::Unknown),
            // A conflict with another request, for example S3's OperationAborted. A retry can succeed.
            (409, FailureKind::Unknown),
            (412, FailureKind::Refused),
            (429, FailureKind::Throttled),
            (500, FailureKind::Unknown),
        ] {
            assert_eq!(kind_of_status(status), kind, "{status}");
        }
    }

    #[tokio::test]
    async fn configuration_loads_without_an_account() {
        let config = config(&BucketAccess::default()).await;
        assert_eq!(config.retry_config().map(RetryConfig::max_attempts), Some(MAX_ATTEMPTS));
        assert!(config.http_client().is_some(), "all services share one HTTPS client");
        #[cfg(feature = "firehose")]
        assert_eq!(firehose(&config).config().retry_config().map(RetryConfig::max_attempts), Some(1));
    }

    #[tokio::test]
    async fn custom_endpoint_uses_path_style() {
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

    #[tokio::test]
    async fn access_point_is_addressed_in_its_own_region_and_partition() {
        for (arn, endpoint, address) in [
            (
                "arn:aws:s3:eu-north-1:111122223333:accesspoint/logs",
                None,
                "https://logs-111122223333.s3-accesspoint.eu-north-1.amazonaws.com/k",
            ),
            (
                "arn:aws-us-gov:s3:us-gov-west-1:111122223333:accesspoint/logs",
                None,
                "https://logs-111122223333.s3-accesspoint.us-gov-west-1.amazonaws.com/k",
            ),
            (
                "arn:aws:s3:eu-north-1:111122223333:accesspoint/logs",
                Some("https://vpce.example"),
                "https://logs-111122223333.vpce.example/k",
            ),
        ] {
            let mut config = SdkConfig::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(aws_config::Region::new(arn_region(arn).unwrap().to_owned()))
                .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(
                    aws_credential_types::Credentials::new("key", "secret", None, None, "test"),
                ));
            config.set_endpoint_url(endpoint.map(str::to_owned));
            let expires = aws_sdk_s3::presigning::PresigningConfig::expires_in(Duration::from_secs(1)).unwrap();
            let client = s3_access_point(&config.build());
            let request = client.get_object().bucket(arn).key("k").presigned(expires).await.unwrap();
            assert_eq!(request.uri().split('?').next().unwrap_or_default(), address);
        }
    }
}
