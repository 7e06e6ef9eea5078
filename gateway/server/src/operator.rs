//! Who sits at the caller's desk, by a token that his own organisation has signed.
//!
//! Owns what such a token must be: a JWT (RFC 7519) of a configured issuer, signed with one of its
//! keys and a pinned algorithm, for this gateway, not older than its lifetime, and bound to the
//! caller's certificate (RFC 8705 §3.1), so that a stolen one is worth nothing. An [`Operator`] is
//! made here only. No error text holds anything of a token.

mod keys;
mod ring_keys;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use jumpgate_admission::{ROLES_MAX, RoleName};
use jumpgate_catalogue::{Digest, QueryId, Refusal, RefusalCode};
use serde::Deserialize;

use keys::{Keys, NoKey};

/// The request header that carries the token.
pub const HEADER: &str = "operator-token";
/// The request header that carries another person's, who asks with him past the auditor.
pub const SECOND_HEADER: &str = "second-operator-token";

/// The tokens of a request, not checked yet.
#[derive(Clone, Copy)]
pub struct Tokens<'a> {
    /// Of the person who asks.
    pub first: Option<&'a str>,
    /// Of another one, with whom he asks past the auditor.
    pub second: Option<&'a str>,
}

/// An issuer of operators' tokens, as configured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerSettings {
    /// The claim `iss` of its tokens.
    pub issuer: String,
    /// What the claim `aud` of its tokens must name: this gateway.
    pub audience: String,
    /// The algorithms it signs with.
    pub algorithms: Vec<SigningAlgorithm>,
    /// Its JWK set, a file. Either this or `keys_url`.
    pub keys_file: Option<PathBuf>,
    /// Its JWK set, an `https` address.
    pub keys_url: Option<String>,
    /// PEM certificates by which the server of `keys_url` is recognised.
    pub keys_roots_file: Option<PathBuf>,
    /// Age at which the set is read again, in seconds.
    #[serde(default = "defaults::keys_refresh_s")]
    pub keys_refresh_s: u32,
    /// Age up to which a set is good while its source is out of reach, in seconds.
    #[serde(default = "defaults::keys_kept_s_max")]
    pub keys_kept_s_max: u32,
    /// Longest time between the claims `iat` and `exp`, in seconds, at most 900.
    #[serde(default = "defaults::lifetime_s_max")]
    pub lifetime_s_max: u32,
    /// How far the issuer's clock may be from the gateway's, in seconds, at most 60.
    #[serde(default = "defaults::skew_s_max")]
    pub skew_s_max: u32,
    /// The roles that rules can speak of. Others in the claim `roles` are passed over.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// An algorithm for signatures (RFC 7518 §3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// Ed25519.
    EdDSA,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
}

/// An issuer whose tokens can be checked.
#[derive(Clone)]
pub struct Issuer {
    settings: IssuerSettings,
    algorithms: Vec<Algorithm>,
    roles: Arc<[RoleName]>,
    keys: Arc<Keys>,
    /// SHA-256 of the file that decides whose signature is believed, and its key.
    trusted: (&'static str, Digest),
}

/// Every issuer, by its name in the configuration.
pub type Issuers = BTreeMap<Arc<str>, Arc<Issuer>>;

/// A person at a caller's desk. Holding one proves a token that is good for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    name: String,
    issuer: Arc<str>,
    roles: Vec<RoleName>,
    query_id: Option<QueryId>,
    /// SHA-256 of the body that he has agreed to.
    content: Option<Digest>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    iat: f64,
    exp: f64,
    nbf: Option<f64>,
    cnf: Option<Confirmation>,
    #[serde(default)]
    roles: Vec<String>,
    query_id: Option<String>,
    content_sha256: Option<String>,
}

#[derive(Deserialize)]
struct Confirmation {
    #[serde(rename = "x5t#S256")]
    certificate: Option<String>,
}

impl SigningAlgorithm {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::ES256 => Algorithm::ES256,
            Self::ES384 => Algorithm::ES384,
            Self::EdDSA => Algorithm::EdDSA,
            Self::PS256 => Algorithm::PS256,
            Self::RS256 => Algorithm::RS256,
        }
    }
}

