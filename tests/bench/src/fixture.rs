//! What every scenario needs: programs and plugins built, a scratch folder on a real disk, one set
//! of certificates for everybody, and the departments running.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use jumpgate::author;
use jumpgate::development::{Authority, LONG, Use};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;

use crate::Failure;
use crate::client::Door;
use crate::departments::Departments;

/// Everything but the contenders. Its processes end and its folder goes when it is dropped.
pub struct Fixture {
    /// The root of the checkout.
    pub root: PathBuf,
    /// `jumpgate`.
    pub program: PathBuf,
    /// The departments.
    pub departments: Departments,
    /// Certificates and keys.
    pub certificates: Certificates,
    plugins: PathBuf,
    connector: TlsConnector,
    // Last: it is removed when nobody writes to it any more.
    scratch: TempDir,
}

/// PEM files: ECDSA P-256, one authority for both sides.
pub struct Certificates {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The certificate that Jumpgate and nginx show.
    pub server: PathBuf,
    /// Its key.
    pub server_key: PathBuf,
}

/// Where a contender can be asked.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// With mutual TLS.
    pub tls: SocketAddr,
    /// Without.
    pub clear: SocketAddr,
}

impl Fixture {
    /// Builds what must be built and starts the departments.
    ///
    /// # Errors
    /// A build fails, or something does not start.
    pub async fn new(today: Date) -> Result<Self, Failure> {
        let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).canonicalize()?;
        let programs = std::env::current_exe()?;
        let programs = programs.parent().ok_or("this program has no folder")?;
        let target = programs.parent().ok_or("this program's folder has no parent")?;
        build_programs(&root, target)?;
        let plugins = target.join("plugins");
        for plugin in ["civil-registry", "social-insurance"] {
            author::build(&root.join("plugins").join(plugin), &plugins)?;
        }
        // Beside the programs, not in /tmp, which is often memory: a sync must cost what it does.
        let scratch = tempfile::Builder::new().prefix("bench-").tempdir_in(target)?;
        let (certificates, connector) = issue(scratch.path())?;
        let departments =
            Departments::start(&programs.join("jumpgate-departments"), today, scratch.path())
                .await?;
        Ok(Self {
            program: programs.join("jumpgate"),
            root,
            departments,
            certificates,
            plugins,
            connector,
            scratch,
        })
    }

    /// A folder for files that nobody needs afterwards.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// A plugin's component.
    pub fn component(&self, plugin: &str) -> PathBuf {
        self.plugins.join(format!("{plugin}.component.wasm"))
    }

    /// The way into a contender.
    pub fn door(&self, addresses: Addresses, is_tls: bool) -> Door {
        if is_tls {
            Door { address: addresses.tls, tls: Some(self.connector.clone()) }
        } else {
            Door::clear(addresses.clear)
        }
    }
}

/// The caller's name in its certificate.
pub const CALLER_URI: &str = "urn:jumpgate:bench:one-window";

/// Both in one command without `-p`: with it cargo would select other features and build all
/// dependencies anew.
fn build_programs(root: &Path, target: &Path) -> Result<(), Failure> {
    let bins = ["--bin", "jumpgate", "--bin", "jumpgate-departments"];
    let mut cargo = jumpgate::author::cargo();
    cargo.current_dir(root).args(["build", "--release", "--quiet", "--target-dir"]).arg(target);
    let built = cargo.args(bins).status().map_err(|error| format!("cargo: {error}"))?;
    if built.success() { Ok(()) } else { Err("cargo could not build the programs".into()) }
}

fn issue(scratch: &Path) -> Result<(Certificates, TlsConnector), Failure> {
    let authority = Authority::new("Jumpgate benchmark authority")?;
    let server = authority.issue("gateway", Use::Server(&["127.0.0.1"]), LONG)?;
    let caller = authority.issue("one-window", Use::Client(CALLER_URI), LONG)?;
    let certificates = Certificates {
        authority: scratch.join("authority.crt"),
        server: scratch.join("server.crt"),
        server_key: scratch.join("server.key"),
    };
    std::fs::write(&certificates.authority, authority.certificate())?;
    server.write(scratch, "server")?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate().as_bytes())?)?;
    let chain = vec![CertificateDer::from_pem_slice(caller.certificate.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(caller.key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((certificates, TlsConnector::from(Arc::new(config))))
}
