//! Holds a file to the command line: every table a subcommand, every key an option, every value as its option's own parser wants it.
//!
//! The whole file is checked, whichever role reads it, so that one file can be written for all hosts and tried on one of them.

use std::{borrow::Cow, error::Error as _, ops::Range};

use clap::{
    Arg, ArgAction, Command,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Setting, Value, has_table, line_of};

/// What is told of one file at the most.
pub(super) const PROBLEMS_MAX: usize = 10;
/// Characters of a key or a value that are repeated to who wrote it.
const SHOWN_CHARS_MAX: usize = 60;
/// How alike two names are, from 0 to 1, when one is taken for a slip of the other.
const ALIKE: f64 = 0.7;

/// Something that is wrong, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) line: usize,
    pub(super) what: String,
}

/// What the file sets, by line.
///
/// # Errors
/// What is wrong with it, by line; of a great many things a few, and how many more there are.
pub(super) fn settings(text: &str, program: &Command) -> Result<Vec<Setting>, (Vec<Problem>, usize)> {
    let file = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let what = error.message().lines().collect::<Vec<_>>().join(", ");
        (vec![Problem { line: line_of(text.as_bytes(), at), what: format!("this is not TOML: {what}") }], 0)
    })?;
    let mut check = Check { text, program, settings: Vec::new(), problems: Vec::new(), more: 0 };
    check.file(file.get_ref());
    let Check { mut settings, mut problems, more, .. } = check;
    if problems.is_empty() {
        settings.sort_by_key(|setting| setting.line);
        return Ok(settings);
    }
    problems.sort_by_key(|problem| problem.line);
    Err((problems, more))
}

struct Check<'a> {
    text: &'a str,
    program: &'a Command,
    settings: Vec<Setting>,
    problems: Vec<Problem>,
    /// Problems beyond those.
    more: usize,
}

type Key<'a> = Spanned<Cow<'a, str>>;

impl Check<'_> {
    fn file(&mut self, file: &DeTable<'_>) {
        let program = self.program;
        for (key, value) in file {
            let name = key.get_ref().as_ref();
            let table = program.get_subcommands().find(|role| has_table(role) && role.get_name() == name);
            match (table, value.get_ref()) {
                (Some(role), DeValue::Table(keys)) => self.table(role, keys),
                (Some(role), _) => {
                    let roles = roles_with(program, name);
                    let also = if roles.is_empty() { String::new() } else { format!("; as a key it stands below {roles}") };
                    let name = role.get_name();
                    self.wrong(key.span(), || format!("`{name}` is a table; write [{name}] once, and its keys below{also}"));
                }
                (None, DeValue::Table(_)) => self.wrong(key.span(), || no_table(program, name)),
                (None, _) => match of_all_roles(program).find(|option| key_of(option).as_deref() == Some(name)) {
                    Some(option) => self.setting(None, option, key, value),
                    None => self.wrong(key.span(), || no_key_before_tables(program, name)),
                },
            }
        }
    }

    fn table(&mut self, role: &Command, keys: &DeTable<'_>) {
        for (key, value) in keys {
            let name = key.get_ref().as_ref();
            match options(role).find(|option| key_of(option).as_deref() == Some(name)) {
                Some(option) => self.setting(Some(role), option, key, value),
                None if of_all_roles(self.program).any(|option| key_of(option).as_deref() == Some(name)) => {
                    self.wrong(key.span(), || format!("`{name}` is for all roles; write it before the first table"));
                }
                None => self.wrong(key.span(), || no_key(role, name)),
            }
        }
    }

    fn setting(&mut self, role: Option<&Command>, option: &Arg, key: &Key<'_>, value: &Spanned<DeValue<'_>>) {
        let read = value_of(option, value.get_ref()).and_then(|value| try_value(role, option, value));
        match read {
            Ok(value) => self.settings.push(Setting {
                table: role.map(|role| role.get_name().to_owned()),
                key: key.get_ref().to_string(),
                option: option.get_id().clone(),
                line: line_of(self.text.as_bytes(), key.span().start),
                value,
            }),
            Err(what) => {
                let table = role.map_or_else(String::new, |role| format!("[{}] ", role.get_name()));
                let written = self.text.get(value.span()).unwrap_or_default();
                self.wrong(key.span(), || format!("{table}{} = {}: {what}", key.get_ref(), shown(written)));
            }
        }
    }

    fn wrong(&mut self, at: Range<usize>, what: impl FnOnce() -> String) {
        if self.problems.len() == PROBLEMS_MAX {
            self.more += 1;
            return;
        }
        self.problems.push(Problem { line: line_of(self.text.as_bytes(), at.start), what: what() });
    }
}

/// The options of a subcommand that a file may set: those that `--help` shows.
pub(super) fn options(role: &Command) -> impl Iterator<Item = &Arg> {
    let is_for_files = |option: &&Arg| {
        let sets = matches!(option.get_action(), ArgAction::Set | ArgAction::Append | ArgAction::SetTrue);
        sets && !option.is_hide_set() && !option.is_positional() && !option.is_global_set()
    };
    role.get_arguments().filter(is_for_files)
}

/// Those of all subcommands. A file does not name another one.
pub(super) fn of_all_roles(program: &Command) -> impl Iterator<Item = &Arg> {
    program.get_arguments().filter(|option| option.is_global_set() && !option.is_hide_set() && option.get_id() != "config")
}

/// What an option is called in a file: its long name, or the short one of an option that has no other.
fn key_of(option: &Arg) -> Option<String> {
    option.get_long().map(str::to_owned).or_else(|| option.get_short().map(String::from))
}

