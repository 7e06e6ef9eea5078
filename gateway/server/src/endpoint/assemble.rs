//! Puts a request together from an adapter's chunks and the subject identifier, each insertion
//! escaped for its place. Pure. An insertion whose escaping does not fit its place is denied, so
//! that an identifier can never end the string, element or parameter it stands in.

use std::str;

use bytes::Bytes;
use http::header::HeaderValue;
use jumpgate_catalogue::FaultCode;
use jumpgate_runtime::contract::{self, Chunk, Escaping, HttpRequest};
use zeroize::Zeroizing;

use super::content_type::{ContentType, Format};
use super::settings::{Method, REQUEST_BYTES_MAX};

/// A request as it would be sent to an endpoint without a base path, for tools that compare it with
/// a recorded one.
pub struct PlainRequest {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// The adapter's headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why a request is not made. The text names the rule, never the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    #[error("path, header values and body together are larger than request_bytes_max")]
    TooLarge,
    #[error("the subject is inserted with an escaping that does not fit its place")]
    EscapingUnfit,
    #[error("the subject holds a control character, which XML cannot carry")]
    SubjectUnprintable,
    #[error("the path is not absolute and plain (no dot segment, empty segment, encoded . / \\ %)")]
    PathNotPlain,
    #[error("a header other than content-type, accept, accept-language, soapaction, in lower case")]
    HeaderNotAllowed,
    #[error("a header is set twice")]
    HeaderTwice,
    #[error("a header value holds other than printable ASCII")]
    HeaderValueMalformed,
    #[error("the content-type is malformed or ambiguous")]
    ContentTypeMalformed,
    #[error("a GET has a body")]
    BodyWithGet,
    #[error("a body has no content-type")]
    BodyUntyped,
    #[error("an XML body declares a document type, or is in UTF-16")]
    DocumentType,
    #[error("the body is not a plain SOAP envelope in UTF-8 with one element in its Body")]
    NotSoap,
    #[error("no entry of the allow-list fits method, path, SOAP action and body root")]
    NotAllowed,
}

/// A whole request that nobody has permitted yet.
pub(super) struct Assembled {
    pub(super) method: Method,
    /// The base URL's path, then the adapter's path and query.
    pub(super) target: Bytes,
    /// Where in `target` the adapter's part begins.
    pub(super) path_start: usize,
    pub(super) headers: Headers,
    pub(super) format: Option<Format>,
    pub(super) body: Bytes,
}

/// The headers an adapter may set.
#[derive(Default)]
pub(super) struct Headers {
    pub(super) content_type: Option<HeaderValue>,
    pub(super) accept: Option<HeaderValue>,
    pub(super) accept_language: Option<HeaderValue>,
    pub(super) soap_action: Option<HeaderValue>,
}

/// Assembles `request`, whose path, header values and body may have `bytes_max` bytes together.
pub(super) fn assemble(
    request: &HttpRequest,
    subject: &str,
    base_path: &str,
    bytes_max: usize,
) -> Result<Assembled, Denied> {
    let mut writer = Writer { subject, bytes_left: bytes_max };
    let target = writer.target(base_path, &request.path)?;
    let headers = writer.headers(&request.headers)?;
    let content_type = match headers.content_type.as_ref().map(text_of) {
        Some(text) => Some(ContentType::parse(text).ok_or(Denied::ContentTypeMalformed)?),
        None => None,
    };
    let format = content_type.map(|content_type| content_type.format);
    let method = Method::from(request.method);
    let body = match (format, method) {
        _ if request.body.is_empty() => Bytes::new(),
        (_, Method::Get) => return Err(Denied::BodyWithGet),
        (None, Method::Post) => return Err(Denied::BodyUntyped),
        (Some(format), Method::Post) => {
            let body = Zeroizing::new(writer.part(Place::Body(format), &request.body, b"")?);
            // The gateway's copy is wiped when the last of it is sent.
            Bytes::from_owner(body)
        }
    };
    Ok(Assembled { method, target, path_start: base_path.len(), headers, format, body })
}

