//! `trailhose generate`: a bucket to try things on.

use crate::args::GenerateArgs;
use std::path::Path;
use trailhose::generate::{SyntheticBucket, EventsPerFile};

/// Runs the command and returns the exit code.
pub(crate) fn run(args: &GenerateArgs) -> Result<u8, String> {
    empty(&args.dir)?;
    let bucket = SyntheticBucket {
        accounts: args.accounts,
        regions: args.regions,
        days: args.days,
        overlap_percent: args.overlap,
        events: args.events.map_or(EventsPerFile::Measured, EventsPerFile::Exactly),
        ..SyntheticBucket::new(args.seed, args.files)
    };
    let mut bytes = 0;
    for (key, stored) in bucket.files() {
        let path = args.dir.join(key);
        let folder = path.parent().unwrap_or(&args.dir);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, &stored))
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        bytes += stored.len();
    }
    let (files, dir) = (args.files, args.dir.display());
    anstream::eprintln!("{files} files of {bytes} bytes in {dir}; deliver them with: trailhose sync {dir} ./events");
    Ok(0)
}

/// Files of another seed among these would make a bucket that no seed makes again.
fn empty(dir: &Path) -> Result<(), String> {
    match std::fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("{} is not empty; name a new folder", dir.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{} cannot be read: {error}", dir.display())),
    }
}
