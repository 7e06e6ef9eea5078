//! The pages in `spec` say what the code does: generated regions are what catalogue and codes
//! yield, examples fit their schemas and are read by the gateway's own reader, and what a running
//! gateway sends fits them too. `JUMPGATE_BLESS=1` writes the regions anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use jumpgate::record::LogUnavailable;
use jumpgate::respond::{fault_row, log_row, refusal_row};
use jumpgate::wire;
use jumpgate_catalogue::{Catalogue, FaultCode, RefusalCode};
use serde_json::{Value, json};

use crate::harness::{Harness, Reply, parts, questions as q};
use schema::Schemas;

mod regions;
mod schema;

fn catalogue() -> Catalogue {
    Catalogue::load(&parts::root().join("spec/catalogue")).unwrap()
}

fn openapi() -> Value {
    let text = fs::read_to_string(parts::root().join("spec/openapi.yaml")).unwrap();
    serde_norway::from_str(&text).unwrap()
}

fn codes() -> BTreeSet<&'static str> {
    let refusals = RefusalCode::ALL.iter().map(|code| code.code());
    let faults = FaultCode::ALL.iter().map(|code| code.code());
    refusals.chain(faults).chain(LOG.map(|unavailable| log_row(unavailable).1)).collect()
}

const LOG: [LogUnavailable; 2] = [LogUnavailable::Log, LogUnavailable::Panicked];

// --- generated regions -----------------------------------------------------------------------

#[test]
fn the_interface_lists_what_the_catalogue_and_the_codes_yield() {
    let catalogue = catalogue();
    regions::compare(
        &parts::root().join("spec/openapi.yaml"),
        "# ",
        "",
        &[
            ("predicates", regions::predicates(&catalogue)),
            ("kinds", regions::kinds(&catalogue)),
            ("purposes", regions::purposes(&catalogue)),
            ("codes", regions::codes(&LOG)),
        ],
    );
}

#[test]
fn the_page_of_errors_lists_every_row() {
    regions::compare(
        &parts::root().join("spec/errors.md"),
        "<!-- ",
        " -->",
        &[("refusals", regions::refusal_table()), ("faults", regions::fault_table())],
    );
}

/// The tables for people are written by hand, so they can lack a code or name one that is gone.
#[test]
fn the_page_of_errors_explains_each_code_once() {
    let text = fs::read_to_string(parts::root().join("spec/errors.md")).unwrap();
    let section = |title: &str| {
        let (_, rest) = text.split_once(&format!("# {title}\n")).unwrap();
        let end = rest.find("\n#").unwrap_or(rest.len());
        rest[..end].to_owned()
    };
    let named = |title: &str| -> Vec<String> {
        let rows = section(title);
        let firsts = rows.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
        let codes = firsts.flat_map(|first| first.split(", "));
        codes.map(|code| code.trim_matches('`').to_owned()).collect()
    };
    let sorted = |mut codes: Vec<String>| {
        codes.sort();
        codes
    };
    let all = |codes: &[&str]| sorted(codes.iter().map(ToString::to_string).collect());
    let refusals = RefusalCode::ALL.map(RefusalCode::code);
    assert_eq!(sorted(named("Who mends it, and how")), all(&refusals));
    assert_eq!(
        sorted(named("What happened, and what to do")),
        all(&FaultCode::ALL.map(|c| c.code()))
    );
    let log: Vec<String> = LOG
        .iter()
        .map(|unavailable| {
            let (status, code, title, _) = log_row(*unavailable);
            format!("| `{code}` | {} | {title} | ", status.as_u16())
        })
        .collect();
    let rows = section("No log");
    for row in &log {
        assert!(rows.contains(row.as_str()), "no row {row}");
    }
    assert_eq!(named("No log").len(), LOG.len());
}

// --- statuses --------------------------------------------------------------------------------

/// Every code with its status, as `respond` has them.
fn statuses() -> BTreeMap<&'static str, u16> {
    let refusals = RefusalCode::ALL.iter().map(|c| (c.code(), refusal_row(*c).0.as_u16()));
    let faults = FaultCode::ALL.iter().map(|c| (c.code(), fault_row(*c).0.as_u16()));
    let log = LOG.iter().map(|l| (log_row(*l).1, log_row(*l).0.as_u16()));
    refusals.chain(faults).chain(log).collect()
}

