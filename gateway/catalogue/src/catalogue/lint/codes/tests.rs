//! Catalogues whose codes say too much, and what is told of them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::catalogue::lint::tests::{about, attribute, parse as parse_registry};
use crate::catalogue::{Catalogue, FinestCells};

fn parse(people: &str, predicates: &str) -> Result<Catalogue, Vec<String>> {
    parse_registry(&(attribute("division", &format!("people = [{people}]")) + predicates))
}

fn mistakes(people: &str, predicates: &str) -> Vec<String> {
    parse(people, predicates).err().unwrap_or_default()
}

fn people(codes: &[(&str, u64)]) -> String {
    let each =
        codes.iter().map(|(code, people)| format!("{{ code = {code:?}, people = {people} }}"));
    each.collect::<Vec<_>>().join(", ")
}

/// A predicate with this cut and these codes.
fn predicate(name: &str, cut: &str, codes: &str) -> String {
    let cut = format!("clock = \"current\"\ncut = {{ {cut} = \"of\" }}");
    about("division", name, &cut, "code", codes)
}

#[test]
fn a_code_that_few_have_is_refused() {
    let all = people(&[("310104", 500), ("330106", 12), ("330102", 400)]);
    let found = mistakes(&all, &predicate("in", "code", "\"310104\", \"330106\""));
    assert_eq!(
        found,
        ["civil.toml: civil-registry/in@1: cut: 330106 and the other codes that can be asked \
             about divide division so that 12 people are left, those with 330106, and \
             cell_people_min is 20; they are enough without 330106 of civil-registry/in@1"]
    );
    assert_eq!(mistakes(&all, &predicate("in", "code", "\"310104\"")), [""; 0]);
    // It is the example of the page.
    let page = include_str!("../../../../../../spec/disclosure.md");
    let in_words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(in_words(page).contains(&in_words(&found[0])), "{}", found[0]);
}

#[test]
fn what_lies_between_two_codes_is_a_cell_too() {
    // 33 without 3301 is one small division; each of both has enough.
    let all = people(&[("310104", 500), ("330106", 300), ("330203", 9)]);
    let wide = predicate("in-province", "code_begins", "\"33\"");
    let narrow = predicate("in-city", "code_begins", "\"3301\"");
    assert_eq!(mistakes(&all, &wide), [""; 0]);
    let found = mistakes(&all, &(wide + &narrow));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("9 people are left, those with 330203"), "{}", found[0]);
    assert!(
        found[0].ends_with("they are enough without 33 of civil-registry/in-province@1"),
        "{found:?}"
    );
}

#[test]
fn where_every_code_is_asked_about_one_left_out_is_told_by_all_the_others() {
    let all = people(&[("11", 500), ("31", 300), ("44", 3)]);
    let found = mistakes(&all, &predicate("in", "code", "\"11\", \"31\", \"44\""));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].ends_with("; no one code left out is enough for them: ask about fewer"));
    assert_eq!(mistakes(&all, &predicate("in", "code", "\"11\"")), [""; 0]);
}

#[test]
fn those_of_whom_every_answer_is_no_are_a_cell() {
    let all = people(&[("310104", 500), ("330106", 300), ("440106", 3)]);
    let found = mistakes(&all, &predicate("in", "code", "\"310104\", \"330106\""));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("3 people are left, those with 440106"), "{}", found[0]);
}

#[test]
fn a_code_of_which_no_figures_are_known_is_refused() {
    let all = people(&[("310104", 500), ("330106", 300), ("440106", 0)]);
    assert_eq!(mistakes(&all, &predicate("in", "code_begins", "\"31\", \"44\"")), [""; 0]);
    let found = mistakes(&all, &predicate("in", "code_begins", "\"31\", \"45\""));
    assert_eq!(
        found,
        ["civil.toml: civil-registry/in@1: cut: the figures of division do not say how many \
             people 45 is yes of; add them to its people, 0 if it is nobody, or remove 45"]
    );
    let found = mistakes(&all, &predicate("in", "code", "\"31\""));
    assert_eq!(found.len(), 1, "only what begins so has it: {found:#?}");
}

