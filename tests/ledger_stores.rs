//! Every store keeps the same promises: in memory, in a file, and in a table of two emulators that were written by
//! different people.

mod bed;
mod store_suite;

use bed::emulator::Emulator;
use bed::table;
use trailhose::aws;
use trailhose::ledger::store::dynamodb::DynamoDb;
use trailhose::ledger::store::memory::Memory;

#[tokio::test]
async fn memory_keeps_every_promise() {
    let store = Memory::default();
    store_suite::keeps_every_promise(&store, "run").await;
    store_suite::settles_every_race(&store, "run").await;
    store_suite::tells_what_it_holds(&store, &store, "run").await;
    store_suite::knows_its_size(&store, &store, "run").await;
}

#[cfg(feature = "cli")]
mod sqlite {
    use super::store_suite;
    use trailhose::ledger::store::sqlite::{CommitMode, Sqlite};

    #[tokio::test]
    async fn sqlite_keeps_every_promise_in_groups() {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&folder.path().join("ledger.db"), CommitMode::Grouped).unwrap();
        store_suite::keeps_every_promise(&store, "run").await;
        store_suite::settles_every_race(&store, "run").await;
        store_suite::tells_what_it_holds(&store, &store, "run").await;
        store_suite::knows_its_size(&store, &store, "run").await;
    }

    #[tokio::test]
    async fn sqlite_keeps_every_promise_write_by_write() {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&folder.path().join("ledger.db"), CommitMode::Durable).unwrap();
        store_suite::keeps_every_promise(&store, "run").await;
        store_suite::settles_every_race(&store, "run").await;
        store_suite::tells_what_it_holds(&store, &store, "run").await;
        store_suite::knows_its_size(&store, &store, "run").await;
    }
}

async fn table(emulator: &Emulator, name: &str) -> DynamoDb {
    let client = aws::dynamodb(&emulator.config());
    table::create(&client, name, &[table::QUARANTINED]).await;
    DynamoDb::new(client, name)
}

#[tokio::test]
async fn dynamodb_on_ministack_keeps_every_promise() {
    let store = table(Emulator::shared_ministack(), "suite").await;
    store_suite::keeps_every_promise(&store, "run").await;
    store_suite::settles_every_race(&store, "run").await;
    store_suite::tells_what_it_holds(&store, &store, "run").await;
}

#[tokio::test]
async fn dynamodb_on_moto_keeps_every_promise() {
    let store = table(Emulator::shared_moto(), "suite").await;
    store_suite::keeps_every_promise(&store, "run").await;
    store_suite::tells_what_it_holds(&store, &store, "run").await;
}