/// Assembles `request` as `Endpoint::fetch` does before it consults the allow-list.
///
/// # Errors
/// The rule the request breaks, in words that repeat nothing of it.
pub fn assemble_plain(request: &HttpRequest, subject: &str) -> Result<PlainRequest, String> {
    let assembled = assemble(request, subject, "", REQUEST_BYTES_MAX);
    let assembled = assembled.map_err(|denied| denied.to_string())?;
    let named = [
        ("content-type", &assembled.headers.content_type),
        ("accept", &assembled.headers.accept),
        ("accept-language", &assembled.headers.accept_language),
        ("soapaction", &assembled.headers.soap_action),
    ];
    let header = |(name, value): (&str, &Option<HeaderValue>)| {
        value.as_ref().map(|value| (name.to_owned(), text_of(value).to_owned()))
    };
    Ok(PlainRequest {
        method: assembled.method.as_str(),
        path: String::from_utf8_lossy(&assembled.target).into_owned(),
        headers: named.into_iter().filter_map(header).collect(),
        body: assembled.body.to_vec(),
    })
}

/// The text of a value that `Writer::headers` made.
pub(super) fn text_of(value: &HeaderValue) -> &str {
    value.to_str().expect("values are assembled from printable ASCII only")
}

impl Denied {
    /// The code the fault carries.
    pub(super) fn code(self) -> FaultCode {
        match self {
            Self::TooLarge => FaultCode::AdapterOutputTooLarge,
            Self::EscapingUnfit
            | Self::SubjectUnprintable
            | Self::PathNotPlain
            | Self::HeaderNotAllowed
            | Self::HeaderTwice
            | Self::HeaderValueMalformed
            | Self::ContentTypeMalformed
            | Self::BodyWithGet
            | Self::BodyUntyped
            | Self::DocumentType
            | Self::NotSoap
            | Self::NotAllowed => FaultCode::AdapterRequestDenied,
        }
    }
}

/// Where a chunk stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Path,
    Query,
    Header,
    Body(Format),
}

impl Place {
    /// The escapings that cannot break out of this place. A URL component is safe anywhere: it
    /// consists of letters, digits and `-._~%`.
    fn escapings(self) -> &'static [Escaping] {
        match self {
            Self::Path | Self::Header => &[Escaping::UrlComponent],
            Self::Query | Self::Body(Format::Form) => &[Escaping::UrlComponent, Escaping::Form],
            Self::Body(Format::Json) => &[Escaping::UrlComponent, Escaping::JsonString],
            Self::Body(Format::Xml) => &[Escaping::UrlComponent, Escaping::XmlText],
            // A syntax the gateway does not know; the adapter does.
            Self::Body(Format::Other) => &[
                Escaping::Plain,
                Escaping::XmlText,
                Escaping::JsonString,
                Escaping::UrlComponent,
                Escaping::Form,
            ],
        }
    }
}

/// Writes one part of a request after the other within what is left of its bytes.
struct Writer<'s> {
    subject: &'s str,
    bytes_left: usize,
}

impl Writer<'_> {
    fn target(&mut self, base_path: &str, chunks: &[Chunk]) -> Result<Bytes, Denied> {
        let target = self.part(Place::Path, chunks, base_path.as_bytes())?;
        if plain_path(&target[base_path.len()..]).is_none() {
            return Err(Denied::PathNotPlain);
        }
        Ok(Bytes::from(target))
    }

    fn headers(&mut self, wanted: &[contract::Header]) -> Result<Headers, Denied> {
        let mut headers = Headers::default();
        for contract::Header { name, value: chunks } in wanted {
            let slot = match name.as_str() {
                "content-type" => &mut headers.content_type,
                "accept" => &mut headers.accept,
                "accept-language" => &mut headers.accept_language,
                "soapaction" => &mut headers.soap_action,
                _ => return Err(Denied::HeaderNotAllowed),
            };
            if slot.is_some() {
                return Err(Denied::HeaderTwice);
            }
            let value = self.part(Place::Header, chunks, b"")?;
            // Stricter than HTTP: bytes above ASCII mean something else to each department.
            if !value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
                return Err(Denied::HeaderValueMalformed);
            }
            let value = HeaderValue::from_maybe_shared(Bytes::from(value));
            *slot = Some(value.map_err(|_| Denied::HeaderValueMalformed)?);
        }
        Ok(headers)
    }

    /// The chunks after `start`, in one allocation unless the subject needs much escaping.
    fn part(&mut self, place: Place, chunks: &[Chunk], start: &[u8]) -> Result<Vec<u8>, Denied> {
        let room = |chunk: &Chunk| match chunk {
            Chunk::Literal(bytes) => bytes.len(),
            Chunk::Subject(_) => self.subject.len() * 3,
        };
        let bytes_wanted = chunks.iter().map(room).fold(0, usize::saturating_add);
        let mut out = Vec::with_capacity(start.len() + bytes_wanted.min(self.bytes_left));
        out.extend_from_slice(start);
        let mut place = place;
        for chunk in chunks {
            let length_before = out.len();
            match chunk {
                Chunk::Literal(bytes) if bytes.len() > self.bytes_left => {
                    return Err(Denied::TooLarge);
                }
                Chunk::Literal(bytes) => {
                    out.extend_from_slice(bytes);
                    if place == Place::Path && bytes.contains(&b'?') {
                        place = Place::Query;
                    }
                }
                Chunk::Subject(escaping) if !place.escapings().contains(escaping) => {
                    return Err(Denied::EscapingUnfit);
                }
                Chunk::Subject(escaping) => escape(self.subject, *escaping, &mut out)?,
            }
            let written = out.len() - length_before;
            self.bytes_left = self.bytes_left.checked_sub(written).ok_or(Denied::TooLarge)?;
        }
        Ok(out)
    }
}

