//! The body of a `PutRecordBatch`: a call's records in base64 in JSON, written once into memory of the right size.
//!
//! The SDK would copy each record, render each as a string of its own and all of them into one that grows as it is filled:
//! four times the call in memory, and fresh memory each time. Signing, sending and the answer are the SDK's.
//! <https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatch.html>

use crate::pack::Call;
use aws_sdk_firehose::config::http::HttpRequest;
use base64_simd::STANDARD;
use bytes::Bytes;

/// What is rendered here, and what the SDK has to have rendered for its headers to fit.
const MEDIA_TYPE: &str = "application/x-amz-json-1.1";

const BEFORE: &[u8] = b"{\"Data\":\"";
const BEHIND: &[u8] = b"\"}";

/// Puts the body into a request that the SDK rendered without records.
///
/// # Errors
/// The SDK speaks another protocol than this.
pub(super) fn put_into(mut request: HttpRequest, body: &Bytes) -> Result<HttpRequest, OtherProtocol> {
    match request.headers().get("content-type") {
        Some(MEDIA_TYPE) => {}
        found => return Err(OtherProtocol(found.unwrap_or("none").to_owned())),
    }
    request.headers_mut().insert("content-length", body.len().to_string());
    *request.body_mut() = body.clone().into();
    Ok(request)
}

/// The SDK rendered its request in a protocol that this program does not.
#[derive(Debug, thiserror::Error)]
#[error("expected the SDK to send {MEDIA_TYPE}, found {0}: this program was built with another version of it")]
pub(super) struct OtherProtocol(String);

/// Renders those of a call's records that are at `pending`, in the memory of `spare`, as far as it reaches.
pub(super) fn render(stream: &str, call: &Call, pending: &[usize], spare: Vec<u8>) -> Bytes {
    let records: Vec<&[u8]> = call.record_slices().collect();
    let of = |&at: &usize| records[at];
    let head = format!("{{\"DeliveryStreamName\":{},\"Records\":[", serde_json::Value::from(stream));
    let each = |record: &[u8]| BEFORE.len() + STANDARD.encoded_length(record.len()) + BEHIND.len() + 1;
    let mut body = spare;
    body.clear();
    body.reserve_exact(head.len() + pending.iter().map(|at| each(of(at))).sum::<usize>() + 2);
    body.extend_from_slice(head.as_bytes());
    for (count, record) in pending.iter().map(of).enumerate() {
        if count > 0 {
            body.push(b',');
        }
        body.extend_from_slice(BEFORE);
        STANDARD.encode_append(record, &mut body);
        body.extend_from_slice(BEHIND);
    }
    body.extend_from_slice(b"]}");
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a service would read.
    fn read(body: &[u8]) -> (String, Vec<Vec<u8>>) {
        let tree: serde_json::Value = serde_json::from_slice(body).unwrap();
        let records = tree["Records"].as_array().unwrap().iter();
        let data = records.map(|record| STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap());
        (tree["DeliveryStreamName"].as_str().unwrap().to_owned(), data.collect())
    }

    proptest! {
        #[test]
        fn the_pending_records_are_read_as_they_are(
            records in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..50), any::<bool>()), 0..12),
            stream in "\\PC{0,12}",
        ) {
            let mut call = Call::default();
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
