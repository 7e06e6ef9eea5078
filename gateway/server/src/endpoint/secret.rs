//! Reads files that hold secrets. Never prints what they hold, and wipes it after use.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::settings::Mistakes;

/// The file's bytes without one trailing line end. Notes a mistake and gives none if the file
/// cannot be read, is empty or too large, or may be read by anyone but its owner.
pub(super) fn read(
    path: &Path,
    field: &str,
    mistakes: &mut Mistakes,
) -> Option<Zeroizing<Vec<u8>>> {
    let mut secret = match read_private(path) {
        Ok(secret) => secret,
        Err(mend) => {
            mistakes.add(field, format!("{}: {mend}", path.display()));
            return None;
        }
    };
    if secret.last() == Some(&b'\n') {
        secret.pop();
        if secret.last() == Some(&b'\r') {
            secret.pop();
        }
    }
    if secret.is_empty() {
        mistakes.add(field, format!("{}: the file is empty", path.display()));
        return None;
    }
    Some(secret)
}

fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let cannot = |error: std::io::Error| format!("cannot be read ({error})");
    let file = File::open(path).map_err(cannot)?;
    // Asked of the open file, so that it is the file that is read.
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!("has mode {mode:04o}; a secret needs 0600, use chmod 600"));
    }
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut secret = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 1));
    file.take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut secret).map_err(cannot)?;
    if secret.len() > SECRET_BYTES_MAX {
        return Err(format!("is larger than {SECRET_BYTES_MAX} bytes"));
    }
    Ok(secret)
}

/// Larger than any token or PEM key in use.
const SECRET_BYTES_MAX: usize = 16 << 10;
