//! The lake: what has come out of the stack, and how often.

use super::Stack;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;

/// The ID of a test's event.
pub fn id(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// A lake that holds each of these events once.
pub fn each_once(events: Range<u32>) -> BTreeMap<String, usize> {
    events.map(|number| (id(number), 1)).collect()
}

impl Stack {
    /// How often each event lies in the lake, by its ID.
    pub async fn lake(&self) -> BTreeMap<String, usize> {
        let mut seen = BTreeMap::new();
        for line in self.lines_under("events/").await {
            let event: Value = serde_json::from_str(&line).unwrap();
            *seen.entry(event["eventID"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        seen
    }

    /// Every line of the lake's objects under a prefix: `events/`, `failed/`, `oversize/`. In no order.
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
