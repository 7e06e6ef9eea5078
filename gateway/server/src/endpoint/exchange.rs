//! One request on one connection, and its whole reply. Knows what went wrong and whether the
//! request can have had an effect; never what the reply means.

use std::error::Error;
use std::io;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, TRANSFER_ENCODING};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use jumpgate_catalogue::{Fault, FaultCode};
use jumpgate_runtime::contract::HttpReply;

use super::Counters;
use super::connections::Connection;

/// A request that got no reply, by what can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// Not one byte of it was sent, so a repeat does no harm.
    Unsent(FaultCode),
    /// The connection broke after some of it may have been sent. A repeat may help.
    Lost(FaultCode),
    /// It was sent. A repeat would bring the same or make it worse.
    Final(FaultCode),
}

impl Broken {
    /// True if the same request may be made again at once.
    pub(super) fn may_be_repeated(self, safe_to_retry: bool) -> bool {
        match self {
            Self::Unsent(_) => true,
            Self::Lost(_) => safe_to_retry,
            Self::Final(_) => false,
        }
    }

    /// The fault to report.
    pub(super) fn fault(self, safe_to_retry: bool) -> Fault {
        match self {
            Self::Unsent(code) => Fault::before_effect(code),
            Self::Lost(code) | Self::Final(code) => Fault { code, retry_is_safe: safe_to_retry },
        }
    }
}

/// A request about to be sent.
pub(super) struct Wire<'e> {
    pub(super) request: Request<Full<Bytes>>,
    pub(super) reply_bytes_max: usize,
    pub(super) counters: &'e Counters,
}

impl Wire<'_> {
    /// Sends the request and reads the reply to its end. The connection comes back only if it can
    /// carry another request; otherwise it is closed.
    pub(super) async fn send(
        self,
        mut connection: Connection,
    ) -> Result<(Connection, HttpReply), Broken> {
        let sent_bytes = self.request.body().size_hint().lower();
        self.counters.sent_bytes.fetch_add(sent_bytes, Ordering::Relaxed);
        let Connection { sender, traffic, .. } = &mut connection;
        let sent = traffic.during(sender.try_send_request(self.request)).await;
        let response = sent.map_err(|mut error| match error.take_message() {
            // The request comes back: the connection was closed before it was begun.
            Some(_) => Broken::Unsent(FaultCode::DepartmentReset),
            None => broken_by(&error.into_error()),
        })?;
        let reply = read(response, self.reply_bytes_max, self.counters);
        let reply = traffic.during(reply).await?;
        Ok((connection, reply))
    }
}

async fn read(
    response: Response<Incoming>,
    bytes_max: usize,
    counters: &Counters,
) -> Result<HttpReply, Broken> {
    let (head, mut incoming) = response.into_parts();
    let status = head.status.as_u16();
    match status {
        200..300 | 400..600 => {}
        300..400 => return Err(Broken::Final(FaultCode::DepartmentRedirected)),
        _ => return Err(Broken::Final(FaultCode::ReplyMalformed)),
    }
    // Neither was asked for, and neither is undone.
    let is_encoded = is_other_than(&head.headers, CONTENT_ENCODING, "identity")
        || is_other_than(&head.headers, TRANSFER_ENCODING, "chunked");
    if is_encoded {
        return Err(Broken::Final(FaultCode::ReplyMalformed));
    }
    let announced = usize::try_from(incoming.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max {
        return Err(Broken::Final(FaultCode::ReplyTooLarge));
    }
    let mut body = Vec::with_capacity(announced);
    while let Some(frame) = incoming.frame().await {
        // Trailers are read past.
        let Ok(data) = frame.map_err(|error| broken_by(&error))?.into_data() else { continue };
        counters.received_bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        if data.len() > bytes_max - body.len() {
            return Err(Broken::Final(FaultCode::ReplyTooLarge));
        }
        body.extend_from_slice(&data);
    }
    let content_type = head.headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let content_type = String::from_utf8_lossy(content_type.unwrap_or_default()).into_owned();
    Ok(HttpReply { status, content_type, body })
}

fn is_other_than(headers: &HeaderMap, name: HeaderName, expected: &str) -> bool {
    let mut values = headers.get_all(name).iter();
    values.any(|value| !value.as_bytes().eq_ignore_ascii_case(expected.as_bytes()))
}

/// Sorts what hyper says of a request that was begun.
fn broken_by(error: &hyper::Error) -> Broken {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    // The kinds hyper's chunk decoder uses for chunks that are none.
    let is_bad_chunk = cause.is_some_and(|cause| {
        matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
    });
    if error.is_parse_too_large() {
        Broken::Final(FaultCode::ReplyTooLarge)
    } else if error.is_parse() || is_bad_chunk {
        Broken::Final(FaultCode::ReplyMalformed)
    } else {
        Broken::Lost(FaultCode::DepartmentReset)
    }
}
