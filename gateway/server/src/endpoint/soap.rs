//! Reads the outline of a SOAP envelope an adapter wants sent: its body root, the actions it names
//! and where a security token goes. Pure. It accepts only what every SOAP stack reads the same way
//! (SOAP 1.1, SOAP 1.2, WS-I Basic Profile 1.1): UTF-8, no document type, no processing
//! instruction, one element in the Body. It never changes the envelope.

use std::ops::Range;
use std::str;

use quick_xml::NsReader;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use quick_xml::name::{Namespace, QName, ResolveResult};

/// What an envelope consists of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outline<'b> {
    /// Namespace and local name of the Body's only child.
    pub(super) body_root: (String, &'b str),
    /// The text of the Header's `Action`, where WS-Addressing names the SOAP action.
    pub(super) action: Option<&'b str>,
    /// Where a security token goes.
    pub(super) token_place: TokenPlace,
}

/// Where in the envelope's bytes the first child of its Header goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenPlace {
    /// Namespace of the envelope.
    pub(super) soap: &'static str,
    pub(super) header: HeaderPlace,
}

/// The Header as it stands. Ranges and offsets are of bytes in the envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HeaderPlace {
    /// There is none. It goes to `at`, with the prefix of the envelope, colon included.
    Absent { at: usize, prefix: Range<usize> },
    /// It is an empty element, whose `/>` is at `at`.
    Empty { at: usize, name: Range<usize> },
    /// Its start tag ends at `at`.
    Open { at: usize },
}

/// The body is not an envelope the gateway passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotSoap;

/// The outline of `body`.
pub(super) fn outline(body: &[u8]) -> Result<Outline<'_>, NotSoap> {
    let text = str::from_utf8(body).map_err(|_| NotSoap)?;
    // The parser skips a byte order mark, and its offsets would be off by it.
    if text.starts_with('\u{FEFF}') {
        return Err(NotSoap);
    }
    let mut reader = NsReader::from_str(text);
    reader.config_mut().check_comments = true;
    let mut walk = Walk { text, ..Walk::default() };
    loop {
        let start = reader.buffer_position() as usize;
        let event = reader.read_event().map_err(|_| NotSoap)?;
        let span = start..reader.buffer_position() as usize;
        match event {
            Event::Start(tag) => walk.open(&reader, &tag, span, false)?,
            Event::Empty(tag) => {
                walk.open(&reader, &tag, span, true)?;
                walk.close(start)?;
            }
            Event::End(_) => walk.close(start)?,
            Event::Text(_) => walk.text(text.get(span).ok_or(NotSoap)?)?,
            Event::CData(_) => walk.data()?,
            Event::GeneralRef(reference) => walk.reference(&reference)?,
            Event::Comment(_) => walk.comment()?,
            Event::Decl(declaration) if span.start == 0 => declared(&declaration)?,
            Event::Decl(_) | Event::PI(_) | Event::DocType(_) => return Err(NotSoap),
            Event::Eof => return walk.finish(),
        }
    }
}

/// What was read so far.
#[derive(Default)]
struct Walk<'b> {
    text: &'b str,
    /// Elements open now.
    depth: usize,
    section: Section,
    soap: Option<&'static str>,
    header: Option<HeaderPlace>,
    /// Where the text of the Header's `Action` starts, while it is open.
    action_start: Option<usize>,
    action: Option<&'b str>,
    body_root: Option<(String, &'b str)>,
}

/// The part of the envelope the reader is in, in document order.
#[derive(Default, PartialEq, PartialOrd)]
enum Section {
    #[default]
    Before,
    Envelope,
    Header,
    AfterHeader,
    Body,
    AfterBody,
    After,
}

impl<'b> Walk<'b> {
    fn open(
        &mut self,
        reader: &NsReader<&'b [u8]>,
        tag: &BytesStart<'_>,
        span: Range<usize>,
        is_empty: bool,
    ) -> Result<(), NotSoap> {
        self.check_tag(tag)?;
        let name = span.start + 1..span.start + 1 + tag.name().into_inner().len();
        match self.depth {
            0 => self.open_envelope(reader, tag.name(), name, span.end)?,
            1 => {
                // The end tag's `/>` is the last two bytes of an empty element.
                let at = if is_empty { span.end.saturating_sub(2) } else { span.end };
                self.open_section(reader, tag.name(), name, at, is_empty)?;
            }
            2 if self.section == Section::Header => self.open_header_entry(tag.name(), span.end)?,
            2 => self.open_body_root(reader, tag.name(), name)?,
            _ if self.depth >= DEPTH_MAX => return Err(NotSoap),
            _ => {}
        }
        self.depth += 1;
        Ok(())
    }

    /// The parser skips what it cannot read in a tag; the department might not.
    fn check_tag(&self, tag: &BytesStart<'_>) -> Result<(), NotSoap> {
        // An action is text alone.
        if self.action_start.is_some() {
            return Err(NotSoap);
        }
        for (count, attribute) in tag.attributes().enumerate() {
            if attribute.is_err() || count >= ATTRIBUTES_MAX {
                return Err(NotSoap);
            }
        }
        Ok(())
    }

