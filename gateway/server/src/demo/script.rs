//! The questions, and how each is told: what is asked, what the department's record holds, what
//! crossed the wall.

use std::time::{Duration, Instant};

use jumpgate_querylog::{Promise, Proven, QueryLog};
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Value, json};

use super::client::Said;
use super::stage::Stage;
use super::{Client, heading};
use crate::cli::Failure;

/// Asks everything.
pub(super) async fn play(stage: &Stage) -> Result<(), Failure> {
    let asker = stage.client("one-window")?;
    answers(stage, &asker).await?;
    refusals(stage, &asker).await?;
    broken_department(stage, &asker).await?;
    side_by_side(stage, &asker).await?;
    receipt(stage, &asker).await
}

async fn answers(stage: &Stage, asker: &Client) -> Result<(), Failure> {
    heading("Questions and answers");
    let known = record(stage, "E00000011").await?;
    let name = known.field("FullName").unwrap_or_default().to_owned();
    let questions = [
        (
            "Is this applicant at least 18? The employer needs nothing else.",
            "E00000011",
            age(18, "E00000011"),
        ),
        (
            "This one turned 18 during this month. The grid counts whole months, so that asking \
             every day cannot find a birthday.",
            "E00000001",
            age(18, "E00000001"),
        ),
        ("The record has no birth date. That is not a \"no\".", "E00000004", age(18, "E00000004")),
        ("Two people share this passport number.", "E00000008", age(18, "E00000008")),
        (
            "Is the applicant widowed?",
            "E00000011",
            civil(
                "marital-status-is",
                json!({"status": "widowed"}),
                "E00000011",
                "marriage-registration",
            ),
        ),
        (
            "Does this name belong to this passport?",
            "E00000011",
            civil("name-matches", json!({ "name": name }), "E00000011", "hiring"),
        ),
        (
            "And this one? The answer never says which part is wrong.",
            "E00000011",
            civil("name-matches", json!({"name": "张三"}), "E00000011", "hiring"),
        ),
    ];
    for (words, passport, question) in questions {
        println!("{words}");
        println!("  asked    {}", short(&question));
        println!("  record   {}", record(stage, passport).await?.summary());
        crossed(&asker.post("/v1/queries", &question).await?);
    }
    contributions(asker).await
}

async fn contributions(asker: &Client) -> Result<(), Failure> {
    let questions = [
        (
            "Ten years of pension contributions? (three pages of records)",
            insurance(
                "contribution-months-at-least",
                json!({"scheme": "pension", "months": 120}),
                "E00000015",
            ),
        ),
        (
            "Twelve months without a gap?",
            insurance(
                "continuous-months-at-least",
                json!({"scheme": "pension", "months": 12}),
                "E00000013",
            ),
        ),
        (
            "And twenty-four? There is a gap of five months.",
            insurance(
                "continuous-months-at-least",
                json!({"scheme": "pension", "months": 24}),
                "E00000013",
            ),
        ),
        (
            "Insured? Social insurance has never heard of him; its catalogue says that means no.",
            insurance("insured", json!({"scheme": "medical"}), "E00000012"),
        ),
    ];
    for (words, question) in questions {
        println!("{words}");
        println!("  asked    {}", short(&question));
        crossed(&asker.post("/v1/queries", &question).await?);
    }
    Ok(())
}

async fn refusals(stage: &Stage, asker: &Client) -> Result<(), Failure> {
    heading("Questions that are refused before a department hears of them");
    let mut other_purpose = age(18, "E00000011");
    other_purpose["purpose"] = json!("pension-claim");
    let mut odd_threshold = age(18, "E00000011");
    odd_threshold["parameters"] = json!({"years": 19});
    let questions = [
        ("For a purpose nobody granted.", other_purpose),
        ("With a threshold outside the published grid.", odd_threshold),
        (
            "A predicate this caller has no grant for.",
            civil("household-head", json!({}), "E00000011", "benefit-claim"),
        ),
        ("With a passport number that cannot be one.", age(18, "not a passport")),
    ];
    for (words, question) in questions {
        println!("{words}");
        println!("  asked    {}", short(&question));
        crossed(&asker.post("/v1/queries", &question).await?);
    }
    println!("By a system whose certificate is genuine but unknown.");
    let stranger = stage.client("stranger")?;
    crossed(&stranger.post("/v1/queries", &age(18, "E00000011")).await?);
    Ok(())
}

