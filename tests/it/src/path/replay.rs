//! A `query_id` of the caller's choice: a repeat gets the first outcome and asks nobody again.

use jumpgate_departments::Fault;
use jumpgate_querylog::Kind;

use crate::harness::questions::{WIDOW, age, but, under_id};
use crate::harness::{Harness, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_gets_the_first_outcome_and_a_changed_question_is_refused() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    let question = under_id(age(18, WIDOW), 1);
    let first = client.ask(&question).await;
    assert_eq!((first.status, first.says()), (200, "yes"));
    assert_eq!(first.json["query_id"], format!("{:032x}", 1));
    let entries = harness.records().len();
    // On another connection, too.
    let again = harness.client("one-window").await.ask(&question).await;
    assert_eq!(unpromised(&again), unpromised(&first));
    assert_eq!(harness.civil().requests().count, 1, "the department was asked again");
    assert_eq!(harness.records().len(), entries, "a repeat writes nothing");
    let changes = [
        under_id(age(60, WIDOW), 1),
        under_id(age(18, "E00000010"), 1),
        but(question.clone(), "case", "2026-0417"),
        but(question.clone(), "purpose", "benefit-claim"),
    ];
    for changed in changes {
        let reply = client.ask(&changed).await;
        assert_eq!((reply.status, reply.says()), (422, "query-id-reused"), "{changed}");
        assert_eq!(reply.json["field"], "/query_id");
    }
    assert_eq!(harness.civil().requests().count, 1);
    assert_eq!(harness.records_of(Kind::Refused).len(), 4);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_of_a_query_in_flight_waits_outside() {
    let harness = Harness::start().await;
    harness.civil().faults().set("hang".parse::<Fault>().unwrap()).unwrap();
    let question = under_id(age(18, WIDOW), 2);
    let (mut first, mut second) =
        (harness.client("one-window").await, harness.client("one-window").await);
    let asked = question.clone();
    let asking = tokio::spawn(async move { first.ask(&asked).await });
    let at_department = async || (harness.civil().requests().in_flight == 1).then_some(());
    eventually("the first is at the department", at_department).await;
    let reply = second.ask(&question).await;
    assert_eq!((reply.status, reply.says()), (409, "query-in-flight"), "{}", reply.json);
    assert_eq!(reply.header("retry-after"), "1");
    harness.civil().faults().clear();
    let first = asking.await.unwrap();
    assert_eq!(first.says(), "yes");
    assert_eq!(unpromised(&second.ask(&question).await), unpromised(&first));
    assert_eq!(harness.civil().requests().count, 1);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_replayed_and_a_refusal_is_not() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    let question = under_id(age(18, WIDOW), 3);
    harness.act("/departments/civil-registry/kill").await;
    let refused = client.ask(&question).await;
    assert_eq!((refused.status, refused.says()), (503, "department-switched-off"));
    harness.act("/departments/civil-registry/revive").await;
    let answered = client.ask(&question).await;
    assert_eq!((answered.status, answered.says()), (200, "yes"), "{}", answered.json);
    // What a department may have seen is never asked twice under one id.
    harness.civil().faults().set("status:500".parse::<Fault>().unwrap()).unwrap();
    let question = under_id(age(18, WIDOW), 4);
    let failed = client.ask(&question).await;
    assert_eq!((failed.status, failed.says()), (502, "department-error"), "{}", failed.json);
    harness.civil().faults().clear();
    let asked = harness.civil().requests().count;
    assert_eq!(unpromised(&client.ask(&question).await), unpromised(&failed));
    assert_eq!(harness.civil().requests().count, asked);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_belongs_to_its_caller() {
    let harness = Harness::start().await;
    let mut one = harness.client("one-window").await;
    let mut other = harness.client("other-window").await;
    let first = one.ask(&under_id(age(18, WIDOW), 5)).await;
    let second = other.ask(&under_id(age(65, WIDOW), 5)).await;
    assert_eq!((first.says(), second.says()), ("yes", "no"));
    assert_ne!(first.index(), second.index());
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgets_no_outcome() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    let answer = client.ask(&under_id(age(18, WIDOW), 6)).await;
    harness.civil().faults().set("status:500".parse::<Fault>().unwrap()).unwrap();
    let fault = client.ask(&under_id(age(18, WIDOW), 7)).await;
    assert_eq!((answer.status, fault.status), (200, 502));
    harness.civil().faults().clear();
    drop(client);
    let harness = harness.restart().await;
    let asked = harness.civil().requests().count;
    let mut client = harness.client("one-window").await;
    assert_eq!(unpromised(&client.ask(&under_id(age(18, WIDOW), 6)).await), unpromised(&answer));
    assert_eq!(unpromised(&client.ask(&under_id(age(18, WIDOW), 7)).await), unpromised(&fault));
    let reused = client.ask(&under_id(age(60, WIDOW), 6)).await;
    assert_eq!((reused.status, reused.says()), (422, "query-id-reused"));
    assert_eq!(harness.civil().requests().count, asked);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_forgotten_after_a_day() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    let question = under_id(age(18, WIDOW), 8);
    let first = client.ask(&question).await;
    harness.advance(std::time::Duration::from_secs(24 * 3600 - 1));
    assert_eq!(unpromised(&client.ask(&question).await), unpromised(&first));
    harness.advance(std::time::Duration::from_secs(1));
    let later = client.ask(&question).await;
    assert_eq!(later.says(), "yes");
    assert_ne!(later.index(), first.index());
    assert_eq!(harness.civil().requests().count, 2);
    harness.finish().await;
}

/// A reply without its promise, which is signed anew for each of them.
fn unpromised(reply: &crate::harness::Reply) -> serde_json::Value {
    let mut json = reply.json.clone();
    json["receipt"].as_object_mut().unwrap().remove("promise").unwrap();
    json
}
