//! Creates Firehose streams.

use aws_sdk_firehose::Client;
use aws_sdk_firehose::types::ExtendedS3DestinationConfiguration;

/// Creates a stream that writes its records to a bucket.
pub async fn create(client: &Client, name: &str, bucket: &str) {
    let lake = ExtendedS3DestinationConfiguration::builder().role_arn("arn:aws:iam::000000000000:role/any");
    let lake = lake.bucket_arn(format!("arn:aws:s3:::{bucket}")).build().unwrap();
    let stream = client.create_delivery_stream().delivery_stream_name(name);
    stream.extended_s3_destination_configuration(lake).send().await.unwrap();
}
