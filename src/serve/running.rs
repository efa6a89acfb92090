//! A query that runs in the background, so that it keeps its permit until it has ended, and ends if the client disconnects.

use crate::query::QueryControl;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinError;

/// Stops a query when it is dropped.
#[derive(Debug)]
struct StopOnDrop(watch::Sender<bool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// Runs a query on a task of its own, and stops it after `within`. If the future that this function returns is dropped, the query
/// is stopped too. The permit is released when the query has ended, also if the client has disconnected.
///
/// # Errors
/// The query panicked.
pub(super) async fn run_within<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    within: Duration,
    permit: OwnedSemaphorePermit,
    query: impl FnOnce(QueryControl) -> F,
) -> Result<T, JoinError> {
    let (stop, halt) = watch::channel(false);
    let stop = StopOnDrop(stop);
    let query = query(QueryControl { halt, ..QueryControl::default() });
    let mut running = tokio::spawn(async move {
        let _permit = permit;
        query.await
    });
    match tokio::time::timeout(within, &mut running).await {
        Ok(ended) => ended,
        Err(_) => {
            stop.0.send_replace(true);
            running.await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    const LONG: Duration = Duration::from_secs(3_600);

    /// Waits until it is stopped, and then until the test lets it end.
    async fn query(control: QueryControl, end: Arc<Semaphore>) -> bool {
        let mut halt = control.halt;
        halt.wait_for(|&is_stopped| is_stopped).await.unwrap();
        end.acquire().await.unwrap().forget();
        *halt.borrow()
    }

    #[tokio::test]
    async fn query_is_stopped_at_its_time_limit() {
        let (queries, end) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(1)));
        let permit = Arc::clone(&queries).try_acquire_owned().unwrap();
        let within = Duration::from_millis(20);
        let started = std::time::Instant::now();
        let ran = run_within(within, permit, |control| query(control, end)).await;
        assert!(ran.unwrap() && started.elapsed() >= within);
        assert_eq!(queries.available_permits(), 1);
    }

    #[tokio::test]
    async fn query_of_a_client_that_disconnects_is_stopped_and_counts_until_it_has_ended() {
        let (queries, end) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(0)));
        let permit = Arc::clone(&queries).try_acquire_owned().unwrap();
        let (started, mut has_started) = watch::channel(None);
        let query_end = Arc::clone(&end);
        let request = run_within(LONG, permit, move |control| {
            started.send_replace(Some(control.halt.clone()));
            query(control, query_end)
        });
        let request = tokio::spawn(request);
        let mut halt = has_started.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        assert!(!*halt.borrow());
        request.abort();
        halt.wait_for(|&is_stopped| is_stopped).await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(queries.available_permits(), 0, "the query has not ended");
        end.add_permits(1);
        let _permit = queries.acquire().await.unwrap();
    }
}
