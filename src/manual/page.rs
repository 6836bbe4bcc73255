//! One man page, in roff: the sections that clap's command line gives, and those that are in the text behind its options.

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, italic, roman},
};

use crate::{AGENT, exit};

/// A page.
pub(super) struct Page {
    subcommand: String,
    name: String,
    text: String,
}

impl Page {
    /// What its file is called, as `fractally-render.1`.
    pub(super) fn file(&self) -> String {
        format!("{}.1", self.name)
    }

    /// The subcommand that it is about; nothing for the program's own page.
    pub(super) fn subcommand(&self) -> &str {
        &self.subcommand
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// The page of the whole `program`, or of the subcommand that `path` leads to. The program must be built.
pub(super) fn of(program: &Command, path: &[&Command]) -> Page {
    let command = path.last().copied().unwrap_or(program);
    let words: Vec<_> = path.iter().map(|command| command.get_name()).collect();
    let name = [&[program.get_name()], &words[..]].concat().join("-");
    let after = After::of(command);
    let man = Man::new(command.clone()).title(name.to_uppercase()).source(AGENT).manual("Fractally");
    let mut bytes = Vec::new();
    let mut write = |part: &dyn Fn(&Man, &mut dyn std::io::Write) -> std::io::Result<()>| {
        part(&man, &mut bytes).expect("a Vec takes every byte");
    };
    write(&Man::render_title);
    write(&Man::render_name_section);
    write(&|_, out| synopsis(command).to_writer(out));
    write(&Man::render_description_section);
    write(&|_, out| after.description().to_writer(out));
    write(&Man::render_options_section);
    if super::visible(command).next().is_some() {
        write(&Man::render_subcommands_section);
    }
    write(&|_, out| exit_status().to_writer(out));
    write(&|_, out| environment(program, command).to_writer(out));
    write(&|_, out| files().to_writer(out));
    write(&|_, out| after.examples().to_writer(out));
    write(&|_, out| see_also(program, &name).to_writer(out));
    Page { subcommand: words.join(" "), name, text: String::from_utf8_lossy(&bytes).into_owned() }
}

/// The text that `--help` shows behind the options, by its parts.
#[derive(Debug, Default, PartialEq, Eq)]
struct After {
    description: Vec<Part>,
    examples: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// To be filled.
    Prose(String),
    /// Lines that stay as they are.
    Lines(Vec<String>),
}

impl After {
    fn of(command: &Command) -> Self {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let mut after = Self::default();
        for part in text.split("\n\n").filter(|part| !part.trim().is_empty()) {
            let (head, rest) = part.split_once('\n').unwrap_or((part, ""));
            let lines: Vec<_> = rest.lines().map(|line| line.strip_prefix("  ").unwrap_or(line).to_owned()).collect();
            let is_list = head.ends_with(':') && !rest.is_empty() && rest.lines().all(|line| line.starts_with("  "));
            match head {
                // Every page has them, from where they are defined.
                "Exit codes:" => {}
                "Example:" | "Examples:" => after.examples.push(Part::Lines(lines)),
                _ if is_list => {
                    let is_example = lines.iter().all(|line| line.starts_with("fractally "));
                    let to = if is_example { &mut after.examples } else { &mut after.description };
                    to.extend([Part::Prose(head.to_owned()), Part::Lines(lines)]);
                }
                _ => after.description.push(Part::Prose(part.split_whitespace().collect::<Vec<_>>().join(" "))),
            }
        }
        after
    }

    fn description(&self) -> Roff {
        let mut roff = Roff::new();
        write_parts(&self.description, &mut roff);
        roff
    }

    fn examples(&self) -> Roff {
        let mut roff = Roff::new();
        if !self.examples.is_empty() {
            roff.control("SH", ["EXAMPLES"]);
            write_parts(&self.examples, &mut roff);
        }
        roff
    }
}

fn write_parts(parts: &[Part], roff: &mut Roff) {
    for part in parts {
        match part {
            Part::Prose(text) => {
                roff.control("PP", []);
                roff.text([roman(text)]);
            }
            Part::Lines(lines) => {
                // Not filled, and further in.
                roff.control("nf", []);
                roff.control("RS", ["4"]);
                for line in lines {
                    roff.text([roman(line)]);
                }
                roff.control("RE", []);
                roff.control("fi", []);
            }
        }
    }
}

/// How it is called, as `--help` says.
fn synopsis(command: &Command) -> Roff {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
    // What is to be typed as it stands, and then what is not.
    let (name, rest) = usage.split_at(usage.find(['[', '<']).unwrap_or(usage.len()));
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold(name), roman(rest)]);
    roff
}

/// The exit codes, from the lines that `--help` has.
fn exit_status() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for line in exit::HELP.lines().skip(1) {
        if let Some((code, meaning)) = line.trim().split_once(' ') {
            roff.control("TP", []);
            roff.text([bold(code)]);
            roff.text([roman(meaning.trim())]);
        }
    }
    roff
}

/// The variables, and the options that they stand for.
fn environment(program: &Command, command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["ENVIRONMENT"]);
    roff.text(
        [roman("A variable counts where the option is not given, and a file (")]
            .into_iter()
            .chain([bold("--config"), roman(") where neither is.")])
            .collect::<Vec<_>>(),
    );
    let is_of_program = |name: &str| program.get_arguments().any(|option| option.get_id() == name);
    let mut options: Vec<_> = command.get_arguments().filter(|option| !option.is_hide_set()).collect();
    options.sort_by_key(|option| is_of_program(option.get_id().as_str()));
    for option in options {
        if let (Some(variable), Some(long)) = (option.get_env(), option.get_long()) {
            roff.control("TP", []);
            roff.text([bold(variable.to_string_lossy())]);
            roff.text([roman("as "), bold(format!("--{long}"))]);
        }
    }
    roff.control("TP", []);
    roff.text([bold("NO_COLOR")]);
    roff.text([roman("no colours in what is logged")]);
    roff
}

fn files() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["FILES"]);
    roff.control("TP", []);
    roff.text([italic("FILE"), roman(" of "), bold("--config")]);
    roff.text([roman(
        "TOML: a table for each subcommand, whose keys are its long options without dashes; \"log\" stands before the first table.",
    )]);
    roff
}

fn see_also(program: &Command, name: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    let own = program.get_name();
    let others = super::visible(program).map(|other| format!("{own}-{}", other.get_name()));
    let mut pages: Vec<_> = std::iter::once(own.to_owned()).chain(others).filter(|page| page != name).collect();
    pages.sort();
    let last = pages.len().saturating_sub(1);
    let words =
        pages.iter().enumerate().flat_map(|(index, page)| [bold(page), roman(if index == last { "(1)" } else { "(1), " })]);
    roff.text(words.collect::<Vec<_>>());
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_help_says_behind_the_options_is_told_apart() {
        let text = "Ends\nsoon.\n\nSeries:\n  one    two\n         three\n\nExamples:\n  a -x\n  a -y | b\n\nLong ones:\n  fractally a\n\n\
                    Exit codes:\n  0 done";
        let after = After::of(&Command::new("a").after_help(text));
        let prose = |text: &str| Part::Prose(text.to_owned());
        let lines = |lines: &[&str]| Part::Lines(lines.iter().map(ToString::to_string).collect());
        assert_eq!(after.description, [prose("Ends soon."), prose("Series:"), lines(&["one    two", "       three"])]);
        assert_eq!(after.examples, [lines(&["a -x", "a -y | b"]), prose("Long ones:"), lines(&["fractally a"])]);
    }
}
