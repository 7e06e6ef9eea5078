//! A department's signature of its rules.
//!
//! The rules stay a plain Cedar file. Beside it lies a C2SP signed note of four lines that names
//! the department, counts the versions and holds the file's digest.

use std::fmt;
use std::str::FromStr;

use jumpgate_catalogue::{DepartmentId, Digest};
use jumpgate_tlog::{InvalidKey, Note, NoteFault, SignerKey, VerifierKey};

/// What a department signs of its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRules {
    /// Whose rules they are.
    pub department: DepartmentId,
    /// Counts the department's versions; a lower one is never put in the place of a higher.
    pub serial: u64,
    /// SHA-256 of the file.
    pub digest: Digest,
}

/// A signature of rules cannot be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// The department's key cannot be read.
    #[error("its key cannot be used: {0}")]
    Key(InvalidKey),
    /// The key is another one's.
    #[error("its key is named {name:?} and not {department}")]
    KeyName {
        /// The name in the key.
        name: String,
        /// The department.
        department: DepartmentId,
    },
    /// The note cannot be read, or is not signed with the department's key.
    #[error("its signature is not to be believed: {0}")]
    Note(NoteFault),
    /// The note is signed and says something else.
    #[error("what is signed is no statement about rules")]
    Statement,
    /// The signed statement is about another department.
    #[error("the signature is of the department {0}")]
    Department(DepartmentId),
    /// The file was changed after it was signed.
    #[error("the file is not the one that was signed")]
    Digest,
}

impl SignedRules {
    /// Signs the statement with the department's key, and gives the text of the signature file.
    ///
    /// # Errors
    /// The key's text cannot be read, or is not named like the department.
    pub fn sign(&self, key: &str) -> Result<String, SignatureFault> {
        let key = SignerKey::from_secret_text(key.trim()).map_err(SignatureFault::Key)?;
        check_name(key.verifier(), &self.department)?;
        let note = Note::sign(self.to_string(), &[&key]).map_err(SignatureFault::Note)?;
        Ok(note.to_string())
    }

    /// The statement about `text` in the signature file `signature`, if the department's verifier
    /// key `key` has signed it.
    ///
    /// # Errors
    /// What is wrong with key, signature or statement.
    pub fn verify(
        department: &DepartmentId,
        text: &str,
        signature: &str,
        key: &str,
    ) -> Result<Self, SignatureFault> {
        let key: VerifierKey = key.trim().parse().map_err(SignatureFault::Key)?;
        check_name(&key, department)?;
        let note: Note = signature.parse().map_err(SignatureFault::Note)?;
        let statement = note.verify(&[key]).map_err(SignatureFault::Note)?;
        let signed: Self = statement.parse()?;
        if signed.department != *department {
            return Err(SignatureFault::Department(signed.department));
        }
        if signed.digest != Digest::of(text.as_bytes()) {
            return Err(SignatureFault::Digest);
        }
        Ok(signed)
    }
}

fn check_name(key: &VerifierKey, department: &DepartmentId) -> Result<(), SignatureFault> {
    if key.name() == department.as_str() {
        return Ok(());
    }
    let (name, department) = (key.name().to_owned(), department.clone());
    Err(SignatureFault::KeyName { name, department })
}

impl fmt::Display for SignedRules {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { department, serial, digest } = self;
        writeln!(formatter, "{FIRST_LINE}")?;
        writeln!(formatter, "department {department}\nserial {serial}\nsha256 {digest}")
    }
}

impl FromStr for SignedRules {
    type Err = SignatureFault;

    fn from_str(text: &str) -> Result<Self, SignatureFault> {
        let mut lines = text.lines().skip(1);
        let mut part = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let signed = (|| {
            let department = part("department")?.parse().ok()?;
            let serial = part("serial")?.parse().ok()?;
            let mut digest = Digest([0; 32]);
            hex::decode_to_slice(part("sha256")?, &mut digest.0).ok()?;
            Some(Self { department, serial, digest })
        })();
        // Whatever else the text holds, it is not what these values are written as.
        signed.filter(|signed| signed.to_string() == text).ok_or(SignatureFault::Statement)
    }
}

/// A new signing key and its verifier key for a department's rules, from 32 random bytes.
///
/// # Errors
/// The name cannot be that of a key.
pub fn department_key(
    department: &DepartmentId,
    seed: &[u8; 32],
) -> Result<(String, String), InvalidKey> {
    let secret = SignerKey::secret_text(department.as_str(), seed)?;
    let verifier = SignerKey::from_seed(department.as_str(), seed)?.verifier().to_string();
    Ok((secret.to_string(), verifier))
}

const FIRST_LINE: &str = "jumpgate-rules/v1";

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "forbid(principal, action, resource);\n";

    fn keys(department: &str) -> (String, String) {
        department_key(&department.parse().unwrap(), &[9; 32]).unwrap()
    }

    fn registry() -> DepartmentId {
        "civil-registry".parse().unwrap()
    }

    fn signed() -> (String, String) {
        let (secret, verifier) = keys("civil-registry");
        let digest = Digest::of(RULES.as_bytes());
        let rules = SignedRules { department: registry(), serial: 7, digest };
        (rules.sign(&secret).unwrap(), verifier)
    }

    #[test]
    fn what_is_signed_verifies() {
        let (signature, key) = signed();
        let found = SignedRules::verify(&registry(), RULES, &signature, &key).unwrap();
        assert_eq!((found.serial, found.digest), (7, Digest::of(RULES.as_bytes())));
    }

    #[test]
    fn every_changed_byte_of_the_signature_is_found() {
        let (signature, key) = signed();
        for place in 0..signature.len() {
            let mut bytes = signature.clone().into_bytes();
            bytes[place] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let refused = SignedRules::verify(&registry(), RULES, &changed, &key);
            assert!(refused.is_err(), "byte {place}");
        }
    }

    #[test]
    fn each_doubt_is_named() {
        let (signature, key) = signed();
        let (other_secret, other_key) = keys("social-insurance");
        let verify = |text: &str, signature: &str, key: &str| {
            SignedRules::verify(&registry(), text, signature, key).unwrap_err().to_string()
        };
        assert_eq!(verify("", &signature, &key), "the file is not the one that was signed");
        assert!(verify(RULES, &signature, &other_key).ends_with("and not civil-registry"));
        assert!(verify(RULES, &signature, "key").starts_with("its key cannot be used"));
        assert!(verify(RULES, "", &key).starts_with("its signature is not to be believed"));
        let rules = SignedRules {
            department: "social-insurance".parse().unwrap(),
            serial: 1,
            digest: Digest::of(RULES.as_bytes()),
        };
        let foreign = rules.sign(&other_secret).unwrap();
        let refused = verify(RULES, &foreign, &key);
        assert_eq!(refused, "its signature is not to be believed: no known key has signed");
        let refused = rules.sign(&keys("civil-registry").0).unwrap_err();
        assert!(matches!(refused, SignatureFault::KeyName { .. }));
        // Signed with the right key about another department, and about nothing.
        let key_pair = SignerKey::from_secret_text(&keys("civil-registry").0).unwrap();
        let about = |text: &str| Note::sign(text.to_owned(), &[&key_pair]).unwrap().to_string();
        let other = verify(RULES, &about(&rules.to_string()), &key);
        assert_eq!(other, "the signature is of the department social-insurance");
        let nothing = verify(RULES, &about("jumpgate-rules/v1\nserial 1\n"), &key);
        assert_eq!(nothing, "what is signed is no statement about rules");
    }
}
