//! The parser of [`Document`]: XML 1.0 and Namespaces in XML 1.0, without document types.
//!
//! Owns well-formedness and limits. A document type is refused, so that a document has no entities
//! of its own to expand and nothing to fetch.
//!
//! Written here because parsing is most of a step's work: a general reader takes four times as
//! long. The tests compare it with such a reader.

use std::borrow::Cow;

use super::{Document, Node};
use crate::{Failure, FailureCode, Reply};

/// Elements inside each other; a SOAP reply has about ten.
pub(super) const DEPTH_MAX: usize = 64;
/// Elements of a document: about 200 persons of 80 elements. Bounds the tree at 0.8 MiB.
pub(super) const ELEMENTS_MAX: usize = 16_384;
/// Attributes of one element; generated schemas stay below twenty.
pub(super) const ATTRIBUTES_MAX: usize = 64;
/// Namespaces of a document, none and the prefix xml's among them, and declarations in force at one
/// place.
pub(super) const NAMESPACES_MAX: usize = 64;
/// Bytes from `&` to `;`: the longest reference with some leading zeros.
const REFERENCE_BYTES_MAX: usize = 16;

const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
const XML: &str = "http://www.w3.org/XML/1998/namespace";

pub(super) struct Parser<'t> {
    text: &'t str,
    /// Offset of the next byte to read.
    at: usize,
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

impl<'t> Parser<'t> {
    pub(super) fn new(reply: &'t Reply, text: &'t str) -> Self {
        /// An element of a record with its tags and text is seldom shorter.
        const ELEMENT_BYTES_MIN: usize = 24;
        let nodes = Vec::with_capacity((text.len() / ELEMENT_BYTES_MIN + 1).min(ELEMENTS_MAX));
        let document = Document { reply, nodes, namespaces: vec![String::new(), XML.into()] };
        let bindings = vec![Binding { prefix: "xml", namespace: 1, node: 0 }];
        Self { text, at: 0, document, open: Vec::with_capacity(DEPTH_MAX), bindings }
    }

