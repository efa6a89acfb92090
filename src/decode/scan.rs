//! Finds the end of a JSON value, checks its grammar on the way, and remembers where an event's few needed fields lie.
//!
//! The scan builds nothing: it answers with ranges of the bytes it was given. A value that is not wholly there yet is
//! [`Fault::Incomplete`]; the caller reads on and scans that value again from its start.

use std::ops::Range;

/// The deepest nesting that is read, as in `serde_json`. An event of CloudTrail nests about ten deep.
pub(super) const MAX_DEPTH: u32 = 128;

/// Why a value could not be scanned to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes end within the value.
    Incomplete,
    /// The byte at this offset cannot stand there.
    Invalid { at: usize, expected: &'static str },
}

/// A field of an event that the pipeline reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Id,
    Time,
    Account,
    Region,
}

impl Field {
    /// Aggregated events spell two of them differently.
    fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"eventID" | b"eventId" => Self::Id,
            b"eventTime" => Self::Time,
            b"recipientAccountId" | b"accountId" => Self::Account,
            b"awsRegion" => Self::Region,
            _ => return None,
        })
    }
}

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    /// Where the value ends.
    pub end: usize,
    /// White space stands between its tokens.
    pub spaced: bool,
    /// Some of it would break a line.
    pub broken: bool,
    /// Where the fields' values lie, in the order of [`Field`]: a string without its quotes, or a number.
    fields: [Option<Value>; 4],
}

/// Where a field's value lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub range: Range<usize>,
    pub escaped: bool,
}

impl Scanned {
    pub(super) fn field(&self, field: Field) -> Option<&Value> {
        self.fields[field as usize].as_ref()
    }
}

/// Scans the value that starts at `start`.
pub(super) fn value(bytes: &[u8], start: usize) -> Result<Scanned, Fault> {
    Scan { bytes, at: start, depth: 0, objects: 0, pending: None, found: Scanned::default() }.run()
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
    /// One bit a level, the innermost lowest: whether it is an object.
    objects: u128,
    /// The field whose value comes next.
    pending: Option<Field>,
    found: Scanned,
}

impl Scan<'_> {
    fn run(mut self) -> Result<Scanned, Fault> {
        loop {
            self.white_space();
            if self.opening()? {
                continue;
            }
            if self.closings()? {
                self.found.end = self.at;
                return Ok(self.found);
            }
        }
    }

    /// Reads one scalar or one opening bracket. True when a value comes next.
    fn opening(&mut self) -> Result<bool, Fault> {
        let start = self.at;
        match self.peek()? {
            b'"' => {
                let escaped = self.string()?;
                self.keep(start + 1..self.at - 1, escaped);
            }
            b'{' => {
                self.descend(true)?;
                if self.peek()? == b'}' {
                    return Ok(false);
                }
                self.name()?;
                return Ok(true);
            }
            b'[' => {
                self.descend(false)?;
                return Ok(self.peek()? != b']');
            }
            b'-' | b'0'..=b'9' => {
                self.number()?;
                self.keep(start..self.at, false);
            }
            b't' => self.literal(b"true")?,
            b'f' => self.literal(b"false")?,
            b'n' => self.literal(b"null")?,
            _ => return self.invalid("a value"),
        }
        self.pending = None;
        Ok(false)
    }

    /// Reads what may follow a value: closing brackets, then a comma. True when the outermost value has ended.
    fn closings(&mut self) -> Result<bool, Fault> {
        while self.depth > 0 {
            self.white_space();
            let object = self.objects & 1 == 1;
            match (self.peek()?, object) {
                (b',', true) => {
                    self.at += 1;
                    self.white_space();
                    self.name()?;
                    return Ok(false);
                }
                (b',', false) => {
                    self.at += 1;
                    return Ok(false);
                }
                (b'}', true) | (b']', false) => {
                    self.at += 1;
                    self.depth -= 1;
                    self.objects >>= 1;
                }
                (_, true) => return self.invalid("',' or '}'"),
                (_, false) => return self.invalid("',' or ']'"),
            }
        }
        Ok(true)
    }

    fn descend(&mut self, object: bool) -> Result<(), Fault> {
        if self.depth == MAX_DEPTH {
            return self.invalid("no more than 128 levels of nesting");
        }
        // A field whose value is an object or an array is as good as absent.
        if self.depth == 1 {
            self.forget();
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(object);
        self.at += 1;
        self.white_space();
        Ok(())
    }

    /// A member's name and the colon after it.
    fn name(&mut self) -> Result<(), Fault> {
        if self.peek()? != b'"' {
            return self.invalid("a name in quotes");
        }
        let start = self.at;
        let escaped = self.string()?;
        // An `eventID` deeper down, in `requestParameters` say, is not the event's.
        if self.depth == 1 {
            let name = &self.bytes[start..self.at];
            self.pending = if escaped {
                serde_json::from_slice::<String>(name).ok().and_then(|name| Field::named(name.as_bytes()))
            } else {
                Field::named(&name[1..name.len() - 1])
            };
            // Of two members of one name the last counts, as JSON readers have it; until its value is read, none does.
            self.forget();
        }
        self.white_space();
        if self.peek()? != b':' {
            return self.invalid("':'");
        }
        self.at += 1;
        Ok(())
    }

    fn keep(&mut self, range: Range<usize>, escaped: bool) {
        if self.depth == 1
            && let Some(field) = self.pending
        {
            self.found.fields[field as usize] = Some(Value { range, escaped });
        }
    }

    fn forget(&mut self) {
        if let Some(field) = self.pending {
            self.found.fields[field as usize] = None;
        }
    }

    /// From the opening quote to behind the closing one. True when it holds an escape.
    fn string(&mut self) -> Result<bool, Fault> {
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain_run(&self.bytes[self.at..]);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(escaped);
                }
                b'\\' => {
                    escaped = true;
                    self.at += 1;
                    self.escape()?;
                }
                _ => return self.invalid("no control character within a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        match self.peek()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek()?.is_ascii_hexdigit() {
                        return self.invalid("four hexadecimal digits");
                    }
                    self.at += 1;
                }
            }
            _ => return self.invalid("an escape of JSON"),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            _ => self.digits()?,
        }
        if self.at < self.bytes.len() && self.bytes[self.at] == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if self.at < self.bytes.len() && self.bytes[self.at] | 0x20 == b'e' {
            self.at += 1;
            if matches!(self.peek()?, b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        if !self.peek()?.is_ascii_digit() {
            return self.invalid("a digit");
        }
        while self.at < self.bytes.len() && self.bytes[self.at].is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<(), Fault> {
        for &letter in word {
            if self.peek()? != letter {
                return self.invalid("true, false or null");
            }
            self.at += 1;
        }
        Ok(())
    }

    fn white_space(&mut self) {
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\t' => {}
                b'\n' | b'\r' => self.found.broken = true,
                _ => return,
            }
            self.found.spaced = true;
            self.at += 1;
        }
    }

    fn peek(&self) -> Result<u8, Fault> {
        self.bytes.get(self.at).copied().ok_or(Fault::Incomplete)
    }

    fn invalid<T>(&self, expected: &'static str) -> Result<T, Fault> {
        Err(Fault::Invalid { at: self.at, expected })
    }
}

