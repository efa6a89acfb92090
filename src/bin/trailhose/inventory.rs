//! Opens the inventory report of `--inventory`.

use crate::args::Location;
use crate::components::Aws;
use crate::text::one_line;
use std::path::Path;
use trailhose::listing::inventory::Inventory;
use trailhose::listing::inventory::report_store::folder::FolderReportStore;
use trailhose::listing::inventory::report_store::{ReportStore, s3::S3ReportStore};

/// Fetches and checks the report of `bucket` whose manifest is at `location`.
pub(crate) async fn open(location: &Location, bucket: &str, aws: &Aws) -> Result<Inventory, String> {
    if bucket.starts_with("file://") {
        return Err("--inventory requires a bucket as SOURCE, not a folder: use s3://bucket".into());
    }
    let (store, key): (Box<dyn ReportStore>, String) = match location {
        Location::S3 { bucket, key } => (Box::new(S3ReportStore::new(aws.s3().await?, bucket)), key.clone()),
        Location::Path(path) => {
            let name = path.file_name().and_then(|name| name.to_str());
            let name =
                name.ok_or_else(|| format!("--inventory: {location} is not a file; expected …/manifest.json"))?;
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            (Box::new(FolderReportStore::new(folder)), name.to_owned())
        }
    };
    Inventory::open(&*store, &key, bucket).await.map_err(|error| error.to_string())
}

/// Returns a warning with the creation time of the report.
pub(crate) fn age_warning(report: &Inventory) -> String {
    let since = report.created().and_then(|time| jiff::Timestamp::from_second(time).ok());
    let since = since.map_or_else(|| "an unknown time".to_owned(), |time| time.to_string());
    one_line(&format!(
        "the inventory was created at {since}: it does not contain later objects; to find them, run again without \
         --inventory for the days since then"
    ))
}