/// The codes that each response of an operation may hold, by status.
fn listed(api: &Value, path: &str, method: &str) -> BTreeMap<u16, BTreeSet<String>> {
    let schemas = Schemas::of(api);
    let responses = api["paths"][path][method]["responses"].as_object().unwrap();
    let codes_of = |response: &Value| -> BTreeSet<String> {
        let response = schemas.resolve(response);
        let problem = &response["content"]["application/problem+json"]["schema"];
        let codes = &problem["properties"]["code"];
        let named = codes["enum"].as_array().cloned().unwrap_or_default();
        let alone = codes.get("const").cloned();
        let either = codes["oneOf"].as_array().or(codes["anyOf"].as_array());
        let referred =
            either.into_iter().flatten().chain([codes]).flat_map(|code| {
                schemas.resolve(code)["enum"].as_array().cloned().unwrap_or_default()
            });
        let all = named.into_iter().chain(alone).chain(referred);
        all.map(|code| code.as_str().unwrap().to_owned()).collect()
    };
    responses.iter().map(|(status, said)| (status.parse().unwrap(), codes_of(said))).collect()
}

#[test]
fn each_code_stands_under_its_own_status() {
    let api = openapi();
    let statuses = statuses();
    let mut seen = BTreeSet::new();
    for (path, operations) in api["paths"].as_object().unwrap() {
        for method in ["get", "post"].iter().filter(|m| operations.get(**m).is_some()) {
            for (status, codes) in listed(&api, path, method) {
                for code in codes {
                    let known = statuses.get(code.as_str());
                    assert_eq!(known, Some(&status), "{method} {path}: {code}");
                    seen.insert(code);
                }
            }
        }
    }
    let no_path = &api["components"]["responses"]["NoPath"];
    let problem = &no_path["content"]["application/problem+json"]["schema"];
    assert_eq!(problem["properties"]["code"]["enum"], json!(["not-found"]));
    seen.insert("not-found".to_owned());
    let missing: Vec<_> = codes().into_iter().filter(|code| !seen.contains(*code)).collect();
    assert!(missing.is_empty(), "no response lists {missing:?}");
}

/// A question alone can end in every code but those of other paths.
#[test]
fn a_question_can_end_in_each_code_of_its_path() {
    let elsewhere = ["batch-size", "no-receipt", "not-found"];
    let listed = listed(&openapi(), "/v1/queries", "post");
    let listed: BTreeSet<String> = listed.into_values().flatten().collect();
    let expected: BTreeSet<String> =
        codes().into_iter().filter(|code| !elsewhere.contains(code)).map(str::to_owned).collect();
    assert_eq!(listed, expected);
}

// --- examples --------------------------------------------------------------------------------

#[test]
fn each_example_fits_its_schema() {
    let api = openapi();
    let schemas = Schemas::of(&api);
    let mut examples = Vec::new();
    collect_examples(&api, "", &mut examples);
    assert!(examples.len() > 15, "{}", examples.len());
    for (at, schema, example) in examples {
        if let Err(misfit) = schemas.check(schema, example) {
            panic!("{at}: {misfit}");
        }
    }
}

#[test]
fn each_example_of_a_problem_has_the_title_and_status_of_its_code() {
    let api = openapi();
    let mut examples = Vec::new();
    collect_examples(&api, "", &mut examples);
    let rows: BTreeMap<&str, (u16, &str)> = RefusalCode::ALL
        .iter()
        .map(|code| (code.code(), refusal_row(*code)))
        .chain(FaultCode::ALL.iter().map(|code| {
            let (status, title, _) = fault_row(*code);
            (code.code(), (status, title))
        }))
        .chain(LOG.iter().map(|l| (log_row(*l).1, (log_row(*l).0, log_row(*l).2))))
        .map(|(code, (status, title))| (code, (status.as_u16(), title)))
        .collect();
    let problems = examples
        .iter()
        .filter_map(|(at, _, example)| Some((at, example["code"].as_str()?, example)));
    let mut seen = 0;
    for (at, code, problem) in problems {
        let (status, title) = rows[code];
        assert_eq!(problem["status"], json!(status), "{at}");
        assert_eq!(problem["title"], json!(title), "{at}");
        assert_eq!(problem["type"], json!(format!("urn:jumpgate:problem:{code}")), "{at}");
        seen += 1;
    }
    assert!(seen > 8, "{seen}");
}

#[test]
fn the_gateway_reads_each_example_of_a_question() {
    let api = openapi();
    let catalogue = catalogue();
    let content = |path: &str| &api["paths"][path]["post"]["requestBody"]["content"];
    let single = &content("/v1/queries")["application/json"]["examples"];
    let batch = content("/v1/batches")["application/json"]["example"].to_string();
    let mut asked: Vec<wire::Asked> = single
        .as_object()
        .unwrap()
        .values()
        .map(|example| wire::question(example["value"].to_string().as_bytes()).ok().unwrap())
        .collect();
    asked.extend(wire::batch(batch.as_bytes()).ok().unwrap().into_iter().map(|q| q.ok().unwrap()));
    assert!(asked.len() >= 4);
    for question in asked {
        let predicate = question.question.predicate.clone();
        let id = question.query_id.unwrap_or("0".repeat(32).parse().unwrap());
        let today = jiff::civil::date(2026, 11, 23);
        let query = catalogue.resolve(question.question, id, today);
        assert!(query.is_ok(), "{predicate}: {:?}", query.err().map(|refusal| refusal.code));
    }
}

