//! Builds a [`Document`] from the events of quick-xml, by XML 1.0 and Namespaces in XML 1.0.
//!
//! Owns namespaces, limits, and what quick-xml leaves to its caller: one root, names, characters,
//! entities. A document type is refused, so that a document has no entities of its own to expand
//! and nothing to fetch. One fault passes, as it does in quick-xml: two attributes without white
//! space between them.

use std::borrow::Cow;

use quick_xml::events::attributes::{Attribute, Attributes};
use quick_xml::events::{BytesRef, BytesStart, BytesText, Event};
use quick_xml::{Reader, XmlVersion, escape};

use super::{Document, Node};
use crate::{Failure, FailureCode, Reply};

/// Elements inside each other; a SOAP reply has about ten.
pub(super) const DEPTH_MAX: usize = 64;
/// Elements of a document: about 200 persons of 80 elements. Keeps the tree below 0.8 MiB.
pub(super) const ELEMENTS_MAX: usize = 16_384;
/// Attributes of one element; generated schemas stay below twenty.
pub(super) const ATTRIBUTES_MAX: usize = 64;
/// Namespaces of a document, none and the prefix xml's among them, and declarations in force at one
/// place.
pub(super) const NAMESPACES_MAX: usize = 64;

const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
const XML: &str = "http://www.w3.org/XML/1998/namespace";

pub(super) struct Builder<'t> {
    text: &'t str,
    /// No text of the reply needs a second look: it has no control character that is no white
    /// space, no carriage return and no `]`.
    is_plain: bool,
    /// Where the event begins that is being read.
    start: usize,
    document: Document<'t>,
    /// Elements that are open, outermost first.
    open: Vec<u32>,
    /// Prefixes in force, newest last.
    bindings: Vec<Binding<'t>>,
}

struct Binding<'t> {
    /// Empty for the default namespace.
    prefix: &'t str,
    namespace: u32,
    /// The element that declared it.
    node: u32,
}

impl<'t> Builder<'t> {
    pub(super) fn new(reply: &'t Reply, text: &'t str) -> Self {
        /// An element of a record with its tags and text is seldom shorter.
        const ELEMENT_BYTES_MIN: usize = 24;
        let nodes = Vec::with_capacity((text.len() / ELEMENT_BYTES_MIN + 1).min(ELEMENTS_MAX));
        let document = Document { reply, nodes, namespaces: vec![String::new(), XML.into()] };
        let bindings = vec![Binding { prefix: "xml", namespace: 1, node: 0 }];
        let open = Vec::with_capacity(DEPTH_MAX);
        Self { text, is_plain: is_plain(text), start: 0, document, open, bindings }
    }

