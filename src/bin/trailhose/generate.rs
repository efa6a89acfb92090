//! `trailhose generate`: writes sample log files.

use crate::args::GenerateArgs;
use std::path::Path;
use trailhose::generate::{EventsPerFile, SyntheticBucket};

/// Runs the command and returns the exit code.
pub(crate) fn run(args: &GenerateArgs) -> Result<u8, String> {
    check_empty(&args.dir)?;
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
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        bytes += stored.len();
    }
    let (files, dir) = (args.files, args.dir.display());
    anstream::eprintln!(
        "wrote {files} files with {bytes} bytes to {dir}; deliver them with: trailhose sync {dir} ./events"
    );
    Ok(0)
}

/// Checks that a folder is empty or does not exist. Files of another seed would make the result irreproducible.
fn check_empty(dir: &Path) -> Result<(), String> {
    match std::fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("{} is not empty; use a new folder", dir.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("cannot read {}: {error}", dir.display())),
    }
}
