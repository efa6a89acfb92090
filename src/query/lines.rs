//! Reads JSON Lines files block by block: plain, gzip or zstd, from the file system or from a bucket.

use super::ScanProgress;
use super::scan::{FileStop, ScanThread, ScanVisitor};
use crate::object::{Object, ObjectRef};
use crate::source::Source;
use serde::de::IgnoredAny;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::runtime::Handle;

/// The size of a block in bytes. It fits into the cache of a core.
const BLOCK_BYTES: usize = 256 << 10;

/// The maximum length of a line in bytes: the decoder's limit for a value.
const MAX_LINE_BYTES: usize = 16 << 20;

/// The bytes of an object that are requested at once.
const RANGE_BYTES: usize = 8 << 20;

/// Reads a file of a folder. `size` is its size when it was listed. If `is_committed` is true, it is the committed length, and
/// nothing after it is read.
pub(super) fn read_path<V: ScanVisitor>(
    thread: &mut ScanThread<'_, V>,
    path: &Path,
    size: u64,
    is_committed: bool,
) -> Result<(), FileStop> {
    let file = File::open(path).map_err(|error| {
        FileStop::File(match error.kind() {
            io::ErrorKind::NotFound => "was removed during the scan".into(),
            _ => format!("cannot be opened: {error}"),
        })
    })?;
    let read = read(thread, file.take(if is_committed { size } else { u64::MAX }))?;
    if read < size {
        if is_committed {
            return Err(FileStop::File(format!("is shorter than committed: {read} of {size} bytes are left")));
        }
        return Err(FileStop::File(format!("became shorter during the scan: {read} of {size} bytes are left")));
    }
    Ok(())
}

/// Reads an object of a bucket in ranges.
pub(super) fn read_object<V: ScanVisitor>(thread: &mut ScanThread<'_, V>, at: &ObjectRef) -> Result<(), FileStop> {
    let object = at.object().ok_or_else(|| FileStop::File("has no ETag".into()))?;
    let (source, runtime) = (Arc::clone(&thread.shared.source), thread.shared.runtime.clone());
    read(thread, ObjectRanges { source, runtime, object, from: 0, range: Vec::new(), at: 0 }).map(drop)
}

