//! WS-Security UsernameToken Profile 1.0: a password in the clear, or as a digest with a nonce and
//! a time. Never keeps a password that a request sent.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use super::envelope::{Envelope, Node, SoapFault};
use crate::auth::Auth;

/// Checks tokens, and that none comes twice.
#[derive(Default)]
pub(super) struct Tokens {
    seen: Mutex<Nonces>,
}

#[derive(Default)]
struct Nonces {
    known: HashSet<String>,
    /// Oldest first.
    order: VecDeque<String>,
}

impl Tokens {
    /// Checks the header of an envelope against what the service demands, and that no other header
    /// had to be understood.
    pub fn check(&self, auth: &Auth, envelope: &Envelope) -> Result<(), SoapFault> {
        let (user, password, is_digest) = match auth {
            Auth::UsernameTokenText { user, password } => (user, password, false),
            Auth::UsernameTokenDigest { user, password } => (user, password, true),
            Auth::None | Auth::Basic { .. } | Auth::Bearer { .. } | Auth::Header { .. } => {
                return understood(&envelope.header);
            }
        };
        let (security, rest) =
            envelope.header.split_first().ok_or(invalid("there is no Security header"))?;
        if !security.is(WSSE, "Security") {
            return Err(invalid("Security must be the first header"));
        }
        understood(rest)?;
        let token = security.child(WSSE, "UsernameToken");
        let token = token.ok_or(invalid("Security holds no UsernameToken"))?;
        let sent_user = token.child(WSSE, "Username").map(|node| node.text.trim());
        let sent = token.child(WSSE, "Password");
        let sent = sent.ok_or(invalid("UsernameToken holds no Password"))?;
        let is_right = if is_digest {
            is_digest_right(token, sent, password)?
        } else {
            // The profile's default type is text.
            matches!(sent.attribute("", "Type"), None | Some(TEXT)) && sent.text == *password
        };
        if sent_user != Some(user.as_str()) || !is_right {
            return Err(FAILED);
        }
        if is_digest { self.note(token) } else { Ok(()) }
    }

    /// Remembers a token's nonce; refuses one that came before.
    fn note(&self, token: &Node) -> Result<(), SoapFault> {
        let nonce = child_text(token, WSSE, "Nonce")?.to_owned();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.known.insert(nonce.clone()) {
            return Err(FAILED);
        }
        seen.order.push_back(nonce);
        if seen.order.len() > NONCES_MAX
            && let Some(oldest) = seen.order.pop_front()
        {
            seen.known.remove(&oldest);
        }
        Ok(())
    }
}

/// Password digest = Base64(SHA-1(nonce + created + password)), created within five minutes.
fn is_digest_right(token: &Node, sent: &Node, password: &str) -> Result<bool, SoapFault> {
    if sent.attribute("", "Type") != Some(DIGEST) {
        return Ok(false);
    }
    let nonce = STANDARD.decode(child_text(token, WSSE, "Nonce")?);
    let nonce = nonce.map_err(|_| invalid("Nonce is not Base64"))?;
    let created = child_text(token, WSU, "Created")?;
    let moment: Timestamp = created.parse().map_err(|_| invalid("Created is not a time"))?;
    if Timestamp::now().duration_since(moment).abs() > CREATED_AGE_MAX {
        return Err(SoapFault::coded("wsse:MessageExpired", "Created is too far from now"));
    }
    let mut sha1 = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    sha1.update(&nonce);
    sha1.update(created.as_bytes());
    sha1.update(password.as_bytes());
    Ok(STANDARD.encode(sha1.finish()) == sent.text.trim())
}

fn child_text<'a>(token: &'a Node, namespace: &str, name: &str) -> Result<&'a str, SoapFault> {
    let child = token.child(namespace, name);
    let child = child.ok_or(invalid("UsernameToken needs Nonce and Created"))?;
    Ok(child.text.trim())
}

fn understood(headers: &[Node]) -> Result<(), SoapFault> {
    if headers.iter().any(Node::must_be_understood) {
        let text = "a header that must be understood is not";
        return Err(SoapFault::coded("soapenv:MustUnderstand", text));
    }
    Ok(())
}

const fn invalid(text: &'static str) -> SoapFault {
    SoapFault::coded("wsse:InvalidSecurity", text)
}

const FAILED: SoapFault =
    SoapFault::coded("wsse:FailedAuthentication", "the security token is missing or wrong");

pub(super) const WSSE: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
const WSU: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
const TEXT: &str = concat!(
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-",
    "username-token-profile-1.0#PasswordText"
);
const DIGEST: &str = concat!(
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-",
    "username-token-profile-1.0#PasswordDigest"
);

/// The profile recommends five minutes.
const CREATED_AGE_MAX: SignedDuration = SignedDuration::from_mins(5);
/// A few seconds of a benchmark; 3 MB. A nonce is forgotten when so many came after it.
const NONCES_MAX: usize = 65_536;
