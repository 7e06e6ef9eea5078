//! The departments as a process: what a demonstration depends on.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_jumpgate-departments");

fn start(arguments: &[&str]) -> (Child, Value) {
    let mut child = Command::new(PROGRAM)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line).expect("the program prints a line");
    (child, serde_json::from_str(&line).expect("the line is JSON"))
}

fn exchange(base_url: &Value, request: &str) -> String {
    let address = base_url.as_str().and_then(|url| url.strip_prefix("http://"));
    let mut stream = TcpStream::connect(address.expect("an address")).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("it answers in UTF-8");
    reply
}

#[test]
fn it_answers_takes_orders_and_stops_with_its_parent() {
    let arguments = ["--today", "2026-05-12", "--people", "30", "--auth-social", "bearer:abc"];
    let (mut child, urls) = start(&arguments);
    let order = r#"{"server":"social-insurance","fault":"status:418","requests":1}"#;
    let length = order.len();
    let post = format!(
        "POST /faults HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{order}"
    );
    assert!(exchange(&urls["control"], &post).starts_with("HTTP/1.1 204 "));
    let get = "GET /v2/persons/passport/E00000001 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n";
    let bare = format!("{get}\r\n");
    assert!(exchange(&urls["social_insurance"], &bare).starts_with("HTTP/1.1 418 "));
    assert!(exchange(&urls["social_insurance"], &bare).starts_with("HTTP/1.1 401 "));
    let with_token = format!("{get}authorization: Bearer abc\r\n\r\n");
    assert!(exchange(&urls["social_insurance"], &with_token).starts_with("HTTP/1.1 200 "));
    let wsdl = "GET /PersonQuery?wsdl HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let location =
        format!("location=\"{}/PersonQuery\"", urls["civil_registry"].as_str().expect("url"));
    assert!(exchange(&urls["civil_registry"], wsdl).contains(&location));
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn the_dump_is_the_population() {
    let dump = |seed: &str| {
        let arguments =
            ["--dump-people", "--people", "20", "--today", "2026-05-12", "--seed", seed];
        Command::new(PROGRAM).args(arguments).output().expect("the program runs").stdout
    };
    assert_eq!(dump("7"), dump("7"));
    assert_ne!(dump("7"), dump("8"));
    let people: Value = serde_json::from_slice(&dump("7")).expect("JSON");
    assert_eq!(people.as_array().map(Vec::len), Some(20));
    assert_eq!(people[0]["special"], "just-turned-18");
    assert_eq!(people[0]["identifiers"]["passport"], "E00000001");
    assert_eq!(people[0]["record"]["BirthDate"], people[0]["birth_date"]);
}

#[test]
fn wrong_arguments_are_told() {
    for arguments in [["--auth-civil", "kerberos"], ["--people", "0"], ["--today", "2026-02-30"]] {
        let output = Command::new(PROGRAM).args(arguments).output().expect("the program runs");
        assert!(!output.status.success() && output.stdout.is_empty());
    }
    let arguments = ["--auth-social", "username-token-text:a:b"];
    let output = Command::new(PROGRAM).args(arguments).output().expect("the program runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(told, "jumpgate-departments: social insurance cannot demand a UsernameToken\n");
}
