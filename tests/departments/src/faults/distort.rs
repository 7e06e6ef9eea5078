//! Makes of an ordinary reply the one a fault calls for. Pure: the door carries it out.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use encoding_rs::GB18030;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{HeaderMap, Response, StatusCode};
use serde_json::Value;

use super::{Department, Fault};
use crate::{civil_registry, insurance};

/// How a reply is to be sent.
pub(crate) enum Delivery {
    /// As it is.
    Whole(Response<Bytes>),
    /// After a pause.
    Delayed(Duration, Response<Bytes>),
    /// Once the faults are cleared.
    Held(Response<Bytes>),
    /// In small pieces with pauses between.
    Trickled(Duration, Response<Bytes>),
    /// With white space between the first bytes, which end at the offset, and the rest.
    Padded { response: Response<Bytes>, offset: usize, padding_bytes: u64, is_chunked: bool },
    /// Not as HTTP has it.
    Cut(Cut),
}

/// The last bytes of a connection.
pub(crate) struct Cut {
    pub bytes: Bytes,
    /// True to reset the connection, false to close it.
    pub is_reset: bool,
}

/// The reply a fault makes of an ordinary one.
pub(crate) fn distort(
    fault: &Fault,
    department: Department,
    base_url: &str,
    response: Response<Bytes>,
) -> Delivery {
    let padded = |response: Response<Bytes>, mib: u32, is_chunked| {
        let offset = declaration_end(response.body());
        let padding_bytes = u64::from(mib) * 1024 * 1024;
        Delivery::Padded { response, offset, padding_bytes, is_chunked }
    };
    let response = match fault {
        Fault::Slow { pause } => return Delivery::Delayed(*pause, response),
        Fault::Trickle { pause } => return Delivery::Trickled(*pause, response),
        Fault::Hang => return Delivery::Held(response),
        Fault::Reset => return Delivery::Cut(Cut { bytes: Bytes::new(), is_reset: true }),
        Fault::Close => return Delivery::Cut(Cut { bytes: Bytes::new(), is_reset: false }),
        Fault::ResetMidBody => return Delivery::Cut(half(&response, true)),
        Fault::CloseMidBody => return Delivery::Cut(half(&response, false)),
        Fault::HugeChunked { mib } => return padded(response, *mib, true),
        Fault::HugeLength { mib } => return padded(response, *mib, false),
        Fault::Status { code } => status(*code, base_url),
        Fault::WrongCharset => response.map(|body| gb18030(&body)),
        Fault::Gb18030 => said_to_be_gb18030(response),
        Fault::Truncated => response.map(|body| body.slice(..body.len() / 2)),
        Fault::MismatchedTags => edit(response, mismatched_tags),
        Fault::EntityBomb => edit(response, |xml| with_entity(xml, &bomb())),
        Fault::ExternalEntity => {
            let dtd = format!("<!ENTITY x SYSTEM \"{base_url}/entity\">");
            edit(response, |xml| with_entity(xml, &dtd))
        }
        Fault::SoapFault => civil_registry::internal_fault(),
        Fault::WrongRoot => edit(response, wrong_root),
        Fault::WrongContentType => typed(response, "text/html; charset=utf-8"),
        Fault::EmptyBody => response.map(|_| Bytes::new()),
        Fault::MissingField { name } => match department {
            Department::CivilRegistry => {
                let name = name.as_deref().unwrap_or("BirthDate");
                edit(response, |xml| without_element(xml, name))
            }
            Department::SocialInsurance => {
                let names = name.as_deref().map_or(vec!["status", "items", "state"], |n| vec![n]);
                json(response, |value| remove_members(value, &names))
            }
        },
        Fault::MalformedJson => edit(response, |text| text.replacen(':', ":,", 1)),
        Fault::WrongTypes => json(response, swap_types),
        Fault::EndlessPages => json(response, endless_pages),
    };
    Delivery::Whole(response)
}

