//! Who asks: from a client certificate to a [`Caller`].
//!
//! Owns trust anchors, revocation lists and the table of callers. A `Caller` is made here only, for
//! a certificate that is trusted, not revoked, not expired and known; all of it is checked again
//! on an open connection before each query.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use jumpgate_catalogue::{CallerId, Digest};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::config::{CallerName, ListenerSettings, Rights, Shown};

/// Who asks. Holding one proves a verified certificate, or the listener that the configuration
/// itself calls dangerous.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    id: CallerId,
    rights: Rights,
}

/// The callers and what their certificates are checked against.
pub struct Callers {
    by_shown: HashMap<Shown, Caller>,
    files: TrustFiles,
    trust: ArcSwap<Trust>,
    hints: Arc<[DistinguishedName]>,
}

/// What one connection showed, checked again before each query.
pub struct Session {
    chain: Vec<CertificateDer<'static>>,
    caller: Caller,
    /// The trust's generation this chain was last checked against.
    checked: AtomicU64,
    not_after_s: u64,
}

/// Why a connection's certificate names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotACaller {
    /// None was shown.
    #[error("no client certificate was shown")]
    None,
    /// It cannot be read.
    #[error("the client certificate cannot be parsed")]
    Unreadable,
    /// It is trusted, but no `[[callers]]` table names it.
    #[error("no configured caller has this certificate (sha256 {0})")]
    Unknown(Digest),
    /// It has expired since the connection was opened.
    #[error("the client certificate has expired (sha256 {0})")]
    Expired(Digest),
    /// It was revoked, or is no longer trusted, since the connection was opened.
    #[error("the client certificate was revoked (sha256 {0})")]
    Revoked(Digest),
}

/// A certificate, key or revocation list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustFault {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// The file holds nothing of the kind.
    #[error("{0} holds no {1} in PEM or DER")]
    Empty(PathBuf, &'static str),
    /// The parts do not make a verifier or an identity.
    #[error("{0}: {1}")]
    Unusable(PathBuf, String),
}

impl TrustFault {
    /// The file at fault.
    pub fn path(&self) -> &Path {
        match self {
            Self::Unreadable(path, _) | Self::Empty(path, _) | Self::Unusable(path, _) => path,
        }
    }
}

impl Caller {
    /// Its id.
    pub fn id(&self) -> &CallerId {
        &self.id
    }

    /// What it gets besides answers.
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// The fixed caller of the listener in clear. Believes whoever connects.
    pub(crate) fn dangerous_clear(id: CallerId) -> Self {
        Self { id, rights: Rights::default() }
    }
}

impl Callers {
    /// Reads the trust anchors and revocation lists.
    ///
    /// # Errors
    /// A file cannot be read or used.
    pub fn new(names: &[CallerName], files: TrustFiles) -> Result<Arc<Self>, TrustFault> {
        let caller = |name: &CallerName| Caller { id: name.id.clone(), rights: name.rights };
        let by_shown = names.iter().map(|name| (name.shown.clone(), caller(name))).collect();
        let trust = files.read()?;
        let hints = trust.verifier.root_hint_subjects().into();
        Ok(Arc::new(Self { by_shown, files, trust: ArcSwap::from_pointee(trust), hints }))
    }

    /// Reads the files again. Open connections are checked against them before their next query.
    ///
    /// # Errors
    /// A file cannot be used; what was in force stays in force.
    pub fn reload(&self) -> Result<(), TrustFault> {
        let mut trust = self.files.read()?;
        trust.generation = self.trust.load().generation + 1;
        self.trust.store(Arc::new(trust));
        Ok(())
    }

    /// Counts reloads. Read it before a handshake and hand it to [`session`](Self::session), so
    /// that a list read during the handshake is looked at again.
    pub fn generation(&self) -> u64 {
        self.trust.load().generation
    }

    /// What a connection's chain shows, which a handshake verified against `generation`.
    ///
    /// # Errors
    /// The chain is empty, cannot be read or names nobody.
    pub fn session(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
        generation: u64,
    ) -> Result<Session, NotACaller> {
        let chain = chain.unwrap_or_default();
        let end_entity = chain.first().ok_or(NotACaller::None)?;
        let (_, parsed) =
            X509Certificate::from_der(end_entity).map_err(|_| NotACaller::Unreadable)?;
        let fingerprint = Digest::of(end_entity);
        let by_fingerprint = self.by_shown.get(&Shown::Fingerprint(fingerprint));
        let named = by_fingerprint.or_else(|| {
            uris(&parsed).find_map(|uri| self.by_shown.get(&Shown::Uri(uri.to_owned())))
        });
        let caller = named.ok_or(NotACaller::Unknown(fingerprint))?.clone();
        Ok(Session {
            chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
            caller,
            checked: AtomicU64::new(generation),
            not_after_s: u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0),
        })
    }
}

