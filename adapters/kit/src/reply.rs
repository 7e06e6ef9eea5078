//! Replies as an author reads them.
//!
//! Owns status, media type and character encoding; XML is [`crate::xml`]'s, JSON is serde's. A
//! failure made here says which reply and which byte, and holds nothing of the reply.

use std::borrow::Cow;
use std::cell::OnceCell;

use encoding_rs::{DecoderResult, GB18030};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::bindings::exports::jumpgate::adapter::adapter as wit;
use crate::{Document, Failure, FailureCode, Position};

/// The replies of one step, in the order of its requests.
#[derive(Debug)]
pub struct Replies(Vec<Reply>);

impl Replies {
    pub(crate) fn new(replies: Vec<wit::Reply>) -> Result<Self, Failure> {
        let numbered = (0..).zip(replies);
        let replies: Result<_, _> =
            numbered.map(|(index, reply)| Reply::new(index, reply)).collect();
        replies.map(Self)
    }

    /// The reply, where exactly one request was made.
    ///
    /// # Errors
    /// `unsupported-query` if there is not exactly one.
    pub fn only(&self) -> Result<&Reply, Failure> {
        match &*self.0 {
            [reply] => Ok(reply),
            _ => Err(Failure::unsupported_query()),
        }
    }

    /// All replies.
    pub fn all(&self) -> &[Reply] {
        &self.0
    }
}

/// An HTTP reply.
#[derive(Debug)]
pub struct Reply {
    index: u32,
    http: wit::HttpReply,
    /// The body in UTF-8, where the department sent another encoding.
    converted: OnceCell<String>,
}

impl Reply {
    fn new(index: u32, reply: wit::Reply) -> Result<Self, Failure> {
        match reply {
            wit::Reply::Http(http) => Ok(Self { index, http, converted: OnceCell::new() }),
            wit::Reply::Sql(_) => Err(Failure::unsupported_query()),
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.http.status
    }

    /// The reply itself, if its status is 200.
    ///
    /// # Errors
    /// `department-denied` at 401 and 403, `department-error` at 500 and above, otherwise
    /// `unexpected-status`.
    pub fn ok(&self) -> Result<&Self, Failure> {
        match self.http.status {
            200 => Ok(self),
            401 | 403 => Err(self.failure(FailureCode::DepartmentDenied)),
            500.. => Err(self.failure(FailureCode::DepartmentError)),
            _ => Err(self.failure(FailureCode::UnexpectedStatus)),
        }
    }

    /// The body as an XML document without a document type.
    ///
    /// # Errors
    /// `unexpected-reply` for another media type, `malformed-reply` for what is not well formed,
    /// `reply-too-large` beyond the limits of [`Document`].
    pub fn xml(&self) -> Result<Document<'_>, Failure> {
        self.check_media_type("xml")?;
        Document::parse(self, self.text()?)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// `unexpected-reply` for another media type or JSON that is no `T`, `malformed-reply` for what
    /// is not JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        self.check_media_type("json")?;
        let text = self.text()?;
        serde_json::from_str(text).map_err(|error| {
            let code = match error.classify() {
                Category::Data => FailureCode::UnexpectedReply,
                Category::Syntax | Category::Eof | Category::Io => FailureCode::MalformedReply,
            };
            let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
            let line_start: usize = lines.map(str::len).sum();
            self.failure_at(code, line_start + error.column().saturating_sub(1))
        })
    }

    /// The body as text, without a byte order mark.
    ///
    /// The encoding is the byte order mark's, else the media type's `charset`, else the XML
    /// declaration's (RFC 7303, section 3), else UTF-8. Known are UTF-8 and GB 18030 with its
    /// subsets GBK and GB 2312.
    ///
    /// # Errors
    /// `malformed-reply` for an unknown encoding or bytes that it does not allow.
    pub fn text(&self) -> Result<&str, Failure> {
        match self.charset() {
            Some(Charset::Utf8) => std::str::from_utf8(self.unmarked())
                .map_err(|error| self.failure_at(FailureCode::MalformedReply, error.valid_up_to())),
            Some(Charset::Gb18030) => match self.converted.get() {
                Some(text) => Ok(text),
                None => {
                    let text = self.convert()?;
                    Ok(self.converted.get_or_init(|| text))
                }
            },
            None => Err(self.failure_at(FailureCode::MalformedReply, 0)),
        }
    }

    /// A failure that concerns the whole reply.
    pub fn failure(&self, code: FailureCode) -> Failure {
        Failure { code, reply: self.index, position: Position::None }
    }

    /// A failure at an element or JSON pointer.
    pub(crate) fn failure_on(&self, code: FailureCode, path: String) -> Failure {
        Failure { code, reply: self.index, position: Position::Path(path) }
    }

