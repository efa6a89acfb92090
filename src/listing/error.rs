use crate::source::SourceError;

/// An error of a listing.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// The source failed to list.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The listing is not in the order of the keys' bytes.
    #[error(
        "{bucket}: expected keys in byte order, found {found} listed after {after}; a bucket that lists in \
         another order (S3's directory buckets) is not supported"
    )]
    Order {
        /// The bucket.
        bucket: String,
        /// The key that is out of order.
        found: String,
        /// The key that was listed before it.
        after: String,
    },
}
