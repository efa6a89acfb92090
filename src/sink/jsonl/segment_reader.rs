//! Reads the events of a segment, and one event at its position. A compressed segment is read member by member, so that
//! each event's position names the member that contains it.

use super::check::{FileFault, unreadable};
use super::segments::{CommittedSegments, Segment};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Where an event is in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPosition {
    /// The offset in the file, in bytes, of the gzip member or zstd frame that contains the event. In a file that is not
    /// compressed, the offset of the event.
    pub member: u64,
    /// The offset in the decompressed member, in bytes. 0 in a file that is not compressed.
    pub offset: u32,
    /// The length of the event in bytes, without the line break.
    pub length: u32,
}

/// Reads the events of one segment in order. Takes memory for the longest event.
pub struct SegmentReader {
    /// The current member. `None` after the last one.
    member: Option<BufReader<Member>>,
    format: FileFormat,
    /// The offset of the current member in the file.
    start: u64,
    /// The offset in the current member, after decompression.
    offset: u64,
    line: Vec<u8>,
}

impl SegmentReader {
    /// Opens a segment, after comparing its bytes with their checksum.
    ///
    /// # Errors
    /// Returns the fault if the file is missing or shorter than committed, or if the bytes were changed.
    pub fn open(segments: &CommittedSegments, segment: &Segment) -> Result<Self, FileFault> {
        let path = segments.path_of(segment)?;
        if let Some(committed) = segment.crc {
            let found = checksum(section(&path, segment.start, segment.length)?).map_err(|error| unreadable(&error))?;
            if found != committed {
                return Err(FileFault::Damaged(format!(
                    "was changed: the {} bytes from offset {} have checksum {found:08x}, but {committed:08x} is committed",
                    segment.length, segment.start
                )));
            }
        }
        let format = FileFormat::of(&segment.path)?;
        let input = SegmentBytes { inner: section(&path, segment.start, segment.length)?, position: segment.start };
        let member = next_member(format, input).map_err(damaged)?;
        Ok(Self { member, format, start: segment.start, offset: 0, line: Vec::new() })
    }

    /// Returns the next event, without its line break, and its position.
    ///
    /// # Errors
    /// Returns the fault if the segment cannot be read.
    pub fn next_event(&mut self) -> Result<Option<(EventPosition, &[u8])>, FileFault> {
        loop {
            let Some(member) = &mut self.member else { return Ok(None) };
            self.line.clear();
            let read = member.read_until(b'\n', &mut self.line).map_err(damaged)?;
            if read == 0 {
                let input = self.member.take().map(|member| member.into_inner().into_bytes());
                let Some(input) = input else { return Ok(None) };
                self.start = input.position;
                self.offset = 0;
                self.member = next_member(self.format, input).map_err(damaged)?;
                continue;
            }
            if self.line.pop() != Some(b'\n') {
                return Err(FileFault::Damaged("a committed line does not end with a line break".into()));
            }
            let offset = self.offset;
            self.offset += read as u64;
            let length = u32::try_from(self.line.len()).map_err(|_| too_long(self.line.len() as u64))?;
            let position = match self.format {
                FileFormat::Plain => EventPosition { member: self.start + offset, offset: 0, length },
                _ => EventPosition {
                    member: self.start,
                    offset: u32::try_from(offset).map_err(|_| too_long(offset))?,
                    length,
                },
            };
            return Ok(Some((position, &self.line)));
        }
    }
}

impl std::fmt::Debug for SegmentReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentReader")
            .field("start", &self.start)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

/// Reads the bytes of one event of the file at `path`. Decompresses at most the member that contains it.
///
/// # Errors
/// Returns the fault if the file is missing or shorter, or if there is no complete line at this position.
pub fn read_event(path: &Path, position: EventPosition) -> Result<Vec<u8>, FileFault> {
    let mut found = Vec::new();
    read_events(path, &[position], |event| event.clone_into(&mut found))?;
    Ok(found)
}

/// Reads events of the file at `path`, in the order of their positions, and passes the bytes of each to `each`. Decompresses
/// each member that contains one of them once.
///
/// # Errors
/// Returns the fault if the file is missing or shorter, or if there is no complete line at one of the positions.
pub fn read_events(path: &Path, positions: &[EventPosition], mut each: impl FnMut(&[u8])) -> Result<(), FileFault> {
    let format = FileFormat::of(&path.to_string_lossy())?;
    let mut event = Vec::new();
    for member_positions in positions.chunk_by(|one, other| one.member == other.member) {
        let start = member_positions[0].member;
        let input = SegmentBytes { inner: section(path, start, u64::MAX)?, position: start };
        let member = next_member(format, input).map_err(damaged)?;
        let mut member = member.ok_or_else(|| damaged(io::ErrorKind::UnexpectedEof.into()))?;
        let mut at = 0;
        for position in member_positions {
            let gap = u64::from(position.offset).checked_sub(at).ok_or_else(|| no_line(*position))?;
            event.resize(position.length as usize + 1, 0);
            let mut read = || {
                io::copy(&mut (&mut member).take(gap), &mut io::sink())?;
                member.read_exact(&mut event)
            };
            read().map_err(damaged)?;
            at = u64::from(position.offset) + event.len() as u64;
            match event.pop() {
                Some(b'\n') => each(&event),
                _ => return Err(no_line(*position)),
            }
        }
    }
    Ok(())
}

