//! Polling, cancellation and price of queries in Athena and CloudTrail Lake.

use super::QueryControl;
use crate::aws::{AwsFailure, FailureKind};
use crate::backoff::{Backoff, Pace};
use tokio::time::Duration;

/// The waits between two requests for the state of a running query.
const PACE: Pace = Pace { base: Duration::from_millis(400), cap: Duration::from_secs(3) };

/// The shortest wait.
const MIN_WAIT: Duration = Duration::from_millis(100);

/// Waits between the requests for the state of a running query.
#[derive(Debug)]
pub(super) struct Polling {
    backoff: Backoff<fn() -> f64>,
    control: QueryControl,
}

impl Polling {
    pub(super) fn new(control: &QueryControl) -> Self {
        Self { backoff: Backoff::new(PACE, fastrand::f64), control: control.clone() }
    }

    /// Waits until the next request. Returns whether the user stopped the query.
    pub(super) async fn wait(&mut self) -> bool {
        let wait = self.backoff.wait().max(MIN_WAIT);
        let halt = &mut self.control.halt;
        let stopped = async {
            if halt.wait_for(|stop| *stop).await.is_err() {
                // The sender was dropped, so the query cannot be stopped.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => false,
            () = stopped => true,
        }
    }

    /// Returns whether the user stopped the query.
    pub(super) fn is_stopped(&self) -> bool {
        *self.control.halt.borrow()
    }
}

/// Returns the error of a failed request: what failed, and what to do. `action` is the IAM action of the request, and
/// `resource` is the resource on which it must be allowed.
pub(super) fn request_error(what: &str, action: &str, resource: &str, failure: &AwsFailure) -> String {
    if failure.concerns_credentials() {
        return format!("{what}: {}", failure.credentials_text());
    }
    match failure.kind {
        FailureKind::Denied => {
            let action = failure.action.as_deref().unwrap_or(action);
            let advice = failure.denial_advice(|| format!("allow {action} on {resource}"));
            format!("{what}: {advice}. {failure}")
        }
        _ => format!("{what}: {failure}"),
    }
}

/// The units of AWS's price pages, in bytes.
const MB: u64 = 1 << 20;
const GB: f64 = (1_u64 << 30) as f64;
const TB: f64 = (1_u64 << 40) as f64;

/// Returns the list price of an Athena query in us-east-1, in dollars: $5 per TB, at least 10 MB.
/// <https://aws.amazon.com/athena/pricing/>
pub fn athena_dollars(bytes: u64) -> f64 {
    let billed = bytes.div_ceil(MB).max(10) * MB;
    billed as f64 / TB * 5.0
}

/// Returns the list price of a CloudTrail Lake query in us-east-1, in dollars: $0.005 per GB.
/// <https://aws.amazon.com/cloudtrail/pricing/>
pub(super) fn cloudtrail_lake_dollars(bytes: u64) -> f64 {
    bytes as f64 / GB * 0.005
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn athena_bills_at_least_ten_megabytes() {
        assert_eq!(athena_dollars(0), athena_dollars(10 << 20));
        assert!((athena_dollars(178_000_000) - 0.00081).abs() < 0.00001, "{}", athena_dollars(178_000_000));
        assert_eq!(athena_dollars(1 << 40), 5.0);
    }

    #[test]
    fn denied_request_names_the_missing_action() {
        let failure = crate::aws::failure_of_code(
            "AccessDeniedException",
            "User: arn:aws:iam::111122223333:user/a is not authorized to perform: athena:StartQueryExecution",
        );
        let text = request_error("cannot start the query", "athena:Other", "workgroup w", &failure);
        assert!(
            text.starts_with("cannot start the query: allow athena:StartQueryExecution on workgroup w. "),
            "{text}"
        );
    }
}
