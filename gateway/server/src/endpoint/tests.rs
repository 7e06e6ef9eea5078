//! Endpoints against departments on loopback sockets that misbehave one way each.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;

use jumpgate_runtime::contract::{Chunk, Escaping, Header, Method};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi";
/// Far longer than a test takes, so that it ends only one that hangs.
const LONG: Duration = Duration::from_secs(60);
/// Long enough to reach a department on loopback on a busy machine, short enough to wait for.
const SHORT: Duration = Duration::from_millis(300);

// ---- the department --------------------------------------------------------------------------

/// Serves each connection, numbered from 0, as `serve` says. Its tasks end with the test's runtime.
async fn department<F>(serve: impl Fn(usize, TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(number, stream));
        }
    });
    address
}

/// Answers every request on every connection with `reply`.
async fn department_that_says(reply: impl Into<String>) -> SocketAddr {
    let reply: Arc<str> = reply.into().into();
    department(move |_, stream| answer(stream, Arc::clone(&reply))).await
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, reply: Arc<str>) {
    while read_request(&mut stream).await.is_some() {
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// One whole request as it came, or none if the connection ended.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Some(text);
            }
        }
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

// ---- the endpoint ----------------------------------------------------------------------------

fn settings(base_url: &str, more: &str) -> EndpointSettings {
    let text = format!(
        "base_url = '{base_url}'\n{more}\n\
         [[allow]]\nmethod = 'GET'\npath_prefix = '/'\n\
         [[allow]]\nmethod = 'POST'\npath_prefix = '/'\n"
    );
    toml::from_str(&text).unwrap()
}

fn endpoint_with(address: SocketAddr, more: &str) -> Endpoint {
    let settings = settings(&format!("http://{address}/base"), more);
    Endpoint::new(&settings).ok().unwrap()
}

fn endpoint(address: SocketAddr) -> Endpoint {
    endpoint_with(address, "")
}

fn literal(text: &str) -> Chunk {
    Chunk::Literal(text.as_bytes().to_vec())
}

fn header(name: &str, value: &str) -> Header {
    Header { name: name.to_owned(), value: vec![literal(value)] }
}

fn get() -> HttpRequest {
    let path = vec![literal("/persons?id="), Chunk::Subject(Escaping::UrlComponent)];
    HttpRequest { method: Method::Get, path, headers: vec![], body: vec![] }
}

fn post(content_type: &str, body: Vec<Chunk>) -> HttpRequest {
    let headers = vec![header("content-type", content_type)];
    HttpRequest { method: Method::Post, path: vec![literal("/search")], headers, body }
}

/// A request that is not safe to repeat, with all the time it needs.
async fn fetch(endpoint: &Endpoint) -> Result<HttpReply, Fault> {
    endpoint.fetch(&get(), false, "A 1", Instant::now() + LONG, &|| true).await
}

async fn fetch_safe(endpoint: &Endpoint) -> Result<HttpReply, Fault> {
    endpoint.fetch(&get(), true, "A 1", Instant::now() + LONG, &|| true).await
}

#[track_caller]
fn check_fault(result: Result<HttpReply, Fault>, code: FaultCode, retry_is_safe: bool) {
    let Err(found) = result else { panic!("the department answered") };
    assert_eq!(found, Fault { code, retry_is_safe });
}

// ---- whole exchanges -------------------------------------------------------------------------

