//! A hostile adapter: the predicate it is asked chooses how it attacks.
//!
//! Owns no check: the tests that load it say what must come of each attack. It uses the contract's
//! types directly, for the kit would not let an author do most of this. Natively it is empty.
//!
//! | predicate | step | attack |
//! |---|---|---|
//! | `honest` | 2 | none: fetches `/record`, finds yes |
//! | `unasked` | 1 | finds yes without a fetch |
//! | `loop` | 1 | never returns |
//! | `loop-late` | 2 | never returns once it has a reply |
//! | `stack` | 1 | recurses without end, using the host's stack |
//! | `stack-memory` | 1 | recurses without end, using its own stack in memory |
//! | `memory` | 1 | grows its memory and touches it until refused, then traps |
//! | `heap` | 1 | allocates until its allocator has no more |
//! | `steps` | all | fetches at each step |
//! | `no-requests`, `many-requests` | 1 | fetches 0 or 64 requests in one step |
//! | `big-request`, `many-chunks`, `long-path`, `big-state` | 1 | 1 MiB, 5,000, 64 KiB, 4097 B |
//! | `long-endpoint`, `many-headers` | 1 | 64 KiB of a name, 5,000 headers of nothing |
//! | `denied-endpoint`, `denied-path`, `denied-method`, `denied-header` | 1 | off the allow-list |
//! | `path-dots`, `path-dots-escaped`, `path-authority`, `path-absolute` | 1 | leaves the base |
//! | `crlf-path`, `crlf-header` | 1 | smuggles a line |
//! | `plain-subject` | 1 | wants the identifier unescaped in a path |
//! | `foreign-action`, `foreign-root` | 1 | another SOAP operation by header, or by body |
//! | `sql` | 1 | runs a statement nobody configured |
//! | `panic` | 2 | panics with the reply in its message |
//! | `leak-position` | 2 | puts the reply into a failure's position |
//! | `foreign-verdict` | 2 | spells the reply's first byte with verdict and reason |
//! | `leak-request` | 2 | puts the reply into the path of its next request |
//! | `taint` | 1, 2 | fills heap, stack, statics and grown memory with a pattern, finds yes |
//! | `probe` | 1, 2 | finds yes if a word of that pattern is anywhere it can read, else no |
#![cfg(target_arch = "wasm32")]

mod memory;

use jumpgate_adapter::bindings;
use jumpgate_adapter::bindings::exports::jumpgate::adapter::adapter::{
    Chunk, Escaping, Failure, FailureCode, Fetch, FetchItem, Finding, Guest, Header, HttpRequest,
    Manifest, Method, Position, Query, Reason, Reply, Request, SqlRequest, Step,
};

struct Hostile;

#[allow(unsafe_code, reason = "the canonical ABI's exported functions take raw addresses")]
const _: () = {
    bindings::export!(Hostile with_types_in bindings);
};

const ATTACKS: [&str; 37] = [
    "big-request",
    "big-state",
    "crlf-header",
    "crlf-path",
    "denied-endpoint",
    "denied-header",
    "denied-method",
    "denied-path",
    "foreign-action",
    "foreign-root",
    "foreign-verdict",
    "heap",
    "honest",
    "leak-position",
    "leak-request",
    "long-endpoint",
    "long-path",
    "loop",
    "loop-late",
    "many-chunks",
    "many-headers",
    "many-requests",
    "memory",
    "no-requests",
    "panic",
    "path-absolute",
    "path-authority",
    "path-dots",
    "path-dots-escaped",
    "plain-subject",
    "probe",
    "sql",
    "stack",
    "stack-memory",
    "steps",
    "taint",
    "unasked",
];

impl Guest for Hostile {
    fn describe() -> Manifest {
        Manifest {
            name: "hostile".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            predicates: ATTACKS.iter().map(|attack| format!("hostile/{attack}@1")).collect(),
            endpoints: vec!["registry".into()],
            steps_max: 16,
        }
    }

    fn begin(query: Query) -> Result<Step, Failure> {
        let attack = query.predicate.strip_prefix("hostile/").unwrap_or_default();
        match attack {
            "unasked" => return Ok(Step::Finding(Finding::Yes)),
            "loop" => memory::spin(),
            "stack" => memory::recurse(),
            "stack-memory" => memory::recurse_in_memory(),
            "memory" => memory::grow_without_end(),
            "heap" => memory::allocate_without_end(),
            "taint" => memory::taint(),
            "probe" => {
                return Ok(fetch(vec![get("/record")], vec![u8::from(memory::is_tainted())]));
            }
            _ => {}
        }
        let state = if attack == "big-state" { vec![7; 4097] } else { Vec::new() };
        Ok(fetch(requests(attack), state))
    }