fn no_line(position: EventPosition) -> FileFault {
    FileFault::Damaged(format!(
        "was changed: no line of {} bytes is at offset {} of the member at {}",
        position.length, position.offset, position.member
    ))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileFormat {
    Plain,
    Gzip,
    #[cfg(feature = "zstd")]
    Zstd,
}

impl FileFormat {
    fn of(path: &str) -> Result<Self, FileFault> {
        let name = path.rsplit('/').next().unwrap_or(path);
        match name.split_once('.').map(|(_, extension)| extension) {
            Some("jsonl") => Ok(Self::Plain),
            Some("jsonl.gz") => Ok(Self::Gzip),
            #[cfg(feature = "zstd")]
            Some("jsonl.zst") => Ok(Self::Zstd),
            _ => Err(FileFault::Damaged("cannot be decompressed by this build of trailhose".into())),
        }
    }
}

/// The bytes of a segment as they are in the file.
struct SegmentBytes {
    inner: BufReader<io::Take<File>>,
    /// The offset in the file of the next byte.
    position: u64,
}

impl Read for SegmentBytes {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl BufRead for SegmentBytes {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.position += bytes as u64;
        self.inner.consume(bytes);
    }
}

/// A gzip member, a zstd frame, or the uncompressed bytes of a segment. Its end is the end of its input.
enum Member {
    Plain(SegmentBytes),
    Gzip(Box<flate2::bufread::GzDecoder<SegmentBytes>>),
    #[cfg(feature = "zstd")]
    Zstd(Box<zstd::stream::read::Decoder<'static, SegmentBytes>>),
}

impl Member {
    fn into_bytes(self) -> SegmentBytes {
        match self {
            Self::Plain(input) => input,
            Self::Gzip(decoder) => decoder.into_inner(),
            #[cfg(feature = "zstd")]
            Self::Zstd(decoder) => decoder.finish(),
        }
    }
}

impl Read for Member {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(into),
            Self::Gzip(decoder) => decoder.read(into),
            #[cfg(feature = "zstd")]
            Self::Zstd(decoder) => decoder.read(into),
        }
    }
}

/// Starts the member at the position of `input`. Returns `None` at its end.
fn next_member(format: FileFormat, mut input: SegmentBytes) -> io::Result<Option<BufReader<Member>>> {
    if input.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let member = match format {
        FileFormat::Plain => Member::Plain(input),
        FileFormat::Gzip => Member::Gzip(Box::new(flate2::bufread::GzDecoder::new(input))),
        #[cfg(feature = "zstd")]
        FileFormat::Zstd => Member::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(input)?.single_frame())),
    };
    Ok(Some(BufReader::with_capacity(64 << 10, member)))
}

/// Opens `length` bytes of a file from offset `start`.
fn section(path: &Path, start: u64, length: u64) -> Result<BufReader<io::Take<File>>, FileFault> {
    let open = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        Ok(BufReader::with_capacity(64 << 10, file.take(length)))
    };
    open().map_err(|error: io::Error| unreadable(&error))
}

fn checksum(mut from: impl BufRead) -> io::Result<u32> {
    let mut crc = crc32fast::Hasher::new();
    loop {
        let bytes = from.fill_buf()?;
        if bytes.is_empty() {
            return Ok(crc.finalize());
        }
        crc.update(bytes);
        let length = bytes.len();
        from.consume(length);
    }
}

fn damaged(error: io::Error) -> FileFault {
    FileFault::Damaged(format!("cannot be read: {error}"))
}

fn too_long(bytes: u64) -> FileFault {
    FileFault::Damaged(format!("contains a line or member of {bytes} bytes, which exceeds 4 GiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The position belongs to another file, or the file was changed.
    #[test]
    fn position_in_the_middle_of_a_line_is_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, "abc\ndef\n").unwrap();
        let read = |member, length| read_event(&path, EventPosition { member, offset: 0, length });
        assert_eq!(read(4, 3).unwrap(), b"def");
        for (member, length) in [(0, 2), (4, 2), (0, 4)] {
            let fault = read(member, length).unwrap_err().to_string();
            assert!(fault.contains("no line of"), "{fault}");
        }
    }
}
