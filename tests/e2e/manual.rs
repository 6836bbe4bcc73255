//! Completions and man pages, as the shells and the readers that are here take them. What is not here is said and passed over.

use std::{fs, path::Path, process::Command};

use crate::lab;

/// Whether a program can be run; if not, that is said.
fn is_here(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let is_here = std::env::split_paths(&folders).any(|folder| folder.join(program).is_file());
    if !is_here {
        eprintln!("SKIPPED: there is no {program}");
    }
    is_here
}

/// What a program says, which must end well and say nothing else.
fn output_of(program: &str, args: &[&str], folder: &Path) -> String {
    let output = Command::new(program).args(args).current_dir(folder).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{program} {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn printed(args: &[&str]) -> String {
    let run = lab().run(args);
    assert!(run.status.success() && run.stderr.is_empty(), "{run:?}");
    String::from_utf8(run.stdout).unwrap()
}

/// Every subcommand, as `--help` lists them.
fn subcommands() -> Vec<String> {
    let help = printed(&["--help"]);
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap().to_owned();
    let rows = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names: Vec<_> =
        rows.map(|line| line.split_whitespace().next().unwrap().to_owned()).filter(|name| name != "help").collect();
    assert!(names.len() >= 14 && names.contains(&"render".to_owned()), "{names:?}");
    names
}

/// Words of options that `--help` does not show.
const HIDDEN: [&str; 4] = ["leave-with-stdin", "debug-slow", "temporary-state", "patience"];

#[test]
fn bash_completes_commands_options_and_values() {
    if !is_here("bash") {
        return;
    }
    let lab = lab();
    fs::write(lab.path("script"), printed(&["completions", "bash"])).unwrap();
    let complete = |line: &str| {
        // As bash itself calls the function that was registered for the program.
        let call = format!(
            "source ./script; COMP_LINE='{line}'; read -ra COMP_WORDS <<<\"$COMP_LINE\"; \
             [[ $COMP_LINE == *' ' ]] && COMP_WORDS+=(''); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_POINT=${{#COMP_LINE}}; \
             registered=$(complete -p fractally); function=${{registered##*-F }}; function=${{function%% *}}; \
             \"$function\" fractally \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        output_of("bash", &["--norc", "--noprofile", "-c", &call], &lab.path("")).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete("fractally ren"), ["render"]);
    let commands = complete("fractally ");
    assert!(subcommands().iter().all(|name| commands.contains(name)), "{commands:?}");
    assert_eq!(complete("fractally render --cm"), ["--cmap"]);
    assert_eq!(complete("fractally render --cmap inf"), ["inferno"]);
    assert_eq!(complete("fractally completions z"), ["zsh"]);
    assert_eq!(complete("fractally list --state run"), ["running"]);
    let options = complete("fractally broker --");
    assert!(options.contains(&"--state-size".to_owned()) && options.contains(&"--config".to_owned()), "{options:?}");
    assert!(!options.iter().any(|option| HIDDEN.iter().any(|hidden| option.contains(hidden))), "{options:?}");
}

#[test]
fn zsh_takes_its_script() {
    if !is_here("zsh") {
        return;
    }
    let lab = lab();
    fs::create_dir(lab.path("functions")).unwrap();
    fs::write(lab.path("functions/_fractally"), printed(&["completions", "zsh"])).unwrap();
    output_of("zsh", &["-f", "-n", "functions/_fractally"], &lab.path(""));
    // Found by its name, as the package of a distribution would install it, and loaded.
    let load = "fpath=($PWD/functions $fpath); autoload -Uz compinit; compinit -u -d $PWD/dump; print -r -- $_comps[fractally]; \
                autoload +X _fractally; print -r -- ${+functions[_fractally]}";
    assert_eq!(output_of("zsh", &["-f", "-c", load], &lab.path("")), "_fractally\n1\n");
}

#[test]
fn fish_completes_commands_and_options() {
    if !is_here("fish") {
        return;
    }
    let lab = lab();
    fs::write(lab.path("script"), printed(&["completions", "fish"])).unwrap();
    let complete = |line: &str| {
        let call = format!("source ./script; complete -C '{line}'");
        let mut command = Command::new("fish");
        command.args(["--no-config", "-c", &call]).current_dir(lab.path("")).env("HOME", lab.path(""));
        let output = command.output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        told.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(complete("fractally ren"), ["render"]);
    assert_eq!(complete("fractally render --cma"), ["--cmap"]);
    assert!(!complete("fractally broker --leave").contains(&"--leave-with-stdin".to_owned()));
}

#[test]
fn scripts_for_all_shells_know_every_command_and_nothing_hidden() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell]);
        for name in subcommands() {
            assert!(script.contains(&name), "{shell}: {name}");
        }
        assert!(script.contains("state-size"), "{shell}");
        for hidden in HIDDEN {
            assert!(!script.contains(hidden), "{shell}: {hidden}");
        }
    }
    let unknown = lab().run(["completions", "csh"]);
    assert!(unknown.code() == 2 && unknown.stderr.contains("powershell"), "{unknown:?}");
}

/// A page as its reader sees it.
fn plain(page: &str) -> String {
    page.replace("\\-", "-").replace("\\fB", "").replace("\\fI", "").replace("\\fR", "")
}

#[test]
fn every_command_has_a_page_with_all_sections() {
    let all = subcommands();
    for name in std::iter::once(None).chain(all.iter().map(Some)) {
        let page = printed(&["man"].into_iter().chain(name.map(String::as_str)).collect::<Vec<_>>());
        let title = name.map_or_else(|| "FRACTALLY".to_owned(), |name| format!("FRACTALLY-{}", name.to_uppercase()));
        assert!(plain(&page).lines().any(|line| line.starts_with(".TH") && line.contains(&title)), "{page}");
        let sections: Vec<_> =
            page.lines().filter_map(|line| line.strip_prefix(".SH ")).map(|name| name.replace('"', "")).collect();
        let has_own = name.is_none_or(|name| name == "bench");
        let wanted = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"];
        assert!(wanted.iter().all(|wanted| sections.iter().any(|section| section == wanted)), "{title}: {sections:?}");
        assert_eq!(sections.iter().filter(|section| *section == "SUBCOMMANDS").count(), usize::from(has_own));
        assert!(plain(&page).contains("130") && plain(&page).contains("FRACTALLY_CONFIG"), "{title}");
        for hidden in HIDDEN {
            assert!(!plain(&page).contains(hidden), "{title}: {hidden}");
        }
        // What help says of an option, the page says too.
        let Some(name) = name else { continue };
        let help = printed(&[name, "--help"]);
        for word in
            help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| word.starts_with("--") && word.len() > 3)
        {
            assert!(plain(&page).contains(word), "{name}: {word}");
        }
        assert_eq!(help.contains("Example"), sections.iter().any(|section| section == "EXAMPLES"), "{name}");
    }
    let unknown = lab().run(["man", "rendr"]);
    assert!(unknown.code() == 2 && unknown.stderr.contains("did you mean render?"), "{unknown:?}");
}

