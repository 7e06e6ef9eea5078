use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;

const FOREVER: Duration = Duration::from_secs(86_400);

fn bulkhead(concurrency_max: u32, waiting_max: u32, wait_ms_max: u64) -> Arc<Bulkhead> {
    Arc::new(Bulkhead::new(&settings(concurrency_max, waiting_max, wait_ms_max)))
}

fn settings(concurrency_max: u32, waiting_max: u32, wait_ms_max: u64) -> DepartmentSettings {
    let breaker = Default::default();
    DepartmentSettings { concurrency_max, waiting_max, wait_ms_max, breaker, maintenance: vec![] }
}

type Waiter<'a> = Pin<Box<dyn Future<Output = Result<Slot, Denied>> + 'a>>;

fn waiter(bulkhead: &Arc<Bulkhead>) -> Waiter<'_> {
    Box::pin(bulkhead.acquire(Instant::now() + FOREVER))
}

fn poll(waiter: &mut Waiter<'_>) -> Poll<Result<Slot, Denied>> {
    waiter.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn waits_as_long_as_it_is_told_and_no_longer() {
    let bulkhead = bulkhead(1, 1, 500);
    let busy = Denied::Busy { retry_after: Duration::from_millis(500) };
    let _held = bulkhead.acquire(Instant::now()).await.expect("a free slot needs no time");
    for (deadline_ms, waited_ms) in [(10_000, 500), (500, 500), (499, 499), (0, 0)] {
        let start = Instant::now();
        let deadline = start + Duration::from_millis(deadline_ms);
        assert_eq!(bulkhead.acquire(deadline).await.err().as_ref(), Some(&busy));
        assert_eq!(start.elapsed(), Duration::from_millis(waited_ms), "{deadline_ms}");
        assert_eq!(bulkhead.waiting(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once() {
    let bulkhead = bulkhead(1, 2, 500);
    let held = bulkhead.acquire(Instant::now()).await.unwrap();
    let mut queue = [waiter(&bulkhead), waiter(&bulkhead)];
    assert!(queue.iter_mut().all(|waiter| poll(waiter).is_pending()));
    assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (1, 2));
    let start = Instant::now();
    assert!(bulkhead.acquire(start + FOREVER).await.is_err());
    assert_eq!(start.elapsed(), Duration::ZERO);
    drop((queue, held));
    assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn first_come_first_served() {
    let bulkhead = bulkhead(1, 4, 500);
    let mut held = bulkhead.acquire(Instant::now()).await.unwrap();
    let mut queue: Vec<_> = (0..3).map(|_| waiter(&bulkhead)).collect();
    assert!(queue.iter_mut().all(|waiter| poll(waiter).is_pending()));
    for turn in 0..3 {
        drop(held);
        // A newcomer may not overtake the one whose turn it is, polled or not.
        assert!(poll(&mut waiter(&bulkhead)).is_pending(), "turn {turn}");
        for later in (turn + 1..3).rev() {
            assert!(poll(&mut queue[later]).is_pending(), "{later} before {turn}");
        }
        let Poll::Ready(Ok(slot)) = poll(&mut queue[turn]) else { panic!("turn {turn} passed") };
        held = slot;
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_hands_its_slot_on() {
    let bulkhead = bulkhead(1, 2, 500);
    let held = bulkhead.acquire(Instant::now()).await.unwrap();
    let (mut first, mut second) = (waiter(&bulkhead), waiter(&bulkhead));
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    drop(held);
    drop(first);
    assert!(matches!(poll(&mut second), Poll::Ready(Ok(_))));
}

/// What may happen next; the number picks one of those there are.
#[derive(Debug, Clone)]
enum Event {
    Come,
    Poll(usize),
    Leave(usize),
    Finish(usize),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Come),
        4 => any::<usize>().prop_map(Event::Poll),
        1 => any::<usize>().prop_map(Event::Leave),
        2 => any::<usize>().prop_map(Event::Finish),
        1 => (0..300_u64).prop_map(Event::Pass),
    ]
}

proptest! {
    #[test]
    fn never_more_slots_nor_waiters_than_the_maximum(
        concurrency_max in 1..4_u32,
        waiting_max in 0..4_u32,
        events in proptest::collection::vec(event(), 0..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let bulkhead = bulkhead(concurrency_max, waiting_max, 500);
            let (mut slots, mut waiters) = (Vec::new(), Vec::new());
            for event in events {
                match event {
                    Event::Come => waiters.push(waiter(&bulkhead)),
                    Event::Poll(pick) if !waiters.is_empty() => {
                        let pick = pick % waiters.len();
                        if let Poll::Ready(ended) = poll(&mut waiters[pick]) {
                            slots.extend(ended.ok());
                            drop(waiters.remove(pick));
                        }
                    }
                    Event::Leave(pick) if !waiters.is_empty() => {
                        drop(waiters.remove(pick % waiters.len()));
                    }
                    Event::Finish(pick) if !slots.is_empty() => {
                        drop(slots.remove(pick % slots.len()));
                    }
                    Event::Pass(ms) => tokio::time::advance(Duration::from_millis(ms)).await,
                    Event::Poll(_) | Event::Leave(_) | Event::Finish(_) => {}
                }
                // A slot on its way to a waiter is taken, but nobody holds it yet.
                assert!(slots.len() <= bulkhead.in_flight() as usize);
                assert!(bulkhead.in_flight() <= concurrency_max);
                assert!(bulkhead.waiting() <= waiting_max);
            }
            drop((slots, waiters));
            assert_eq!((bulkhead.in_flight(), bulkhead.waiting()), (0, 0));
        });
    }
}

#[tokio::test(start_paused = true)]
async fn other_sizes_hold_at_once_for_those_who_come_and_those_who_are_in() {
    let bulkhead = bulkhead(4, 0, 500);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(bulkhead.acquire(Instant::now()).await.unwrap());
    }
    bulkhead.resize(&settings(2, 0, 500));
    for left in [3, 2] {
        held.pop();
        assert_eq!(bulkhead.in_flight(), left);
        assert!(bulkhead.acquire(Instant::now()).await.is_err(), "{left} are in, two may be");
    }
    held.pop();
    held.push(bulkhead.acquire(Instant::now()).await.expect("one has gone, one may come"));
    // Up again while some of the slots in use are too many.
    bulkhead.resize(&settings(1, 0, 500));
    bulkhead.resize(&settings(3, 0, 500));
    held.push(bulkhead.acquire(Instant::now()).await.expect("a third may come"));
    assert!(bulkhead.acquire(Instant::now()).await.is_err());
    assert_eq!((bulkhead.in_flight(), bulkhead.concurrency_max()), (3, 3));
    drop(held);
    bulkhead.resize(&settings(1, 0, 500));
    let _only = bulkhead.acquire(Instant::now()).await.unwrap();
    assert!(bulkhead.acquire(Instant::now()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_in_vain_is_refused_at_once() {
    let bulkhead = bulkhead(2, 16, 5_000);
    // Nothing is known yet of how long an answer takes.
    let held = [
        bulkhead.acquire(Instant::now()).await.unwrap(),
        bulkhead.acquire(Instant::now()).await.unwrap(),
    ];
    tokio::time::advance(Duration::from_secs(1)).await;
    held.iter().for_each(Slot::answered);
    assert_eq!(bulkhead.typical(), Some(Duration::from_secs(1)));
    let begun = Instant::now();
    // An answer takes a second: half a second is too little, whoever comes free.
    let soon = bulkhead.acquire(begun + Duration::from_millis(500)).await;
    assert_eq!(soon.err(), Some(Denied::Busy { retry_after: Duration::from_millis(500) }));
    // Six wait already, three for each slot, and an answer may take twice as long as usual.
    let mut queue: Vec<_> = (0..6).map(|_| waiter(&bulkhead)).collect();
    assert!(queue.iter_mut().all(|waiter| poll(waiter).is_pending()));
    let late = bulkhead.acquire(begun + Duration::from_millis(4_900)).await;
    assert_eq!(late.err(), Some(Denied::Busy { retry_after: Duration::from_millis(3_500) }));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let mut patient: Waiter<'_> = Box::pin(bulkhead.acquire(begun + Duration::from_millis(5_100)));
    assert!(poll(&mut patient).is_pending());
    drop((patient, queue, held));
    // A free slot is never refused, however little time there is.
    assert!(bulkhead.acquire(begun).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn slots_of_before_a_rest_are_none_of_the_few_and_count_towards_the_most() {
    let bulkhead = bulkhead(8, 1, 5_000);
    let mut hanging = Vec::new();
    for _ in 0..8 {
        hanging.push(bulkhead.acquire(Instant::now()).await.unwrap());
    }
    let mut waits = waiter(&bulkhead);
    assert!(poll(&mut waits).is_pending());
    bulkhead.begin_gently();
    assert!(poll(&mut waits).is_pending(), "eight are in, and eight are the most");
    hanging.pop();
    let Poll::Ready(Ok(first)) = poll(&mut waits) else { panic!("who waited has the new slot") };
    assert!(bulkhead.acquire(Instant::now()).await.is_err(), "one is all there is");
    first.answered();
    assert!(bulkhead.acquire(Instant::now()).await.is_err(), "seven hang, and one is in");
    hanging.truncate(2);
    let second = bulkhead.acquire(Instant::now()).await.unwrap();
    assert!(bulkhead.acquire(Instant::now()).await.is_err(), "two slots by now");
    drop((hanging, first, second));
    assert_eq!((bulkhead.in_flight(), bulkhead.limit()), (0, 2));
    for _ in 0..6 {
        bulkhead.acquire(Instant::now()).await.unwrap().answered();
    }
    let all: Vec<_> = (0..8).map(|_| waiter(&bulkhead)).collect();
    let held = all.into_iter().map(|mut it| poll(&mut it).is_ready()).filter(|it| *it).count();
    assert_eq!(held, 8, "none is lost");
}