fn status(code: u16, base_url: &str) -> Response<Bytes> {
    // The rule was parsed with 200 to 599, which are all status codes.
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = format!("{status}: the department is not itself today\n");
    let mut response = typed(Response::new(Bytes::from(text)), "text/plain; charset=utf-8");
    *response.status_mut() = status;
    if status.is_redirection()
        && let Ok(location) = HeaderValue::try_from(format!("{base_url}/elsewhere"))
    {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn typed(mut response: Response<Bytes>, content_type: &'static str) -> Response<Bytes> {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The head with the whole length and the first half of the body.
fn half(response: &Response<Bytes>, is_reset: bool) -> Cut {
    let body = response.body();
    let mut bytes = BytesMut::new();
    bytes.extend_from_slice(format!("HTTP/1.1 {}\r\n", response.status()).as_bytes());
    write_headers(&mut bytes, response.headers());
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(&body[..body.len() / 2]);
    Cut { bytes: bytes.freeze(), is_reset }
}

fn write_headers(bytes: &mut BytesMut, headers: &HeaderMap) {
    for (name, value) in headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
}

/// Where white space may begin: behind an XML declaration, before anything else.
fn declaration_end(body: &[u8]) -> usize {
    let end = body.windows(2).position(|pair| pair == b"?>");
    if body.starts_with(b"<?xml") { end.map_or(0, |end| end + 2) } else { 0 }
}

fn edit(response: Response<Bytes>, edit: impl FnOnce(&str) -> String) -> Response<Bytes> {
    response.map(|body| match std::str::from_utf8(&body) {
        Ok(text) => edit(text).into(),
        Err(_) => body,
    })
}

fn gb18030(body: &[u8]) -> Bytes {
    let text = String::from_utf8_lossy(body);
    GB18030.encode(&text).0.into_owned().into()
}

fn said_to_be_gb18030(response: Response<Bytes>) -> Response<Bytes> {
    let declared =
        edit(response, |xml| xml.replacen("encoding=\"UTF-8\"", "encoding=\"GB18030\"", 1));
    typed(declared.map(|body| gb18030(&body)), "text/xml; charset=GB18030")
}

/// The element whose text the XML faults touch: one of a record, or of a reply without one.
fn touched(xml: &str) -> &'static str {
    if xml.contains("</p:FamilyName>") { "p:FamilyName" } else { "p:Code" }
}

fn mismatched_tags(xml: &str) -> String {
    xml.replacen(&format!("</{}>", touched(xml)), "</p:Wrong>", 1)
}

/// A document type with one entity `x`, and a reference to it in the text of an element.
fn with_entity(xml: &str, entities: &str) -> String {
    let (declaration, rest) = xml.split_at(declaration_end(xml.as_bytes()));
    let start = format!("<{}>", touched(xml));
    let rest = rest.replacen(&start, &format!("{start}&x;"), 1);
    format!("{declaration}<!DOCTYPE reply [{entities}]>{rest}")
}

/// Ten to the ninth times three bytes.
fn bomb() -> String {
    let mut entities = "<!ENTITY x0 \"lol\">".to_owned();
    for level in 1..=9 {
        let name = if level == 9 { "x".into() } else { format!("x{level}") };
        let below = format!("&x{};", level - 1).repeat(10);
        entities.push_str(&format!("<!ENTITY {name} \"{below}\">"));
    }
    entities
}

fn wrong_root(xml: &str) -> String {
    let inside = xml
        .split_once("<soapenv:Body>")
        .and_then(|(_, rest)| rest.split_once("</soapenv:Body>"))
        .map_or("", |(inside, _)| inside);
    format!("<p:Reply xmlns:p=\"urn:civil-registry:person:2\">{inside}</p:Reply>")
}

fn without_element(xml: &str, name: &str) -> String {
    let (start, end) = (format!("<p:{name}"), format!("</p:{name}>"));
    let begins = xml
        .match_indices(&start)
        .find(|(at, _)| matches!(xml.as_bytes().get(at + start.len()), Some(b'>' | b'/' | b' ')));
    let Some((from, _)) = begins else { return xml.into() };
    let is_empty = xml[from..].find('>').is_some_and(|at| xml[from..][..at].ends_with('/'));
    let stop = if is_empty { ">" } else { end.as_str() };
    let to = xml[from..].find(stop).map_or(xml.len(), |at| from + at + stop.len());
    format!("{}{}", &xml[..from], &xml[to..])
}

fn json(response: Response<Bytes>, edit: impl FnOnce(&mut Value)) -> Response<Bytes> {
    response.map(|body| match serde_json::from_slice(&body) {
        Ok(mut value) => {
            edit(&mut value);
            value.to_string().into()
        }
        Err(_) => body,
    })
}

fn remove_members(value: &mut Value, names: &[&str]) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !names.contains(&name.as_str()));
            members.values_mut().for_each(|member| remove_members(member, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| remove_members(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn swap_types(value: &mut Value) {
    match value {
        Value::Object(members) => members.values_mut().for_each(swap_types),
        Value::Array(_) => *value = Value::Object(serde_json::Map::new()),
        Value::Number(number) => *value = Value::String(number.to_string()),
        Value::String(_) => *value = Value::from(7),
        Value::Null | Value::Bool(_) => {}
    }
}

fn endless_pages(value: &mut Value) {
    let Some(size) = value.get("size").and_then(Value::as_u64) else { return };
    let page = value.get("page").and_then(Value::as_u64).unwrap_or(1);
    let employer = insurance::employers().swap_remove(0).uscc;
    let month = |index: u64| {
        // One month more for each item, back from December 2999, so that no month comes twice.
        let months = (2999 * 12 + 11) - ((page - 1) * size + index) % (2000 * 12);
        serde_json::json!({
            "month": format!("{:04}-{:02}", months / 12, months % 12 + 1),
            "state": "refunded",
            "base_fen": 1_080_000,
            "employer_uscc": employer,
        })
    };
    value["pages"] = Value::from(page + 1);
    value["total"] = Value::from((page + 1) * size);
    value["items"] = (0..size).map(month).collect();
}
