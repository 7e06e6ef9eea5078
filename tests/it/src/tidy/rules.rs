//! The rules of the house as functions from a text to what breaks them. Knows no folder.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A screen of code: what a reader holds in the head at once.
pub const FUNCTION_LINES_MAX: usize = 70;
pub const FILE_LINES_MAX: usize = 700;
pub const COLUMNS_MAX: usize = 100;

/// Functions longer than a screen, as `line: name has N lines`.
pub fn long_functions(text: &str) -> Vec<String> {
    let mut found = Functions::default();
    found.visit_file(&syn::parse_file(text).unwrap());
    found.0
}

#[derive(Default)]
struct Functions(Vec<String>);

impl Functions {
    fn measure(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (first, last) = (signature.span().start().line, block.span().end().line);
        let lines = last - first + 1;
        if lines > FUNCTION_LINES_MAX {
            self.0.push(format!("{first}: {} has {lines} lines", signature.ident));
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// Lines wider than the limit, counted in characters.
pub fn wide_lines(text: &str) -> Vec<String> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.chars().count()));
    let wide = lines.filter(|(_, columns)| *columns > COLUMNS_MAX);
    wide.map(|(at, columns)| format!("{at}: {columns} columns")).collect()
}

/// Whether a file has more lines than the limit.
pub fn is_long_file(text: &str) -> bool {
    text.lines().count() > FILE_LINES_MAX
}

/// A part of a file's code: comments are in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Everything,
    /// Without what stands behind `#[cfg(test)]`.
    Product,
    /// Only what stands behind `#[cfg(test)]`.
    Tests,
}

/// The code of a file as one line of tokens with single spaces, so that a rule can look for a
/// sequence of them whatever the layout.
pub fn tokens(text: &str, part: Part) -> String {
    let mut tokens = vec![String::new()];
    flatten(text.parse().unwrap(), part, part != Part::Tests, &mut tokens);
    tokens.push(String::new());
    tokens.join(" ")
}

fn flatten(stream: TokenStream, part: Part, is_wanted: bool, into: &mut Vec<String>) {
    let mut trees = stream.into_iter().peekable();
    // Set between `#[cfg(test)]` and the end of the item it stands before.
    let mut in_test_item = false;
    while let Some(tree) = trees.next() {
        if let (TokenTree::Punct(punct), Some(TokenTree::Group(attribute))) = (&tree, trees.peek())
            && punct.as_char() == '#'
            && attribute.stream().to_string().replace(' ', "") == "cfg(test)"
        {
            trees.next();
            in_test_item = true;
            continue;
        }
        let is_wanted = match (part, in_test_item) {
            (Part::Everything, _) | (_, false) => is_wanted,
            (Part::Product, true) => false,
            (Part::Tests, true) => true,
        };
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = brackets(group.delimiter());
                let is_braced = group.delimiter() == Delimiter::Brace;
                push(into, is_wanted, open);
                flatten(group.stream(), part, is_wanted, into);
                push(into, is_wanted, close);
                in_test_item &= !is_braced;
            }
            TokenTree::Punct(punct) => {
                push(into, is_wanted, &punct.to_string());
                in_test_item &= punct.as_char() != ';';
            }
            TokenTree::Ident(ident) => push(into, is_wanted, &ident.to_string()),
            // A text is data: what it says is no code.
            TokenTree::Literal(_) => push(into, is_wanted, "0"),
        }
    }
}

fn push(into: &mut Vec<String>, is_wanted: bool, token: &str) {
    if is_wanted && !token.is_empty() {
        into.push(token.to_owned());
    }
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

/// Whether the tokens hold this sequence, itself written with single spaces.
pub fn has(tokens: &str, sequence: &str) -> bool {
    tokens.contains(&format!(" {sequence} "))
}

/// The modules that this file has in other files for its tests alone.
pub fn test_modules(text: &str) -> Vec<String> {
    let tests = tokens(text, Part::Tests);
    let declared = tests.split(" mod ").skip(1);
    let names = declared.filter_map(|rest| rest.split_once(" ;").map(|(name, _)| name));
    names.filter(|name| !name.contains(' ')).map(str::to_owned).collect()
}

/// What must not stand outside tests.
pub fn rough_ends(text: &str) -> Vec<&'static str> {
    let tokens = tokens(text, Part::Product);
    let ends = [". unwrap (", "panic !", "todo !", "unimplemented !", "dbg !"];
    ends.into_iter().filter(|end| has(&tokens, end)).collect()
}

/// Whether `Serialize` stands in a derive.
pub fn derives_serialize(text: &str) -> bool {
    tokens(text, Part::Product)
        .split("# [ derive ( ")
        .skip(1)
        .any(|derive| derive.split(" )").next().unwrap().split(' ').any(|name| name == "Serialize"))
}

/// Whether a thread or task sleeps.
pub fn sleeps(text: &str, part: Part) -> bool {
    let tokens = tokens(text, part);
    [": sleep (", ": sleep_until ("].iter().any(|call| tokens.contains(call))
        || [" sleep (", " sleep_until ("].iter().any(|call| tokens.contains(call))
}

/// The crates of this workspace a manifest depends on, for building or testing.
pub fn own_dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .iter()
        .filter_map(|section| manifest.get(*section)?.as_table())
        .flat_map(toml::Table::keys)
        .filter(|name| name.starts_with("jumpgate"))
        .cloned()
        .collect()
}