async fn broken_department(stage: &Stage, asker: &Client) -> Result<(), Failure> {
    heading("A broken department: a fault, never an invented \"no\"");
    let control = Client::in_clear(stage.url("control"))?;
    for (words, fault) in [
        ("The civil registry answers with half a document.", "truncated"),
        ("It answers with an entity bomb.", "entity-bomb"),
        ("It hangs. The gateway's patience has a limit.", "hang"),
    ] {
        let rule = json!({"server": "civil-registry", "fault": fault, "requests": 1});
        let set = control.post("/faults", &rule).await?;
        if set.status != 200 && set.status != 204 {
            return Err(format!("the fault {fault} cannot be set").into());
        }
        println!("{words}");
        crossed(&asker.post("/v1/queries", &age(18, "E00000011")).await?);
    }
    println!("A moment later it is well again.");
    crossed(&asker.post("/v1/queries", &age(18, "E00000011")).await?);
    Ok(())
}

async fn side_by_side(stage: &Stage, asker: &Client) -> Result<(), Failure> {
    heading("One benefit claim, six questions, both departments at the same moment");
    let control = Client::in_clear(stage.url("control"))?;
    for server in ["civil-registry", "social-insurance"] {
        let rule = json!({"server": server, "fault": "slow:400", "requests": 6});
        control.post("/faults", &rule).await?;
    }
    println!("Each department is made to take 0.4 s a question.");
    let questions = json!({"questions": [
        age(18, "E00000011"),
        civil("alive", json!({}), "E00000011", "benefit-claim"),
        civil("parent-of-minor", json!({}), "E00000011", "benefit-claim"),
        insurance("insured", json!({"scheme": "medical"}), "E00000011"),
        insurance("receives-pension", json!({}), "E00000014"),
        insurance(
            "contribution-months-at-least",
            json!({"scheme": "pension", "months": 36}),
            "E00000013",
        ),
    ]});
    let begun = Instant::now();
    let said = asker.post("/v1/batches", &questions).await?;
    let took = begun.elapsed();
    let answers = said.json()["answers"].as_array().cloned().unwrap_or_default();
    let asked = questions["questions"].as_array().cloned().unwrap_or_default();
    for (question, answer) in asked.iter().zip(&answers) {
        println!("  {:<88} {}", short(question), verdict_or_code(&answer["body"]));
    }
    println!("All six took {took:.2?}; one after the other they would have taken about 2.4 s.");
    control
        .post("/faults", &json!({"server": "civil-registry", "fault": "slow:0", "requests": 1}))
        .await?;
    Ok(())
}

fn age(years: u32, passport: &str) -> Value {
    civil("age-at-least", json!({ "years": years }), passport, "hiring")
}

fn civil(name: &str, parameters: Value, passport: &str, purpose: &str) -> Value {
    question(&format!("civil-registry/{name}@1"), parameters, passport, purpose)
}

fn insurance(name: &str, parameters: Value, passport: &str) -> Value {
    question(&format!("social-insurance/{name}@1"), parameters, passport, "benefit-claim")
}

fn question(predicate: &str, parameters: Value, passport: &str, purpose: &str) -> Value {
    json!({
        "predicate": predicate,
        "parameters": parameters,
        "subject": { "kind": "passport", "value": passport },
        "purpose": purpose,
        "operator": "clerk 07",
        "case": "demo-2026-0001",
    })
}

