//! The control listener: sets and clears faults and reads the counters from outside the process.
//! It binds loopback and asks nobody who they are; for demonstrations and tests alone.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::door::{Answer, Desk, Door};
use crate::faults::{Department, Fault, FaultRule};
use crate::server::Observed;

/// A running control listener; it stops when it is dropped.
#[derive(Debug)]
pub struct Control {
    pub(crate) door: Door,
}

impl Control {
    /// `http://127.0.0.1:PORT`; no slash at the end.
    pub fn base_url(&self) -> &str {
        &self.door.base_url
    }
}

/// The desk.
pub(crate) struct ControlDesk {
    /// In the order of [`Department::ALL`].
    pub servers: [Observed; 2],
}

impl ControlDesk {
    fn server(&self, name: &str) -> Result<&Observed, Wrong> {
        let index = Department::ALL.iter().position(|department| department.as_str() == name);
        index.map(|index| &self.servers[index]).ok_or_else(|| {
            Wrong(
                StatusCode::NOT_FOUND,
                "the servers are civil-registry and social-insurance".into(),
            )
        })
    }

    fn set(&self, body: &[u8]) -> Result<Response<Bytes>, Wrong> {
        let order: Order = serde_json::from_slice(body).map_err(bad)?;
        let fault: Fault = order.fault.parse().map_err(bad)?;
        let rule = FaultRule { fault, requests: order.requests, identifier: order.identifier };
        self.server(&order.server)?.faults.set(rule).map_err(bad)?;
        Ok(done())
    }

    fn clear(&self, name: Option<&str>) -> Result<Response<Bytes>, Wrong> {
        match name {
            Some(name) => self.server(name)?.faults.clear(),
            None => self.servers.iter().for_each(|server| server.faults.clear()),
        }
        Ok(done())
    }

    fn requests(&self) -> Response<Bytes> {
        let [civil_registry, social_insurance] = self.servers.each_ref().map(|server| {
            let read = server.counters.read();
            RequestsView {
                count: read.count,
                in_flight: read.in_flight,
                in_flight_peak: read.in_flight_peak,
                connections: read.connections,
            }
        });
        json(StatusCode::OK, &AllRequests { civil_registry, social_insurance })
    }
}

impl Desk for ControlDesk {
    fn answer(&self, request: &Request<Bytes>) -> Answer {
        let path = request.uri().path();
        let reply = match path.strip_prefix("/faults").map(|rest| rest.strip_prefix('/')) {
            Some(None) if path == "/faults" && *request.method() == Method::POST => {
                self.set(request.body())
            }
            Some(None) if path == "/faults" && *request.method() == Method::DELETE => {
                self.clear(None)
            }
            Some(Some(name)) if *request.method() == Method::DELETE => self.clear(Some(name)),
            _ if path == "/requests" && *request.method() == Method::GET => Ok(self.requests()),
            _ => Err(Wrong(
                StatusCode::NOT_FOUND,
                "POST /faults, DELETE /faults, DELETE /faults/SERVER or GET /requests".into(),
            )),
        };
        Answer::aside(reply.unwrap_or_else(|Wrong(status, message)| {
            json(status, &Complaint { message: &message })
        }))
    }
}

/// A control request that is not done: its status, and what would be accepted.
struct Wrong(StatusCode, String);

fn bad(cause: impl std::error::Error) -> Wrong {
    Wrong(StatusCode::BAD_REQUEST, cause.to_string())
}

fn done() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Bytes> {
    let body = serde_json::to_vec(body)
        .expect("structs with text keys and numbers always serialise to memory");
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// `POST /faults`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    server: String,
    fault: String,
    #[serde(default)]
    requests: Option<u32>,
    #[serde(default)]
    identifier: Option<String>,
}

#[derive(Serialize)]
struct AllRequests {
    civil_registry: RequestsView,
    social_insurance: RequestsView,
}

#[derive(Serialize)]
struct RequestsView {
    count: u64,
    in_flight: u64,
    in_flight_peak: u64,
    connections: u64,
}

#[derive(Serialize)]
struct Complaint<'a> {
    message: &'a str,
}
