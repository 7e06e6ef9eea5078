//! Several questions in one call.

use jumpgate_departments::Fault;
use jumpgate_querylog::Kind;
use serde_json::{Value, json};

use crate::harness::questions::{WIDOW, age, batch, but, civil, insured, social};
use crate::harness::{Harness, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn all_departments_are_asked_at_the_same_moment() {
    let harness = Harness::start().await;
    let departments = [harness.civil(), harness.social()];
    for department in departments {
        department.faults().set("hang".parse::<Fault>().unwrap()).unwrap();
    }
    let questions = vec![
        age(18, WIDOW),
        civil("alive", json!({}), WIDOW),
        civil("parent-of-minor", json!({}), WIDOW),
        insured(WIDOW),
        social("receives-pension", json!({}), "E00000014"),
        insured("E00000013"),
    ];
    let mut client = harness.client("one-window").await;
    let asking = tokio::spawn(async move { client.ask_batch(questions).await });
    // None is answered before all are asked: three at each department, none waits for another.
    let asked = async || departments.iter().all(|d| d.requests().in_flight == 3).then_some(());
    eventually("three questions at each department", asked).await;
    assert_eq!(harness.verify().unwrap().open_asks.len(), 6);
    departments.iter().for_each(|department| department.faults().clear());
    let reply = asking.await.unwrap();
    let yes = (200, "yes");
    assert_eq!(reply.items(), [yes; 6], "{}", reply.json);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_question_of_a_batch_is_answered_or_refused_on_its_own() {
    let harness = Harness::start().await;
    let reset = "reset".parse::<Fault>().unwrap();
    harness.social().faults().set(reset).unwrap();
    let mut client = harness.client("one-window").await;
    let reply = client
        .ask_batch([
            age(18, WIDOW),
            age(19, WIDOW),
            insured(WIDOW),
            json!({ "predicate": "civil-registry/alive@1" }),
            Value::Null,
            but(age(18, WIDOW), "purpose", "no-such-purpose"),
            age(65, WIDOW),
        ])
        .await;
    assert_eq!(reply.status, 200);
    let expected = [
        (200, "yes"),
        (400, "invalid-parameter"),
        (502, "department-reset"),
        (400, "malformed-request"),
        (400, "malformed-request"),
        (400, "purpose-not-allowed"),
        (200, "no"),
    ];
    assert_eq!(reply.items(), expected, "{}", reply.json);
    assert_eq!(harness.records_of(Kind::Ask).len(), 3);
    assert_eq!(harness.records_of(Kind::Failed).len(), 1);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_one_to_sixteen_questions() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    for count in [0, 17] {
        let reply = client.ask_batch(vec![age(18, WIDOW); count]).await;
        assert_eq!((reply.status, reply.says()), (400, "batch-size"), "{count}");
        assert_eq!(reply.json["field"], "/questions");
    }
    assert_eq!(harness.civil().requests().count, 0);
    let reply = client.ask_batch(vec![age(18, WIDOW); 16]).await;
    assert_eq!(reply.items(), [(200, "yes"); 16]);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_pays_for_all_its_questions_or_for_none() {
    let quota = "[quotas.caller]\nper_second = 1\nburst = 8";
    let harness = Harness::with(quota).await;
    let mut client = harness.client("one-window").await;
    let reply = client.ask_batch(vec![age(18, WIDOW); 16]).await;
    assert_eq!((reply.status, reply.says()), (429, "caller-quota-exhausted"));
    assert_eq!(harness.civil().requests().count, 0);
    // The question that paid for reading the body is gone; the other fifteen were not taken.
    let reply = client.post("/v1/batches", &batch(vec![age(18, WIDOW); 7])).await;
    assert_eq!(reply.items(), [(200, "yes"); 7], "{}", reply.json);
    harness.finish().await;
}
