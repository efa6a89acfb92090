//! Stored object: an object's stored bytes, buffered as a whole or fetched in chunks each time they are read.

use super::{IngestAbort, time_limit};
use crate::object::Object;
use crate::source::{ByteRange, Source, SourceError};
use tokio::time::Instant;

/// An object's stored bytes.
#[derive(Debug)]
pub(super) struct StoredObject<'a> {
    source: &'a dyn Source,
    object: Object,
    /// No request continues after this time.
    stop: Instant,
    /// Size of the object in bytes.
    size: u64,
    /// Size of a chunk in bytes. The last chunk may be shorter.
    chunk_bytes: usize,
    /// The whole object, if it is buffered.
    whole: Option<Vec<u8>>,
    /// The CRC-32 of each fetched chunk.
    checksums: Vec<u32>,
}

impl<'a> StoredObject<'a> {
    /// Fetches the start of an object. If `size_hint` is at most `max_buffered_bytes`, requests the whole object,
    /// otherwise the first chunk of `chunk_bytes` bytes. If the response does not contain the whole object, returns its
    /// first chunk. No request continues after `stop`.
    pub(super) async fn fetch(
        source: &'a dyn Source,
        object: &Object,
        size_hint: Option<u64>,
        max_buffered_bytes: usize,
        chunk_bytes: usize,
        stop: Instant,
    ) -> Result<(Self, Option<Vec<u8>>), IngestAbort> {
        let object = object.clone();
        let mut stored = Self { source, object, stop, size: 0, chunk_bytes, whole: None, checksums: Vec::new() };
        // An object that is announced as small is fetched in one request. The response contains its actual size. If the
        // announcement is wrong, the object is read in chunks like other large objects.
        let mut first = if size_hint.is_some_and(|size_hint| size_hint <= max_buffered_bytes as u64) {
            let start = source.fetch_start(&stored.object, max_buffered_bytes.max(chunk_bytes));
            stored.request(start).await?.map_err(from_first_read)?
        } else {
            stored.range(0).await?.map_err(from_first_read)?
        };
        stored.size = first.size;
        if first.bytes.len() as u64 == first.size {
            stored.whole = Some(first.bytes);
            return Ok((stored, None));
        }
        first.bytes.truncate(chunk_bytes);
        first.bytes.shrink_to_fit();
        let first = stored.checked(0, first).map_err(from_first_read)?;
        stored.checksums.push(crc32fast::hash(&first));
        Ok((stored, Some(first)))
    }

    /// Returns all bytes, if they are buffered.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        self.whole.as_deref()
    }

    /// Returns the size in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Fetches the chunk after the last one, and records its checksum.
    pub(super) async fn next(&mut self) -> Result<Vec<u8>, IngestAbort> {
        let bytes = self.chunk(self.checksums.len()).await?.map_err(from_first_read)?;
        self.checksums.push(crc32fast::hash(&bytes));
        Ok(bytes)
    }

    /// Fetches a chunk again. Fails if its bytes differ from the first time.
    pub(super) async fn refetch(&self, number: usize) -> Result<Vec<u8>, IngestAbort> {
        let bytes = self.chunk(number).await??;
        match self.checksums.get(number) {
            Some(checksum) if *checksum == crc32fast::hash(&bytes) => Ok(bytes),
            _ => Err(self.mismatch(number, "different content than in the first read").into()),
        }
    }

    async fn chunk(&self, number: usize) -> Result<Result<Vec<u8>, SourceError>, IngestAbort> {
        Ok(self.range(number).await?.and_then(|part| self.checked(number, part)))
    }

    /// Requests the range of a chunk.
    async fn range(&self, number: usize) -> Result<Result<ByteRange, SourceError>, IngestAbort> {
        let from = number as u64 * self.chunk_bytes as u64;
        self.request(self.source.fetch_range(&self.object, from, self.chunk_bytes)).await
    }

    /// Runs a request within its time limit.
    async fn request<T>(
        &self,
        request: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<Result<T, SourceError>, IngestAbort> {
        time_limit::apply(&self.object, self.stop, request).await.map_err(IngestAbort::Deferred)
    }

    /// Returns the bytes of a chunk if it has the expected length. A shorter chunk would leave a gap before the next
    /// one.
    fn checked(&self, number: usize, part: ByteRange) -> Result<Vec<u8>, SourceError> {
        let from = number as u64 * self.chunk_bytes as u64;
        let expected = self.size.saturating_sub(from).min(self.chunk_bytes as u64);
        if part.size != self.size || part.bytes.len() as u64 != expected || expected == 0 {
            let found = format!("{} of {} bytes, expected {expected} of {}", part.bytes.len(), part.size, self.size);
            return Err(self.mismatch(number, &found));
        }
        Ok(part.bytes)
    }

    fn mismatch(&self, number: usize, found: &str) -> SourceError {
        SourceError::Unavailable(format!(
            "{}: the chunk at offset {} has {found}",
            self.object,
            number * self.chunk_bytes
        ))
    }
}

