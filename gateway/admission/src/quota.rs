//! How often: a rate and a burst, as the generic cell rate algorithm (ITU-T I.371) counts them.
//!
//! Owns one limiter, and the figures the `RateLimit` headers show of it and of allotments. It
//! never delays and never grows: a question fits now, or the answer says when it would.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::ledger::{Day, Left, PERIOD_DAYS, Span, Spent};
use crate::settings::RateSettings;

/// One quota as it stands after a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaReading {
    /// The quota's name: `caller`, or `caller/<department id>` for the caller's quota there;
    /// `:day` or `:90-days` behind it for an allotment.
    pub policy: Arc<str>,
    /// Questions it allows at once, or the allotment.
    pub quota: u32,
    /// Seconds, rounded up, in which an empty quota is full again; 1 or more.
    pub window_s: u64,
    /// Questions it would allow right now. Zero after a refusal, though a smaller batch may fit.
    pub remaining: u32,
    /// Seconds, rounded up, until the whole quota is there again; after a refusal, until the same
    /// questions can be asked again.
    pub reset_s: u64,
}

/// The values of the two header fields of draft-ietf-httpapi-ratelimit-headers-10.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimitHeaders {
    /// `RateLimit`: what is left of each quota (`r`) and for how many seconds (`t`).
    pub limit: String,
    /// `RateLimit-Policy`: how much each quota holds (`q`) and the seconds it fills in (`w`).
    pub policy: String,
}

/// Renders the header values for quotas with different names; None without any, because an empty
/// list has no header (RFC 9651 §3.1).
pub fn rate_limit_headers(readings: &[&QuotaReading]) -> Option<RateLimitHeaders> {
    let render = |item: &dyn Fn(&QuotaReading) -> String| {
        readings.iter().map(|reading| item(reading)).collect::<Vec<_>>().join(", ")
    };
    // A policy's name is made of slugs and a slash, so it needs no escape inside a quoted string.
    (!readings.is_empty()).then(|| RateLimitHeaders {
        limit: render(&|reading| {
            format!("\"{}\";r={};t={}", reading.policy, reading.remaining, reading.reset_s)
        }),
        policy: render(&|reading| {
            format!("\"{}\";q={};w={}", reading.policy, reading.quota, reading.window_s)
        }),
    })
}

/// One quota of one caller.
pub(crate) struct Limiter<C: Clock> {
    policy: Arc<str>,
    rate: RateSettings,
    clock: C,
    cells: RateLimiter<NotKeyed, InMemoryState, C, StateInformationMiddleware>,
}

/// A quota that does not allow the questions now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct QuotaSpent {
    pub(crate) rate: RateSettings,
    pub(crate) reading: QuotaReading,
    /// None if the burst is smaller than the questions asked at once.
    pub(crate) retry_after: Option<Duration>,
}

impl<C: Clock + Clone> Limiter<C> {
    pub(crate) fn new(policy: &str, rate: RateSettings, clock: &C) -> Self {
        let quota = Quota::per_second(rate.per_second).allow_burst(rate.burst);
        Self {
            policy: policy.into(),
            rate,
            clock: clock.clone(),
            cells: RateLimiter::direct_with_clock(quota, clock.clone()).with_middleware(),
        }
    }

    pub(crate) fn rate(&self) -> RateSettings {
        self.rate
    }

    /// Takes `questions` from the quota, or none of them.
    pub(crate) fn take(&self, questions: NonZeroU32) -> Result<QuotaReading, QuotaSpent> {
        match self.cells.check_n(questions) {
            Ok(Ok(snapshot)) => {
                let remaining = snapshot.remaining_burst_capacity();
                let used = self.rate.burst.get().saturating_sub(remaining);
                Ok(self.reading(remaining, u64::from(used.div_ceil(self.rate.per_second.get()))))
            }
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(self.clock.now());
                let reading = self.reading(0, whole_seconds(wait));
                Err(QuotaSpent { rate: self.rate, reading, retry_after: Some(wait) })
            }
            Err(_larger_than_burst) => {
                let reading = self.reading(0, 0);
                let reading = QuotaReading { reset_s: reading.window_s, ..reading };
                Err(QuotaSpent { rate: self.rate, reading, retry_after: None })
            }
        }
    }

    fn reading(&self, remaining: u32, reset_s: u64) -> QuotaReading {
        QuotaReading {
            policy: Arc::clone(&self.policy),
            quota: self.rate.burst.get(),
            window_s: u64::from(self.rate.burst.get().div_ceil(self.rate.per_second.get())),
            remaining,
            reset_s,
        }
    }
}

/// The names of one allotment's quotas.
pub(crate) struct AllotmentNames {
    day: Arc<str>,
    period: Arc<str>,
}

impl AllotmentNames {
    /// Those of the quota with that name. No department's id has a colon.
    pub(crate) fn of(policy: &str) -> Self {
        Self { day: format!("{policy}:day").into(), period: format!("{policy}:90-days").into() }
    }

    /// Readings of what has no more than a tenth left: until then they tell nobody anything that
    /// is worth a header. `until_ms` says when a day begins.
    pub(crate) fn nearly_spent(
        &self,
        left: &[Left],
        until_ms: impl Fn(Day) -> u64,
    ) -> Vec<QuotaReading> {
        let few = left.iter().filter(|left| left.remaining <= left.allotted / 10);
        few.map(|left| self.reading(left, until_ms(left.from))).collect()
    }

    /// The reading of what is used up.
    pub(crate) fn spent(&self, spent: &Spent) -> QuotaReading {
        self.reading(&spent.left, spent.free_in_ms)
    }

    fn reading(&self, left: &Left, reset_ms: u64) -> QuotaReading {
        let (policy, days) = match left.span {
            Span::Day => (&self.day, 1),
            Span::Period => (&self.period, u64::from(PERIOD_DAYS)),
        };
        QuotaReading {
            policy: Arc::clone(policy),
            quota: left.allotted,
            window_s: days * 24 * 60 * 60,
            remaining: left.remaining,
            reset_s: reset_ms.div_ceil(1000),
        }
    }
}

/// Rounded up, so that whoever waits so long is not too early.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests;
