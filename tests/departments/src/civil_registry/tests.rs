use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::population::population;
use crate::special::Special;
use crate::tests::{TODAY, envelope};

fn registry(auth: &str) -> CivilRegistry {
    let auth = auth.parse().expect("a demand");
    CivilRegistry::new(&population(7, 400, TODAY), 7, TODAY, auth, "http://127.0.0.1:9")
}

fn post(body: impl Into<Bytes>) -> Request<Bytes> {
    Request::post("/PersonQuery")
        .header("content-type", "text/xml;charset=UTF-8")
        .header("soapaction", "\"urn:civil-registry:person:2/QueryPerson\"")
        .body(body.into())
        .expect("a request")
}

fn send(registry: &CivilRegistry, request: &Request<Bytes>) -> (u16, String) {
    let response = registry.answer(request).response;
    let text = String::from_utf8(response.body().to_vec()).expect("UTF-8");
    (response.status().as_u16(), text)
}

fn ask(registry: &CivilRegistry, kind: &str, identifier: &str) -> String {
    let (status, text) = send(registry, &post(envelope("", kind, identifier)));
    assert_eq!(status, 200, "{text}");
    text
}

/// Sends a body and expects a fault with this code.
fn check_fault(registry: &CivilRegistry, body: impl Into<Bytes>, code: &str) {
    let (status, text) = send(registry, &post(body));
    assert_eq!(status, 500, "{text}");
    assert!(text.contains(&format!(">{code}</faultcode>")), "{text}");
}

