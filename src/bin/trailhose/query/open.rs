//! Opens the events of a query: a folder or a bucket, with its index if there is one.

use crate::args::{DestArgs, Location, ReadingArgs};
use crate::components::{self, Aws};
use crate::followers::{self, FollowedFolder, SKIPPED_EVENTS};
use crate::ledger::files::FileRecord;
use crate::text::one_line;
use std::sync::Arc;
use trailhose::aws::BucketAccess;
use trailhose::index::Index;
use trailhose::query::{IndexLookup, LocalEngine, QueryScan};

/// Opens the source. Without a source, opens the folder that the settings name.
pub(crate) async fn engine(source: Option<&Location>, args: &ReadingArgs, aws: &Aws) -> Result<LocalEngine, String> {
    let location = match source {
        Some(location) => location.clone(),
        None => Location::Path(followers::default_folder("SOURCE")?),
    };
    let mut access = BucketAccess::default();
    args.access.apply(&mut access);
    let opened = components::source(&location, &access, aws).await?;
    let threads = args.threads.unwrap_or_else(|| components::jobs(&location));
    let scan = QueryScan::open(opened.source, &opened.bucket, &opened.prefix, opened.folder, threads).await;
    let scan = scan.map_err(|error| error.to_string())?;
    // Opened once: closing a second connection to the file would release the locks of the first one.
    let followed = record(&scan, args)?;
    let index = followed.as_ref().and_then(index);
    let scan = Arc::new(scan.with_record(followed.map(|followed| followed.segments)));
    Ok(LocalEngine::new(scan).arrived_until(args.delivered_until).with_index(index))
}

/// Opens the record of the files of a folder of `trailhose sync`. Without a record, for example in a copy of the folder,
/// every file is read.
///
/// # Errors
/// The ledger that the arguments name is not the one of the folder.
fn record(scan: &QueryScan, args: &ReadingArgs) -> Result<Option<FollowedFolder>, String> {
    let Some(folder) = scan.folder() else { return Ok(None) };
    if args.ledger.is_none() && FileRecord::find(folder, None).is_err() {
        return Ok(None);
    }
    let dest = DestArgs { dest: Some(folder.to_owned()), ledger: args.ledger.clone() };
    match FollowedFolder::open(&dest) {
        Ok(followed) => Ok(Some(followed)),
        Err(error) if args.ledger.is_some() => Err(error),
        Err(error) => {
            let folder = folder.display();
            let warning = format!("every file of {folder} is read, because the record of its files cannot be: {error}");
            anstream::eprintln!("warning: {}", one_line(&warning));
            Ok(None)
        }
    }
}

/// Returns the index of the folder, if it contains every delivered event.
fn index(followed: &FollowedFolder) -> Option<IndexLookup> {
    if !followed.index_path().exists() {
        return None;
    }
    match followed.not_indexed() {
        Ok(0) if lacks_skipped_events(followed) => None,
        Ok(0) => Some(IndexLookup::new(followed.index_path(), followed.segments.root().to_owned())),
        Ok(_) | Err(_) => None,
    }
}

/// Returns whether the index lacks events that were skipped, and says so.
fn lacks_skipped_events(followed: &FollowedFolder) -> bool {
    let index = Index::open_read_only(&followed.index_path());
    let is_lacking = index.is_ok_and(|index| index.has_skipped_events().unwrap_or(true));
    if is_lacking {
        anstream::eprintln!("warning: the index is not used: {SKIPPED_EVENTS}");
    }
    is_lacking
}
