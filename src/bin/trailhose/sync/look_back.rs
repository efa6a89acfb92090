//! Look-back: the day from which a round of `sync --watch` scans a source.
//!
//! The day is that of the newest listed log, or today if that is earlier. If it came from the clock alone, one clean round
//! while the clock is in the future would make all later rounds start in the future, and they would find nothing, without
//! an error. A day before today costs little, because there are no objects between the newest log and today.

use jiff::civil::Date;

/// The days that the rounds so far listed of one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LookBack {
    /// The newest day of delivery in the names of the logs that any round listed.
    newest: Option<Date>,
    /// The newest day of all logs listed by the end of the last clean round; `Date::MIN` if no log was listed.
    clean: Option<Date>,
    /// Whether every round scans everything.
    is_off: bool,
}

impl LookBack {
    /// Returns the day from which the plan's look-back is subtracted; `None` if the next round scans everything.
    pub(crate) fn start(&self, today: Date) -> Option<Date> {
        if self.is_off { None } else { Some(self.clean?.min(today)) }
    }

    /// Lets all later rounds scan everything. Listing a folder of this machine costs no requests, so its files outside
    /// CloudTrail's layout, which have no day, are read in every round once there are some.
    pub(crate) fn switch_off(&mut self) {
        self.is_off = true;
    }

    /// Adds a round of the source that started on the day `today` and listed logs up to the day `newest`. After a clean round,
    /// [`LookBack::start`] returns the day of the newest log of all rounds. Until a log is listed, rounds scan all days.
    pub(crate) fn add_round(&mut self, today: Date, newest: Option<Date>, is_clean: bool) {
        // A name with a day in the future must not move the start either.
        self.newest = self.newest.max(newest.map(|day| day.min(today)));
        if is_clean {
            self.clean = Some(self.newest.unwrap_or(Date::MIN));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn clock_in_the_future_does_not_move_the_start_beyond_the_newest_log() {
        let (real, future) = (date(2026, 11, 20), date(2027, 6, 1));
        let mut look_back = LookBack::default();
        look_back.add_round(future, Some(real), true);
        assert_eq!(look_back.start(future), Some(real), "while the clock is wrong");
        assert_eq!(look_back.start(real), Some(real), "after it was corrected");
        look_back.add_round(real, Some(real), true);
        assert_eq!(look_back.start(date(2026, 11, 21)), Some(real));
    }

    #[test]
    fn clock_in_the_past_makes_rounds_start_earlier() {
        let mut look_back = LookBack::default();
        look_back.add_round(date(2026, 11, 20), Some(date(2026, 11, 20)), true);
        assert_eq!(look_back.start(date(2020, 1, 1)), Some(date(2020, 1, 1)));
    }

    #[test]
    fn name_in_the_future_does_not_move_the_start_beyond_today() {
        let mut look_back = LookBack::default();
        look_back.add_round(date(2026, 11, 20), Some(date(2099, 1, 1)), true);
        assert_eq!(look_back.start(date(2026, 11, 20)), Some(date(2026, 11, 20)));
    }

    #[test]
    fn round_that_is_not_clean_or_lists_nothing_does_not_move_the_start() {
        let (monday, tuesday) = (date(2026, 11, 16), date(2026, 11, 17));
        let mut look_back = LookBack::default();
        look_back.add_round(monday, Some(monday), false);
        assert_eq!(look_back.start(monday), None, "no clean round so far: everything is scanned");
        let mut look_back = LookBack::default();
        look_back.add_round(monday, None, true);
        assert_eq!(look_back.start(monday), Some(Date::MIN), "no log so far: all days are scanned");
        look_back.add_round(monday, Some(monday), false);
        assert_eq!(look_back.start(monday), Some(Date::MIN));
        look_back.add_round(monday, Some(monday), true);
        look_back.add_round(tuesday, Some(tuesday), false);
        assert_eq!(look_back.start(tuesday), Some(monday));
        look_back.add_round(tuesday, None, true);
        assert_eq!(look_back.start(tuesday), Some(tuesday), "the days of earlier rounds count");
    }
}
