//! The civil registry: SOAP 1.1, document/literal, one operation. Every record is rendered once, at
//! the start; a request costs its own parsing and a look-up.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use jiff::civil::Date;

use crate::auth::Auth;
use crate::directory::Directory;
use crate::door::{Answer, Desk};
use crate::identifier::Kind;
use crate::person::Person;
use crate::random::Random;
use crate::record::record;
use envelope::{Envelope, SoapFault};
use username_token::Tokens;

mod envelope;
mod username_token;

/// The address of the operation behind the base URL.
const PATH: &str = "/PersonQuery";
const NAMESPACE: &str = "urn:civil-registry:person:2";
const SOAP_ACTION: &[u8] = b"\"urn:civil-registry:person:2/QueryPerson\"";
const WSDL: &str = include_str!("../wsdl/person-query.wsdl");

/// The desk.
pub(crate) struct CivilRegistry {
    replies: Directory<Bytes>,
    not_found: Bytes,
    auth: Auth,
    tokens: Tokens,
    wsdl: Bytes,
}

impl CivilRegistry {
    /// Renders every reply.
    pub fn new(people: &[Person], seed: u64, today: Date, auth: Auth, base_url: &str) -> Self {
        let records: Vec<String> = people
            .iter()
            .map(|person| {
                let mut xml = String::with_capacity(RECORD_BYTES);
                record(person, today).write_xml(&mut xml);
                xml
            })
            .collect();
        let reply = |found: &[usize]| {
            let records: Vec<&str> = found.iter().map(|index| records[*index].as_str()).collect();
            let transaction = found.first().map_or(0, |index| *index as u64 + 1);
            render(Random::stream(seed, TRANSACTION_LANE, transaction).next(), &records)
        };
        let single: Vec<Bytes> = (0..people.len()).map(|index| reply(&[index])).collect();
        Self {
            replies: Directory::new(people.iter(), |found| match found {
                // All identifiers of a person share one buffer.
                [index] => single[*index].clone(),
                several => reply(several),
            }),
            not_found: reply(&[]),
            auth,
            tokens: Tokens::default(),
            wsdl: WSDL.replace("http://localhost", base_url).into(),
        }
    }

    fn operation(&self, request: &Request<Bytes>) -> Answer {
        let envelope = envelope::parse(request.body());
        let question = envelope.as_ref().map_err(SoapFault::clone).and_then(question);
        let response = if !self.auth.permits(request.headers()) {
            denied(&self.auth)
        } else if !is_xml(request) {
            plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "SOAP 1.1 is text/xml\n")
        } else {
            match self.answer_question(request, envelope.as_ref(), question.as_ref()) {
                Ok(reply) => xml(StatusCode::OK, reply),
                Err(fault) => xml(StatusCode::INTERNAL_SERVER_ERROR, fault.render()),
            }
        };
        let identifier = question.ok().map(|(_, identifier)| identifier);
        Answer { response, identifier, is_operation: true }
    }

    fn answer_question(
        &self,
        request: &Request<Bytes>,
        envelope: Result<&Envelope, &SoapFault>,
        question: Result<&(Kind, String), &SoapFault>,
    ) -> Result<Bytes, SoapFault> {
        let action = request.headers().get("soapaction").map(HeaderValue::as_bytes);
        if action != Some(SOAP_ACTION) {
            return Err(SoapFault::client("SOAPAction names no operation of this service"));
        }
        self.tokens.check(&self.auth, envelope.map_err(SoapFault::clone)?)?;
        let (kind, identifier) = question.map_err(SoapFault::clone)?;
        Ok(self.replies.find(*kind, identifier).unwrap_or(&self.not_found).clone())
    }
}

impl Desk for CivilRegistry {
    fn answer(&self, request: &Request<Bytes>) -> Answer {
        let uri = request.uri();
        if uri.path() != PATH {
            return Answer::aside(plain(StatusCode::NOT_FOUND, "no such service\n"));
        }
        if *request.method() == Method::POST {
            self.operation(request)
        } else if *request.method() == Method::GET && uri.query() == Some("wsdl") {
            Answer::aside(xml(StatusCode::OK, self.wsdl.clone()))
        } else {
            let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "POST an envelope\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            Answer::aside(refusal)
        }
    }
}

/// The reply of a service that failed within.
pub(crate) fn internal_fault() -> Response<Bytes> {
    let fault = SoapFault::server("the register is not available");
    xml(StatusCode::INTERNAL_SERVER_ERROR, fault.render())
}

/// What the envelope asks: `QueryPerson` of an `Identifier` and a `View`.
fn question(envelope: &Envelope) -> Result<(Kind, String), SoapFault> {
    let [query] = envelope.body.as_slice() else {
        return Err(SoapFault::client("the body must hold one element"));
    };
    if !query.is(NAMESPACE, "QueryPerson") {
        return Err(SoapFault::client("the body must hold QueryPerson"));
    }
    let [identifier, view] = query.children.as_slice() else {
        return Err(SoapFault::client("QueryPerson must hold Identifier and View"));
    };
    if !identifier.is(NAMESPACE, "Identifier") || !view.is(NAMESPACE, "View") {
        return Err(SoapFault::client("QueryPerson must hold Identifier and View"));
    }
    if view.text.trim() != "full" {
        return Err(SoapFault::client("View must be full"));
    }
    let kind = identifier.attribute("", "type").and_then(Kind::parse);
    let kind = kind.ok_or(SoapFault::client("the type of the Identifier is not known"))?;
    match identifier.text.trim() {
        "" => Err(SoapFault::client("Identifier must not be empty")),
        text => Ok((kind, text.to_owned())),
    }
}

fn render(transaction: u64, records: &[&str]) -> Bytes {
    let code = match records.len() {
        0 => "NOT_FOUND",
        1 => "OK",
        _ => "MULTIPLE",
    };
    let header = format!(
        "<soapenv:Header><p:TransactionId>{transaction:016x}</p:TransactionId></soapenv:Header>"
    );
    let result =
        format!("<p:Result><p:Code>{code}</p:Code><p:Count>{}</p:Count></p:Result>", records.len());
    let records = records.concat();
    let body = format!("<p:QueryPersonResponse>{result}{records}</p:QueryPersonResponse>");
    envelope::wrap(&header, &body)
}

fn is_xml(request: &Request<Bytes>) -> bool {
    let sent = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    sent.and_then(|sent| sent.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/xml"))
}

fn denied(auth: &Auth) -> Response<Bytes> {
    let mut refusal = plain(StatusCode::UNAUTHORIZED, "the credential is missing or wrong\n");
    if let Some(challenge) = auth.challenge() {
        refusal.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    refusal
}

fn xml(status: StatusCode, body: Bytes) -> Response<Bytes> {
    typed(status, body, "text/xml; charset=utf-8")
}

fn plain(status: StatusCode, text: &'static str) -> Response<Bytes> {
    typed(status, Bytes::from_static(text.as_bytes()), "text/plain; charset=utf-8")
}

fn typed(status: StatusCode, body: Bytes, content_type: &'static str) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

const TRANSACTION_LANE: u64 = 3;
/// An ordinary record, so that rendering seldom grows its buffer.
const RECORD_BYTES: usize = 2_500;

#[cfg(test)]
mod tests;
