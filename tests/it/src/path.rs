//! The path of one query: what is answered, what stands in the log, what the department saw.

mod batches;
mod proofs;
mod replay;
mod timing;

use jumpgate_catalogue::Verdict;
use jumpgate_querylog::{FieldId, Kind, Proven, QueryLog};
use serde_json::{Value, json};

use crate::harness::questions::{WIDOW, age, but, civil, insured, name_matches, social};
use crate::harness::{Harness, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_finding_maps_to_its_verdict() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    for (question, verdict) in questions_and_verdicts() {
        let reply = client.ask(&question).await;
        assert_eq!((reply.status, reply.says()), (200, verdict), "{question} {}", reply.json);
        // What the caller was told is what the log has sealed.
        let answer = harness.records().pop().unwrap();
        let sealed = harness.fields(&answer);
        assert_eq!(sealed.verdict().map(Verdict::as_str), Some(verdict), "{question}");
        assert_eq!(sealed.reason().is_some(), verdict == "undetermined", "{question}");
    }
    harness.finish().await;
}

/// First steps that the civil registry's adapter has kept.
pub fn firsts_kept(harness: &Harness) -> usize {
    let gateway = harness.gateway();
    let mut departments = gateway.departments();
    let civil = departments.find(|department| department.id().as_str() == "civil-registry");
    civil.unwrap().adapter().firsts_kept()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_step_is_kept_only_of_what_is_about_nobody() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    for (question, kept) in [
        (age(18, WIDOW), 1),
        (age(18, "E00000004"), 1),
        (age(65, WIDOW), 2),
        (name_matches("Nobody At All", WIDOW), 2),
        (age(18, "no passport"), 2),
    ] {
        client.ask(&question).await;
        assert_eq!(firsts_kept(&harness), kept, "{question}");
    }
    harness.finish().await;
    // Nor where the adapter is told who it is about.
    let harness = Harness::with("[departments.civil-registry]\nreveal_subject = true").await;
    let mut client = harness.client("one-window").await;
    assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    assert_eq!(firsts_kept(&harness), 0);
    harness.finish().await;
}