#[test]
fn pages_hold_nothing_of_who_made_them() {
    let lab = lab();
    for args in [&["man", "render"][..], &["completions", "bash"], &["completions", "zsh"]] {
        let mut command = lab.command(args);
        command.env("FRACTALLY_BROKER", "tcp://private.example:1");
        let run = lab.start(command).wait();
        assert!(run.status.success() && !String::from_utf8_lossy(&run.stdout).contains("private"), "{run:?}");
        assert_eq!(String::from_utf8(run.stdout).unwrap(), printed(args));
    }
}

#[test]
fn all_pages_are_written_and_readers_take_them() {
    let lab = lab();
    let run = lab.run(["man", "--all", "share/man1"]);
    assert!(run.status.success(), "{run:?}");
    let files: Vec<_> = String::from_utf8(run.stdout).unwrap().lines().map(str::to_owned).collect();
    let wanted = std::iter::once("fractally".to_owned()).chain(subcommands().into_iter().map(|name| format!("fractally-{name}")));
    let mut wanted: Vec<_> = wanted.map(|name| format!("share/man1/{name}.1")).collect();
    // A subcommand of a subcommand stands behind it.
    let bench = wanted.iter().position(|name| name.ends_with("-bench.1")).unwrap();
    wanted.insert(bench + 1, "share/man1/fractally-bench-report.1".to_owned());
    assert_eq!(files, wanted);
    assert_eq!(printed(&["man", "bench", "report"]), fs::read_to_string(lab.path(&wanted[bench + 1])).unwrap());
    for file in &files {
        let name = Path::new(file).file_stem().unwrap().to_str().unwrap();
        if is_here("groff") {
            let text = output_of("groff", &["-man", "-Tutf8", "-ww", "-P-c", "-P-b", "-P-u", file], &lab.path(""));
            assert!(text.contains("EXIT STATUS") && text.contains(&format!("{}(1)", name.to_uppercase())), "{text}");
        }
        if is_here("mandoc") {
            let problems = output_of("mandoc", &["-T", "lint", "-W", "error", file], &lab.path(""));
            assert!(problems.is_empty(), "{problems}");
        }
    }
    fs::write(lab.path("file"), "").unwrap();
    let taken = lab.run(["man", "--all", "file"]);
    assert!(taken.code() == 1 && taken.stderr.contains("--all"), "{taken:?}");
    let both = lab.run(["man", "--all", "a", "render"]);
    assert!(both.code() == 2 && !lab.path("a").exists(), "{both:?}");
}
