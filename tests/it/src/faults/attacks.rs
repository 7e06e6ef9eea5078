//! A hostile adapter installed as a department of its own, beside departments that go on.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::captured;
use crate::harness::{Client, Harness, Setup, parts, questions as q};
use crate::sandbox::hostile;

/// What the hostile adapter's department answers everything with. No word of it is anywhere else.
const RECORD: &str = "quokka-born-1987-06-05-at-wombat-street-17";

/// Each attack, and what becomes of the question.
const ENDS: [(&str, &str); 37] = [
    ("big-request", "adapter-output-too-large"),
    ("big-state", "adapter-output-too-large"),
    ("crlf-header", "adapter-request-denied"),
    ("crlf-path", "adapter-request-denied"),
    ("denied-endpoint", "adapter-request-denied"),
    ("denied-header", "adapter-request-denied"),
    ("denied-method", "adapter-request-denied"),
    ("denied-path", "adapter-request-denied"),
    ("foreign-action", "adapter-request-denied"),
    ("foreign-root", "adapter-request-denied"),
    // `q` has 1 in its lowest three bits.
    ("foreign-verdict", "no"),
    ("heap", "adapter-fuel-exhausted"),
    ("honest", "yes"),
    ("leak-position", "department-reply-malformed"),
    // To its own department, which knows the record: until its steps are used up.
    ("leak-request", "adapter-steps-exhausted"),
    ("long-endpoint", "adapter-request-denied"),
    ("long-path", "adapter-output-too-large"),
    ("loop", "adapter-fuel-exhausted"),
    ("loop-late", "adapter-fuel-exhausted"),
    ("many-chunks", "adapter-request-denied"),
    ("many-headers", "adapter-request-denied"),
    ("many-requests", "adapter-output-too-large"),
    ("memory", "adapter-memory-exhausted"),
    ("no-requests", "adapter-output-too-large"),
    ("panic", "adapter-trapped"),
    ("path-absolute", "adapter-request-denied"),
    ("path-authority", "adapter-request-denied"),
    ("path-dots", "adapter-request-denied"),
    ("path-dots-escaped", "adapter-request-denied"),
    ("plain-subject", "adapter-request-denied"),
    ("probe", "no"),
    ("sql", "adapter-request-denied"),
    ("stack", "adapter-trapped"),
    ("stack-memory", "adapter-trapped"),
    ("steps", "adapter-steps-exhausted"),
    ("taint", "yes"),
    ("unasked", "yes"),
];

/// A gateway with the hostile adapter as one of its departments.
struct Besieged {
    harness: Harness,
    catalogue: TempDir,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Besieged {
    async fn start() -> Self {
        let catalogue = catalogue_with_attacks();
        let (address, heads) = record_keeper().await;
        let config = config(hostile::component().await, address, catalogue.path());
        let harness = Setup::new().with(super::PATIENT).with(&config).start().await;
        Self { harness, catalogue, heads }
    }

    async fn finish(self) {
        self.harness.finish().await;
        drop(self.catalogue);
    }
}

/// The catalogue of the checkout and one predicate for each attack.
fn catalogue_with_attacks() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(parts::root().join("spec/catalogue")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let head = "department = \"hostile\"\n".to_owned();
    let text = ENDS.iter().fold(head, |text, (attack, _)| {
        text + &format!(
            "[[predicate]]\nid = \"hostile/{attack}@1\"\ntitle_en = \"Attack\"\ntitle_zh = \"攻击\"\n\
             description_en = \"The attack {attack}.\"\nattribute = \"attack-{attack}\"\n\
             clock = \"current\"\nsubject_kinds = [\"passport\"]\npurposes = [\"hiring\"]\n\
             absent = \"undetermined\"\ntiming = \"one-reply\"\n"
        )
    });
    fs::write(folder.path().join("hostile.toml"), text).unwrap();
    folder
}

fn config(component: &Path, address: SocketAddr, catalogue: &Path) -> String {
    format!(
        "catalogue_dir = {catalogue:?}
         [[grants]]
         id = \"everything\"
         caller = \"one-window\"
         predicates = [\"civil-registry/*\", \"hostile/*\", \"social-insurance/*\"]
         purposes = [\"*\"]
         [departments.hostile]
         component = {component:?}
         [departments.hostile.protection.breaker]
         failures_max = 1000
         [departments.hostile.endpoints.registry]
         base_url = \"http://{address}\"
         [[departments.hostile.endpoints.registry.allow]]
         method = \"GET\"
         path_prefix = \"/record\"
         [[departments.hostile.endpoints.registry.allow]]
         method = \"POST\"
         path_prefix = \"/record\"
         soap_action = \"urn:records:1/Read\"
         body_root = \"{{urn:records:1}}Read\""
    )
}

/// A server that answers every request with the record and keeps the requests' heads.
async fn record_keeper() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = heads.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let heads = kept.clone();
            tokio::spawn(async move {
                if let Some(head) = answer(stream).await {
                    heads.lock().unwrap().push(head);
                }
            });
        }
    });
    (address, heads)
}

