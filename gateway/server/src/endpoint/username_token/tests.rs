use std::sync::Arc;

use super::*;
use crate::endpoint::soap::outline;

const NS: &str = "http://schemas.xmlsoap.org/soap/envelope/";

fn ambient() -> Ambient {
    Ambient {
        now: Arc::new(|| "2026-03-01T09:08:07.006500Z".parse().unwrap()),
        fill: Arc::new(|nonce| {
            nonce.iter_mut().zip(1..).for_each(|(byte, value)| *byte = value);
            Ok(())
        }),
    }
}

fn token(password: Password) -> UsernameToken {
    UsernameToken { user_xml: Zeroizing::new(b"gate&amp;way".to_vec()), password }
}

fn secret(text: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(text.as_bytes().to_vec())
}

fn inserted(token: &UsernameToken, envelope: &str) -> String {
    let place = outline(envelope.as_bytes()).unwrap().token_place;
    let whole = token.insert(envelope.as_bytes(), &place, &ambient()).unwrap();
    String::from_utf8(whole.to_vec()).unwrap()
}

/// The text between two marks, each of which stands once.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    assert_eq!(text.matches(start).count(), 1, "{start} in {text}");
    text.split_once(start).unwrap().1.split_once(end).unwrap().0
}

#[test]
fn the_digest_is_that_of_nonce_time_and_password() {
    let envelope = format!("<s:Envelope xmlns:s=\"{NS}\"><s:Body><a/></s:Body></s:Envelope>");
    let text = inserted(&token(Password::Digest(secret("p<ss"))), &envelope);
    let created = between(&text, "<wsu:Created>", "</wsu:Created>");
    assert_eq!(created, "2026-03-01T09:08:07.006Z");
    let nonce_text = between(&text, "#Base64Binary\">", "</wsse:Nonce>");
    let nonce = STANDARD.decode(nonce_text).unwrap();
    assert_eq!(nonce, (1..=16).collect::<Vec<u8>>());
    let input = [&nonce[..], created.as_bytes(), b"p<ss"].concat();
    let expected = STANDARD.encode(ring::digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, &input));
    assert_eq!(between(&text, "#PasswordDigest\">", "</wsse:Password>"), expected);
    assert_eq!(between(&text, "<wsse:Username>", "</wsse:Username>"), "gate&amp;way");
    assert!(!text.contains("p<ss") && !text.contains("p&lt;ss"));
}

#[test]
fn the_digest_matches_a_value_computed_elsewhere() {
    // printf 'nonce-bytes2026-03-01T09:08:07.006Zsecret' | openssl dgst -sha1 -binary | base64
    let digest = password_digest(b"nonce-bytes", "2026-03-01T09:08:07.006Z", b"secret");
    assert_eq!(digest, "kvj0gvGzI+juH/6UZcaJdnrGQ0E=");
}

#[test]
fn the_password_is_shown_where_the_department_wants_it() {
    let envelope = format!("<s:Envelope xmlns:s=\"{NS}\"><s:Body><a/></s:Body></s:Envelope>");
    let text = inserted(&token(Password::TextXml(secret("p&lt;ss"))), &envelope);
    assert_eq!(between(&text, "#PasswordText\">", "</wsse:Password>"), "p&lt;ss");
}

#[test]
fn the_token_is_the_first_child_of_the_header_whatever_the_envelope_looks_like() {
    let check = |envelope: String, before: &str, after: &str| {
        let text = inserted(&token(Password::TextXml(secret("p"))), &envelope);
        let (found_before, rest) = text.split_once("<wsse:Security ").unwrap();
        let (_, found_after) = rest.split_once("</wsse:Security>").unwrap();
        assert_eq!((found_before, found_after), (before, after));
        let soap = if envelope.contains(NS) { NS } else { crate::endpoint::soap::SOAP[1] };
        assert!(text.contains(&format!("xmlns:soap=\"{soap}\" soap:mustUnderstand=\"1\"")));
        // The result is an envelope, but for the Security the gateway refuses from an adapter.
        let again = text.replace("wsse:Security", "wsse:Other");
        assert_eq!(outline(again.as_bytes()).unwrap().body_root.1, "a");
    };
    let end = "<s:Body><a/></s:Body></s:Envelope>";
    let start = format!("<s:Envelope xmlns:s=\"{NS}\">");
    check(format!("{start}{end}"), &format!("{start}<s:Header>"), &format!("</s:Header>{end}"));
    check(
        format!("{start}<s:Header m='1' />{end}"),
        &format!("{start}<s:Header m='1' >"),
        &format!("</s:Header>{end}"),
    );
    check(
        format!("{start}<s:Header><x/></s:Header>{end}"),
        &format!("{start}<s:Header>"),
        &format!("<x/></s:Header>{end}"),
    );
    let start = format!("<Envelope xmlns=\"{}\">", crate::endpoint::soap::SOAP[1]);
    let end = "<Body><a/></Body></Envelope>";
    check(format!("{start}{end}"), &format!("{start}<Header>"), &format!("</Header>{end}"));
}

#[test]
fn without_randomness_there_is_no_token() {
    let envelope = format!("<s:Envelope xmlns:s=\"{NS}\"><s:Body><a/></s:Body></s:Envelope>");
    let place = outline(envelope.as_bytes()).unwrap().token_place;
    let ambient = Ambient { fill: Arc::new(|_| Err(ring::error::Unspecified)), ..ambient() };
    let token = token(Password::Digest(secret("p")));
    assert!(token.insert(envelope.as_bytes(), &place, &ambient).is_err());
}
