//! Stored: an object's bytes as they lie in the bucket, at hand as a whole or fetched piece by piece, each time anew.

use crate::object::Object;
use crate::source::{Part, Source, SourceError};

/// An object's bytes.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    source: &'a dyn Source,
    object: Object,
    /// How many there are.
    size: u64,
    /// Bytes of a piece, but for the last.
    each: usize,
    /// All of them, where they fit into a piece.
    whole: Option<Vec<u8>>,
    /// The checksum of each piece that was fetched.
    sums: Vec<u32>,
}

impl<'a> Stored<'a> {
    /// Fetches an object that is said to have `said` bytes: all of it, if these are no more than `hold`, or a first piece of
    /// `each` bytes.
    pub(super) async fn fetch(
        source: &'a dyn Source,
        object: &Object,
        said: Option<u64>,
        hold: usize,
        each: usize,
    ) -> Result<(Self, Option<Vec<u8>>), SourceError> {
        let mut stored = Self { source, object: object.clone(), size: 0, each, whole: None, sums: Vec::new() };
        // In one request where it is known to be small; what it has in truth, the answer says.
        if said.is_some_and(|said| said <= hold as u64) {
            let whole = source.fetch(object).await?;
            stored.size = whole.len() as u64;
            stored.whole = Some(whole);
            return Ok((stored, None));
        }
        let first = source.fetch_part(object, 0, each).await?;
        stored.size = first.size;
        if first.bytes.len() as u64 == first.size {
            stored.whole = Some(first.bytes);
            return Ok((stored, None));
        }
        let first = stored.checked(0, first)?;
        stored.sums.push(crc32fast::hash(&first));
        Ok((stored, Some(first)))
    }

    /// All bytes, where they are at hand.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        self.whole.as_deref()
    }

    /// How many bytes there are.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Fetches the next piece behind those fetched so far, for the first time.
    pub(super) async fn next(&mut self) -> Result<Vec<u8>, SourceError> {
        let bytes = self.piece(self.sums.len()).await?;
        self.sums.push(crc32fast::hash(&bytes));
        Ok(bytes)
    }

    /// Fetches a piece again. It is refused if it is not, bit by bit, what was read before.
    pub(super) async fn again(&self, number: usize) -> Result<Vec<u8>, SourceError> {
        let bytes = self.piece(number).await?;
        match self.sums.get(number) {
            Some(sum) if *sum == crc32fast::hash(&bytes) => Ok(bytes),
            _ => Err(self.unlike(number, "other bytes than when it was read before")),
        }
    }

    async fn piece(&self, number: usize) -> Result<Vec<u8>, SourceError> {
        let from = number as u64 * self.each as u64;
        let part = self.source.fetch_part(&self.object, from, self.each).await?;
        self.checked(number, part)
    }

    /// The bytes of a piece that is as long as it has to be. One that is not would leave a gap before the next.
    fn checked(&self, number: usize, part: Part) -> Result<Vec<u8>, SourceError> {
        let from = number as u64 * self.each as u64;
        let expected = self.size.saturating_sub(from).min(self.each as u64);
        if part.size != self.size || part.bytes.len() as u64 != expected || expected == 0 {
            let found = format!("{} of {} bytes, expected {expected} of {}", part.bytes.len(), part.size, self.size);
            return Err(self.unlike(number, &found));
        }
        Ok(part.bytes)
    }

    fn unlike(&self, number: usize, found: &str) -> SourceError {
        SourceError::Unavailable(format!("{}: the piece from byte {} on has {found}", self.object, number * self.each))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectRef;
    use crate::source::{ListPage, Listing};
    use async_trait::async_trait;
    use std::sync::Mutex;

    /// One object, whatever it is called, that a test may change between two requests.
    #[derive(Debug)]
    struct Changing(Mutex<Vec<u8>>);

    #[async_trait]
    impl Source for Changing {
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

    async fn pieces(source: &Changing, said: Option<u64>) -> Result<Vec<Vec<u8>>, SourceError> {
        let (mut stored, first) = Stored::fetch(source, &object(), said, 4, 4).await?;
        let mut pieces: Vec<_> = first.or_else(|| stored.whole().map(<[u8]>::to_vec)).into_iter().collect();
        while (pieces.concat().len() as u64) < stored.size() {
            pieces.push(stored.next().await?);
        }
        Ok(pieces)
    }

    #[tokio::test]
    async fn what_an_object_has_is_read_whatever_it_is_said_to_have() {
        for (bytes, expected) in [
            (&b"0123456789"[..], vec![&b"0123"[..], b"4567", b"89"]),
            (b"01234567", vec![b"0123", b"4567"]),
            (b"0123", vec![b"0123"]),
            (b"", vec![b""]),
        ] {
            let source = Changing(Mutex::new(bytes.to_vec()));
            for said in [None, Some(5), Some(8), Some(1 << 40)] {
                assert_eq!(pieces(&source, said).await.unwrap(), expected, "{said:?}");
            }
            // Said to be small, it comes in one request.
            assert_eq!(pieces(&source, Some(1)).await.unwrap(), [bytes]);
        }
    }

    /// Answers with fewer bytes than were asked for.
    #[derive(Debug)]
    struct Stingy(Changing);

    #[async_trait]
    impl Source for Stingy {
        async fn stat(&self, at: &ObjectRef) -> Result<ObjectRef, SourceError> {
            self.0.stat(at).await
        }

        async fn fetch(&self, object: &Object) -> Result<Vec<u8>, SourceError> {
            self.0.fetch(object).await
        }

        async fn fetch_part(&self, object: &Object, from: u64, at_most: usize) -> Result<Part, SourceError> {
            self.0.fetch_part(object, from, at_most - 1).await
        }

        async fn list(&self, ask: &Listing<'_>) -> Result<ListPage, SourceError> {
            self.0.list(ask).await
        }
    }

    #[tokio::test]
    async fn a_first_piece_that_is_too_short_is_refused_like_any_other() {
        let source = Stingy(Changing(Mutex::new(b"0123456789".to_vec())));
        let error = Stored::fetch(&source, &object(), Some(10), 4, 4).await.unwrap_err().to_string();
        assert_eq!(error, "s3://logs/k: the piece from byte 0 on has 3 of 10 bytes, expected 4 of 10");
    }

    #[tokio::test]
    async fn a_piece_is_the_same_the_second_time_or_refused() {
        let source = Changing(Mutex::new(b"0123456789".to_vec()));
        let object = object();
        let (mut stored, first) = Stored::fetch(&source, &object, Some(10), 4, 4).await.unwrap();
        assert_eq!((first.unwrap(), stored.next().await.unwrap()), (b"0123".to_vec(), b"4567".to_vec()));
        assert_eq!(stored.again(0).await.unwrap(), b"0123");
        *source.0.lock().unwrap() = b"0123x56789".to_vec();
        assert_eq!(stored.again(0).await.unwrap(), b"0123");
        let error = stored.again(1).await.unwrap_err().to_string();
        assert_eq!(error, "s3://logs/k: the piece from byte 4 on has other bytes than when it was read before");
        *source.0.lock().unwrap() = b"01234567".to_vec();
        let error = stored.next().await.unwrap_err().to_string();
        assert_eq!(error, "s3://logs/k: the piece from byte 8 on has 0 of 8 bytes, expected 2 of 10");
    }
}
