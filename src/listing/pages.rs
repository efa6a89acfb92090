//! All pages of the listing of one prefix.

use crate::source::{ListPage, Listing, Source, SourceError};

/// The pages of a listing, in their order.
pub(crate) struct ListingPages<'a> {
    source: &'a dyn Source,
    bucket: &'a str,
    prefix: &'a str,
    delimiter: Option<char>,
    token: Option<String>,
    is_last: bool,
}

impl<'a> ListingPages<'a> {
    /// Creates the listing of a prefix. Sends no request.
    pub(crate) fn new(source: &'a dyn Source, bucket: &'a str, prefix: &'a str, delimiter: Option<char>) -> Self {
        Self { source, bucket, prefix, delimiter, token: None, is_last: false }
    }

    /// Returns the next page, or `None` after the last one. A page can contain unlisted entries.
    ///
    /// # Errors
    /// The page cannot be listed.
    pub(crate) async fn next(&mut self) -> Result<Option<ListPage>, SourceError> {
        if self.is_last {
            return Ok(None);
        }
        let (bucket, prefix, delimiter) = (self.bucket, self.prefix, self.delimiter);
        let request = Listing { bucket, prefix, delimiter, token: self.token.as_deref(), start_after: None };
        let page = self.source.list(&request).await?;
        self.token.clone_from(&page.next);
        self.is_last = page.next.is_none();
        Ok(Some(page))
    }
}

impl std::fmt::Debug for ListingPages<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ListingPages")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
