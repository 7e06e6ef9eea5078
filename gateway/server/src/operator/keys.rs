//! The keys of an issuer of tokens: a JWK set (RFC 7517) from a file or from an address.
//!
//! A file is read once: another one comes by a reload, which is an act of people. Owns when an
//! address is read again: when the set is older than `keys_refresh_s`, and when a token names a key
//! that is not in it, but not more often than every ten seconds. What was read stays good while the
//! address is out of reach, for at most `keys_kept_s_max`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use jumpgate_catalogue::Digest;
use jumpgate_runtime::contract::{Chunk, HttpRequest, Method};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::endpoint::{AllowSettings, Endpoint, EndpointSettings, Method as Allowed, TlsSettings};

/// An issuer's keys, as they were read last.
pub(super) struct Keys {
    /// None for keys of a file.
    source: Option<Source>,
    read: ArcSwap<Read>,
}

/// An address that gives a JWK set.
struct Source {
    endpoint: Endpoint,
    path: String,
    refresh: SignedDuration,
    kept_max: SignedDuration,
    /// One reads, others go on with what there is, or wait for it.
    reading: Arc<Semaphore>,
}

/// What was read.
#[derive(Default)]
struct Read {
    keys: HashMap<String, Key>,
    /// When that was.
    at: Option<Timestamp>,
    /// When it was last tried.
    tried: Option<Timestamp>,
}

/// A key that tokens may be signed with.
#[derive(Clone)]
pub(super) struct Key {
    pub decoding: DecodingKey,
    /// The algorithm that the set says it is for, if it says so.
    pub algorithm: Option<Algorithm>,
}

/// There is no key to check a token with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The issuer's set is there, and has no such key.
    Unknown,
    /// The set cannot be read, or was read too long ago to tell.
    Unavailable,
}

impl Source {
    async fn read(&self) -> Result<HashMap<String, Key>, String> {
        let request = HttpRequest {
            method: Method::Get,
            path: vec![Chunk::Literal(self.path.clone().into_bytes())],
            headers: Vec::new(),
            body: Vec::new(),
        };
        let deadline = Instant::now() + Duration::from_millis(FETCH_MS_MAX);
        let fetched = self.endpoint.fetch(&request, true, "", deadline, &|| false).await;
        let reply = fetched.map_err(|fault| fault.code.code().to_owned())?;
        if reply.status != 200 {
            return Err(format!("the server answers with status {}", reply.status));
        }
        parse(&reply.body)
    }
}

impl Keys {
    /// The keys of a file, and the SHA-256 of what it held.
    pub fn of_file(path: &Path) -> Result<(Self, Digest), String> {
        let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let keys = parse(&bytes).map_err(|why| format!("{}: {why}", path.display()))?;
        let read = ArcSwap::from_pointee(Read { keys, at: None, tried: None });
        Ok((Self { source: None, read }, Digest::of(&bytes)))
    }

    /// Keys of an `https` address whose server is recognised by the certificates in `roots_file`,
    /// and the SHA-256 of what that file holds. They are read when the first token comes.
    pub fn of_address(
        url: &str,
        roots_file: &Path,
        refresh_s: u32,
        kept_s_max: u32,
    ) -> Result<(Self, Digest), String> {
        let rest =
            url.strip_prefix("https://").ok_or("write an address that begins with https://")?;
        let (host, path) = rest.split_once('/').ok_or("write an address with a path")?;
        let path = format!("/{path}");
        let roots = || {
            let bytes = fs::read(roots_file);
            let bytes = bytes.map_err(|error| format!("{}: {error}", roots_file.display()))?;
            Ok::<_, String>(Digest::of(&bytes))
        };
        let digest = roots()?;
        let endpoint = Endpoint::new(&endpoint_settings(host, &path, roots_file));
        let endpoint = endpoint.map_err(|mistakes| {
            let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            mistakes.join("; ")
        })?;
        if roots()? != digest {
            return Err("keys_roots_file changed while it was read: try again".to_owned());
        }
        let source = Source {
            endpoint,
            path,
            refresh: SignedDuration::from_secs(refresh_s.into()),
            kept_max: SignedDuration::from_secs(kept_s_max.into()),
            reading: Arc::new(Semaphore::new(1)),
        };
        Ok((Self { source: Some(source), read: ArcSwap::default() }, digest))
    }

    /// The key of this name.
    pub async fn find(self: &Arc<Self>, name: &str, now: Timestamp) -> Result<Key, NoKey> {
        let read = self.read.load_full();
        let Some(source) = &self.source else {
            return read.keys.get(name).cloned().ok_or(NoKey::Unknown);
        };
        let found = read.keys.get(name).filter(|_| is_within(read.at, source.kept_max, now));
        match found {
            Some(key) if is_within(read.at, source.refresh, now) => return Ok(key.clone()),
            // A little late is no reason to let anybody wait.
            Some(key) if is_within(read.at, source.refresh * 2, now) => {
                self.refresh_meanwhile(source, now);
                return Ok(key.clone());
            }
            Some(_) | None => {}
        }
        // In a task of its own: whoever hangs up cuts off no reading that others wait for.
        let keys = Arc::clone(self);
        let was_read = tokio::spawn(async move { keys.read_again(now).await }).await;
        let read = self.read.load();
        if !is_within(read.at, source.kept_max, now) {
            return Err(NoKey::Unavailable);
        }
        match (read.keys.get(name), was_read) {
            (Some(key), _) => Ok(key.clone()),
            (None, Ok(true)) => Err(NoKey::Unknown),
            // A key that came since the last reading cannot be told from one that never was.
            (None, _) => Err(NoKey::Unavailable),
        }
    }

