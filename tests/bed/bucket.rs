//! Creates buckets.

use aws_sdk_s3::Client;

/// Creates a bucket with objects.
pub async fn create(client: &Client, name: &str, objects: impl IntoIterator<Item = (String, Vec<u8>)>) {
    client.create_bucket().bucket(name).send().await.unwrap();
    for (key, bytes) in objects {
        client.put_object().bucket(name).key(key).body(bytes.into()).send().await.unwrap();
    }
}
