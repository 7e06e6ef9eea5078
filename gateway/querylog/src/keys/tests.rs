//! Keys read back; whatever else could have read or changed them is refused by name.

use std::fs::Permissions;

use super::*;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("keys");
    (folder, dir)
}

#[test]
fn made_keys_are_private_different_and_read_back() {
    let (_folder, dir) = folder();
    let made = Keys::create(&dir).unwrap();
    let read = Keys::open(&dir).unwrap();
    assert_eq!(made.check_values(), read.check_values());
    let mut checks: Vec<_> = made.check_values().iter().map(|(_, check)| *check).collect();
    checks.sort_unstable();
    checks.dedup();
    assert_eq!(checks.len(), PURPOSES.len());
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, 0o700);
    for purpose in PURPOSES {
        let mode = fs::metadata(path_of(&dir, purpose)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{purpose}");
    }
    assert_eq!(format!("{made:?}"), "Keys { .. }");
}

#[test]
fn a_key_is_never_overwritten() {
    let (_folder, dir) = folder();
    let made = Keys::create(&dir).unwrap();
    fs::remove_file(path_of(&dir, "seal")).unwrap();
    let fault = Keys::create(&dir).unwrap_err();
    assert!(matches!(&fault, KeyFault::Exists { path } if path.ends_with("lookup.key")), "{fault}");
    assert!(!path_of(&dir, "seal").exists(), "no key is made beside old ones");
    drop(made);
}

#[test]
fn wider_modes_are_refused_with_the_command_that_mends_them() {
    let (_folder, dir) = folder();
    Keys::create(&dir).unwrap();
    let file = path_of(&dir, "pseudonym");
    for mode in [0o640, 0o604, 0o660, 0o700] {
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        let text = Keys::open(&dir).unwrap_err().to_string();
        assert!(text.contains("pseudonym.key") && text.contains("chmod 0600"), "{text}");
    }
    fs::set_permissions(&file, Permissions::from_mode(0o400)).unwrap();
    Keys::open(&dir).unwrap();
    fs::set_permissions(&dir, Permissions::from_mode(0o750)).unwrap();
    let text = Keys::open(&dir).unwrap_err().to_string();
    assert!(text.contains("mode 0750") && text.contains("chmod 0700"), "{text}");
}

#[test]
fn a_file_that_is_not_this_key_is_refused_and_not_repeated() {
    let (_folder, dir) = folder();
    Keys::create(&dir).unwrap();
    let (seal, lookup) = (path_of(&dir, "seal"), path_of(&dir, "lookup"));
    let good = fs::read_to_string(&seal).unwrap();
    let digits = good.lines().nth(1).unwrap().to_owned();
    let check = |text: &str| {
        fs::write(&seal, text).unwrap();
        let said = Keys::open(&dir).unwrap_err().to_string();
        assert!(said.contains("seal.key") && !said.contains(&digits), "{said}");
    };
    check("");
    check(&good.replace("v1", "v2"));
    check(&good[..good.len() - 3]);
    check(&good.replace('\n', "\n00"));
    check(&good.replace(&digits[..1], "g"));
    check(&fs::read_to_string(&lookup).unwrap());
    fs::write(&seal, &good).unwrap();
    Keys::open(&dir).unwrap();
}

#[test]
fn a_missing_key_or_folder_is_named() {
    let (_folder, dir) = folder();
    let fault = Keys::open(&dir).unwrap_err();
    assert!(matches!(&fault, KeyFault::Missing { path } if *path == dir), "{fault}");
    Keys::create(&dir).unwrap();
    fs::remove_file(path_of(&dir, "idempotency")).unwrap();
    let fault = Keys::open(&dir).unwrap_err();
    assert!(matches!(&fault, KeyFault::Missing { path } if path.ends_with("idempotency.key")));
}
