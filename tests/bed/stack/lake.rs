//! The events that the stack has delivered to the lake bucket.

use super::Stack;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;

/// Returns the ID of a test event.
pub fn id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// Returns the expected counts if each of these events was delivered once.
pub fn each_once(events: Range<u32>) -> BTreeMap<String, usize> {
    events.map(|number| (id(number), 1)).collect()
}

impl Stack {
    /// Returns the number of copies of each event by its ID.
    pub async fn lake(&self) -> BTreeMap<String, usize> {
        let mut seen = BTreeMap::new();
        for line in self.lines_under("events/").await {
            let event: Value = serde_json::from_str(&line).unwrap();
            *seen.entry(event["eventID"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        seen
    }

    /// Returns all lines of the lake's objects under a prefix (`events/`, `failed/`, `oversize/`) in arbitrary order.
    pub async fn lines_under(&self, prefix: &str) -> Vec<String> {
        let bucket = self.output("LakeBucketName");
        let mut lines = Vec::new();
        let mut pages = self.s3.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
        while let Some(page) = pages.next().await {
            for object in page.unwrap().contents() {
                let got = self.s3.get_object().bucket(bucket).key(object.key().unwrap()).send().await.unwrap();
                let body = got.body.collect().await.unwrap().to_vec();
                lines.extend(String::from_utf8(body).unwrap().lines().map(str::to_owned));
            }
        }
        lines
    }
}
