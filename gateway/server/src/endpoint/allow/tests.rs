use jumpgate_runtime::contract::{self, Chunk, HttpRequest};

use super::*;
use crate::endpoint::assemble::assemble;

const NS: &str = "http://schemas.xmlsoap.org/soap/envelope/";

fn rule(method: Method, path_prefix: &str) -> AllowSettings {
    AllowSettings {
        method,
        path_prefix: path_prefix.to_owned(),
        soap_action: None,
        body_root: None,
    }
}

fn soap_rule(soap_action: Option<&str>, body_root: Option<&str>) -> AllowSettings {
    AllowSettings {
        soap_action: soap_action.map(str::to_owned),
        body_root: body_root.map(str::to_owned),
        ..rule(Method::Post, "/soap")
    }
}

fn list(rules: &[AllowSettings], wants_token: bool) -> AllowList {
    let mut mistakes = Mistakes::default();
    let list = AllowList::new(rules, wants_token, &mut mistakes);
    assert_eq!(mistakes.into_vec(), []);
    list
}

fn request(method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> HttpRequest {
    let chunks = |text: &str| match text {
        "" => vec![],
        text => vec![Chunk::Literal(text.as_bytes().to_vec())],
    };
    let owned = |(name, value): &(&str, &str)| contract::Header {
        name: (*name).to_owned(),
        value: chunks(value),
    };
    let headers = headers.iter().map(owned).collect();
    let method = match method {
        Method::Get => contract::Method::Get,
        Method::Post => contract::Method::Post,
    };
    HttpRequest { method, path: chunks(path), headers, body: chunks(body) }
}

fn permit(list: &AllowList, request: &HttpRequest) -> Result<Permitted, Denied> {
    list.permit(assemble(request, "A1", "/base", 1 << 16)?)
}

fn envelope(header: &str, body: &str) -> String {
    format!("<s:Envelope xmlns:s=\"{NS}\">{header}<s:Body>{body}</s:Body></s:Envelope>")
}

#[test]
fn method_and_path_prefix_decide() {
    let list = list(
        &[
            rule(Method::Get, "/persons"),
            rule(Method::Get, "/open/"),
            rule(Method::Post, "/search"),
        ],
        false,
    );
    let check = |method, path: &str, is_permitted: bool| {
        let expected = if is_permitted { None } else { Some(Denied::NotAllowed) };
        let result = permit(&list, &request(method, path, &[], ""));
        assert_eq!(result.err(), expected, "{method:?} {path}");
    };
    check(Method::Get, "/persons", true);
    check(Method::Get, "/persons?id=1", true);
    check(Method::Get, "/persons/1/marriages", true);
    check(Method::Get, "/open/1", true);
    check(Method::Post, "/search", true);
    check(Method::Get, "/", false);
    check(Method::Get, "/personsX", false);
    check(Method::Get, "/person", false);
    check(Method::Get, "/Persons", false);
    check(Method::Get, "/%70ersons", false);
    check(Method::Get, "/persons;a=1", false);
    check(Method::Get, "/open", false);
    check(Method::Get, "/search", false);
    check(Method::Post, "/persons", false);
    check(Method::Get, "/base/persons", false);
}

#[test]
fn the_root_prefix_holds_every_path_and_the_target_keeps_its_base() {
    let list = list(&[rule(Method::Get, "/")], false);
    let permitted = permit(&list, &request(Method::Get, "/any/path?q=1", &[], ""));
    let target = permitted.map(|permitted| permitted.target.as_str().to_owned());
    assert_eq!(target.ok().as_deref(), Some("/base/any/path?q=1"));
}

#[test]
fn every_action_named_is_the_one_allowed() {
    let list = list(&[soap_rule(Some("urn:get"), None)], false);
    let addressed =
        |action: &str| envelope(&format!("<s:Header><Action>{action}</Action></s:Header>"), "<a/>");
    let bare = envelope("", "<a/>");
    let check = |content_type: &str, action: Option<&str>, body: &str, expected| {
        let mut headers = vec![("content-type", content_type)];
        headers.extend(action.map(|action| ("soapaction", action)));
        let result = permit(&list, &request(Method::Post, "/soap", &headers, body));
        assert_eq!(result.err(), expected, "{content_type} {action:?} {body}");
    };
    let twelve = "application/soap+xml; action=\"urn:get\"";
    check("text/xml", Some("\"urn:get\""), &bare, None);
    check("text/xml; charset=UTF-8", Some("urn:get"), &bare, None);
    check(twelve, None, &bare, None);
    check(twelve, Some("\"\""), &bare, None);
    check("text/xml", Some("\"\""), &addressed("urn:get"), None);
    check(twelve, Some("urn:get"), &addressed("urn:get"), None);
    let denied = Some(Denied::NotAllowed);
    check("text/xml", None, &bare, denied);
    check("text/xml", Some("\"\""), &bare, denied);
    check("text/xml", Some("\"urn:delete\""), &bare, denied);
    check("text/xml", Some("\"urn:get"), &bare, denied);
    check(twelve, Some("urn:delete"), &bare, denied);
    check(
        "text/xml; action=urn:delete",
        Some("urn:get"),
        &bare,
        Some(Denied::ContentTypeMalformed),
    );
    check("text/xml; action=\"urn:delete\"", Some("urn:get"), &bare, denied);
    check("text/xml", Some("urn:get"), &addressed("urn:delete"), denied);
    check("text/xml; charset=gbk", Some("urn:get"), &bare, Some(Denied::NotSoap));
    check("application/json", Some("urn:get"), &bare, Some(Denied::NotSoap));
    check("text/xml", Some("urn:get"), "<a/>", Some(Denied::NotSoap));
}

#[test]
fn the_body_root_is_the_one_allowed() {
    let list = list(&[soap_rule(None, Some("{urn:x}Get")), soap_rule(None, Some("{}Old"))], false);
    let check = |body: &str, expected| {
        let headers = [("content-type", "text/xml")];
        let request = request(Method::Post, "/soap", &headers, &envelope("", body));
        assert_eq!(permit(&list, &request).err(), expected, "{body}");
    };
    check("<Get xmlns='urn:x'/>", None);
    check("<p:Get xmlns:p='urn:x'><p:id>1</p:id></p:Get>", None);
    check("<Old/>", None);
    check("<Get/>", Some(Denied::NotAllowed));
    check("<Get xmlns='urn:y'/>", Some(Denied::NotAllowed));
    check("<get xmlns='urn:x'/>", Some(Denied::NotAllowed));
    check("<Delete xmlns='urn:x'><Get/></Delete>", Some(Denied::NotAllowed));
    check("<!-- <Get xmlns='urn:x'/> --><Delete xmlns='urn:x'/>", Some(Denied::NotAllowed));
    check("<Get xmlns='urn:x'/><Delete xmlns='urn:x'/>", Some(Denied::NotSoap));
    check("<Old xmlns='urn:x'/>", Some(Denied::NotAllowed));
}

#[test]
fn no_xml_declares_a_document_type() {
    let list = list(&[rule(Method::Post, "/")], false);
    let check = |content_type: &str, body: &str, expected| {
        let request = request(Method::Post, "/a", &[("content-type", content_type)], body);
        assert_eq!(permit(&list, &request).err(), expected, "{content_type} {body}");
    };
    check("text/xml", "<a/>", None);
    check("text/plain", "<!DOCTYPE a>", None);
    check("text/xml", "<!DOCTYPE a><a/>", Some(Denied::DocumentType));
    check("application/a+xml", " <!DOCTYPE a><a/>", Some(Denied::DocumentType));
    check("text/xml", "\0<\0!\0D", Some(Denied::DocumentType));
}

#[test]
fn where_a_token_is_wanted_only_an_envelope_passes() {
    let list = list(&[rule(Method::Get, "/"), rule(Method::Post, "/")], true);
    let headers = [("content-type", "text/xml")];
    let soap = request(Method::Post, "/soap", &headers, &envelope("", "<a/>"));
    assert!(permit(&list, &soap).is_ok_and(|permitted| permitted.token_place.is_some()));
    let get = request(Method::Get, "/a", &[], "");
    assert_eq!(permit(&list, &get).err(), Some(Denied::NotSoap));
    let json = request(Method::Post, "/a", &[("content-type", "application/json")], "{}");
    assert_eq!(permit(&list, &json).err(), Some(Denied::NotSoap));
}

#[test]
fn mistakes_in_an_entry_are_named() {
    let mut mistakes = Mistakes::default();
    AllowList::new(&[], false, &mut mistakes);
    let get_soap = AllowSettings { method: Method::Get, ..soap_rule(Some("urn:a"), None) };
    let rules = [
        rule(Method::Get, "/good"),
        rule(Method::Get, "bad"),
        rule(Method::Get, "/a/../b"),
        rule(Method::Get, "/a?b"),
        soap_rule(None, Some("Get")),
        soap_rule(None, Some("{urn:x}p:Get")),
        get_soap,
    ];
    AllowList::new(&rules, false, &mut mistakes);
    let fields: Vec<String> =
        mistakes.into_vec().into_iter().map(|mistake| mistake.field).collect();
    let expected = [
        "allow",
        "allow[1].path_prefix",
        "allow[2].path_prefix",
        "allow[3].path_prefix",
        "allow[4].body_root",
        "allow[5].body_root",
        "allow[6].method",
    ];
    assert_eq!(fields, expected);
}
