//! Puts what a file sets among the arguments of a command line, where neither an argument nor a variable has set it.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, Command, error::ContextKind, parser::ValueSource};

use super::{Config, Refused, Setting, check};

impl Config {
    /// The arguments of `program` with what the file sets. `given` is what was made of them without it.
    pub(crate) fn merge(&self, program: &Command, given: &ArgMatches, arguments: &[OsString]) -> Vec<OsString> {
        let for_all = self.settings.iter().filter(|setting| setting.table.is_none()).filter_map(|setting| {
            let option = check::of_all_roles(program).find(|option| *option.get_id() == setting.option)?;
            (!is_given(option, given)).then(|| check::arguments_of(option, &setting.value))
        });
        // A table is for the subcommand alone, and not for one of its own (`bench report`).
        let for_role = given.subcommand().filter(|(_, given)| given.subcommand().is_none());
        let for_role = for_role.and_then(|(name, given)| Some((program.find_subcommand(name)?, given)));
        let for_role = for_role.into_iter().flat_map(|(role, given)| self.of_role(role, given));
        let more: Vec<_> = for_all.chain(for_role).flatten().map(OsString::from).collect();
        // Behind `--` stands no option any more.
        let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
        [&arguments[..end], &more, &arguments[end..]].concat()
    }

    fn of_role<'a>(&'a self, role: &'a Command, given: &'a ArgMatches) -> impl Iterator<Item = Vec<String>> {
        let given: Vec<_> = role.get_arguments().filter(|option| is_given(option, given)).collect();
        let stands_back =
            move |option: &Arg| given.iter().any(|given| given.get_id() == option.get_id() || exclude(role, given, option));
        self.settings_of(role.get_name()).filter_map(move |setting| {
            let option = check::options(role).find(|option| *option.get_id() == setting.option)?;
            (!stands_back(option)).then(|| check::arguments_of(option, &setting.value))
        })
    }

    fn settings_of(&self, role: &str) -> impl Iterator<Item = &Setting> {
        self.settings.iter().filter(move |setting| setting.table.as_deref() == Some(role))
    }

    /// Why a command line is refused with this file that is good without it.
    pub(crate) fn refused(&self, role: &str, error: &clap::Error) -> Refused {
        let named = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
        let (one, other) = (named(ContextKind::InvalidArg), named(ContextKind::PriorArg));
        let line = self.settings_of(role).next().map_or(1, |setting| setting.line);
        let what = match error.kind() {
            clap::error::ErrorKind::MissingRequiredArgument => {
                format!("what [{role}] sets needs {one} too; set that as well, here or as an option")
            }
            clap::error::ErrorKind::ArgumentConflict => {
                format!("[{role}] sets {one} and {other}, which exclude one another; take out one")
            }
            _ => format!("[{role}]: {}", error.to_string().lines().next().unwrap_or_default()),
        };
        Refused(vec![format!("{}:{line}: {what}", self.path.display())])
    }
}

/// Whether the command line or a variable says something about an option.
fn is_given(option: &Arg, given: &ArgMatches) -> bool {
    given.try_contains_id(option.get_id().as_str()).is_ok()
        && given.value_source(option.get_id().as_str()) == Some(ValueSource::CommandLine)
        || option.get_env().is_some_and(|name| std::env::var_os(name).is_some())
}

/// Whether two options may not be given together.
fn exclude(role: &Command, one: &Arg, other: &Arg) -> bool {
    let names = |one: &Arg, other: &Arg| role.get_arg_conflicts_with(one).iter().any(|named| named.get_id() == other.get_id());
    names(one, other) || names(other, one)
}