impl<'a> Tokens<'a> {
    /// The tokens of the headers.
    ///
    /// # Errors
    /// `OperatorUnproven` for a second token that cannot be read: nobody is to be asked as if it
    /// were not there.
    pub fn of(headers: &'a http::HeaderMap) -> Result<Self, Refusal> {
        let once = |name| {
            let mut found = headers.get_all(name).iter();
            let token = found.next()?.to_str().ok()?;
            found.next().is_none().then_some(token)
        };
        let (first, second) = (once(HEADER), once(SECOND_HEADER));
        if second.is_none() && headers.contains_key(SECOND_HEADER) {
            return Err(in_second(unproven("send one token in this header")));
        }
        Ok(Self { first, second })
    }
}

/// Two operators who ask together.
///
/// # Errors
/// `OperatorUnproven`: they are one person, or one of them does not name the question.
pub fn two(first: Operator, second: Operator) -> Result<[Operator; 2], Refusal> {
    if first.name == second.name {
        return Err(in_second(unproven("send the token of another person")));
    }
    let mend = "name the question in the claim query_id: two people ask one question together";
    if first.query_id.is_none() {
        return Err(unproven(mend));
    }
    if second.query_id.is_none() {
        return Err(in_second(unproven(mend)));
    }
    Ok([first, second])
}

/// Checks that both have agreed to this body and no other.
///
/// # Errors
/// `OperatorUnproven`.
pub fn agree_to([first, second]: &[Operator; 2], body: &[u8]) -> Result<(), Refusal> {
    let is_named = [first, second].map(|it| it.content.is_some());
    let mend = "name the SHA-256 of the request's body in the claim content_sha256: two people ask \
                one question together";
    match is_named {
        [false, _] => Err(unproven(mend)),
        [_, false] => Err(in_second(unproven(mend))),
        [true, true] => {
            first.agrees_to(body)?;
            second.agrees_to(body).map_err(in_second)
        }
    }
}

fn content_digest(claim: &str) -> Result<Digest, Refusal> {
    let digest = URL_SAFE_NO_PAD.decode(claim).ok().and_then(|bytes| bytes.try_into().ok());
    digest.map(Digest).ok_or_else(|| unproven("write content_sha256 as base64url of 32 bytes"))
}

/// The same, said of the second token.
pub fn in_second(mut refusal: Refusal) -> Refusal {
    if let Some(mend) = refusal.mend.strip_prefix(HEADER) {
        refusal.mend = format!("{SECOND_HEADER}{mend}");
    }
    refusal
}

/// The caller's operators have no tokens, so no two of them can ask together.
pub fn nobody_signs() -> Refusal {
    in_second(unproven("leave it out: no issuer signs for this caller's operators"))
}

impl Operator {
    /// His name at the issuer.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who signed for him.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// His roles, of those that rules can speak of.
    pub fn roles(&self) -> &[RoleName] {
        &self.roles
    }