    pub(super) fn build(mut self) -> Result<Document<'t>, Failure> {
        // The reply has taken off its byte order mark. The reader would take off a second one
        // without counting it in its positions.
        if self.text.starts_with('\u{FEFF}') {
            return Err(self.malformed());
        }
        let mut reader = Reader::from_str(self.text);
        reader.config_mut().check_comments = true;
        // White space before text or markup is taken here: between the elements of a record it
        // would be every other event.
        reader.config_mut().trim_text_start = true;
        loop {
            self.white_space()?;
            let Ok(event) = reader.read_event() else { return Err(self.malformed()) };
            match event {
                Event::Start(tag) => self.open_element(&tag)?,
                Event::Empty(tag) => {
                    self.open_element(&tag)?;
                    self.close_element();
                }
                // The reader has compared the names.
                Event::End(_) => self.close_element(),
                Event::Text(text) => self.characters(text)?,
                Event::CData(data) => self.cdata(data.xml10_content())?,
                Event::GeneralRef(reference) => self.reference(&reference)?,
                Event::Comment(_) => {}
                // An XML declaration stands at the very beginning or nowhere.
                Event::Decl(_) if self.start == 0 => {}
                Event::PI(instruction) if is_target(instruction.target()) => {}
                Event::PI(_) | Event::Decl(_) | Event::DocType(_) => return Err(self.malformed()),
                Event::Eof if self.open.is_empty() && !self.document.nodes.is_empty() => {
                    return Ok(self.document);
                }
                Event::Eof => return Err(self.malformed()),
            }
            self.start = reader.buffer_position() as usize;
        }
    }

    fn open_element(&mut self, tag: &BytesStart<'t>) -> Result<(), Failure> {
        let is_second_root = self.open.is_empty() && !self.document.nodes.is_empty();
        if is_second_root {
            return Err(self.malformed());
        }
        if self.document.nodes.len() == ELEMENTS_MAX || self.open.len() == DEPTH_MAX {
            return Err(self.too_large());
        }
        // The tag lends its text for no longer than itself, so it is taken from the reply.
        let name_start = self.start + 1;
        let name_end = name_start + tag.name().0.len();
        let attributes = &self.text[name_end..name_start + tag.len()];
        let (prefix, name) =
            split_name(&self.text[name_start..name_end]).ok_or_else(|| self.malformed())?;
        let is_nil = !attributes.is_empty() && self.attributes(attributes)?;
        let namespace = self.resolve(prefix).ok_or_else(|| self.malformed())?;
        let node = self.document.nodes.len() as u32;
        self.document.nodes.push(Node {
            name,
            attributes,
            namespace,
            is_nil,
            text: Cow::Borrowed(""),
            parent: self.open.last().copied().unwrap_or_default(),
            end: 0,
        });
        self.open.push(node);
        Ok(())
    }

    /// Takes the namespace declarations of a tag and says whether it is `xsi:nil`.
    fn attributes(&mut self, written: &'t str) -> Result<bool, Failure> {
        let mut prefixes: Vec<&str> = Vec::new();
        let mut is_nil_by = Vec::new();
        for (count, attribute) in Attributes::new(written, 0).enumerate() {
            let attribute = attribute.map_err(|_| self.malformed())?;
            if count == ATTRIBUTES_MAX {
                return Err(self.too_large());
            }
            let value = value(&attribute).ok_or_else(|| self.malformed())?;
            match split_name(attribute.key.0).ok_or_else(|| self.malformed())? {
                ("", "xmlns") => self.bind("", &value)?,
                ("xmlns", prefix) => self.bind(prefix, &value)?,
                ("", _) => {}
                (prefix, name) => {
                    prefixes.push(prefix);
                    if name == "nil" && matches!(&*value, "true" | "1") {
                        is_nil_by.push(prefix);
                    }
                }
            }
        }
        // A prefix can be declared after its use.
        if prefixes.iter().any(|prefix| self.resolve(prefix).is_none()) {
            return Err(self.malformed());
        }
        let mut nil_namespaces = is_nil_by.iter().filter_map(|prefix| self.resolve(prefix));
        Ok(nil_namespaces.any(|namespace| self.document.namespaces[namespace as usize] == XSI))
    }

    fn close_element(&mut self) {
        let end = self.document.nodes.len() as u32;
        if let Some(node) = self.open.pop() {
            self.document.nodes[node as usize].end = end;
            // The first binding, of the prefix xml, is not the document's.
            while self.bindings.len() > 1 && self.bindings.last().is_some_and(|it| it.node >= node)
            {
                self.bindings.pop();
            }
        }
    }

    /// The white space that the reader is about to skip. At the edges of an element's text it does
    /// not count; within, it does.
    fn white_space(&mut self) -> Result<(), Failure> {
        let rest = &self.text[self.start..];
        let end = rest.bytes().position(|byte| !is_white_space(byte)).unwrap_or(rest.len());
        self.start += end;
        let is_within = self
            .open
            .last()
            .is_some_and(|&node| end > 0 && !self.document.nodes[node as usize].text.is_empty());
        if is_within {
            return self.add_text(BytesText::from_escaped(&rest[..end]).xml10_content());
        }
        Ok(())
    }

    fn characters(&mut self, text: BytesText<'t>) -> Result<(), Failure> {
        if self.is_plain {
            return self.add_text(text.into_inner());
        }
        let forbidden = [text.find("]]>"), text.bytes().position(is_control)];
        if let Some(at) = forbidden.into_iter().flatten().min() {
            self.start += at;
            return Err(self.malformed());
        }
        self.add_text(text.xml10_content())
    }

    fn cdata(&mut self, data: Cow<'t, str>) -> Result<(), Failure> {
        if data.bytes().any(is_control) {
            return Err(self.malformed());
        }
        self.add_text(data)
    }

    fn reference(&mut self, reference: &BytesRef<'t>) -> Result<(), Failure> {
        let text = match reference.resolve_char_ref() {
            Ok(Some(character)) if is_allowed(character) => Cow::Owned(character.to_string()),
            Ok(Some(_)) | Err(_) => return Err(self.malformed()),
            Ok(None) => {
                let known = escape::resolve_xml_entity(reference);
                Cow::Borrowed(known.ok_or_else(|| self.malformed())?)
            }
        };
        self.add_text(text)
    }

    /// Adds to the text of the innermost element. Outside the root there is none.
    fn add_text(&mut self, more: Cow<'t, str>) -> Result<(), Failure> {
        let Some(&node) = self.open.last() else { return Err(self.malformed()) };
        let text = &mut self.document.nodes[node as usize].text;
        if text.is_empty() {
            *text = more;
        } else {
            text.to_mut().push_str(&more);
        }
        Ok(())
    }

    fn bind(&mut self, prefix: &'t str, namespace: &str) -> Result<(), Failure> {
        // Only the default namespace can be taken back, and nothing stands for the two that the
        // specification owns (Namespaces in XML 1.0, sections 2.2 and 3).
        let is_taken_back = namespace.is_empty() && !prefix.is_empty();
        if is_taken_back || matches!(prefix, "xml" | "xmlns") {
            return Err(self.malformed());
        }
        let known = &mut self.document.namespaces;
        let index = known.iter().position(|it| it == namespace).unwrap_or(known.len());
        if index == NAMESPACES_MAX || self.bindings.len() == NAMESPACES_MAX {
            return Err(self.too_large());
        }
        if index == known.len() {
            known.push(namespace.into());
        }
        let node = self.document.nodes.len() as u32;
        self.bindings.push(Binding { prefix, namespace: index as u32, node });
        Ok(())
    }

    /// The namespace in force for a prefix; no prefix and no default namespace is none.
    fn resolve(&self, prefix: &str) -> Option<u32> {
        let bound = self.bindings.iter().rev().find(|it| it.prefix == prefix);
        bound.map(|it| it.namespace).or(prefix.is_empty().then_some(0))
    }

    fn malformed(&self) -> Failure {
        self.document.reply.failure_at(FailureCode::MalformedReply, self.start)
    }

    fn too_large(&self) -> Failure {
        self.document.reply.failure_at(FailureCode::ReplyTooLarge, self.start)
    }
}

