//! The error with which a Lambda function fails an invocation as a whole.

use lambda_runtime::Diagnostic;

/// The reason why an invocation fails. Lambda shows both fields to the caller.
#[derive(Debug)]
pub struct InvocationError {
    /// Type of the error, for programs: `InvalidMessage`, `NotDelivered`, `NotEvaluated` or `NotStarted`.
    pub kind: &'static str,
    /// Text of the error, for people.
    pub message: String,
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        Self { error_type: error.kind.to_owned(), error_message: error.message }
    }
}