/// Fetches the receipt of one more answer and checks it without the gateway.
async fn receipt(stage: &Stage, asker: &Client) -> Result<(), Failure> {
    heading("A receipt, checked with the log's public keys alone");
    let answer = asker.post("/v1/queries", &age(18, "E00000011")).await?.json();
    let index = answer["receipt"]["index"].as_u64().ok_or("the answer has no receipt")?;
    let path = format!("/v1/receipts/{index}");
    let began = Instant::now();
    let proof = loop {
        let said = asker.get(&path).await?.json();
        match said["proof"].as_str() {
            Some(proof) => break proof.to_owned(),
            None if began.elapsed() > PUBLISHED_WITHIN => {
                return Err("the tree does not hold the answer".into());
            }
            // The tree is published a few times a second.
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let file = stage.folder().join(format!("{index}.tlog-proof"));
    std::fs::write(&file, &proof)?;
    println!("{} bytes, kept as {}\n", proof.len(), file.display());
    let (key, promise_key) = QueryLog::verifier_keys(&stage.folder().join("log"))?;
    let proven = Proven::of_receipt(&proof, &key)?;
    crate::cli::proven_in_words(&proven).iter().for_each(|line| println!("  {line}"));
    let promise = answer["receipt"]["promise"].as_str().ok_or("the answer has no promise")?;
    let promise = Promise::of_text(promise, &promise_key)?;
    println!("  {}", proven.keeps(&promise)?);
    Ok(())
}

/// Ten times what is promised.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(10);

fn short(question: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let parameters = question["parameters"].to_string();
    let parameters = if parameters == "{}" { String::new() } else { format!(" {parameters}") };
    format!(
        "{}{parameters} of {}, for {}",
        text(&question["predicate"]),
        text(&question["subject"]["value"]),
        text(&question["purpose"])
    )
}

fn crossed(said: &Said) {
    let body = said.json();
    let receipt = match body["receipt"]["index"].as_u64() {
        Some(index) => format!("log index {index}"),
        None => "counted in the log".to_owned(),
    };
    let when = match (body["as_of"].as_str(), body["next_as_of"].as_str()) {
        (Some(as_of), Some(next)) => format!(", as of {as_of}, next {next}"),
        (Some(as_of), None) => format!(", as of {as_of}"),
        _ => String::new(),
    };
    println!("  crossed  {}{when}   [{}, {receipt}]", verdict_or_code(&body), said.status);
    if body["code"].is_string() {
        println!("           {}", body["detail"].as_str().unwrap_or_default());
    }
    println!();
}

fn verdict_or_code(body: &Value) -> String {
    let said = body["verdict"].as_str().or(body["code"].as_str());
    said.unwrap_or("?").to_uppercase()
}

// --- what the department's own officer would see ---------------------------------------------

/// A record's leaf elements, in order, and its size.
struct RecordView {
    fields: Vec<(String, String)>,
    bytes: usize,
}

/// Fetches the record straight from the department, past the gateway, as its own officer may.
async fn record(stage: &Stage, passport: &str) -> Result<RecordView, Failure> {
    let registry = Client::in_clear(stage.url("civil_registry"))?;
    let envelope = format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <QueryPerson xmlns=\"urn:civil-registry:person:2\">\
         <Identifier type=\"passport\">{passport}</Identifier><View>full</View>\
         </QueryPerson></s:Body></s:Envelope>"
    );
    let action = "\"urn:civil-registry:person:2/QueryPerson\"";
    let said = registry.soap("/PersonQuery", action, envelope).await?;
    let fields = leaves(&String::from_utf8_lossy(&said.body))?;
    Ok(RecordView { fields, bytes: said.body.len() })
}

fn leaves(xml: &str) -> Result<Vec<(String, String)>, Failure> {
    let mut reader = Reader::from_str(xml);
    let (mut fields, mut open) = (Vec::new(), None);
    loop {
        match reader.read_event()? {
            Event::Start(start) => {
                open = Some(start.local_name().as_ref().to_owned());
            }
            Event::Empty(empty) => {
                let name = empty.local_name().as_ref().to_owned();
                fields.push((name, String::new()));
            }
            Event::Text(text) => {
                if let Some(name) = open.take() {
                    fields.push((name, str::to_owned(&text)));
                }
            }
            Event::End(_) => open = None,
            Event::Eof => return Ok(fields),
            _ => {}
        }
    }
}

impl RecordView {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    fn summary(&self) -> String {
        let shown = ["FullName", "BirthDate", "MaritalStatus", "Address"].map(|name| {
            match self.field(name) {
                Some("") | None => format!("{name} (empty)"),
                Some(value) => format!("{name} {value}"),
            }
        });
        let people = self.fields.iter().filter(|(name, _)| name == "RecordStatus").count();
        let people = if people == 1 { String::new() } else { format!("{people} people; ") };
        format!("{people}{} … {} fields, {} bytes", shown.join(", "), self.fields.len(), self.bytes)
    }
}
