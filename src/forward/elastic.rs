//! The bulk API of Elasticsearch and OpenSearch
//! (<https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk>,
//! <https://docs.opensearch.org/latest/api-reference/document-apis/bulk/>).
//!
//! Each event is created with its account, region and event ID as `_id`. So an event that is sent again has no effect: the answer for it is a
//! conflict, which means that it is stored. Each event has a status of its own.

use super::batch::{ForwardRequest, ForwardedEvent, hex, size};
use super::destination::{Endpoint, ForwardDestination, ForwardOutcome, ItemOutcome};
use crate::http::HttpReply;
use crate::index::IndexedFields;
use async_trait::async_trait;
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

/// The maximum number of bytes of a response that are read. An item has up to 2 KB.
const MAX_RESPONSE: usize = 8 << 20;

/// The maximum length of an `_id` in bytes.
const MAX_ID: usize = 512;

/// The number of characters of an error that are kept.
const MAX_ERROR: usize = 300;

/// The bulk API.
#[derive(Debug)]
pub(super) struct Elastic {
    endpoint: Endpoint,
    index: Option<String>,
}

#[derive(Debug, Deserialize)]
struct BulkResponse {
    items: Vec<HashMap<String, BulkItem>>,
}

#[derive(Debug, Deserialize)]
struct BulkItem {
    status: u16,
    error: Option<Value>,
}

impl Elastic {
    pub(super) fn new(endpoint: Endpoint, url: &str, index: Option<String>) -> Result<Self, String> {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        if !path.ends_with("/_bulk") {
            return Err("the URL of a bulk API ends with /INDEX/_bulk, or with /_bulk and a setting index".into());
        }
        // `https://HOST/_bulk` contains three slashes. A URL with an index contains more.
        if index.is_none() && path.matches('/').count() < 4 {
            return Err(
                "the bulk API needs an index: use a URL that ends with /INDEX/_bulk, or the setting index".into()
            );
        }
        Ok(Self { endpoint: endpoint.with_max_response(MAX_RESPONSE), index })
    }

    fn bulk_outcome(&self, reply: &HttpReply, events: usize) -> ForwardOutcome {
        let parsed = serde_json::from_slice::<BulkResponse>(&reply.body).ok();
        let items = parsed.map(|parsed| parsed.items).filter(|items| items.len() == events);
        let Some(items) = items else {
            let reason = format!(
                "status {}, but the response does not contain one result for each of the {events} events: check that the URL is \
                 that of a bulk API",
                reply.status
            );
            return ForwardOutcome::Retry { after: None, reason };
        };
        let outcomes: Vec<ItemOutcome> = items
            .into_iter()
            .map(|item| item.into_values().next().map_or_else(missing_status, |item| self.item_outcome(item)))
            .collect();
        match outcomes.iter().all(|outcome| *outcome == ItemOutcome::Accepted) {
            true => ForwardOutcome::Accepted,
            false => ForwardOutcome::Items(outcomes),
        }
    }

    fn item_outcome(&self, item: BulkItem) -> ItemOutcome {
        let error = item.error.map(|error| error.to_string()).unwrap_or_default();
        let response: String = self.endpoint.mask(&error).chars().take(MAX_ERROR).collect();
        match item.status {
            // A conflict: an event with this ID is stored.
            200..=299 | 409 => ItemOutcome::Accepted,
            429 | 500.. => ItemOutcome::Retry(format!("status {} of an event: {response}", item.status)),
            401 | 403 | 404 => ItemOutcome::Blocked(format!("status {} of an event: {response}", item.status)),
            status => ItemOutcome::Refused { status, response },
        }
    }
}

fn missing_status() -> ItemOutcome {
    ItemOutcome::Retry("the answer has no status for an event".into())
}

/// Returns the `_id` of an event: its account, region and ID before redaction, because only the three together identify an event.
/// If this text exceeds [`MAX_ID`] or is ambiguous, or if the account or the region is redacted, the result is a hash.
fn document_id(event: &ForwardedEvent) -> String {
    let fields = IndexedFields::read(event.original());
    let scope = [&fields.account, &fields.region].map(|field| field.as_deref().unwrap_or_default());
    let [account, region] = scope;
    let text = format!("{account}/{region}/{}", event.id);
    let is_ambiguous = scope.iter().any(|field| field.contains('/'));
    let is_redacted = || {
        let sent = IndexedFields::read(event.bytes());
        event.bytes() != event.original() && (sent.account != fields.account || sent.region != fields.region)
    };
    if text.len() > MAX_ID || is_ambiguous || is_redacted() {
        return hex(digest(&SHA256, format!("{account:?}/{region:?}/{}", event.id).as_bytes()).as_ref());
    }
    text
}

#[async_trait]
impl ForwardDestination for Elastic {
    fn body(&self, events: &[ForwardedEvent]) -> Vec<u8> {
        let mut body = Vec::with_capacity(size(events) + events.len() * 110);
        for event in events {
            let mut action = serde_json::Map::new();
            if let Some(index) = &self.index {
                action.insert("_index".into(), index.clone().into());
            }
            action.insert("_id".into(), document_id(event).into());
            body.extend_from_slice(serde_json::json!({"create": action}).to_string().as_bytes());
            body.push(b'\n');
            body.extend_from_slice(event.bytes());
            body.push(b'\n');
        }
        body
    }

    async fn send(&self, request: &ForwardRequest<'_>, _: i64) -> ForwardOutcome {
        let response = self.endpoint.send("application/x-ndjson", &[], request).await;
        match (self.endpoint.outcome(&response), &response) {
            (ForwardOutcome::Accepted, Ok(reply)) => self.bulk_outcome(reply, request.events.len()),
            (outcome, _) => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(event: &str) -> String {
        document_id(&ForwardedEvent::new(event.as_bytes(), || "position".to_owned(), None).unwrap())
    }

    #[test]
    fn account_region_and_event_id_identify_a_document() {
        let event = |account: &str, region: &str, event: &str| {
            let fields = [("recipientAccountId", account), ("awsRegion", region), ("eventID", event)];
            id(&serde_json::to_string(&fields.into_iter().collect::<HashMap<_, _>>()).unwrap())
        };
        let first = event("111122223333", "eu-west-1", "e");
        assert_eq!(first, "111122223333/eu-west-1/e");
        let texts = [
            first,
            event("444455556666", "eu-west-1", "e"),
            event("111122223333", "eu-west-2", "e"),
            event("111122223333", "eu-west-1", "f"),
            event("111122223333/eu-west-1", "e", "e"),
            event("111122223333", "eu-west-1/e", "e"),
            event("111122223333", "eu-west-1", &"e".repeat(512)),
            event("444455556666", "eu-west-1", &"e".repeat(512)),
            id(r#"{"eventID":"e"}"#),
        ];
        assert!(texts.iter().all(|text| text.len() <= MAX_ID));
        assert_eq!(texts.iter().collect::<std::collections::HashSet<_>>().len(), texts.len(), "{texts:?}");
        assert_eq!(texts[8], "//e");
    }
}
