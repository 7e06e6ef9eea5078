use super::*;

const NS: &str = "http://schemas.xmlsoap.org/soap/envelope/";

/// An envelope with `header` and `body` as they are, prefix `s`.
fn envelope(header: &str, body: &str) -> String {
    format!("<s:Envelope xmlns:s=\"{NS}\">{header}<s:Body>{body}</s:Body></s:Envelope>")
}

fn root(text: &str) -> Option<(String, String)> {
    let outline = outline(text.as_bytes()).ok()?;
    Some((outline.body_root.0, outline.body_root.1.to_owned()))
}

#[test]
fn the_body_root_is_named_by_namespace() {
    let check = |text: String, namespace: &str, local: &str| {
        assert_eq!(root(&text), Some((namespace.to_owned(), local.to_owned())), "{text}");
    };
    check(envelope("", "<a/>"), "", "a");
    check(envelope("", " <p:a xmlns:p=\"urn:x\">t<b/>t</p:a> "), "urn:x", "a");
    check(envelope("", "<a xmlns=\"urn:x\"><![CDATA[<b>]]>&lt;&#65;</a>"), "urn:x", "a");
    check(envelope("<s:Header/>", "<s:a/>"), NS, "a");
    check(envelope("<s:Header><h>t</h><!-- c --></s:Header>", "<!-- c --><a/>"), "", "a");
    let default =
        format!("<Envelope xmlns=\"{}\"><Body><a xmlns=\"\"/></Body></Envelope>", SOAP[1]);
    check(default, "", "a");
    let declared = format!("<?xml version=\"1.0\" encoding='utf-8'?>\n{}\n", envelope("", "<a/>"));
    check(declared, "", "a");
    // A prefix rebound on the way means what it says there.
    check(envelope("", "<s:Body xmlns:s=\"urn:x\"><c/></s:Body>"), "urn:x", "Body");
}

#[test]
fn what_could_be_read_in_two_ways_is_no_envelope() {
    let plain = envelope("", "<a/>");
    let deep = "<a>".repeat(DEPTH_MAX) + &"</a>".repeat(DEPTH_MAX);
    let many: String = (0..=ATTRIBUTES_MAX).map(|index| format!(" a{index}=''")).collect();
    for text in [
        String::new(),
        "{}".to_owned(),
        "<a/>".to_owned(),
        plain.replace(NS, "urn:other"),
        plain.replace("s:Envelope", "s:Other"),
        plain.replace("</s:Envelope>", ""),
        plain.replace("</s:Body>", ""),
        plain.replace("</s:Body>", "</s:body>"),
        format!("{plain}{plain}"),
        format!("{plain}x"),
        format!("x{plain}"),
        format!("\u{FEFF}{plain}"),
        format!("<!DOCTYPE a>{plain}"),
        format!("<!DOCTYPE a [<!ENTITY b \"c\">]>{plain}"),
        format!("<?php x?>{plain}"),
        format!(" <?xml version='1.0'?>{plain}"),
        format!("<?xml version='1.0' encoding='gbk'?>{plain}"),
        format!("<?xml version='1.1'?>{plain}"),
        envelope("", ""),
        envelope("", "text"),
        envelope("", "<a/><b/>"),
        envelope("", "<a/>text"),
        envelope("", "<p:a/>"),
        envelope("", "<a>&unknown;</a>"),
        envelope("", "<a>&</a>"),
        envelope("", "<a><?x y?></a>"),
        envelope("", "<a b='1' b='2'/>"),
        envelope("", "<a b c='2'/>"),
        envelope("", "<a b=1/>"),
        envelope("", "<!-- a -- b --><a/>"),
        envelope("", &format!("<a{many}/>")),
        envelope("", &deep),
        envelope("<s:Header/><s:Header/>", "<a/>"),
        envelope("<h/>", "<a/>"),
        envelope("<s:Other/>", "<a/>"),
        envelope("<s:Body><b/></s:Body>", "<a/>"),
        envelope("<s:Header>text</s:Header>", "<a/>"),
        envelope("<s:Header xmlns:s='urn:x'/>", "<a/>"),
        plain.replace("</s:Envelope>", "<s:Header/></s:Envelope>"),
        // Another's token, and replies that would go to an address the adapter chose.
        envelope("<s:Header><w:Security xmlns:w='urn:x'/></s:Header>", "<a/>"),
        envelope("<s:Header><ReplyTo>urn:x</ReplyTo></s:Header>", "<a/>"),
        envelope("<s:Header><w:FaultTo xmlns:w='urn:x'/></s:Header>", "<a/>"),
    ] {
        assert_eq!(outline(text.as_bytes()), Err(NotSoap), "{text}");
    }
    let mut not_utf8 = plain.into_bytes();
    let at = not_utf8.iter().position(|&byte| byte == b'a').unwrap();
    not_utf8[at] = 0xE9;
    assert_eq!(outline(&not_utf8), Err(NotSoap));
}

