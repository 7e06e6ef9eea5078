//! The end of a gateway, and of a caller that does not wait.

use std::io::ErrorKind;

use jumpgate_departments::Fault;
use jumpgate_querylog::Kind;
use tokio::net::TcpStream;

use crate::harness::questions::{WIDOW, age};
use crate::harness::{Harness, Protocol, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_runs_at_the_stop_gets_its_answer() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let harness = Harness::start().await;
        harness.civil().faults().set("hang".parse::<Fault>().unwrap()).unwrap();
        let shown = harness.identity("one-window");
        let mut client = harness.connect(Some(&shown), protocol).await.unwrap();
        let idle = harness.connect(Some(&shown), protocol).await.unwrap();
        let asking = tokio::spawn(async move { (client.ask(&age(18, WIDOW)).await, client) });
        let at_department = async || (harness.civil().requests().in_flight == 1).then_some(());
        eventually("the question is at the department", at_department).await;
        harness.begin_stop();
        let refused = async || {
            let error = TcpStream::connect(harness.address()).await.err()?;
            (error.kind() == ErrorKind::ConnectionRefused).then_some(())
        };
        eventually("new connections are refused", refused).await;
        eventually("the idle connection is closed", async || idle.is_closed().then_some(())).await;
        let draining = async || harness.gateway().drain.is_draining().then_some(());
        eventually("the gateway drains", draining).await;
        assert_eq!(harness.gateway().drain.running(), 1);
        assert!(!asking.is_finished());
        harness.civil().faults().clear();
        let (reply, client) = asking.await.unwrap();
        assert_eq!((reply.status, reply.says()), (200, "yes"), "{protocol:?}");
        eventually("its connection is closed", async || client.is_closed().then_some(())).await;
        let report = harness.finish().await;
        assert_eq!(report.kinds[&Kind::Answer], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_whose_caller_hung_up_is_closed_all_the_same() {
    let harness = Harness::start().await;
    let shown = harness.identity("one-window");
    for (round, protocol) in [Protocol::Http1, Protocol::Http2].into_iter().enumerate() {
        harness.civil().faults().set("hang".parse::<Fault>().unwrap()).unwrap();
        let mut client = harness.connect(Some(&shown), protocol).await.unwrap();
        let line = client.line();
        let question = age(18, WIDOW).to_string();
        let asking = tokio::spawn(async move {
            let json = [("content-type", "application/json")];
            client.send(::http::Method::POST, "/v1/queries", &json, question).await
        });
        let at_department = async || (harness.civil().requests().in_flight == 1).then_some(());
        eventually("the question is at the department", at_department).await;
        line.cut();
        assert!(asking.await.unwrap().is_err(), "the connection was cut");
        let no_connection = "jumpgate_connections 0\n";
        let gone = async || harness.metrics().await.contains(no_connection).then_some(());
        eventually("the gateway has seen it", gone).await;
        assert_eq!(harness.civil().requests().in_flight, 1, "the question runs on");
        assert_eq!(harness.records_of(Kind::Answer).len(), round);
        harness.civil().faults().clear();
        let closed = async || (harness.records_of(Kind::Answer).len() == round + 1).then_some(());
        eventually("the closing entry is written", closed).await;
    }
    harness.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_that_hang_up_leave_no_question_open() {
    let harness = Harness::start().await;
    harness.civil().faults().set("slow:20".parse::<Fault>().unwrap()).unwrap();
    let client = harness.client_h2("one-window").await;
    let asking: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = client.stream();
            tokio::spawn(async move { stream.ask(&age(18, WIDOW)).await.status })
        })
        .collect();
    // Every other stream is reset, at whatever stage its question is.
    let some_answered = async || (harness.records_of(Kind::Answer).len() >= 20).then_some(());
    eventually("some are answered", some_answered).await;
    asking.iter().step_by(2).for_each(|stream| stream.abort());
    for stream in asking {
        if let Ok(status) = stream.await {
            assert_eq!(status, 200);
        }
    }
    drop(client);
    // A question that got as far as its ask is closed by an answer: nobody abandons it.
    let report = harness.finish().await;
    assert_eq!(report.kinds[&Kind::Ask], report.kinds[&Kind::Answer]);
}