/// Examples beside a schema: where, the schema, the example.
fn collect_examples<'a>(node: &'a Value, at: &str, into: &mut Vec<(String, &'a Value, &'a Value)>) {
    if let Some(schema) = node.get("schema") {
        if let Some(example) = node.get("example") {
            into.push((at.to_owned(), schema, example));
        }
        for (name, example) in node["examples"].as_object().into_iter().flatten() {
            into.push((format!("{at} {name}"), schema, &example["value"]));
        }
    }
    match node {
        Value::Object(members) => {
            members.iter().for_each(|(key, n)| collect_examples(n, &format!("{at}/{key}"), into));
        }
        Value::Array(items) => items.iter().for_each(|n| collect_examples(n, at, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

// --- a running gateway -----------------------------------------------------------------------

/// Checks a response against what its path and status promise.
fn check(api: &Value, path: &str, method: &str, reply: &Reply) {
    let schemas = Schemas::of(api);
    let response = &api["paths"][path][method]["responses"][reply.status.to_string()];
    assert!(!response.is_null(), "{method} {path} does not list {}: {}", reply.status, reply.json);
    let response = schemas.resolve(response);
    let content = &response["content"][reply.header("content-type")];
    assert!(!content.is_null(), "{method} {path}: {:?}", reply.headers);
    if let Err(misfit) = schemas.check(&content["schema"], &reply.json) {
        panic!("{method} {path} {}: {misfit}\n{:#}", reply.status, reply.json);
    }
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        let header = schemas.resolve(header);
        let found = reply.header(&name.to_ascii_lowercase());
        assert!(!found.is_empty() || header["required"] != json!(true), "{path}: no {name}");
        if found.is_empty() {
            continue;
        }
        let value = found.parse::<u64>().map_or(json!(found), |number| json!(number));
        if let Err(misfit) = schemas.check(&header["schema"], &value) {
            panic!("{method} {path}: {name}: {misfit}");
        }
    }
    let announced: BTreeSet<String> = response["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    for name in ["retry-after", "ratelimit", "ratelimit-policy", "allow"] {
        assert!(reply.header(name).is_empty() || announced.contains(name), "{path}: {name}");
    }
}

#[tokio::test]
async fn what_a_gateway_sends_is_what_the_interface_promises() {
    let api = openapi();
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    let passport = q::WIDOW;
    let questions = [
        (q::age(18, passport), 200),
        (q::civil("alive", json!({}), passport), 200),
        (q::insured("E00000012"), 200),
        (q::age(17, passport), 400),
        (q::but(q::age(18, passport), "purpose", "pension-claims"), 400),
        (q::but(q::age(18, passport), "predicate", "civil-registry/age@1"), 400),
        (q::but(q::age(18, passport), "case", "\u{202e}"), 400),
        (q::but(q::age(18, passport), "colour", "blue"), 400),
        (q::age(18, "no passport"), 400),
        (q::under_id(q::age(18, passport), 7), 200),
        (q::under_id(q::age(60, passport), 7), 422),
    ];
    for (question, status) in &questions {
        let reply = client.ask(question).await;
        assert_eq!(reply.status, *status, "{question}: {:?}", reply.json);
        check(&api, "/v1/queries", "post", &reply);
    }
    let batch = client.ask_batch(questions.into_iter().map(|(question, _)| question)).await;
    check(&api, "/v1/batches", "post", &batch);
    check(&api, "/v1/batches", "post", &client.ask_batch([]).await);
    let answer = client.ask(&q::age(18, passport)).await;
    let path = format!("/v1/receipts/{}", answer.index());
    for (path, listed) in [
        ("/v1/catalogue", "/v1/catalogue"),
        (&path, "/v1/receipts/{index}"),
        ("/v1/receipts/99999999", "/v1/receipts/{index}"),
        ("/healthz", "/healthz"),
        ("/readyz", "/readyz"),
    ] {
        check(&api, listed, "get", &client.get(path).await);
    }
    check(&api, "/v1/catalogue", "get", &client.post("/v1/catalogue", &json!({})).await);
    check(&api, "/v1/queries", "post", &client.get("/v1/queries").await);
    let mut other = harness.client("other-window").await;
    check(&api, "/v1/queries", "post", &other.ask(&q::insured(passport)).await);
    let mut stranger = harness.client("stranger").await;
    check(&api, "/v1/queries", "post", &stranger.ask(&q::age(18, passport)).await);
    harness.finish().await;
}
