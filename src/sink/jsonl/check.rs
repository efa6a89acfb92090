//! Checks committed files, quickly by their lengths or completely by their content.

use super::checkpoint::Destination;
use super::file::REPLACED_BY_A_FOLDER;
use super::files::{CommittedFile, FileChecks};
use super::{Jsonl, SinkError, blocking};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is wrong with a committed file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    /// It does not exist.
    #[error("is missing")]
    Missing,
    /// It is shorter than its committed length.
    #[error("is {found} bytes long, but {committed} bytes are committed")]
    Shorter {
        /// Its length in bytes.
        found: u64,
        /// Its committed length in bytes.
        committed: u64,
    },
    /// Bytes that this ledger did not write follow its committed length. Only [`super::verify`] reports this.
    #[error(
        "is {found} bytes long, but {committed} bytes are committed: another program appended to it. The next sync neither \
         reads nor removes these bytes, and continues in a new file. To remove them, truncate the file to its committed \
         length"
    )]
    Longer {
        /// Its length in bytes.
        found: u64,
        /// Its committed length in bytes.
        committed: u64,
    },
    /// Its committed bytes were changed, or they cannot be read.
    #[error("{0}")]
    Damaged(String),
}

/// A committed file that is not as it was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultyFile {
    /// The path of the file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: FileFault,
    /// The number of events in it. `None` if an earlier version of this program wrote it.
    pub events: Option<u64>,
}

/// The result of a check of all committed files of a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileCheck {
    /// Committed files.
    pub files: u64,
    /// The committed files with a fault.
    pub faulty: Vec<FaultyFile>,
}

impl Jsonl {
    /// Checks that every committed file exists and has at least its committed length. Reads no content.
    ///
    /// # Errors
    /// Errors of the ledger.
    pub async fn check_files(&self) -> Result<FileCheck, SinkError> {
        let state = Arc::clone(&self.state);
        blocking(move || state.destination.check_files()).await
    }
}

impl Destination {
    pub(super) fn check_files(&self) -> Result<FileCheck, SinkError> {
        let mut check = FileCheck::default();
        self.tables.each_file(&self.id, |file| {
            check.files += 1;
            if let Err(fault) = check_length(&self.root, &file) {
                check.faulty.push(faulty(&self.root, &file, fault));
            }
        })?;
        Ok(check)
    }
}

pub(super) fn faulty(root: &Path, file: &CommittedFile, fault: FileFault) -> FaultyFile {
    FaultyFile { path: root.join(file.path()), fault, events: file.checks.map(|checks| checks.lines) }
}

fn check_length(root: &Path, file: &CommittedFile) -> Result<(), FileFault> {
    match std::fs::metadata(root.join(file.path())) {
        Ok(found) if found.is_dir() => Err(FileFault::Damaged(format!("is a folder: {REPLACED_BY_A_FOLDER}"))),
        Ok(found) if !found.is_file() => Err(FileFault::Damaged(
            "is a device or a pipe: another program replaced the file. Remove it, and restore the file or deliver its events \
             again with `trailhose sync --rebuild`"
                .into(),
        )),
        Ok(found) if found.len() >= file.length => Ok(()),
        Ok(found) => Err(FileFault::Shorter { found: found.len(), committed: file.length }),
        Err(error) => Err(unreadable(&error)),
    }
}

pub(super) fn unreadable(error: &io::Error) -> FileFault {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FileFault::Missing,
        _ => FileFault::Damaged(format!("cannot be read: {error}")),
    }
}

/// The maximum size of a block of decompressed lines in bytes.
const BLOCK_BYTES: usize = 256 << 10;

/// Reads the committed bytes of a file, passes the decompressed lines to `each` in blocks of any length, and compares
/// the number of lines and the checksum with the committed ones.
pub(super) fn read_lines(root: &Path, file: &CommittedFile, mut each: impl FnMut(&[u8])) -> Result<(), FileFault> {
    check_length(root, file)?;
    let stored = File::open(root.join(file.path())).map_err(|error| unreadable(&error))?;
    let mut stored = ChecksumReader { inner: stored.take(file.length), crc: crc32fast::Hasher::new() };
    let mut lines = 0;
    let mut each = |block: &[u8]| {
        lines += block.iter().filter(|&&byte| byte == b'\n').count() as u64;
        each(block);
    };
    let read = match file.name.split_once('.').map(|(_, extension)| extension) {
        Some("jsonl") => blocks(&mut stored, &mut each),
        Some("jsonl.gz") => blocks(flate2::read::MultiGzDecoder::new(BufReader::new(&mut stored)), &mut each),
        #[cfg(feature = "zstd")]
        Some("jsonl.zst") => zstd::stream::read::Decoder::new(&mut stored).and_then(|zstd| blocks(zstd, &mut each)),
        _ => Err(io::Error::other("this build of trailhose cannot decompress it")),
    };
    // A decompressor may stop before the end. The checksum includes the remaining bytes.
    let read = read.and_then(|()| io::copy(&mut stored, &mut io::sink()));
    read.map_err(|error| FileFault::Damaged(format!("cannot be read: {error}")))?;
    let found = FileChecks { lines, crc: stored.crc.finalize() };
    match file.checks {
        Some(committed) if committed != found => Err(FileFault::Damaged(format!(
            "was changed: its first {} bytes have {} lines and checksum {:08x}, but {} lines and checksum {:08x} are \
             committed",
            file.length, found.lines, found.crc, committed.lines, committed.crc
        ))),
        _ => Ok(()),
    }
}

fn blocks(mut from: impl Read, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        match from.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(length) => each(&block[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

struct ChecksumReader<R> {
    inner: R,
    crc: crc32fast::Hasher,
}

impl<R: Read> Read for ChecksumReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(into)?;
        self.crc.update(&into[..length]);
        Ok(length)
    }
}
