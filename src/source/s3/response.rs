//! Checks of a response's headers, before the SDK reads it.

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

/// The value of `Content-Range` that a response with the status 206 gets if it has no such header.
const UNKNOWN_RANGE: &str = "an unknown range";

/// An interceptor with two checks that the SDK does not make:
///
/// - A response with the status 206 and without `Content-Range` gets the value [`UNKNOWN_RANGE`], so that it does not
///   count as the whole object. The SDK's result does not contain the status.
/// - Checksums that do not describe the bytes of the response are removed, because the SDK would compare them: a
///   composite checksum (the checksum of the parts' checksums) and the checksum of an object in a response with a part
///   of it.
#[derive(Debug)]
pub(super) struct ResponseChecks;

impl Intercept for ResponseChecks {
    fn name(&self) -> &'static str {
        "ResponseChecks"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        let is_range = response.status().as_u16() == 206;
        let headers = response.headers_mut();
        if is_range && headers.get("content-range").is_none() {
            headers.insert("content-range", UNKNOWN_RANGE);
        }
        let composite = headers.get("x-amz-checksum-type").is_some_and(|name| name.eq_ignore_ascii_case("COMPOSITE"));
        if composite || is_range && !headers.get("content-range").is_some_and(is_whole) {
            let names: Vec<String> = headers.iter().map(|(name, _)| name.to_owned()).collect();
            for name in names.iter().filter(|name| name.starts_with("x-amz-checksum-")) {
                headers.remove(name);
            }
        }
        Ok(())
    }
}

/// Returns whether a `Content-Range` header describes the whole object.
fn is_whole(text: &str) -> bool {
    let last = text.split_once('-').and_then(|(_, rest)| rest.split_once('/')?.0.parse::<u64>().ok());
    matches!((content_range(text), last), ((0, Some(size)), Some(last)) if last.checked_add(1) == Some(size))
}

/// Parses the first byte and the object's size from a `Content-Range` header such as `bytes 0-99/1234`.
pub(super) fn content_range(text: &str) -> (u64, Option<u64>) {
    let parts = text.strip_prefix("bytes ").and_then(|text| text.split_once('/'));
    let Some((range, size)) = parts else { return (u64::MAX, None) };
    let first = range.split_once('-').and_then(|(first, _)| first.parse().ok());
    (first.unwrap_or(u64::MAX), size.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complete_range_is_the_whole_object() {
        for (range, whole) in [
            ("bytes 0-9/10", true),
            ("bytes 0-8/10", false),
            ("bytes 1-9/10", false),
            ("bytes 0-9/*", false),
            ("bytes 0-18446744073709551615/10", false),
            (UNKNOWN_RANGE, false),
        ] {
            assert_eq!(is_whole(range), whole, "{range}");
        }
        assert_eq!(content_range("bytes 4-13/99"), (4, Some(99)));
        assert_eq!(content_range(UNKNOWN_RANGE), (u64::MAX, None));
    }
}
