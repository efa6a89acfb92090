//! `trailhose generate`: writes sample log files, or sends their events to a webhook.

#[cfg(feature = "forward")]
mod send;

use crate::args::GenerateArgs;
use crate::progress;
use crate::text::counted;
use indicatif::ProgressBar;
use std::path::Path;
use trailhose::generate::{EventsPerFile, SyntheticBucket};

const BAR: &str = "{bar:24.cyan/dim} {human_pos} of {human_len} files  {elapsed}, {eta} to go";

/// Runs the command and returns the exit code.
pub(crate) async fn run(args: &GenerateArgs) -> Result<u8, String> {
    let bucket = SyntheticBucket {
        accounts: args.accounts,
        regions: args.regions,
        days: args.days,
        overlap_percent: args.overlap,
        events: args.events.map_or(EventsPerFile::Measured, EventsPerFile::Exactly),
        ..SyntheticBucket::new(args.seed, args.files)
    };
    let Some(dir) = &args.dir else {
        let Some(url) = &args.to else { return Err("DIR is missing".into()) };
        #[cfg(feature = "forward")]
        return send::run(&bucket, url, &args.webhook).await;
        #[cfg(not(feature = "forward"))]
        return Err(format!("{url}: {}", crate::components::missing_feature("--to", "forward")));
    };
    crate::webhook::check_unused(&args.webhook, None)?;
    check_empty(dir)?;
    // indicatif draws nothing if standard error is not a terminal.
    let bar = ProgressBar::new(args.files.into()).with_style(progress::style(BAR));
    let bytes = write(&bucket, dir, &bar)?;
    bar.finish_and_clear();
    let (files, dir) = (counted(args.files.into(), "file"), dir.display());
    anstream::eprintln!(
        "wrote {files} with {} to {dir}; deliver them with: trailhose sync {dir} ./events",
        counted(bytes, "byte")
    );
    Ok(0)
}

/// Writes the files of the bucket, advances the bar after each, and returns the number of bytes.
fn write(bucket: &SyntheticBucket, dir: &Path, bar: &ProgressBar) -> Result<u64, String> {
    let mut bytes = 0;
    for (key, stored) in bucket.files() {
        let path = dir.join(key);
        let folder = path.parent().unwrap_or(dir);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, &stored))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        bytes += stored.len() as u64;
        bar.inc(1);
    }
    Ok(bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_advances_with_every_file() {
        let dir = tempfile::tempdir().unwrap();
        let bar = ProgressBar::hidden();
        let bytes = write(&SyntheticBucket::new(1, 7), dir.path(), &bar).unwrap();
        assert!(bytes > 0);
        assert_eq!(bar.position(), 7);
    }
}