    pub(super) fn parse(mut self) -> Result<Document<'t>, Failure> {
        while self.at < self.text.len() {
            match self.rest() {
                [b'<', b'/', ..] => self.end_tag()?,
                [b'<', b'!', ..] => self.comment_or_cdata()?,
                [b'<', b'?', ..] => self.instruction()?,
                [b'<', ..] => self.start_tag()?,
                [b'&', ..] => self.reference()?,
                _ => self.characters()?,
            }
        }
        if self.open.is_empty() && !self.document.nodes.is_empty() {
            Ok(self.document)
        } else {
            Err(self.malformed(self.at))
        }
    }

    fn start_tag(&mut self) -> Result<(), Failure> {
        let start = self.at;
        let is_second_root = self.open.is_empty() && !self.document.nodes.is_empty();
        if is_second_root {
            return Err(self.malformed(start));
        }
        if self.document.nodes.len() == ELEMENTS_MAX || self.open.len() == DEPTH_MAX {
            return Err(self.too_large(start));
        }
        let whole_name = name_at(self.text, start + 1);
        let (prefix, name) = split_name(whole_name).ok_or_else(|| self.malformed(start))?;
        let name_end = start + 1 + whole_name.len();
        self.at = name_end;
        let has_attributes = self.rest().first() != Some(&b'>');
        let is_nil = has_attributes && self.attributes(start)?;
        let attributes = &self.text[name_end..self.at];
        let is_empty = self.rest().starts_with(b"/>");
        self.at += if is_empty { 2 } else { 1 };

        let namespace = self.resolve(prefix).ok_or_else(|| self.malformed(start))?;
        let node = self.document.nodes.len() as u32;
        self.document.nodes.push(Node {
            whole_name,
            name,
            attributes,
            namespace,
            is_nil,
            text: Cow::Borrowed(""),
            parent: self.open.last().copied().unwrap_or_default(),
            end: 0,
        });
        self.open.push(node);
        if is_empty {
            self.close();
        }
        Ok(())
    }

    /// Reads the attributes of a tag up to its `>` or `/>`: takes its namespace declarations and
    /// says whether it is `xsi:nil`.
    fn attributes(&mut self, start: usize) -> Result<bool, Failure> {
        let mut attributes = Attributes::new(self.text, self.at);
        let mut names: Vec<&str> = Vec::new();
        let mut is_nil_by = Vec::new();
        while let Some(Attribute { name, raw }) =
            attributes.next().map_err(|Malformed| self.malformed(start))?
        {
            if names.len() == ATTRIBUTES_MAX {
                return Err(self.too_large(start));
            }
            let value = attribute_value(raw).ok_or_else(|| self.malformed(start))?;
            if names.contains(&name) {
                return Err(self.malformed(start));
            }
            names.push(name);
            match split_name(name) {
                Some(("", "xmlns")) => self.bind(start, "", &value)?,
                Some(("xmlns", prefix)) => self.bind(start, prefix, &value)?,
                Some((prefix, "nil")) if matches!(&*value, "true" | "1") => is_nil_by.push(prefix),
                Some(_) => {}
                None => return Err(self.malformed(start)),
            }
        }
        self.at = attributes.at;
        if !matches!(self.rest(), [b'>', ..] | [b'/', b'>', ..]) {
            return Err(self.malformed(start));
        }
        // A prefix can be declared after its use.
        for (prefix, _) in names.iter().filter_map(|name| name.split_once(':')) {
            if prefix != "xmlns" && self.resolve(prefix).is_none() {
                return Err(self.malformed(start));
            }
        }
        let namespace = |prefix: &&str| self.resolve(prefix).map(|it| it as usize);
        let mut namespaces = is_nil_by.iter().filter(|prefix| !prefix.is_empty());
        Ok(namespaces.any(|it| namespace(it).is_some_and(|it| self.document.namespaces[it] == XSI)))
    }

    fn end_tag(&mut self) -> Result<(), Failure> {
        let start = self.at;
        let Some(&node) = self.open.last() else { return Err(self.malformed(start)) };
        let name = self.document.nodes[node as usize].whole_name.as_bytes();
        let Some(rest) = self.rest()[2..].strip_prefix(name) else {
            return Err(self.malformed(start));
        };
        let spaces = rest.iter().take_while(|byte| is_space(**byte)).count();
        if rest.get(spaces) != Some(&b'>') {
            return Err(self.malformed(start));
        }
        self.at += 2 + name.len() + spaces + 1;
        self.close();
        Ok(())
    }

    fn close(&mut self) {
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

    fn comment_or_cdata(&mut self) -> Result<(), Failure> {
        let start = self.at;
        let text = self.text;
        if let Some(comment) = text[start..].strip_prefix("<!--") {
            // No two hyphens stand inside a comment, so the first two end it.
            let length = comment.find("--").ok_or_else(|| self.malformed(start))?;
            if !comment[length..].starts_with("-->") {
                return Err(self.malformed(start));
            }
            self.at += "<!---->".len() + length;
            return Ok(());
        }
        let Some(data) = text[start..].strip_prefix("<![CDATA[") else {
            return Err(self.malformed(start));
        };
        let length = data.find("]]>").ok_or_else(|| self.malformed(start))?;
        let data = &data[..length];
        if self.open.is_empty() || data.bytes().any(is_control) {
            return Err(self.malformed(start));
        }
        self.at += "<![CDATA[]]>".len() + length;
        if data.contains('\r') {
            let unix = data.replace("\r\n", "\n").replace('\r', "\n");
            return self.add_text(start, Cow::Owned(unix));
        }
        self.add_text(start, Cow::Borrowed(data))
    }

    /// A processing instruction, or the XML declaration, which stands at the very beginning.
    fn instruction(&mut self) -> Result<(), Failure> {
        let start = self.at;
        let target = name_at(self.text, start + 2);
        let target_end = start + 2 + target.len();
        let is_misplaced = target.eq_ignore_ascii_case("xml") && start > 0;
        let length = self.text[target_end..].find("?>").ok_or_else(|| self.malformed(start))?;
        if target.is_empty() || is_misplaced {
            return Err(self.malformed(start));
        }
        self.at = target_end + length + 2;
        Ok(())
    }

    fn reference(&mut self) -> Result<(), Failure> {
        let start = self.at;
        let (character, length) =
            reference(&self.text[start..]).ok_or_else(|| self.malformed(start))?;
        self.at += length;
        self.add_text(start, Cow::Owned(character.to_string()))
    }

    fn characters(&mut self) -> Result<(), Failure> {
        let (start, text) = (self.at, self.text);
        let bytes = text.as_bytes();
        let mut end = start;
        loop {
            end += plain_bytes(&bytes[end..]);
            match bytes[end..] {
                [] | [b'<' | b'&' | b'\r', ..] => break,
                [b']', b']', b'>', ..] => return Err(self.malformed(end)),
                [b']' | b'\t' | b'\n', ..] => end += 1,
                [_, ..] => return Err(self.malformed(end)),
            }
        }
        if start < end {
            self.at = end;
            return self.add_text(start, Cow::Borrowed(&text[start..end]));
        }
        // Every end of line is a line feed to the reader (XML 1.0, section 2.11).
        self.at += if self.rest().starts_with(b"\r\n") { 2 } else { 1 };
        self.add_text(start, Cow::Borrowed("\n"))
    }

    fn add_text(&mut self, start: usize, more: Cow<'t, str>) -> Result<(), Failure> {
        let is_blank = || more.bytes().all(is_space);
        let Some(&node) = self.open.last() else {
            return if is_blank() { Ok(()) } else { Err(self.malformed(start)) };
        };
        let text = &mut self.document.nodes[node as usize].text;
        if !text.is_empty() {
            text.to_mut().push_str(&more);
        } else if !is_blank() {
            *text = more;
        }
        Ok(())
    }

    fn bind(&mut self, start: usize, prefix: &'t str, namespace: &str) -> Result<(), Failure> {
        // Only the default namespace can be taken back, and nothing stands for the two that the
        // specification owns (Namespaces in XML 1.0, sections 2.2 and 3).
        let is_taken_back = namespace.is_empty() && !prefix.is_empty();
        if is_taken_back || matches!(prefix, "xml" | "xmlns") {
            return Err(self.malformed(start));
        }
        let known = &mut self.document.namespaces;
        let index = known.iter().position(|it| it == namespace).unwrap_or(known.len());
        if index == NAMESPACES_MAX || self.bindings.len() == NAMESPACES_MAX {
            return Err(self.too_large(start));
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

    fn rest(&self) -> &'t [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn malformed(&self, offset: usize) -> Failure {
        self.document.reply.failure_at(FailureCode::MalformedReply, offset)
    }

    fn too_large(&self, offset: usize) -> Failure {
        self.document.reply.failure_at(FailureCode::ReplyTooLarge, offset)
    }
}

/// Reads the attributes of a tag one after the other.
pub(super) struct Attributes<'t> {
    text: &'t str,
    at: usize,
}

