//! Decompression bombs are quarantined, and the program's memory does not grow with them.
//!
//! Measures the peak memory of the real program (`VmHWM`) without the pages of its file (`RssFile`), which grow with each
//! feature. The sizes are small in `./test`. `TRAILHOSE_BOMBS=full` uses
//! sizes that would exhaust memory: 8 GiB of white space, a line of 2 GiB, ten million events.
#![cfg(target_os = "linux")]

mod laptop;

use flate2::{Compression, write::GzEncoder};
use laptop::{Bucket, key, text, trailhose};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::Stdio;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Memory of an idle program with decompression buffers and ledger, in MiB. 6 were measured.
const BASE: u64 = 12;

/// Memory per event in bytes, as documented.
const EVENT: u64 = 200;

/// Whether to use the full sizes. A misspelled value must not select the small ones.
fn full() -> bool {
    match std::env::var_os("TRAILHOSE_BOMBS") {
        None => false,
        Some(size) if size == "full" => true,
        Some(size) => panic!("TRAILHOSE_BOMBS={}: expected full", size.display()),
    }
}

/// Returns the size for `./test` or the full size.
fn size(small: u64, whole: u64) -> u64 {
    if full() { whole } else { small }
}

/// Creates a bucket with one object of any size, which is written as a stream.
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

/// Syncs the bucket. Returns the exit code, the messages, and the peak memory in MiB.
fn sync(bucket: &Bucket, more: &[&str]) -> (i32, String, u64) {
    let out = tempfile::tempdir().unwrap();
    let messages = File::create(bucket.path().join(".messages")).unwrap();
    let mut command = trailhose();
    // glibc gives each thread an arena of its own, depending on the load. This changes the peak by up to 30 MiB between runs.
    command.env("MALLOC_ARENA_MAX", "1");
    command.args(["sync", text(&bucket.path().join("AWSLogs")), text(out.path()), "--quiet"]).args(more);
    let mut child = command.stdout(Stdio::null()).stderr(messages).spawn().unwrap();
    let mut most = 0;
    let code = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let figure = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix("kB"));
            line.map(|figure| figure.trim().parse::<u64>().unwrap())
        };
        // The peak never falls, so the last sample is the peak, except for the last milliseconds.
        if let (Some(peak), Some(file)) = (figure("VmHWM:"), figure("RssFile:")) {
            most = peak.saturating_sub(file);
        }
        if let Some(ended) = child.try_wait().unwrap() {
            break ended.code().unwrap();
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(most > 0, "nothing was measured");
    (code, std::fs::read_to_string(bucket.path().join(".messages")).unwrap(), most / 1024)
}

fn assert_quarantined(bucket: &Bucket, more: &[&str], reason: &str, what: &str, bound: u64) {
    let (code, messages, most) = sync(bucket, more);
    println!("{what}: {most} MiB of {bound}");
    assert!(code == 3 && messages.contains(reason), "{what}: {code}, {messages}");
    assert!(most <= bound, "{what}: {most} MiB, {bound} allowed");
}

#[test]
fn endless_white_space_is_not_buffered() {
    let bytes = size(64 * MIB, 8192 * MIB);
    let bucket = bucket(|out| {
        out.write_all(b"{\"Records\":[").unwrap();
        fill(out, b' ', bytes);
        out.write_all(b"]}").unwrap();
    });
    let limit = size(32 * MIB, 2048 * MIB).to_string();
    let more = ["--max-object-bytes", &limit];
    assert_quarantined(&bucket, &more, "decompressed bytes", "white space", BASE);
}

#[test]
fn endless_line_is_limited() {
    assert_value_limited("one line", b"{\"Records\":[{\"eventID\":\"a\",\"x\":\"", b'x', b"\"}]}");
}

#[test]
fn endless_number_is_limited() {
    assert_value_limited("one number", b"{\"n\":", b'1', b",\"Records\":[]}");
}

/// Checks that a value that starts with `before` and repeats one byte is rejected.
fn assert_value_limited(what: &str, before: &[u8], byte: u8, behind: &[u8]) {
    let bytes = size(128 * MIB, 2047 * MIB);
    let bucket = bucket(|out| {
        out.write_all(before).unwrap();
        fill(out, byte, bytes);
        out.write_all(behind).unwrap();
    });
    // The buffer doubles beyond 16 MiB, and the old buffer exists until it is copied.
    assert_quarantined(&bucket, &[], "the value at byte", what, BASE + 32 + 16);
}

#[test]
fn long_account_ids_are_not_retained() {
    let events = size(64, 2000);
    let bucket = bucket(|out| {
        out.write_all(b"{\"Records\":[").unwrap();
        for number in 0..events {
            write!(out, "{{\"recipientAccountId\":\"{number}").unwrap();
            fill(out, b'x', MIB);
            out.write_all(b"\"},").unwrap();
        }
        out.write_all(b"0]}").unwrap();
    });
    // Lines are retained up to 10 MiB in a list that doubles, and the buffer up to twice the length of a line.
    assert_quarantined(&bucket, &[], "an event is an object", "accounts", BASE + 16 + 16);
}

#[test]
fn event_with_many_members_is_not_parsed_into_a_tree() {
    let members = size(1_000_000, 1_500_000);
    let bucket = bucket(|out| {
        out.write_all(b"{\"Records\":[{\"x\":0").unwrap();
        (0..members).for_each(|number| write!(out, ",\"{number:x}\":0").unwrap());
        out.write_all(b"},0]}").unwrap();
    });
    // The buffer, and a retained line of at most that length.
    let more = ["--filter", "eventName=Decrypt"];
    assert_quarantined(&bucket, &more, "an event is an object", "members", BASE + 32 + 16);
}

#[test]
fn nesting_deeper_than_128_levels_is_rejected() {
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
        assert_quarantined(&bucket, &[], "nesting exceeds 128 levels", "brackets", BASE);
    }
}

#[test]
fn tiny_events_take_the_documented_memory() {
    let events = size(300_000, 10_000_000);
    let bucket = bucket(|out| {
        for number in 0..events {
            let start = if number == 0 { "[" } else { "," };
            write!(out, "{start}{{\"eventTime\":\"2026-11-01T00:00:00Z\",\"eventID\":\"{number}\"}}").unwrap();
        }
        out.write_all(b"]").unwrap();
    });
    if full() {
        // Rejected before the claims: each event takes 24 bytes then, in a list that doubles.
        let bound = BASE + 2 * 32 * 1_000_000 / MIB;
        assert_quarantined(&bucket, &[], "exceeds 1000000 events", "ten million events", bound);
    } else {
        let (code, messages, most) = sync(&bucket, &[]);
        // 60 MiB were measured. glibc keeps about 20 MiB of freed lists (docs/verification.md), which are not part of the
        // documented memory.
        let bound = BASE + events * EVENT / MIB + 16;
        println!("{events} events: {most} MiB of {bound}");
        assert!(code == 0 && most <= bound, "{code}: {most} MiB, {bound} allowed; {messages}");
    }
}
