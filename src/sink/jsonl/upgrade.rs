//! Completes the record of a folder whose files an earlier version wrote. That version recorded only the last file of
//! each partition. The other files are complete, because a file is never changed after the next one is started.

use super::checkpoint::Destination;
use super::file::io_error;
use super::files::{self, CommittedFile};
use super::segments::NewSegment;
use super::{SinkError, sink_error};
use std::fs::DirEntry;
use std::io;
use std::path::Path;

impl Destination {
    /// Records the files of this ledger that are in the folder but not in the table. Their present lengths become their
    /// committed lengths.
    pub(super) fn record_older_files(&self) -> Result<(), SinkError> {
        if self.tables.is_complete(&self.id)? {
            return Ok(());
        }
        let mut found = Vec::new();
        for account in entries(&self.root, "account=")? {
            for region in entries(&account.path(), "region=")? {
                for date in entries(&region.path(), "date=")? {
                    let partition =
                        [&account, &region, &date].map(|folder| folder.file_name().to_string_lossy().into_owned());
                    for file in entries(&date.path(), &self.file_prefix())? {
                        found.extend(self.older_file(&partition.join("/"), &file)?);
                    }
                }
            }
        }
        let committed = self.journal.commit(|connection| {
            for file in &found {
                file.put(connection, &self.id)?;
                NewSegment::of_file(file).put(connection, &self.id, 0)?;
            }
            files::put_complete(connection, &self.id)
        });
        committed.map_err(sink_error)
    }

    fn older_file(&self, partition: &str, file: &DirEntry) -> Result<Option<CommittedFile>, SinkError> {
        let name = file.file_name().to_string_lossy().into_owned();
        let digits = name.strip_prefix(&self.file_prefix()).and_then(|rest| rest.split('.').next());
        let Some(number) = digits.and_then(|digits| digits.parse().ok()) else { return Ok(None) };
        if self.tables.file(&self.id, partition, &name)?.is_some() {
            return Ok(None);
        }
        let length = file.metadata().map_err(|error| io_error("read the length of", &file.path(), &error))?.len();
        let partition = partition.to_owned();
        Ok(Some(CommittedFile { partition, number, name, length, content_bytes: length, checks: None }))
    }
}

/// Returns the entries of a folder whose names start with `start`. An absent folder has none.
fn entries(folder: &Path, start: &str) -> Result<Vec<DirEntry>, SinkError> {
    let failed = |error| io_error("list", folder, &error);
    let listed = match std::fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        listed => listed.map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?,
    };
    Ok(listed.into_iter().filter(|entry| entry.file_name().to_string_lossy().starts_with(start)).collect())
}