#[test]
fn a_person_is_found_by_each_identifier_and_it_is_one_record() {
    let registry = registry("none");
    let people = population(7, 400, TODAY);
    let person = people.iter().find(|person| person.identifiers.isikukood.is_some());
    let person = person.expect("one in fifty has a personal code");
    let replies: Vec<_> =
        person.identifiers.each().map(|(kind, id)| ask(&registry, kind.as_str(), id)).collect();
    assert_eq!(replies.len(), 4);
    assert!(replies.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(replies[0].contains(&format!("<p:FullName>{}</p:FullName>", person.name.full)));
    assert!(replies[0].contains(&format!("<p:BirthDate>{}</p:BirthDate>", person.birth_date)));
}

#[test]
fn ordinary_replies_are_of_the_size_of_the_real_thing() {
    let registry = registry("none");
    for person in population(7, 400, TODAY).iter().filter(|person| person.special.is_none()) {
        let bytes = ask(&registry, "handle", &person.identifiers.handle).len();
        assert!((2_400..=2_800).contains(&bytes), "{bytes} bytes");
    }
}

#[test]
fn special_records_look_as_they_should() {
    let registry = registry("none");
    let has = |special: Special, xml: &str| {
        let text = ask(&registry, "passport", special.passport());
        assert!(text.contains(xml), "{}: {text}", special.as_str());
    };
    has(Special::BirthDateMissing, "<p:BirthDate/>");
    has(Special::BirthDateNil, " xsi:nil=\"true\"/><p:BirthPlace>");
    has(Special::BirthDateUnusable, "<p:BirthDate>1990-02-31</p:BirthDate>");
    has(Special::Deceased, "<p:LifeStatus>DECEASED</p:LifeStatus><p:DeathDate>2024-05-12<");
    has(Special::RecordSuspended, "<p:RecordStatus>SUSPENDED</p:RecordStatus>");
    has(Special::SeveralRecords, "<p:Code>MULTIPLE</p:Code><p:Count>2</p:Count>");
    has(Special::WidowedHead, "<p:MaritalStatus>30</p:MaritalStatus>");
    has(Special::JustTurned18, "<p:BirthDate>2008-05-02</p:BirthDate>");
    let several = ask(&registry, "passport", Special::SeveralRecords.passport());
    assert_eq!(several.matches("<p:Person>").count(), 2);
}

#[test]
fn nobody_is_found_by_an_unknown_identifier_or_another_kind() {
    let registry = registry("none");
    for (kind, identifier) in [("passport", "E99999999"), ("handle", "E00000001")] {
        let text = ask(&registry, kind, identifier);
        assert!(text.contains("<p:Code>NOT_FOUND</p:Code><p:Count>0</p:Count>"), "{text}");
        assert!(!text.contains("<p:Person>"));
    }
}

#[test]
fn prefixes_white_space_and_entities_of_a_request_do_not_matter() {
    let registry = registry("none");
    let request = "<x:Envelope xmlns:x='http://schemas.xmlsoap.org/soap/envelope/'>\n\
        <x:Header/>\n <x:Body><!-- here -->\
        <y:QueryPerson xmlns:y='urn:civil-registry:person:2'>\n\
        <y:Identifier type='pass&#112;ort'> E0000<![CDATA[00]]>0&#49;\n</y:Identifier>\n\
        <y:View>full</y:View></y:QueryPerson></x:Body></x:Envelope>";
    let (status, text) = send(&registry, &post(request));
    assert_eq!(status, 200, "{text}");
    assert_eq!(text, ask(&registry, "passport", "E00000001"));
}

#[test]
fn what_is_not_the_operation_is_a_client_fault() {
    let registry = registry("none");
    let good = envelope("", "passport", "E00000001");
    for bad in [
        good.replace("type=\"passport\"", "type=\"badge\""),
        good.replace("type=\"passport\"", ""),
        good.replace("E00000001", " "),
        good.replace(">full<", ">short<"),
        good.replace("<View>full</View>", ""),
        good.replace("QueryPerson", "QueryPeople"),
        good.replace("urn:civil-registry:person:2", "urn:civil-registry:person:1"),
        good.replace("</s:Body>", ""),
        good.replace("<s:Envelope", "<!DOCTYPE a [<!ENTITY b 'c'>]><s:Envelope"),
        good.replace("E00000001", "&b;"),
        good.replace("s:Body", "s:Corpse"),
        good.replace("xmlns:s=", "xmlns:t="),
        format!("{good}<more/>"),
        "<a>".repeat(1_000),
        String::new(),
    ] {
        check_fault(&registry, bad, "soapenv:Client");
    }
    let mut bytes = good.clone().into_bytes();
    bytes[good.find("E00000001").expect("it is there")] = 0xFF;
    check_fault(&registry, bytes, "soapenv:Client");
    let soap_12 = good.replace(
        "http://schemas.xmlsoap.org/soap/envelope/",
        "http://www.w3.org/2003/05/soap-envelope",
    );
    check_fault(&registry, soap_12, "soapenv:VersionMismatch");
    let header = "<s:Header><a s:mustUnderstand=\"1\"/></s:Header>";
    check_fault(&registry, envelope(header, "passport", "E00000001"), "soapenv:MustUnderstand");
}

#[test]
fn the_soap_action_needs_its_quotes() {
    let registry = registry("none");
    for action in ["", "\"\"", "urn:civil-registry:person:2/QueryPerson", "\"urn:other\""] {
        let mut request = post(envelope("", "passport", "E00000001"));
        request.headers_mut().insert("soapaction", action.parse().expect("a value"));
        let (status, text) = send(&registry, &request);
        assert_eq!(status, 500);
        assert!(text.contains("soapenv:Client"), "{text}");
    }
}

#[test]
fn other_requests_get_their_status() {
    let registry = registry("none");
    let status = |request: Request<Bytes>| send(&registry, &request).0;
    let bare = |method: &str, uri: &str| {
        let request = Request::builder().method(method).uri(uri).body(Bytes::new());
        request.expect("a request")
    };
    assert_eq!(status(bare("GET", "/PersonQuery")), 405);
    assert_eq!(status(bare("PUT", "/PersonQuery")), 405);
    assert_eq!(status(bare("POST", "/")), 404);
    assert_eq!(status(bare("POST", "/PersonQuery")), 415);
    let (status, wsdl) = send(&registry, &bare("GET", "/PersonQuery?wsdl"));
    assert_eq!(status, 200);
    assert!(wsdl.contains("<soap:address location=\"http://127.0.0.1:9/PersonQuery\"/>"));
}

#[test]
fn http_credentials_are_demanded() {
    let pair = STANDARD.encode("gateway:se:cret");
    for (auth, name, value) in [
        ("basic:gateway:se:cret", "authorization", format!("Basic {pair}")),
        ("bearer:abc", "authorization", "Bearer abc".to_owned()),
        ("header:x-api-key:abc", "x-api-key", "abc".to_owned()),
    ] {
        let registry = registry(auth);
        let mut request = post(envelope("", "passport", "E00000001"));
        let refused = registry.answer(&request).response;
        assert_eq!(refused.status().as_u16(), 401);
        let is_challenged = refused.headers().contains_key("www-authenticate");
        assert_eq!(is_challenged, name == "authorization");
        request.headers_mut().insert(name, format!("{value}x").parse().expect("a value"));
        assert_eq!(send(&registry, &request).0, 401, "{auth}");
        request.headers_mut().insert(name, value.parse().expect("a value"));
        assert_eq!(send(&registry, &request).0, 200, "{auth}");
    }
}

fn security(token: &str) -> String {
    let oasis = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity";
    format!(
        "<s:Header><wsse:Security s:mustUnderstand=\"1\" xmlns:wsse=\"{oasis}-secext-1.0.xsd\" \
         xmlns:wsu=\"{oasis}-utility-1.0.xsd\"><wsse:UsernameToken>\
         <wsse:Username>gateway</wsse:Username>{token}\
         </wsse:UsernameToken></wsse:Security></s:Header>"
    )
}

fn password(kind: &str, password: &str) -> String {
    format!(
        "<wsse:Password Type=\"http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-\
         username-token-profile-1.0#Password{kind}\">{password}</wsse:Password>"
    )
}

#[test]
fn a_username_token_in_the_clear_is_demanded() {
    let registry = registry("username-token-text:gateway:secret");
    let message = |header: &str| envelope(header, "passport", "E00000001");
    let right = security(&password("Text", "secret"));
    assert_eq!(send(&registry, &post(message(&right))).0, 200);
    assert_eq!(send(&registry, &post(message(&right))).0, 200, "a password can come again");
    let failed = "wsse:FailedAuthentication";
    check_fault(&registry, message(&security(&password("Text", "Secret"))), failed);
    check_fault(&registry, message(&security(&password("Digest", "secret"))), failed);
    check_fault(&registry, message(&right.replace(">gateway<", ">gate<")), failed);
    let invalid = "wsse:InvalidSecurity";
    check_fault(&registry, message(""), invalid);
    check_fault(&registry, message(&security("")), invalid);
    let second = right.replace("<s:Header>", "<s:Header><other/>");
    check_fault(&registry, message(&second), invalid);
}

#[test]
fn a_username_token_digest_is_demanded_fresh_and_once() {
    let registry = registry("username-token-digest:gateway:secret");
    let token = |nonce: &[u8], created: &str, secret: &str| {
        let salted = [nonce, created.as_bytes(), secret.as_bytes()].concat();
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &salted);
        let password = password("Digest", &STANDARD.encode(digest));
        let nonce = STANDARD.encode(nonce);
        let token = format!(
            "{password}<wsse:Nonce>{nonce}</wsse:Nonce><wsu:Created>{created}</wsu:Created>"
        );
        envelope(&security(&token), "passport", "E00000001")
    };
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    assert_eq!(send(&registry, &post(token(b"one", &now, "secret"))).0, 200);
    assert_eq!(send(&registry, &post(token(b"two", &now, "secret"))).0, 200);
    let failed = "wsse:FailedAuthentication";
    check_fault(&registry, token(b"one", &now, "secret"), failed);
    check_fault(&registry, token(b"three", &now, "Secret"), failed);
    let old = Timestamp::now() - SignedDuration::from_mins(6);
    check_fault(&registry, token(b"four", &old.to_string(), "secret"), "wsse:MessageExpired");
    check_fault(&registry, token(b"five", "yesterday", "secret"), "wsse:InvalidSecurity");
    let text = envelope(&security(&password("Text", "secret")), "passport", "E00000001");
    check_fault(&registry, text, failed);
}