    fn resume(query: Query, state: Vec<u8>, replies: Vec<Reply>) -> Result<Step, Failure> {
        let body = match replies.first() {
            Some(Reply::Http(reply)) => &*reply.body,
            Some(Reply::Sql(_)) | None => &[],
        };
        let text = String::from_utf8_lossy(body);
        let finding = match query.predicate.strip_prefix("hostile/").unwrap_or_default() {
            "loop-late" => memory::spin(),
            "steps" => return Ok(fetch(vec![get("/record")], state)),
            "leak-request" => return Ok(fetch(vec![get(&format!("/record?{text}"))], state)),
            "leak-position" => {
                let position = Position::Path(text.into_owned());
                return Err(Failure { code: FailureCode::MalformedReply, reply: 0, position });
            }
            "panic" => reveal(&text),
            "foreign-verdict" => spell(body.first().copied().unwrap_or_default()),
            "taint" => {
                memory::taint();
                Finding::Yes
            }
            "probe" if state != [0] || memory::is_tainted() => Finding::Yes,
            "probe" => Finding::No,
            _ => Finding::Yes,
        };
        Ok(Step::Finding(finding))
    }
}

/// The first step's requests.
fn requests(attack: &str) -> Vec<FetchItem> {
    let request = match attack {
        "no-requests" => return Vec::new(),
        "many-requests" => return (0..64).map(|_| get("/record")).collect(),
        "denied-endpoint" => {
            return vec![FetchItem { endpoint: "treasury".into(), ..get("/record") }];
        }
        "long-endpoint" => {
            return vec![FetchItem { endpoint: "x".repeat(64 << 10), ..get("/record") }];
        }
        "many-headers" => {
            let empty = || Header { name: String::new(), value: Vec::new() };
            post((0..5_000).map(|_| empty()).collect(), Vec::new())
        }
        "sql" => {
            Request::Sql(SqlRequest { statement: "everything".into(), parameters: Vec::new() })
        }
        "big-request" => post(Vec::new(), vec![Chunk::Literal(vec![b'x'; 1 << 20])]),
        "many-chunks" => post(Vec::new(), (0..5_000).map(|_| literal("x")).collect()),
        "long-path" => return vec![get(&format!("/record/{}", "x".repeat(64 << 10)))],
        "denied-path" => return vec![get("/admin")],
        "denied-method" => post(Vec::new(), Vec::new()),
        "denied-header" => with_header("authorization", "Basic b3duZXI6b3duZXI="),
        "crlf-header" => with_header("accept", "text/xml\r\nauthorization: Basic b3duZXI6b3duZXI="),
        "crlf-path" => return vec![get("/record HTTP/1.1\r\nauthorization: Basic x\r\n\r\n")],
        "path-dots" => return vec![get("/record/../admin")],
        "path-dots-escaped" => return vec![get("/record/%2e%2e/admin")],
        "path-authority" => return vec![get("//127.0.0.1:9/record")],
        "path-absolute" => return vec![get("http://127.0.0.1:9/record")],
        "plain-subject" => {
            let path = vec![literal("/record/"), Chunk::Subject(Escaping::Plain)];
            http(Method::Get, path, Vec::new(), Vec::new())
        }
        "foreign-action" => soap("urn:records:1/Erase", "Read"),
        "foreign-root" => soap("urn:records:1/Read", "Erase"),
        _ => return vec![get("/record")],
    };
    vec![FetchItem { request, ..get("/record") }]
}

fn fetch(requests: Vec<FetchItem>, state: Vec<u8>) -> Step {
    Step::Fetch(Fetch { requests, state })
}

fn get(path: &str) -> FetchItem {
    let request = http(Method::Get, vec![literal(path)], Vec::new(), Vec::new());
    FetchItem { endpoint: "registry".into(), safe_to_retry: true, request }
}

fn post(headers: Vec<Header>, body: Vec<Chunk>) -> Request {
    http(Method::Post, vec![literal("/record")], headers, body)
}

fn with_header(name: &str, value: &str) -> Request {
    http(Method::Get, vec![literal("/record")], vec![header(name, value)], Vec::new())
}

fn soap(action: &str, root: &str) -> Request {
    let headers = vec![
        header("content-type", "text/xml; charset=utf-8"),
        header("soapaction", &format!("\"{action}\"")),
    ];
    let body = format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <m:{root} xmlns:m=\"urn:records:1\"/></s:Body></s:Envelope>"
    );
    post(headers, vec![literal(&body)])
}

fn http(method: Method, path: Vec<Chunk>, headers: Vec<Header>, body: Vec<Chunk>) -> Request {
    Request::Http(HttpRequest { method, path, headers, body })
}

fn header(name: &str, value: &str) -> Header {
    Header { name: name.into(), value: vec![literal(value)] }
}

fn literal(text: &str) -> Chunk {
    Chunk::Literal(text.into())
}

#[allow(clippy::panic, reason = "the attack is a panic whose message holds the record")]
fn reveal(record: &str) -> ! {
    panic!("the record is {record}")
}

/// Eight symbols: three bits of the record in one finding.
fn spell(byte: u8) -> Finding {
    match byte & 7 {
        0 => Finding::Yes,
        1 => Finding::No,
        2 => Finding::Absent,
        3 => Finding::Undetermined(Reason::MissingField),
        4 => Finding::Undetermined(Reason::UnusableField),
        5 => Finding::Undetermined(Reason::SeveralRecords),
        6 => Finding::Undetermined(Reason::ConflictingFields),
        _ => Finding::Undetermined(Reason::RecordSuspended),
    }
}
