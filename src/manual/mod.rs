//! The program's own papers: completions for shells, and man pages. Both come from the command line as clap knows it, so they cannot say
//! anything else than `--help` does.

mod page;

use std::{fs, io::Write, path::Path};

use anyhow::Context;
use clap::{Arg, Command, CommandFactory};

use self::page::Page;
use crate::{
    cli::{Cli, CompletionsArgs, ManArgs},
    config::likely,
    exit::Failure,
    output::print_line,
};

/// `fractally completions SHELL`.
pub(crate) fn run_completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    let program = shown(&Cli::command());
    clap_complete::generate(args.shell, &mut program.clone(), program.get_name(), &mut script);
    write(&script)
}

/// `fractally man`.
pub(crate) fn run_man(args: &ManArgs) -> Result<(), Failure> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let pages = pages(&program);
    match &args.all {
        Some(folder) => write_all(&pages, folder),
        None => {
            let name = args.subcommand.join(" ");
            let page = pages.iter().find(|page| page.subcommand() == name).ok_or_else(|| no_page(&pages, &name))?;
            write(page.text().as_bytes())
        }
    }
}

fn no_page(pages: &[Page], name: &str) -> Failure {
    let names = || pages.iter().map(Page::subcommand).filter(|name| !name.is_empty());
    let likely = likely(name, names()).map_or_else(String::new, |likely| format!("did you mean {likely}? "));
    let names: Vec<_> = names().collect();
    Failure::usage(format!("SUBCOMMAND: there is no page for {name:?}; {likely}there are {}", names.join(", ")))
}

/// Every page: the program's, its subcommands', and those of their own.
fn pages(program: &Command) -> Vec<Page> {
    let mut pages = Vec::new();
    let mut paths = vec![Vec::new()];
    while let Some(path) = paths.pop() {
        let command = path.last().copied().unwrap_or(program);
        pages.push(page::of(program, &path));
        let below: Vec<Vec<&Command>> = visible(command).map(|below| [&path[..], &[below]].concat()).collect();
        // The last is taken first, so that pages come in the order of `--help`.
        paths.extend(below.into_iter().rev());
    }
    pages
}

/// Writes the pages into a folder, which is made where it is missing, and tells their paths.
fn write_all(pages: &[Page], folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).with_context(|| format!("--all: cannot make {}", folder.display()))?;
    for page in pages {
        let path = folder.join(page.file());
        fs::write(&path, page.text()).with_context(|| format!("--all: cannot write {}", path.display()))?;
        print_line(&path.display().to_string())?;
    }
    Ok(())
}

/// Bytes to stdout; a reader that has left is not our failure.
fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).context("cannot write to stdout").into())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn visible(program: &Command) -> impl Iterator<Item = &Command> {
    program.get_subcommands().filter(|role| !role.is_hide_set())
}

/// The command line without what `--help` does not show: shells would offer it.
fn shown(command: &Command) -> Command {
    let plain = Command::new(command.get_name().to_owned());
    let plain = match command.get_about() {
        Some(about) => plain.about(about.clone()),
        None => plain,
    };
    let plain = match command.get_version() {
        Some(version) => plain.version(version.to_owned()).propagate_version(true),
        None => plain,
    };
    let options: Vec<Arg> = command.get_arguments().filter(|option| !option.is_hide_set()).cloned().collect();
    plain.args(options).subcommands(visible(command).map(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_are_not_told_what_help_does_not_show() {
        let program = Cli::command();
        let hidden = |command: &Command| command.get_arguments().filter(|option| option.is_hide_set()).count();
        assert!(program.get_subcommands().map(hidden).sum::<usize>() > 0, "there is something to hide");
        let shown = shown(&program);
        assert_eq!(shown.get_subcommands().map(hidden).sum::<usize>(), 0);
        assert_eq!(shown.get_subcommands().count(), visible(&program).count());
        shown.debug_assert();
    }
}