/// Whether a manifest takes the workspace's lints.
pub fn has_house_lints(manifest: &toml::Table) -> bool {
    let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
    lints.and_then(toml::Value::as_bool) == Some(true)
}

/// Whether a manifest takes every dependency's version and features from the workspace.
pub fn own_versions(manifest: &toml::Table) -> Vec<String> {
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .iter()
        .filter_map(|section| manifest.get(*section)?.as_table())
        .flatten()
        .filter(|(_, value)| value.get("workspace").is_none())
        .map(|(name, _)| name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_long_at_71_lines() {
        let of = |lines: usize| format!("fn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2));
        assert!(long_functions(&of(70)).is_empty());
        assert_eq!(long_functions(&of(71)), ["1: f has 71 lines"]);
        let method = format!("struct S;\nimpl S {{\n{}}}\n", of(71));
        assert_eq!(long_functions(&method), ["3: f has 71 lines"]);
        let nested = format!("mod m {{ trait T {{\n{}}} }}\n", of(71));
        assert_eq!(long_functions(&nested), ["2: f has 71 lines"]);
    }

    #[test]
    fn a_line_is_wide_at_101_characters() {
        assert!(wide_lines(&"é".repeat(100)).is_empty());
        assert_eq!(wide_lines(&format!("\n{}\n", "é".repeat(101))), ["2: 101 columns"]);
    }

    #[test]
    fn a_file_is_long_at_701_lines() {
        assert!(!is_long_file(&"\n".repeat(700)));
        assert!(is_long_file(&"\n".repeat(701)));
    }

    #[test]
    fn words_in_comments_and_texts_are_no_code() {
        let text = "//! hyper\n/// hyper\nfn f() { g(\"hyper :: x\"); /* hyper */ }";
        assert!(!has(&tokens(text, Part::Everything), "hyper ::"));
        assert!(has(&tokens("use hyper::body::Body;", Part::Everything), "hyper : : body"));
    }

    #[test]
    fn product_and_tests_are_told_apart() {
        let text = "fn a() { one() }\n#[cfg(test)]\nmod tests { fn b() { two() } }\n\
                    fn c() { three() }\n#[cfg(test)]\nuse four::x;\nfn d() { five() }";
        let product = tokens(text, Part::Product);
        let tests = tokens(text, Part::Tests);
        for (word, is_product) in
            [("one", true), ("two", false), ("three", true), ("four", false), ("five", true)]
        {
            assert_eq!(has(&product, word), is_product, "{word}");
            assert_eq!(has(&tests, word), !is_product, "{word}");
        }
    }

    #[test]
    fn modules_of_tests_are_found() {
        let text = "mod a;\n#[cfg(test)]\nmod b;\n#[cfg(test)]\npub(crate) mod c;\n\
                    #[cfg(test)]\nmod d { fn e() {} }\nmod f;";
        assert_eq!(test_modules(text), ["b", "c"]);
    }

    #[test]
    fn rough_ends_are_found_outside_tests_only() {
        let bad = "fn f() { x().unwrap(); if y { panic!(\"no\") } todo!(); dbg!(z); }";
        assert_eq!(rough_ends(bad), [". unwrap (", "panic !", "todo !", "dbg !"]);
        assert_eq!(rough_ends("fn f() { json!({ \"a\": b.unwrap() }) }"), [". unwrap ("]);
        assert!(rough_ends(&format!("#[cfg(test)] mod tests {{ {bad} }}")).is_empty());
        assert!(rough_ends("fn f() { x().unwrap_or(1); y().expect(\"why\"); }").is_empty());
    }

    #[test]
    fn a_derived_serialize_is_found() {
        assert!(derives_serialize("#[derive(Debug, Serialize)] struct S;"));
        assert!(derives_serialize("#[derive(serde::Serialize)] struct S;"));
        assert!(!derives_serialize("use serde::Serialize; fn f(_: &impl Serialize) {}"));
        assert!(!derives_serialize("#[derive(Deserialize)] struct S;"));
    }

    #[test]
    fn a_sleep_is_found_however_it_is_named() {
        assert!(sleeps("fn f() { std::thread::sleep(D) }", Part::Everything));
        assert!(sleeps("async fn f() { tokio::time::sleep(D).await }", Part::Everything));
        assert!(sleeps("use std::thread::sleep; fn f() { sleep(D) }", Part::Everything));
        assert!(!sleeps("fn f() { asleep(1); self.sleeps += 1; }", Part::Everything));
        assert!(!sleeps("async fn f() { time::sleep(D).await }", Part::Tests));
    }

    #[test]
    fn manifests_are_read() {
        let bad = "[dependencies]\njumpgate-kit = { path = \"x\" }\nserde.workspace = true\n\
                   [dev-dependencies]\njumpgate-it.workspace = true\n[lints]\nworkspace = false";
        let bad: toml::Table = toml::from_str(bad).unwrap();
        assert_eq!(Vec::from_iter(own_dependencies(&bad)), ["jumpgate-it", "jumpgate-kit"]);
        assert_eq!(own_versions(&bad), ["jumpgate-kit"]);
        assert!(!has_house_lints(&bad));
        assert!(has_house_lints(&toml::from_str("[lints]\nworkspace = true").unwrap()));
    }
}
