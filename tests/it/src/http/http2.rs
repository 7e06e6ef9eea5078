//! HTTP/2: many streams on one connection, and callers that abuse them.

use jumpgate_departments::Fault;

use super::raw::{
    DATA, ENHANCE_YOUR_CALM, GOAWAY, REFUSED_STREAM, RST_STREAM, Raw, SETTINGS, question_head,
    reset,
};
use crate::harness::questions::{WIDOW, age};
use crate::harness::{Harness, Protocol, eventually};

const HANG: &str = "hang";

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_connection_are_answered_side_by_side() {
    let harness = Harness::start().await;
    harness.civil().faults().set(HANG.parse::<Fault>().unwrap()).unwrap();
    let client = harness.client_h2("one-window").await;
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = client.stream();
            tokio::spawn(async move { stream.ask(&age(18, WIDOW)).await })
        })
        .collect();
    let all = async || (harness.civil().requests().in_flight == 20).then_some(());
    eventually("all streams are at the department", all).await;
    harness.civil().faults().clear();
    for reply in asking {
        let reply = reply.await.unwrap();
        assert_eq!((reply.status, reply.says()), (200, "yes"));
        assert_eq!(reply.header("cache-control"), "no-store");
    }
    drop(client);
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_beyond_streams_max_is_refused() {
    let harness = Harness::with("[listener]\nstreams_max = 4").await;
    let shown = harness.identity("one-window");
    let mut raw = Raw::open(harness.tls(Some(&shown), Protocol::Http2).await.unwrap()).await;
    let settings = raw.read_until(|frame| frame.kind == SETTINGS).await.unwrap();
    let max_concurrent_streams = 3;
    assert_eq!(settings.setting(max_concurrent_streams), Some(4));
    // A client that does not care: five questions whose bodies never come.
    let heads: Vec<u8> = (0..5).flat_map(|number| question_head(2 * number + 1)).collect();
    assert!(raw.write(&heads).await.is_continue());
    let refused = raw.read_until(|frame| frame.kind == RST_STREAM).await.unwrap();
    assert_eq!((refused.stream, refused.reset_code()), (9, REFUSED_STREAM));
    drop(raw);
    harness.finish().await;
}

/// CVE-2023-44487: opening and resetting streams costs a client nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_resets_ends_its_connection_and_nobody_elses() {
    let harness = Harness::start().await;
    let mut other = harness.client("other-window").await;
    assert_eq!(other.ask(&age(18, WIDOW)).await.says(), "yes");
    let shown = harness.identity("one-window");
    let mut raw = Raw::open(harness.tls(Some(&shown), Protocol::Http2).await.unwrap()).await;
    raw.read_until(|frame| frame.kind == SETTINGS).await.unwrap();
    for burst in 0..STREAMS_MAX / BURST {
        let numbers = (burst * BURST..(burst + 1) * BURST).map(|number| 2 * number + 1);
        let frames = numbers.flat_map(|stream| [question_head(stream), reset(stream)].concat());
        if raw.write(&frames.collect::<Vec<u8>>()).await.is_break() {
            break;
        }
    }
    // The reason can be lost where the flood runs into the closed connection; the end cannot.
    if let Some(goaway) = raw.read_until(|frame| frame.kind == GOAWAY).await {
        assert_eq!(goaway.goaway_code(), ENHANCE_YOUR_CALM);
    }
    assert!(raw.read_until(|_| false).await.is_none(), "the connection stays open");
    assert_eq!(other.ask(&age(18, WIDOW)).await.says(), "yes");
    let closed =
        async || harness.metrics().await.contains("jumpgate_connections 1\n").then_some(());
    eventually("only the other caller's connection is left", closed).await;
    assert_eq!(harness.civil().requests().count, 2);
    harness.finish().await;
}

/// Far more than the gateway stands; a flood that is not ended here would never be.
const STREAMS_MAX: u32 = 10_000;
const BURST: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_comes_during_the_drain_is_told_to_come_back() {
    let harness = Harness::start().await;
    let shown = harness.identity("one-window");
    let mut raw = Raw::open(harness.tls(Some(&shown), Protocol::Http2).await.unwrap()).await;
    raw.read_until(|frame| frame.kind == SETTINGS).await.unwrap();
    harness.begin_stop();
    // The first farewell still allows streams that are on their way (RFC 9113, section 6.8).
    raw.read_until(|frame| frame.kind == GOAWAY).await.unwrap();
    let draining = async || harness.gateway().drain.is_draining().then_some(());
    eventually("the gateway drains", draining).await;
    assert!(raw.write(&question_head(1)).await.is_continue());
    let said = raw.read_until(|frame| frame.kind == DATA).await.unwrap();
    let said = String::from_utf8(said.payload).unwrap();
    assert!(said.contains("\"code\":\"draining\""), "{said}");
    assert!(said.contains("\"retry_after_s\":1"), "{said}");
    drop(raw);
    harness.finish().await;
}
