//! `trailhose generate --to`: sends generated events to a webhook, as a forward does.

use crate::args::WebhookArgs;
use crate::text::{counted, one_line};
use crate::webhook;
use std::io::Read;
use std::time::Duration;
use trailhose::forward::{ForwardOutcome, ForwardSink, ForwardedEvent, MAX_BYTES, MAX_EVENTS};
use trailhose::generate::SyntheticBucket;

/// Exit code: the destination did not accept a request.
const NOT_ACCEPTED: u8 = 1;

/// The number of attempts for each batch.
const ATTEMPTS: u64 = 3;

/// The events of a file. They are generated with one event on each line.
#[derive(serde::Deserialize)]
struct LogFile<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<&'a serde_json::value::RawValue>,
}

/// Sends every event once, also those that a second trail delivers again. Returns the exit code.
pub(super) async fn run(bucket: &SyntheticBucket, url: &str, args: &WebhookArgs) -> Result<u8, String> {
    let sink =
        ForwardSink::open(webhook::config("generate", url, args)).map_err(|error| webhook::with_option(&error))?;
    let (mut batch, mut bytes, mut sent, mut requests) = (Vec::<ForwardedEvent>::new(), 0, 0, 0);
    for (key, stored) in bucket.files() {
        let mut text = String::new();
        flate2::read::GzDecoder::new(&stored[..])
            .read_to_string(&mut text)
            .map_err(|error| format!("{key}: {error}"))?;
        let file: LogFile<'_> = serde_json::from_str(&text).map_err(|error| format!("{key}: {error}"))?;
        for (number, event) in file.records.iter().enumerate() {
            let event = sink.prepare_event(event.get().as_bytes(), || format!("{key}:{number}"))?;
            if batch.len() == MAX_EVENTS || bytes + event.bytes().len() >= MAX_BYTES {
                if !send(&sink, &batch).await {
                    return Ok(NOT_ACCEPTED);
                }
                (sent, requests, bytes) = (sent + batch.len() as u64, requests + 1, 0);
                batch.clear();
            }
            bytes += event.bytes().len() + 1;
            batch.push(event);
        }
    }
    if !batch.is_empty() {
        if !send(&sink, &batch).await {
            return Ok(NOT_ACCEPTED);
        }
        (sent, requests) = (sent + batch.len() as u64, requests + 1);
    }
    anstream::eprintln!("sent {} in {}", counted(sent, "event"), counted(requests, "request"));
    Ok(0)
}

/// Sends a batch. Returns whether it is accepted.
async fn send(sink: &ForwardSink, events: &[ForwardedEvent]) -> bool {
    let request = sink.build_request(events);
    for attempt in 1.. {
        let reason = match sink.send(&request).await {
            ForwardOutcome::Accepted => return true,
            ForwardOutcome::Retry { reason, .. } if attempt < ATTEMPTS => {
                anstream::eprintln!("not accepted, attempt {attempt} of {ATTEMPTS}: {}", one_line(&reason));
                tokio::time::sleep(Duration::from_secs(attempt)).await;
                continue;
            }
            ForwardOutcome::Retry { reason, .. } | ForwardOutcome::Blocked { reason } => reason,
            ForwardOutcome::TooLarge { response } => format!("status 413: {response}"),
            ForwardOutcome::Refused { status, response } => format!("status {status}: {response}"),
            ForwardOutcome::Items(_) | ForwardOutcome::PartlyRefused { .. } => "some events were refused".into(),
        };
        let reason = webhook::with_option(&reason);
        anstream::eprintln!("{}: not accepted: {}", crate::summary::error_word(), one_line(&reason));
        return false;
    }
    false
}
