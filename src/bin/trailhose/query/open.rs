//! Opens the events of a query: a folder or a bucket, with its index if there is one.

use crate::args::{DestArgs, Location, ReadingArgs};
use crate::components::{self, Aws};
use crate::followers::{self, FollowedFolder, SKIPPED_EVENTS};
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
    let scan = Arc::new(scan.map_err(|error| error.to_string())?);
    let index = index(&scan, args);
    Ok(LocalEngine::new(scan).arrived_until(args.delivered_until).with_index(index))
}

/// Returns the index of the folder, if it contains every delivered event.
fn index(scan: &QueryScan, args: &ReadingArgs) -> Option<IndexLookup> {
    let folder = scan.folder()?;
    if !folder.join(".trailhose").join(trailhose::index::INDEX_FILE).exists() {
        return None;
    }
    // The record of the files is needed only to use the index. Without it, the files are read.
    let dest = DestArgs { dest: Some(folder.to_owned()), ledger: args.ledger.clone() };
    let followed = FollowedFolder::open(&dest).ok()?;
    match followed.not_indexed() {
        Ok(0) if lacks_skipped_events(&followed) => None,
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