/// Appends `subject`, escaped. An identifier has a named limit in the catalogue, so its escaped
/// form is small.
fn escape(subject: &str, escaping: Escaping, out: &mut Vec<u8>) -> Result<(), Denied> {
    match escaping {
        Escaping::Plain => out.extend_from_slice(subject.as_bytes()),
        Escaping::XmlText => return escape_xml(subject, out),
        Escaping::JsonString => escape_json(subject, out),
        Escaping::UrlComponent => {
            for byte in subject.bytes() {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        out.push(byte);
                    }
                    _ => push_percent(byte, out),
                }
            }
        }
        Escaping::Form => {
            for byte in subject.bytes() {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                        out.push(byte);
                    }
                    b' ' => out.push(b'+'),
                    _ => push_percent(byte, out),
                }
            }
        }
    }
    Ok(())
}

/// Appends `text` as XML 1.0 character data that may also stand in an attribute of either quote.
/// Control characters are refused: XML drops some and normalises others, so the department would
/// look for another identifier than the one asked about.
pub(super) fn escape_xml(text: &str, out: &mut Vec<u8>) -> Result<(), Denied> {
    for character in text.chars() {
        match character {
            '&' => out.extend_from_slice(b"&amp;"),
            '<' => out.extend_from_slice(b"&lt;"),
            '>' => out.extend_from_slice(b"&gt;"),
            '"' => out.extend_from_slice(b"&quot;"),
            '\'' => out.extend_from_slice(b"&apos;"),
            '\u{FFFE}' | '\u{FFFF}' => return Err(Denied::SubjectUnprintable),
            _ if character.is_control() => return Err(Denied::SubjectUnprintable),
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Ok(())
}

fn escape_json(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
            }
            _ => out.push(byte),
        }
    }
}

fn push_percent(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'%', hex_digit(byte >> 4), hex_digit(byte & 15)]);
}

fn hex_digit(nibble: u8) -> u8 {
    b"0123456789ABCDEF"[usize::from(nibble & 15)]
}

/// The path of `target`, a path with an optional query, if every department reads it the same way:
/// absolute, RFC 3986 bytes only, and nothing a second decoding or a normalisation would move.
pub(super) fn plain_path(target: &[u8]) -> Option<&str> {
    let end = target.iter().position(|&byte| byte == b'?').unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    let is_plain = |byte: u8| !byte.is_ascii_control() && !b"./\\%".contains(&byte);
    let path_stands = path.first() == Some(&b'/')
        && path.windows(2).all(|pair| pair != b"//")
        && path.split(|&byte| byte == b'/').all(|segment| !is_dot_segment(segment))
        && is_uri_text(path, is_plain);
    // A query's value may hold any byte; only its raw form must be a URI's.
    (path_stands && is_uri_text(query, |_| true)).then(|| str::from_utf8(path).ok()).flatten()
}

/// `.` and `..`, also where a parameter follows (`..;x`), which some servers cut off first.
fn is_dot_segment(segment: &[u8]) -> bool {
    let name = segment.split(|&byte| byte == b';').next().unwrap_or(segment);
    name == b"." || name == b".."
}

/// True if `text` holds only bytes RFC 3986 allows in a path or query and each `%XX` in it stands
/// for a byte that `may_be_encoded`.
fn is_uri_text(text: &[u8], may_be_encoded: impl Fn(u8) -> bool) -> bool {
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%' {
            let mut encoded = [0];
            let Some((digits, after)) = rest.split_at_checked(2) else { return false };
            if hex::decode_to_slice(digits, &mut encoded).is_err() || !may_be_encoded(encoded[0]) {
                return false;
            }
            rest = after;
        } else if !first.is_ascii_alphanumeric() && !b"-._~!$&'()*+,;=:@/?".contains(first) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests;
