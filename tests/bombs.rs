//! Bombs: what is small as stored and vast when read is set aside, and the program's memory does not grow with it.
//!
//! Measured from outside, as the most that the real program ever held (`VmHWM`). Small in `./test`;
//! `TRAILHOSE_BOMBS=full` is the size at which memory would end: 8 GiB of white space, a line of 2 GiB, ten million events.
#![cfg(all(feature = "cli", target_os = "linux"))]

mod laptop;

use flate2::{Compression, write::GzEncoder};
use laptop::{Bucket, key, text, trailhose};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::Stdio;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// What the program takes with nothing to do, its inflate buffers and its ledger, in MiB: 21 to 30 were measured.
const BASE: u64 = 48;

/// What is known of one event, in bytes: the README's word for it.
const EVENT: u64 = 400;

fn full() -> bool {
    std::env::var("TRAILHOSE_BOMBS").is_ok_and(|size| size == "full")
}

/// One of two sizes.
fn size(small: u64, whole: u64) -> u64 {
    if full() { whole } else { small }
}

/// A bucket with one object, written in pieces: as vast as it likes.
fn bucket(write: impl FnOnce(&mut dyn Write)) -> Bucket {
    let bucket = Bucket::new();
    let path = bucket.put(&key("111122223333", "CloudTrail", "eu-west-1", "2026-11-01", "bomb"), b"");
    let mut out = BufWriter::with_capacity(1 << 16, GzEncoder::new(File::create(path).unwrap(), Compression::fast()));
    write(&mut out);
    out.into_inner().ok().unwrap().finish().unwrap();
    bucket
}

fn fill(out: &mut dyn Write, byte: u8, mut bytes: u64) {
    let block = vec![byte; 1 << 20];
    while bytes > 0 {
        let now = bytes.min(MIB);
        out.write_all(&block[..now as usize]).unwrap();
        bytes -= now;
    }
}

/// Syncs the bucket: how it ended, what it said, and the most memory it held, in MiB.
fn sync(bucket: &Bucket, more: &[&str]) -> (i32, String, u64) {
    let out = tempfile::tempdir().unwrap();
    let said = File::create(bucket.path().join(".said")).unwrap();
    let mut command = trailhose();
    command.args(["sync", text(&bucket.path().join("AWSLogs")), text(out.path()), "--quiet"]).args(more);
    let mut child = command.stdout(Stdio::null()).stderr(said).spawn().unwrap();
    let mut most = 0;
    let code = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        // Never falls: the last look before the end is the answer, but for its last milliseconds.
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"));
        most = peak.map_or(most, |peak| peak.trim().parse::<u64>().unwrap().max(most));
        if let Some(ended) = child.try_wait().unwrap() {
            break ended.code().unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(most > 0, "nothing was measured");
    (code, std::fs::read_to_string(bucket.path().join(".said")).unwrap(), most / 1024)
}

fn assert_set_aside(bucket: &Bucket, more: &[&str], reason: &str, what: &str, bound: u64) {
    let (code, said, most) = sync(bucket, more);
    println!("{what}: {most} MiB of {bound}");
    assert!(code == 3 && said.contains(reason), "{what}: {code}, {said}");
    assert!(most <= bound, "{what}: {most} MiB, {bound} allowed");
}

#[test]
fn white_space_without_end_is_read_to_the_limit_and_never_held() {
    let bytes = size(64 * MIB, 8192 * MIB);
    let bucket = bucket(|out| {
        out.write_all(b"{\"Records\":[").unwrap();
        fill(out, b' ', bytes);
        out.write_all(b"]}").unwrap();
    });
    let limit = size(32 * MIB, 2048 * MIB).to_string();
    let more = ["--max-object-bytes", &limit];
    assert_set_aside(&bucket, &more, "decompressed bytes", "white space", BASE);
}

#[test]
fn a_line_without_end_is_held_to_the_limit_of_a_value() {
    assert_value_limited("one line", b"{\"Records\":[{\"eventID\":\"a\",\"x\":\"", b'x', b"\"}]}");
}

#[test]
fn a_number_without_end_is_held_to_the_limit_of_a_value_too() {
    assert_value_limited("one number", b"{\"n\":", b'1', b",\"Records\":[]}");
}

/// That a value is refused which begins in `before` and goes on with the same byte.
fn assert_value_limited(what: &str, before: &[u8], byte: u8, behind: &[u8]) {
    let bytes = size(128 * MIB, 2047 * MIB);
    let bucket = bucket(|out| {
        out.write_all(before).unwrap();
        fill(out, byte, bytes);
        out.write_all(behind).unwrap();
    });
    // The buffer doubles until 16 MiB are not enough, and for a moment the half of it is there too.
    assert_set_aside(&bucket, &[], "the value at byte", what, BASE + 32 + 16);
}

#[test]
fn accounts_without_end_are_not_kept() {
    let events = size(64, 2000);
    let bucket = bucket(|out| {
        out.write_all(b"[").unwrap();
        for number in 0..events {
            write!(out, "{{\"recipientAccountId\":\"{number}").unwrap();
            fill(out, b'x', MIB);
            out.write_all(b"\"},").unwrap();
        }
        out.write_all(b"0]").unwrap();
    });
    // The lines are kept up to 10 MiB, in a list that doubles, and the buffer to double the length of one.
    assert_set_aside(&bucket, &[], "an event is an object", "accounts", BASE + 16 + 16);
}

#[test]
fn an_event_of_many_members_is_not_taken_apart() {
    let members = size(1_000_000, 1_500_000);
    let bucket = bucket(|out| {
        out.write_all(b"[{\"x\":0").unwrap();
        (0..members).for_each(|number| write!(out, ",\"{number:x}\":0").unwrap());
        out.write_all(b"},0]").unwrap();
    });
    // The buffer, and the line that is kept while it is no longer than that.
    let more = ["--filter", "eventName=Decrypt"];
    assert_set_aside(&bucket, &more, "an event is an object", "members", BASE + 32 + 16);
}

#[test]
fn a_million_brackets_are_refused_at_the_hundred_and_twenty_ninth() {
    for (open, close) in [(b'[', b']'), (b'{', b'}')] {
        let bucket = bucket(|out| {
            out.write_all(b"{\"Records\":[{\"x\":").unwrap();
            if open == b'{' {
                (0..1_000_000).for_each(|_| out.write_all(b"{\"x\":").unwrap());
            } else {
                fill(out, open, 1_000_000);
            }
            fill(out, close, 1_000_000);
            out.write_all(b"}]}").unwrap();
        });
        assert_set_aside(&bucket, &[], "128 levels of nesting", "brackets", BASE);
    }
}

#[test]
fn tiny_events_take_no_more_than_is_said_of_an_event() {
    let events = size(20_000, 10_000_000);
    let bucket = bucket(|out| {
        for number in 0..events {
            let start = if number == 0 { "[" } else { "," };
            write!(out, "{start}{{\"eventTime\":\"2026-11-01T00:00:00Z\",\"eventID\":\"{number}\"}}").unwrap();
        }
        out.write_all(b"]").unwrap();
    });
    if full() {
        // Refused before anything is claimed: what is known of each is 24 bytes then, in a list that doubles.
        let bound = BASE + 2 * 32 * 1_000_000 / MIB;
        assert_set_aside(&bucket, &[], "more than 1000000 events", "ten million events", bound);
    } else {
        let (code, said, most) = sync(&bucket, &[]);
        let bound = BASE + events * EVENT / MIB;
        println!("{events} events: {most} MiB of {bound}");
        assert!(code == 0 && most <= bound, "{code}: {most} MiB, {bound} allowed; {said}");
    }
}