fn questions_and_verdicts() -> Vec<(Value, &'static str)> {
    let months = |scheme: &str, months: i64| json!({ "scheme": scheme, "months": months });
    vec![
        (age(18, WIDOW), "yes"),
        (age(65, WIDOW), "no"),
        (civil("alive", json!({}), "E00000007"), "no"),
        (civil("marital-status-is", json!({ "status": "widowed" }), WIDOW), "yes"),
        // The record is there and does not say.
        (age(18, "E00000004"), "undetermined"),
        (age(18, "E00000005"), "undetermined"),
        (age(18, "E00000006"), "undetermined"),
        // Two records, and nothing says which is meant.
        (age(18, "E00000008"), "undetermined"),
        (insured("E00000008"), "undetermined"),
        // No record: what that means stands in the catalogue, predicate by predicate.
        (age(18, "E99999999"), "undetermined"),
        (name_matches("张三", "E99999999"), "no"),
        (insured("E00000012"), "no"),
        (insured(WIDOW), "yes"),
        // Three pages of contributions, fetched one after the other.
        (social("contribution-months-at-least", months("pension", 120), "E00000015"), "yes"),
        (social("continuous-months-at-least", months("pension", 24), "E00000013"), "no"),
        (social("receives-pension", json!({}), "E00000014"), "yes"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_closes_its_ask_and_carries_a_receipt() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    let noted = but(but(age(18, WIDOW), "case", "2026-0417"), "operator", "desk 4");
    let reply = client.ask(&noted).await;
    assert_eq!((reply.status, reply.says()), (200, "yes"), "{}", reply.json);
    let records = harness.records();
    let [.., ask, answer] = &records[..] else { panic!("{records:?}") };
    assert_eq!((ask.entry.kind, answer.entry.kind), (Kind::Ask, Kind::Answer));
    assert_eq!(answer.entry.ask, Some(ask.index));
    assert_eq!(ask.entry.caller.as_deref(), Some("one-window"));
    assert_eq!(ask.entry.purpose.as_deref(), Some("hiring"));
    assert_eq!(reply.index(), answer.index);
    assert_eq!(reply.leaf_hash(), hex::encode(answer.leaf_hash));
    let sealed = harness.fields(ask);
    assert_eq!(sealed.text(FieldId::Case), Some("2026-0417"));
    assert_eq!(sealed.text(FieldId::Operator), Some("desk 4"));
    assert_eq!(harness.civil().requests().count, 1);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ask_is_on_record_before_the_department_hears_of_it() {
    let harness = Harness::start().await;
    harness.civil().faults().set("hang".parse::<jumpgate_departments::Fault>().unwrap()).unwrap();
    let mut client = harness.client("one-window").await;
    let asking = tokio::spawn(async move { client.ask(&age(18, WIDOW)).await });
    let in_flight = async || (harness.civil().requests().in_flight == 1).then_some(());
    eventually("the department is being asked", in_flight).await;
    let open = harness.verify().unwrap().open_asks;
    assert_eq!(open.len(), 1, "the department was asked without an ask on record");
    assert!(harness.records_of(Kind::Answer).is_empty());
    harness.civil().faults().clear();
    assert_eq!(asking.await.unwrap().says(), "yes");
    assert_eq!(harness.records_of(Kind::Answer)[0].entry.ask, Some(open[0]));
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_log_no_department_is_asked_and_nothing_is_said() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    harness.gateway().record.log().clone().close().await.unwrap();
    let reply = client.ask(&age(18, WIDOW)).await;
    assert_eq!((reply.status, reply.says()), (503, "log-unavailable"), "{}", reply.json);
    assert!(reply.json.get("receipt").is_none());
    // A refusal is an answer too.
    let not_granted = but(age(18, WIDOW), "purpose", "pension-claim");
    let mut other = harness.client("other-window").await;
    let reply = other.ask(&not_granted).await;
    assert_eq!((reply.status, reply.says()), (503, "log-unavailable"), "{}", reply.json);
    assert_eq!(harness.civil().requests().count, 0);
    let report = harness.verify().unwrap();
    assert!(report.stopped && report.open_asks.is_empty(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_as_of_a_date_that_follows_from_the_clock() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    let just_turned = age(18, "E00000001");
    let dates = |reply: &crate::harness::Reply| {
        let text = |name: &str| reply.json[name].as_str().unwrap_or_default().to_owned();
        (text("as_of"), text("next_as_of"))
    };
    let of = |as_of: &str, next: &str| (as_of.to_owned(), next.to_owned());
    // A state that holds now has no next date.
    let reply = client.ask(&civil("alive", json!({}), WIDOW)).await;
    assert_eq!((reply.says(), dates(&reply)), ("yes", of("2026-05-12", "")));
    // He turned 18 on the 2nd; the grid counts whole months.
    let reply = client.ask(&just_turned).await;
    assert_eq!((reply.says(), dates(&reply)), ("no", of("2026-05-01", "2026-06-01")));
    // The last moment of May in Beijing, then the first of June, which in UTC is still May.
    harness.set_now("2026-05-31T15:59:59Z");
    let reply = client.ask(&just_turned).await;
    assert_eq!((reply.says(), dates(&reply)), ("no", of("2026-05-01", "2026-06-01")));
    harness.set_now("2026-05-31T16:00:00Z");
    let reply = client.ask(&just_turned).await;
    assert_eq!((reply.says(), dates(&reply)), ("yes", of("2026-06-01", "2026-07-01")));
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_query_has_one_entry_and_costs_the_department_nothing() {
    let harness = Harness::start().await;
    let mut client = harness.client("other-window").await;
    let reply = client.ask(&civil("alive", json!({}), WIDOW)).await;
    assert_eq!((reply.status, reply.says()), (403, "not-granted"), "{}", reply.json);
    let refused = harness.records_of(Kind::Refused);
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].entry.code.as_deref(), Some("not-granted"));
    assert_eq!(reply.index(), refused[0].index);
    assert_eq!(reply.leaf_hash(), hex::encode(refused[0].leaf_hash));
    assert!(harness.records_of(Kind::Ask).is_empty());
    assert_eq!(harness.civil().requests().count, 0);
    assert_eq!(harness.civil().requests().connections, 0);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_questions_are_counted_and_get_no_entry_of_their_own() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    let before = harness.records().len();
    for _ in 0..5 {
        let reply = client.ask(&age(19, WIDOW)).await;
        assert_eq!((reply.status, reply.says()), (400, "invalid-parameter"), "{}", reply.json);
        assert_eq!(reply.json["field"], "/parameters/years");
        assert!(reply.json.get("receipt").is_none());
    }
    let counted = async || (harness.coalesced("invalid-parameter") == 5).then_some(());
    eventually("the refusals are counted", counted).await;
    let since = &harness.records()[before..];
    assert!(since.iter().all(|record| record.entry.kind == Kind::Coalesced), "{since:?}");
    assert!(since.iter().all(|record| record.entry.caller.as_deref() == Some("one-window")));
    assert_eq!(harness.civil().requests().count, 0);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_shown_to_the_caller_it_was_made_for_and_to_nobody_else() {
    let harness = Harness::start().await;
    let mut owner = harness.client("one-window").await;
    let mut other = harness.client("other-window").await;
    let answer = owner.ask(&age(18, WIDOW)).await;
    let path = format!("/v1/receipts/{}", answer.index());
    let own = owner.get(&path).await;
    assert_eq!(own.status, 200);
    assert_eq!(own.json["leaf_hash"], answer.leaf_hash());
    assert_eq!(own.json["kind"], "answer");
    let proven = async || Some(owner.get(&path).await.json.get("proof")?.as_str()?.to_owned());
    let proof = eventually("the published tree holds it", proven).await;
    let (key, _) = QueryLog::verifier_keys(&harness.log_dir()).unwrap();
    let proven = Proven::of_receipt(&proof, &key).unwrap();
    assert_eq!((proven.index, proven.verdict), (answer.index(), Some(Verdict::Yes)));
    assert_eq!(proven.as_of.unwrap().to_string(), answer.json["as_of"]);
    assert_eq!(proven.entry.query_id.unwrap().to_string(), answer.json["query_id"]);
    let unknown = other.get("/v1/receipts/999999").await;
    let foreign = other.get(&path).await;
    assert_eq!((foreign.status, foreign.says()), (404, "no-receipt"));
    assert_eq!(foreign.body, unknown.body, "an entry of another caller looks like none");
    // An index has one spelling; the gateway's own entries are nobody's.
    for index in ["0", "007", "+7", "-1", "", "7/", "18446744073709551616", "start"] {
        let reply = owner.get(&format!("/v1/receipts/{index}")).await;
        assert_eq!((reply.status, reply.says()), (404, "no-receipt"), "{index:?}");
    }
    harness.finish().await;
}
