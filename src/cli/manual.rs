//! Options of the subcommands that print the program's own papers.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

const COMPLETIONS_HELP: &str = "\
Examples:
  fractally completions bash > ~/.local/share/bash-completion/completions/fractally
  fractally completions zsh > ~/.zfunc/_fractally
  fractally completions fish > ~/.config/fish/completions/fractally.fish
  source <(fractally completions bash)";

/// Options of `completions`.
#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_HELP)]
pub(crate) struct CompletionsArgs {
    /// The shell that is to complete.
    #[arg(value_name = "SHELL", value_enum)]
    pub(crate) shell: Shell,
}

const MAN_HELP: &str = "\
Examples:
  fractally man | man -l -
  fractally man render > fractally-render.1
  fractally man --all ~/.local/share/man/man1";

/// Options of `man`.
#[derive(Debug, Args)]
#[command(after_help = MAN_HELP)]
pub(crate) struct ManArgs {
    /// The subcommand whose page is printed, as `render` or `bench report` [default: the program's].
    #[arg(value_name = "SUBCOMMAND")]
    pub(crate) subcommand: Vec<String>,
    /// Write every page into this directory, as fractally.1, fractally-render.1 and so on; it is made where it is missing.
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "subcommand")]
    pub(crate) all: Option<PathBuf>,
}
