//! Components of a few bytes, put together by hand, for what no compiler would make.
//!
//! The layout is that of the component model's binary format: a preamble, then sections of an id,
//! a length and a list. Every number here is below 128, so one byte in LEB128.

/// A component of nothing: magic, version 13, layer 1.
pub const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

const INSTANCES: u8 = 5;
const TYPES: u8 = 7;
const IMPORTS: u8 = 10;
const EXPORTS: u8 = 11;

/// Imports interfaces without content.
pub fn importing_an_interface(names: &[&str]) -> Vec<u8> {
    // An instance type (0x42) of no declarations; each import is of sort instance (5) and type 0.
    let types = section(TYPES, &[1, 0x42, 0]);
    let mut imports = vec![u8::try_from(names.len()).unwrap()];
    for name in names {
        imports.extend(named(name));
        imports.extend([5, 0]);
    }
    [EMPTY, &types, &section(IMPORTS, &imports)].concat()
}

/// Imports a function of no parameters and no result.
pub fn importing_a_function(name: &str) -> Vec<u8> {
    // A function type (0x40) of 0 parameters and no result (1, 0); sort function is 1.
    let types = section(TYPES, &[1, 0x40, 0, 1, 0]);
    let imports = [&[1][..], &named(name), &[1, 0]].concat();
    [EMPTY, &types, &section(IMPORTS, &imports)].concat()
}

/// Exports an interface without content.
pub fn exporting(name: &str) -> Vec<u8> {
    // An instance of inline exports (1), 0 of them; the export is of sort instance (5), index 0,
    // without a type of its own (0).
    let instances = section(INSTANCES, &[1, 1, 0]);
    let exports = [&[1][..], &named(name), &[5, 0, 0]].concat();
    [EMPTY, &instances, &section(EXPORTS, &exports)].concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id, length(content)][..], content].concat()
}

fn named(name: &str) -> Vec<u8> {
    [&[0, length(name.as_bytes())][..], name.as_bytes()].concat()
}

fn length(bytes: &[u8]) -> u8 {
    u8::try_from(bytes.len()).ok().filter(|length| *length < 128).unwrap()
}