/// How many bytes from the start are neither a quote, a backslash nor a control character. Eight at a time: most of a
/// CloudTrail file is string.
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let mut run = 0;
    for chunk in bytes.chunks_exact(8) {
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
        let quote = is_zero(word ^ (ONES * b'"' as u64));
        let backslash = is_zero(word ^ (ONES * b'\\' as u64));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let special = (quote | backslash | control) & TOPS;
        if special != 0 {
            // The lowest marked byte is exact; borrows can only mark bytes above it.
            return run + special.trailing_zeros() as usize / 8;
        }
        run += 8;
    }
    let rest = &bytes[run..];
    run + rest.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\').unwrap_or(rest.len())
}

/// Copies `value`, a scanned one, without white space between its tokens: all of it, or only the runs that hold a line
/// break.
pub(super) fn strip(value: &[u8], which: Strip, out: &mut Vec<u8>) {
    let mut at = 0;
    while at < value.len() {
        let start = at;
        match value[at] {
            b'"' => {
                at += 1;
                loop {
                    at += plain_run(&value[at..]);
                    match value.get(at) {
                        Some(b'\\') => at += 2,
                        Some(b'"') => break at += 1,
                        // Not in a scanned value; copying on loses nothing.
                        _ => at += 1,
                    }
                    if at >= value.len() {
                        break;
                    }
                }
                at = at.min(value.len());
                out.extend_from_slice(&value[start..at]);
            }
            b' ' | b'\t' | b'\n' | b'\r' => {
                while at < value.len() && matches!(value[at], b' ' | b'\t' | b'\n' | b'\r') {
                    at += 1;
                }
                let run = &value[start..at];
                if which == Strip::Breaks && !run.iter().any(|&byte| byte == b'\n' || byte == b'\r') {
                    out.extend_from_slice(run);
                }
            }
            _ => {
                at += 1;
                out.push(value[start]);
            }
        }
    }
}

