//! A Lambda function that does nothing. Its time from process start to the first request for work is the minimum for a
//! Lambda function in Rust. `benches/start` compares `ingest` with it.
#![forbid(unsafe_code)]

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;

#[tokio::main]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(async |_: LambdaEvent<Box<RawValue>>| Ok::<_, Error>(()))).await
}
