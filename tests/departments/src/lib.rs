//! Simulated departments: real HTTP servers on loopback with realistic, deterministic records and
//! faults on demand. [`population`] tells the truth about each person; the servers show it as a
//! department would. README.md has the wire shapes, the people and the faults.
//!
//! Owns nothing of the gateway and must never depend on it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use jiff::civil::Date;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use civil_registry::CivilRegistry;
use control::ControlDesk;
use door::Bound;
use social_insurance::SocialInsurance;

pub use auth::{Auth, InvalidAuth};
pub use control::Control;
pub use door::Requests;
pub use dump::dump;
pub use faults::{
    Department, FAULT_NAMES, Fault, FaultRule, Faults, InvalidFault, RULES_MAX, RefusedRule,
};
pub use insurance::{
    Arrears, Contribution, ContributionState, Employer, Employment, Insurance, Membership,
    MembershipState, Month, Pension, PensionState, Scheme, Status, employers,
};
pub use person::{
    Household, Identifiers, Marital, Member, Name, Person, RecordedBirth, Residence, Role, Sex,
    UNUSABLE_BIRTH_DATE,
};
pub use places::Place;
pub use population::{PEOPLE_MAX, population};
pub use server::Server;
pub use special::Special;

mod auth;
mod civil_registry;
mod control;
mod directory;
mod door;
mod dump;
mod faults;
mod identifier;
mod insurance;
mod names;
mod person;
mod places;
mod population;
mod random;
mod record;
mod server;
mod social_insurance;
mod special;
mod tls;

/// The two servers; they stop when this is dropped.
#[derive(Debug)]
pub struct Departments {
    /// SOAP: `{base}/PersonQuery`.
    pub civil_registry: Server,
    /// REST: `{base}/v2`.
    pub social_insurance: Server,
}

/// How the departments are.
#[derive(Debug)]
pub struct Options {
    /// Seeds the population.
    pub seed: u64,
    /// How many people, at most [`PEOPLE_MAX`].
    pub people: usize,
    /// The day the records are as of.
    pub today: Date,
    /// Where to listen; the port is the system's choice.
    pub bind: IpAddr,
    /// TLS for both servers.
    pub tls: Option<Tls>,
    /// What the civil registry demands.
    pub civil_auth: Auth,
    /// What social insurance demands; not a UsernameToken.
    pub social_auth: Auth,
}

impl Options {
    /// 400 people on loopback, without TLS and without credentials.
    pub fn new(seed: u64, today: Date) -> Self {
        Self {
            seed,
            people: 400,
            today,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            tls: None,
            civil_auth: Auth::None,
            social_auth: Auth::None,
        }
    }
}

/// A server's certificate and what it asks of callers.
#[derive(Debug)]
pub struct Tls {
    /// The chain, the server's own certificate first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
    /// If set, callers must show a certificate that one of these issued.
    pub client_roots: Option<Vec<CertificateDer<'static>>>,
}

/// The departments did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFailure {
    /// A REST service has no SOAP header to put a UsernameToken in.
    #[error("social insurance cannot demand a UsernameToken")]
    SoapAuth,
    /// The TLS material does not fit together.
    #[error("the TLS certificate, key or client roots cannot be used")]
    Tls(#[source] rustls::Error),
    /// The port cannot be bound.
    #[error("cannot listen")]
    Bind(#[source] std::io::Error),
}

impl Departments {
    /// Starts both servers on the present runtime, with every record rendered.
    ///
    /// # Errors
    /// [`StartFailure`].
    pub async fn start(options: Options) -> Result<Self, StartFailure> {
        let Options { seed, people, today, bind, tls, civil_auth, social_auth } = options;
        if social_auth.is_soap() {
            return Err(StartFailure::SoapAuth);
        }
        let tls = tls.map(tls::server_config).transpose().map_err(StartFailure::Tls)?;
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let people = population(seed, people, today);
        let civil_door = Bound::new(bind, tls.clone()).await.map_err(StartFailure::Bind)?;
        let social_door = Bound::new(bind, tls).await.map_err(StartFailure::Bind)?;
        let civil = CivilRegistry::new(&people, seed, today, civil_auth, civil_door.base_url());
        let social = SocialInsurance::new(&people, today, social_auth);
        Ok(Self {
            civil_registry: Server::open(civil_door, Department::CivilRegistry, civil),
            social_insurance: Server::open(social_door, Department::SocialInsurance, social),
        })
    }

    /// Starts a control listener on loopback.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub async fn control(&self) -> std::io::Result<Control> {
        let bound = Bound::new(IpAddr::V4(Ipv4Addr::LOCALHOST), None).await?;
        let servers = [self.civil_registry.observe(), self.social_insurance.observe()];
        Ok(Control { door: bound.open(ControlDesk { servers }, None) })
    }
}

#[cfg(test)]
mod tests;