/// Reads lines to the end of the input. Returns the number of stored bytes.
fn read<V: ScanVisitor>(thread: &mut ScanThread<'_, V>, input: impl Read) -> Result<u64, FileStop> {
    let progress = Arc::clone(&thread.shared.progress);
    let mut input = BufReader::with_capacity(64 << 10, CountedBytes { inner: input, bytes: 0, progress });
    let start = input.fill_buf().map_err(|error| unreadable(&error))?;
    let result = match start {
        [0x1f, 0x8b, ..] => read_lines(thread, &mut flate2::bufread::MultiGzDecoder::new(&mut input)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => read_zstd(thread, &mut input),
        _ => read_lines(thread, &mut input),
    };
    let bytes = input.get_ref().bytes;
    thread.report.bytes += bytes;
    result.map(|()| bytes)
}

#[cfg(feature = "zstd")]
fn read_zstd<V: ScanVisitor>(thread: &mut ScanThread<'_, V>, input: &mut impl BufRead) -> Result<(), FileStop> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input).map_err(|error| unreadable(&error))?;
    read_lines(thread, &mut decoder)
}

#[cfg(not(feature = "zstd"))]
fn read_zstd<V: ScanVisitor>(_: &mut ScanThread<'_, V>, _: &mut impl BufRead) -> Result<(), FileStop> {
    Err(FileStop::File("is compressed with zstd: use a build with the feature zstd".into()))
}

fn unreadable(error: &io::Error) -> FileStop {
    FileStop::File(format!("cannot be read: {error}"))
}

fn read_lines<V: ScanVisitor>(thread: &mut ScanThread<'_, V>, input: &mut impl Read) -> Result<(), FileStop> {
    let mut buffer = std::mem::take(&mut thread.buffer);
    let result = read_blocks(thread, input, &mut buffer);
    // The buffer of a long line is not kept.
    buffer.truncate(BLOCK_BYTES);
    buffer.shrink_to(BLOCK_BYTES);
    thread.buffer = buffer;
    result
}

fn read_blocks<V: ScanVisitor>(
    thread: &mut ScanThread<'_, V>,
    input: &mut impl Read,
    buffer: &mut Vec<u8>,
) -> Result<(), FileStop> {
    if buffer.len() < BLOCK_BYTES {
        buffer.resize(BLOCK_BYTES, 0);
    }
    let mut filled = 0;
    let mut is_start = true;
    // Whether the bytes up to the next line break belong to a line that is too long.
    let mut skips_line = false;
    loop {
        if thread.is_stopped() {
            return Err(FileStop::Scan);
        }
        let mut fault = None;
        let mut is_end = false;
        while filled < buffer.len() {
            match input.read(&mut buffer[filled..]) {
                Ok(0) => {
                    is_end = true;
                    break;
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    fault = Some(unreadable(&error));
                    break;
                }
            }
        }
        if std::mem::take(&mut is_start) && is_log_content(&buffer[..filled]) {
            return Err(FileStop::Log);
        }
        let mut start = 0;
        if skips_line {
            match memchr::memchr(b'\n', &buffer[..filled]) {
                Some(end) => (start, skips_line) = (end + 1, false),
                None => start = filled,
            }
        }
        // The lines that were read completely before a fault are valid.
        let end = memchr::memrchr(b'\n', &buffer[start..filled]).map_or(start, |last| start + last + 1);
        visit_lines(thread, &buffer[start..end])?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        if is_end {
            return last_line(thread, &buffer[end..filled]);
        }
        buffer.copy_within(end..filled, 0);
        filled -= end;
        if filled == buffer.len() {
            if filled >= MAX_LINE_BYTES {
                thread.count(1);
                thread.too_long();
                (filled, skips_line) = (0, true);
            } else {
                let longer = buffer.len() * 2;
                buffer.resize(longer, 0);
            }
        }
    }
}

/// Returns whether a file that starts with these bytes is one of CloudTrail's logs: an object with the events in `Records`.
fn is_log_content(start: &[u8]) -> bool {
    let object = start.trim_ascii_start().strip_prefix(b"{");
    let value = object.and_then(|members| members.trim_ascii_start().strip_prefix(b"\"Records\""));
    value.is_some_and(|value| value.trim_ascii_start().starts_with(b":"))
}

/// Visits lines, each with its line break.
fn visit_lines<V: ScanVisitor>(thread: &mut ScanThread<'_, V>, lines: &[u8]) -> Result<(), FileStop> {
    thread.count(memchr::memchr_iter(b'\n', lines).count() as u64);
    if let Some(prefilter) = &thread.shared.prefilter {
        let mut search = prefilter.search(lines);
        while let Some(line) = search.next_line() {
            thread.visit_line(line)?;
        }
        return Ok(());
    }
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', lines) {
        let line = &lines[start..end];
        start = end + 1;
        if !line.trim_ascii().is_empty() {
            thread.visit_line(line)?;
        }
    }
    Ok(())
}

/// Visits the bytes after the last line break, if they are a complete event.
fn last_line<V: ScanVisitor>(thread: &mut ScanThread<'_, V>, line: &[u8]) -> Result<(), FileStop> {
    if line.trim_ascii().is_empty() {
        return Ok(());
    }
    if serde_json::from_slice::<IgnoredAny>(line).is_err() {
        return Err(FileStop::File(format!(
            "ends with an incomplete line of {} bytes: it is still being written, or was truncated",
            line.len()
        )));
    }
    thread.count(1);
    match &thread.shared.prefilter {
        Some(prefilter) if !prefilter.admits(line) => Ok(()),
        _ => thread.visit_line(line),
    }
}

/// Counts the bytes that are read.
struct CountedBytes<R> {
    inner: R,
    bytes: u64,
    progress: Arc<ScanProgress>,
}

impl<R: Read> Read for CountedBytes<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.bytes += read as u64;
        self.progress.read_bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The bytes of one version of an object, requested range by range.
struct ObjectRanges {
    source: Arc<dyn Source>,
    runtime: Handle,
    object: Object,
    /// The offset of the next range.
    from: u64,
    range: Vec<u8>,
    /// The offset of the next byte in the current range.
    at: usize,
}

impl Read for ObjectRanges {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.range.len() {
            let request = self.source.fetch_range(&self.object, self.from, RANGE_BYTES);
            let answer = self.runtime.block_on(request).map_err(|error| io::Error::other(error.to_string()))?;
            self.from += answer.bytes.len() as u64;
            (self.range, self.at) = (answer.bytes, 0);
        }
        let left = &self.range[self.at..];
        let length = left.len().min(into.len());
        into[..length].copy_from_slice(&left[..length]);
        self.at += length;
        Ok(length)
    }
}
