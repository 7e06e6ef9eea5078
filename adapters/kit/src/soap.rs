//! SOAP 1.1 requests (W3C note of 8 May 2000), and where the payload of a reply stands.
//!
//! Owns the envelope. WS-Security headers are the gateway's: it holds the credential.

use crate::request::{Chunks, Path, Request};
use crate::{Document, Element, Escaping, Failure, FailureCode, escape};

const ENVELOPE_1_1: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const ENVELOPE_1_2: &str = "http://www.w3.org/2003/05/soap-envelope";

/// A SOAP 1.1 document/literal request.
#[derive(Debug, Clone)]
pub struct Soap11<'a> {
    namespace: &'a str,
    action: &'a str,
    prefix: &'static str,
}

impl<'a> Soap11<'a> {
    /// An operation of `namespace`, called by the SOAPAction `action` (without its quotes).
    pub fn new(namespace: &'a str, action: &'a str) -> Self {
        Self { namespace, action, prefix: "m:" }
    }

    /// Leaves the elements below the payload's root outside the namespace, for a service whose
    /// schema says `elementFormDefault="unqualified"`.
    pub fn unqualified(self) -> Self {
        Self { prefix: "", ..self }
    }

    /// The request whose payload is the element `root` with what `write` puts into it.
    pub fn post(
        &self,
        endpoint: &str,
        path: impl Into<Path>,
        root: &str,
        write: impl FnOnce(Xml) -> Xml,
    ) -> Request {
        let mut out = Chunks::default();
        for text in [
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:s=\"",
            ENVELOPE_1_1,
            "\"><s:Body><m:",
            root,
            " xmlns:m=\"",
        ] {
            out.literal(text);
        }
        out.escaped(self.namespace, escape::xml_text);
        out.literal("\">");
        let mut out = write(Xml { out, prefix: self.prefix }).out;
        for text in ["</m:", root, "></s:Body></s:Envelope>"] {
            out.literal(text);
        }
        Request::post_xml(endpoint, path.into(), out)
            .header("soapaction", &format!("\"{}\"", self.action))
    }
}

/// The inside of an element being written.
#[derive(Debug)]
pub struct Xml {
    out: Chunks,
    prefix: &'static str,
}

impl Xml {
    /// An element.
    pub fn element(self, name: &str, write: impl FnOnce(Self) -> Self) -> Self {
        self.element_with(name, &[], write)
    }

    /// An element with attributes.
    pub fn element_with(
        mut self,
        name: &str,
        attributes: &[(&str, &str)],
        write: impl FnOnce(Self) -> Self,
    ) -> Self {
        for text in ["<", self.prefix, name] {
            self.out.literal(text);
        }
        for (attribute, value) in attributes {
            for text in [" ", attribute, "=\""] {
                self.out.literal(text);
            }
            self.out.escaped(value, escape::xml_text);
            self.out.literal("\"");
        }
        self.out.literal(">");
        let mut written = write(self);
        for text in ["</", written.prefix, name, ">"] {
            written.out.literal(text);
        }
        written
    }

    /// Character data.
    pub fn text(mut self, text: &str) -> Self {
        self.out.escaped(text, escape::xml_text);
        self
    }

    /// The subject identifier, as character data.
    pub fn subject(mut self) -> Self {
        self.out.subject(Escaping::XmlText);
        self
    }
}

impl Document<'_> {
    /// The payload of a SOAP 1.1 or 1.2 reply.
    ///
    /// # Errors
    /// `department-error` at a fault; `unexpected-reply` if this is no envelope, or its payload is
    /// not the one element `name` of `namespace`.
    pub fn soap_body(&self, namespace: &str, name: &str) -> Result<Element<'_>, Failure> {
        let envelope = self.root();
        let version = envelope.namespace();
        if envelope.name() != "Envelope" || ![ENVELOPE_1_1, ENVELOPE_1_2].contains(&version) {
            return Err(envelope.failure(FailureCode::UnexpectedReply));
        }
        let body = envelope.required("Body")?;
        let mut payloads = body.children();
        let Some(payload) = payloads.next() else {
            return Err(body.failure(FailureCode::UnexpectedReply));
        };
        if payload.name() == "Fault" && payload.namespace() == version {
            return Err(payload.failure(FailureCode::DepartmentError));
        }
        let expected = payload.name() == name && payload.namespace() == namespace;
        if !expected || payloads.next().is_some() {
            return Err(payload.failure(FailureCode::UnexpectedReply));
        }
        Ok(payload)
    }
}

#[cfg(test)]
mod tests;