    /// A failure at an offset of the reply's text.
    pub(crate) fn failure_at(&self, code: FailureCode, text_offset: usize) -> Failure {
        let offset = match self.charset() {
            Some(Charset::Gb18030) => self.gb18030_offset(text_offset),
            Some(Charset::Utf8) | None => self.marks() + text_offset,
        };
        Failure { code, reply: self.index, position: Position::Offset(offset as u64) }
    }

    /// An empty media type is let through: old servers leave it out.
    fn check_media_type(&self, family: &str) -> Result<(), Failure> {
        let essence = self.http.content_type.split(';').next().unwrap_or_default().trim();
        let subtype = essence.rsplit(['/', '+']).next().unwrap_or_default();
        if essence.is_empty() || subtype.eq_ignore_ascii_case(family) {
            Ok(())
        } else {
            Err(self.failure(FailureCode::UnexpectedReply))
        }
    }

    fn charset(&self) -> Option<Charset> {
        if self.marks() > 0 {
            return Some(Charset::Utf8);
        }
        match charset_parameter(&self.http.content_type) {
            Some(label) => Charset::from_label(label),
            None => match declared_encoding(&self.http.body) {
                Some(label) => Charset::from_label(&label),
                None => Some(Charset::Utf8),
            },
        }
    }

    /// Bytes of the byte order mark.
    fn marks(&self) -> usize {
        if self.http.body.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 }
    }

    fn unmarked(&self) -> &[u8] {
        &self.http.body[self.marks()..]
    }

    fn convert(&self) -> Result<String, Failure> {
        let mut decoder = GB18030.new_decoder_without_bom_handling();
        let mut rest = &*self.http.body;
        // Two bytes of a Chinese character become three.
        let mut text = String::with_capacity(rest.len() / 2 * 3 + 16);
        loop {
            let (result, read) =
                decoder.decode_to_string_without_replacement(rest, &mut text, true);
            rest = &rest[read..];
            match result {
                DecoderResult::InputEmpty => return Ok(text),
                DecoderResult::OutputFull => text.reserve(rest.len() * 3 + 16),
                DecoderResult::Malformed(..) => {
                    return Err(self.failure_at(FailureCode::MalformedReply, text.len()));
                }
            }
        }
    }

    /// The body's offset that became `text_offset` of the text. Reads the body again, byte by byte:
    /// only a failure asks for it.
    fn gb18030_offset(&self, text_offset: usize) -> usize {
        let mut decoder = GB18030.new_decoder_without_bom_handling();
        // One byte of input completes at most one character and one byte left over from before.
        let mut character = [0; 16];
        let (mut written, mut whole) = (0, 0);
        for (offset, byte) in self.http.body.iter().enumerate() {
            if written >= text_offset {
                return whole;
            }
            let (_, _, bytes) =
                decoder.decode_to_utf8_without_replacement(&[*byte], &mut character, false);
            if bytes > 0 {
                (written, whole) = (written + bytes, offset + 1);
            }
        }
        whole
    }
}

#[derive(Debug, Clone, Copy)]
enum Charset {
    Utf8,
    Gb18030,
}

impl Charset {
    /// GBK and GB 2312 are read as GB 18030, which contains both (WHATWG Encoding, section 4.2).
    fn from_label(label: &str) -> Option<Self> {
        const GB_LABELS: [&str; 6] = ["gb18030", "gbk", "gb2312", "gb_2312-80", "x-gbk", "cp936"];
        let is = |known: &str| label.eq_ignore_ascii_case(known);
        if ["utf-8", "utf8", "us-ascii"].into_iter().any(is) {
            Some(Self::Utf8)
        } else {
            GB_LABELS.into_iter().any(is).then_some(Self::Gb18030)
        }
    }
}

/// The `charset` parameter of a media type (RFC 9110, section 8.3.1).
fn charset_parameter(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

/// The encoding of an XML declaration (XML 1.0, section 2.8), which is ASCII in every encoding
/// known here.
fn declared_encoding(body: &[u8]) -> Option<Cow<'_, str>> {
    /// A declaration with all three of its parts and room for spaces.
    const DECLARATION_BYTES_MAX: usize = 256;
    if !body.starts_with(b"<?xml") {
        return None;
    }
    let head = &body[..body.len().min(DECLARATION_BYTES_MAX)];
    let end = head.windows(2).position(|pair| pair == b"?>")?;
    let at = head[..end].windows(8).position(|word| word == b"encoding")?;
    let value = head[at + 8..end].trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let (quote, value) = value.split_first()?;
    let length = value.iter().position(|byte| byte == quote)?;
    Some(String::from_utf8_lossy(&value[..length]))
}

#[cfg(test)]
mod tests;
