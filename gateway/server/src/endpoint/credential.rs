//! What the gateway shows a department to be let in. Reads secrets from files and keeps them in
//! memory that is wiped; it never prints one, and nothing but a request to the department's own
//! address carries one.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::assemble::escape_xml;
use super::secret;
use super::settings::{CredentialSettings, Mistakes};
use super::username_token::{Password, UsernameToken};

/// A credential, ready to be used.
pub(super) enum Credential {
    /// A header sent with each request.
    Header { name: HeaderName, value: HeaderValue },
    /// The department asks for none, or for the gateway's certificate alone.
    None,
    /// A token put into each SOAP envelope.
    Token(UsernameToken),
}

impl Credential {
    /// Reads the files `settings` names and notes what is wrong with them.
    pub(super) fn read(
        settings: Option<&CredentialSettings>,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        match settings {
            None => Some(Self::None),
            Some(CredentialSettings::Basic { user, password_file }) => {
                basic(user, password_file, mistakes)
            }
            Some(CredentialSettings::Bearer { token_file }) => bearer(token_file, mistakes),
            Some(CredentialSettings::Header { name, value_file }) => {
                own_header(name, value_file, mistakes)
            }
            Some(CredentialSettings::WsSecurity { user, password_file, digest }) => {
                token(user, password_file, *digest, mistakes)
            }
        }
    }
}

fn basic(user: &str, password_file: &Path, mistakes: &mut Mistakes) -> Option<Credential> {
    let user_stands = !user.is_empty() && !user.contains(|c: char| c == ':' || c.is_control());
    if !user_stands {
        let mend = "must be a name without a colon or a control character (RFC 7617)";
        mistakes.add("credential.user", mend);
    }
    let password = secret::read(password_file, "credential.password_file", mistakes)?;
    if password.iter().any(u8::is_ascii_control) {
        mistakes.add("credential.password_file", "the password holds a control character");
        return None;
    }
    let pair = Zeroizing::new([user.as_bytes(), b":", &password].concat());
    let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(&*pair)).into_bytes());
    let value = sensitive(value)?;
    user_stands.then_some(Credential::Header { name: header::AUTHORIZATION, value })
}

fn bearer(token_file: &Path, mistakes: &mut Mistakes) -> Option<Credential> {
    let token = secret::read(token_file, "credential.token_file", mistakes)?;
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    if !token.iter().all(is_token) {
        mistakes.add("credential.token_file", "the file does not hold one bearer token (RFC 6750)");
        return None;
    }
    let value = sensitive(Zeroizing::new([b"Bearer ", &**token].concat()))?;
    Some(Credential::Header { name: header::AUTHORIZATION, value })
}

fn own_header(name: &str, value_file: &Path, mistakes: &mut Mistakes) -> Option<Credential> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok();
    let name = name.filter(|name| !RESERVED.contains(&name.as_str()));
    if name.is_none() {
        let mend = "must be a header name that neither the gateway nor HTTP itself sets";
        mistakes.add("credential.name", mend);
    }
    let value = secret::read(value_file, "credential.value_file", mistakes)?;
    if !value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        mistakes.add("credential.value_file", "the value holds other than printable ASCII");
        return None;
    }
    let value = sensitive(value)?;
    Some(Credential::Header { name: name?, value })
}

fn token(
    user: &str,
    password_file: &Path,
    is_digest: bool,
    mistakes: &mut Mistakes,
) -> Option<Credential> {
    let user_xml = escaped(user.as_bytes()).filter(|user| !user.is_empty());
    if user_xml.is_none() {
        mistakes.add("credential.user", "must be a name without a control character");
    }
    let password = secret::read(password_file, "credential.password_file", mistakes)?;
    let Some(password_xml) = escaped(&password) else {
        let mend = "the password is not UTF-8 or holds a control character";
        mistakes.add("credential.password_file", mend);
        return None;
    };
    let password =
        if is_digest { Password::Digest(password) } else { Password::TextXml(password_xml) };
    Some(Credential::Token(UsernameToken { user_xml: user_xml?, password }))
}

fn escaped(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = std::str::from_utf8(text).ok()?;
    // Each character becomes six bytes at most, so the vector never grows and leaves no copy.
    let mut xml = Zeroizing::new(Vec::with_capacity(text.len() * "&quot;".len()));
    escape_xml(text, &mut xml).ok()?;
    Some(xml)
}

/// A header value that no Debug prints, in memory that is wiped with its last copy.
fn sensitive(value: Zeroizing<Vec<u8>>) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(value)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Set by HTTP, by the gateway or by the adapter.
const RESERVED: [&str; 16] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "soapaction",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

#[cfg(test)]
mod tests;
