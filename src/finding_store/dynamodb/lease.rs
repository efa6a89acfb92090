//! Leases of destinations: one process at a time sends to a destination, so that no alert is sent twice and the order within
//! a group is kept.

use super::item::{self, Key};
use super::{Cancelled, DynamoFindings};
use crate::ledger::store::StoreError;

/// The right to send to a destination until a given time.
#[derive(Debug)]
pub struct DestinationLease {
    destination: String,
    token: String,
}

impl DynamoFindings {
    /// Takes the right to send to a destination until `until`. Returns `None` if another process has it. Times are in
    /// seconds since 1970.
    ///
    /// # Errors
    /// Errors of DynamoDB.
    pub async fn lease(&self, destination: &str, now: i64, until: i64) -> Result<Option<DestinationLease>, StoreError> {
        let token = uuid::Uuid::new_v4().to_string();
        let values = [(":now", item::number(now)), (":until", item::number(until)), (":token", item::text(&token))];
        let condition = "attribute_not_exists(pk) OR leased_until <= :now";
        let change = "SET leased_until = :until, lease_token = :token";
        let write = self.update(&Key::lease(destination), change, condition, item::attributes(values))?;
        match self.transact(vec![write]).await {
            Ok(()) => Ok(Some(DestinationLease { destination: destination.to_owned(), token })),
            Err(Cancelled::Outdated) => Ok(None),
            Err(Cancelled::Failed(error)) => Err(error),
        }
    }

    /// Ends a lease early, so that another process can send.
    ///
    /// # Errors
    /// Errors of DynamoDB.
    pub async fn release(&self, lease: DestinationLease) -> Result<(), StoreError> {
        let values = [(":token", item::text(&lease.token)), (":never", item::number(0))];
        let key = Key::lease(&lease.destination);
        let change = "SET leased_until = :never";
        let write = self.update(&key, change, "lease_token = :token", item::attributes(values))?;
        match self.transact(vec![write]).await {
            // `Outdated`: the lease ended, and another process has it.
            Ok(()) | Err(Cancelled::Outdated) => Ok(()),
            Err(Cancelled::Failed(error)) => Err(error),
        }
    }
}
