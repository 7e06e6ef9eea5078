//! Who may connect, and for how long: certificates, revocation, expiry, age.

use std::io;
use std::time::Duration;

use jumpgate::development::{Authority, Identity, LONG, Use};
use jumpgate_departments::Fault;
use jumpgate_querylog::{Act, Kind, Record};
use rustls::AlertDescription;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::harness::questions::{WIDOW, age};
use crate::harness::{Client, Harness, PATIENCE, Protocol, eventually};
use crate::http::assert_problem;

const ONE_WINDOW: &str = "urn:example:district:one-window";

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted_ends_the_handshake() {
    let harness = Harness::start().await;
    let foreign = Authority::new("Another authority").unwrap();
    let foreign = foreign.issue("one-window", Use::Client(ONE_WINDOW), LONG).unwrap();
    let expired = harness.issue(ONE_WINDOW, ((2020, 1, 1), (2021, 1, 1)));
    let early = harness.issue(ONE_WINDOW, ((2119, 1, 1), (2120, 1, 1)));
    // A server's certificate is no client's, whoever issued it.
    let server = harness.authority.issue("server", Use::Server(&["localhost"]), LONG).unwrap();
    let shown = [
        (None, AlertDescription::CertificateRequired),
        (Some(&foreign), AlertDescription::UnknownCA),
        (Some(&expired), AlertDescription::CertificateExpired),
        (Some(&early), AlertDescription::CertificateExpired),
        (Some(&server), AlertDescription::UnsupportedCertificate),
    ];
    for (identity, expected) in shown {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            assert_eq!(alert(&harness, identity, protocol).await, expected);
        }
    }
    let counted = async || (harness.coalesced("unauthenticated") == 10).then_some(());
    eventually("the refusals are counted", counted).await;
    let metrics = harness.metrics().await;
    assert!(metrics.contains("jumpgate_handshakes_failed_total 10\n"), "{metrics}");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_certificate_that_names_no_caller_gets_nothing() {
    let harness = Harness::start().await;
    let mut stranger = harness.client("stranger").await;
    let reply = stranger.ask(&age(18, WIDOW)).await;
    assert_problem(&reply, 403, "unauthenticated");
    for path in ["/v1/catalogue", "/v1/receipts/0", "/healthz", "/readyz", "/no-such-path"] {
        assert_problem(&stranger.get(path).await, 403, "unauthenticated");
    }
    assert_eq!(harness.civil().requests().count, 0);
    assert!(harness.records_of(Kind::Refused).is_empty(), "it is counted, not entered");
    let counted = async || (harness.coalesced("unauthenticated") == 7).then_some(());
    eventually("six requests and the connection are counted", counted).await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_reaches_open_connections() {
    let harness = Harness::start().await;
    let identity = harness.issue(ONE_WINDOW, LONG);
    let mut open = connected(&harness, &identity, Protocol::Http1).await;
    let mut open_h2 = connected(&harness, &identity, Protocol::Http2).await;
    let mut colleague = harness.client("one-window").await;
    for client in [&mut open, &mut open_h2, &mut colleague] {
        assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    }
    harness.revoke(2, &[&identity.serial]);
    let (status, said) = harness.act("/reload").await;
    assert_eq!((status.as_u16(), said.as_str()), (200, "in force"));
    for client in [&mut open, &mut open_h2] {
        let reply = client.ask(&age(18, WIDOW)).await;
        assert_problem(&reply, 403, "unauthenticated");
        assert!(reply.json["detail"].as_str().unwrap().contains("revoked"), "{}", reply.json);
    }
    let refused = alert(&harness, Some(&identity), Protocol::Http1).await;
    assert_eq!(refused, AlertDescription::CertificateRevoked);
    assert_eq!(colleague.ask(&age(18, WIDOW)).await.says(), "yes");
    assert_eq!(harness.civil().requests().count, 4);
    let acts = harness.records_of(Kind::Act(Act::Config));
    let part = |record: &Record| {
        let details = record.entry.details.as_ref().unwrap();
        (details.find("old") != details.find("new"), details.find("part").unwrap().to_owned())
    };
    let parts: Vec<_> = acts.iter().map(part).collect();
    assert_eq!(parts, [(true, "revocation lists".to_owned()), (false, "configuration".to_owned())]);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_revocation_list_leaves_the_old_one_in_force() {
    let harness = Harness::start().await;
    let identity = harness.issue(ONE_WINDOW, LONG);
    harness.revoke(2, &[&identity.serial]);
    assert_eq!(harness.act("/reload").await.0, 200);
    for broken in ["", "-----BEGIN X509 CRL-----\nnot base64\n-----END X509 CRL-----\n"] {
        std::fs::write(harness.folder().join("revoked.crl"), broken).unwrap();
        let (status, said) = harness.act("/reload").await;
        assert_eq!(status, 409, "{said}");
        assert!(said.contains("revoked.crl"), "{said}");
    }
    let refused = alert(&harness, Some(&identity), Protocol::Http1).await;
    assert_eq!(refused, AlertDescription::CertificateRevoked);
    assert_eq!(harness.client("one-window").await.ask(&age(18, WIDOW)).await.says(), "yes");
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_while_connected_asks_no_more() {
    let harness = Harness::start().await;
    // rustls judges the handshake by the system's clock, the gateway each request by its own.
    let year = jiff::Zoned::now().year() + 2;
    let identity = harness.issue(ONE_WINDOW, ((2020, 1, 1), (year.into(), 1, 1)));
    let mut client = connected(&harness, &identity, Protocol::Http1).await;
    harness.set_now(&format!("{year}-01-01T00:00:00Z"));
    assert_eq!(client.ask(&age(18, WIDOW)).await.says(), "yes");
    harness.advance(Duration::from_secs(1));
    let reply = client.ask(&age(18, WIDOW)).await;
    assert_problem(&reply, 403, "unauthenticated");
    assert!(reply.json["detail"].as_str().unwrap().contains("expired"), "{}", reply.json);
    assert_eq!(harness.civil().requests().count, 1);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_connection_is_closed_after_its_current_requests() {
    let harness = Harness::with("[listener]\nconnection_age_s_max = 2").await;
    harness.civil().faults().set("hang".parse::<Fault>().unwrap()).unwrap();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut busy = connected(&harness, &harness.identity("one-window"), protocol).await;
        let asking = tokio::spawn(async move { (busy.ask(&age(18, WIDOW)).await, busy) });
        let at_department = async || (harness.civil().requests().in_flight == 1).then_some(());
        eventually("the question is at the department", at_department).await;
        // Opened later, it reaches its age later.
        let idle = connected(&harness, &harness.identity("one-window"), protocol).await;
        eventually("the idle connection is closed", async || idle.is_closed().then_some(())).await;
        harness.civil().faults().clear();
        let (reply, busy) = asking.await.unwrap();
        assert_eq!((reply.status, reply.says()), (200, "yes"), "{protocol:?}");
        eventually("the busy one, too", async || busy.is_closed().then_some(())).await;
        harness.civil().faults().set("hang".parse::<Fault>().unwrap()).unwrap();
    }
    harness.finish().await;
}

async fn connected(harness: &Harness, identity: &Identity, protocol: Protocol) -> Client {
    harness.connect(Some(identity), protocol).await.unwrap()
}

/// The alert with which the gateway ends the handshake. In TLS 1.3 the client learns it only when
/// it reads (RFC 8446 §4.4.2.4).
async fn alert(
    harness: &Harness,
    shown: Option<&Identity>,
    protocol: Protocol,
) -> AlertDescription {
    let mut stream = harness.tls(shown, protocol).await.unwrap();
    let mut bytes = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap();
    let error: io::Error = read.expect_err("the gateway speaks to whoever connects");
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        _ => panic!("no alert: {error}"),
    }
}
