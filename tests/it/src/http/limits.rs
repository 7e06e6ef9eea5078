//! The limits of one connection and one request, each met by a client that goes past it.

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{JSON, assert_problem};
use crate::harness::questions::{WIDOW, age, but};
use crate::harness::{Harness, PATIENCE, Protocol, client, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_at_most_body_bytes_max() {
    let harness = Harness::with("[listener]\nbody_bytes_max = 1024").await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let shown = harness.identity("one-window");
        let mut client = harness.connect(Some(&shown), protocol).await.unwrap();
        let question = age(18, WIDOW).to_string();
        let fits = format!("{question:<1024}");
        let reply = client.send(Method::POST, "/v1/queries", &JSON, fits).await.unwrap();
        assert_eq!(reply.says(), "yes", "{protocol:?}");
        let over = format!("{question:<1025}");
        let reply = client.send(Method::POST, "/v1/queries", &JSON, over).await.unwrap();
        assert_problem(&reply, 413, "body-too-large");
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_given_up() {
    let harness = Harness::with("[listener]\nbody_timeout_ms = 100").await;
    let head = "POST /v1/queries HTTP/1.1\r\nHost: localhost\r\n\
                Content-Type: application/json\r\nContent-Length: 200\r\n\r\n{\"predicate\":";
    let said = write_and_read(&harness, head.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    assert!(said.contains("\"code\":\"body-timeout\""), "{said}");
    assert!(said.contains("content-type: application/problem+json"), "{said}");
    let counted = async || (harness.coalesced("body-timeout") == 1).then_some(());
    eventually("it is counted", counted).await;
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_is_given_up() {
    let timeouts = "[listener]\nhead_timeout_ms = 1000\nhandshake_timeout_ms = 1000";
    let harness = Harness::with(timeouts).await;
    let said = write_and_read(&harness, b"GET /healthz HTTP/1.1\r\nHost: loc").await;
    assert!(!said.contains("HTTP/1.1 200"), "{said}");
    // And one that does not even begin TLS.
    let mut silent = TcpStream::connect(harness.address()).await.unwrap();
    let mut nothing = Vec::new();
    let read = timeout(PATIENCE, silent.read_to_end(&mut nothing)).await;
    assert!(read.is_ok(), "the gateway waits for a handshake for ever");
    let counted = async || (harness.coalesced("unauthenticated") == 1).then_some(());
    eventually("the handshake that never was is counted", counted).await;
    assert_eq!(harness.client("one-window").await.get("/healthz").await.status, 200);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_at_most_so_many_and_so_long_fields() {
    let harness = Harness::start().await;
    let shown = harness.identity("one-window");
    let names: Vec<String> = (0..200).map(|number| format!("x-{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let long = "x".repeat(20_000);
    let mut client = harness.connect(Some(&shown), Protocol::Http1).await.unwrap();
    let reply = client.send(Method::GET, "/healthz", &many, "").await.unwrap();
    assert_eq!(reply.status, 431);
    // What the gateway did not read of a long head can cost the client the response.
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = harness.connect(Some(&shown), protocol).await.unwrap();
        let reply = client.send(Method::GET, "/healthz", &[("x-long", &long)], "").await;
        assert!(reply.as_ref().map_or(true, |reply| reply.status == 431), "{reply:?}");
    }
    assert_eq!(harness.client("one-window").await.get("/healthz").await.status, 200);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_malformed_and_asks_nobody() {
    let harness = Harness::start().await;
    let shown = harness.identity("one-window");
    let mut stream = harness.tls(Some(&shown), Protocol::Http1).await.unwrap();
    let body = but(age(18, WIDOW), "case", "2026-0417").to_string();
    let head = format!(
        "POST /v1/queries HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len() + 1
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    drop(stream);
    let gone = async || harness.metrics().await.contains("jumpgate_connections 0\n").then_some(());
    eventually("the connection has ended", gone).await;
    assert_eq!(harness.civil().requests().count, 0);
    harness.finish().await;
}

/// Writes bytes on a connection of `one-window` and reads until the gateway closes it.
async fn write_and_read(harness: &Harness, bytes: &[u8]) -> String {
    let shown = harness.identity("one-window");
    let mut stream = harness.tls(Some(&shown), Protocol::Http1).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
    let mut said = Vec::new();
    // A connection that closes without TLS's own farewell has still closed.
    let read = timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    assert!(read.is_ok(), "the gateway keeps the connection open");
    String::from_utf8(said).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_connections_max_a_connection_waits_for_a_place() {
    let harness = Harness::with("[listener]\nconnections_max = 2").await;
    let mut one = harness.client("one-window").await;
    let mut other = harness.client("other-window").await;
    let (address, anchor) = (harness.address(), harness.authority.certificate().to_owned());
    let shown = harness.identity("one-window");
    let third = tokio::spawn(async move {
        client::tls(address, &anchor, Some(&shown), Protocol::Http1).await.is_ok()
    });
    for _ in 0..50 {
        assert_eq!(one.get("/healthz").await.status, 200);
        assert_eq!(other.get("/healthz").await.status, 200);
    }
    assert!(!third.is_finished(), "a third connection was let in");
    assert!(harness.metrics().await.contains("jumpgate_connections 2\n"));
    drop(other);
    assert!(third.await.unwrap(), "the place that came free was not given away");
    drop(one);
    harness.finish().await;
}