#[tokio::test]
async fn a_get_arrives_and_its_reply_comes_back() {
    let (sender, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let address = department(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            let _ = sender.send(read_request(&mut stream).await.unwrap());
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await;
    let endpoint = Arc::new(endpoint(address));
    // Spawned, as the path of a query is.
    let task = tokio::spawn({
        let endpoint = Arc::clone(&endpoint);
        async move { fetch(&endpoint).await }
    });
    let reply = task.await.unwrap().ok().unwrap();
    assert_eq!((reply.status, reply.content_type.as_str()), (200, "text/plain"));
    assert_eq!(reply.body, b"hi");
    let mut lines: Vec<String> =
        requests.recv().await.unwrap().trim().lines().map(str::to_owned).collect();
    lines[1..].sort();
    let expected = [
        "GET /base/persons?id=A%201 HTTP/1.1".to_owned(),
        "Accept-Encoding: identity".to_owned(),
        format!("Host: {address}"),
        "User-Agent: jumpgate".to_owned(),
    ];
    assert_eq!(lines, expected);
    let counts = EndpointCounts {
        requests: 1,
        connections_opened: 1,
        received_bytes: 2,
        ..EndpointCounts::default()
    };
    assert_eq!(endpoint.counts(), counts);
}

#[tokio::test]
async fn a_post_carries_headers_body_and_credential() {
    let folder = tempfile::tempdir().unwrap();
    let value_file = secret_file(folder.path(), "key", b"k-1\n");
    let (sender, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let address = department(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            let _ = sender.send(read_request(&mut stream).await.unwrap());
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await;
    let credential = format!(
        "credential = {{ kind = 'header', name = 'X-Key', value_file = '{}' }}",
        value_file.display()
    );
    let endpoint = endpoint_with(address, &credential);
    let body = vec![literal("{\"id\":\""), Chunk::Subject(Escaping::JsonString), literal("\"}")];
    let mut request = post("application/json", body);
    request.headers.push(header("accept", "application/json"));
    let deadline = Instant::now() + LONG;
    let reply = endpoint.fetch(&request, false, "A\"1", deadline, &|| true).await;
    assert_eq!(reply.map(|reply| reply.status), Ok(200));
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("POST /base/search HTTP/1.1\r\n"), "{request}");
    for line in [
        "X-Key: k-1\r\n",
        "Content-Type: application/json\r\n",
        "Accept: application/json\r\n",
        "Content-Length: 13\r\n",
    ] {
        assert_eq!(request.matches(line).count(), 1, "{line} in {request}");
    }
    assert!(request.ends_with("\r\n\r\n{\"id\":\"A\\\"1\"}"), "{request}");
    assert_eq!(endpoint.counts().sent_bytes, 13);
}

#[tokio::test]
async fn an_error_status_is_a_reply() {
    for (line, body) in [
        ("204 No Content", ""),
        ("401 Unauthorized", "who?"),
        ("404 Not Found", "none"),
        ("500 Internal Server Error", "oops"),
        ("503 Service Unavailable", "busy"),
    ] {
        let length = if body.is_empty() { "" } else { "Content-Length: 4\r\n" };
        let address = department_that_says(format!("HTTP/1.1 {line}\r\n{length}\r\n{body}")).await;
        let reply = fetch(&endpoint(address)).await.ok().unwrap();
        assert_eq!(reply.status.to_string(), line[..3]);
        assert_eq!((reply.body.as_slice(), reply.content_type.as_str()), (body.as_bytes(), ""));
    }
}

#[tokio::test]
async fn what_the_allow_list_does_not_hold_never_reaches_the_department() {
    let address = department_that_says(OK).await;
    let endpoint = endpoint(address);
    let up = HttpRequest { path: vec![literal("/../admin")], ..get() };
    let deadline = Instant::now() + LONG;
    let result = endpoint.fetch(&up, true, "A1", deadline, &|| true).await;
    check_fault(result, FaultCode::AdapterRequestDenied, true);
    let small = endpoint_with(address, "request_bytes_max = 10");
    check_fault(fetch(&small).await, FaultCode::AdapterOutputTooLarge, true);
    let counts = EndpointCounts { requests_denied: 1, ..EndpointCounts::default() };
    assert_eq!((endpoint.counts(), small.counts()), (counts, counts));
}

// ---- faults ----------------------------------------------------------------------------------

#[tokio::test]
async fn a_refused_connection_is_tried_once_more_if_the_breaker_agrees() {
    // Bound and not listening: the port refuses and nobody else can get it.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = endpoint(socket.local_addr().unwrap());
    check_fault(fetch(&endpoint).await, FaultCode::DepartmentUnreachable, true);
    assert_eq!(endpoint.counts().retries, 1);
    let deadline = Instant::now() + LONG;
    let result = endpoint.fetch(&get(), true, "A1", deadline, &|| false).await;
    check_fault(result, FaultCode::DepartmentUnreachable, true);
    let counts = endpoint.counts();
    assert_eq!((counts.requests, counts.retries, counts.connections_opened), (2, 1, 0));
}

#[tokio::test]
async fn a_department_that_hangs_times_out_and_is_not_asked_again() {
    let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let address = department(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            read_request(&mut stream).await.unwrap();
            // Ends when the gateway closes the connection.
            let _ = sender.send(stream.read(&mut [0]).await.map_or(0, |count| count));
        }
    })
    .await;
    let by_setting = endpoint_with(address, "timeout_ms = 300");
    check_fault(fetch(&by_setting).await, FaultCode::DepartmentTimeout, false);
    assert_eq!(ends.recv().await, Some(0));
    check_fault(fetch_safe(&by_setting).await, FaultCode::DepartmentTimeout, true);
    assert_eq!(ends.recv().await, Some(0));
    let by_query = endpoint_with(address, "timeout_ms = 60000");
    let result = by_query.fetch(&get(), false, "A1", Instant::now() + SHORT, &|| true).await;
    check_fault(result, FaultCode::DepartmentTimeout, false);
    assert_eq!(ends.recv().await, Some(0));
    assert_eq!((by_setting.counts().retries, by_query.counts().retries), (0, 0));
}

#[tokio::test]
async fn a_body_that_drips_times_out_as_a_whole() {
    let address = department(|_, mut stream| async move {
        read_request(&mut stream).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while stream.write_all(b"x").await.is_ok() {
            tick.tick().await;
        }
    })
    .await;
    let endpoint = endpoint_with(address, "timeout_ms = 300");
    check_fault(fetch_safe(&endpoint).await, FaultCode::DepartmentTimeout, true);
    let counts = endpoint.counts();
    assert!(counts.retries == 0 && counts.received_bytes > 0, "{counts:?}");
}

#[tokio::test]
async fn a_deadline_that_has_passed_touches_nothing() {
    let address = department_that_says(OK).await;
    let endpoint = endpoint(address);
    let result = endpoint.fetch(&get(), false, "A1", Instant::now(), &|| true).await;
    check_fault(result, FaultCode::DepartmentTimeout, true);
    assert_eq!(endpoint.counts().connections_opened, 0);
}

/// A department that closes its first connection after `reply` and serves the others well.
async fn department_that_breaks_off(reply: &'static str) -> SocketAddr {
    department(move |number, mut stream| async move {
        if number > 0 {
            return answer(stream, OK.into()).await;
        }
        read_request(&mut stream).await.unwrap();
        stream.write_all(reply.as_bytes()).await.unwrap();
    })
    .await
}

#[tokio::test]
async fn a_broken_connection_is_a_reset_and_only_a_safe_request_is_repeated() {
    for partial in [
        "",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwh",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n",
    ] {
        let unsafe_one = endpoint(department_that_breaks_off(partial).await);
        check_fault(fetch(&unsafe_one).await, FaultCode::DepartmentReset, false);
        assert_eq!(unsafe_one.counts().retries, 0, "{partial}");

        let resting = endpoint(department_that_breaks_off(partial).await);
        let deadline = Instant::now() + LONG;
        let result = resting.fetch(&get(), true, "A1", deadline, &|| false).await;
        check_fault(result, FaultCode::DepartmentReset, true);
        assert_eq!(resting.counts().retries, 0, "{partial}");

        let safe = endpoint(department_that_breaks_off(partial).await);
        assert_eq!(fetch_safe(&safe).await.map(|reply| reply.body), Ok(b"hi".to_vec()));
        let counts = safe.counts();
        assert_eq!((counts.requests, counts.retries, counts.connections_opened), (1, 1, 2));
    }
}

#[tokio::test]
async fn a_request_is_repeated_no_more_than_once() {
    let address = department(|_, mut stream| async move {
        read_request(&mut stream).await;
    })
    .await;
    let endpoint = endpoint(address);
    check_fault(fetch_safe(&endpoint).await, FaultCode::DepartmentReset, true);
    let counts = endpoint.counts();
    assert_eq!((counts.retries, counts.connections_opened), (1, 2));
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    for status in [300, 301, 302, 303, 304, 307, 308] {
        let elsewhere = Arc::new(AtomicUsize::new(0));
        let visits = Arc::clone(&elsewhere);
        let other = department(move |_, _| {
            visits.fetch_add(1, Ordering::Relaxed);
            async {}
        })
        .await;
        let head = format!("HTTP/1.1 {status} Moved\r\nLocation: http://{other}/\r\n");
        let address = department_that_says(format!("{head}Content-Length: 0\r\n\r\n")).await;
        let endpoint = endpoint(address);
        check_fault(fetch_safe(&endpoint).await, FaultCode::DepartmentRedirected, true);
        check_fault(fetch(&endpoint).await, FaultCode::DepartmentRedirected, false);
        assert_eq!((endpoint.counts().retries, elsewhere.load(Ordering::Relaxed)), (0, 0));
    }
}

#[tokio::test]
async fn a_reply_has_a_largest_size() {
    let sized = |length: usize, body: &str| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let chunked =
        |chunks: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    let limit = "reply_bytes_max = 8";
    for whole in [sized(8, "12345678"), chunked("4\r\n1234\r\n4\r\n5678\r\n0\r\n\r\n")] {
        let endpoint = endpoint_with(department_that_says(whole).await, limit);
        assert_eq!(fetch(&endpoint).await.map(|reply| reply.body), Ok(b"12345678".to_vec()));
    }
    // The first is refused for what it announces: not one byte of it comes.
    for large in [
        sized(9, ""),
        sized(usize::MAX, ""),
        chunked("4\r\n1234\r\n5\r\n56789\r\n0\r\n\r\n"),
        chunked("ffffffff\r\n123456789"),
    ] {
        let endpoint = endpoint_with(department_that_says(large).await, limit);
        check_fault(fetch_safe(&endpoint).await, FaultCode::ReplyTooLarge, true);
        assert_eq!(endpoint.counts().retries, 0);
    }
}

#[tokio::test]
async fn a_reply_without_an_end_is_cut_off_at_its_largest_size() {
    let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let address = department(move |_, mut stream| {
        let sender = sender.clone();
        async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
            let _ = sender.send(());
        }
    })
    .await;
    let endpoint = endpoint_with(address, "reply_bytes_max = 100000\ntimeout_ms = 60000");
    check_fault(fetch(&endpoint).await, FaultCode::ReplyTooLarge, false);
    assert_eq!(ends.recv().await, Some(()));
    let received = endpoint.counts().received_bytes;
    assert!((100_001..1_000_000).contains(&received), "{received}");
}

