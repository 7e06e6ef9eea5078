//! The change of a key, while nothing runs.
//!
//! Owns the order in which key file, signed state and origin change, so that a rotation cut off at
//! any place is finished by the same command, and no log is left without the key that it names.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use jumpgate_tlog::{SignerKey, VerifierKey};

use crate::disk::{Disk, DiskFault};
use crate::keys::{KeyFault, Keys};
use crate::log::{OpenFault, claim};
use crate::origin::{ORIGIN_FILE, Origin, OriginFault};
use crate::recover::Recovery;
use crate::tree::State;

/// A key that can be changed in a log that goes on. The others make what stays in the log for ever:
/// see `spec/keys.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotatable {
    /// What signs checkpoints. The former key signs beside it until its file is removed.
    Log,
    /// What signs promises.
    Receipt,
    /// What binds a `query_id` to its question: for a day, repeats from before are refused.
    Idempotency,
}

impl Rotatable {
    const ALL: [Self; 3] = [Self::Log, Self::Receipt, Self::Idempotency];

    /// The key's purpose, as in its file's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Receipt => "receipt",
            Self::Idempotency => "idempotency",
        }
    }
}

impl fmt::Display for Rotatable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The text names no key that can be rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key of purpose log, receipt or idempotency can be rotated, and no other")]
pub struct NotRotatable;

impl FromStr for Rotatable {
    type Err = NotRotatable;

    fn from_str(text: &str) -> Result<Self, NotRotatable> {
        Self::ALL.into_iter().find(|it| it.as_str() == text).ok_or(NotRotatable)
    }
}

/// A key cannot be rotated. The log is as it was, or the same command finishes what was begun.
#[derive(Debug, thiserror::Error)]
pub enum RotateFault {
    /// The log cannot be used.
    #[error(transparent)]
    Open(#[from] OpenFault),
    /// The keys cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFault),
}

impl From<DiskFault> for RotateFault {
    fn from(fault: DiskFault) -> Self {
        Self::Open(fault.into())
    }
}

/// Gives the log in `dir` a new key of this purpose, durable when this returns. The next `start`
/// entry names the public keys in force. Returns verifier key and promise key.
///
/// # Errors
/// A server runs, the keys are another log's, or a file operation fails.
pub fn rotate(
    dir: &Path,
    keys_dir: &Path,
    purpose: Rotatable,
) -> Result<(VerifierKey, VerifierKey), RotateFault> {
    rotate_on(&Disk::default(), dir, keys_dir, purpose)
}

pub(crate) fn rotate_on(
    disk: &Disk,
    dir: &Path,
    keys_dir: &Path,
    purpose: Rotatable,
) -> Result<(VerifierKey, VerifierKey), RotateFault> {
    let (origin, _lock) = claim(disk, dir)?;
    let keys = Keys::open(keys_dir)?;
    if purpose == Rotatable::Log {
        keys.check_former(keys_dir)?;
    }
    let next = keys.with_next(keys_dir, purpose.as_str())?;
    // Cut off after the origin had changed, only the key file is left to be put in its place.
    let origin = if origin.check_keys(&next, dir).is_ok() {
        origin
    } else {
        origin.check_keys(&keys, dir).map_err(OpenFault::from)?;
        if purpose == Rotatable::Log {
            // What is signed with the new key must be what was signed last with the old one.
            Recovery::offline(disk, dir, &keys, origin.clone()).check_signed()?;
            Keys::keep_former_log(keys_dir)?;
            let signers = [signer(&next, &origin, dir)?, signer(&keys, &origin, dir)?];
            let state = State::read(disk, dir, &origin.verifier).map_err(OpenFault::from)?;
            state.sign_again(disk, dir, &signers)?;
        }
        // The name made keys when the log was made.
        let renewed = origin.with_keys(&next).map_err(|_| no_name(dir))?;
        renewed.write(disk, dir)?;
        renewed
    };
    Keys::take_next(keys_dir, purpose.as_str())?;
    Ok((origin.verifier, origin.promise))
}

fn signer(keys: &Keys, origin: &Origin, dir: &Path) -> Result<SignerKey, RotateFault> {
    Ok(keys.signer(&origin.name).map_err(|_| no_name(dir))?)
}

fn no_name(dir: &Path) -> OpenFault {
    OriginFault::Damaged { path: dir.join(ORIGIN_FILE), why: "its name makes no key" }.into()
}

#[cfg(test)]
mod tests;