pub(super) struct Attribute<'t> {
    pub(super) name: &'t str,
    /// The value as written.
    pub(super) raw: &'t str,
}

/// Not an attribute.
pub(super) struct Malformed;

impl<'t> Attributes<'t> {
    /// Reads from the end of the tag's name.
    pub(super) fn new(text: &'t str, at: usize) -> Self {
        Self { text, at }
    }

    /// The next attribute; none at what ends a tag, or at the end of the text.
    pub(super) fn next(&mut self) -> Result<Option<Attribute<'t>>, Malformed> {
        let had_space = self.skip_space() > 0;
        if matches!(self.peek(), None | Some(b'>' | b'/')) {
            return Ok(None);
        }
        let name = name_at(self.text, self.at);
        self.at += name.len();
        self.skip_space();
        if name.is_empty() || !had_space || self.peek() != Some(b'=') {
            return Err(Malformed);
        }
        self.at += 1;
        self.skip_space();
        let Some(quote @ (b'"' | b'\'')) = self.peek() else { return Err(Malformed) };
        let value_start = self.at + 1;
        let rest = &self.text.as_bytes()[value_start..];
        let length = rest.iter().position(|byte| *byte == quote).ok_or(Malformed)?;
        self.at = value_start + length + 1;
        Ok(Some(Attribute { name, raw: &self.text[value_start..value_start + length] }))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        let spaces = rest.iter().take_while(|byte| is_space(**byte)).count();
        self.at += spaces;
        spaces
    }
}

