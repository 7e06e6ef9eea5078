//! The binary as it is started. That this test exists also makes `cargo test` build it, with the
//! features of everything else that is tested.

use std::process::Command;

#[test]
fn it_says_its_version_and_names_a_wrong_command() {
    let run = |argument: &str| {
        Command::new(env!("CARGO_BIN_EXE_jumpgate")).arg(argument).output().expect("it starts")
    };
    let version = run("--version");
    let said = String::from_utf8(version.stdout).expect("it prints text");
    assert_eq!(said.trim(), concat!("jumpgate ", env!("CARGO_PKG_VERSION")));
    let wrong = run("serv");
    let said = String::from_utf8(wrong.stderr).expect("it prints text");
    assert_eq!(wrong.status.code(), Some(2), "{said}");
    assert!(said.contains("serve"), "it proposes what was meant: {said}");
}
