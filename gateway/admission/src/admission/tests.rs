use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use governor::clock::FakeRelativeClock;
use jumpgate_catalogue::{Query, RefusalCode};

use super::*;
use crate::breaker::BreakerState;
use crate::department::DepartmentCounts;
use crate::sample::{caller, check, query};

const GRANT: &str = r#"
    [[grants]]
    id = "counter"
    caller = "one-window"
    predicates = ["civil-registry/*"]
    purposes = ["benefit-claim"]
"#;

const SOMEBODY: SubjectNumber = SubjectNumber(7);

type Gate = Admission<FakeRelativeClock>;

/// A gate by these settings beside one grant, and the clock that moves it.
fn gate(settings: &str) -> (FakeRelativeClock, Gate) {
    let plan = check(&format!("{settings}{GRANT}")).unwrap_or_else(|found| panic!("{found:#?}"));
    let clock = FakeRelativeClock::default();
    (
        clock.clone(),
        Admission::new(plan, clock, Arc::new(crate::sample::now), crate::sample::ledger()),
    )
}

fn alive() -> Query {
    query("civil-registry/alive@1", "benefit-claim")
}

fn civil_registry() -> DepartmentId {
    "civil-registry".parse().unwrap()
}

fn reading(gate: &Gate) -> DepartmentReading {
    gate.departments().into_iter().find(|at| at.department == civil_registry()).unwrap()
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn admit(gate: &Gate) -> Result<Permit<FakeRelativeClock>, Refusal> {
    let admitted =
        gate.admit(&caller("one-window"), Desk::Claimed, (&alive(), SOMEBODY), later()).await;
    admitted.map_err(|rejected| rejected.refusal)
}

async fn code(gate: &Gate) -> RefusalCode {
    admit(gate).await.err().expect("refused").code
}

fn poll<T>(future: &mut Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Everything is wrong at once; each mended thing uncovers the next check.
#[tokio::test(start_paused = true)]
async fn the_checks_run_in_their_order() {
    let (clock, gate) = gate(
        r#"
        [quotas]
        department = { per_second = 1, burst = 5 }
        [departments.civil-registry]
        concurrency_max = 3
        waiting_max = 0
        breaker = { failures_max = 1, rest_ms = 3000, rest_ms_max = 3000, probes_to_close = 1 }
        "#,
    );
    let (one, two, fails) = (admit(&gate).await, admit(&gate).await, admit(&gate).await);
    fails.unwrap().settle(Settled::DepartmentFailed);
    clock.advance(Duration::from_secs(3));
    let probe = admit(&gate).await.unwrap();
    assert_eq!(reading(&gate).in_flight, 3, "no slot is left and the probe is out");
    assert_eq!(gate.kill(&civil_registry(), None), Ok(true));
    for _ in 0..4 {
        assert_eq!(code(&gate).await, RefusalCode::DepartmentKilled, "until the quota is spent");
    }
    let foreign = query("civil-registry/alive@1", "pension-claim");
    let refused =
        gate.admit(&caller("one-window"), Desk::Claimed, (&foreign, SOMEBODY), later()).await;
    let refused = refused.err().unwrap().refusal;
    assert_eq!((refused.code, refused.retry_after), (RefusalCode::NotGranted, None));
    let refused = admit(&gate).await.err().unwrap();
    assert_eq!(refused.code, RefusalCode::DepartmentQuota);
    assert_eq!(refused.retry_after, Some(Duration::from_secs(1)));
    assert_eq!(refused.mend, "ask this department at most 1 questions a second, 5 at once");
    clock.advance(Duration::from_secs(5));
    assert_eq!(code(&gate).await, RefusalCode::DepartmentKilled);
    assert_eq!(gate.revive(&civil_registry()), Ok(true));
    let refused = admit(&gate).await.err().unwrap();
    assert_eq!(refused.code, RefusalCode::BreakerOpen);
    assert_eq!(refused.retry_after, Some(Duration::from_secs(3)));
    probe.settle(Settled::Ok);
    // It is back with one slot, and two are in from before: three at most.
    let permit = admit(&gate).await.unwrap();
    let refused = admit(&gate).await.err().unwrap();
    assert_eq!(refused.code, RefusalCode::BulkheadFull);
    assert_eq!(refused.retry_after, Some(Duration::from_millis(100)));
    drop((one, two));
    assert_eq!((&**permit.rule(), permit.department()), ("counter", &civil_registry()));
    assert_eq!(
        (&*permit.quotas()[0].policy, permit.quotas()[0].quota),
        ("caller/civil-registry", 5)
    );
    drop(permit);
    let expected = DepartmentCounts {
        maintenance: 0,
        not_granted: 1,
        quota: 1,
        subject: 0,
        killed: 5,
        resting: 1,
        busy: 1,
        admitted: 5,
        ok: 1,
        failed: 1,
        neutral: 3,
    };
    assert_eq!(reading(&gate).counts, expected);
}

#[test]
fn a_callers_own_quota_is_its_own_and_a_batch_pays_for_each_question() {
    let (clock, gate) = gate("quotas = { caller = { per_second = 2, burst = 4 } }");
    let (one_window, school) = (caller("one-window"), caller("school"));
    let three = NonZeroU32::new(3).unwrap();
    assert_eq!(gate.check_caller(&one_window).unwrap().reading.remaining, 3);
    assert_eq!(gate.check_caller_batch(&one_window, three).unwrap().reading.remaining, 0);
    let refused = gate.check_caller(&one_window).unwrap_err();
    assert_eq!(refused.refusal.code, RefusalCode::CallerQuota);
    assert_eq!(refused.refusal.retry_after, Some(Duration::from_millis(500)));
    let reading = refused.reading.unwrap();
    assert_eq!((reading.remaining, reading.reset_s), (0, 1));
    assert!(gate.check_caller(&school).is_ok(), "another caller has a quota of its own");
    clock.advance(Duration::from_millis(500));
    assert!(gate.check_caller(&one_window).is_ok());
    let five = NonZeroU32::new(5).unwrap();
    let refused = gate.check_caller_batch(&school, five).unwrap_err();
    assert_eq!(refused.refusal.retry_after, None, "waiting does not help");
    let stranger = gate.check_caller(&caller("stranger")).unwrap_err();
    assert_eq!(stranger.refusal.code, RefusalCode::Unauthenticated);
    assert_eq!(stranger.reading, None);
}

#[tokio::test(start_paused = true)]
async fn departments_and_callers_do_not_share() {
    let both = r#"
        [quotas]
        department = { per_second = 1, burst = 1 }
        [[grants]]
        caller = "school"
        predicates = ["civil-registry/alive@1"]
        purposes = ["benefit-claim"]
        [[grants]]
        caller = "one-window"
        predicates = ["social-insurance/receives-pension@1"]
        purposes = ["benefit-claim"]
    "#;
    let (_, gate) = gate(both);
    let permit = admit(&gate).await.unwrap();
    assert_eq!(code(&gate).await, RefusalCode::DepartmentQuota);
    let elsewhere = query("social-insurance/receives-pension@1", "benefit-claim");
    gate.kill(&civil_registry(), None).unwrap();
    let other = gate
        .admit(&caller("one-window"), Desk::Claimed, (&elsewhere, SOMEBODY), later())
        .await
        .unwrap();
    assert_eq!(other.department().as_str(), "social-insurance");
    assert!(other.breaker_agrees() && !permit.breaker_agrees(), "no retry at a killed one");
    gate.revive(&civil_registry()).unwrap();
    assert!(
        gate.admit(&caller("school"), Desk::Claimed, (&alive(), SOMEBODY), later()).await.is_ok()
    );
    let nowhere = "land-registry".parse().unwrap();
    assert_eq!(gate.kill(&nowhere, None), Err(UnknownDepartment(nowhere)));
}

#[tokio::test(start_paused = true)]
async fn who_waits_while_the_department_is_killed_is_refused() {
    let (_, gate) = gate("[departments.civil-registry]\nconcurrency_max = 1\n");
    let held = admit(&gate).await.unwrap();
    let mut waits = pin!(admit(&gate));
    assert!(poll(&mut waits).is_pending());
    gate.kill(&civil_registry(), None).unwrap();
    drop(held);
    let refused = waits.await.err().unwrap();
    assert_eq!(refused.code, RefusalCode::DepartmentKilled);
    assert_eq!(reading(&gate).in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_while_the_breaker_opens_is_refused() {
    let (_, gate) =
        gate("[departments.civil-registry]\nconcurrency_max = 1\nbreaker = { failures_max = 1 }\n");
    let held = admit(&gate).await.unwrap();
    assert!(held.breaker_agrees());
    let (mut first, mut second) = (pin!(admit(&gate)), pin!(admit(&gate)));
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    held.settle(Settled::DepartmentFailed);
    assert_eq!(first.await.err().unwrap().code, RefusalCode::BreakerOpen);
    assert_eq!(second.await.err().unwrap().code, RefusalCode::BreakerOpen);
    assert_eq!((reading(&gate).in_flight, reading(&gate).waiting), (0, 0));
}

/// A slot freed by the failure that opened the breaker goes to a query that waits, and once the
/// rest is over a newcomer waits behind it with the probe.
#[tokio::test(start_paused = true)]
async fn a_waiting_probe_is_the_only_one_and_is_given_back_when_cancelled() {
    for cancelled in [false, true] {
        let (clock, gate) = gate(
            "[departments.civil-registry]\nconcurrency_max = 1\nbreaker = { failures_max = 1 }\n",
        );
        let held = admit(&gate).await.unwrap();
        let mut waits = pin!(admit(&gate));
        assert!(poll(&mut waits).is_pending());
        held.settle(Settled::DepartmentFailed);
        clock.advance(Duration::from_secs(1));
        let mut probe = Box::pin(admit(&gate));
        assert!(poll(&mut probe.as_mut()).is_pending());
        assert_eq!(code(&gate).await, RefusalCode::BreakerOpen, "a probe is out");
        assert_eq!(reading(&gate).waiting, 2);
        let admitted = if cancelled {
            drop(probe);
            waits.await.expect("the probe's place is free")
        } else {
            assert_eq!(waits.await.err().unwrap().code, RefusalCode::BreakerOpen);
            probe.await.expect("the probe's turn")
        };
        assert!(admitted.breaker_agrees());
        assert_eq!(reading(&gate).breaker.state, BreakerState::HalfOpen);
        assert_eq!((reading(&gate).in_flight, reading(&gate).waiting), (1, 0));
        drop(admitted);
        assert_eq!(reading(&gate).in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_makes_room_and_two_good_ones_close() {
    let (clock, gate) =
        gate("[departments.civil-registry]\nconcurrency_max = 2\nbreaker = { failures_max = 1 }\n");
    let (slow, fails) = (admit(&gate).await.unwrap(), admit(&gate).await.unwrap());
    fails.settle(Settled::DepartmentFailed);
    clock.advance(Duration::from_secs(1));
    let probe = admit(&gate).await.unwrap();
    assert!(probe.breaker_agrees() && !slow.breaker_agrees(), "only the probe may be retried");
    assert_eq!(code(&gate).await, RefusalCode::BreakerOpen);
    drop(probe);
    for state in [BreakerState::HalfOpen, BreakerState::Closed] {
        admit(&gate).await.expect("no probe is out").settle(Settled::Ok);
        assert_eq!(reading(&gate).breaker.state, state);
    }
    slow.settle(Settled::DepartmentFailed);
    assert_eq!(reading(&gate).breaker.state, BreakerState::Closed, "it asked before the rest");
}

#[test]
fn what_goes_into_a_detached_task_may_go_there() {
    fn detached<T: Send + 'static>() {}
    detached::<Permit>();
    detached::<crate::InFlightGuard>();
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    let plan = check(GRANT).unwrap();
    let civil_now = Arc::new(crate::sample::now);
    let gate = Admission::new(plan, DefaultClock::default(), civil_now, crate::sample::ledger());
    shared(&gate);
    fn sendable<T: Send>(_: &T) {}
    sendable(&gate.admit(
        &caller("one-window"),
        Desk::Claimed,
        (&alive(), SOMEBODY),
        Instant::now(),
    ));
}

#[tokio::test(start_paused = true)]
async fn another_plan_keeps_the_switch_the_breaker_the_slots_and_every_quota_that_stays() {
    let settings = |concurrency_max: u32, per_second: u32| {
        format!(
            r#"
            [quotas]
            caller = {{ per_second = 1, burst = 2 }}
            department = {{ per_second = {per_second}, burst = 3 }}
            [departments.civil-registry]
            concurrency_max = {concurrency_max}
            waiting_max = 0
            [departments.civil-registry.breaker]
            failures_max = 1
            rest_ms = 3000
            rest_ms_max = 3000
            probes_to_close = 1
            "#
        )
    };
    let plan = |text: String| check(&format!("{text}{GRANT}")).unwrap();
    let (clock, first) = gate(&settings(2, 1));
    let one_window = caller("one-window");
    first.check_caller(&one_window).unwrap();
    first.check_caller(&one_window).unwrap();
    let _mark = first.in_flight().enter(&one_window).unwrap();
    let (held, fails) = (admit(&first).await.unwrap(), admit(&first).await.unwrap());
    let second = first.succeed(plan(settings(1, 1)));
    assert!(second.check_caller(&one_window).is_err(), "the caller's quota is as spent as it was");
    assert_eq!(second.in_flight().total(), 1);
    assert_eq!(code(&second).await, RefusalCode::BulkheadFull, "two are in, one may be");
    assert_eq!(code(&second).await, RefusalCode::DepartmentQuota, "three of three are spent");
    // What began under the first plan counts under the second.
    fails.settle(Settled::DepartmentFailed);
    drop(held);
    let third = second.succeed(plan(settings(1, 2)));
    assert_eq!(code(&third).await, RefusalCode::BreakerOpen, "another rate begins full");
    clock.advance(Duration::from_secs(3));
    admit(&third).await.unwrap().settle(Settled::Ok);
    assert_eq!(third.kill(&civil_registry(), None), Ok(true));
    let fourth = third.succeed(plan(settings(1, 2)));
    assert_eq!(code(&fourth).await, RefusalCode::DepartmentKilled);
    assert_eq!(fourth.revive(&civil_registry()), Ok(true));
    assert!(!reading(&third).killed, "one department, one switch");
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_refused_as_soon_as_the_department_is_switched_off_or_begins_to_rest() {
    let (_, gate) = gate(
        r#"
        [departments.civil-registry]
        concurrency_max = 2
        waiting_max = 4
        wait_ms_max = 10000
        [departments.civil-registry.breaker]
        failures_max = 1
        "#,
    );
    let (held, fails) = (admit(&gate).await.unwrap(), admit(&gate).await.unwrap());
    let begun = Instant::now();
    let mut waiting = [pin!(code(&gate)), pin!(code(&gate))];
    assert!(waiting.iter_mut().all(|it| poll(it).is_pending()));
    fails.settle(Settled::DepartmentFailed);
    for it in &mut waiting {
        assert_eq!(poll(it), Poll::Ready(RefusalCode::BreakerOpen));
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    drop(held);
    assert_eq!(reading(&gate).waiting, 0);
    let (_, gate) = self::gate(
        "[departments.civil-registry]\nconcurrency_max = 1\nwaiting_max = 1\nwait_ms_max = 10000",
    );
    let _held = admit(&gate).await.unwrap();
    let (one_window, query) = (caller("one-window"), alive());
    let mut waiting = pin!(gate.admit(&one_window, Desk::Claimed, (&query, SOMEBODY), later()));
    assert!(poll(&mut waiting).is_pending());
    let notice = Notice::new("closed today", "今日关闭").unwrap();
    gate.kill(&civil_registry(), Some(notice.clone())).unwrap();
    let Poll::Ready(Err(rejected)) = poll(&mut waiting) else { panic!("it still waits") };
    assert_eq!(rejected.refusal.code, RefusalCode::DepartmentKilled);
    assert_eq!(rejected.refusal.notice.as_deref(), Some(&notice));
}

#[tokio::test(start_paused = true)]
async fn a_department_comes_back_with_few_slots_and_each_answer_brings_one_more() {
    let (clock, gate) = gate(
        r#"
        [quotas]
        department = { per_second = 1000, burst = 1000 }
        [departments.civil-registry]
        concurrency_max = 16
        waiting_max = 0
        [departments.civil-registry.breaker]
        failures_max = 1
        rest_ms = 1000
        rest_ms_max = 1000
        probes_to_close = 1
        "#,
    );
    let held = admit(&gate).await.unwrap();
    admit(&gate).await.unwrap().settle(Settled::DepartmentFailed);
    clock.advance(Duration::from_secs(1));
    admit(&gate).await.unwrap().settle(Settled::Ok);
    assert_eq!((reading(&gate).limit, reading(&gate).concurrency_max), (2, 16));
    // What hangs from before is none of the few.
    let few = (admit(&gate).await.unwrap(), admit(&gate).await.unwrap());
    assert_eq!(code(&gate).await, RefusalCode::BulkheadFull);
    drop((held, few));
    let mut most = 2;
    for _ in 0..4 {
        let mut permits = Vec::new();
        while let Ok(permit) = admit(&gate).await {
            permits.push(permit);
        }
        assert_eq!(permits.len(), most.min(16));
        permits.into_iter().for_each(|permit| drop(permit.settle(Settled::Ok)));
        most *= 2;
    }
    assert_eq!(reading(&gate).limit, 16);
}

#[tokio::test(start_paused = true)]
async fn in_a_maintenance_window_nobody_asks_and_people_are_shown_why() {
    // The tests' clock says Monday, ten o'clock.
    let (_, gate) = gate(
        r#"
        [[departments.civil-registry.maintenance]]
        daily_from = "09:00"
        daily_to = "10:30"
        weekdays = [1]
        message = { en = "back at half past ten", zh = "十点半恢复" }
        "#,
    );
    let refusal = admit(&gate).await.err().unwrap();
    assert_eq!(refusal.code, RefusalCode::DepartmentMaintenance);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(1800)));
    let notice = Notice::new("back at half past ten", "十点半恢复").unwrap();
    assert_eq!(refusal.notice.as_deref(), Some(&notice));
    assert_eq!(reading(&gate).maintenance, Some(Duration::from_secs(1800)));
    assert_eq!(reading(&gate).notice.as_ref(), Some(&notice));
    assert_eq!(reading(&gate).counts.maintenance, 1);
}