    fn open_envelope(
        &mut self,
        reader: &NsReader<&'b [u8]>,
        qualified: QName<'_>,
        name: Range<usize>,
        end: usize,
    ) -> Result<(), NotSoap> {
        let (namespace, local) = reader.resolver().resolve_element(qualified);
        let soap = SOAP.into_iter().find(|soap| namespace == ResolveResult::Bound(Namespace(soap)));
        if self.section != Section::Before || local.into_inner() != "Envelope" || soap.is_none() {
            return Err(NotSoap);
        }
        let prefix = name.start..name.end - "Envelope".len();
        self.header = Some(HeaderPlace::Absent { at: end, prefix });
        self.soap = soap;
        self.section = Section::Envelope;
        Ok(())
    }

    fn open_section(
        &mut self,
        reader: &NsReader<&'b [u8]>,
        qualified: QName<'_>,
        name: Range<usize>,
        at: usize,
        is_empty: bool,
    ) -> Result<(), NotSoap> {
        let (namespace, local) = reader.resolver().resolve_element(qualified);
        if namespace != ResolveResult::Bound(Namespace(self.soap.ok_or(NotSoap)?)) {
            return Err(NotSoap);
        }
        self.section = match local.into_inner() {
            "Header" if self.section == Section::Envelope => {
                self.header = Some(if is_empty {
                    HeaderPlace::Empty { at, name }
                } else {
                    HeaderPlace::Open { at }
                });
                Section::Header
            }
            "Body" if self.section < Section::Body => Section::Body,
            _ => return Err(NotSoap),
        };
        Ok(())
    }

    /// Header entries are known by their local names alone: to mistake a harmless one costs a
    /// denial, to miss one would cost more.
    fn open_header_entry(&mut self, qualified: QName<'_>, end: usize) -> Result<(), NotSoap> {
        match qualified.local_name().into_inner() {
            // A second token beside the gateway's own.
            "Security" => Err(NotSoap),
            // WS-Addressing: the department would send its reply to an address of the adapter's.
            "ReplyTo" | "FaultTo" => Err(NotSoap),
            "Action" if self.action.is_some() => Err(NotSoap),
            "Action" => {
                self.action_start = Some(end);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn open_body_root(
        &mut self,
        reader: &NsReader<&'b [u8]>,
        qualified: QName<'_>,
        name: Range<usize>,
    ) -> Result<(), NotSoap> {
        let namespace = match reader.resolver().resolve_element(qualified).0 {
            ResolveResult::Bound(namespace) => namespace.into_inner().to_owned(),
            ResolveResult::Unbound => String::new(),
            ResolveResult::Unknown(_) => return Err(NotSoap),
        };
        let local_start = name.end - qualified.local_name().into_inner().len();
        let local = self.text.get(local_start..name.end).ok_or(NotSoap)?;
        match self.body_root.replace((namespace, local)) {
            Some(_) => Err(NotSoap),
            None => Ok(()),
        }
    }

    /// An element ends; its end tag, if it has one, begins at `start`.
    fn close(&mut self, start: usize) -> Result<(), NotSoap> {
        self.depth = self.depth.checked_sub(1).ok_or(NotSoap)?;
        if let Some(action_start) = self.action_start.take() {
            self.action = Some(self.text.get(action_start..start).unwrap_or_default().trim());
        }
        match (self.depth, &self.section) {
            (1, Section::Header) => self.section = Section::AfterHeader,
            (1, _) => self.section = Section::AfterBody,
            (0, _) => self.section = Section::After,
            _ => {}
        }
        Ok(())
    }

    fn text(&self, text: &str) -> Result<(), NotSoap> {
        let is_blank = text.bytes().all(|byte| byte.is_ascii_whitespace());
        if self.depth > 2 || is_blank { Ok(()) } else { Err(NotSoap) }
    }

    fn data(&self) -> Result<(), NotSoap> {
        if self.depth > 2 && self.action_start.is_none() { Ok(()) } else { Err(NotSoap) }
    }

    /// Without a document type there are only the references XML itself defines.
    fn reference(&self, reference: &BytesRef<'_>) -> Result<(), NotSoap> {
        let is_known = match reference.resolve_char_ref() {
            Ok(Some(_)) => true,
            Ok(None) => ["amp", "apos", "gt", "lt", "quot"].contains(&&**reference),
            Err(_) => false,
        };
        if is_known { self.data() } else { Err(NotSoap) }
    }

    fn comment(&self) -> Result<(), NotSoap> {
        if self.action_start.is_none() { Ok(()) } else { Err(NotSoap) }
    }

    fn finish(self) -> Result<Outline<'b>, NotSoap> {
        match (self.section, self.soap, self.header, self.body_root) {
            (Section::After, Some(soap), Some(header), Some(body_root)) => {
                let token_place = TokenPlace { soap, header };
                Ok(Outline { body_root, action: self.action, token_place })
            }
            _ => Err(NotSoap),
        }
    }
}

fn declared(declaration: &BytesDecl<'_>) -> Result<(), NotSoap> {
    let is_utf8 = match declaration.encoding() {
        Some(Ok(encoding)) => encoding.eq_ignore_ascii_case("utf-8"),
        Some(Err(_)) => false,
        None => true,
    };
    let is_xml10 = declaration.version().is_ok_and(|version| version == "1.0");
    if is_utf8 && is_xml10 { Ok(()) } else { Err(NotSoap) }
}

/// The namespaces of SOAP 1.1 and SOAP 1.2 envelopes.
pub(super) const SOAP: [&str; 2] =
    ["http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope"];

/// Requests are shallow; a deep one is meant to exhaust the department's parser.
const DEPTH_MAX: usize = 64;
/// Telling attributes apart costs the square of their number.
const ATTRIBUTES_MAX: usize = 64;

#[cfg(test)]
mod tests;
