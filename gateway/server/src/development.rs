//! A certificate authority for development: the demonstration, tests and the benchmark.
//!
//! Its keys lie in files like real ones, but nobody has checked who asked for a certificate.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevocationReason, RevokedCertParams, SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};

/// An authority and its key.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate with its key, both PEM.
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: String,
    /// The serial number, for revoking it.
    pub serial: Vec<u8>,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy)]
pub enum Use<'a> {
    /// A server under these names or addresses.
    Server(&'a [&'a str]),
    /// A client with this URI in its subject alternative name.
    Client(&'a str),
}

/// First and last day of validity.
pub type Validity = ((i32, u8, u8), (i32, u8, u8));

/// Long enough for any use of a development certificate.
pub const LONG: Validity = ((2020, 1, 1), (2120, 1, 1));

impl Authority {
    /// Draws a key and signs itself.
    ///
    /// # Errors
    /// The key cannot be made.
    pub fn new(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = common_name(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, LONG);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// The authority's certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Issues a certificate.
    ///
    /// # Errors
    /// A name is not one, or the key cannot be made.
    pub fn issue(
        &self,
        name: &str,
        r#use: Use<'_>,
        validity: Validity,
    ) -> Result<Identity, rcgen::Error> {
        let mut params = match r#use {
            Use::Server(names) => {
                let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
                CertificateParams::new(names)?
            }
            Use::Client(uri) => {
                let mut params = CertificateParams::new(Vec::new())?;
                params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
                params
            }
        };
        params.distinguished_name = common_name(name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match r#use {
            Use::Server(_) => ExtendedKeyUsagePurpose::ServerAuth,
            Use::Client(_) => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let serial = serial();
        params.serial_number = Some(SerialNumber::from(serial.clone()));
        set_validity(&mut params, validity);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem(), serial })
    }

    /// A revocation list, PEM, that names the certificates with these serial numbers.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn revocation_list(&self, number: u64, serials: &[&[u8]]) -> Result<String, rcgen::Error> {
        let ((from_year, from_month, from_day), (year, month, day)) = LONG;
        let this_update = rcgen::date_time_ymd(from_year, from_month, from_day);
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: this_update,
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update,
            next_update: rcgen::date_time_ymd(year, month, day),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer)?.pem()
    }
}

impl Identity {
    /// Writes `<name>.crt` and, with mode 0600, `<name>.key`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> io::Result<()> {
        std::fs::write(folder.join(format!("{name}.crt")), &self.certificate)?;
        write_private(&folder.join(format!("{name}.key")), self.key.as_bytes())
    }
}

/// Writes a file that only its owner can read.
///
/// # Errors
/// It cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn set_validity(params: &mut CertificateParams, (from, to): Validity) {
    params.not_before = rcgen::date_time_ymd(from.0, from.1, from.2);
    params.not_after = rcgen::date_time_ymd(to.0, to.1, to.2);
}

/// 128 random bits with the sign bit clear (RFC 5280 §4.1.2.2).
fn serial() -> Vec<u8> {
    let mut serial = vec![0; 16];
    // Without randomness serials repeat, which a development authority survives.
    let _ = SystemRandom::new().fill(&mut serial);
    serial[0] = serial[0] & 0x7f | 0x40;
    serial
}
