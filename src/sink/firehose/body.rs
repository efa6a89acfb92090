//! The body of a `PutRecordBatch` request: the records as base64 in JSON, written once into a buffer of the exact size.
//!
//! The SDK would copy each record, encode each into a string of its own, and append all of them to a growing buffer.
//! That needs four times the memory of the call and allocates it again for each call. The SDK still signs and sends the
//! request and parses the response. <https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html>

use crate::pack::SinkCall;
use aws_sdk_firehose::config::http::HttpRequest;
use base64_simd::STANDARD;
use bytes::Bytes;

/// The media type of the rendered body. The SDK must use the same one, because its headers are sent with this body.
const MEDIA_TYPE: &str = "application/x-amz-json-1.1";

const RECORD_START: &[u8] = b"{\"Data\":\"";
const RECORD_END: &[u8] = b"\"}";

/// Replaces the body of a request that the SDK created without records.
///
/// # Errors
/// Returns [`UnexpectedProtocol`] if the SDK used another media type.
pub(super) fn replace_body(mut request: HttpRequest, body: &Bytes) -> Result<HttpRequest, UnexpectedProtocol> {
    match request.headers().get("content-type") {
        Some(MEDIA_TYPE) => {}
        found => return Err(UnexpectedProtocol(found.unwrap_or("none").to_owned())),
    }
    request.headers_mut().insert("content-length", body.len().to_string());
    *request.body_mut() = body.clone().into();
    Ok(request)
}

/// The error for a request that the SDK serialized in a protocol this module does not support.
#[derive(Debug, thiserror::Error)]
#[error("the AWS SDK sends {0} instead of {MEDIA_TYPE}: this program was built with an incompatible SDK version")]
pub(super) struct UnexpectedProtocol(String);

/// Renders the records of a call whose indices are in `pending`. Reuses the memory of `spare`.
pub(super) fn render(stream: &str, call: &SinkCall, pending: &[usize], spare: Vec<u8>) -> Bytes {
    let records: Vec<&[u8]> = call.record_slices().collect();
    let record_at = |&at: &usize| records[at];
    let head = format!("{{\"DeliveryStreamName\":{},\"Records\":[", serde_json::Value::from(stream));
    let encoded_bytes =
        |record: &[u8]| RECORD_START.len() + STANDARD.encoded_length(record.len()) + RECORD_END.len() + 1;
    let mut body = spare;
    body.clear();
    body.reserve_exact(head.len() + pending.iter().map(|at| encoded_bytes(record_at(at))).sum::<usize>() + 2);
    body.extend_from_slice(head.as_bytes());
    for (count, record) in pending.iter().map(record_at).enumerate() {
        if count > 0 {
            body.push(b',');
        }
        body.extend_from_slice(RECORD_START);
        STANDARD.encode_append(record, &mut body);
        body.extend_from_slice(RECORD_END);
    }
    body.extend_from_slice(b"]}");
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Parses a body as the service would.
    fn read(body: &[u8]) -> (String, Vec<Vec<u8>>) {
        let tree: serde_json::Value = serde_json::from_slice(body).unwrap();
        let records = tree["Records"].as_array().unwrap().iter();
        let data = records.map(|record| STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap());
        (tree["DeliveryStreamName"].as_str().unwrap().to_owned(), data.collect())
    }

    proptest! {
        #[test]
        fn pending_records_round_trip(
            records in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..50), any::<bool>()), 0..12),
            stream in "\\PC{0,12}",
        ) {
            let mut call = SinkCall::default();
            for (record, _) in &records {
                call.body.extend_from_slice(record);
                call.records.push(call.body.len());
            }
            let pending: Vec<usize> = (0..records.len()).filter(|&at| records[at].1).collect();
            let body = render(&stream, &call, &pending, vec![7; 40]);
            let expected: Vec<_> = pending.iter().map(|&at| records[at].0.clone()).collect();
            prop_assert_eq!(read(&body), (stream, expected));
        }
    }
}
