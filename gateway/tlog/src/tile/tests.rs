use super::*;

fn tile(kind: TileKind, index: u64, width: u16) -> Tile {
    Tile { kind, index, width }
}

#[test]
fn a_tile_has_one_path() {
    let cases = [
        (tile(TileKind::Hashes(0), 0, 256), "tile/0/000"),
        (tile(TileKind::Hashes(1), 1_234_067, 256), "tile/1/x001/x234/067"),
        (tile(TileKind::Hashes(7), 999, 1), "tile/7/999.p/1"),
        (tile(TileKind::Entries, 1000, 255), "tile/entries/x001/000.p/255"),
        (tile(TileKind::Hashes(0), u64::MAX, 256), "tile/0/x018/x446/x744/x073/x709/x551/615"),
    ];
    for (tile, path) in cases {
        assert_eq!(tile.to_string(), path);
        assert_eq!(path.parse(), Ok(tile));
    }
    let wrong = [
        "",
        "tile/0",
        "tile/0/",
        "tile/8/000",
        "tile/00/000",
        "tile/0/0",
        "tile/0/000/000",
        "tile/0/x000/000",
        "tile/0/x001",
        "tile/0/x001/x000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/65535",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p/1/1",
        "tile/entries",
        "tile/data/000",
        "tile/0/+00",
        "tile/0/../000",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "/tile/0/000",
    ];
    for path in wrong {
        assert_eq!(path.parse::<Tile>(), Err(InvalidTile), "{path}");
    }
}

/// The example of the specification, and its corner.
#[test]
fn a_tree_has_the_tiles_of_its_size() {
    let partial = |size| Tile::partial_of_tree(size).map(|it| it.to_string()).collect::<Vec<_>>();
    assert_eq!(
        partial(70_000),
        ["tile/entries/273.p/112", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
    );
    assert_eq!(partial(256), ["tile/1/000.p/1"]);
    assert_eq!(partial(0), [""; 0]);
    let of = |kind, index, size| Tile::of_tree(kind, index, size).map(Tile::width);
    assert_eq!(of(TileKind::Hashes(0), 272, 70_000), Some(256));
    assert_eq!(of(TileKind::Hashes(0), 274, 70_000), None);
    assert_eq!(of(TileKind::Hashes(1), 0, 255), None);
    assert_eq!(of(TileKind::Hashes(8), 0, u64::MAX), None);
    assert_eq!(of(TileKind::Hashes(0), u64::MAX, u64::MAX), None);
}

#[test]
fn a_bundle_gives_back_its_entries_and_says_when_it_is_torn() {
    let mut bundle = Vec::new();
    for entry in [&b"one"[..], b"", b"three"] {
        add_to_bundle(&mut bundle, entry);
    }
    let read: Vec<_> = entries_of_bundle(&bundle).collect();
    assert_eq!(read, [Ok(&b"one"[..]), Ok(b""), Ok(b"three")]);
    for cut in [bundle.len() - 1, bundle.len() - 6, 1] {
        let last = entries_of_bundle(&bundle[..cut]).last();
        assert_eq!(last, Some(Err(TornBundle)), "{cut}");
    }
}
