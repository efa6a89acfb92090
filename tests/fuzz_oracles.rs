//! Runs the oracles of the fuzz targets on the sample bucket, the sample payloads and thousands of damaged copies, so
//! that they keep working between fuzz runs. `fuzz/README.md` describes those.

mod sample;

// The oracles import the modules from the root of their crate.
use trailhose::{decode, event, notification, object, pack};

#[path = "../fuzz/src"]
mod fuzz {
    #![allow(unreachable_pub)]
    pub mod oracle;
}

use flate2::bufread::MultiGzDecoder;
use fuzz::oracle;
use serde_json::{Value, json};
use std::io::Read;

/// Checks each seed and damaged copies of it: bytes are changed, removed, doubled, or taken from another seed. The
/// copies are the same in each run.
fn damaged(seeds: &[Vec<u8>], each: usize, mut check: impl FnMut(&[u8])) {
    let mut random = fastrand::Rng::with_seed(7);
    for seed in seeds {
        check(seed);
        for _ in 0..each {
            let mut bytes = seed.clone();
            for _ in 0..random.usize(1..4) {
                let from = random.usize(..=bytes.len());
                let to = (from + random.usize(..16)).min(bytes.len());
                match random.u8(..5) {
                    0 => drop(bytes.drain(from..to)),
                    1 => bytes.splice(to..to, bytes[from..to].to_vec()).for_each(drop),
                    2 => bytes.insert(from, *random.choice(b"\"\\{}[],: \n0-e\xc3\xff/_").unwrap()),
                    3 => {
                        let other = &seeds[random.usize(..seeds.len())];
                        let at = random.usize(..=other.len());
                        bytes.truncate(from);
                        bytes.extend_from_slice(&other[at..]);
                    }
                    _ => bytes[from..to].iter_mut().take(1).for_each(|byte| *byte = random.u8(..)),
                }
            }
            check(&bytes);
        }
    }
}

/// Returns the stored objects of the sample bucket, and the JSON of their first events, which is short, so that most
/// changes have an effect.
fn objects() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for stored in sample::objects().into_values() {
        let mut json = Vec::new();
        let inflated = MultiGzDecoder::new(&stored[..]).read_to_end(&mut json).is_ok();
        let file = serde_json::from_slice::<Value>(if inflated { &json } else { &stored }).unwrap_or_default();
        if let Some(records) = file["Records"].as_array() {
            let first = &records[..records.len().min(2)];
            seeds.push(json!({ "Records": first }).to_string().into_bytes());
        }
        if stored.len() < 4_096 {
            seeds.push(stored);
        }
    }
    seeds
}

