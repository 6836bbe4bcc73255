//! Reads the command line, with the file that it or a variable names.

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use super::Cli;
use crate::{
    config::{self, Config, Refused},
    exit::Failure,
};

/// What a process was asked to do.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) cli: Cli,
    /// The command line and the variables alone, without the file.
    pub(crate) given: ArgMatches,
    /// The file, if there is one. That it was refused is told by `doctor` alone: nobody else goes on with such a file.
    pub(crate) config: Option<Result<Config, Refused>>,
}

impl Cli {
    /// Reads the command line, the environment and the file. Help, and what is wrong with the command line, is told here and ends the
    /// process.
    ///
    /// # Errors
    /// The file is refused.
    pub(crate) fn read() -> Result<Read, Failure> {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        let program = Self::command();
        // What can be made of it, to learn which file there is, and for whom.
        let guess = program.clone().ignore_errors(true).try_get_matches_from(&arguments).ok();
        let file = guess.as_ref().and_then(|guess| file_for(&program, guess));
        let (Some(given), Some(file)) = (guess, file) else {
            let given = program.get_matches_from(&arguments);
            let cli = Self::of(&given);
            return Ok(Read { cli, given, config: None });
        };
        let role = given.subcommand_name().unwrap_or_default().to_owned();
        let merged = match Config::read(&file, &program) {
            Ok(config) => {
                let merged = config.merge(&program, &given, &arguments);
                program
                    .clone()
                    .try_get_matches_from(merged)
                    .map_err(|error| config.refused(&role, &error))
                    .map(|merged| (config, merged))
            }
            Err(refused) => Err(refused),
        };
        match merged {
            Ok((config, merged)) => Ok(Read { cli: Self::of(&merged), given, config: Some(Ok(config)) }),
            Err(refused) => {
                // What is wrong with the command line itself is told first, and by those who know it best.
                let given = program.get_matches_from(&arguments);
                if role != "doctor" {
                    return Err(Failure::usage(refused.to_string()));
                }
                Ok(Read { cli: Self::of(&given), given, config: Some(Err(refused)) })
            }
        }
    }

    fn of(matches: &ArgMatches) -> Self {
        Self::from_arg_matches(matches).unwrap_or_else(|error| error.exit())
    }
}

/// The file that is named for a subcommand which has a table. An empty name is none.
fn file_for(program: &Command, given: &ArgMatches) -> Option<PathBuf> {
    let role = program.find_subcommand(given.subcommand_name()?)?;
    let path = given.get_one::<PathBuf>("config")?;
    (config::has_table(role) && !path.as_os_str().is_empty()).then(|| path.clone())
}
