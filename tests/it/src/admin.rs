//! What people who run the gateway see and do: the admin socket, two people, reloads.

mod people;

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::Method;
use jumpgate::development::{LONG, Use};
use jumpgate_departments::Fault;
use jumpgate_querylog::{Act, FieldId, Kind, Record};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::harness::questions::{WIDOW, age, insured};
use crate::harness::{Client, Harness, PATIENCE, Protocol, Setup, eventually, parts};
use crate::http::assert_problem;

const KILL: &str = "/departments/civil-registry/kill";
const REVIVE: &str = "/departments/civil-registry/revive";
const NO_AGES_FOR_OTHERS: &str = "[[grants]]\nid = \"everything\"\ncaller = \"one-window\"\n\
     predicates = [\"civil-registry/*\", \"social-insurance/*\"]\npurposes = [\"*\"]\n";

async fn act(harness: &Harness, path: &str) -> (u16, String) {
    let (status, said) = harness.act(path).await;
    (status.as_u16(), said)
}

fn in_force() -> (u16, String) {
    (200, "in force".to_owned())
}

fn detail(record: &Record, name: &str) -> String {
    record.entry.details.as_ref().unwrap().find(name).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_department_that_was_switched_off_stays_off_over_a_restart() {
    let harness = Harness::start().await;
    assert_eq!(act(&harness, KILL).await, (200, "done".to_owned()));
    let harness = harness.restart().await;
    let mut client = harness.client("one-window").await;
    assert_problem(&client.ask(&age(18, WIDOW)).await, 503, "department-switched-off");
    assert_eq!(client.ask(&insured(WIDOW)).await.says(), "yes");
    let told = harness.records_of(Kind::Act(Act::Config));
    let told: Vec<_> =
        told.iter().map(|it| (detail(it, "switched"), detail(it, "since"))).collect();
    let off = "off".to_owned();
    assert_eq!(told, [(off.clone(), String::new()), (off, "before the start".to_owned())]);
    // A reload changes nothing of it, even one that leaves the department out for a while.
    harness.reconfigure("in_flight_max = 9999");
    assert_eq!(act(&harness, "/reload").await, in_force());
    assert_problem(&client.ask(&age(18, WIDOW)).await, 503, "department-switched-off");
    assert_eq!(act(&harness, REVIVE).await, (200, "done".to_owned()));
    drop(client);
    let harness = harness.restart().await;
    let mut client = harness.client("one-window").await;
    assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    drop(client);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_decides_what_comes_and_leaves_what_has_begun() {
    let harness = Harness::start().await;
    let mut other = harness.client("other-window").await;
    harness.civil().faults().set("hang".parse::<Fault>().unwrap()).unwrap();
    let mut begun = harness.client("other-window").await;
    let asking = tokio::spawn(async move { begun.ask(&age(18, WIDOW)).await });
    let at_department = async || (harness.civil().requests().in_flight == 1).then_some(());
    eventually("one is at the department", at_department).await;
    harness.reconfigure(NO_AGES_FOR_OTHERS);
    let (status, said) = harness.at_socket(Method::POST, "/reload").await;
    assert_eq!((status.as_u16(), &said["said"]), (200, &json!("in force")));
    let changes: Vec<&str> =
        said["changes"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    let gone =
        "- other-window (counter) asks civil-registry/age-at-least@1 for hiring: permit by ages";
    assert!(changes.contains(&gone), "{changes:#?}");
    assert_problem(&other.ask(&age(18, WIDOW)).await, 403, "not-granted");
    harness.civil().faults().clear();
    assert_eq!(asking.await.unwrap().says(), "yes", "what was admitted is answered");
    let policy_of = |kind| harness.records_of(kind).pop().unwrap().entry.policy.unwrap();
    let policy = harness.records_of(Kind::Act(Act::Policy)).pop().unwrap();
    assert_eq!(detail(&policy, "old"), policy_of(Kind::Ask).to_string());
    assert_eq!(detail(&policy, "new"), policy_of(Kind::Refused).to_string());
    // The last entry of a reload says that all of it is in force; who did it is sealed.
    let last = harness.records_of(Kind::Act(Act::Config)).pop().unwrap();
    assert!(last.index > policy.index);
    assert_eq!((detail(&last, "part"), detail(&last, "in_force")), words("configuration", "all"));
    for record in [&policy, &last] {
        let by = harness.fields(record).text(FieldId::Operator).map(str::to_owned);
        assert_eq!(by.as_deref(), Some("the gateway's own user"));
    }
    drop(other);
    harness.finish().await;
}

fn words(left: &str, right: &str) -> (String, String) {
    (left.to_owned(), right.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_cannot_be_changes_nothing_and_says_why() {
    let harness = Harness::start().await;
    let mut client = harness.client("other-window").await;
    let before = harness.records().len();
    let config = harness.folder().join("jumpgate.toml");
    let usual = fs::read_to_string(&config).unwrap();
    let broken = [
        ("in_flight_max = 0", "in_flight_max"),
        ("[listener]\nconnections_max = 7", "listener, but for its files; restart"),
        ("[log]\nreplays_max = 7", "cannot change while the gateway runs: log"),
        ("[departments.civil-registry]\ncomponent = \"gateway.crt\"", "gateway.crt is refused"),
        ("[listener]\ncrl_files = [\"gateway.key\"]", "holds no revocation list"),
        ("[[grants]]\ncaller = \"nobody\"\npredicates = []\npurposes = []", "nobody"),
    ];
    for (overlay, why) in broken {
        harness.reconfigure(overlay);
        let (status, said) = act(&harness, "/reload").await;
        assert_eq!(status, 409, "{overlay}: {said}");
        assert!(said.contains(why), "{overlay}: {said}");
        assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes", "{overlay}");
        fs::write(&config, &usual).unwrap();
    }
    fs::write(&config, "[[[").unwrap();
    assert_eq!(act(&harness, "/reload").await.0, 409);
    let after = harness.records();
    let acts = after.iter().skip(before).filter(|it| matches!(it.entry.kind, Kind::Act(_)));
    assert_eq!(acts.count(), 0, "nothing came into force");
    drop(client);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_another_adapter_another_certificate_and_other_callers() {
    let harness = Harness::start().await;
    let mut one = harness.client("one-window").await;
    let mut other = harness.client("other-window").await;
    // The same component with a custom section at its end: another digest.
    let component = fs::read(parts::plugins().await.join("civil-registry.component.wasm")).unwrap();
    let section = [0, 5, 4, b'n', b'o', b't', b'e'];
    fs::write(harness.folder().join("next.wasm"), [&component[..], &section].concat()).unwrap();
    let server = Use::Server(&["localhost", "127.0.0.1"]);
    let identity = harness.authority.issue("gateway", server, LONG).unwrap();
    identity.write(harness.folder(), "gateway").unwrap();
    harness.reconfigure(
        "[departments.civil-registry]\ncomponent = \"next.wasm\"\n\
         [[callers]]\nid = \"one-window\"\nsan_uri = \"urn:example:district:one-window\"\n\
         [[callers]]\nid = \"stranger\"\nsan_uri = \"urn:example:district:stranger\"\n\
         [[grants]]\nid = \"all\"\ncaller = \"stranger\"\npredicates = [\"civil-registry/*\"]\n\
         purposes = [\"*\"]\n[[grants]]\nid = \"everything\"\ncaller = \"one-window\"\n\
         predicates = [\"civil-registry/*\"]\npurposes = [\"*\"]\n",
    );
    assert_eq!(act(&harness, "/reload").await, in_force());
    assert_eq!(one.ask(&age(18, WIDOW)).await.says(), "yes");
    let refused = other.ask(&age(18, WIDOW)).await;
    assert_problem(&refused, 403, "unauthenticated");
    assert_eq!(harness.client("stranger").await.ask(&age(18, WIDOW)).await.says(), "yes");
    let adapters = harness.records_of(Kind::Act(Act::Adapter));
    let changed = adapters.last().unwrap();
    let asked = harness.records_of(Kind::Ask);
    assert_eq!(detail(changed, "new"), asked[0].entry.adapter.unwrap().to_string());
    assert_ne!(detail(changed, "old"), detail(changed, "new"));
    let shown = harness.tls(Some(&harness.identity("one-window")), Protocol::Http1).await.unwrap();
    let shown = shown.get_ref().1.peer_certificates().unwrap()[0].clone();
    let newest = fs::read(harness.folder().join("gateway.crt")).unwrap();
    let newest = CertificateDer::from_pem_slice(&newest).unwrap();
    assert_eq!(shown, newest, "new connections are shown the new certificate");
    drop((one, other));
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_lists_are_read_again_by_themselves_and_the_log_says_so() {
    let harness = Harness::with("[listener]\ncrl_reload_s = 1").await;
    let identity = harness.issue("urn:example:district:one-window", LONG);
    let mut client = harness.connect(Some(&identity), Protocol::Http1).await.unwrap();
    assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    harness.revoke(2, &[&identity.serial]);
    let refused = async || (client.ask(&age(18, WIDOW)).await.status == 403).then_some(());
    eventually("the revoked certificate asks no more", refused).await;
    let told = harness.records_of(Kind::Act(Act::Config));
    assert_eq!(told.len(), 1, "once, and not at each reading");
    assert_eq!(detail(&told[0], "part"), "revocation lists");
    assert!(told[0].entry.fields.is_none(), "nobody did it");
    drop(client);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_under_load_drop_no_query() {
    let harness = Harness::start().await;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut asking = Vec::new();
    for _ in 0..8 {
        let mut client: Client = harness.client("one-window").await;
        let (stop, answered) = (stop.clone(), answered.clone());
        asking.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for round in 0..10 {
        harness.reconfigure(&format!(
            "[departments.civil-registry.protection]\nconcurrency_max = {}\n\
             [quotas.caller]\nper_second = {}\nburst = 100000",
            4 + round,
            50_000 + round
        ));
        assert_eq!(act(&harness, "/reload").await, in_force());
        let so_far = answered.load(Ordering::Relaxed);
        let more = async || (answered.load(Ordering::Relaxed) > so_far + 8).then_some(());
        eventually("questions are answered", more).await;
    }
    stop.store(true, Ordering::Relaxed);
    for task in asking {
        task.await.unwrap();
    }
    let (_, departments) = harness.at_socket(Method::GET, "/departments").await;
    assert_eq!(departments[0]["concurrency_max"], 13);
    assert_eq!(departments[0]["since_the_start"]["answered"], answered.load(Ordering::Relaxed));
    let (_, status) = harness.at_socket(Method::GET, "/status").await;
    assert_eq!(status["in_force"]["reloads"], 10);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_is_shown() {
    let harness = Setup::new().with(super::admission::BREAKER).start().await;
    let mut client = harness.client("one-window").await;
    harness.civil().faults().set("reset".parse::<Fault>().unwrap()).unwrap();
    for _ in 0..3 {
        assert_problem(&client.ask(&age(18, WIDOW)).await, 502, "department-reset");
    }
    let (_, page) = harness.at_socket(Method::GET, "/departments").await;
    let civil = &page[0];
    assert_eq!(
        (&civil["department"], &civil["state"]),
        (&json!("civil-registry"), &json!("resting"))
    );
    assert_eq!(civil["breaker"]["last_trip"], "consecutive-failures");
    assert_eq!(civil["since_the_start"]["failed"], 3);
    assert_eq!(page[1]["state"], "on");
    act(&harness, "/departments/social-insurance/kill").await;
    let (_, page) = harness.at_socket(Method::GET, "/departments").await;
    assert_eq!(page[1]["state"], "switched off");
    let (_, status) = harness.at_socket(Method::GET, "/status").await;
    assert_eq!(status["query_log"]["state"], "writing");
    let start = harness.records_of(Kind::Start).pop().unwrap();
    assert_eq!(status["in_force"]["configuration"], detail(&start, "config"));
    assert_eq!(status["in_force"]["policy"], start.entry.policy.unwrap().to_string());
    assert!(status["in_force"]["certificate_expires"].as_str().unwrap().starts_with("2120"));
    drop(client);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_hangs_up_leaves_no_act_half_done() {
    let harness = Harness::start().await;
    let mut other = harness.client("other-window").await;
    harness.reconfigure(NO_AGES_FOR_OTHERS);
    // A configuration that is read only when the test writes it.
    let config = harness.folder().join("jumpgate.toml");
    let text = fs::read(&config).unwrap();
    fs::remove_file(&config).unwrap();
    assert!(Command::new("mkfifo").arg(&config).status().unwrap().success());
    let mut socket = UnixStream::connect(harness.folder().join("admin.sock")).await.unwrap();
    socket.write_all(b"POST /reload HTTP/1.1\r\nhost: admin\r\n\r\n").await.unwrap();
    let open = tokio::task::spawn_blocking(move || File::create(config).unwrap());
    // The pipe opens when the act reads it.
    let mut pipe = timeout(PATIENCE, open).await.unwrap().unwrap();
    drop(socket);
    pipe.write_all(&text).unwrap();
    drop(pipe);
    let in_force = async || {
        let (_, status) = harness.at_socket(Method::GET, "/status").await;
        (status["in_force"]["reloads"] == 1).then_some(())
    };
    eventually("the reload is in force", in_force).await;
    assert_problem(&other.ask(&age(18, WIDOW)).await, 403, "not-granted");
    let last = harness.records_of(Kind::Act(Act::Config)).pop().unwrap();
    assert_eq!(detail(&last, "in_force"), "all");
    drop(other);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_the_metrics_keep_nobody_from_the_switch() {
    let harness = Harness::start().await;
    let mut held = Vec::new();
    for _ in 0..80 {
        held.push(TcpStream::connect(harness.admin_address()).await.unwrap());
    }
    assert_eq!(act(&harness, KILL).await, (200, "done".to_owned()));
    drop(held);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_file_of_what_was_decided_every_department_starts_off() {
    let harness = Harness::start().await;
    let mut client = harness.client("one-window").await;
    assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    drop(client);
    let state = harness.folder().join("admin-state.json");
    fs::remove_file(&state).unwrap();
    let harness = harness.restart().await;
    let mut client = harness.client("one-window").await;
    assert_problem(&client.ask(&age(18, WIDOW)).await, 503, "department-switched-off");
    assert_problem(&client.ask(&insured(WIDOW)).await, 503, "department-switched-off");
    assert_eq!(harness.records_of(Kind::Act(Act::Config)).len(), 2, "the log says so of each");
    assert_eq!(act(&harness, REVIVE).await, (200, "done".to_owned()));
    assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    drop(client);
    let (ground, _) = harness.stop().await;
    fs::write(&state, "{").unwrap();
    let fault = ground.try_start().await.expect_err("a damaged file is believed");
    assert!(format!("{fault:?}").contains("Damaged"), "{fault:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_switches_off_once_and_people_switch_on() {
    let off = "[departments.civil-registry]\nswitched_off = true";
    let harness = Harness::with(off).await;
    let mut client = harness.client("one-window").await;
    assert_problem(&client.ask(&age(18, WIDOW)).await, 503, "department-switched-off");
    assert_eq!(act(&harness, REVIVE).await, (200, "done".to_owned()));
    assert_eq!(act(&harness, REVIVE).await, (200, "it was so already".to_owned()));
    assert_eq!(act(&harness, "/reload").await, in_force());
    assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    harness.reconfigure("[departments.social-insurance]\nswitched_off = true");
    assert_eq!(act(&harness, "/reload").await, in_force());
    assert_problem(&client.ask(&insured(WIDOW)).await, 503, "department-switched-off");
    let told = harness.records_of(Kind::Act(Act::Config));
    let told = told.iter().filter(|it| !detail(it, "switched").is_empty());
    let told: Vec<_> = told.map(|it| (detail(it, "switched"), detail(it, "since"))).collect();
    let by_configuration = words("off", "the configuration");
    assert_eq!(told, [by_configuration.clone(), words("on", ""), by_configuration]);
    drop(client);
    harness.finish().await;
}