#[tokio::test]
async fn what_is_not_the_http_asked_for_is_malformed() {
    let with =
        |headers: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\nContent-Length: 2\r\n\r\nhi");
    for reply in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(),
        "HTTP/2.0 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".to_owned(),
        with("Content-Encoding: gzip"),
        with("Content-Encoding: identity\r\nContent-Encoding: br"),
        with("Content-Length: 3"),
        with("Bad Header: x"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhi".to_owned(),
    ] {
        let endpoint = endpoint(department_that_says(reply.clone()).await);
        let found = fetch_safe(&endpoint).await.err();
        let expected = Fault { code: FaultCode::ReplyMalformed, retry_is_safe: true };
        assert_eq!((found, endpoint.counts().retries), (Some(expected), 0), "{reply}");
    }
    let plain = endpoint(department_that_says(with("Content-Encoding: identity")).await);
    assert!(fetch(&plain).await.is_ok());
}

#[tokio::test]
async fn a_reply_head_has_a_largest_size() {
    let head = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nhi");
    let many = |count: usize| (0..count).map(|n| format!("h{n}: x\r\n")).collect::<String>();
    let long = |length: usize| format!("h: {}\r\n", "x".repeat(length));
    for fitting in [many(63), long(60_000)] {
        let endpoint = endpoint(department_that_says(head(&fitting)).await);
        assert!(fetch(&endpoint).await.is_ok());
    }
    for large in [many(64), long(70_000)] {
        let endpoint = endpoint(department_that_says(head(&large)).await);
        check_fault(fetch(&endpoint).await, FaultCode::ReplyTooLarge, false);
    }
}