/// Maps an error of the first read to a reason for ending the attempt.
fn from_first_read(error: SourceError) -> IngestAbort {
    match error.quarantine_kind() {
        Some(kind) => IngestAbort::Quarantine { kind: kind.into(), reason: error.to_string() },
        None => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectRef;
    use crate::source::{ListPage, Listing};
    use async_trait::async_trait;
    use std::sync::Mutex;
    use std::time::Duration;

    /// A source with one object, returned for every key, which a test can change between two requests.
    #[derive(Debug)]
    struct MutableObject(Mutex<Vec<u8>>);

    #[async_trait]
    impl Source for MutableObject {
        async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
            Ok(at.clone())
        }

        async fn fetch(&self, _object: &Object) -> Result<Vec<u8>, SourceError> {
            Ok(self.0.lock().unwrap().clone())
        }

        async fn list(&self, _request: &Listing<'_>) -> Result<ListPage, SourceError> {
            Ok(ListPage::default())
        }
    }

    fn object() -> Object {
        Object { bucket: "logs".into(), key: "k".into(), etag: "e".into() }
    }

    fn distant_deadline() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    /// Returns the text of the error that ends the attempt.
    fn text<T: std::fmt::Debug>(result: Result<T, IngestAbort>) -> String {
        match result {
            Err(IngestAbort::Failed(error)) => error.to_string(),
            Err(_) => panic!("not a failure"),
            Ok(value) => panic!("no failure: {value:?}"),
        }
    }

    fn ok<T>(result: Result<T, IngestAbort>) -> T {
        result.unwrap_or_else(|_| panic!("failed"))
    }

    async fn chunks(source: &MutableObject, size_hint: Option<u64>) -> Vec<Vec<u8>> {
        let (mut stored, first) = ok(StoredObject::fetch(source, &object(), size_hint, 4, 4, distant_deadline()).await);
        let mut chunks: Vec<_> = first.or_else(|| stored.whole().map(<[u8]>::to_vec)).into_iter().collect();
        while (chunks.concat().len() as u64) < stored.size() {
            chunks.push(ok(stored.next().await));
        }
        chunks
    }

    #[tokio::test]
    async fn object_is_read_completely_with_a_wrong_size_hint() {
        for (bytes, expected) in [
            (&b"0123456789"[..], vec![&b"0123"[..], b"4567", b"89"]),
            (b"01234567", vec![b"0123", b"4567"]),
            (b"0123", vec![b"0123"]),
            (b"", vec![b""]),
        ] {
            let source = MutableObject(Mutex::new(bytes.to_vec()));
            // The sizes 0 to 4 announce a small object.
            for size_hint in [None, Some(0), Some(1), Some(4), Some(5), Some(8), Some(1 << 40)] {
                assert_eq!(chunks(&source, size_hint).await, expected, "{size_hint:?}");
            }
        }
    }

    /// A source with an endless object. It fails a request for more than 4 bytes.
    #[derive(Debug)]
    struct EndlessObject;

    #[async_trait]
    impl Source for EndlessObject {
        async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
            Ok(at.clone())
        }

        async fn fetch(&self, _object: &Object) -> Result<Vec<u8>, SourceError> {
            panic!("requested all bytes")
        }

        async fn fetch_start(&self, object: &Object, max_bytes: usize) -> Result<ByteRange, SourceError> {
            self.fetch_range(object, 0, max_bytes).await
        }

        async fn fetch_range(&self, _: &Object, _from: u64, max_bytes: usize) -> Result<ByteRange, SourceError> {
            assert!(max_bytes <= 4, "requested {max_bytes} bytes");
            Ok(ByteRange { bytes: vec![b'x'; max_bytes], size: 1 << 50 })
        }

        async fn list(&self, _request: &Listing<'_>) -> Result<ListPage, SourceError> {
            Ok(ListPage::default())
        }
    }

    #[tokio::test]
    async fn forged_small_size_reads_no_more_than_the_buffer() {
        for chunk_bytes in [2, 4] {
            let fetched =
                StoredObject::fetch(&EndlessObject, &object(), Some(1), 4, chunk_bytes, distant_deadline()).await;
            let (mut stored, first) = ok(fetched);
            assert_eq!((first.unwrap().len(), stored.size(), stored.whole()), (chunk_bytes, 1 << 50, None));
            assert_eq!(ok(stored.next().await).len(), chunk_bytes);
        }
    }

    /// A source that returns fewer bytes than requested.
    #[derive(Debug)]
    struct ShortReads(MutableObject);

    #[async_trait]
    impl Source for ShortReads {
        async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
            self.0.stat(at).await
        }

        async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
            self.0.fetch(object).await
        }

        async fn fetch_range(&self, object: &Object, from: u64, max_bytes: usize) -> Result<ByteRange, SourceError> {
            self.0.fetch_range(object, from, max_bytes - 1).await
        }

        async fn list(&self, request: &Listing<'_>) -> Result<ListPage, SourceError> {
            self.0.list(request).await
        }
    }

    #[tokio::test]
    async fn short_first_chunk_is_rejected() {
        let source = ShortReads(MutableObject(Mutex::new(b"0123456789".to_vec())));
        let error = text(StoredObject::fetch(&source, &object(), Some(10), 4, 4, distant_deadline()).await);
        assert_eq!(error, "fetch: s3://logs/k: the chunk at offset 0 has 3 of 10 bytes, expected 4 of 10");
    }

    #[tokio::test]
    async fn chunk_that_changed_since_the_first_read_is_rejected() {
        let source = MutableObject(Mutex::new(b"0123456789".to_vec()));
        let object = object();
        let (mut stored, first) = ok(StoredObject::fetch(&source, &object, Some(10), 4, 4, distant_deadline()).await);
        assert_eq!((first.unwrap(), ok(stored.next().await)), (b"0123".to_vec(), b"4567".to_vec()));
        assert_eq!(ok(stored.refetch(0).await), b"0123");
        *source.0.lock().unwrap() = b"0123x56789".to_vec();
        assert_eq!(ok(stored.refetch(0).await), b"0123");
        let error = text(stored.refetch(1).await);
        assert_eq!(error, "fetch: s3://logs/k: the chunk at offset 4 has different content than in the first read");
        *source.0.lock().unwrap() = b"01234567".to_vec();
        let error = text(stored.next().await);
        assert_eq!(error, "fetch: s3://logs/k: the chunk at offset 8 has 0 of 8 bytes, expected 2 of 10");
    }
}