#[test]
fn depth_and_attributes_up_to_the_limit_pass() {
    let inner = DEPTH_MAX - 2;
    let deep = "<a>".repeat(inner) + &"</a>".repeat(inner);
    assert!(outline(envelope("", &deep).as_bytes()).is_ok());
    let many: String = (0..ATTRIBUTES_MAX).map(|index| format!(" a{index}=''")).collect();
    assert!(outline(envelope("", &format!("<a{many}/>")).as_bytes()).is_ok());
}

#[test]
fn the_action_in_the_header_is_read_or_the_envelope_refused() {
    let action = |header: &str| {
        let text = envelope(&format!("<s:Header>{header}</s:Header>"), "<Action>b</Action>");
        outline(text.as_bytes()).map(|outline| outline.action.map(str::to_owned))
    };
    assert_eq!(action(""), Ok(None));
    assert_eq!(action("<To>urn:to</To>"), Ok(None));
    assert_eq!(action("<x><Action>inner</Action></x>"), Ok(None));
    assert_eq!(
        action("<w:Action xmlns:w='urn:w'> urn:a </w:Action>"),
        Ok(Some("urn:a".to_owned()))
    );
    assert_eq!(action("<Action/>"), Ok(Some(String::new())));
    for header in [
        "<Action>a</Action><Action>a</Action>",
        "<Action>a<b/></Action>",
        "<Action>a&amp;b</Action>",
        "<Action>a<![CDATA[b]]></Action>",
        "<Action>a<!-- c -->b</Action>",
    ] {
        assert_eq!(action(header), Err(NotSoap), "{header}");
    }
}

#[test]
fn the_place_of_the_token_is_found() {
    // The text up to the place.
    let check = |text: &str, expected: &str, kind: &str| {
        let place = outline(text.as_bytes()).map(|outline| outline.token_place).unwrap();
        assert_eq!(place.soap, NS);
        let (at, found) = match place.header {
            HeaderPlace::Absent { at, prefix } => (at, format!("absent {}", &text[prefix])),
            HeaderPlace::Empty { at, name } => (at, format!("empty {}", &text[name])),
            HeaderPlace::Open { at } => (at, "open".to_owned()),
        };
        assert_eq!((&text[..at], found.as_str()), (expected, kind));
    };
    let start = format!("<s:Envelope xmlns:s=\"{NS}\">");
    check(&envelope("", "<a/>"), &start, "absent s:");
    check(&envelope("\n<!-- c -->", "<a/>"), &start, "absent s:");
    let default =
        format!("<?xml version='1.0'?>\n<Envelope xmlns='{NS}' ><Body><a/></Body></Envelope>");
    let default_start = format!("<?xml version='1.0'?>\n<Envelope xmlns='{NS}' >");
    check(&default, &default_start, "absent ");
    let empty = envelope("<s:Header a='>' />", "<a/>");
    check(&empty, &format!("{start}<s:Header a='>' "), "empty s:Header");
    let open = envelope(" <s:Header a='>' > <b/></s:Header>", "<a/>");
    check(&open, &format!("{start} <s:Header a='>' >"), "open");
}
