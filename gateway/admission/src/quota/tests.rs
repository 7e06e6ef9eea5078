use governor::clock::FakeRelativeClock;

use super::*;

const ONE: NonZeroU32 = NonZeroU32::MIN;

fn limiter(per_second: u32, burst: u32) -> (FakeRelativeClock, Limiter<FakeRelativeClock>) {
    let clock = FakeRelativeClock::default();
    let [per_second, burst] = [per_second, burst].map(|figure| NonZeroU32::new(figure).unwrap());
    let rate = RateSettings { per_second, burst };
    let limiter = Limiter::new("caller", rate, &clock);
    (clock, limiter)
}

/// Each step waits, asks for some questions, and names what must come back: what remains and the
/// seconds to a full burst, or the wait and the seconds until the same can be asked again.
#[test]
fn a_quota_gives_its_burst_then_its_rate() {
    let ms = Duration::from_millis;
    let (clock, limiter) = limiter(10, 25);
    for (step, (wait_ms, questions, expected)) in [
        (0, 1, Ok((24, 1))),
        (0, 5, Ok((19, 1))),
        (0, 19, Ok((0, 3))),
        (0, 1, Err((Some(ms(100)), 1))),
        (99, 1, Err((Some(ms(1)), 1))),
        (1, 1, Ok((0, 3))),
        (100, 3, Err((Some(ms(200)), 1))),
        (0, 25, Err((Some(ms(2_400)), 3))),
        (0, 26, Err((None, 3))),
        (200, 3, Ok((0, 3))),
        (2_500, 1, Ok((24, 1))),
        (3_600_000, 1, Ok((24, 1))),
    ]
    .into_iter()
    .enumerate()
    {
        clock.advance(ms(wait_ms));
        let took = limiter.take(NonZeroU32::new(questions).unwrap());
        let figures = took
            .map(|reading| (reading.remaining, reading.reset_s))
            .map_err(|spent| (spent.retry_after, spent.reading.reset_s));
        assert_eq!(figures, expected, "step {step}");
    }
}

#[test]
fn whoever_waits_as_told_is_let_through() {
    let (clock, limiter) = limiter(7, 3);
    for _ in 0..50 {
        match limiter.take(ONE) {
            Ok(_) => {}
            Err(spent) => {
                clock.advance(spent.retry_after.unwrap());
                limiter.take(ONE).expect("the told wait is long enough");
            }
        }
    }
}

#[test]
fn header_values_are_those_of_the_draft() {
    let (clock, own) = limiter(100, 250);
    let rate = RateSettings { per_second: ONE, burst: ONE };
    let there = Limiter::new("caller/civil-registry", rate, &clock);
    let own = own.take(NonZeroU32::new(120).unwrap()).unwrap();
    there.take(ONE).unwrap();
    let spent = there.take(ONE).unwrap_err().reading;
    let headers = rate_limit_headers(&[&own, &spent]).unwrap();
    assert_eq!(headers.limit, r#""caller";r=130;t=2, "caller/civil-registry";r=0;t=1"#);
    assert_eq!(headers.policy, r#""caller";q=250;w=3, "caller/civil-registry";q=1;w=1"#);
    assert_eq!(rate_limit_headers(&[]), None);
}