// ---- connections -----------------------------------------------------------------------------

#[tokio::test]
async fn a_connection_is_used_again_unless_the_department_closes_it() {
    let kept = endpoint(department_that_says(OK).await);
    let closing = OK.replace("Content-Type", "Connection: close\r\nContent-Type");
    let closed = endpoint(department_that_says(closing).await);
    let unpooled = endpoint_with(department_that_says(OK).await, "connections_idle_max = 0");
    for endpoint in [&kept, &closed, &unpooled] {
        for _ in 0..3 {
            assert!(fetch(endpoint).await.is_ok());
        }
    }
    assert_eq!(kept.counts().connections_opened, 1);
    assert_eq!(closed.counts().connections_opened, 3);
    assert_eq!(unpooled.counts().connections_opened, 3);
}

#[tokio::test]
async fn requests_side_by_side_use_a_connection_each_and_no_more_stay_idle_than_allowed() {
    let gate = Arc::new(tokio::sync::Barrier::new(3));
    let address = department(move |_, mut stream| {
        let gate = Arc::clone(&gate);
        async move {
            read_request(&mut stream).await.unwrap();
            gate.wait().await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            answer(stream, OK.into()).await;
        }
    })
    .await;
    let endpoint = endpoint_with(address, "connections_idle_max = 2");
    let replies = tokio::join!(fetch(&endpoint), fetch(&endpoint), fetch(&endpoint));
    assert!(replies.0.is_ok() && replies.1.is_ok() && replies.2.is_ok());
    assert_eq!(endpoint.counts().connections_opened, 3);
    let idle = endpoint.connections.idle_count();
    assert_eq!(idle, 2);
}