    /// Checks that the token is good for a request with this body: one that names a body is good
    /// for that one alone.
    ///
    /// # Errors
    /// `OperatorUnproven`.
    pub fn agrees_to(&self, body: &[u8]) -> Result<(), Refusal> {
        match self.content {
            Some(named) if named != Digest::of(body) => {
                Err(unproven("content_sha256 is of another body: it is good for that one alone"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Checks that the token is good for a question with this id: one that names an id is good for
    /// that question alone.
    ///
    /// # Errors
    /// `OperatorUnproven`.
    pub fn vouches_for(&self, query_id: Option<QueryId>) -> Result<(), Refusal> {
        match self.query_id {
            Some(named) if query_id != Some(named) => {
                let mend = "the token names another query_id: it is good for that question alone";
                Err(Refusal::new(RefusalCode::OperatorUnproven, mend).at("/query_id"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Issuer {
    /// Makes an issuer; reads its file, connects nowhere.
    ///
    /// # Errors
    /// Every mistake, with the key it is in.
    pub fn new(settings: &IssuerSettings) -> Result<Self, Vec<(&'static str, String)>> {
        ring_keys::install();
        let mut mistakes = settings.mistakes();
        let keys = match (&settings.keys_file, &settings.keys_url, &settings.keys_roots_file) {
            (Some(file), None, None) => Keys::of_file(file),
            (None, Some(url), Some(roots)) => {
                Keys::of_address(url, roots, settings.keys_refresh_s, settings.keys_kept_s_max)
            }
            _ => Err("name either keys_file, or keys_url and keys_roots_file".to_owned()),
        };
        let key = if settings.keys_url.is_some() { "keys_url" } else { "keys_file" };
        let keys = keys.map_err(|mend| mistakes.push((key, mend)));
        let trusted = if settings.keys_url.is_some() { "keys_roots_file" } else { key };
        match keys {
            Ok((keys, digest)) if mistakes.is_empty() => Ok(Self {
                algorithms: settings.algorithms.iter().map(|it| it.algorithm()).collect(),
                roles: settings.roles.iter().map(|role| role.as_str().into()).collect(),
                keys: Arc::new(keys),
                trusted: (trusted, digest),
                settings: settings.clone(),
            }),
            Ok(_) | Err(()) => Err(mistakes),
        }
    }

    /// The same with the keys that `known` has, if both read them from one address by one trust:
    /// its server may be out of reach just now.
    pub fn with_keys_of(self: Arc<Self>, known: &Self) -> Arc<Self> {
        let (new, old) = (&self.settings, &known.settings);
        let is_same = new.keys_url.is_some()
            && new.keys_url == old.keys_url
            && new.keys_refresh_s == old.keys_refresh_s
            && new.keys_kept_s_max == old.keys_kept_s_max
            && self.trusted == known.trusted;
        if !is_same {
            return self;
        }
        Arc::new(Self { keys: Arc::clone(&known.keys), ..Self::clone(&self) })
    }

    /// The key of the file that decides whose signature is believed, and the SHA-256 of what it
    /// held when it was read.
    pub fn trusted(&self) -> (&'static str, Digest) {
        self.trusted
    }

    /// The roles that rules can speak of.
    pub fn roles(&self) -> &Arc<[RoleName]> {
        &self.roles
    }

    /// Checks a token that came with the certificate of this fingerprint.
    ///
    /// # Errors
    /// `OperatorUnproven` with the check that failed; `OperatorKeysUnavailable` if the issuer's
    /// keys cannot be had.
    pub async fn check(
        &self,
        token: &str,
        certificate: Option<&Digest>,
        now: Timestamp,
    ) -> Result<Operator, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(unproven(&format!("send a token of at most {TOKEN_BYTES_MAX} bytes")));
        }
        let header = decode_header(token).map_err(|_| unproven(NOT_A_TOKEN))?;
        if !self.algorithms.contains(&header.alg) {
            return Err(unproven("sign with an algorithm that is configured for this issuer"));
        }
        if header.crit.is_some() {
            return Err(unproven("leave \"crit\" out: no extension is understood"));
        }
        let kid = header.kid.as_deref().unwrap_or_default();
        let key = self.keys.find(kid, now).await.map_err(no_key)?;
        if key.algorithm.is_some_and(|algorithm| algorithm != header.alg) {
            return Err(unproven("sign with the algorithm that the key is for"));
        }
        let mut validation = Validation::new(header.alg);
        // The library looks at the system's clock; times are judged below, by the gateway's.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["iss", "aud", "sub"]);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        let claims = decode::<Claims>(token, &key.decoding, &validation).map_err(because)?.claims;
        if !jumpgate_catalogue::is_note(&claims.sub) {
            return Err(unproven("name the operator in sub by 1 to 64 bytes of printable text"));
        }
        self.check_times(&claims, now)?;
        let bound = claims.cnf.and_then(|cnf| cnf.certificate);
        let shown = certificate.map(|digest| URL_SAFE_NO_PAD.encode(digest.0));
        if bound.is_none() || bound != shown {
            return Err(unproven(
                "bind the token to the certificate of this connection: cnf, x5t#S256 (RFC 8705)",
            ));
        }
        let query_id = claims.query_id.as_deref().map(QueryId::from_str).transpose();
        let query_id =
            query_id.map_err(|_| unproven("name a query_id of 32 hexadecimal digits"))?;
        let content = claims.content_sha256.as_deref().map(content_digest).transpose()?;
        let known = self.roles.iter().filter(|role| claims.roles.iter().any(|it| **it == ***role));
        let roles = known.cloned().collect();
        Ok(Operator { name: claims.sub, issuer: claims.iss.into(), roles, query_id, content })
    }

    fn check_times(&self, claims: &Claims, now: Timestamp) -> Result<(), Refusal> {
        let now = Duration::from_millis(u64::try_from(now.as_millisecond()).unwrap_or(0));
        let (now, skew) = (now.as_secs_f64(), f64::from(self.settings.skew_s_max));
        let lifetime_max = self.settings.lifetime_s_max;
        // Written so that what is not finite fails, and what follows sees finite numbers.
        let lives = claims.exp - claims.iat;
        if !(lives > 0.0 && lives <= f64::from(lifetime_max)) {
            let mend = format!("issue tokens for at most {lifetime_max} seconds, iat to exp");
            return Err(unproven(&mend));
        }
        if now >= claims.exp + skew {
            return Err(unproven("the token has expired: get a new one"));
        }
        if claims.iat > now + skew || claims.nbf.unwrap_or(0.0) > now + skew {
            return Err(unproven("the token is not good yet: compare the issuer's clock"));
        }
        Ok(())
    }
}

impl IssuerSettings {
    fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        let mut add = |key, is_wrong: bool, mend: &str| {
            if is_wrong {
                mistakes.push((key, mend.to_owned()));
            }
        };
        let fits = (1..=ISSUER_BYTES_MAX).contains(&self.issuer.len());
        add("issuer", !fits, "write the claim iss of its tokens, 1 to 255 bytes");
        add("audience", self.audience.is_empty(), "write the name of this gateway for the issuer");
        let none = self.algorithms.is_empty();
        add("algorithms", none, "name at least one of ES256, ES384, EdDSA, PS256 and RS256");
        let lifetimes = 1..=LIFETIME_S_MAX_MAX;
        add("lifetime_s_max", !lifetimes.contains(&self.lifetime_s_max), "must be 1 to 900");
        add("skew_s_max", self.skew_s_max > SKEW_S_MAX_MAX, "must be 0 to 60");
        let kept = self.keys_refresh_s >= 1 && self.keys_refresh_s <= self.keys_kept_s_max;
        add("keys_refresh_s", !kept, "must be 1 to keys_kept_s_max");
        let is_name = |role: &String| {
            let of = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            (1..=64).contains(&role.len()) && role.bytes().all(of)
        };
        let all = self.roles.iter().all(is_name);
        add("roles", !all, "a role has 1 to 64 of a to z, 0 to 9 and -");
        add("roles", self.roles.len() > ROLES_MAX, "name at most 5 roles");
        mistakes
    }
}

fn no_key(why: NoKey) -> Refusal {
    match why {
        NoKey::Unknown => unproven("sign with a key of the issuer's set, and name it as kid"),
        NoKey::Unavailable => {
            let mend = "the issuer's keys cannot be had: ask again after Retry-After";
            Refusal::new(RefusalCode::OperatorKeysUnavailable, mend).after(KEYS_RETRY)
        }
    }
}

fn because(error: jsonwebtoken::errors::Error) -> Refusal {
    use jsonwebtoken::errors::ErrorKind;
    unproven(match error.kind() {
        ErrorKind::InvalidSignature => "the signature is not that of the key that kid names",
        ErrorKind::InvalidIssuer => "iss must be the issuer that is configured",
        ErrorKind::InvalidAudience => "aud must name this gateway",
        ErrorKind::MissingRequiredClaim(_) => "a token has iss, aud, sub, iat, exp and cnf",
        ErrorKind::InvalidKeyFormat => "sign with the algorithm that the key is for",
        _ => NOT_A_TOKEN,
    })
}

fn unproven(mend: &str) -> Refusal {
    Refusal::new(RefusalCode::OperatorUnproven, format!("{HEADER}: {mend}"))
}

/// The caller must send a token and has sent none.
pub(crate) fn missing() -> Refusal {
    unproven("send the operator's signed token in this header, once")
}

const NOT_A_TOKEN: &str =
    "send a signed JWT in compact form (RFC 7519) with iss, aud, sub, iat, exp and cnf";
/// A token with a dozen roles has one kilobyte.
const TOKEN_BYTES_MAX: usize = 4096;
/// A provider that restarts is back within seconds.
const KEYS_RETRY: Duration = Duration::from_secs(10);
/// A shift is longer, but a token is renewed silently.
const LIFETIME_S_MAX_MAX: u32 = 900;
const SKEW_S_MAX_MAX: u32 = 60;
/// It stands in a sealed field of each entry.
const ISSUER_BYTES_MAX: usize = 255;

mod defaults {
    /// A new key is in use minutes after it is published, and an unknown one is looked for at once.
    pub fn keys_refresh_s() -> u32 {
        300
    }

    /// A day without its identity provider does not close a counter.
    pub fn keys_kept_s_max() -> u32 {
        86_400
    }

    pub fn lifetime_s_max() -> u32 {
        900
    }

    /// Machines with a time service are within a second; some have none.
    pub fn skew_s_max() -> u32 {
        30
    }
}
