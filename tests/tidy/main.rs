//! The house keeps its own rules: which crate may use which, who names the ZeroMQ library, and that files say what they are.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the project with this ending, build results and the hidden folders left out.
fn files(ending: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                walk(&path, found);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(root(), &mut found);
    found.retain(|path| path.extension().is_some_and(|extension| extension == ending));
    found.sort();
    found
}

/// The crates of the workspace that a manifest depends on, for itself and not for its tests.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(manifest)).unwrap();
    let section = text.split("\n[dependencies]\n").nth(1).unwrap_or("").split("\n[").next().unwrap_or("");
    let names = section.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter_map(|name| name.strip_prefix("fractally-")).map(str::to_owned).collect()
}

#[test]
fn imports_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("Cargo.toml", &["broker", "client", "gateway", "measure", "metrics", "proto", "transport", "worker"][..]),
        ("broker/Cargo.toml", &["broker-core", "journal", "proto", "transport"]),
        ("broker/core/Cargo.toml", &["proto"]),
        ("client/Cargo.toml", &["proto", "transport"]),
        ("fractal/Cargo.toml", &[]),
        ("fuzz/Cargo.toml", &["journal", "proto"]),
        ("gateway/Cargo.toml", &["client", "metrics", "proto"]),
        ("journal/Cargo.toml", &["proto"]),
        ("measure/Cargo.toml", &[]),
        ("metrics/Cargo.toml", &[]),
        ("proto/Cargo.toml", &[]),
        ("simulator/Cargo.toml", &["broker-core", "fractal", "proto"]),
        ("tests/kit/Cargo.toml", &["proto", "transport"]),
        ("transport/Cargo.toml", &["proto"]),
        ("worker/Cargo.toml", &["fractal", "proto", "transport"]),
    ]);
    let manifests = files("toml").into_iter().filter(|path| path.ends_with("Cargo.toml"));
    for path in manifests {
        let manifest = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let allowed = allowed.get(manifest.as_str()).unwrap_or_else(|| panic!("{manifest} has no place in the house yet"));
        for dependency in dependencies(&manifest) {
            assert!(allowed.contains(&dependency.as_str()), "{manifest} may not depend on {dependency}");
        }
    }
}

#[test]
fn only_transport_names_the_zeromq_library() {
    for path in files("rs").into_iter().chain(files("toml")) {
        let inside = path.strip_prefix(root()).unwrap();
        if inside.starts_with("transport") || inside == Path::new("Cargo.toml") || inside.starts_with("tests/tidy") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("zeromq::") && !text.contains("\nzeromq"), "{} names zeromq", inside.display());
    }
}

#[test]
fn the_core_reads_no_clock_no_file_and_no_socket() {
    for path in files("rs").into_iter().filter(|path| path.starts_with(root().join("broker/core/src"))) {
        let text = fs::read_to_string(&path).unwrap();
        for word in ["Instant", "SystemTime", "std::fs", "std::net", "std::thread", "tokio", "rand::"] {
            assert!(!text.contains(word), "{} mentions {word}", path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_stays_one_idea() {
    const LINES_MAX: usize = 700;
    for path in files("rs") {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//!"), "{} does not open with what it is", path.display());
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines", path.display());
    }
}

#[test]
fn the_pages_say_what_they_are_and_need_nothing_from_elsewhere() {
    let opening = BTreeMap::from([("js", "// "), ("css", "/* "), ("html", "<!doctype html>\n<!-- ")]);
    for (ending, opening) in opening {
        let paths: Vec<_> = files(ending).into_iter().filter(|path| path.starts_with(root().join("gateway/web"))).collect();
        assert!(!paths.is_empty(), "there are {ending} files");
        for path in paths {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with(opening), "{} does not open with what it is", path.display());
            assert!(text.lines().count() <= 500, "{} is more than one idea", path.display());
            // What the pages' Content-Security-Policy forbids would fail only in a browser.
            for word in ["://", "<style", " style=", "<script>", "onclick=", "innerHTML", "eval("] {
                assert!(!text.contains(word), "{} has {word:?}", path.display());
            }
        }
    }
}

#[test]
fn documents_name_files_that_exist() {
    for document in ["README.md", "ARCHITECTURE.md", "proto/SPEC.md"] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let base = root().join(document).parent().unwrap().to_owned();
        // Links of the form [text](path).
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for link in links.filter(|link| !link.is_empty() && !link.contains("://")) {
            assert!(base.join(link).exists(), "{document} links to {link}, which is not there");
        }
        // Paths in code, as `folder/` and `folder/file.rs`; a file without a folder may stand in any room.
        let words = text.split('`').skip(1).step_by(2).filter(|word| !word.contains([' ', '\n', '<', '{', '[', ':']));
        for word in words.filter(|word| word.ends_with('/') || word.ends_with(".rs") || word.ends_with(".md")) {
            let known = files("rs").into_iter().chain(files("md"));
            let is_there = root().join(word).exists()
                || known.clone().any(|path| path.parent().is_some_and(|p| p.join(word).exists()))
                || known.clone().any(|path| path.ends_with(word));
            assert!(is_there, "{document} names {word}, which is not there");
        }
    }
}
