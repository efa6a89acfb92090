//! Creates the DynamoDB table of the template with the indexes that a test needs.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
};

/// The name and the keys of an index.
pub type Index = (&'static str, &'static [&'static str]);

/// The index of quarantined rows.
pub const QUARANTINED: Index = ("quarantined", &["quarantined_at"]);

/// The index of run records.
pub const RUNS: Index = (trailhose::backfill::record::dynamodb::INDEX, &["run", "unit"]);

/// Creates the table.
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
