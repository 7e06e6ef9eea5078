//! Requests as an author writes them: literal text with a hole for the subject.
//!
//! Owns the choice of escaping, which follows from the place: the author never names one. It never
//! holds a subject identifier and never an address; the gateway has both.

use crate::bindings::exports::jumpgate::adapter::adapter as wit;
use crate::{Escaping, escape};

/// One request to an endpoint of the manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    endpoint: String,
    safe_to_retry: bool,
    http: wit::HttpRequest,
}

impl Request {
    /// A GET; making it twice does no harm (RFC 9110, section 9.2.1).
    pub fn get(endpoint: &str, path: impl Into<Path>) -> Self {
        Self::new(endpoint, wit::Method::Get, path.into(), Chunks::default()).safe_to_retry()
    }

    /// A POST of a JSON object.
    pub fn post_json(endpoint: &str, path: impl Into<Path>, body: JsonObject) -> Self {
        Self::new(endpoint, wit::Method::Post, path.into(), body.finish())
            .header("content-type", "application/json")
    }

    /// A POST of an HTML form.
    pub fn post_form(endpoint: &str, path: impl Into<Path>, body: Form) -> Self {
        Self::new(endpoint, wit::Method::Post, path.into(), body.0)
            .header("content-type", "application/x-www-form-urlencoded")
    }

    /// A POST of an XML document whose bytes another builder made.
    pub(crate) fn post_xml(endpoint: &str, path: Path, body: Chunks) -> Self {
        Self::new(endpoint, wit::Method::Post, path, body)
            .header("content-type", "text/xml; charset=utf-8")
    }

    /// Says which media type the reply should have.
    pub fn accept(self, media_type: &str) -> Self {
        self.header("accept", media_type)
    }

    /// Promises that making the request twice does no harm at the department.
    pub fn safe_to_retry(self) -> Self {
        Self { safe_to_retry: true, ..self }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let value = vec![wit::Chunk::Literal(value.into())];
        self.http.headers.push(wit::Header { name: name.into(), value });
        self
    }

    pub(crate) fn into_item(self) -> wit::FetchItem {
        wit::FetchItem {
            endpoint: self.endpoint,
            safe_to_retry: self.safe_to_retry,
            request: wit::Request::Http(self.http),
        }
    }

    fn new(endpoint: &str, method: wit::Method, path: Path, body: Chunks) -> Self {
        let (path, body) = (path.0.0, body.0);
        let http = wit::HttpRequest { method, path, headers: Vec::new(), body };
        Self { endpoint: endpoint.into(), safe_to_retry: false, http }
    }
}

/// What is appended to the endpoint's base address, the query part included.
#[derive(Debug, Clone, PartialEq)]
pub struct Path(Chunks);

impl Path {
    /// Begins with text that stands as it is; its first character must be `/`.
    pub fn new(text: &str) -> Self {
        Self(Chunks::default()).then(text)
    }

    /// Text that stands as it is.
    pub fn then(mut self, text: &str) -> Self {
        self.0.literal(text);
        self
    }

    /// A path segment or query value, escaped.
    pub fn value(mut self, text: &str) -> Self {
        self.0.escaped(text, escape::url_component);
        self
    }

    /// The subject identifier, as a path segment or query value.
    pub fn subject(mut self) -> Self {
        self.0.subject(Escaping::UrlComponent);
        self
    }
}

impl From<&str> for Path {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// The body of a POST of JSON.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JsonObject(Chunks);

impl JsonObject {
    /// An object without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// A member that is a string.
    pub fn text(self, name: &str, value: &str) -> Self {
        self.member(name, |out| {
            out.literal("\"");
            out.escaped(value, escape::json_string);
            out.literal("\"");
        })
    }

    /// A member that is a number.
    pub fn integer(self, name: &str, value: i64) -> Self {
        self.member(name, |out| out.literal(&value.to_string()))
    }

    /// A member that is the subject identifier, a string.
    pub fn subject(self, name: &str) -> Self {
        self.member(name, |out| {
            out.literal("\"");
            out.subject(Escaping::JsonString);
            out.literal("\"");
        })
    }

    /// A member that is an object.
    pub fn object(self, name: &str, value: JsonObject) -> Self {
        self.member(name, |out| out.append(value.finish()))
    }

    fn member(mut self, name: &str, write: impl FnOnce(&mut Chunks)) -> Self {
        self.0.literal(if self.0.0.is_empty() { "{\"" } else { ",\"" });
        self.0.escaped(name, escape::json_string);
        self.0.literal("\":");
        write(&mut self.0);
        self
    }

    fn finish(mut self) -> Chunks {
        self.0.literal(if self.0.0.is_empty() { "{}" } else { "}" });
        self.0
    }
}

/// The body of a POST of an HTML form.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Form(Chunks);

impl Form {
    /// A form without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// A field.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        self.0.escaped(value, escape::form);
        self
    }

    /// A field that is the subject identifier.
    pub fn subject(mut self, name: &str) -> Self {
        self.name(name);
        self.0.subject(Escaping::Form);
        self
    }

    fn name(&mut self, name: &str) {
        if !self.0.0.is_empty() {
            self.0.literal("&");
        }
        self.0.escaped(name, escape::form);
        self.0.literal("=");
    }
}

/// Pieces of a path or body; neighbouring literal pieces are one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Chunks(Vec<wit::Chunk>);

impl Chunks {
    pub(crate) fn literal(&mut self, text: &str) {
        self.tail().extend(text.bytes());
    }

    pub(crate) fn escaped(&mut self, text: &str, escape: fn(&str, &mut Vec<u8>)) {
        escape(text, self.tail());
    }

    pub(crate) fn subject(&mut self, escaping: Escaping) {
        self.0.push(wit::Chunk::Subject(escaping));
    }

    fn append(&mut self, other: Chunks) {
        for chunk in other.0 {
            match chunk {
                wit::Chunk::Literal(bytes) => self.tail().extend(bytes),
                wit::Chunk::Subject(escaping) => self.subject(escaping),
            }
        }
    }

    /// The literal at the end, to write to.
    fn tail(&mut self) -> &mut Vec<u8> {
        if !matches!(self.0.last(), Some(wit::Chunk::Literal(_))) {
            self.0.push(wit::Chunk::Literal(Vec::new()));
        }
        match self.0.last_mut() {
            Some(wit::Chunk::Literal(bytes)) => bytes,
            Some(wit::Chunk::Subject(_)) | None => unreachable!("a literal was pushed above"),
        }
    }
}

#[cfg(test)]
mod tests;