/// Which white space [`strip`] removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strip {
    /// Runs that hold a line break: the event's own bytes otherwise.
    Breaks,
    /// All: what two spellings of one event have in common.
    All,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn end(text: &str) -> Result<usize, Fault> {
        value(text.as_bytes(), 0).map(|found| found.end)
    }

    /// Bytes that make JSON and nearly JSON.
    fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
        let token = prop_oneof![
            Just(b"{".to_vec()),
            Just(b"}".to_vec()),
            Just(b"[".to_vec()),
            Just(b"]".to_vec()),
            Just(b",".to_vec()),
            Just(b":".to_vec()),
            Just(b" ".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\"a\"".to_vec()),
            Just(b"\"a\":".to_vec()),
            Just(b"\"\\u00e9\\n\\\"\"".to_vec()),
            Just(b"-0.5e+3".to_vec()),
            Just(b"01".to_vec()),
            Just(b"true".to_vec()),
            Just(b"null".to_vec()),
            Just(b"\"eventID\":\"x\"".to_vec()),
            proptest::collection::vec(any::<u8>(), 1..3),
        ];
        proptest::collection::vec(token, 0..14).prop_map(|tokens| tokens.concat())
    }

    /// Values that are JSON, with white space of all kinds.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|value| value.to_string()),
            any::<f64>().prop_filter_map("finite", |value| serde_json::to_string(&value).ok()),
            ".{0,12}".prop_map(|text| serde_json::Value::from(text).to_string()),
        ];
        leaf.prop_recursive(6, 40, 5, |inner| {
            let space = "[ \t\r\n]{0,2}";
            prop_oneof![
                proptest::collection::vec((inner.clone(), space), 0..5).prop_map(|items| {
                    let items: Vec<_> = items.into_iter().map(|(item, space)| format!("{space}{item}")).collect();
                    format!("[{}]", items.join(","))
                }),
                proptest::collection::vec((".{0,6}", inner, space), 0..5).prop_map(|items| {
                    let items: Vec<_> = items
                        .into_iter()
                        .map(|(name, item, space)| format!("{space}{}:{space}{item}", serde_json::Value::from(name)))
                        .collect();
                    format!("{{{}}}", items.join(","))
                }),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn accepts_exactly_what_serde_json_accepts(bytes in nearly_json()) {
            let ours = value(&bytes, bytes.iter().take_while(|byte| b" \n\t\r".contains(byte)).count());
            let complete = ours.as_ref().is_ok_and(|found| {
                bytes[found.end..].iter().all(|byte| b" \n\t\r".contains(byte)) && std::str::from_utf8(&bytes).is_ok()
            });
            let theirs = serde_json::from_slice::<&serde_json::value::RawValue>(&bytes).is_ok();
            prop_assert_eq!(complete, theirs, "{:?} {:?}", String::from_utf8_lossy(&bytes), ours);
        }

        #[test]
        fn every_prefix_of_a_container_is_incomplete(text in json()) {
            prop_assume!(text.starts_with(['{', '[']));
            for cut in 0..text.len() {
                prop_assert_eq!(value(&text.as_bytes()[..cut], 0).map(|found| found.end), Err(Fault::Incomplete));
            }
            prop_assert_eq!(end(&text), Ok(text.len()));
        }

        #[test]
        fn stripping_changes_no_value_and_leaves_one_line(text in json()) {
            let (mut line, mut tight) = (Vec::new(), Vec::new());
            strip(text.as_bytes(), Strip::Breaks, &mut line);
            strip(text.as_bytes(), Strip::All, &mut tight);
            let before: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<serde_json::Value>(&line).unwrap(), &before);
            prop_assert_eq!(&serde_json::from_slice::<serde_json::Value>(&tight).unwrap(), &before);
            prop_assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
            prop_assert!(tight.len() <= line.len() && line.len() <= text.len());
        }

        #[test]
        fn a_plain_run_ends_where_a_bytewise_search_says(bytes in proptest::collection::vec(prop_oneof![
            4 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\'), 12 => Just(b'a')], 0..70)) {
            let naive = bytes.iter().position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\');
            prop_assert_eq!(plain_run(&bytes), naive.unwrap_or(bytes.len()));
        }
    }

    #[test]
    fn only_the_events_own_fields_are_its_fields() {
        let text = br#"{"a":{"eventID":"no"},"eventID":"first","eventI\u0044":"last","awsRegion":{"x":"y"},"b":["eventTime"],"eventTime":null}"#;
        let found = value(text, 0).unwrap();
        let id = found.field(Field::Id).unwrap();
        assert_eq!(&text[id.range.clone()], b"last");
        assert_eq!(found.field(Field::Region), None);
        assert_eq!(found.field(Field::Time), None);
    }

    #[test]
    fn nesting_has_a_limit_and_its_error_an_offset() {
        assert_eq!(end(&format!("{}{}", "[".repeat(128), "]".repeat(128))), Ok(256));
        let deep = end(&format!("{}{}", "[".repeat(129), "]".repeat(129)));
        assert!(matches!(deep, Err(Fault::Invalid { at: 128, .. })), "{deep:?}");
    }
}