fn value_of(option: &Arg, value: &DeValue<'_>) -> Result<Value, String> {
    let is_list = matches!(option.get_action(), ArgAction::Append);
    match (option.get_action(), value) {
        (ArgAction::SetTrue, DeValue::Boolean(is_on)) => Ok(Value::Switch(*is_on)),
        (ArgAction::SetTrue, _) => Err("it is on or off; write true or false".to_owned()),
        (_, DeValue::Array(values)) if is_list => {
            let texts = values.iter().map(|value| text_of(value.get_ref()));
            texts.collect::<Option<_>>().map(Value::Texts).ok_or_else(|| "write a list of texts or numbers".to_owned())
        }
        (_, DeValue::Array(_)) => Err("it takes one value, and no list".to_owned()),
        (_, value) => {
            let text = text_of(value).ok_or_else(|| "write a text or a number".to_owned())?;
            Ok(Value::Texts(vec![text]))
        }
    }
}

/// A value as it would be written on the command line.
fn text_of(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => u128::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// Lets the option's own parser look at a value, on a command line that has nothing else.
fn try_value(role: Option<&Command>, option: &Arg, value: Value) -> Result<Value, String> {
    let arguments = arguments_of(option, &value);
    let plain = |other: Arg| if other.is_positional() { other.required(false) } else { other }.env(Resettable::Reset);
    let command = match role {
        Some(role) => role.clone(),
        None => Command::new("fractally").arg(option.clone()),
    };
    match command.no_binary_name(true).mut_args(plain).try_get_matches_from(arguments) {
        Err(error) if is_about_a_value(error.kind()) => Err(reason(&error)),
        // Whether the options go together is known only with the command line: `merge.rs` asks then.
        Ok(_) | Err(_) => Ok(value),
    }
}

fn is_about_a_value(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::NoEquals | ErrorKind::InvalidUtf8)
}

/// What stands on a command line for a value.
pub(super) fn arguments_of(option: &Arg, value: &Value) -> Vec<String> {
    let flag =
        option.get_long().map_or_else(|| format!("-{}", option.get_short().unwrap_or_default()), |long| format!("--{long}"));
    match value {
        Value::Switch(is_on) => {
            if *is_on {
                vec![flag]
            } else {
                Vec::new()
            }
        }
        Value::Texts(texts) => texts.iter().map(|text| format!("{flag}={text}")).collect(),
    }
}

/// Why a parser refuses a value: its own words, without the option and the way to `--help`.
fn reason(error: &clap::Error) -> String {
    if let Some(source) = error.source() {
        return source.to_string();
    }
    match (error.get(ContextKind::ValidValue), error.get(ContextKind::SuggestedValue)) {
        (Some(ContextValue::Strings(valid)), Some(ContextValue::String(likely))) => {
            format!("did you mean {likely:?}? it is one of {}", valid.join(", "))
        }
        (Some(ContextValue::Strings(valid)), _) if !valid.is_empty() => format!("it is one of {}", valid.join(", ")),
        _ => "it must not be empty".to_owned(),
    }
}

fn no_table(program: &Command, name: &str) -> String {
    let tables: Vec<_> = program.get_subcommands().filter(|role| has_table(role)).map(Command::get_name).collect();
    let likely = likely(name, tables.iter().copied()).map_or_else(String::new, |likely| format!("did you mean [{likely}]? "));
    format!("there is no [{}]; {likely}tables are called after subcommands: {}", shown(name), tables.join(", "))
}

fn no_key(role: &Command, name: &str) -> String {
    let keys: Vec<_> = options(role).filter_map(key_of).collect();
    let likely =
        likely(name, keys.iter().map(String::as_str)).map_or_else(String::new, |likely| format!("did you mean `{likely}`? "));
    let role = role.get_name();
    format!("[{role}] has no key `{}`; {likely}keys are the options of `fractally {role} --help`, without dashes", shown(name))
}

fn no_key_before_tables(program: &Command, name: &str) -> String {
    let roles = roles_with(program, name);
    if !roles.is_empty() {
        return format!("`{name}` belongs to one role; write it below {roles}");
    }
    let keys: Vec<_> = of_all_roles(program).filter_map(key_of).collect();
    let likely =
        likely(name, keys.iter().map(String::as_str)).map_or_else(String::new, |likely| format!("did you mean `{likely}`? "));
    format!("there is no key `{}` before the first table; {likely}there may be {}", shown(name), keys.join(", "))
}

/// The tables that have a key of this name.
fn roles_with(program: &Command, name: &str) -> String {
    let has_key = |role: &&Command| has_table(role) && options(role).any(|option| key_of(option).as_deref() == Some(name));
    let roles = program.get_subcommands().filter(has_key).map(|role| format!("[{}]", role.get_name()));
    roles.collect::<Vec<_>>().join(" or ")
}

/// The known name that comes closest, where one comes close.
pub(crate) fn likely<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name: String = name.chars().take(SHOWN_CHARS_MAX).collect();
    // Two letters that changed places are one slip, however short the name; of a single letter a slip would leave nothing.
    let is_slip = |known: &str| name.chars().count() > 1 && strsim::osa_distance(&name, known) <= 1;
    let alike = |known| if is_slip(known) { 1.0 } else { strsim::jaro(&name, known) };
    let rated = known.map(|known| (alike(known), known)).filter(|(alike, _)| *alike > ALIKE);
    rated.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known)
}

/// The first of what somebody wrote, in one line.
fn shown(text: &str) -> String {
    let is_cut = text.chars().nth(SHOWN_CHARS_MAX).is_some();
    let start = text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c });
    start.chain(is_cut.then_some('…')).collect()
}
