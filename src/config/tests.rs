//! The file on paper: what is read, what is refused in which words, and which of all sources counts.

use std::{ffi::OsString, fs};

use clap::{CommandFactory, FromArgMatches};

use super::*;
use crate::cli::{Cli, Command as Role};

fn read(text: impl AsRef<[u8]>) -> Result<Config, Refused> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.toml");
    fs::write(&path, text).unwrap();
    Config::read(&path, &Cli::command())
}

/// What a command line becomes with a file.
fn merged(text: &str, line: &[&str]) -> Result<Cli, String> {
    let config = read(text).map_err(|refused| refused.to_string())?;
    let program = Cli::command();
    let line: Vec<OsString> = line.iter().map(OsString::from).collect();
    let given = program.clone().ignore_errors(true).try_get_matches_from(&line).unwrap();
    let matches = program.try_get_matches_from(config.merge(&Cli::command(), &given, &line));
    let matches = matches.map_err(|error| config.refused(given.subcommand_name().unwrap(), &error).to_string())?;
    Cli::from_arg_matches(&matches).map_err(|error| error.to_string())
}

fn example() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fractally.toml")).unwrap()
}

/// The example with every option that it offers.
fn example_in_use() -> String {
    let text = example();
    let in_use = |line: &'_ str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned();
    text.lines().map(in_use).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_is_a_file_for_every_role() {
    assert_eq!(read(example()).unwrap().settings.len(), 0, "nothing is set before a # is taken away");
    let used = read(example_in_use()).unwrap();
    assert!(used.settings.len() > 60, "{}", used.settings.len());
    for role in Cli::command().get_subcommands().filter(|role| has_table(role)).map(|role| role.get_name().to_owned()) {
        let job = ["59eb2c4b00000001"];
        let line = ["fractally", &role];
        let takes_a_job = ["attach", "fetch", "cancel"].contains(&role.as_str());
        let line: Vec<_> = line.into_iter().chain(job.into_iter().filter(|_| takes_a_job)).collect();
        let cli = merged(&example_in_use(), &line).unwrap_or_else(|error| panic!("{role}: {error}"));
        assert_eq!(cli.log.as_deref(), Some("info"), "{role}");
    }
}

#[test]
fn the_example_offers_a_table_for_every_role() {
    let (text, program) = (example(), Cli::command());
    for role in program.get_subcommands().filter(|role| has_table(role)).map(Command::get_name) {
        assert!(text.contains(&format!("\n[{role}]\n")), "{role}");
    }
}

#[test]
fn a_value_is_what_would_stand_on_the_command_line() {
    let text = "log = 'debug'\n[broker]\nlisten = '::1'\nclient_port = 1\n".replace("client_port", "client-port");
    let text = format!(
        "{text}work-max = 2e15\nmemory = 0x1_00\nweight = ['a=b=2', 'c=3']\nno-mirror = true\nstate = 's'\nkeep-for = 1.5\n"
    );
    let cli = merged(&text, &["fractally", "broker"]).unwrap();
    assert_eq!(cli.log.as_deref(), Some("debug"));
    let Role::Broker(args) = cli.command else { panic!("broker") };
    assert_eq!((args.listen.to_string().as_str(), args.client_port, args.worker_port), ("::1", 1, 5556));
    assert_eq!((args.work_max, args.memory, args.no_mirror), (2_000_000_000_000_000, 256, true));
    assert_eq!(args.weight, [("a=b".to_owned(), 2), ("c".to_owned(), 3)]);
    assert_eq!(args.keep_for.as_secs(), 5400);
    let Role::Render(args) =
        merged("[render]\nc = '-1-i'\nwidth = 0.5\ncmap = 'magma'", &["fractally", "render"]).unwrap().command
    else {
        panic!("render")
    };
    assert_eq!((args.picture.c, args.picture.width, args.picture.cmap.name()), ([-1.0, -1.0], 0.5, "magma"));
}

#[test]
fn an_argument_counts_more_than_the_file_and_a_list_replaces_a_list() {
    let text = "log = 'info'\n[broker]\nclient-port = 1\nworker-port = 2\nweight = ['a=2']\n";
    let line = ["fractally", "--log=error", "broker", "--client-port", "3", "--weight", "b=4"];
    let cli = merged(text, &line).unwrap();
    assert_eq!(cli.log.as_deref(), Some("error"));
    let Role::Broker(args) = cli.command else { panic!("broker") };
    assert_eq!((args.client_port, args.worker_port, args.weight), (3, 2, vec![("b".to_owned(), 4)]));
    let Role::Cancel(args) =
        merged("[cancel]\nbroker = 'tcp://a:1'", &["fractally", "cancel", "--", "59eb2c4b00000001"]).unwrap().command
    else {
        panic!("cancel")
    };
    assert_eq!((args.jobs.len(), args.reach.broker.to_string().as_str()), (1, "tcp://a:1"));
}

#[test]
fn options_that_go_together_do_so_wherever_they_stand() {
    let state = "[broker]\nstate = 'a'\n";
    let size = "[broker]\nstate-size = 7\n";
    for (text, line) in
        [(state, &["--state-size", "7"][..]), (size, &["--state", "a"]), (&format!("{state}state-size = 7\n"), &[])]
    {
        let line: Vec<_> = ["fractally", "broker"].iter().chain(line).copied().collect();
        let Role::Broker(args) = merged(text, &line).unwrap().command else { panic!("broker") };
        assert_eq!((args.state_size, args.state.as_deref()), (7, Some(Path::new("a"))), "{text} {line:?}");
    }
    let alone = merged(size, &["fractally", "broker"]).unwrap_err();
    assert!(alone.contains("f.toml:2: ") && alone.contains("--state <DIRECTORY>"), "{alone}");
    let both = merged("[list]\nall = true\nstate = ['done']", &["fractally", "list"]).unwrap_err();
    assert!(
        both.contains("f.toml:2: ") && both.contains("--all") && both.contains("--state") && both.contains("exclude"),
        "{both}"
    );
    // A table is not for what stands below its subcommand.
    merged("[bench]\nruns = 3", &["fractally", "bench", "report", "a.json"]).unwrap();
    // What stands on the command line puts aside what it excludes.
    let Role::List(args) = merged("[list]\nstate = ['done']", &["fractally", "list", "--all"]).unwrap().command else {
        panic!("list")
    };
    assert!(args.all && args.state.is_empty());
    let Role::List(args) = merged("[list]\nall = true", &["fractally", "list", "--state", "done"]).unwrap().command else {
        panic!("list")
    };
    assert!(!args.all && args.state.len() == 1);
}

/// Each case: a file, and words of the line that refuses it.
const REFUSED: &[(&str, &[&str])] = &[
    ("[brokr]\nlisten = '::1'", &["f.toml:1: ", "[brokr]", "did you mean [broker]?", "subcommands"]),
    ("[completions]", &["there is no [completions]"]),
    ("[render.x]\nc = '0'", &["[render] has no key `x`; keys are"]),
    ("\n[broker]\nlisen = '::1'", &["f.toml:3: ", "[broker]", "`lisen`", "did you mean `listen`?", "fractally broker --help"]),
    ("[broker]\ntrust_network = true\ntrust-network = true", &["f.toml:2: ", "did you mean `trust-network`?"]),
    ("[broker]\nleave-with-stdin = true", &["f.toml:2: ", "no key `leave-with-stdin`"]),
    ("[cancel]\njobs = ['0001']", &["no key `jobs`"]),
    ("[broker]\nlog = 'info'", &["`log` is for all roles", "before the first table"]),
    ("threads = 2", &["f.toml:1: ", "`threads`", "[worker]"]),
    ("lgo = 'info'", &["did you mean `log`?"]),
    ("log = 'inof'", &["log = 'inof'", "no level", "error, warn, info"]),
    ("config = 'other.toml'", &["no key `config`", "log"]),
    ("broker = 'tcp://a:1'", &["f.toml:1: ", "[render]", "[worker]"]),
    ("worker = 1", &["`worker` is a table", "[worker]"]),
    ("[[worker]]\nthreads = 1", &["`worker` is a table", "once"]),
    ("[worker]\nthreads = 0", &["f.toml:2: ", "[worker] threads = 0: ", "1..="]),
    ("[worker]\nthreads = -1", &["threads = -1"]),
    ("[worker]\nthreads = true", &["threads = true", "a text or a number"]),
    ("[worker]\nthreads = [1]", &["one value", "list"]),
    ("[worker]\nthreads = {}", &["a text or a number"]),
    ("[worker]\nthreads = 2024-01-01", &["a text or a number"]),
    ("[worker]\nthreads = 99999999999999999999999999", &["threads"]),
    ("[worker]\nname = ''", &["name = ''", "1 to 256 bytes"]),
    ("[worker.threads]\nx = 1", &["[worker] threads"]),
    ("[broker]\ntrust-network = 'yes'", &["true or false"]),
    ("[broker]\ntrust-network = 1", &["true or false"]),
    ("[broker]\nlisten = ''", &["listen"]),
    ("[broker]\nweight = ['a=2', 'b']", &["weight", "\"b\"", "NAME=W"]),
    ("[broker]\nweight = ['a=2', 3.5, true]", &["a list of texts or numbers"]),
    ("[broker]\nmetrics = 'localhost'", &["metrics", "127.0.0.1:9464"]),
    ("[render]\nc = ''", &["c = ''"]),
    ("[render]\ncmap = 'infern'", &["did you mean \"inferno\"?", "viridis"]),
    ("[render]\npriority = 3", &["interactive, normal, batch"]),
    ("[render]\nbroker = 'localhost'", &["tcp://HOST:PORT"]),
    ("[broker]\nmemory = 64\nmemory = 65", &["f.toml:3: ", "not TOML", "duplicate"]),
    ("[broker]\n[broker]", &["f.toml:2: ", "not TOML", "duplicate"]),
    ("[broker]\r\nmemory = 1\r\n", &["f.toml:2: "]),
    ("\u{feff}[broker\n", &["f.toml:1: ", "not TOML"]),
    ("log = \"info\n", &["f.toml:1: ", "not TOML"]),
];

#[test]
fn what_is_wrong_is_refused_with_its_line_and_the_way_out() {
    for (text, words) in REFUSED {
        let refused = read(text).map(|config| config.settings).expect_err(text).to_string();
        for word in *words {
            assert!(refused.contains(word), "{text:?} does not mention {word}: {refused}");
        }
    }
}

#[test]
fn everything_that_is_wrong_is_told_by_line_up_to_a_few_things() {
    let refused = read("[worker]\nzzz = 1\nthreads = 0\n[broker]\nmemory = 1\n").unwrap_err();
    let lines: Vec<_> =
        refused.lines().iter().map(|line| line.split("f.toml:").nth(1).unwrap().split(':').next().unwrap()).collect();
    assert_eq!(lines, ["2", "3", "5"], "{refused}");
    let many: String = (0..10_000).map(|index| format!("key{index} = 1\n")).collect();
    let refused = read(many).unwrap_err();
    assert_eq!(refused.lines().len(), check::PROBLEMS_MAX + 1);
    assert!(refused.to_string().contains("9990 more"), "{refused}");
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let told = |text: &[u8]| read(text).unwrap_err().to_string();
    assert!(told(b"a = 1\nb = '\xff'").contains("line 2 is not UTF-8"));
    assert!(told(&vec![b'#'; (1 << 20) + 1]).contains("1048576 bytes"));
    assert!(read(vec![b'#'; 1 << 20]).is_ok(), "a MiB is not too much");
    assert!(read("\u{feff}log = 'info'\r\n").is_ok());
    let missing = Config::read(Path::new("/no/such/file"), &Cli::command()).unwrap_err().to_string();
    assert!(
        missing.contains("--config") && missing.contains("/no/such/file") && missing.contains("FRACTALLY_CONFIG"),
        "{missing}"
    );
    // As deep as anybody may nest, and deeper.
    for text in [format!("a = {}", "[".repeat(100_000)), format!("[{}a]", "a.".repeat(100_000)), "a.".repeat(100_000)] {
        read(text).unwrap_err();
    }
}
