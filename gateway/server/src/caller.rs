//! Who asks: from a client certificate to a [`Caller`].
//!
//! Owns the table of callers. A `Caller` is made here only, for a certificate that is trusted, not
//! revoked, not expired and known; all of it is checked again on an open connection before each
//! query.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jumpgate_admission::Desk;
use jumpgate_catalogue::{CallerId, Digest, Refusal};
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::config::{CallerName, Rights, Shown};
use crate::operator::{self, Operator};
use crate::trust::Trust;

/// Who asks. Holding one proves a verified certificate, or the listener that the configuration
/// itself calls dangerous.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    id: CallerId,
    rights: Rights,
    operators: Operators,
}

/// What is known of the people at a caller's desk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operators {
    /// The caller names them, or does not.
    Claimed,
    /// The caller must send their tokens; of the issuer with this name in the configuration.
    Required(Arc<str>),
    /// A token is good for this caller.
    Proven(Arc<Operator>),
    /// Two people's tokens are: they ask past the auditor of exact answers.
    Two(Arc<[Operator; 2]>),
}

/// The callers, by what names them in a certificate.
#[derive(Debug, PartialEq, Eq)]
pub struct Callers {
    by_shown: HashMap<Shown, Caller>,
}

/// What one connection showed, checked again before each query.
pub struct Session {
    chain: Vec<CertificateDer<'static>>,
    checked: Mutex<Checked>,
    not_after_s: u64,
}

/// Whom the chain named, and by which trust.
struct Checked {
    generation: u64,
    caller: Result<Caller, NotACaller>,
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

impl Caller {
    /// Its id.
    pub fn id(&self) -> &CallerId {
        &self.id
    }

    /// What it gets besides answers.
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// What is known of the person at its desk.
    pub fn operators(&self) -> &Operators {
        &self.operators
    }

    /// The person at its desk, if his token was checked.
    pub fn operator(&self) -> Option<&Operator> {
        match &self.operators {
            Operators::Proven(operator) => Some(operator),
            Operators::Two(both) => both.first(),
            Operators::Claimed | Operators::Required(_) => None,
        }
    }

    /// The person who asks with him past the auditor, if both tokens were checked.
    pub fn second_operator(&self) -> Option<&Operator> {
        match &self.operators {
            Operators::Two(both) => both.last(),
            Operators::Claimed | Operators::Required(_) | Operators::Proven(_) => None,
        }
    }

    /// Checks that those whose tokens were checked have agreed to this body.
    ///
    /// # Errors
    /// `OperatorUnproven`.
    pub(crate) fn agrees_to(&self, body: &[u8]) -> Result<(), Refusal> {
        match &self.operators {
            Operators::Claimed | Operators::Required(_) => Ok(()),
            Operators::Proven(operator) => operator.agrees_to(body),
            Operators::Two(both) => operator::agree_to(both, body),
        }
    }

    /// What rules see of the people at its desk.
    pub(crate) fn desk(&self) -> Desk<'_> {
        match &self.operators {
            Operators::Claimed | Operators::Required(_) => Desk::Claimed,
            Operators::Proven(operator) => Desk::Proven(operator.roles()),
            Operators::Two(both) => Desk::Two(both[0].roles()),
        }
    }

    /// The same caller with those at its desk whose tokens were checked for it.
    pub(crate) fn with_operators(mut self, operators: Operators) -> Self {
        self.operators = operators;
        self
    }

    /// The fixed caller of the listener in clear. Believes whoever connects.
    pub(crate) fn dangerous_clear(id: CallerId) -> Self {
        Self { id, rights: Rights::default(), operators: Operators::Claimed }
    }
}

impl Callers {
    /// The callers of a configuration.
    pub fn new(names: &[CallerName]) -> Self {
        let caller = |name: &CallerName| Caller {
            id: name.id.clone(),
            rights: name.rights,
            operators: match &name.operators {
                Some(issuer) => Operators::Required(Arc::clone(issuer)),
                None => Operators::Claimed,
            },
        };
        Self { by_shown: names.iter().map(|name| (name.shown.clone(), caller(name))).collect() }
    }

    fn named(&self, end_entity: &CertificateDer<'_>) -> Result<Caller, NotACaller> {
        let (_, parsed) =
            X509Certificate::from_der(end_entity).map_err(|_| NotACaller::Unreadable)?;
        let fingerprint = Digest::of(end_entity);
        let by_fingerprint = self.by_shown.get(&Shown::Fingerprint(fingerprint));
        let named = by_fingerprint.or_else(|| {
            uris(&parsed).find_map(|uri| self.by_shown.get(&Shown::Uri(uri.to_owned())))
        });
        named.cloned().ok_or(NotACaller::Unknown(fingerprint))
    }
}

impl Session {
    /// What a connection's chain shows, which a handshake verified against `trust`.
    ///
    /// # Errors
    /// The chain is empty or cannot be read.
    pub fn new(chain: Option<&[CertificateDer<'_>]>, trust: &Trust) -> Result<Self, NotACaller> {
        let chain = chain.unwrap_or_default();
        let end_entity = chain.first().ok_or(NotACaller::None)?;
        let (_, parsed) =
            X509Certificate::from_der(end_entity).map_err(|_| NotACaller::Unreadable)?;
        let caller = trust.callers().named(end_entity);
        Ok(Self {
            chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
            checked: Mutex::new(Checked { generation: trust.generation(), caller }),
            not_after_s: u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0),
        })
    }

    /// The caller, if its certificate still holds at `now` and still names one.
    ///
    /// # Errors
    /// It has expired, or is revoked, not trusted or unknown by what is in force now.
    pub fn caller(&self, trust: &Trust, now: UnixTime) -> Result<Caller, NotACaller> {
        if now.as_secs() > self.not_after_s {
            return Err(NotACaller::Expired(self.fingerprint()));
        }
        // Two words are written under this lock, so a poisoned one is still good.
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.generation != trust.generation() {
            let (end_entity, intermediates) = self.chain.split_first().ok_or(NotACaller::None)?;
            trust
                .verify(end_entity, intermediates, now)
                .map_err(|_| NotACaller::Revoked(self.fingerprint()))?;
            let caller = trust.callers().named(end_entity);
            *checked = Checked { generation: trust.generation(), caller };
        }
        checked.caller.clone()
    }

    /// SHA-256 of the certificate that was shown.
    pub fn fingerprint(&self) -> Digest {
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
