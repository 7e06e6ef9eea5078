use std::sync::Barrier;

use governor::clock::FakeRelativeClock;

use super::*;

const SETTINGS: BreakerSettings =
    BreakerSettings { failures_max: 5, rest_ms: 1_000, rest_ms_max: 3_000, probes_to_close: 2 };

fn breaker() -> (FakeRelativeClock, Arc<Breaker<FakeRelativeClock>>) {
    let clock = FakeRelativeClock::default();
    (clock.clone(), Arc::new(Breaker::new(SETTINGS, clock, |_| ())))
}

fn settle(breaker: &Arc<Breaker<FakeRelativeClock>>, settled: Settled) {
    breaker.pass().unwrap().settled = settled;
}

/// Runs a script of single queries. `o` is answered, `f` fails, `n` is neutral, `+9` lets 9 ms
/// pass. The trace has `.` for a query that passed and the wait in ms for one that did not.
fn run(script: &str) -> (String, BreakerReading) {
    let (clock, breaker) = breaker();
    let mut trace = Vec::new();
    for step in script.split_whitespace() {
        if let Some(ms) = step.strip_prefix('+') {
            clock.advance(Duration::from_millis(ms.parse().unwrap()));
            continue;
        }
        match breaker.pass() {
            Err(wait) => trace.push(wait.as_millis().to_string()),
            Ok(mut ticket) => {
                ticket.settled = match step {
                    "o" => Settled::Ok,
                    "f" => Settled::DepartmentFailed,
                    "n" => Settled::Neutral,
                    other => panic!("no step {other}"),
                };
                trace.push(".".to_owned());
            }
        }
    }
    (trace.join(" "), breaker.reading())
}

#[test]
fn opens_rests_probes_and_closes() {
    use BreakerState::{Closed, HalfOpen, Open};
    use TripReason::{Consecutive, Probe, Rate};
    // One failure in two, and never five in a row.
    let halves = "f f o o ".repeat(5);
    let table = [
        ("four in a row are not five", "f f f f o f f f f", Closed, None),
        ("five in a row are", "f f f f f", Open, Some(Consecutive)),
        ("neutral outcomes change nothing", "f f n f n f n f", Open, Some(Consecutive)),
        ("neutral outcomes alone never trip", &"n ".repeat(100), Closed, None),
        ("half of fewer than 20 is no rate", "f f o o f f o o f f o o f f o o f", Closed, None),
        ("half of 20 waits for a failure", &halves, Closed, None),
        ("half of the last 20, the newest a failure", &format!("{halves}f"), Open, Some(Rate)),
        ("one in three is below the rate", &"f o o ".repeat(40), Closed, None),
        ("old failures leave the window", &format!("{halves}{}f", "o ".repeat(10)), Closed, None),
        (
            "the next query after the rest is a probe",
            "f f f f f +1000 o",
            HalfOpen,
            Some(Consecutive),
        ),
        ("two good probes close", "f f f f f +1000 o o", Closed, Some(Consecutive)),
        ("a neutral probe decides nothing", "f f f f f +1000 o n o", Closed, Some(Consecutive)),
        ("a failed probe opens", "f f f f f +1000 o f", Open, Some(Probe)),
        ("closing forgets the row", "f f f f f +1000 o o f f f f", Closed, Some(Consecutive)),
        ("closing forgets the window", &format!("{halves}f +1000 o o f"), Closed, Some(Rate)),
    ];
    for (name, script, state, last_trip) in table {
        let reading = run(script).1;
        assert_eq!((reading.state, reading.last_trip), (state, last_trip), "{name}");
    }
}

#[test]
fn the_rest_doubles_to_its_maximum_and_starts_again_after_closing() {
    let five = "f f f f f";
    let (trace, reading) =
        run(&format!("{five} o +999 o +1 f o +1999 o +1 f o +3000 f o +3000 o o {five} o"));
    assert_eq!(
        trace, ". . . . . 1000 1 . 2000 1 . 3000 . 3000 . . . . . . . 1000",
        "1 s, then 2 s, then 3 s twice, and 1 s after the department was well"
    );
    assert_eq!(reading.trips, 5);
}

#[test]
fn one_probe_at_a_time() {
    let (clock, breaker) = breaker();
    (0..5).for_each(|_| settle(&breaker, Settled::DepartmentFailed));
    clock.advance(SETTINGS.rest());
    let probe = breaker.pass().unwrap();
    assert_eq!(breaker.pass().err(), Some(SETTINGS.rest()), "a probe is out");
    assert!(probe.is_current(), "a probe may be retried");
    drop(probe);
    let next = breaker.pass().expect("a probe that was given up makes room");
    assert!(breaker.pass().is_err(), "for one");
    drop(next);
    settle(&breaker, Settled::Ok);
    settle(&breaker, Settled::Ok);
    assert_eq!(breaker.reading().state, BreakerState::Closed);
}

#[test]
fn what_began_in_an_earlier_state_never_counts() {
    let (clock, breaker) = breaker();
    let tickets: Vec<_> = (0..8).map(|_| breaker.pass().unwrap()).collect();
    let finish = |tickets: &mut Vec<Ticket<_>>, settled| {
        let mut ticket = tickets.pop().expect("a ticket of the first state is left");
        assert!(!ticket.is_current());
        ticket.settled = settled;
    };
    let mut tickets = tickets;
    for _ in 0..5 {
        tickets.pop().unwrap().settled = Settled::DepartmentFailed;
    }
    assert_eq!(breaker.reading().state, BreakerState::Open);
    finish(&mut tickets, Settled::Ok);
    assert_eq!(breaker.reading().state, BreakerState::Open, "a late answer does not close");
    clock.advance(SETTINGS.rest());
    let mut probe = breaker.pass().unwrap();
    finish(&mut tickets, Settled::DepartmentFailed);
    assert_eq!(breaker.reading().state, BreakerState::HalfOpen, "nor is it the probe's failure");
    assert!(breaker.pass().is_err(), "nor does it give the probe's place away");
    probe.settled = Settled::Ok;
    drop(probe);
    settle(&breaker, Settled::Ok);
    finish(&mut tickets, Settled::DepartmentFailed);
    (0..4).for_each(|_| settle(&breaker, Settled::DepartmentFailed));
    assert_eq!(breaker.reading().state, BreakerState::Closed, "nor one of the new row");
}

#[test]
fn of_many_threads_one_gets_the_probe() {
    let (clock, breaker) = breaker();
    (0..5).for_each(|_| settle(&breaker, Settled::DepartmentFailed));
    clock.advance(SETTINGS.rest());
    let start = Barrier::new(8);
    let probes = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    breaker.pass().ok()
                })
            })
            .collect();
        let tickets: Vec<_> =
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        tickets.len()
    });
    assert_eq!(probes, 1);
}

#[test]
fn only_faults_that_the_next_query_would_meet_too_count() {
    let failed: Vec<&str> = FaultCode::ALL
        .into_iter()
        .filter(|&code| Settled::of(Some(code)) == Settled::DepartmentFailed)
        .map(FaultCode::code)
        .collect();
    assert_eq!(
        failed,
        [
            "department-unreachable",
            "department-timeout",
            "department-reset",
            "department-redirected",
            "department-error",
            "department-denied",
        ]
    );
    assert_eq!(Settled::of(None), Settled::Ok);
}
