//! Facts: what the services answer, or why a fact is not known.

use crate::aws::{self, AwsFailure, FailureKind};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::time::Duration;

/// A fact, or why it is not known.
pub type Fact<T> = Result<T, FactError>;

/// Why a fact is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FactError {
    /// The credentials lack a permission.
    Denied {
        /// The missing action.
        action: String,
        /// The resource.
        resource: String,
        /// What to do.
        advice: String,
    },
    /// The resource does not exist.
    Absent {
        /// The action of the call.
        action: String,
        /// The resource.
        resource: String,
        /// The service's error code.
        message: String,
    },
    /// The service did not answer in time, or with an error.
    Unanswered {
        /// The action of the call.
        action: String,
        /// The resource.
        resource: String,
        /// The error.
        message: String,
    },
}

/// Waits for the answer of a call, at most for `limit`.
pub(crate) async fn ask<T, E>(
    limit: Duration,
    action: &str,
    resource: &str,
    call: impl Future<Output = Result<T, SdkError<E>>>,
) -> Fact<T>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match tokio::time::timeout(limit, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(FactError::of(action, resource, &aws::failure(&error))),
        Err(_) => Err(FactError::no_answer(action, resource, limit)),
    }
}

/// Waits for the result of several requests, at most for `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    action: &str,
    resource: &str,
    work: impl Future<Output = Fact<T>>,
) -> Fact<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(FactError::no_answer(action, resource, limit)))
}

impl FactError {
    /// Returns the error of a failed call.
    pub(crate) fn of(action: &str, resource: &str, failure: &AwsFailure) -> Self {
        let (named, resource) = (failure.action.as_deref().unwrap_or(action).to_owned(), resource.to_owned());
        match failure.kind {
            FailureKind::Denied if failure.concerns_credentials() => {
                Self::Unanswered { action: action.to_owned(), resource, message: failure.credentials_text() }
            }
            FailureKind::Denied => {
                let allow = || format!("allow {named} on {resource} for these credentials");
                Self::Denied { advice: failure.denial_advice(allow), action: named, resource }
            }
            FailureKind::NotFound => {
                Self::Absent { action: action.to_owned(), resource, message: failure.code.clone() }
            }
            _ if ABSENT_CODES.contains(&failure.code.as_str()) => {
                Self::Absent { action: action.to_owned(), resource, message: failure.code.clone() }
            }
            _ => Self::Unanswered { action: action.to_owned(), resource, message: failure.to_string() },
        }
    }

    fn no_answer(action: &str, resource: &str, limit: Duration) -> Self {
        Self::Unanswered {
            action: action.to_owned(),
            resource: resource.to_owned(),
            message: format!("no answer within {} s", limit.as_secs_f64()),
        }
    }
}

/// Codes of services that do not use 404 for a resource that does not exist.
const ABSENT_CODES: [&str; 7] = [
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
    "NoSuchEntity",
    "TableNotFoundException",
    "TrailNotFoundException",
    "NotFoundException",
    "NoSuchBucket",
];

/// Returns all facts, or the first error.
pub(crate) fn all<T>(facts: Vec<Fact<T>>) -> Fact<Vec<T>> {
    facts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::failure_of_code;

    #[test]
    fn denied_action_is_that_of_the_message() {
        let message =
            "User: arn:aws:iam::111122223333:user/u is not authorized to perform: kms:DescribeKey on resource: x";
        let error = FactError::of("s3:GetObject", "arn:k", &failure_of_code("AccessDeniedException", message));
        let FactError::Denied { action, advice, .. } = error else { panic!("{error:?}") };
        assert_eq!(
            (action.as_str(), advice.as_str()),
            ("kms:DescribeKey", "allow kms:DescribeKey on arn:k for these credentials")
        );
        let scp = format!("{message} with an explicit deny in a service control policy");
        let FactError::Denied { advice, .. } = FactError::of("a:B", "r", &failure_of_code("AccessDenied", &scp)) else {
            panic!("not a denial")
        };
        assert!(advice.contains("service control policy"), "{advice}");
    }

    #[test]
    fn expired_credentials_are_not_reported_as_a_missing_permission() {
        let error = FactError::of("a:B", "r", &failure_of_code("ExpiredToken", "expired"));
        assert!(matches!(&error, FactError::Unanswered { message, .. } if message.contains("session has expired")));
        let absent = FactError::of("sqs:GetQueueAttributes", "q", &failure_of_code("QueueDoesNotExist", ""));
        assert!(matches!(absent, FactError::Absent { .. }));
    }

    #[tokio::test]
    async fn call_that_hangs_is_reported() {
        let hang = std::future::pending::<Fact<()>>();
        let error = within(Duration::from_millis(5), "sqs:ReceiveMessage", "q", hang).await.unwrap_err();
        assert!(
            matches!(&error, FactError::Unanswered { message, .. } if message == "no answer within 0.005 s"),
            "{error:?}"
        );
    }
}
