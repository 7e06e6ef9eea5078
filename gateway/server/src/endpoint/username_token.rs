//! The WS-Security token: OASIS Web Services Security UsernameToken Profile 1.1, and its place in
//! an envelope. Pure but for the clock and the random source it is handed. Never prints a password.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use zeroize::Zeroizing;

use super::Ambient;
use super::soap::{HeaderPlace, TokenPlace};

/// A user and a password, ready to be put into envelopes.
pub(super) struct UsernameToken {
    /// Escaped for XML.
    pub(super) user_xml: Zeroizing<Vec<u8>>,
    pub(super) password: Password,
}

/// How the password is shown.
pub(super) enum Password {
    /// Not at all: a digest of nonce, time and password is (Profile §3.1). Holds the password.
    Digest(Zeroizing<Vec<u8>>),
    /// As it is. Holds the password escaped for XML.
    TextXml(Zeroizing<Vec<u8>>),
}

impl UsernameToken {
    /// `envelope` with a fresh token as the first child of its Header, which is made if there is
    /// none. The bytes are wiped when the last of them is dropped.
    ///
    /// # Errors
    /// There is no randomness.
    pub(super) fn insert(
        &self,
        envelope: &[u8],
        place: &TokenPlace,
        ambient: &Ambient,
    ) -> Result<Bytes, ring::error::Unspecified> {
        let mut nonce = [0; NONCE_BYTES];
        (ambient.fill)(&mut nonce)?;
        // Milliseconds, as the schema's examples have; some stacks read no finer fraction.
        let created = (ambient.now)().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        let token = self.render(place.soap, &nonce, &created);
        let (at, before, after, rest) = match &place.header {
            HeaderPlace::Open { at } => (*at, [""; 3], [""; 3], *at),
            HeaderPlace::Empty { at, name } => {
                let name = text_in(envelope, name.clone());
                (*at, [">", "", ""], ["</", name, ">"], *at + "/>".len())
            }
            HeaderPlace::Absent { at, prefix } => {
                let prefix = text_in(envelope, prefix.clone());
                (*at, ["<", prefix, "Header>"], ["</", prefix, "Header>"], *at)
            }
        };
        let [before, after] = [before.concat(), after.concat()];
        let parts =
            [&envelope[..at], before.as_bytes(), &token, after.as_bytes(), &envelope[rest..]];
        // One allocation of the whole size: a vector that grows leaves copies behind.
        let bytes_sum = parts.iter().map(|part| part.len()).sum();
        let mut whole = Zeroizing::new(Vec::with_capacity(bytes_sum));
        parts.iter().for_each(|part| whole.extend_from_slice(part));
        Ok(Bytes::from_owner(whole))
    }

    fn render(&self, soap: &str, nonce: &[u8], created: &str) -> Zeroizing<Vec<u8>> {
        let (kind, shown) = match &self.password {
            Password::TextXml(password) => ("PasswordText", password.clone()),
            Password::Digest(password) => {
                let digest = password_digest(nonce, created, password);
                ("PasswordDigest", Zeroizing::new(digest.into_bytes()))
            }
        };
        let nonce = STANDARD.encode(nonce);
        let parts: [&[u8]; 23] = [
            b"<wsse:Security xmlns:wsse=\"",
            WSSE.as_bytes(),
            b"\" xmlns:wsu=\"",
            WSU.as_bytes(),
            b"\" xmlns:soap=\"",
            soap.as_bytes(),
            b"\" soap:mustUnderstand=\"1\"><wsse:UsernameToken><wsse:Username>",
            &self.user_xml,
            b"</wsse:Username><wsse:Password Type=\"",
            USERNAME_PROFILE.as_bytes(),
            b"#",
            kind.as_bytes(),
            b"\">",
            &shown,
            b"</wsse:Password><wsse:Nonce EncodingType=\"",
            SOAP_MESSAGE_SECURITY.as_bytes(),
            b"#Base64Binary\">",
            nonce.as_bytes(),
            b"</wsse:Nonce>",
            b"<wsu:Created>",
            created.as_bytes(),
            b"</wsu:Created></wsse:UsernameToken>",
            b"</wsse:Security>",
        ];
        let mut token = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| token.extend_from_slice(part));
        Zeroizing::new(token)
    }
}

/// Base64 of SHA-1 of nonce, time and password (Profile §3.1). The standard leaves no choice of
/// hash.
fn password_digest(nonce: &[u8], created: &str, password: &[u8]) -> String {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(nonce);
    context.update(created.as_bytes());
    context.update(password);
    STANDARD.encode(context.finish())
}

/// Empty only if the range is not one that `soap::outline` made for this envelope.
fn text_in(envelope: &[u8], range: std::ops::Range<usize>) -> &str {
    envelope.get(range).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
}

/// 128 bits: no two tokens of a department's replay window have the same.
const NONCE_BYTES: usize = 16;

const WSSE: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
const WSU: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
const USERNAME_PROFILE: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0";
const SOAP_MESSAGE_SECURITY: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0";

#[cfg(test)]
mod tests;
