//! Files of the destination: append, cut, sync. Each call opens what it needs and closes it, so that a thousand
//! partitions need no thousand handles.

use super::{Compression, SinkError};
use flate2::write::GzEncoder;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

impl Compression {
    /// What a file's name ends with.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::None => "jsonl",
            Self::Gzip => "jsonl.gz",
            #[cfg(feature = "zstd")]
            Self::Zstd => "jsonl.zst",
        }
    }
}

/// Appends `lines` after byte `start`, as one gzip member or zstd frame where compressed, and returns the file's length
/// once it is on the disk. A `start` of 0 is a file that must not exist yet.
pub(super) fn append(path: &Path, start: u64, lines: &[&[u8]], compression: Compression) -> io::Result<u64> {
    let mut file = OpenOptions::new().write(true).create_new(start == 0).open(path)?;
    let length = file.metadata()?.len();
    if length != start {
        return Err(io::Error::other(format!("is {length} bytes long where {start} are expected")));
    }
    file.seek(SeekFrom::Start(start))?;
    let mut file = BufWriter::with_capacity(128 * 1024, file);
    match compression {
        Compression::None => write_all_lines(&mut file, lines)?,
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(&mut file, flate2::Compression::default());
            write_all_lines(&mut encoder, lines)?;
            encoder.finish()?;
        }
        #[cfg(feature = "zstd")]
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(&mut file, zstd::DEFAULT_COMPRESSION_LEVEL)?;
            encoder.include_checksum(true)?;
            encoder.set_pledged_src_size(Some(lines.iter().map(|lines| lines.len() as u64).sum()))?;
            write_all_lines(&mut encoder, lines)?;
            encoder.finish()?;
        }
    }
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

fn write_all_lines(to: &mut impl Write, lines: &[&[u8]]) -> io::Result<()> {
    lines.iter().try_for_each(|lines| to.write_all(lines))
}

/// Cuts a file to `length` bytes, on the disk too. A file that is shorter is an error: what was committed is gone.
pub(super) fn truncate(path: &Path, length: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let found = file.metadata()?.len();
    if found < length {
        return Err(io::Error::other(truncated_message(found, length)));
    }
    if found > length {
        file.set_len(length)?;
        file.sync_all()?;
    }
    Ok(())
}

pub(super) fn truncated_message(found: u64, length: u64) -> String {
    format!(
        "is {found} bytes long, but {length} were written and committed: it was shortened from outside; \
         put it back, or move it away to go on without it"
    )
}

/// Writes a small file as a whole: after a crash it holds either what it held before or all of this.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Removes a file that may be gone already, on the disk too.
pub(super) fn remove(path: &Path) -> Result<(), SinkError> {
    let removed = match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed.and_then(|()| path.parent().map_or(Ok(()), sync_folder)),
    };
    removed.map_err(|error| io_error("remove", path, &error))
}

/// What an error of the file system means to the caller.
pub(super) fn io_error(what: &str, path: &Path, error: &io::Error) -> SinkError {
    let text = format!("cannot {what} {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => SinkError::Denied(text),
        _ => SinkError::Unavailable(text),
    }
}
