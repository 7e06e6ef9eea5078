use super::*;

#[test]
fn a_checkpoint_is_three_lines() {
    let text = "example.com/log\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let checkpoint: Checkpoint = text.parse().unwrap();
    assert_eq!((&*checkpoint.origin, checkpoint.size), ("example.com/log", 20_852_163));
    assert_eq!(checkpoint.to_string(), text);
    let extended = format!("{text}something else\n");
    assert_eq!(extended.parse(), Ok(checkpoint.clone()));
    let root = checkpoint.root;
    let wrong = [
        String::new(),
        text.trim_end().to_owned(),
        format!("\n1\n{root}\n"),
        format!("a\n01\n{root}\n"),
        format!("a\n+1\n{root}\n"),
        format!("a\n-1\n{root}\n"),
        format!("a\n18446744073709551616\n{root}\n"),
        "a\n1\n".to_owned(),
        "a\n1\nAAAA\n".to_owned(),
        format!("a\n1\n{root}\n\n"),
        format!("a\n1\n{root}\n\nb\n"),
    ];
    for text in wrong {
        assert_eq!(text.parse::<Checkpoint>(), Err(CheckpointFault::Malformed), "{text:?}");
    }
}

#[test]
fn a_checkpoint_is_believed_of_its_own_log_only() {
    let key = SignerKey::from_seed("log.example", &[7; 32]).unwrap();
    let checkpoint =
        Checkpoint { origin: "log.example".to_owned(), size: 0, root: Hash::of_nothing() };
    let note = checkpoint.sign(&[&key]).unwrap();
    let keys = [key.verifier().clone()];
    assert_eq!(Checkpoint::verify(&note, "log.example", &keys), Ok(checkpoint));
    let verify = |origin, keys: &[VerifierKey]| Checkpoint::verify(&note, origin, keys);
    assert_eq!(verify("log.example/2", &keys), Err(CheckpointFault::Origin));
    assert_eq!(verify("log.example", &[]), Err(NoteFault::Unsigned.into()));
}
