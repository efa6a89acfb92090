//! Stored: an object's stored bytes, buffered as a whole or fetched in chunks each time they are read.

use crate::object::Object;
use crate::source::{ByteRange, Source, SourceError};

/// An object's stored bytes.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    source: &'a dyn Source,
    object: Object,
    /// Size of the object in bytes.
    size: u64,
    /// Size of a chunk in bytes. The last chunk may be shorter.
    chunk_bytes: usize,
    /// The whole object, if it is buffered.
    whole: Option<Vec<u8>>,
    /// The CRC-32 of each fetched chunk.
    checksums: Vec<u32>,
}

impl<'a> Stored<'a> {
    /// Fetches an object of about `size_hint` bytes: the whole object if that is at most `max_buffered_bytes`,
    /// otherwise a first chunk of `chunk_bytes` bytes, which is returned.
    pub(super) async fn fetch(
        source: &'a dyn Source,
        object: &Object,
        size_hint: Option<u64>,
        max_buffered_bytes: usize,
        chunk_bytes: usize,
    ) -> Result<(Self, Option<Vec<u8>>), SourceError> {
        let mut stored =
            Self { source, object: object.clone(), size: 0, chunk_bytes, whole: None, checksums: Vec::new() };
        // An object that is announced as small is fetched in one request. The response contains its actual size.
        if size_hint.is_some_and(|size_hint| size_hint <= max_buffered_bytes as u64) {
            let whole = source.fetch(object).await?;
            stored.size = whole.len() as u64;
            stored.whole = Some(whole);
            return Ok((stored, None));
        }
        let first = source.fetch_range(object, 0, chunk_bytes).await?;
        stored.size = first.size;
        if first.bytes.len() as u64 == first.size {
            stored.whole = Some(first.bytes);
            return Ok((stored, None));
        }
        let first = stored.checked(0, first)?;
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
    pub(super) async fn next(&mut self) -> Result<Vec<u8>, SourceError> {
        let bytes = self.chunk(self.checksums.len()).await?;
        self.checksums.push(crc32fast::hash(&bytes));
        Ok(bytes)
    }

    /// Fetches a chunk again. Fails if its bytes differ from the first time.
    pub(super) async fn refetch(&self, number: usize) -> Result<Vec<u8>, SourceError> {
        let bytes = self.chunk(number).await?;
        match self.checksums.get(number) {
            Some(checksum) if *checksum == crc32fast::hash(&bytes) => Ok(bytes),
            _ => Err(self.mismatch(number, "different content than in the first read")),
        }
    }

    async fn chunk(&self, number: usize) -> Result<Vec<u8>, SourceError> {
        let from = number as u64 * self.chunk_bytes as u64;
        let part = self.source.fetch_range(&self.object, from, self.chunk_bytes).await?;
        self.checked(number, part)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectRef;
    use crate::source::{ListPage, Listing};
    use async_trait::async_trait;
    use std::sync::Mutex;

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

        async fn list(&self, _ask: &Listing<'_>) -> Result<ListPage, SourceError> {
            Ok(ListPage::default())
        }
    }

    fn object() -> Object {
        Object { bucket: "logs".into(), key: "k".into(), etag: "e".into() }
    }

    async fn chunks(source: &MutableObject, size_hint: Option<u64>) -> Result<Vec<Vec<u8>>, SourceError> {
        let (mut stored, first) = Stored::fetch(source, &object(), size_hint, 4, 4).await?;
        let mut chunks: Vec<_> = first.or_else(|| stored.whole().map(<[u8]>::to_vec)).into_iter().collect();
        while (chunks.concat().len() as u64) < stored.size() {
            chunks.push(stored.next().await?);
        }
        Ok(chunks)
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
            for size_hint in [None, Some(5), Some(8), Some(1 << 40)] {
                assert_eq!(chunks(&source, size_hint).await.unwrap(), expected, "{size_hint:?}");
            }
            // An object that is announced as small is fetched in one request.
            assert_eq!(chunks(&source, Some(1)).await.unwrap(), [bytes]);
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

        async fn list(&self, ask: &Listing<'_>) -> Result<ListPage, SourceError> {
            self.0.list(ask).await
        }
    }

    #[tokio::test]
    async fn short_first_chunk_is_rejected() {
        let source = ShortReads(MutableObject(Mutex::new(b"0123456789".to_vec())));
        let error = Stored::fetch(&source, &object(), Some(10), 4, 4).await.unwrap_err().to_string();
        assert_eq!(error, "s3://logs/k: the chunk at offset 0 has 3 of 10 bytes, expected 4 of 10");
    }

    #[tokio::test]
    async fn chunk_that_changed_since_the_first_read_is_rejected() {
        let source = MutableObject(Mutex::new(b"0123456789".to_vec()));
        let object = object();
        let (mut stored, first) = Stored::fetch(&source, &object, Some(10), 4, 4).await.unwrap();
        assert_eq!((first.unwrap(), stored.next().await.unwrap()), (b"0123".to_vec(), b"4567".to_vec()));
        assert_eq!(stored.refetch(0).await.unwrap(), b"0123");
        *source.0.lock().unwrap() = b"0123x56789".to_vec();
        assert_eq!(stored.refetch(0).await.unwrap(), b"0123");
        let error = stored.refetch(1).await.unwrap_err().to_string();
        assert_eq!(error, "s3://logs/k: the chunk at offset 4 has different content than in the first read");
        *source.0.lock().unwrap() = b"01234567".to_vec();
        let error = stored.next().await.unwrap_err().to_string();
        assert_eq!(error, "s3://logs/k: the chunk at offset 8 has 0 of 8 bytes, expected 2 of 10");
    }
}
