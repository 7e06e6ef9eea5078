//! From a moment to its civil day.

use std::sync::Mutex;

use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

use super::days::Day;
use crate::numbered::locked;

/// The civil days of a time zone. Remembers the last day that it was asked for, because it is
/// nearly always the same one.
pub(crate) struct Calendar {
    zone: TimeZone,
    known: Mutex<Known>,
}

#[derive(Clone, Copy)]
struct Known {
    day: Day,
    from_ms: i64,
    until_ms: i64,
}

impl Calendar {
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, known: Mutex::new(Known { day: 0, from_ms: 0, until_ms: 0 }) }
    }

    /// The zone's name, as far as it has one.
    pub fn zone(&self) -> &str {
        self.zone.iana_name().unwrap_or("unnamed")
    }

    /// The day of a moment in Unix milliseconds; the nearest that there is for one that no day
    /// stands for.
    pub fn day_of(&self, ms: i64) -> Day {
        let mut known = locked(&self.known);
        if !(known.from_ms..known.until_ms).contains(&ms) {
            let day = self.reckon(ms);
            let (from_ms, until_ms) = (self.begin_ms(day), self.begin_ms(day.saturating_add(1)));
            *known = Known { day, from_ms, until_ms };
        }
        known.day
    }

    /// When a day begins, in Unix milliseconds.
    pub fn begin_ms(&self, day: Day) -> i64 {
        let begin = date_of(day).to_zoned(self.zone.clone()).and_then(|it| it.start_of_day());
        begin.map_or(i64::MAX, |begin| begin.timestamp().as_millisecond())
    }

    fn reckon(&self, ms: i64) -> Day {
        let moment = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
        let date = moment.to_zoned(self.zone.clone()).date();
        let days = (date - FIRST).get_days();
        Day::try_from(days.max(0)).unwrap_or(Day::MAX)
    }
}

fn date_of(day: Day) -> Date {
    FIRST.saturating_add(jiff::Span::new().days(day))
}

const FIRST: Date = date(1970, 1, 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_civil_day_and_begins_where_the_one_before_ends() {
        let calendar = Calendar::new(TimeZone::get("Europe/Berlin").unwrap());
        let moment = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let before = calendar.day_of(moment("2026-10-24T21:59:59.999Z"));
        let day = calendar.day_of(moment("2026-10-24T22:00:00Z"));
        assert_eq!((day, calendar.day_of(moment("2026-10-25T22:59:59Z"))), (before + 1, day));
        assert_eq!(calendar.day_of(moment("2026-10-25T23:00:00Z")), day + 1, "it has 25 hours");
        assert_eq!(calendar.begin_ms(day), moment("2026-10-24T22:00:00Z"));
        assert_eq!(day, 20_751);
        assert_eq!(calendar.day_of(-1), 0, "clamped");
        assert_eq!(calendar.zone(), "Europe/Berlin");
    }
}