#[tokio::test]
async fn a_connection_the_department_closed_while_idle_costs_nothing() {
    let address = department(|number, mut stream| async move {
        read_request(&mut stream).await.unwrap();
        stream.write_all(OK.as_bytes()).await.unwrap();
        if number > 0 {
            answer(stream, OK.into()).await;
        }
    })
    .await;
    let endpoint = endpoint(address);
    assert!(fetch(&endpoint).await.is_ok());
    assert!(fetch_safe(&endpoint).await.is_ok());
    assert_eq!(endpoint.counts().connections_opened, 2);
}

#[tokio::test]
async fn a_request_on_a_connection_that_closed_before_it_began_was_not_sent() {
    for unasked in ["", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"] {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut connection = connections::start(near).await.unwrap();
        assert!(connection.is_free());
        far.write_all(unasked.as_bytes()).await.unwrap();
        drop(far);
        let counters = Counters::default();
        let request = Request::new(Full::default());
        let wire = Wire { request, reply_bytes_max: 10, counters: &counters };
        let broken = wire.send(connection).await.err();
        assert_eq!(broken, Some(Broken::Unsent(FaultCode::DepartmentReset)), "{unasked}");
    }
}

#[tokio::test]
async fn a_reply_nobody_asked_for_is_never_the_next_ones() {
    let address = department(|number, mut stream| async move {
        read_request(&mut stream).await.unwrap();
        let reply = if number == 0 { format!("{OK}{}", OK.replace("hi", "no")) } else { OK.into() };
        stream.write_all(reply.as_bytes()).await.unwrap();
        answer(stream, OK.into()).await;
    })
    .await;
    let endpoint = endpoint(address);
    for _ in 0..2 {
        assert_eq!(fetch(&endpoint).await.map(|reply| reply.body), Ok(b"hi".to_vec()));
    }
    assert_eq!(endpoint.counts().connections_opened, 2);
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let address = department(move |_, stream| {
        let sender = sender.clone();
        async move {
            answer(stream, OK.into()).await;
            let _ = sender.send(());
        }
    })
    .await;
    let endpoint = endpoint_with(address, "idle_s_max = 5");
    assert!(fetch(&endpoint).await.is_ok());
    // The task that closes idle connections sets its timer. Time stands still only while nothing is
    // read or written.
    tokio::task::yield_now().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
    assert_eq!(tokio::time::timeout(LONG, ends.recv()).await, Ok(Some(())));
    assert_eq!(endpoint.connections.idle_count(), 0);
    assert!(fetch(&endpoint).await.is_ok());
    assert_eq!(endpoint.counts().connections_opened, 2);
}

