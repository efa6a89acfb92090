//! The grammar of a log file: the steps of an [`EventReader`] through the outermost object and the array of events.

use super::error::{DecodeError, JsonDefect};
use super::foreign::ForeignFormat;
use super::scan::{Field, Scanned};
use super::{EventReader, StepError, show};

/// The position of the reader in the grammar of a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReaderState {
    /// Before the first byte, which may start a byte order mark.
    Start,
    /// Before the outermost value.
    FirstValue,
    /// Between the members of the outermost object. `after_first`: after the first member; `has_records`: after
    /// `Records`.
    Members { after_first: bool, has_records: bool },
    /// Within the array of events. `after_first`: after the first event; `bare`: the array is the outermost value.
    Records { after_first: bool, bare: bool },
    /// After the outermost value.
    AfterJson,
    /// The whole object is read.
    Done,
}

/// The byte order mark of UTF-8. Editors and scripts on Windows write it before the JSON.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl EventReader<'_> {
    /// Takes the next step in the grammar. Returns the event that the step scanned, if it scanned one.
    pub(super) fn step(&mut self) -> Result<Option<Scanned>, StepError> {
        match self.state {
            ReaderState::Start => self.start()?,
            ReaderState::FirstValue => self.first_value()?,
            ReaderState::Members { after_first, has_records } => self.member(after_first, has_records)?,
            ReaderState::Records { after_first, bare } => return self.element(after_first, bare),
            ReaderState::AfterJson => {
                if let Some(_byte) = self.peek()? {
                    return Err(self.invalid(self.at, JsonDefect::AfterEnd).into());
                }
                self.state = ReaderState::Done;
            }
            ReaderState::Done => {}
        }
        Ok(None)
    }

    fn start(&mut self) -> Result<(), StepError> {
        if self.input.size() == 0 {
            return Err(DecodeError::Empty.into());
        }
        while self.filled < BYTE_ORDER_MARK.len() && self.read_more()? {}
        if self.buffer[..self.filled].starts_with(BYTE_ORDER_MARK) {
            self.at = BYTE_ORDER_MARK.len();
        }
        self.state = ReaderState::FirstValue;
        Ok(())
    }

    fn first_value(&mut self) -> Result<(), StepError> {
        self.state = match self.need("the first value")? {
            b'{' => ReaderState::Members { after_first: false, has_records: false },
            b'[' => ReaderState::Records { after_first: false, bare: true },
            byte => {
                let format = ForeignFormat::of_first_bytes(&self.buffer[self.at..self.filled]);
                let at = self.base + self.at as u64;
                return Err(DecodeError::NotJson { at, found: show(byte), format }.into());
            }
        };
        self.at += 1;
        Ok(())
    }

    /// Parses one member of the outermost object, or the object's end.
    fn member(&mut self, after_first: bool, has_records: bool) -> Result<(), StepError> {
        const WITHIN: &str = "the outermost object";
        match (self.need(WITHIN)?, after_first) {
            (b'}', _) => {
                if !has_records {
                    return Err(DecodeError::NoRecords { format: self.format }.into());
                }
                self.at += 1;
                self.state = ReaderState::AfterJson;
                return Ok(());
            }
            (b',', true) => {
                self.at += 1;
                self.need(WITHIN)?;
            }
            (_, true) => return Err(self.unexpected("',' or '}'").into()),
            (_, false) => {}
        }
        if self.need(WITHIN)? != b'"' {
            return Err(self.unexpected("a name in quotes").into());
        }
        let name = self.value()?;
        let text = serde_json::from_slice::<String>(&self.buffer[self.at..name.end])
            .map_err(|_| self.unexpected("a name in UTF-8"))?;
        let is_records = text == "Records";
        self.at = name.end;
        if self.need(WITHIN)? != b':' {
            return Err(self.unexpected("':'").into());
        }
        self.at += 1;
        let first = self.need(WITHIN)?;
        if !is_records {
            self.format = ForeignFormat::more_specific(self.format, ForeignFormat::of_member(&text));
            let found = self.value()?;
            self.utf8(&found)?;
            self.at = found.end;
            self.state = ReaderState::Members { after_first: true, has_records };
            return Ok(());
        }
        // A duplicate `Records` is ambiguous: a reader that takes the last one would lose the events of the first.
        if has_records {
            return Err(self.invalid(self.at, JsonDefect::DuplicateRecords).into());
        }
        if first != b'[' {
            return Err(self.unexpected("'[': \"Records\" is an array").into());
        }
        self.at += 1;
        self.state = ReaderState::Records { after_first: false, bare: false };
        Ok(())
    }

    /// Scans the next event of the array. Returns `None` at the end of the array.
    fn element(&mut self, after_first: bool, bare: bool) -> Result<Option<Scanned>, StepError> {
        const WITHIN: &str = "the array of events";
        match (self.need(WITHIN)?, after_first) {
            (b']', _) => {
                self.at += 1;
                self.state = if bare {
                    ReaderState::AfterJson
                } else {
                    ReaderState::Members { after_first: true, has_records: true }
                };
                return Ok(None);
            }
            (b',', true) => {
                self.at += 1;
                self.need(WITHIN)?;
            }
            (_, true) => return Err(self.unexpected("',' or ']'").into()),
            (_, false) => {}
        }
        if self.need(WITHIN)? != b'{' {
            return Err(self.unexpected("'{': an event is an object").into());
        }
        let found = self.scanned_event()?;
        self.utf8(&found)?;
        if [Field::Id, Field::AggregatedId, Field::Time].into_iter().all(|field| found.field(field).is_none()) {
            self.check_unidentified(&found, bare)?;
        }
        self.state = ReaderState::Records { after_first: true, bare };
        Ok(Some(found))
    }

    /// Checks an element that has neither an ID nor a time. Every CloudTrail event has one of them. An array without
    /// the name `Records` may contain anything, so such an element of it is rejected. In `Records`, only an envelope
    /// of another format is rejected.
    #[cold]
    fn check_unidentified(&self, found: &Scanned, bare: bool) -> Result<(), DecodeError> {
        let format = ForeignFormat::of_element(&self.buffer[self.at..found.end]);
        if bare || format.is_some() {
            return Err(DecodeError::NotAnEvent { at: self.base + self.at as u64, format });
        }
        Ok(())
    }
}
