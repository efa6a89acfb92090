//! OpenTelemetry log records over HTTP
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>), as JSON or as protobuf.
//!
//! The body of a log record is the event's text, so its bytes are preserved.

use super::OtlpEncoding;
use super::batch::{ForwardRequest, ForwardedEvent, size};
use super::destination::{Endpoint, ForwardDestination, ForwardOutcome};
use crate::http::HttpReply;
use crate::index::IndexedFields;
use async_trait::async_trait;
use serde_json::{Value, json};
use std::borrow::Cow;

/// The severity `INFO`.
const INFO: u64 = 9;

/// The attributes of the resource.
const RESOURCE: [(&str, &str); 2] = [("cloud.provider", "aws"), ("service.name", "cloudtrail")];

/// A receiver of log records.
#[derive(Debug)]
pub(super) struct Otlp {
    endpoint: Endpoint,
    encoding: OtlpEncoding,
}

/// The content of a log record.
struct LogRecord<'a> {
    /// The event time in nanoseconds since 1970.
    time: Option<u64>,
    /// The time at which the request was created, in nanoseconds since 1970.
    observed: u64,
    event_name: String,
    body: Cow<'a, str>,
    attributes: Vec<(&'static str, String)>,
}

impl Otlp {
    pub(super) fn new(endpoint: Endpoint, encoding: OtlpEncoding) -> Self {
        Self { endpoint, encoding }
    }

    /// Returns the number of rejected log records and the message of a response, or `None` if the body is not that of an
    /// OTLP response. The start of a body is none: the rejected log records can be named after it.
    fn rejected(&self, reply: &HttpReply) -> Option<(u64, String)> {
        let body = &*reply.body;
        match self.encoding {
            _ if !reply.is_complete => None,
            _ if body.is_empty() => Some((0, String::new())),
            OtlpEncoding::Json => {
                let response: Value = serde_json::from_slice(body).ok()?;
                let part = response.as_object()?.get("partialSuccess").unwrap_or(&Value::Null);
                // In JSON, OTLP writes a 64-bit number as a string.
                let count = match &part["rejectedLogRecords"] {
                    Value::Null => 0,
                    Value::String(text) => text.parse().ok()?,
                    number => number.as_u64()?,
                };
                Some((count, part["errorMessage"].as_str().unwrap_or_default().to_owned()))
            }
            OtlpEncoding::Protobuf => {
                let (mut count, mut message) = (0, String::new());
                protobuf::read(body, |field, value| {
                    if let (1, protobuf::WireValue::Bytes(part)) = (field, value) {
                        protobuf::read(part, |field, value| {
                            match (field, value) {
                                (1, protobuf::WireValue::Number(number)) => count = number,
                                (2, protobuf::WireValue::Bytes(text)) => {
                                    message = String::from_utf8_lossy(text).into_owned();
                                }
                                _ => {}
                            }
                            Some(())
                        })?;
                    }
                    Some(())
                })?;
                Some((count, message))
            }
        }
    }
}

fn log_record(event: &ForwardedEvent, observed: u64) -> LogRecord<'_> {
    let fields = IndexedFields::read(event.bytes());
    let text = |text: &Option<Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
    let attributes = [
        ("aws.cloudtrail.event_id", event.id.clone()),
        ("aws.cloudtrail.event_source", text(&fields.source)),
        ("cloud.account.id", text(&fields.account)),
        ("cloud.region", text(&fields.region)),
    ];
    LogRecord {
        time: fields.seconds().and_then(|seconds| u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)),
        observed,
        event_name: text(&fields.name),
        body: String::from_utf8_lossy(event.bytes()),
        attributes: attributes.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
    }
}

