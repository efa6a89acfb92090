//! Table: the stack's DynamoDB table, as the template makes it, with those of its indexes that a test needs.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
};

/// The name of an index, and its keys.
pub type Index = (&'static str, &'static [&'static str]);

/// The rows that are quarantined.
pub const QUARANTINED: Index = ("quarantined", &["quarantined_at"]);

/// What is noted of runs.
pub const RUNS: Index = (trailhose::backfill::record::dynamodb::INDEX, &["run", "unit"]);

/// Makes the table.
pub async fn create(client: &Client, name: &str, indexes: &[Index]) {
    let mut table = client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
    table = table.set_key_schema(Some(keys(&["pk"]))).attribute_definitions(text("pk"));
    for (index, names) in indexes {
        let all = Projection::builder().projection_type(ProjectionType::All).build();
        let index = GlobalSecondaryIndex::builder().index_name(*index).set_key_schema(Some(keys(names)));
        table = table.global_secondary_indexes(index.projection(all).build().unwrap());
        table = names.iter().fold(table, |table, name| table.attribute_definitions(text(name)));
    }
    table.send().await.unwrap();
}

fn keys(names: &[&str]) -> Vec<KeySchemaElement> {
    let kinds = [KeyType::Hash, KeyType::Range].into_iter().zip(names);
    kinds
        .map(|(kind, name)| KeySchemaElement::builder().attribute_name(*name).key_type(kind).build().unwrap())
        .collect()
}

fn text(name: &str) -> AttributeDefinition {
    AttributeDefinition::builder().attribute_name(name).attribute_type("S".into()).build().unwrap()
}