/// The value of an attribute: references replaced, each white space a space (XML 1.0, section
/// 3.3.3).
pub(super) fn attribute_value(raw: &str) -> Option<Cow<'_, str>> {
    let is_special = |byte| matches!(byte, b'&' | b'<') || byte < b' ';
    if !raw.bytes().any(is_special) {
        return Some(Cow::Borrowed(raw));
    }
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(character) = rest.chars().next() {
        let length = match character {
            '&' => {
                let (character, length) = reference(rest)?;
                value.push(character);
                length
            }
            '\r' if rest.starts_with("\r\n") => {
                value.push(' ');
                2
            }
            '\t' | '\n' | '\r' => {
                value.push(' ');
                1
            }
            '<' | '\0'..' ' => return None,
            _ => {
                value.push(character);
                character.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    Some(Cow::Owned(value))
}

/// The character that a reference at the beginning of `text` stands for, and the reference's bytes.
fn reference(text: &str) -> Option<(char, usize)> {
    let length = text.bytes().take(REFERENCE_BYTES_MAX).position(|byte| byte == b';')?;
    let name = &text[1..length];
    let character = match name {
        "amp" => '&',
        "apos" => '\'',
        "gt" => '>',
        "lt" => '<',
        "quot" => '"',
        _ => {
            let number = name.strip_prefix('#')?;
            let (digits, radix) = match number.strip_prefix('x') {
                Some(digits) => (digits, 16),
                None => (number, 10),
            };
            if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return None;
            }
            let character = char::from_u32(u32::from_str_radix(digits, radix).ok()?)?;
            // XML 1.0, section 2.2: no other control character, not even by reference.
            let is_allowed = matches!(character, '\t' | '\n' | '\r' | ' '..='\u{FFFD}')
                || character > '\u{FFFF}';
            is_allowed.then_some(character)?
        }
    };
    Some((character, length + 1))
}

/// Prefix, empty if there is none, and local name.
fn split_name(name: &str) -> Option<(&str, &str)> {
    let is_start = |part: &str| {
        part.bytes().next().is_some_and(|byte| !matches!(byte, b'-' | b'.' | b'0'..=b'9'))
    };
    let (prefix, local) = match name.bytes().position(|byte| byte == b':') {
        Some(colon) => (&name[..colon], &name[colon + 1..]),
        None => return is_start(name).then_some(("", name)),
    };
    let is_whole = is_start(prefix) && is_start(local) && !local.bytes().any(|byte| byte == b':');
    is_whole.then_some((prefix, local))
}

/// The bytes of a name that stand at `start`, perhaps none.
fn name_at(text: &str, start: usize) -> &str {
    let rest = &text.as_bytes()[start..];
    let length = rest.iter().position(|byte| !IS_NAME[usize::from(*byte)]).unwrap_or(rest.len());
    &text[start..start + length]
}

/// How many bytes from the beginning are none of `<`, `&`, `]` and the control characters.
fn plain_bytes(bytes: &[u8]) -> usize {
    /// One in each byte of a word.
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The highest bit of a byte is set where the byte is below `limit`; above the lowest such
        // byte others can be set by a borrow, but only the lowest is looked at.
        let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & (ONES << 7);
        let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        let found = is(b'<') | is(b'&') | is(b']') | below(word, u64::from(b' '));
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |byte: &u8| !matches!(byte, b'<' | b'&' | b']' | 0..b' ');
    words.len() * 8 + tail.iter().take_while(|byte| is_plain(byte)).count()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn is_control(byte: u8) -> bool {
    byte < b' ' && !is_space(byte)
}

/// Bytes of a name. Beyond ASCII every character is one: which of them Unicode calls letters is
/// nothing that a reader's answer could depend on.
const IS_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(byte as u8, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-'
            | b'.' | b':' | 0x80..);
        byte += 1;
    }
    table
};
