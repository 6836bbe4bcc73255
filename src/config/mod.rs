//! Options from a file: one TOML file for any role, named by `--config` or `FRACTALLY_CONFIG`.
//!
//! A table is a subcommand, a key is a long option without its dashes, and what a key may hold is what the parser of that option takes.
//! So the command line is described once, by clap, and this module names no option. Flag > variable > file > default.
//!
//! `check.rs` holds a file to the command line; `merge.rs` puts what it sets among the arguments. `cli/read.rs` is who asks.

mod check;
mod merge;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::{Command, Id};

pub(crate) use self::check::likely;

/// Most bytes of a file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file that was read, and in which nothing is wrong.
#[derive(Debug)]
pub(crate) struct Config {
    path: PathBuf,
    /// By line.
    settings: Vec<Setting>,
}

/// One key and what it is set to.
#[derive(Debug)]
struct Setting {
    /// The subcommand; none for what stands before the first table.
    table: Option<String>,
    key: String,
    /// The option that it sets.
    option: Id,
    line: usize,
    value: Value,
}

#[derive(Debug, PartialEq, Eq)]
enum Value {
    /// A flag without a value.
    Switch(bool),
    /// As on the command line; several for options that may be given several times.
    Texts(Vec<String>),
}

/// Why a file is not used: what cannot be read, or what is wrong with it, line by line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused(Vec<String>);

impl Refused {
    /// What is wrong, a line each.
    pub(crate) fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\nfractally: "))
    }
}

/// Whether a subcommand has a table. Those that only tell about the program itself read no file.
pub(crate) fn has_table(subcommand: &Command) -> bool {
    !subcommand.is_hide_set() && !["completions", "man", "help"].contains(&subcommand.get_name())
}

impl Config {
    /// Reads a file for the command line `program`.
    ///
    /// # Errors
    /// It cannot be read, has more than a MiB, is not TOML in UTF-8, or has a table, a key or a value that the command line has not.
    pub(crate) fn read(path: &Path, program: &Command) -> Result<Self, Refused> {
        let text = text_of(path).map_err(|why| Refused(vec![format!("--config: {}: {why}", path.display())]))?;
        let settings = check::settings(&text, program).map_err(|(problems, more)| {
            let told = problems.iter().map(|problem| format!("{}:{}: {}", path.display(), problem.line, problem.what));
            Refused(told.chain((more > 0).then(|| format!("{}: {more} more things are wrong", path.display()))).collect())
        })?;
        Ok(Self { path: path.to_owned(), settings })
    }

    /// Where it was read.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The keys that it sets, by line, as `log` and `broker.listen`.
    pub(crate) fn keys(&self) -> impl Iterator<Item = String> {
        self.settings.iter().map(|Setting { table, key, .. }| match table {
            Some(table) => format!("{table}.{key}"),
            None => key.clone(),
        })
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = |bytes: &mut Vec<u8>| -> io::Result<()> {
        File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(bytes)?;
        Ok(())
    };
    read(&mut bytes)
        .map_err(|error| format!("{error}; name a TOML file that can be read, or leave --config and FRACTALLY_CONFIG out"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes; is it the right file?"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = line_of(error.as_bytes(), error.utf8_error().valid_up_to());
        format!("line {line} is not UTF-8; save the file as UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned))
}

/// The number of the line that byte `at` stands in, from 1.
fn line_of(text: &[u8], at: usize) -> usize {
    text.iter().take(at).filter(|&&byte| byte == b'\n').count() + 1
}
