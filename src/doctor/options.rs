//! Where options come from besides the command line: the file and the variables.

use clap::Command;

use super::report::Finding;
use crate::config::{Config, Refused, likely};

/// The file that was read, or what is wrong with it.
pub(super) fn file(config: Option<&Result<Config, Refused>>) -> Vec<Finding> {
    const TOPIC: &str = "config";
    match config {
        None => vec![Finding::ok(TOPIC, "no file is read; --config or FRACTALLY_CONFIG names one")],
        Some(Ok(config)) => {
            let keys: Vec<_> = config.keys().collect();
            let keys = if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") };
            vec![Finding::ok(TOPIC, format!("{} sets {keys}", config.path().display()))]
        }
        Some(Err(refused)) => {
            let mut findings: Vec<_> = refused.lines().iter().map(|line| Finding::bad(TOPIC, line, "")).collect();
            let last = findings.len().saturating_sub(1);
            for (index, finding) in findings.iter_mut().enumerate() {
                let advice = "mend the file: no role starts with it, but ends with exit code 2";
                finding.advice = (index == last).then(|| advice.to_owned());
            }
            findings
        }
    }
}

/// The `FRACTALLY_*` variables that are set, by name: what they hold is nobody's business.
pub(super) fn variables(program: &Command) -> Vec<Finding> {
    let known = known(program);
    let mut set: Vec<_> = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    set.retain(|name| name.starts_with("FRACTALLY_"));
    set.sort();
    let (read, unread): (Vec<_>, Vec<_>) = set.into_iter().partition(|name| known.contains(name));
    let mut findings = Vec::new();
    if !read.is_empty() {
        findings.push(Finding::ok("variables", format!("{}: what is set there counts where no option does", read.join(", "))));
    }
    for name in unread {
        let likely = likely(&name, known.iter().map(String::as_str));
        let advice = likely.map_or_else(|| "unset it".to_owned(), |likely| format!("did you mean {likely}?"));
        findings.push(Finding::note("variables", format!("{name} is set, and nothing reads it"), advice));
    }
    findings
}

fn known(program: &Command) -> Vec<String> {
    let of_roles = program.get_subcommands().flat_map(Command::get_arguments);
    let names = program.get_arguments().chain(of_roles).filter_map(|option| option.get_env());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn the_variables_of_all_roles_are_known() {
        let known = known(&Cli::command());
        for name in
            ["FRACTALLY_LOG", "FRACTALLY_CONFIG", "FRACTALLY_BROKER", "FRACTALLY_THREADS", "FRACTALLY_STATE", "FRACTALLY_HTTP"]
        {
            assert!(known.iter().any(|known| known == name), "{name}");
        }
    }
}