async fn answer(mut stream: TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let reply = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{RECORD}",
        RECORD.len()
    );
    stream.write_all(reply.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()?;
    String::from_utf8(head).ok()
}

async fn attack(client: &mut Client, name: &str) -> crate::harness::Reply {
    client.ask(&q::question(&format!("hostile/{name}@1"), json!({}), "X1234567", "hiring")).await
}

#[tokio::test]
async fn each_attack_fails_alone_while_others_are_answered() {
    let besieged = Besieged::start().await;
    let mut attacker = besieged.harness.client("one-window").await;
    let mut bystander = besieged.harness.client("one-window").await;
    for (name, end) in ENDS {
        let question = q::age(18, q::WIDOW);
        let (attacked, asked) = tokio::join!(attack(&mut attacker, name), bystander.ask(&question));
        assert_eq!(attacked.says(), end, "{name}: {:?}", attacked.json);
        assert_eq!(asked.says(), "yes", "beside {name}: {:?}", asked.json);
        assert!(!String::from_utf8_lossy(&attacked.body).contains("quokka"), "{name}");
    }
    // Only what the allow-list holds has reached the department.
    let heads = besieged.heads.lock().unwrap().clone();
    assert!(!heads.is_empty());
    for head in &heads {
        assert!(head.starts_with("GET /record"), "{head}");
        assert!(!head.to_lowercase().contains("authorization"), "{head}");
        assert!(!head.contains("X1234567") && !head.contains("one-window"), "{head}");
    }
    besieged.finish().await;
}

/// All at once: the sandbox's slots and threads are shared, and still everybody is answered.
#[tokio::test]
async fn attacks_side_by_side_do_not_starve_anybody() {
    let besieged = Besieged::start().await;
    let connection = besieged.harness.client_h2("one-window").await;
    let mut asking = Vec::new();
    for (name, end) in ENDS {
        let mut client = connection.stream();
        let attacking = async move { (name, attack(&mut client, name).await, end) };
        asking.push(tokio::spawn(attacking));
        let mut client = connection.stream();
        let question = async move { ("bystander", client.ask(&q::age(18, q::WIDOW)).await, "yes") };
        asking.push(tokio::spawn(question));
    }
    for asked in asking {
        let (name, reply, end) = asked.await.unwrap();
        assert_eq!(reply.says(), end, "{name}: {:?}", reply.json);
    }
    drop(connection);
    besieged.finish().await;
}

/// Neither the panic's message nor the position, the request or the subject is anywhere that the
/// gateway writes.
#[tokio::test]
async fn the_record_appears_nowhere() {
    captured::begin();
    let besieged = Besieged::start().await;
    let mut client = besieged.harness.client("one-window").await;
    let mut said = Vec::new();
    for name in ["honest", "panic", "leak-position", "foreign-verdict", "steps", "leak-request"] {
        let reply = attack(&mut client, name).await;
        said.extend_from_slice(&reply.body);
        said.extend_from_slice(format!("{:?}", reply.headers).as_bytes());
    }
    said.extend_from_slice(besieged.harness.metrics().await.as_bytes());
    let mut places = vec![("responses and metrics".to_owned(), said)];
    besieged.harness.published().await;
    for path in files_below(besieged.harness.folder()) {
        let bytes = fs::read(&path).unwrap();
        places.push((path.display().to_string(), bytes));
    }
    let traced = captured::text();
    // The capture works: it has the operator's line about the trap.
    assert!(traced.contains("adapter-trapped") && traced.contains("hostile"), "{traced}");
    places.push(("traces".to_owned(), traced.into_bytes()));
    for (place, bytes) in places {
        for secret in ["quokka", "wombat", "X1234567"] {
            assert!(!has(&bytes, secret), "{secret} stands in {place}");
        }
    }
    besieged.finish().await;
}

fn files_below(folder: &Path) -> BTreeSet<std::path::PathBuf> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.append(&mut files_below(&path)),
            false if path.is_file() => drop(files.insert(path)),
            false => {}
        }
    }
    files
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
