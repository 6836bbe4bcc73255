//! The recipes of the README's section "Behind a URL", run as they stand there: each must succeed, and give the pictures that
//! `fractally render` gives.

use std::{env, fs, path::Path, process::Command};

use fractally_testkit::Gateway;

/// What the command line makes of the files that recipes name.
const SAME: [(&str, &[&str]); 4] = [
    ("dusk.png", &["-c", "-0.4+0.6i", "--cmap", "twilight", "--size", "600x400"]),
    ("dusk.webp", &["-c", "-0.4+0.6i", "--cmap", "twilight", "--size", "600x400"]),
    ("tile.png", &["-c", "-0.4+0.6i", "--cmap", "twilight", "--size", "1024x1024", "--window", "256x256+256+256"]),
    ("talk.png", &["-c", "-0.8+0.156i", "--size", "600x400"]),
];
/// Files that are no pictures of a render.
const OTHER: [&str; 3] = ["asked.json", "first.part", "small.png"];

/// The indented blocks between the marks.
fn recipes() -> Vec<String> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, rest) = readme.split_once("<!-- recipes -->").expect("the README has recipes");
    let (text, _) = rest.split_once("<!-- end of recipes -->").expect("they have an end");
    let mut blocks = vec![String::new()];
    for line in text.lines() {
        match line.strip_prefix("    ") {
            Some(code) => blocks.last_mut().unwrap().extend([code, "\n"]),
            None if blocks.last().is_some_and(|block| !block.is_empty()) => blocks.push(String::new()),
            None => {}
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

#[test]
fn the_readmes_recipes_work_as_they_stand_there() {
    if Command::new("curl").arg("--version").output().is_err() {
        assert!(env::var_os("CI").is_none(), "recipes need curl (Debian: apt install curl)");
        eprintln!("\n{0}\n  NOT TESTED: the README's recipes; curl is not installed\n{0}\n", "=".repeat(78));
        return;
    }
    let lab = crate::lab();
    let gateway = Gateway::start_with(&lab, &["up", "--listen", "127.0.0.1:0", "--workers", "2"]);
    let address = gateway.url.strip_prefix("http://").unwrap();
    let folder = Path::new(env!("CARGO_BIN_EXE_fractally")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), env::var("PATH").unwrap_or_default());
    let blocks = recipes();
    assert!(blocks.len() > 8, "{blocks:?}");
    for block in &blocks {
        // What one block has set the next ones use, as at a prompt.
        let code = block.replace("127.0.0.1:8080", address);
        let script = format!(
            "set -euo pipefail\n[[ ! -e set ]] || . ./set\n{code}\nfor name in gate fields render long key; do \
             [[ ! -v $name ]] || declare -p $name; done > set"
        );
        let mut bash = Command::new("bash");
        bash.args(["-c", &script])
            .current_dir(lab.path("."))
            .env("PATH", &path)
            .env("NO_PROXY", "*")
            .env("TMPDIR", lab.temporary());
        let run = lab.start(bash).wait();
        assert!(run.status.success(), "{block}\n{run:?}");
    }
    let named = blocks.iter().flat_map(|block| block.split_whitespace().collect::<Vec<_>>());
    let named: Vec<_> = named.clone().zip(named.skip(1)).filter(|(option, _)| *option == "-o").map(|(_, file)| file).collect();
    for file in &named {
        let is_known = SAME.iter().any(|(name, _)| name == file) || OTHER.contains(file);
        assert!(is_known, "what is {file} of the recipes to be like?");
    }
    for (file, options) in SAME {
        assert!(named.contains(&file), "no recipe gives {file}");
        let own = format!("own-{file}");
        lab.render(["--workers", "1", "-o", &own].iter().chain(options));
        assert!(fs::read(lab.path(file)).unwrap() == fs::read(lab.path(&own)).unwrap(), "{file} is another picture");
    }
    assert!(fs::read(lab.path("small.png")).unwrap().starts_with(b"\x89PNG"));
}
