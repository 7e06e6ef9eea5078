//! SOAP 1.1 envelopes: reads those of requests, writes those of replies. Namespaces are compared by
//! name, prefixes never.

use bytes::Bytes;
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{NamespaceResolver, QName, ResolveResult};
use quick_xml::reader::NsReader;

/// What a request's envelope holds.
pub(super) struct Envelope {
    /// The children of `Header`.
    pub header: Vec<Node>,
    /// The children of `Body`.
    pub body: Vec<Node>,
}

/// An element.
pub(super) struct Node {
    namespace: String,
    name: String,
    attributes: Vec<(String, String, String)>,
    pub children: Vec<Node>,
    /// Its own character data, its children's left out.
    pub text: String,
}

impl Node {
    pub fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name == name
    }

    /// The value of an attribute; one without a prefix is in the namespace "".
    pub fn attribute(&self, namespace: &str, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        let found = attributes.find(|(space, local, _)| space == namespace && local == name)?;
        Some(&found.2)
    }

    /// The first child of a name.
    pub fn child(&self, namespace: &str, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.is(namespace, name))
    }

    /// True if whoever does not know this header must not go on.
    pub fn must_be_understood(&self) -> bool {
        matches!(self.attribute(SOAP, "mustUnderstand"), Some("1" | "true"))
    }
}

/// A SOAP fault. Its texts are the service's own; nothing of a request is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SoapFault {
    /// A qualified name with the prefix `soapenv` or `wsse`.
    code: &'static str,
    text: &'static str,
}

impl SoapFault {
    /// The caller must change the request.
    pub const fn client(text: &'static str) -> Self {
        Self { code: "soapenv:Client", text }
    }

    /// The service failed.
    pub const fn server(text: &'static str) -> Self {
        Self { code: "soapenv:Server", text }
    }

    /// With another code.
    pub const fn coded(code: &'static str, text: &'static str) -> Self {
        Self { code, text }
    }

    pub fn render(&self) -> Bytes {
        let declared = if self.code.starts_with("wsse:") {
            format!(" xmlns:wsse=\"{}\"", super::username_token::WSSE)
        } else {
            String::new()
        };
        let Self { code, text } = self;
        let fault = format!(
            "<soapenv:Fault><faultcode{declared}>{code}</faultcode>\
             <faultstring>{text}</faultstring></soapenv:Fault>"
        );
        wrap("", &fault)
    }
}

/// An envelope around a header and a body.
pub(super) fn wrap(header: &str, body: &str) -> Bytes {
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <soapenv:Envelope xmlns:soapenv=\"{SOAP}\" xmlns:p=\"{}\">{header}\
         <soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>",
        super::NAMESPACE
    );
    document.into()
}

/// Reads an envelope.
pub(super) fn parse(document: &[u8]) -> Result<Envelope, SoapFault> {
    let text = std::str::from_utf8(document).map_err(|_| MALFORMED)?;
    let root = tree(text)?;
    if root.name != "Envelope" {
        return Err(SoapFault::client("the document is not an envelope"));
    }
    if root.namespace != SOAP {
        let text = "the envelope is not one of SOAP 1.1";
        return Err(SoapFault::coded("soapenv:VersionMismatch", text));
    }
    let mut parts = root.children;
    let body = parts.pop().filter(|body| body.is(SOAP, "Body"));
    let body = body.ok_or(SoapFault::client("the envelope must end with a Body"))?;
    let header = match parts.pop() {
        None => Vec::new(),
        Some(header) if header.is(SOAP, "Header") && parts.is_empty() => header.children,
        Some(_) => return Err(SoapFault::client("before the Body only a Header may stand")),
    };
    Ok(Envelope { header, body: body.children })
}

fn tree(text: &str) -> Result<Node, SoapFault> {
    let mut reader = NsReader::from_str(text);
    // The open elements, outermost first.
    let mut open: Vec<Node> = Vec::new();
    let mut root = None;
    loop {
        let event = reader.read_event().map_err(|_| MALFORMED)?;
        let mut closed = None;
        match event {
            Event::Start(start) => {
                if open.len() >= DEPTH_MAX || root.is_some() {
                    return Err(MALFORMED);
                }
                open.push(node(&start, reader.resolver())?);
            }
            Event::Empty(start) => closed = Some(node(&start, reader.resolver())?),
            Event::End(_) => closed = open.pop(),
            Event::Text(text) => append(&mut open, &text.xml10_content())?,
            Event::CData(text) => append(&mut open, &text.xml10_content())?,
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|_| MALFORMED)?;
                match character {
                    Some(character) => append(&mut open, character.encode_utf8(&mut [0; 4]))?,
                    None => {
                        let text = resolve_predefined_entity(&reference).ok_or(MALFORMED)?;
                        append(&mut open, text)?;
                    }
                }
            }
            Event::Decl(_) | Event::Comment(_) => {}
            // SOAP 1.1, section 3: neither may stand in a message.
            Event::DocType(_) | Event::PI(_) => return Err(MALFORMED),
            Event::Eof => break,
        }
        if let Some(node) = closed {
            match open.last_mut() {
                Some(parent) => parent.children.push(node),
                None if root.is_none() => root = Some(node),
                None => return Err(MALFORMED),
            }
        }
    }
    root.filter(|_| open.is_empty()).ok_or(MALFORMED)
}

fn node(start: &BytesStart<'_>, resolver: &NamespaceResolver) -> Result<Node, SoapFault> {
    let (bound, name) = resolver.resolve_element(start.name());
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| MALFORMED)?;
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let (space, local) = attribute_name(attribute.key, resolver)?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| MALFORMED)?;
        attributes.push((space, local, value.into_owned()));
    }
    Ok(Node {
        namespace: namespace(bound)?,
        name: name.into_inner().into(),
        attributes,
        children: Vec::new(),
        text: String::new(),
    })
}

fn attribute_name(
    key: QName<'_>,
    resolver: &NamespaceResolver,
) -> Result<(String, String), SoapFault> {
    let (bound, local) = resolver.resolve_attribute(key);
    Ok((namespace(bound)?, local.into_inner().into()))
}

fn namespace(bound: ResolveResult<'_>) -> Result<String, SoapFault> {
    match bound {
        ResolveResult::Bound(namespace) => Ok(namespace.0.into()),
        ResolveResult::Unbound => Ok(String::new()),
        ResolveResult::Unknown(_) => Err(MALFORMED),
    }
}

/// Adds character data to the innermost open element; outside the root only white space may stand.
fn append(open: &mut [Node], text: &str) -> Result<(), SoapFault> {
    match open.last_mut() {
        Some(node) => node.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(MALFORMED),
    }
    Ok(())
}

pub(super) const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const MALFORMED: SoapFault = SoapFault::client("the request is not a well-formed SOAP message");
/// A security header is five deep.
const DEPTH_MAX: usize = 16;