#[test]
fn beside_the_code_nothing_can_be_chosen() {
    let all = people(&[("310104", 500), ("330106", 300)]);
    for kind in ["type = \"integer\"\none_of = [1, 2]", "type = \"code\"\none_of = [\"a\"]"] {
        let more = format!(
            "{}\n[[predicate.parameter]]\nname = \"years\"\ntitle_en = \"Years\"\n\
             title_zh = \"年\"\n{kind}",
            predicate("in", "code", "\"310104\"")
        );
        let found = mistakes(&all, &more);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("the parameter years divides people too"), "{}", found[0]);
    }
}

#[test]
fn each_small_cell_is_mended_for_itself() {
    let all = people(&[("310104", 500), ("330106", 12), ("330107", 12), ("330203", 400)]);
    let codes = "\"33\", \"330106\", \"330107\"";
    let found = mistakes(&all, &predicate("in", "code_begins", codes));
    assert_eq!(found.len(), 2, "{found:#?}");
    for (found, code) in found.iter().zip(["330106", "330107"]) {
        let mend = format!("they are enough without {code} of civil-registry/in@1");
        assert!(found.ends_with(&mend), "{found}");
    }
    assert_eq!(mistakes(&all, &predicate("in", "code_begins", "\"33\", \"3301\"")), [""; 0]);
}

#[test]
fn codes_that_are_told_wrong_are_mistakes() {
    let all = people(&[("310104", 500)]);
    let of = |from: &str, to: &str| {
        let text = predicate("in", "code", "\"310104\"");
        assert!(text.contains(from), "{from}");
        mistakes(&all, &text.replacen(from, to, 1)).join("\n")
    };
    let at = "civil.toml: civil-registry/in@1: ";
    for (from, to, said) in [
        ("cut = { code = \"of\" }", "", "cut: says how an answer divides the attribute; add it"),
        ("= \"of\" }", "= \"at\" }", "cut: code: the predicate has no code parameter at; name the"),
        ("code = \"of\"", "years_before = 1", "cut: code: every such entry has it; add it"),
        ("\"current\"", "\"exact\"", "an exact predicate asks about a date"),
    ] {
        let found = of(from, to);
        assert!(found.contains(said) && found.contains(at), "{found}");
    }
    let twice = people(&[("310104", 500), ("310104", 5)]);
    let found = mistakes(&twice, &predicate("in", "code", "\"310104\""));
    assert!(found[0].contains("division: people: has the code 310104 twice"), "{found:#?}");
    // A state of which no figures are known has no cut.
    let unknown = predicate("in", "code", "\"310104\"").replace("= \"division\"", "= \"mood\"");
    let found = mistakes(&all, &unknown);
    assert!(found[0].contains("cut: a state is not cut"), "{found:#?}");
}

proptest! {
    /// Whoever asks everything of everybody has nobody in a smaller cell, where the catalogue is
    /// let through; and where it is not, somebody is.
    #[test]
    fn what_is_let_through_leaves_enough(
        all in prop::collection::btree_map("[1-3]{1,3}", 0_u64..60, 1..8),
        asked in prop::collection::btree_set("[1-3]{1,3}", 1..4),
        begins in any::<bool>(),
    ) {
        let codes: Vec<(&str, u64)> = all.iter().map(|(code, n)| (code.as_str(), *n)).collect();
        let set: Vec<String> = asked.iter().map(|code| format!("{code:?}")).collect();
        let cut = if begins { "code_begins" } else { "code" };
        let parsed = parse(&people(&codes), &predicate("in", cut, &set.join(", ")));
        let mut cells: BTreeMap<Vec<bool>, u64> = BTreeMap::new();
        for (code, people) in &codes {
            let is_yes = |asked: &String| {
                if begins { code.starts_with(asked.as_str()) } else { code == asked }
            };
            *cells.entry(asked.iter().map(is_yes).collect()).or_default() += people;
        }
        let is_known = |asked: &String| {
            let is_it = |code: &str| {
                if begins { code.starts_with(asked.as_str()) } else { code == asked }
            };
            codes.iter().any(|(code, _)| is_it(code))
        };
        let is_known = asked.iter().all(is_known);
        let least = cells.values().copied().filter(|people| *people > 0).min();
        let is_enough = least.is_none_or(|least| least >= 20);
        prop_assert_eq!(parsed.is_ok(), is_known && is_enough, "{:?}", cells);
        if let (Ok(catalogue), Some(least)) = (parsed, least) {
            let attribute = catalogue.attribute("division").unwrap();
            let FinestCells { people_min, .. } = catalogue.finest_cells(attribute).unwrap();
            prop_assert_eq!(people_min, least);
        }
    }
}
