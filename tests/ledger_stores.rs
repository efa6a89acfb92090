//! Every store passes the conformance suite: in memory, in SQLite, and in DynamoDB tables of two independent emulators.

mod bed;
mod store_suite;

use bed::emulator::Emulator;
use bed::table;
use trailhose::aws;
use trailhose::ledger::store::dynamodb::DynamoDb;
use trailhose::ledger::store::memory::Memory;

#[tokio::test]
async fn memory_conforms() {
    let store = Memory::default();
    store_suite::conforms(&store, "run").await;
    store_suite::serializes_concurrent_writes(&store, "run").await;
    store_suite::scans_its_contents(&store, &store, "run").await;
    store_suite::reports_its_size(&store, &store, "run").await;
}

#[cfg(feature = "cli")]
mod sqlite {
    use super::store_suite;
    use trailhose::ledger::store::sqlite::{CommitMode, Sqlite};

    #[tokio::test]
    async fn sqlite_conforms_with_grouped_commits() {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&folder.path().join("ledger.db"), CommitMode::Grouped).unwrap();
        store_suite::conforms(&store, "run").await;
        store_suite::serializes_concurrent_writes(&store, "run").await;
        store_suite::scans_its_contents(&store, &store, "run").await;
        store_suite::reports_its_size(&store, &store, "run").await;
    }

    #[tokio::test]
    async fn sqlite_conforms_with_single_commits() {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&folder.path().join("ledger.db"), CommitMode::Durable).unwrap();
        store_suite::conforms(&store, "run").await;
        store_suite::serializes_concurrent_writes(&store, "run").await;
        store_suite::scans_its_contents(&store, &store, "run").await;
        store_suite::reports_its_size(&store, &store, "run").await;
    }
}

async fn table(emulator: &Emulator, name: &str) -> DynamoDb {
    let client = aws::dynamodb(&emulator.config());
    table::create(&client, name, &[table::QUARANTINED]).await;
    DynamoDb::new(client, name)
}

#[tokio::test]
async fn dynamodb_on_ministack_conforms() {
    let store = table(Emulator::shared_ministack(), "suite").await;
    store_suite::conforms(&store, "run").await;
    store_suite::serializes_concurrent_writes(&store, "run").await;
    store_suite::scans_its_contents(&store, &store, "run").await;
}

#[tokio::test]
async fn dynamodb_on_moto_conforms() {
    let store = table(Emulator::shared_moto(), "suite").await;
    store_suite::conforms(&store, "run").await;
    store_suite::scans_its_contents(&store, &store, "run").await;
}
