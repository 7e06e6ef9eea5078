//! When a department must not be asked, by the civil clock.
//!
//! Owns a window's form and its arithmetic: once, from one date and time to another, or daily, on
//! all or some weekdays, also over midnight.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, ToSpan, Zoned};
use jumpgate_catalogue::Notice;
use serde::Deserialize;

/// A maintenance window: `from` and `to`, or `daily_from` and `daily_to`, in civil time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSettings {
    /// Begin of a single window.
    pub from: Option<DateTime>,
    /// End of a single window.
    pub to: Option<DateTime>,
    /// Begin of a window on each day.
    pub daily_from: Option<Time>,
    /// Its end; on the next day if it is not after the begin.
    pub daily_to: Option<Time>,
    /// The weekdays on which a daily window begins, 1 (Monday) to 7; every day if left out.
    #[serde(default)]
    pub weekdays: Vec<i8>,
    /// What people are shown meanwhile.
    pub message: Option<NoticeSettings>,
}

/// A message for people at a counter.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoticeSettings {
    /// In English.
    pub en: String,
    /// In Chinese.
    pub zh: String,
}

impl NoticeSettings {
    /// The notice, if it can be shown.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn notice(&self) -> Result<Notice, String> {
        Notice::new(self.en.as_str(), self.zh.as_str())
    }
}

impl WindowSettings {
    /// What is wrong with it and what would be right.
    pub(crate) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |fault: &str, mend: &str| Err((fault.to_owned(), mend.to_owned()));
        if let Some(Err(mend)) = self.message.as_ref().map(NoticeSettings::notice) {
            return Err(("the message cannot be shown".to_owned(), mend));
        }
        if self.weekdays.iter().any(|day| !(1..=7).contains(day)) {
            return wrong("there is no such weekday", "write 1 (Monday) to 7");
        }
        match (self.from, self.to, self.daily_from, self.daily_to) {
            (Some(from), Some(to), None, None) if from < to && self.weekdays.is_empty() => Ok(()),
            (Some(_), Some(_), None, None) => {
                wrong("it never is", "let to be after from, and leave weekdays out")
            }
            (None, None, Some(_), Some(_)) => Ok(()),
            _ => {
                wrong("it has no begin or no end", "write from and to, or daily_from and daily_to")
            }
        }
    }

    /// How long it lasts from `now` on; none outside of it.
    pub(crate) fn rest(&self, now: &Zoned) -> Option<Duration> {
        let at = now.datetime();
        let (_, end) = self.around(at.date()).into_iter().flatten().find(|(from, to)| {
            let within = *from..*to;
            within.contains(&at)
        })?;
        // Where the clock is put back, an end that comes twice is the later one.
        let end = now.time_zone().to_ambiguous_zoned(end).later().ok()?;
        Some(Duration::try_from(now.duration_until(&end)).unwrap_or_default().max(REST_MIN))
    }

    /// What people are shown meanwhile.
    pub(crate) fn notice(&self) -> Option<Notice> {
        // Checked with the rest of the settings.
        self.message.as_ref()?.notice().ok()
    }

    /// The windows that may hold a moment of this day: those that begin on it and the day before.
    fn around(&self, day: Date) -> [Option<(DateTime, DateTime)>; 2] {
        if let (Some(from), Some(to)) = (self.from, self.to) {
            return [Some((from, to)), None];
        }
        [self.beginning(day), day.checked_sub(1.day()).ok().and_then(|day| self.beginning(day))]
    }

    fn beginning(&self, day: Date) -> Option<(DateTime, DateTime)> {
        let weekday = day.weekday().to_monday_one_offset();
        if !self.weekdays.is_empty() && !self.weekdays.contains(&weekday) {
            return None;
        }
        let (from, to) = (self.daily_from?, self.daily_to?);
        let last_day = if to > from { day } else { day.checked_add(1.day()).ok()? };
        Some((day.to_datetime(from), last_day.to_datetime(to)))
    }
}

/// How long windows that follow one another last together from `now` on; none outside of all.
pub(crate) fn rest_of(windows: &[WindowSettings], now: &Zoned) -> Option<Duration> {
    let mut all = Duration::ZERO;
    for _ in 0..FOLLOWING_MAX {
        let then = now.checked_add(SignedDuration::try_from(all).ok()?).ok()?;
        match windows.iter().filter_map(|window| window.rest(&then)).max() {
            Some(rest) => all += rest,
            None => break,
        }
    }
    (!all.is_zero()).then_some(all)
}

/// What people are shown at that moment, by the first window that says something.
pub(crate) fn notice_of(windows: &[WindowSettings], now: &Zoned) -> Option<Notice> {
    windows.iter().filter(|window| window.rest(now).is_some()).find_map(WindowSettings::notice)
}

