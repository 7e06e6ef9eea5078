//! Breaker and bulkhead: a department that fails is left alone, a busy one is not pressed.

use jumpgate_departments::Fault;
use jumpgate_querylog::{Act, Kind};

use crate::harness::questions::{WIDOW, age, insured};
use crate::harness::{Client, Harness, eventually};
use crate::http::assert_problem;

pub const BREAKER: &str = "[departments.civil-registry.protection.breaker]\n\
                       failures_max = 3\nrest_ms = 1000\nrest_ms_max = 1000\nprobes_to_close = 2";

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_department_rests_is_probed_and_comes_back() {
    let harness = Harness::with(BREAKER).await;
    let mut client = harness.client("one-window").await;
    harness.civil().faults().set("reset".parse::<Fault>().unwrap()).unwrap();
    for _ in 0..3 {
        assert_problem(&client.ask(&age(18, WIDOW)).await, 502, "department-reset");
    }
    let asked = harness.civil().requests().count;
    let refused = client.ask(&age(18, WIDOW)).await;
    assert_problem(&refused, 503, "department-resting");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(harness.records_of(Kind::Refused).pop().unwrap().index, refused.index());
    assert_eq!(harness.civil().requests().count, asked, "a resting department was asked");
    assert_eq!(breaker(&harness).await, OPEN);
    assert_eq!(client.ask(&insured(WIDOW)).await.says(), "yes", "the other does not rest");
    // The rest is over: one question passes as a probe, fails, and the rest begins anew.
    until(&mut client, 502).await;
    assert_problem(&client.ask(&age(18, WIDOW)).await, 503, "department-resting");
    harness.civil().faults().clear();
    until(&mut client, 200).await;
    assert_eq!(breaker(&harness).await, HALF_OPEN, "one success may be a lucky one");
    assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    assert_eq!(breaker(&harness).await, CLOSED);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_persons_broken_record_stops_nobody_else() {
    let harness = Harness::with(BREAKER).await;
    let mut client = harness.client("one-window").await;
    harness.civil().faults().set("truncated".parse::<Fault>().unwrap()).unwrap();
    for _ in 0..6 {
        assert_problem(&client.ask(&age(18, WIDOW)).await, 502, "department-reply-malformed");
    }
    assert_eq!(breaker(&harness).await, CLOSED);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_department_refuses_at_once() {
    let bulkhead = "[departments.civil-registry.protection]\n\
                    concurrency_max = 1\nwaiting_max = 0\nwait_ms_max = 500";
    let harness = Harness::with(bulkhead).await;
    harness.civil().faults().set("hang".parse::<Fault>().unwrap()).unwrap();
    let mut slow = harness.client("one-window").await;
    let asking = tokio::spawn(async move { slow.ask(&age(18, WIDOW)).await });
    let at_department = async || (harness.civil().requests().in_flight == 1).then_some(());
    eventually("the only slot is taken", at_department).await;
    let mut client = harness.client("one-window").await;
    let refused = client.ask(&age(18, WIDOW)).await;
    assert_problem(&refused, 503, "department-busy");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(client.ask(&insured(WIDOW)).await.says(), "yes", "the other has slots of its own");
    harness.civil().faults().clear();
    assert_eq!(asking.await.unwrap().says(), "yes");
    assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_department_sees_no_more_than_concurrency_max() {
    let bulkhead = "[departments.civil-registry.protection]\nconcurrency_max = 2\nwaiting_max = 8";
    let harness = Harness::with(bulkhead).await;
    harness.civil().faults().set("hang".parse::<Fault>().unwrap()).unwrap();
    let client = harness.client_h2("one-window").await;
    let asking: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = client.stream();
            tokio::spawn(async move { stream.ask(&age(18, WIDOW)).await })
        })
        .collect();
    let waiting = "jumpgate_department{department=\"civil-registry\",reading=\"waiting\"} 8\n";
    let full = async || harness.metrics().await.contains(waiting).then_some(());
    eventually("two are asked and eight wait", full).await;
    // Those that wait have no ask on record: they may yet be refused.
    let asked = async || (harness.records_of(Kind::Ask).len() == 2).then_some(());
    eventually("two asks", asked).await;
    let at_department = async || (harness.civil().requests().in_flight == 2).then_some(());
    eventually("both have reached the department", at_department).await;
    let refused = client.stream().ask(&age(18, WIDOW)).await;
    assert_problem(&refused, 503, "department-busy");
    harness.civil().faults().clear();
    for reply in asking {
        assert_eq!(reply.await.unwrap().says(), "yes");
    }
    assert_eq!(harness.civil().requests().in_flight_peak, 2);
    drop(client);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kill_switch_reaches_those_that_wait() {
    let bulkhead = "[departments.civil-registry.protection]\nconcurrency_max = 1\nwaiting_max = 1";
    let harness = Harness::with(bulkhead).await;
    harness.civil().faults().set("hang".parse::<Fault>().unwrap()).unwrap();
    let client = harness.client_h2("one-window").await;
    let ask = || {
        let mut stream = client.stream();
        tokio::spawn(async move { stream.ask(&age(18, WIDOW)).await })
    };
    let admitted = ask();
    let at_department = async || (harness.civil().requests().in_flight == 1).then_some(());
    eventually("one is admitted", at_department).await;
    let waiting = ask();
    let line = "jumpgate_department{department=\"civil-registry\",reading=\"waiting\"} 1\n";
    eventually("one waits", async || harness.metrics().await.contains(line).then_some(())).await;
    harness.act("/departments/civil-registry/kill").await;
    harness.civil().faults().clear();
    // What was admitted before is answered: its ask is on record. Its slot is nobody's now.
    assert_eq!(admitted.await.unwrap().says(), "yes");
    assert_problem(&waiting.await.unwrap(), 503, "department-switched-off");
    assert_eq!(harness.civil().requests().count, 1);
    drop(client);
    harness.finish().await;
}

const CLOSED: u8 = 0;
const HALF_OPEN: u8 = 1;
const OPEN: u8 = 2;

/// The breaker as the metrics show it.
async fn breaker(harness: &Harness) -> u8 {
    let metrics = harness.metrics().await;
    let name = "jumpgate_department{department=\"civil-registry\",reading=\"breaker\"} ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(name));
    value.unwrap().parse().unwrap()
}

/// Asks until the status is this one; until then the department rests.
async fn until(client: &mut Client, status: u16) {
    let asked = async || {
        let reply = client.ask(&age(18, WIDOW)).await;
        assert!([503, status].contains(&reply.status), "{}", reply.json);
        (reply.status == status).then_some(())
    };
    eventually("the rest is over", asked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_shown_why_a_department_cannot_be_asked() {
    // The harness begins on Tuesday, 12 May 2026, at noon.
    let harness = Harness::with(
        "[[departments.social-insurance.protection.maintenance]]\n\
         daily_from = \"11:30\"\ndaily_to = \"12:10\"\n\
         message = { en = \"back at ten past twelve\", zh = \"十二点十分恢复\" }",
    )
    .await;
    let mut client = harness.client("one-window").await;
    let refused = client.ask(&insured(WIDOW)).await;
    assert_problem(&refused, 503, "department-maintenance");
    assert_eq!(refused.header("retry-after"), "600");
    assert_eq!(refused.json["message"]["zh"], "十二点十分恢复");
    assert_eq!(harness.records_of(Kind::Refused).pop().unwrap().index, refused.index());
    let (_, page) = harness.at_socket(::http::Method::GET, "/departments").await;
    assert_eq!(page[1]["state"], "maintenance");
    assert_eq!(page[1]["maintenance_s"], 600);
    assert_eq!(page[1]["message"]["en"], "back at ten past twelve");
    harness.advance(std::time::Duration::from_secs(600));
    assert_eq!(client.ask(&insured(WIDOW)).await.says(), "yes");
    // A message by the command's own form, kept over a restart.
    let message = r#"{ "en": "closed today", "zh": "今日关闭" }"#;
    let kill = "/departments/civil-registry/kill";
    let (status, _) = harness.at_socket_with(kill, message).await;
    assert_eq!(status, 200);
    let told = harness.records_of(Kind::Act(Act::Config)).pop().unwrap();
    assert_eq!(told.entry.details.as_ref().unwrap().find("zh"), Some("今日关闭"));
    let (status, said) = harness.at_socket_with(kill, r#"{ "en": "closed today" }"#).await;
    let without = "it IS off, without the message: write both texts, en and zh";
    assert_eq!((status.as_u16(), &said["said"]), (409, &without.into()));
    drop(client);
    let harness = harness.restart().await;
    let mut client = harness.client("one-window").await;
    let refused = client.ask(&age(18, WIDOW)).await;
    assert_problem(&refused, 503, "department-switched-off");
    assert_eq!(refused.json["message"]["en"], "closed today");
    drop(client);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_department_that_hung_is_back_at_its_full_rate_and_never_beyond() {
    let harness = Harness::with(
        "[departments.civil-registry]\ndeadline_ms = 300\n\
         [departments.civil-registry.protection]\nconcurrency_max = 16\nwaiting_max = 64",
    )
    .await;
    harness.civil().faults().set("hang".parse::<Fault>().unwrap()).unwrap();
    let client = harness.client_h2("one-window").await;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asking: Vec<_> = (0..32)
        .map(|_| {
            let (mut stream, stop) = (client.stream(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    stream.ask(&age(18, WIDOW)).await;
                }
            })
        })
        .collect();
    let reads = |state: &'static str| {
        let harness = &harness;
        async move || {
            let (_, page) = harness.at_socket(::http::Method::GET, "/departments").await;
            (page[0]["state"] == state).then_some(())
        }
    };
    eventually("it rests", reads("resting")).await;
    harness.civil().faults().clear();
    let begun = std::time::Instant::now();
    eventually("it is on with all its slots", reads("on")).await;
    let back = begun.elapsed();
    assert!(back < std::time::Duration::from_secs(10), "{back:?}");
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for task in asking {
        task.await.unwrap();
    }
    assert!(harness.civil().requests().in_flight_peak <= 16);
    let readings = harness.metrics().await;
    let limit = "jumpgate_department{department=\"civil-registry\",reading=\"limit\"} 16\n";
    assert!(readings.contains(limit), "{readings}");
    drop(client);
    harness.finish().await;
}
