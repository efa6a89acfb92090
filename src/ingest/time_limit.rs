//! The time limit of a source request, which is the same for every source.

use super::Deferred;
use crate::source::SourceError;
use std::fmt::Display;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The time limit of one source request, from its start to the last byte of its response. The AWS SDK aborts a stalled
/// transfer, but it accepts one byte per second as progress. The largest response is 10 MiB, which needs 45 kB/s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(240);

/// Runs a request for `object` until its time limit or until `stop`, whichever is earlier. Without this, a slow object
/// could last until the invocation is killed, and the results of the invocation's other objects would be lost.
///
/// # Errors
/// Returns [`Deferred::OutOfTime`] at `stop`. If the request exceeds its own limit, the inner result is
/// [`SourceError::Unavailable`].
pub(super) async fn apply<T>(
    object: &impl Display,
    stop: Instant,
    request: impl Future<Output = Result<T, SourceError>>,
) -> Result<Result<T, SourceError>, Deferred> {
    within(REQUEST_TIMEOUT, object, stop, request).await
}

async fn within<T>(
    timeout: Duration,
    object: &impl Display,
    stop: Instant,
    request: impl Future<Output = Result<T, SourceError>>,
) -> Result<Result<T, SourceError>, Deferred> {
    let limit = Instant::now() + timeout;
    match timeout_at(limit.min(stop), request).await {
        Ok(result) => Ok(result),
        Err(_) if stop <= limit => Err(Deferred::OutOfTime),
        Err(_) => {
            Ok(Err(SourceError::Unavailable(format!("cannot read {object}: the request took longer than {timeout:?}"))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test]
    async fn request_ends_at_its_own_limit_or_at_the_deadline() {
        let (short, long) = (Duration::from_millis(10), Duration::from_secs(3600));
        let own = within::<()>(short, &"k", Instant::now() + long, pending()).await;
        let Ok(Err(SourceError::Unavailable(error))) = own else { panic!("{own:?}") };
        assert_eq!(error, "cannot read k: the request took longer than 10ms");
        let deadline = within::<()>(long, &"k", Instant::now() + short, pending()).await;
        assert!(matches!(deadline, Err(Deferred::OutOfTime)), "{deadline:?}");
        // A request that needs no waiting is made even after the deadline.
        let at_once = within(long, &"k", Instant::now(), async { Ok(1) }).await;
        assert!(matches!(at_once, Ok(Ok(1))), "{at_once:?}");
    }
}
