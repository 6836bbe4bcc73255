//! Conformance vectors: what the crates say of messages, strips, counts and files, as `proto/vectors.json` tells it to programs in
//! other languages.
//!
//! `words.rs`: messages, and what is refused. `pictures.rs`: cuts, points, counts, files. `value.rs`: the file's format.
//! Everything in the file comes from here: where the two differ the test fails, and `FRACTALLY_VECTORS_WRITE=1 cargo test --test
//! vectors` writes the file anew. A difference that was not meant is a change of the protocol or of the engine.

#![allow(clippy::unwrap_used, reason = "a test")]

mod pictures;
mod value;
mod words;

use std::{fs, path::Path};

use value::{Value, map};

fn vectors() -> Value {
    map([
        ("about", "Conformance vectors of the protocol of the grid; SPEC.md, section 7, says how to use them.".into()),
        ("protocol", u64::from(fractally_proto::VERSION).into()),
        ("engine", fractally_fractal::ENGINE_ID.into()),
        ("messages", words::messages()),
        ("also_read", words::also_read()),
        ("malformed", words::malformed()),
        ("refused", words::refused()),
        ("strips", pictures::strips()),
        ("points", pictures::points()),
        ("counts", pictures::counts()),
        ("heads", pictures::heads()),
        ("files", pictures::files()),
    ])
}

#[test]
fn the_file_of_vectors_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/vectors.json");
    let text = vectors().document();
    if std::env::var_os("FRACTALLY_VECTORS_WRITE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let (line, _) = text.lines().zip(found.lines()).enumerate().find(|(_, (a, b))| a != b).unwrap_or_default();
    assert!(
        found == text,
        "proto/vectors.json differs from line {} on. If that is meant, FRACTALLY_VECTORS_WRITE=1 cargo test --test vectors",
        line + 1
    );
}

#[test]
fn the_file_is_json_that_every_parser_reads() {
    let read: serde_json::Value = serde_json::from_str(&vectors().document()).unwrap();
    for (list, least) in [("messages", 30), ("also_read", 5), ("malformed", 20), ("refused", 10), ("strips", 8), ("counts", 6)] {
        let len = read[list].as_array().unwrap().len();
        assert!(len >= least, "{list} has {len} entries");
    }
}