/// Windows that follow one another without a gap: more than that is a department that is closed.
const FOLLOWING_MAX: usize = 64;
/// A clock that is put back may take what is left.
const REST_MIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(window: &str, at: &str) -> Option<u64> {
        let window: WindowSettings = toml::from_str(window).unwrap();
        window.check().unwrap();
        let at: DateTime = at.parse().unwrap();
        let at = at.in_tz("Asia/Shanghai").unwrap();
        window.rest(&at).map(|rest| rest.as_secs())
    }

    #[test]
    fn a_window_lasts_from_its_begin_to_its_end_in_civil_time() {
        let once = "from = \"2026-12-01T22:00\"\nto = \"2026-12-02T02:00\"";
        let nightly = "daily_from = \"23:30\"\ndaily_to = \"01:00\"";
        let sundays = "daily_from = \"23:30\"\ndaily_to = \"01:00\"\nweekdays = [7]";
        let noon = "daily_from = \"12:00\"\ndaily_to = \"13:00\"";
        let all_day = "daily_from = \"00:00\"\ndaily_to = \"00:00\"\nweekdays = [6]";
        for (window, at, expected) in [
            (once, "2026-12-01T21:59:59", None),
            (once, "2026-12-01T22:00", Some(14_400)),
            (once, "2026-12-02T01:59:59", Some(1)),
            (once, "2026-12-02T02:00", None),
            (nightly, "2026-12-01T23:29", None),
            (nightly, "2026-12-01T23:30", Some(5_400)),
            (nightly, "2026-12-02T00:30", Some(1_800)),
            (nightly, "2026-12-02T01:00", None),
            (sundays, "2026-11-29T23:45", Some(4_500)),
            (sundays, "2026-11-30T00:45", Some(900)),
            (sundays, "2026-11-30T23:45", None),
            (sundays, "2026-11-29T00:45", None),
            (noon, "2026-12-01T12:30", Some(1_800)),
            (noon, "2026-12-01T13:00", None),
            (all_day, "2026-11-28T00:00", Some(86_400)),
            (all_day, "2026-11-28T23:59", Some(60)),
            (all_day, "2026-11-29T00:00", None),
        ] {
            assert_eq!(rest(window, at), expected, "{window} at {at}");
        }
    }

    #[test]
    fn windows_without_a_gap_between_them_are_one() {
        let windows: Vec<WindowSettings> = [
            "daily_from = \"22:00\"\ndaily_to = \"23:00\"",
            "daily_from = \"22:30\"\ndaily_to = \"02:00\"",
            "daily_from = \"02:00\"\ndaily_to = \"02:30\"",
        ]
        .iter()
        .map(|text| toml::from_str(text).unwrap())
        .collect();
        let at = |text: &str| {
            let at: DateTime = text.parse().unwrap();
            rest_of(&windows, &at.in_tz("Asia/Shanghai").unwrap()).map(|rest| rest.as_secs())
        };
        assert_eq!(at("2026-12-01T22:15"), Some(15_300));
        assert_eq!(at("2026-12-02T02:29"), Some(60));
        assert_eq!(at("2026-12-02T02:30"), None);
    }

    #[test]
    fn where_the_clock_is_put_back_nobody_is_told_to_come_at_once() {
        let window: WindowSettings =
            toml::from_str("daily_from = \"23:00\"\ndaily_to = \"02:30\"").unwrap();
        // Three o'clock becomes two o'clock: half past two comes twice.
        let second: Zoned = "2026-10-25T02:15+01:00[Europe/Berlin]".parse().unwrap();
        assert_eq!(window.rest(&second), Some(Duration::from_secs(900)));
    }

    #[test]
    fn windows_that_cannot_be_are_told() {
        for (window, mend) in [
            ("", "write from and to, or daily_from"),
            ("from = \"2026-12-01T22:00\"", "write from and to, or daily_from"),
            ("daily_from = \"22:00\"\nto = \"2026-12-01T22:00\"", "write from and to"),
            ("from = \"2026-12-02T22:00\"\nto = \"2026-12-01T22:00\"", "let to be after from"),
            (
                "from = \"2026-12-01T22:00\"\nto = \"2026-12-02T22:00\"\nweekdays = [1]",
                "leave weekdays out",
            ),
            ("daily_from = \"22:00\"\ndaily_to = \"23:00\"\nweekdays = [0]", "1 (Monday) to 7"),
            (
                "daily_from = \"22:00\"\ndaily_to = \"23:00\"\n\
                 message = { en = \"\", zh = \"维护\" }",
                "en: must have 1 to 200 characters",
            ),
        ] {
            let window: WindowSettings = toml::from_str(window).unwrap();
            let (_, told) = window.check().unwrap_err();
            assert!(told.contains(mend), "{told}");
        }
    }
}