fn json_body(records: &[LogRecord<'_>]) -> Vec<u8> {
    let attribute = |name: &str, value: &str| json!({"key": name, "value": {"stringValue": value}});
    let records: Vec<Value> = records
        .iter()
        .map(|record| {
            let attributes: Vec<Value> = record.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
            let mut json = json!({
                "observedTimeUnixNano": record.observed.to_string(),
                "severityNumber": INFO,
                "severityText": "INFO",
                "body": {"stringValue": record.body},
                "attributes": attributes,
                "eventName": record.event_name,
            });
            if let Some(time) = record.time {
                json["timeUnixNano"] = time.to_string().into();
            }
            json
        })
        .collect();
    let resource: Vec<Value> = RESOURCE.iter().map(|(name, value)| attribute(name, value)).collect();
    let request = json!({"resourceLogs": [{
        "resource": {"attributes": resource},
        "scopeLogs": [{
            "scope": {"name": "trailhose", "version": env!("CARGO_PKG_VERSION")},
            "logRecords": records,
        }],
    }]});
    request.to_string().into_bytes()
}

/// Returns an `ExportLogsServiceRequest`. The numbers are those of the fields in `logs.proto` and `common.proto`.
fn protobuf_body(records: &[LogRecord<'_>], capacity: usize) -> Vec<u8> {
    use protobuf::{bytes, fixed64, varint_field};

    fn attribute(out: &mut Vec<u8>, field: u32, name: &str, value: &str) {
        let mut any = Vec::with_capacity(value.len() + 8);
        bytes(&mut any, 1, value.as_bytes());
        let mut pair = Vec::with_capacity(any.len() + name.len() + 8);
        bytes(&mut pair, 1, name.as_bytes());
        bytes(&mut pair, 2, &any);
        bytes(out, field, &pair);
    }

    let mut scope = Vec::new();
    bytes(&mut scope, 1, b"trailhose");
    bytes(&mut scope, 2, env!("CARGO_PKG_VERSION").as_bytes());
    let mut scope_logs = Vec::with_capacity(capacity);
    bytes(&mut scope_logs, 1, &scope);
    let mut message = Vec::new();
    for record in records {
        message.clear();
        if let Some(time) = record.time {
            fixed64(&mut message, 1, time);
        }
        varint_field(&mut message, 2, INFO);
        bytes(&mut message, 3, b"INFO");
        let mut body = Vec::with_capacity(record.body.len() + 8);
        bytes(&mut body, 1, record.body.as_bytes());
        bytes(&mut message, 5, &body);
        for (name, value) in &record.attributes {
            attribute(&mut message, 6, name, value);
        }
        fixed64(&mut message, 11, record.observed);
        bytes(&mut message, 12, record.event_name.as_bytes());
        bytes(&mut scope_logs, 2, &message);
    }
    let mut resource = Vec::new();
    for (name, value) in RESOURCE {
        attribute(&mut resource, 1, name, value);
    }
    let mut resource_logs = Vec::with_capacity(scope_logs.len() + 256);
    bytes(&mut resource_logs, 1, &resource);
    bytes(&mut resource_logs, 2, &scope_logs);
    let mut request = Vec::with_capacity(resource_logs.len() + 8);
    bytes(&mut request, 1, &resource_logs);
    request
}

#[async_trait]
impl ForwardDestination for Otlp {
    fn body(&self, events: &[ForwardedEvent]) -> Vec<u8> {
        let observed = u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0);
        let records: Vec<LogRecord<'_>> = events.iter().map(|event| log_record(event, observed)).collect();
        match self.encoding {
            OtlpEncoding::Json => json_body(&records),
            OtlpEncoding::Protobuf => protobuf_body(&records, size(events) + events.len() * 300),
        }
    }

    async fn send(&self, request: &ForwardRequest<'_>, _: i64) -> ForwardOutcome {
        let content_type = match self.encoding {
            OtlpEncoding::Json => "application/json",
            OtlpEncoding::Protobuf => "application/x-protobuf",
        };
        let response = self.endpoint.send(content_type, &[], request).await;
        let reply = match (self.endpoint.outcome(&response), response) {
            (ForwardOutcome::Accepted, Ok(reply)) => reply,
            (outcome, _) => return outcome,
        };
        match self.rejected(&reply) {
            Some((0, _)) => ForwardOutcome::Accepted,
            Some((count, message)) if count < request.events.len() as u64 => {
                // The protocol forbids sending the accepted records again, and does not name the rejected ones.
                let all = request.events.len();
                let message = self.endpoint.mask(&message);
                ForwardOutcome::PartlyRefused {
                    response: format!("{count} of {all} log records of this request were rejected: {message}"),
                }
            }
            Some((_, message)) => {
                ForwardOutcome::Refused { status: reply.status, response: self.endpoint.mask(&message) }
            }
            None => ForwardOutcome::Retry {
                after: None,
                reason: format!(
                    "status {}, but the response is not that of an OTLP receiver: check that the URL is the one for logs, which \
                     usually ends with /v1/logs",
                    reply.status
                ),
            },
        }
    }
}

/// The part of protobuf's encoding that is needed (<https://protobuf.dev/programming-guides/encoding/>).
mod protobuf {
    /// The value of a field.
    pub(super) enum WireValue<'a> {
        Number(u64),
        Bytes(&'a [u8]),
    }

    pub(super) fn varint(out: &mut Vec<u8>, mut number: u64) {
        while number >= 0x80 {
            out.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        out.push(number.to_le_bytes()[0]);
    }

    pub(super) fn varint_field(out: &mut Vec<u8>, field: u32, number: u64) {
        varint(out, u64::from(field) << 3);
        varint(out, number);
    }

    pub(super) fn fixed64(out: &mut Vec<u8>, field: u32, number: u64) {
        varint(out, (u64::from(field) << 3) | 1);
        out.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn bytes(out: &mut Vec<u8>, field: u32, content: &[u8]) {
        varint(out, (u64::from(field) << 3) | 2);
        varint(out, content.len() as u64);
        out.extend_from_slice(content);
    }

    fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = bytes.split_first()?;
            *bytes = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// Passes each number and each text or message to `each`, and skips fields of a fixed size. Returns `None` if the bytes are
    /// not a message, or if `each` returns it.
    pub(super) fn read<'a>(mut bytes: &'a [u8], mut each: impl FnMut(u64, WireValue<'a>) -> Option<()>) -> Option<()> {
        while !bytes.is_empty() {
            let tag = read_varint(&mut bytes)?;
            let length = match tag & 7 {
                0 => {
                    let number = read_varint(&mut bytes)?;
                    each(tag >> 3, WireValue::Number(number))?;
                    continue;
                }
                1 => 8,
                2 => usize::try_from(read_varint(&mut bytes)?).ok()?,
                5 => 4,
                _ => return None,
            };
            let (content, rest) = bytes.split_at_checked(length)?;
            bytes = rest;
            if tag & 7 == 2 {
                each(tag >> 3, WireValue::Bytes(content))?;
            }
        }
        Some(())
    }
}
