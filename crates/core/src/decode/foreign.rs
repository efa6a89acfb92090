//! Recognizes files that contain CloudTrail events in another format than CloudTrail's log files.
//!
//! Such a file is rejected with its format and a way to convert it. Its events are not extracted. They are escaped,
//! reformatted or converted, but an event must be delivered with the bytes that it has in the object.

use crate::event::members::members;

/// A format that is not CloudTrail's.
#[derive(Debug, PartialEq, Eq)]
pub struct ForeignFormat {
    /// What the file looks like.
    name: &'static str,
    /// What to do with the file.
    advice: &'static str,
}

impl ForeignFormat {
    /// Returns the end of an error message: the format and the advice, or nothing if the format is unknown.
    pub(super) fn hint(format: Option<&Self>) -> String {
        format.map(|Self { name, advice }| format!("; it looks like {name}: {advice}")).unwrap_or_default()
    }

    /// Returns the more specific of two formats. Rows of an export contain the names of an event's fields too.
    pub(super) fn more_specific(first: Option<&'static Self>, second: Option<&'static Self>) -> Option<&'static Self> {
        first.filter(|format| **format != JSON_LINES).or(second).or(first)
    }

    /// Returns the format whose outermost JSON object has a member of this name.
    pub(super) fn of_member(name: &str) -> Option<&'static Self> {
        Some(match name {
            "Events" | "CloudTrailEvent" => &LOOKUP_EVENTS,
            "logEvents" | "logGroup" | "@message" => &CLOUDWATCH_LOGS,
            "detail-type" => &EVENTBRIDGE,
            "QueryResultRows" | "QueryStatus" | "eventData" | "eventdata" | "eventJson" | "eventjson" => &LAKE,
            "digestS3Object" | "digestEndTime" => &DIGEST,
            "eventVersion" | "eventID" | "eventId" | "eventTime" => &JSON_LINES,
            _ => return None,
        })
    }

    /// Returns the format of an element that is not an event.
    pub(super) fn of_element(element: &[u8]) -> Option<&'static Self> {
        let found = members(element, |name| Self::of_member(name).is_some()).ok()?;
        let envelope = |name: &String| Self::of_member(name).filter(|format| **format != JSON_LINES);
        // The names are in no fixed order: the result must not depend on it.
        found.keys().filter_map(envelope).min_by_key(|format| format.name)
    }

    /// Returns the format that the first bytes of a file indicate. The bytes start neither a JSON object nor an array.
    pub(super) fn of_first_bytes(bytes: &[u8]) -> Option<&'static Self> {
        const MAGIC: [(&[u8], &ForeignFormat); 8] = [
            (b"\xff\xfe", &UTF_16),
            (b"\xfe\xff", &UTF_16),
            (b"\x28\xb5\x2f\xfd", &ZSTD),
            (b"PK\x03\x04", &ZIP),
            (b"PAR1", &TABLE),
            (b"ORC", &TABLE),
            (b"BZh", &BZIP2),
            (b"<", &MARKUP),
        ];
        if let Some((_, format)) = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
            return Some(format);
        }
        let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let header = String::from_utf8_lossy(line).to_ascii_lowercase();
        let names = ["eventid", "eventtime", "eventname", "eventversion", "eventjson"];
        (header.contains(',') && names.iter().any(|name| header.contains(name))).then_some(&LAKE)
    }
}

static LOOKUP_EVENTS: ForeignFormat = ForeignFormat {
    name: "the output of `aws cloudtrail lookup-events`",
    advice: "convert it with jq '{Records: [.. | .CloudTrailEvent? // empty | fromjson]}'",
};

static JSON_LINES: ForeignFormat =
    ForeignFormat { name: "JSON Lines or a single event", advice: "convert it with jq -s '{Records: .}'" };

static CLOUDWATCH_LOGS: ForeignFormat = ForeignFormat {
    name: "CloudTrail events from CloudWatch Logs (subscription or export)",
    advice: "use the log files in the trail's S3 bucket, which contain the same events",
};

static EVENTBRIDGE: ForeignFormat = ForeignFormat {
    name: "events from EventBridge",
    advice: "use the log files in the trail's S3 bucket, which contain the same events",
};

static LAKE: ForeignFormat = ForeignFormat {
    name: "a query result or export of CloudTrail Lake or of a table",
    advice: "use the log files in the trail's S3 bucket, or convert its rows to {\"Records\": [EVENT, …]}",
};

static DIGEST: ForeignFormat = ForeignFormat {
    name: "a CloudTrail digest under the name of a log",
    advice: "it contains no events; restore its name or delete this copy",
};

static UTF_16: ForeignFormat =
    ForeignFormat { name: "UTF-16", advice: "convert it to UTF-8 with iconv -f UTF-16 -t UTF-8" };

static ZSTD: ForeignFormat = ForeignFormat { name: "zstd", advice: "decompress it, or compress it with gzip" };

static ZIP: ForeignFormat = ForeignFormat { name: "a ZIP archive", advice: "extract the log files from it" };

static BZIP2: ForeignFormat = ForeignFormat { name: "bzip2", advice: "decompress it, or compress it with gzip" };

static TABLE: ForeignFormat =
    ForeignFormat { name: "a Parquet or ORC file", advice: "use the log files in the trail's S3 bucket" };

static MARKUP: ForeignFormat =
    ForeignFormat { name: "XML or HTML, such as an error page", advice: "download the log file again" };
