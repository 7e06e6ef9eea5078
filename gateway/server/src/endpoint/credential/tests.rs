use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, text: &[u8], mode: u32) -> PathBuf {
        let path = self.0.path().join("secret");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

fn read(settings: &CredentialSettings) -> Result<Credential, Vec<String>> {
    let mut mistakes = Mistakes::default();
    let credential = Credential::read(Some(settings), &mut mistakes);
    let mistakes = mistakes.into_vec();
    assert_eq!(credential.is_some(), mistakes.is_empty(), "{mistakes:?}");
    credential.ok_or(mistakes.iter().map(ToString::to_string).collect())
}

fn header_of(settings: &CredentialSettings) -> (String, String) {
    let Ok(Credential::Header { name, value }) = read(settings) else { panic!("a header") };
    assert!(!format!("{value:?}").contains(value.to_str().unwrap()), "Debug prints the value");
    (name.as_str().to_owned(), value.to_str().unwrap().to_owned())
}

fn mistakes_of(settings: &CredentialSettings) -> Vec<String> {
    read(settings).err().unwrap()
}

#[test]
fn each_kind_makes_its_header() {
    let folder = Folder::new();
    let user = "Aladdin".to_owned();
    // The example of RFC 7617 §2.
    let password_file = folder.file(b"open sesame\r\n", 0o600);
    let basic = header_of(&CredentialSettings::Basic { user, password_file });
    let expected = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
    assert_eq!(basic, ("authorization".to_owned(), expected.to_owned()));
    let token_file = folder.file(b"mF_9.B5f-4.1JqM\n", 0o400);
    let bearer = header_of(&CredentialSettings::Bearer { token_file });
    assert_eq!(bearer, ("authorization".to_owned(), "Bearer mF_9.B5f-4.1JqM".to_owned()));
    let (name, value_file) = ("X-Api-Key".to_owned(), folder.file(b" k 1", 0o600));
    let header = header_of(&CredentialSettings::Header { name, value_file });
    assert_eq!(header, ("x-api-key".to_owned(), " k 1".to_owned()));
}

#[test]
fn a_token_keeps_the_password_in_the_form_it_is_used() {
    let folder = Folder::new();
    let token = |digest| {
        let password_file = folder.file("p&密\n".as_bytes(), 0o600);
        let user = "a<b".to_owned();
        let settings = CredentialSettings::WsSecurity { user, password_file, digest };
        let Ok(Credential::Token(token)) = read(&settings) else { panic!("a token") };
        token
    };
    assert_eq!(&**token(true).user_xml, b"a&lt;b");
    let Password::Digest(raw) = token(true).password else { panic!("a digest") };
    assert_eq!(&**raw, "p&密".as_bytes());
    let Password::TextXml(xml) = token(false).password else { panic!("a text") };
    assert_eq!(&**xml, "p&amp;密".as_bytes());
}

#[test]
fn a_secret_that_others_may_read_is_a_mistake() {
    let folder = Folder::new();
    for mode in [0o644, 0o640, 0o604, 0o660, 0o610] {
        let token_file = folder.file(b"top-secret", mode);
        let mistakes = mistakes_of(&CredentialSettings::Bearer { token_file });
        assert_eq!(mistakes.len(), 1);
        assert!(mistakes[0].starts_with("credential.token_file: "), "{mistakes:?}");
        assert!(mistakes[0].contains(&format!("{mode:04o}")), "{mistakes:?}");
        assert!(!mistakes[0].contains("top-secret"));
    }
}

#[test]
fn a_secret_is_there_whole_and_usable() {
    let folder = Folder::new();
    let check = |text: &[u8], expected: &str| {
        let token_file = folder.file(text, 0o600);
        let mistakes = mistakes_of(&CredentialSettings::Bearer { token_file });
        assert!(mistakes.len() == 1 && mistakes[0].contains(expected), "{mistakes:?}");
    };
    check(b"", "empty");
    check(b"\n", "empty");
    check(&[b'a'; (16 << 10) + 1], "larger");
    check(b"two\nlines", "one bearer token");
    check(b"two words", "one bearer token");
    let token_file = folder.0.path().join("missing");
    assert!(mistakes_of(&CredentialSettings::Bearer { token_file })[0].contains("cannot be read"));
    let token_file = folder.0.path().to_owned();
    assert_eq!(mistakes_of(&CredentialSettings::Bearer { token_file }).len(), 1);
}

#[test]
fn every_mistake_of_a_credential_is_told_at_once() {
    let folder = Folder::new();
    let fields = |settings: &CredentialSettings| -> Vec<String> {
        let field = |text: &String| text.split_once(": ").unwrap().0.to_owned();
        mistakes_of(settings).iter().map(field).collect()
    };
    let both = ["credential.user", "credential.password_file"];
    for user in ["", "a:b", "a\n"] {
        let (user, password_file) = (user.to_owned(), folder.file(b"a\x01", 0o600));
        assert_eq!(fields(&CredentialSettings::Basic { user, password_file }), both);
    }
    let (user, password_file) = ("a\n".to_owned(), folder.file(b"\xff", 0o600));
    assert_eq!(fields(&CredentialSettings::WsSecurity { user, password_file, digest: true }), both);
    for name in ["Host", "content-length", "SOAPAction", "a b", ""] {
        let (name, value_file) = (name.to_owned(), folder.file(b"a\nb", 0o600));
        let found = fields(&CredentialSettings::Header { name, value_file });
        assert_eq!(found, ["credential.name", "credential.value_file"]);
    }
}
