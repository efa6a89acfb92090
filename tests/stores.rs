//! Every store keeps rows and pages by the same rules: one suite, run against each of them, and DynamoDB's on two
//! emulators that were written by different people.

mod bed;
#[path = "stores/suite.rs"]
mod suite;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType};
use bed::emulator::Emulator;
use trailhose::ledger::dynamodb::DynamoDb;
use trailhose::ledger::memory::Memory;
use trailhose::ledger::sqlite::{CommitMode, Sqlite};

/// A table as the template describes it, in an emulator.
async fn table(emulator: &Emulator, name: &str) -> DynamoDb {
    let client: Client = trailhose::aws::dynamodb(&emulator.config());
    let key = KeySchemaElement::builder().attribute_name("pk").key_type(KeyType::Hash).build().unwrap();
    let pk =
        AttributeDefinition::builder().attribute_name("pk").attribute_type(ScalarAttributeType::S).build().unwrap();
    let create = client.create_table().table_name(name).key_schema(key).attribute_definitions(pk);
    create.billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
    DynamoDb::new(client, name)
}

#[tokio::test]
async fn memory_keeps_the_rules() {
    suite::all(&Memory::default(), 20_000).await;
}

#[tokio::test]
async fn sqlite_keeps_the_rules_when_each_write_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    suite::all(&Sqlite::open(&folder.path().join("ledger.db"), CommitMode::Durable).unwrap(), 2_000).await;
}

#[tokio::test]
async fn sqlite_keeps_the_rules_within_one_transaction() {
    let folder = tempfile::tempdir().unwrap();
    suite::all(&Sqlite::open(&folder.path().join("ledger.db"), CommitMode::Grouped).unwrap(), 20_000).await;
}

#[tokio::test]
async fn dynamodb_keeps_the_rules_on_ministack() {
    suite::all(&table(Emulator::shared_ministack(), "rules").await, 500).await;
}

#[tokio::test]
async fn dynamodb_keeps_the_rules_on_moto() {
    suite::all(&table(Emulator::shared_moto(), "rules").await, 500).await;
}

#[tokio::test]
async fn dynamodb_counts_every_write_and_every_refusal() {
    let store = table(Emulator::shared_ministack(), "counted").await;
    suite::pages_of_every_size(&store).await;
    let spent = store.usage().spent();
    assert!(spent.write_units > spent.writes && spent.read_units > spent.reads, "{spent:?}");
    assert!(spent.refused > 0, "{spent:?}");
}

#[tokio::test]
async fn a_table_that_is_not_there_is_named() {
    let client = trailhose::aws::dynamodb(&Emulator::shared_ministack().config());
    let error = suite::lease_of_nothing(&DynamoDb::new(client, "no-such-table")).await;
    assert!(error.contains("dynamodb:UpdateItem on table no-such-table"), "{error}");
}