impl Session {
    /// The caller, if its certificate still holds at `now`.
    ///
    /// # Errors
    /// It has expired, or a revocation list read since names it.
    pub fn caller(&self, callers: &Callers, now: UnixTime) -> Result<Caller, NotACaller> {
        if now.as_secs() > self.not_after_s {
            return Err(NotACaller::Expired(self.fingerprint()));
        }
        let trust = callers.trust.load();
        // Relaxed: two queries of one connection may both check a new list, which harms nothing.
        if self.checked.load(Ordering::Relaxed) != trust.generation {
            let (end_entity, intermediates) = self.chain.split_first().ok_or(NotACaller::None)?;
            trust
                .verifier
                .verify_client_cert(end_entity, intermediates, now)
                .map_err(|_| NotACaller::Revoked(self.fingerprint()))?;
            self.checked.store(trust.generation, Ordering::Relaxed);
        }
        Ok(self.caller.clone())
    }

    fn fingerprint(&self) -> Digest {
        Digest::of(self.chain.first().map(|end_entity| end_entity.as_ref()).unwrap_or_default())
    }
}

fn uris<'a>(certificate: &'a X509Certificate<'a>) -> impl Iterator<Item = &'a str> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|extension| extension.value.general_names.as_slice());
    names.unwrap_or_default().iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    })
}

// --- trust -----------------------------------------------------------------------------------

/// Where trust anchors and revocation lists lie.
#[derive(Debug, Clone)]
pub struct TrustFiles {
    anchors: PathBuf,
    crls: Vec<PathBuf>,
}

/// What certificates are checked against, until the next reload.
pub struct Trust {
    generation: u64,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl TrustFiles {
    /// The files a listener names.
    pub fn of(listener: &ListenerSettings) -> Self {
        Self { anchors: listener.client_trust_file.clone(), crls: listener.crl_files.clone() }
    }

    /// Reads them.
    ///
    /// # Errors
    /// A file cannot be read or holds nothing usable.
    pub fn read(&self) -> Result<Trust, TrustFault> {
        let mut roots = RootCertStore::empty();
        for anchor in certificates(&self.anchors)? {
            let unusable = |error: rustls::Error| {
                TrustFault::Unusable(self.anchors.clone(), error.to_string())
            };
            roots.add(anchor).map_err(unusable)?;
        }
        let mut lists = Vec::new();
        for path in &self.crls {
            lists.extend(revocation_lists(path)?);
        }
        let revocation_is_checked = !lists.is_empty();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).with_crls(lists);
        if revocation_is_checked {
            // A list past its nextUpdate may hide a revocation: refuse rather than believe it.
            builder = builder.enforce_revocation_expiration();
        }
        let unusable = |error: rustls::server::VerifierBuilderError| {
            TrustFault::Unusable(self.anchors.clone(), error.to_string())
        };
        Ok(Trust { generation: 0, verifier: builder.build().map_err(unusable)? })
    }
}

/// The gateway's own certificate chain and key.
///
/// # Errors
/// A file cannot be read, holds nothing of the kind, or the two do not belong together.
pub fn server_identity(
    certificate: &Path,
    key: &Path,
) -> Result<Arc<rustls::sign::CertifiedKey>, TrustFault> {
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|_| TrustFault::Empty(key.to_owned(), "private key"))?;
    let provider = rustls::crypto::ring::default_provider();
    let certified = rustls::sign::CertifiedKey::from_der(chain, private, &provider)
        .map_err(|error| TrustFault::Unusable(key.to_owned(), error.to_string()))?;
    Ok(Arc::new(certified))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustFault> {
    let bytes = fs::read(path).map_err(|error| TrustFault::Unreadable(path.to_owned(), error))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TrustFault::Empty(path.to_owned(), "certificate")),
    }
}

fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TrustFault> {
    let bytes = fs::read(path).map_err(|error| TrustFault::Unreadable(path.to_owned(), error))?;
    let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) if bytes.first() == Some(&DER_SEQUENCE) => Ok(vec![bytes.into()]),
        _ => Err(TrustFault::Empty(path.to_owned(), "revocation list")),
    }
}

/// First byte of every DER-encoded list.
const DER_SEQUENCE: u8 = 0x30;

// --- the verifier that reloads ---------------------------------------------------------------

impl std::fmt::Debug for Callers {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Callers").finish_non_exhaustive()
    }
}

/// Hands each handshake to the verifier in force, so that a new revocation list needs no new
/// listener.
impl ClientCertVerifier for Callers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.trust.load().verifier.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trust.load().verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trust.load().verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.load().verifier.supported_verify_schemes()
    }
}