/// The value of an attribute: references replaced, each white space a space (XML 1.0, section
/// 3.3.3).
fn value<'t>(attribute: &Attribute<'t>) -> Option<Cow<'t, str>> {
    if classes(&attribute.value) & (SPECIAL | BREAK) == 0 {
        return Some(attribute.value.clone());
    }
    let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?;
    let is_whole = !attribute.value.contains('<') && value.chars().all(is_allowed);
    is_whole.then_some(value)
}

/// Prefix, empty if there is none, and local name. Whether the prefix is a name shows when it is
/// resolved: only names are bound.
fn split_name(name: &str) -> Option<(&str, &str)> {
    let (prefix, local) = match name.bytes().position(|byte| byte == b':') {
        Some(0) => return None,
        Some(colon) => (&name[..colon], &name[colon + 1..]),
        None => ("", name),
    };
    is_name(local).then_some((prefix, local))
}

/// A name without a colon.
fn is_name(name: &str) -> bool {
    let is_start = |byte: &u8| !matches!(byte, b'-' | b'.' | b'0'..=b'9');
    name.as_bytes().first().is_some_and(is_start) && classes(name) & NO_NAME == 0
}

/// The target of a processing instruction; those called xml are the specification's own.
fn is_target(name: &str) -> bool {
    is_name(name) && !name.eq_ignore_ascii_case("xml")
}

/// XML 1.0, section 2.2: no other control character, not even by reference.
fn is_allowed(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

fn is_control(byte: u8) -> bool {
    byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')
}

fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Reads the whole reply, so it has no branch and no table: compilers make vector code of it.
fn is_plain(text: &str) -> bool {
    let special = |byte: u8| {
        let is_low = byte < b' ';
        let is_break = byte == b'\t' || byte == b'\n';
        (is_low & !is_break) | (byte == b']')
    };
    !text.bytes().fold(false, |found, byte| found | special(byte))
}

/// The classes of all bytes of a text together. It has no branch: looking for one byte after the
/// other takes three times the fuel.
fn classes(text: &str) -> u8 {
    text.bytes().fold(0, |classes, byte| classes | CLASSES[usize::from(byte)])
}

/// Is in no name, or is the colon.
const NO_NAME: u8 = 1;
/// Asks for a second look where it stands in a value.
const SPECIAL: u8 = 2;
/// White space that becomes a space where it stands in a value.
const BREAK: u8 = 4;

/// The classes of each byte. Beyond ASCII every character is one of a name: which of them Unicode
/// calls letters is nothing that a reader's answer could depend on.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' | 0x80.. => 0,
            b'\t' | b'\n' => NO_NAME | BREAK,
            0..b' ' | b'<' | b'&' => NO_NAME | SPECIAL,
            _ => NO_NAME,
        };
        byte += 1;
    }
    classes
};
