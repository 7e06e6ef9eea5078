//! What becomes of released knowledge when a person is erased, his record is corrected, or somebody
//! looks.

use http::StatusCode;
use jiff::ToSpan;
use jumpgate_querylog::{Act, FieldId, Kind};
use serde_json::{Value, json};

use super::exact::{connect, reaching, set_day, told};
use crate::harness::exact::{exact, exact_age};
use crate::harness::{Harness, TODAY, eventually};

async fn act(harness: &Harness, act: &str, handle: &str) -> (StatusCode, Value) {
    let body = json!({ "kind": "handle", "value": handle }).to_string();
    harness.at_socket_with(&format!("/persons/{act}"), &body).await
}

pub async fn shown(harness: &Harness, handle: &str) -> Vec<String> {
    let (status, said) = act(harness, "disclosure", handle).await;
    assert_eq!(status, 200, "{said}");
    serde_json::from_value(said["changes"].clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_person_is_not_asked_about_anew() {
    let harness = exact(366).start().await;
    let [mut client, mut other] = connect(&harness).await;
    let (person, _) = reaching(18, 75);
    let handle = &person.identifiers.handle;
    let question = exact_age(18, handle);
    assert_eq!(told(&client.ask(&question).await.json), ("no".to_owned(), TODAY));
    let known = shown(&harness, handle).await;
    let (status, said) = act(&harness, "erase", handle).await;
    assert_eq!((status, &said["said"]), (StatusCode::OK, &json!("erased")));
    assert_eq!(act(&harness, "erase", handle).await.0, 404, "the log does not know him any more");
    let told_before = ("no".to_owned(), TODAY);
    assert_eq!(told(&other.ask(&question).await.json), told_before);
    let harness = harness.restart().await;
    let [mut client, _] = connect(&harness).await;
    assert_eq!(told(&client.ask(&question).await.json), told_before);
    assert_eq!(harness.civil().requests().count, 1, "nobody was asked again");
    // What is known is what was; whose cut it was, is erased.
    assert_eq!(shown(&harness, handle).await, known[..1]);
    set_day(&harness, TODAY.saturating_add(30.days()));
    let told_anew = told(&client.ask(&question).await.json);
    assert_eq!(told_anew, ("no".to_owned(), TODAY.saturating_add(30.days())));
    let report = harness.finish().await;
    assert_eq!(report.fields_erased, 3, "the question, its answer, and that somebody looked");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receipt_about_an_erased_person_is_the_same_once_the_log_has_stopped() {
    let harness = exact(366).start().await;
    let [mut client, _] = connect(&harness).await;
    let (person, _) = reaching(18, 75);
    let handle = &person.identifiers.handle;
    let index = client.ask(&exact_age(18, handle)).await.index();
    let receipt = format!("/v1/receipts/{index}");
    harness.published().await;
    assert!(client.get(&receipt).await.json.get("proof").is_some());
    assert_eq!(act(&harness, "erase", handle).await.0, 200);
    let erased = client.get(&receipt).await;
    assert_eq!((erased.status, erased.json.get("proof")), (200, None), "nobody can open it");
    let lock = harness.log_dir().join("lock");
    std::fs::rename(&lock, lock.with_extension("elsewhere")).unwrap();
    let stopped = async || (client.get("/readyz").await.status == 503).then_some(());
    eventually("the log has stopped", stopped).await;
    let after = client.get(&receipt).await;
    assert_eq!((after.status, &after.json), (200, &erased.json));
}

#[tokio::test(flavor = "multi_thread")]
async fn erased_twice_with_a_restart_in_between_nothing_is_forgotten() {
    let harness = exact(366).start().await;
    let [mut client, _] = connect(&harness).await;
    let (person, day) = reaching(18, 75);
    let handle = &person.identifiers.handle;
    let question = exact_age(18, handle);
    client.ask(&question).await;
    set_day(&harness, day.saturating_add(5.days()));
    assert_eq!(told(&client.ask(&question).await.json).0, "yes");
    let known = shown(&harness, handle).await;
    assert_eq!(act(&harness, "erase", handle).await.0, 200);
    // An answer that follows from the tombstone says less than the tombstone.
    client.ask(&exact_age(16, handle)).await;
    let harness = harness.restart().await;
    assert_eq!(shown(&harness, handle).await, known[..1]);
    assert_eq!(act(&harness, "erase", handle).await.0, 200);
    assert_eq!(shown(&harness, handle).await, known[..1]);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_record_is_asked_about_anew_also_after_a_restart() {
    let harness = exact(366).start().await;
    let [mut client, _] = connect(&harness).await;
    let (person, _) = reaching(18, 75);
    let handle = &person.identifiers.handle;
    let question = exact_age(18, handle);
    client.ask(&question).await;
    let body = |department: &str, attribute: &str| {
        json!({
            "kind": "handle", "value": handle, "department": department, "attribute": attribute,
        })
    };
    let with = |key: &str, value: &str| {
        let mut body = body("civil-registry", "birth-date");
        body[key] = value.into();
        body
    };
    let tried = [
        (json!({ "kind": "handle", "value": handle }), 409),
        (with("attribute", "residence-since"), 404),
        (with("department", "social-insurance"), 404),
        (with("value", "ow-1"), 404),
        (with("kind", "shoe-size"), 404),
        (with("size", "44"), 409),
        (body("civil-registry", "birth-date"), 200),
    ];
    for (body, expected) in tried {
        let (status, said) = harness.at_socket_with("/persons/rectified", &body.to_string()).await;
        assert_eq!(status, expected, "{said}");
        assert!(!said.to_string().contains(handle.as_str()), "{said}");
    }
    let harness = harness.restart().await;
    let [mut client, mut other] = connect(&harness).await;
    for (client, requests) in [(&mut client, 2), (&mut other, 2)] {
        assert_eq!(told(&client.ask(&question).await.json), ("no".to_owned(), TODAY));
        assert_eq!(harness.civil().requests().count, requests, "asked once more, and then known");
    }
    assert_eq!(harness.records_of(Kind::Act(Act::Declare)).len(), 1);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_looks_sees_what_was_told_and_by_whom_and_is_seen() {
    let harness = exact(366).start().await;
    let [mut client, mut other] = connect(&harness).await;
    let (person, _) = reaching(18, 75);
    let handle = &person.identifiers.handle;
    assert!(shown(&harness, handle).await.is_empty());
    client.ask(&exact_age(18, handle)).await;
    let day = TODAY.saturating_add(40.days());
    set_day(&harness, day);
    other.ask(&exact_age(18, handle)).await;
    let from = day.saturating_sub(18.years()).tomorrow().unwrap();
    // No date lies after the day on which it was first asked about.
    let until = TODAY.tomorrow().unwrap();
    let days = (until - from).get_days();
    let asked = "asked civil-registry/age-at-least@1, and it was a cut";
    assert_eq!(
        shown(&harness, handle).await,
        [
            format!("birth-date: from {from} to before {until}, {days} days"),
            format!("{TODAY} one-window {asked}"),
            format!("{day} other-window {asked}"),
        ],
        "not yet of age on that day, so born after it so many years ago"
    );
    let looks = harness.records_of(Kind::Act(Act::Search));
    assert_eq!(looks.len(), 2);
    assert_eq!(harness.fields(&looks[1]).text(FieldId::Operator), Some("the gateway's own user"));
    harness.finish().await;
}
