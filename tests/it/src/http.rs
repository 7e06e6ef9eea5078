//! The interface as any HTTP client meets it: statuses, problem bodies, limits, both protocols.

mod http2;
mod limits;
mod raw;

use http::Method;
use jumpgate_departments::Fault;
use serde_json::json;

use crate::harness::questions::{WIDOW, age, but};
use crate::harness::{Harness, Reply, eventually};

/// Asserts that a response is a problem of this status and code, whole and not to be cached.
pub fn assert_problem(reply: &Reply, status: u16, code: &str) {
    let body = &reply.json;
    assert_eq!((reply.status, reply.says()), (status, code), "{reply:?}");
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(body["type"], format!("urn:jumpgate:problem:{code}"));
    assert_eq!(body["status"], status);
    assert_eq!(body["code"], code);
    assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()), "{body}");
    assert!(body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{body}");
    let retry_after = body["retry_after_s"].as_u64().map(|seconds| seconds.to_string());
    assert_eq!(reply.header("retry-after"), retry_after.unwrap_or_default());
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_methods_outside_the_interface_are_refused() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    for path in ["/", "/v1", "/v1/queries/", "/v2/queries", "/metrics", "/v1/queries/../queries"] {
        assert_problem(&client.get(path).await, 404, "not-found");
    }
    let methods = [
        (Method::GET, "/v1/queries", "POST"),
        (Method::PUT, "/v1/queries", "POST"),
        (Method::DELETE, "/v1/batches", "POST"),
        (Method::POST, "/v1/catalogue", "GET"),
        (Method::POST, "/v1/receipts/7", "GET"),
        (Method::POST, "/healthz", "GET"),
    ];
    for (method, path, allow) in methods {
        let reply = client.send(method, path, &JSON, "{}").await.unwrap();
        assert_problem(&reply, 405, "method-not-allowed");
        assert_eq!(reply.header("allow"), allow, "{path}");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_json_and_says_so() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    let body = age(18, WIDOW).to_string();
    let other = ["text/plain", "application/xml", "application/jsonp", "multipart/form-data", ""];
    for content_type in other {
        let headers = [("content-type", content_type)];
        let reply = client.send(Method::POST, "/v1/queries", &headers, body.clone()).await;
        assert_problem(&reply.unwrap(), 415, "unsupported-media-type");
    }
    let reply = client.send(Method::POST, "/v1/queries", &[], body.clone()).await.unwrap();
    assert_problem(&reply, 415, "unsupported-media-type");
    let headers = [("content-type", "Application/JSON; charset=utf-8")];
    let reply = client.send(Method::POST, "/v1/queries", &headers, body).await.unwrap();
    assert_eq!(reply.says(), "yes");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_body_is_told_its_place_and_none_of_its_values() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    let question = age(18, WIDOW);
    let with_typo = but(question.clone(), "E00000011-as-a-key", "E00000011");
    let bodies = [
        (String::new(), "line 1, column 0", None),
        ("{\"predicate\": \"E00000011\"".to_owned(), "line 1, column 25", None),
        ("{\n  \"subject\": E00000011\n}".to_owned(), "line 2, column 14", None),
        ("{\"subject\": \"E00000011\"}".to_owned(), "line 1, column ", Some("/subject")),
        (but(question.clone(), "case", 7).to_string(), "line 1, column ", Some("/case")),
        (format!("{question} E00000011"), "line 1, column ", None),
        (with_typo.to_string(), "line 1, column ", None),
        (but(question.clone(), "query_id", "E00000011").to_string(), "", Some("/query_id")),
        (format!("[{question}]"), "line 1, column ", None),
    ];
    for (body, place, field) in bodies {
        let reply = client.send(Method::POST, "/v1/queries", &JSON, body.clone()).await.unwrap();
        assert_problem(&reply, 400, "malformed-request");
        assert!(reply.json["detail"].as_str().unwrap().contains(place), "{body} {}", reply.json);
        if field.is_some() {
            assert_eq!(reply.json["field"].as_str(), field, "{body}");
        }
        let said = String::from_utf8(reply.body.to_vec()).unwrap();
        assert!(!said.contains("E00000011"), "a value of the body came back: {said}");
    }
    assert_eq!(harness.civil().requests().count, 0);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_the_catalogue_does_not_know_is_told_the_field() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    let question = age(18, WIDOW);
    let subject = |kind: &str, value: &str| json!({ "kind": kind, "value": value });
    let changes = [
        ("predicate", json!("civil-registry/shoe-size@1"), "/predicate", "unknown-predicate"),
        ("parameters", json!({ "years": 19 }), "/parameters/years", "invalid-parameter"),
        ("parameters", json!({}), "/parameters/years", "invalid-parameter"),
        ("parameters", json!({ "years": 18, "E00000011": 1 }), "/parameters", "invalid-parameter"),
        ("subject", subject("library-card", "1"), "/subject/kind", "subject-kind-not-allowed"),
        ("subject", subject("passport", "E00000011x"), "/subject/value", "invalid-subject"),
        ("purpose", json!("gossip"), "/purpose", "purpose-not-allowed"),
        ("case", json!("a\u{0}b"), "/case", "invalid-case"),
        ("operator", json!("x".repeat(65)), "/operator", "invalid-case"),
    ];
    for (name, value, field, code) in changes {
        let reply = client.ask(&but(question.clone(), name, value)).await;
        assert_problem(&reply, 400, code);
        assert_eq!(reply.json["field"], field);
        assert!(!String::from_utf8_lossy(&reply.body).contains("E0000001"), "{}", reply.json);
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_carries_its_quotas_and_is_not_to_be_cached() {
    let quotas = "[quotas]\ncaller = { per_second = 2, burst = 10 }\n\
                  department = { per_second = 1, burst = 5 }";
    let harness = Harness::with(quotas).await;
    let mut client = harness.client("one-window").await;
    let reply = client.ask(&age(18, WIDOW)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("cache-control"), "no-store");
    let policy = "\"caller\";q=10;w=5, \"caller/civil-registry\";q=5;w=5";
    assert_eq!(reply.header("ratelimit-policy"), policy);
    let limit = "\"caller\";r=9;t=1, \"caller/civil-registry\";r=4;t=1";
    assert_eq!(reply.header("ratelimit"), limit);
    // A refusal before there is a question shows the caller's own quota alone.
    let reply = client.ask(&json!({})).await;
    assert_problem(&reply, 400, "malformed-request");
    assert_eq!(reply.header("ratelimit-policy"), "\"caller\";q=10;w=5");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_beside_the_questions_is_there() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    let catalogue = client.get("/v1/catalogue").await;
    assert_eq!(catalogue.status, 200);
    let predicates = catalogue.json["predicates"].as_array().unwrap();
    let of_ours = predicates.iter().find(|p| p["predicate"] == "civil-registry/age-at-least@1");
    assert_eq!(of_ours.unwrap()["clock"], "grid");
    assert_eq!(client.get("/healthz").await.json["status"], "running");
    let ready = client.get("/readyz").await;
    assert_eq!((ready.status, &ready.json["ready"]), (200, &json!(true)));
    harness.gateway().record.log().clone().close().await.unwrap();
    let ready = client.get("/readyz").await;
    assert_eq!(ready.json["draining"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_requests_max_a_request_is_told_to_come_back() {
    let harness = Harness::with("[listener]\nrequests_max = 1").await;
    harness.civil().faults().set("hang".parse::<Fault>().unwrap()).unwrap();
    let mut slow = harness.client("one-window").await;
    let asking = tokio::spawn(async move { slow.ask(&age(18, WIDOW)).await });
    let at_department = async || (harness.civil().requests().in_flight == 1).then_some(());
    eventually("one request is in work", at_department).await;
    let mut client = harness.client("one-window").await;
    let reply = client.ask(&age(18, WIDOW)).await;
    assert_problem(&reply, 503, "gateway-busy");
    assert_eq!(reply.header("retry-after"), "1");
    harness.civil().faults().clear();
    assert_eq!(asking.await.unwrap().says(), "yes");
    let room = async || (client.ask(&age(18, WIDOW)).await.status == 200).then_some(());
    eventually("there is room again", room).await;
    harness.finish().await;
}