#[tokio::test]
async fn a_connection_the_department_closed_does_not_stay_open_here() {
    let (sender, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let closing = Arc::new(tokio::sync::Notify::new());
    let close = Arc::clone(&closing);
    let address = department(move |_, mut stream| {
        let (sender, close) = (sender.clone(), Arc::clone(&close));
        async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
            close.notified().await;
            stream.shutdown().await.unwrap();
            // It ends where the other side closes, too.
            let _ = stream.read_to_end(&mut Vec::new()).await;
            let _ = sender.send(());
        }
    })
    .await;
    let endpoint = endpoint(address);
    assert!(fetch(&endpoint).await.is_ok());
    assert_eq!(endpoint.connections.idle_count(), 1);
    closing.notify_one();
    let closed = async {
        while endpoint.connections.idle_count() > 0 {
            endpoint.connections.close_stale();
            tokio::task::yield_now().await;
        }
        ends.recv().await
    };
    assert_eq!(tokio::time::timeout(LONG, closed).await, Ok(Some(())));
}

// ---- TLS -------------------------------------------------------------------------------------

/// An authority's certificate and those of a department and a gateway that it signed, as files.
struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        fs::write(folder.path().join("roots"), authority.pem()).unwrap();
        for name in ["registry.example", "gateway.example"] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            fs::write(folder.path().join(name), certificate.pem()).unwrap();
            secret_file(folder.path(), &format!("{name}.key"), key.serialize_pem().as_bytes());
        }
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn chain(&self, name: &str) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_file_iter(self.file(name)).unwrap().map(Result::unwrap).collect()
    }

    /// A department that lets in only who shows a certificate of the authority.
    async fn department(&self) -> SocketAddr {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.chain("roots").remove(0)).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let key = PrivateKeyDer::from_pem_file(self.file("registry.example.key")).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(self.chain("registry.example"), key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        department(move |_, stream| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream, OK.into()).await;
                }
            }
        })
        .await
    }

    fn settings(&self, roots: &Path, server_name: &str) -> String {
        format!(
            "[tls]\nroots_file = '{}'\nclient_certificate_file = '{}'\nclient_key_file = '{}'\n\
             server_name = '{server_name}'\n",
            roots.display(),
            self.file("gateway.example").display(),
            self.file("gateway.example.key").display(),
        )
    }
}

