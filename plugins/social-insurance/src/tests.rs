use jumpgate_adapter::testing;

use super::SocialInsurance;

#[test]
fn every_recorded_case_finds_what_it_should() {
    let mistakes =
        testing::mistakes::<SocialInsurance>(concat!(env!("CARGO_MANIFEST_DIR"), "/cases"));
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}
