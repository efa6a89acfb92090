//! An inventory, opened as the command line asks.

use crate::args::Location;
use crate::components::Aws;
use crate::labels::one_line;
use std::path::Path;
use trailhose::listing::inventory::Inventory;
use trailhose::listing::inventory::report_store::folder::Folder;
use trailhose::listing::inventory::report_store::{ReportStore, s3::S3};

/// Fetches and checks the report of `bucket` whose manifest lies at `location`.
pub(crate) async fn open(location: &Location, bucket: &str, aws: &Aws) -> Result<Inventory, String> {
    if bucket.starts_with("file://") {
        return Err("--inventory: S3 reports on buckets, and the source is a folder: name s3://bucket".into());
    }
    let (depot, key): (Box<dyn ReportStore>, String) = match location {
        Location::S3 { bucket, key } => (Box::new(S3::new(aws.s3().await, bucket)), key.clone()),
        Location::Path(path) => {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| format!("--inventory: {location} names no file; expected …/manifest.json"))?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            (Box::new(Folder::new(folder)), name.to_owned())
        }
    };
    Inventory::open(&*depot, &key, bucket).await.map_err(|error| error.to_string())
}

/// Where a report stands in time, and what that means, in one line.
pub(crate) fn age(report: &Inventory) -> String {
    let since = report.created().and_then(|time| jiff::Timestamp::from_second(time).ok());
    let since = since.map_or_else(|| "an unknown time".to_owned(), |time| time.to_string());
    one_line(&format!(
        "the inventory is of {since}: what was put since is not in it, and is found by a run without --inventory over the \
         days from then on"
    ))
}