fn secret_file(folder: &Path, name: &str, text: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[tokio::test]
async fn tls_checks_both_sides() {
    let certificates = Certificates::new();
    let address = certificates.department().await;
    let endpoint = |roots: &Path, name: &str| {
        let settings = settings(&format!("https://{address}"), &certificates.settings(roots, name));
        Endpoint::new(&settings).map_err(|mistakes| mistakes[0].to_string())
    };
    let roots = certificates.file("roots");
    let good = endpoint(&roots, "registry.example").ok().unwrap();
    for _ in 0..2 {
        assert_eq!(fetch(&good).await.map(|reply| reply.body), Ok(b"hi".to_vec()));
    }
    assert_eq!(good.counts().connections_opened, 1);
    let wrong_name = endpoint(&roots, "other.example").ok().unwrap();
    check_fault(fetch(&wrong_name).await, FaultCode::DepartmentUnreachable, true);
    let others = Certificates::new();
    let wrong_roots = endpoint(&others.file("roots"), "registry.example").ok().unwrap();
    check_fault(fetch(&wrong_roots).await, FaultCode::DepartmentUnreachable, true);
}

#[tokio::test]
async fn the_time_to_connect_covers_tls() {
    let certificates = Certificates::new();
    let address = department(|_, mut stream| async move {
        // Reads the greeting and never answers it.
        while stream.read(&mut [0; 1024]).await.is_ok_and(|count| count > 0) {}
    })
    .await;
    let more = certificates.settings(&certificates.file("roots"), "registry.example");
    let more = format!("connect_timeout_ms = 100\ntimeout_ms = 60000\n{more}");
    let settings = settings(&format!("https://{address}"), &more);
    let endpoint = Endpoint::new(&settings).ok().unwrap();
    check_fault(fetch(&endpoint).await, FaultCode::DepartmentUnreachable, true);
    assert_eq!(endpoint.counts().connections_opened, 0);
}

// ---- WS-Security -----------------------------------------------------------------------------

#[tokio::test]
async fn each_attempt_carries_a_token_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let password_file = secret_file(folder.path(), "password", b"secret");
    let (sender, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let address = department(move |number, mut stream| {
        let sender = sender.clone();
        async move {
            let _ = sender.send(read_request(&mut stream).await.unwrap());
            if number > 0 {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let credential = format!(
        "[credential]\nkind = 'ws-security'\nuser = 'gate'\ndigest = true\npassword_file = '{}'",
        password_file.display()
    );
    let endpoint = endpoint_with(address, &credential);
    let start = "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/'><s:Body><a>";
    let end = "</a></s:Body></s:Envelope>";
    let body = vec![literal(start), Chunk::Subject(Escaping::XmlText), literal(end)];
    let request = post("text/xml", body);
    let deadline = Instant::now() + LONG;
    assert!(endpoint.fetch(&request, true, "A&1", deadline, &|| true).await.is_ok());
    let nonce = |request: String| {
        assert!(request.contains("<a>A&amp;1</a>") && request.contains("#PasswordDigest"));
        request.split("#Base64Binary\">").nth(1).unwrap().split('<').next().unwrap().to_owned()
    };
    let first = nonce(requests.recv().await.unwrap());
    let second = nonce(requests.recv().await.unwrap());
    assert_ne!(first, second);
}

// ---- settings --------------------------------------------------------------------------------

#[test]
fn settings_have_defaults_within_their_limits() {
    let settings = settings("http://registry", "");
    assert!(Endpoint::new(&settings).is_ok());
    assert_eq!(settings.reply_bytes_max, 1 << 20);
    assert_eq!(settings.request_bytes_max, 64 << 10);
}

#[test]
fn relative_files_are_below_the_configuration() {
    let resolved = |more: &str| {
        let mut settings = settings("https://registry", more);
        settings.resolve_paths(Path::new("/etc/jumpgate"));
        format!("{:?} {:?}", settings.tls, settings.credential)
    };
    let tls = "tls = { roots_file = 'r', client_certificate_file = 'c', client_key_file = '/k' }\n";
    let basic = "credential = { kind = 'basic', user = 'u', password_file = 'p' }";
    let text = resolved(&format!("{tls}{basic}"));
    for path in ["\"/etc/jumpgate/r\"", "\"/etc/jumpgate/c\"", "\"/k\"", "\"/etc/jumpgate/p\""] {
        assert!(text.contains(path), "{path} in {text}");
    }
    let bearer = resolved("credential = { kind = 'bearer', token_file = 't' }");
    assert!(bearer.contains("\"/etc/jumpgate/t\""));
}

#[test]
fn settings_take_no_unknown_key() {
    let with = |more: &str| {
        let text = format!("base_url = 'http://registry'\nallow = []\n{more}");
        toml::from_str::<EndpointSettings>(&text).map(drop)
    };
    assert!(with("").is_ok());
    for more in [
        "timeout = 5",
        "timeout_ms = '5'",
        "tls = { roots_file = 'r', insecure = true }",
        "credential = { kind = 'basic', user = 'u', password = 'p' }",
        "credential = { kind = 'basic', user = 'u', password_file = 'p', password = 'p' }",
        "credential = { kind = 'ws-security', user = 'u', password_file = 'p' }",
        "credential = { kind = 'none' }",
    ] {
        assert!(with(more).is_err(), "{more}");
    }
    for (rule, is_known) in [
        ("method = 'GET'\npath_prefix = '/'", true),
        ("method = 'GET'\npath_prefix = '/'\nverb = 'x'", false),
        ("method = 'DELETE'\npath_prefix = '/'", false),
    ] {
        let text = format!("base_url = ''\n[[allow]]\n{rule}");
        assert_eq!(toml::from_str::<EndpointSettings>(&text).is_ok(), is_known, "{rule}");
    }
}

#[test]
fn every_mistake_is_told_at_once() {
    let text = "base_url = 'https://registry/../x'\n\
                timeout_ms = 0\nconnect_timeout_ms = 0\nreply_bytes_max = 0\n\
                request_bytes_max = 0\nconnections_idle_max = 1000\nidle_s_max = 0\nallow = []\n\
                [tls]\nroots_file = '/missing/roots'\nclient_key_file = '/missing/key'\n\
                server_name = 'not a name'\n\
                [credential]\nkind = 'bearer'\ntoken_file = '/missing/token'\n";
    let settings: EndpointSettings = toml::from_str(text).unwrap();
    let mistakes = Endpoint::new(&settings).err().unwrap();
    let fields: Vec<&str> = mistakes.iter().map(|mistake| mistake.field.as_str()).collect();
    let expected = [
        "timeout_ms",
        "connect_timeout_ms",
        "reply_bytes_max",
        "request_bytes_max",
        "connections_idle_max",
        "idle_s_max",
        "base_url",
        "tls.server_name",
        "tls.roots_file",
        "tls",
        "credential.token_file",
        "allow",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn tls_settings_and_scheme_agree() {
    let certificates = Certificates::new();
    let fields = |base_url: &str, more: &str| -> Vec<String> {
        let result = Endpoint::new(&settings(base_url, more));
        result.err().unwrap_or_default().into_iter().map(|mistake| mistake.field).collect()
    };
    let good = certificates.settings(&certificates.file("roots"), "registry.example");
    assert_eq!(fields("https://registry", &good), Vec::<String>::new());
    assert_eq!(fields("https://registry", ""), ["tls"]);
    assert_eq!(fields("http://registry", &good), ["tls"]);
    let key = certificates.file("gateway.example.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(fields("https://registry", &good), ["tls.client_key_file"]);
    let other = good.replace("gateway.example.key", "registry.example.key");
    assert_eq!(fields("https://registry", &other), ["tls.client_key_file"]);
    let no_key = good.replace("gateway.example.key", "roots");
    fs::set_permissions(certificates.file("roots"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fields("https://registry", &no_key), ["tls.client_key_file"]);
}