    fn refresh_meanwhile(self: &Arc<Self>, source: &Source, now: Timestamp) {
        let is_due = !is_within(self.read.load().tried, TRIES_APART, now);
        if is_due && source.reading.available_permits() > 0 {
            let keys = Arc::clone(self);
            tokio::spawn(async move { keys.read_again(now).await });
        }
    }

    /// Reads the set, unless that was tried a moment ago; true if it was read. What cannot be read
    /// leaves what was.
    async fn read_again(&self, now: Timestamp) -> bool {
        let Some(source) = &self.source else { return false };
        // The semaphore is never closed.
        let Ok(_one) = source.reading.acquire().await else { return false };
        let before = self.read.load_full();
        if is_within(before.tried, TRIES_APART, now) {
            return false;
        }
        let (read, was_read) = match source.read().await {
            Ok(keys) => (Read { keys, at: Some(now), tried: Some(now) }, true),
            Err(why) => {
                tracing::error!(why, "the keys of a token issuer cannot be read");
                (Read { keys: before.keys.clone(), at: before.at, tried: Some(now) }, false)
            }
        };
        self.read.store(Arc::new(read));
        was_read
    }
}

/// True if that was less than `limit` ago. What the clock says lies ahead was at no time: it was
/// set back since.
fn is_within(at: Option<Timestamp>, limit: SignedDuration, now: Timestamp) -> bool {
    at.is_some_and(|at| (SignedDuration::ZERO..limit).contains(&now.duration_since(at)))
}

fn endpoint_settings(host: &str, path: &str, roots_file: &Path) -> EndpointSettings {
    EndpointSettings {
        base_url: format!("https://{host}"),
        timeout_ms: FETCH_MS_MAX,
        connect_timeout_ms: FETCH_MS_MAX,
        reply_bytes_max: SET_BYTES_MAX,
        request_bytes_max: 4096,
        connections_idle_max: 1,
        idle_s_max: 1,
        allow: vec![AllowSettings {
            method: Allowed::Get,
            path_prefix: path.to_owned(),
            soap_action: None,
            body_root: None,
        }],
        tls: Some(TlsSettings {
            roots_file: roots_file.to_owned(),
            client_certificate_file: None,
            client_key_file: None,
            server_name: None,
        }),
        credential: None,
    }
}

/// The keys of a set that can check signatures; others in it are passed over.
fn parse(bytes: &[u8]) -> Result<HashMap<String, Key>, String> {
    if bytes.len() > SET_BYTES_MAX {
        return Err(format!("the JWK set is larger than {SET_BYTES_MAX} bytes"));
    }
    let set: JwkSet = serde_json::from_slice(bytes)
        .map_err(|_| "this is no JWK set (RFC 7517) with a \"keys\" array".to_owned())?;
    let usable = set.keys.iter().filter_map(|jwk| {
        let is_public = matches!(
            jwk.algorithm,
            AlgorithmParameters::EllipticCurve(_)
                | AlgorithmParameters::RSA(_)
                | AlgorithmParameters::OctetKeyPair(_)
        );
        let signs =
            jwk.common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
        if !is_public || !signs {
            return None;
        }
        let name = jwk.common.key_id.clone()?;
        let algorithm = match jwk.common.key_algorithm {
            Some(KeyAlgorithm::ES256) => Some(Algorithm::ES256),
            Some(KeyAlgorithm::ES384) => Some(Algorithm::ES384),
            Some(KeyAlgorithm::EdDSA) => Some(Algorithm::EdDSA),
            Some(KeyAlgorithm::PS256) => Some(Algorithm::PS256),
            Some(KeyAlgorithm::RS256) => Some(Algorithm::RS256),
            // Of no use here, as an encryption key is not.
            Some(_) => return None,
            None => None,
        };
        Some((name, Key { decoding: DecodingKey::from_jwk(jwk).ok()?, algorithm }))
    });
    let keys: HashMap<String, Key> = usable.take(KEYS_MAX).collect();
    if keys.is_empty() {
        return Err("the JWK set has no public signing key with a \"kid\"".to_owned());
    }
    Ok(keys)
}

/// A clerk waits; an identity provider that needs longer is down for him.
const FETCH_MS_MAX: u64 = 2_000;
/// A token that names a key nobody has must not make the gateway ask its issuer each time.
const TRIES_APART: SignedDuration = SignedDuration::from_secs(10);
/// A set of ten RSA keys with their certificates has 30 kB.
const SET_BYTES_MAX: usize = 256 << 10;
/// More than a provider rotates through.
const KEYS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_clock_says_lies_ahead_is_not_fresh() {
        let (limit, at) = (SignedDuration::from_secs(10), Timestamp::UNIX_EPOCH);
        let after = |seconds| is_within(Some(at), limit, at + SignedDuration::from_secs(seconds));
        assert!(after(0) && after(9));
        assert!(!after(10) && !after(-1) && !is_within(None, limit, at));
    }
}
