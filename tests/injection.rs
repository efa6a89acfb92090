//! Keys and events must not send control sequences to a terminal, start a line of their own in the output, or write
//! outside of the destination folder.

mod laptop;

use laptop::{Bucket, Ran, event, gzip, key, log, text, trailhose};

/// Sets a terminal's title, starts a new line and reverses the writing direction.
const EVIL: &str = "\u{1b}]0;owned\u{7}\r\n\u{1b}[2Jforged: all is well\u{9b}1m\u{202e}";

/// Runs the program as on a terminal, with colors.
fn run(args: &[&str], level: &str) -> Ran {
    Ran(trailhose().args(args).env("CLICOLOR_FORCE", "1").env("RUST_LOG", level).output().expect("the program starts"))
}

/// Checks that line ends and the program's own colors are the only control characters.
fn assert_harmless(text: &str) {
    for line in text.lines() {
        assert!(!line.starts_with("forged"), "a forged line: {text:?}");
    }
    let mut plain = text.to_owned();
    while let Some(start) = plain.find("\u{1b}[") {
        let rest = &plain[start + 2..];
        let length = rest.find(|letter: char| !letter.is_ascii_digit() && letter != ';').expect("an end");
        assert_eq!(rest[length..].chars().next(), Some('m'), "not a color: {text:?}");
        plain.replace_range(start..start + 2 + length + 1, "");
    }
    let odd = |letter: &char| (letter.is_control() && *letter != '\n') || ('\u{202a}'..='\u{202e}').contains(letter);
    assert_eq!(plain.chars().find(odd), None, "{text:?}");
}

#[test]
fn key_cannot_control_the_terminal() {
    let bucket = Bucket::new();
    let name = EVIL.replace('/', "");
    bucket.put(&format!("AWSLogs/{name}/broken.json.gz"), b"\x1f\x8bbroken");
    bucket.put(&format!("{name}.txt"), b"foreign");
    let broken = key("111122223333", "CloudTrail", "eu-west-1", "2026-11-01", "a");
    bucket.put(&broken.replace("AWSLogs/", &format!("{name}/AWSLogs/")), b"\x1f\x8bbroken");
    for level in ["warn", "trailhose=trace"] {
        let out = tempfile::tempdir().unwrap();
        let args = ["sync", text(bucket.path()), text(out.path()), "--all-files", "--verbose"];
        let ran = run(&args, level);
        assert_eq!(ran.code(), 3, "{ran:?}");
        assert!(ran.err().contains("quarantined: ") && ran.err().contains("owned"), "{ran:?}");
        assert_harmless(&ran.out());
        assert_harmless(&ran.err());
        let ran = run(&[&args[..], &["--json"]].concat(), level);
        // JSON output contains the key with JSON escapes.
        assert_eq!(ran.out().lines().count(), 1, "{ran:?}");
        assert!(!ran.out().contains('\u{1b}') && ran.json().to_string().contains("owned"), "{ran:?}");
    }
    let path = bucket.path().join(format!("AWSLogs/{name}/broken.json.gz"));
    let ran = run(&["explain", text(&path)], "warn");
    assert!(ran.out().contains("owned"), "{ran:?}");
    assert_harmless(&ran.out());
    assert_harmless(&ran.err());
}

#[test]
fn event_cannot_control_the_terminal() {
    let bucket = Bucket::new();
    let evil = serde_json::Value::from(EVIL).to_string();
    let odd = event(1)
        .replace("\"eu-west-0\"", &evil)
        .replace("\"111122223333\"", &evil)
        .replace("\"2026-11-01T10:00:00Z\"", &evil);
    assert_eq!(odd.matches("owned").count(), 3);
    let path = bucket.put_log("a", &[odd]);
    let ran = run(&["explain", text(&path)], "trailhose=trace");
    assert!(ran.out().contains("owned"), "{ran:?}");
    assert_harmless(&ran.out());
    assert_harmless(&ran.err());
}

#[test]
fn event_cannot_escape_the_destination() {
    let bucket = Bucket::new();
    let whole = tempfile::tempdir().unwrap();
    let out = whole.path().join("a/b/out");
    let odd: Vec<_> = ["../../../x", "/etc/x", "..", ".", "", "a\\..\\b", "C:\\x", "x\u{0}y", "~", "$(id)", EVIL]
        .into_iter()
        .zip(0..)
        .map(|(text, number)| {
            let text = serde_json::Value::from(text).to_string();
            event(number).replace("\"eu-west-0\"", &text).replace("\"111122223333\"", &text)
        })
        .collect();
    bucket.put("AWSLogs/../x.txt", b"a key with dots");
    bucket.put(&key("111122223333", "CloudTrail", "eu-west-1", "2026-11-01", "a"), &gzip(&log(&odd)));
    let ran = run(&["sync", text(bucket.path()), text(&out)], "warn");
    assert_eq!(ran.code(), 0, "{ran:?}");
    laptop::assert_delivered(&out, &odd);
    let beside = |folder: &std::path::Path| {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
    };
    assert_eq!(beside(whole.path()), ["a"]);
    assert_eq!(beside(&whole.path().join("a")), ["b"]);
    assert_eq!(beside(&whole.path().join("a/b")), ["out"]);
    for name in beside(&out) {
        let name = name.to_str().unwrap();
        assert!(name == ".trailhose" || name.starts_with("account="), "{name:?}");
    }
}