/// Whether the decoder reads an input to its end.
fn is_accepted(bytes: &[u8]) -> bool {
    let mut events = decode::EventReader::new(bytes, decode::DecodeLimits::default());
    loop {
        match events.next() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

#[test]
fn decoder_agrees_with_the_naive_decoder() {
    for stored in sample::objects().into_values() {
        oracle::decode::check(&stored);
    }
    let seeds = objects();
    assert!(seeds.len() > 40, "{} seeds", seeds.len());
    // The oracle fails if only one decoder accepts an input, so both accept what this one accepts.
    let mut accepted = 0;
    damaged(&seeds, 60, |bytes| {
        oracle::decode::check(bytes);
        accepted += usize::from(is_accepted(bytes));
    });
    assert!(accepted > seeds.len(), "both decoders accept only {accepted} inputs");
    for odd in [
        r#"[{"eventID":"a","eventId":null,"eventTime":"2016-12-31T23:59:60Z"}]"#,
        r#"[{"event\u0049D":"\u00e9","accountId":1.0e2,"recipientAccountId":{},"\ud800":"\udfff"}]"#,
        r#"[{"awsRegion":"\ud800","awsRegion" : "\u0000" , "eventTime":"1969-12-31T23:59:59.5+01:00"}]"#,
        r#"{"\ud800":1,"Records":[]}"#,
        r#"{"Rec\u006frds":[{}],"Records":[]}"#,
        r#"[{"a":{"eventID":"inner"}},{},{"a":[[]]}] "#,
        r#"{"Records":[{"a":{"eventID":"inner"}},{},{"a":[[]]},{},{"a":[ []]},{ }] }"#,
        r#"[{"eventID":"","a":1},{"eventId":"", "a":1},{"eventTime":null},{"eventTime":7}]"#,
        "\u{feff}{\"Records\":[]}",
        "\u{feff} [{\"eventID\":\"a\"}]",
        " \u{feff}{\"Records\":[]}",
        r#"{"Records":[{"eventId":"a","timeWindow":{"windowStart":"2026-03-01T00:05:00Z"}}]}"#,
        r#"{"Records":[{"eventId":"b","timeWindow" : { "x":[{}],"windowStart":"2026-03-01 00:05:00.5"},"eventTime":""}]}"#,
        r#"{"Records":[{"timeWindow":{"windowStart":"1969-12-31T23:59:59Z","windowStart":"1969-12-31T23:59:00Z"}}]}"#,
        r#"{"Records":[{"timeWindow":{"windowStart":"2026-03-01T00:05:00Z"},"timeWindow":""}]}"#,
        r#"{"Records":[{"timeWindow":"{\"windowStart\":\"2026-03-01T00:05:00Z\"}"},{"timeWindow":["2026-03-01"]}]}"#,
        r#"{"Records":[{"timeWindow":{"\ud800":1,"windowStart":"2026-03-01T00:05:00Z"}},{"timeWindow":{}}]}"#,
        r#"[{"CloudTrailEvent":"{}"}]"#,
        r#"{"Records":[{"CloudTrailEvent":"{}"}]}"#,
        r#"{"Records":[{"CloudTrailEvent":"{}","eventID":"a"},{"\ud800":0,"detail-type":"x"}]}"#,
        r#"{"Events":[{"CloudTrailEvent":"{}"}]}"#,
    ] {
        oracle::decode::check(odd.as_bytes());
    }
    for depth in [126, 127, 128, 129] {
        oracle::decode::check(
            format!("[{{\"eventID\":\"\",\"a\":{}{}}}]", "[".repeat(depth), "]".repeat(depth)).as_bytes(),
        );
        oracle::decode::check(
            format!("{{\"a\":{}{},\"Records\":[]}}", "[".repeat(depth), "]".repeat(depth)).as_bytes(),
        );
    }
}

#[test]
fn notifications_are_parsed_alike_in_every_envelope() {
    let mut seeds = Vec::new();
    for text in sample::payloads(&sample::events()).into_values() {
        let payload: Value = serde_json::from_str(&text).unwrap();
        let records = payload["Records"].as_array().cloned().unwrap_or_default();
        let bodies = records.iter().filter_map(|record| record["body"].as_str().or(record["Sns"]["Message"].as_str()));
        seeds.extend(bodies.map(|body| body.as_bytes().to_vec()));
        seeds.push(text.into_bytes());
    }
    assert!(seeds.len() > 20, "{} seeds", seeds.len());
    damaged(&seeds, 40, oracle::notification::check);
}

#[test]
fn keys_are_parsed_by_their_parts() {
    let mut seeds: Vec<Vec<u8>> = sample::objects().into_keys().map(String::into_bytes).collect();
    seeds.push(
        b"a/AWSLogs/o-exampleorgid/111122223333/CloudTrail-Digest/us-east-1/2024/02/29/111122223333_CloudTrail-Digest_\
          us-east-1_my_trail_eu-west-1_20240229T235959Z_backfill.json.gz"
            .to_vec(),
    );
    damaged(&seeds, 500, oracle::key::check);
}

#[test]
fn lines_are_packed_once_in_order_within_unusual_limits() {
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..5_000 {
        let mut input: Vec<u8> = (0..4).map(|_| random.u8(..)).collect();
        for _ in 0..random.usize(0..40) {
            let length = random.usize(0..12);
            input.extend((0..length).map(|_| *random.choice(b"ab*39").unwrap()));
            input.push(b'\n');
        }
        oracle::pack::check(&input);
    }
}
