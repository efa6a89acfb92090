//! File operations of the destination: append, truncate and sync. Each call opens and closes the files it needs, so
//! that many partitions do not need many open handles.

use super::{Compression, SinkError};
use crate::disk::Disk;
use flate2::write::GzEncoder;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

impl Compression {
    /// Returns the file name extension, without a leading dot.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::None => "jsonl",
            Self::Gzip => "jsonl.gz",
            #[cfg(feature = "zstd")]
            Self::Zstd => "jsonl.zst",
        }
    }
}

/// A completed append.
#[derive(Debug, Clone, Default)]
pub(super) struct Appended {
    /// The new length of the file in bytes.
    pub(super) length: u64,
    /// The checksum of the appended bytes, as they are in the file.
    pub(super) crc: crc32fast::Hasher,
}

/// A writer that computes the checksum of what it writes.
struct ChecksumWriter<W> {
    inner: W,
    crc: crc32fast::Hasher,
}

impl<W: Write> Write for ChecksumWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.crc.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The maximum size of a gzip member or zstd frame before compression, in bytes. A longer line gets one of its own. A
/// reader of one event decompresses only its member.
const MEMBER_BYTES: usize = 1024 * 1024;

/// Appends `lines` at offset `start`, in gzip members or zstd frames of at most [`MEMBER_BYTES`] if compressed, and syncs
/// the file.
///
/// # Errors
/// Returns an error if the file's length is not `start`. With a `start` of 0, the file must not exist.
pub(super) fn append(
    disk: &dyn Disk,
    path: &Path,
    start: u64,
    lines: &[&[u8]],
    compression: Compression,
) -> io::Result<Appended> {
    let mut file = OpenOptions::new().write(true).create_new(start == 0).open(path)?;
    let length = file.metadata()?.len();
    if length != start {
        return Err(io::Error::other(format!("is {length} bytes long, but {start} bytes are expected")));
    }
    file.seek(SeekFrom::Start(start))?;
    let file = ChecksumWriter { inner: file, crc: crc32fast::Hasher::new() };
    let mut file = BufWriter::with_capacity(128 * 1024, file);
    match compression {
        Compression::None => write_all_lines(&mut file, lines)?,
        Compression::Gzip => {
            for member in members(lines) {
                let mut encoder = GzEncoder::new(&mut file, flate2::Compression::default());
                write_all_lines(&mut encoder, member)?;
                encoder.finish()?;
            }
        }
        #[cfg(feature = "zstd")]
        Compression::Zstd => {
            for frame in members(lines) {
                let mut encoder = zstd::stream::write::Encoder::new(&mut file, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                encoder.include_checksum(true)?;
                encoder.set_pledged_src_size(Some(frame.iter().map(|lines| lines.len() as u64).sum()))?;
                write_all_lines(&mut encoder, frame)?;
                encoder.finish()?;
            }
        }
    }
    let ChecksumWriter { inner: file, crc } = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    disk.sync_file(&file, path)?;
    Ok(Appended { length: file.metadata()?.len(), crc })
}

/// Groups blocks of lines into members.
fn members<'a, 'b>(lines: &'a [&'b [u8]]) -> impl Iterator<Item = &'a [&'b [u8]]> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|block| {
            bytes += block.len();
            bytes <= MEMBER_BYTES
        });
        let (member, later) = rest.split_at(fitting.count().max(1).min(rest.len()));
        rest = later;
        (!member.is_empty()).then_some(member)
    })
}

fn write_all_lines(to: &mut impl Write, lines: &[&[u8]]) -> io::Result<()> {
    lines.iter().try_for_each(|lines| to.write_all(lines))
}

/// Truncates a file to `length` bytes and syncs it.
///
/// # Errors
/// Returns an error if the file is shorter than `length`, because committed bytes are missing.
pub(super) fn truncate(disk: &dyn Disk, path: &Path, length: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let found = file.metadata()?.len();
    if found < length {
        return Err(io::Error::other(truncated_message(found, length)));
    }
    if found > length {
        file.set_len(length)?;
        disk.sync_file(&file, path)?;
    }
    Ok(())
}

pub(super) fn truncated_message(found: u64, length: u64) -> String {
    format!(
        "is {found} bytes long, but {length} bytes are committed: another program truncated it; restore it, or move it \
         away to continue in a new file"
    )
}

/// Atomically replaces a small file. After a crash it has either the old or the new content.
pub(super) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    disk.sync_file(&file, &fresh)?;
    std::fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), |folder| disk.sync_folder(folder))
}

/// Removes a file, if it exists, and syncs its folder.
pub(super) fn remove(disk: &dyn Disk, path: &Path) -> Result<(), SinkError> {
    let removed = match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed.and_then(|()| path.parent().map_or(Ok(()), |folder| disk.sync_folder(folder))),
    };
    removed.map_err(|error| io_error("remove", path, &error))
}

/// What happened to a file whose path is a folder now, and what to do.
pub(super) const REPLACED_BY_A_FOLDER: &str = "another program replaced the file. Move the folder out of the destination, \
                                               and restore the file or deliver its events again with `trailhose sync \
                                               --rebuild`";

/// Maps an error of the file system to a sink error. `action` is a verb such as "write".
pub(super) fn io_error(action: &str, path: &Path, error: &io::Error) -> SinkError {
    if error.kind() == io::ErrorKind::IsADirectory {
        return SinkError::Unavailable(format!(
            "cannot {action} {}: it is a folder: {REPLACED_BY_A_FOLDER}",
            path.display()
        ));
    }
    let text = format!("cannot {action} {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => SinkError::Denied(text),
        _ => SinkError::Unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_at_most_1_mib_unless_one_block_is_longer() {
        let blocks: Vec<Vec<u8>> =
            [400_000, 600_000, 48_576, 1, 2_000_000, 1_048_576, 5].map(|length| vec![0; length]).into();
        let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
        let sizes: Vec<Vec<usize>> =
            members(&blocks).map(|member| member.iter().map(|block| block.len()).collect()).collect();
        assert_eq!(sizes, [vec![400_000, 600_000, 48_576], vec![1], vec![2_000_000], vec![1_048_576], vec![5]]);
        assert_eq!(members(&[]).count(), 0);
    }
}
