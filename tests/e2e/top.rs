//! `fractally top` before real grids: printed, and in a terminal that a test holds the other end of.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use fractally_testkit::{Broker, Lab, Process, Worker, eventually, lasting_ports};
use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize},
};

use crate::{ENDLESS, lab};

/// A program before a terminal, of which the test sees the screen.
struct Seat {
    child: Child,
    keyboard: File,
    /// The program's end, so that the terminal can be looked at when it has left.
    line: OwnedFd,
    before: Termios,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    screen: vt100::Parser,
    raw: Vec<u8>,
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Seat {
    /// Starts a program of the lab before a terminal of so many columns and rows, which is its controlling one.
    fn take(lab: &Lab, args: &[&str], [columns, rows]: [u16; 2], environment: &[(&str, &str)]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keyboard = openpt(flags).unwrap();
        unlockpt(&keyboard).unwrap();
        let line = ioctl_tiocgptpeer(&keyboard, flags).unwrap();
        tcsetwinsize(&keyboard, size(columns, rows)).unwrap();
        let before = tcgetattr(&line).unwrap();
        let plain = lab.command(args);
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(plain.get_program()).args(plain.get_args()).current_dir(lab.path(""));
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env_remove("NO_COLOR").env("TERM", "xterm-256color").envs(environment.iter().copied());
        let end = || Stdio::from(line.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("util-linux has setsid");
        let keyboard = File::from(keyboard);
        let seen = Arc::new(Mutex::new(Seen { screen: parser(columns, rows), raw: Vec::new() }));
        let (mut reader, sees) = (keyboard.try_clone().unwrap(), Arc::clone(&seen));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                let mut seen = sees.lock().unwrap();
                seen.screen.process(&bytes[..count]);
                seen.raw.extend_from_slice(&bytes[..count]);
            }
        });
        Self { child, keyboard, line, before, seen }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn resize(&self, [columns, rows]: [u16; 2]) {
        self.seen.lock().unwrap().screen = parser(columns, rows);
        tcsetwinsize(&self.keyboard, size(columns, rows)).unwrap();
    }

    fn text(&self) -> String {
        self.seen.lock().unwrap().screen.screen().contents()
    }

    /// Waits until the screen is as wished, and gives it.
    fn sees(&mut self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(what, || {
                last = self.text();
                let over = self.child.try_wait().unwrap();
                assert!(over.is_none(), "it has left with {over:?}");
                is_so(&last).then_some(())
            });
        }));
        assert!(result.is_ok(), "{what}; the screen has\n{last}");
        last
    }

    /// Waits for the program's end, and looks whether the terminal is as it was before. Gives the exit code.
    fn left(mut self) -> i32 {
        let status = eventually("it leaves", || self.child.try_wait().unwrap());
        eventually("the terminal shows what it showed before", || {
            let seen = self.seen.lock().unwrap();
            let screen = seen.screen.screen();
            (!screen.alternate_screen() && !screen.hide_cursor()).then_some(())
        });
        let after = tcgetattr(&self.line).unwrap();
        assert_eq!(after.local_modes, self.before.local_modes);
        assert_eq!(after.input_modes, self.before.input_modes);
        assert_eq!(after.output_modes, self.before.output_modes);
        status.code().unwrap_or_else(|| panic!("ended by a signal: {status}"))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parser(columns: u16, rows: u16) -> vt100::Parser {
    vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 0)
}

/// A render that goes on until it is ended, of an account.
fn render(lab: &Lab, broker: &Broker, account: &str) -> Process {
    let options = ["render", "--broker", &broker.clients, "--account", account, "--iter", "10000000", "-q", "-o", "long.png"];
    lab.start(lab.command(options.iter().chain(&ENDLESS)))
}

fn wait_for_bands(lab: &Lab, broker: &Broker, workers: &[&Worker]) {
    broker.await_status(lab, "workers hold bands", |status| workers.iter().all(|worker| worker.holds_a_band(status)));
}

#[test]
fn one_frame_is_printed_as_plain_text_while_a_render_runs() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let alpha = Worker::start(&lab, &broker, "alpha", 1);
    let beta = Worker::start(&lab, &broker, "beta", 2);
    let _render = render(&lab, &broker, "ada@studio");
    wait_for_bands(&lab, &broker, &[&alpha, &beta]);
    let job = broker.status(&lab)["jobs"][0]["job"].as_u64().unwrap();
    // It is no terminal, so it prints without being told to.
    for options in [&["--once"][..], &[]] {
        let run = lab.run(["top", "--every", "0.2", "--broker", &broker.clients].iter().chain(options));
        let text = String::from_utf8(run.stdout.clone()).unwrap();
        assert_eq!((run.code(), run.stderr.as_str()), (0, ""), "{text}");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        let row = |first: &str| text.lines().find(|line| line.starts_with(first)).unwrap_or_else(|| panic!("{first} in\n{text}"));
        assert!(row(&broker.clients).contains("up "), "{text}");
        assert!(text.contains("2 workers, 3 threads"), "{text}");
        assert!(row("WORKERS").contains(" 2 ") && row("JOBS").contains(" 1 "), "{text}");
        let cells: Vec<_> = row("alpha").split_whitespace().collect();
        let status = broker.status(&lab);
        let held = alpha.row(&status).unwrap()["leases"].to_string();
        assert_eq!(cells[2..4], ["1", held.as_str()], "{text}");
        let busy = row("beta").split_whitespace().find_map(|cell| cell.strip_suffix('%')).expect("it is known");
        assert!(busy.parse::<u32>().unwrap() > 0, "{text}");
        let drawn = row(&format!("{:08x}", job & 0xffff_ffff));
        assert!(drawn.contains("ada@studio") && drawn.contains("700x700") && drawn.contains("interactive"), "{text}");
    }
}

#[test]
fn options_and_brokers_that_are_wrong_are_told() {
    let lab = lab();
    let run = lab.run(["top", "--every", "0"]);
    assert_eq!(run.code(), 2);
    assert!(run.stderr.contains("--every") && run.stderr.contains("from 0.1 to 3600"), "{run:?}");
    let [port, _] = lasting_ports();
    let run = lab.run(["top", "--once", "--connect-timeout", "0.5", "--broker", &format!("tcp://127.0.0.1:{port}")]);
    assert_eq!(run.code(), 3, "{run:?}");
    assert!(run.stderr.contains("fractally broker"), "{run:?}");
}

#[test]
fn the_terminal_is_given_back_however_it_ends() {
    type Way = (&'static str, i32, fn(&mut Seat));
    let lab = lab();
    let broker = Broker::start(&lab);
    let _worker = Worker::start(&lab, &broker, "alpha", 1);
    let ways: [Way; 6] = [
        ("q", 0, |seat| seat.press("q")),
        ("Esc", 0, |seat| seat.press("\u{1b}")),
        ("Ctrl-C", 0, |seat| seat.press("\u{3}")),
        ("Ctrl-Z, where no shell is, and q", 0, |seat| seat.press("\u{1a}q")),
        ("SIGTERM", 130, |seat| seat.signal(Signal::TERM)),
        ("SIGINT", 130, |seat| seat.signal(Signal::INT)),
    ];
    for (way, code, end) in ways {
        let mut seat = Seat::take(&lab, &["top", "--every", "0.2", "--broker", &broker.clients], [80, 24], &[]);
        seat.sees("the page", |screen| screen.contains("WORKERS 1") && screen.contains("alpha") && screen.contains("q quit"));
        let seen = seat.seen.lock().unwrap();
        assert!(seen.screen.screen().alternate_screen() && seen.screen.screen().hide_cursor());
        drop(seen);
        let modes = tcgetattr(&seat.line).unwrap().local_modes;
        assert!(!modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG), "it reads keys as they come");
        end(&mut seat);
        assert_eq!(seat.left(), code, "{way}");
    }
    assert!(lab.files().is_empty(), "{:?}", lab.files());
}

#[test]
fn a_broker_that_goes_away_is_looked_for_and_comes_back() {
    let lab = lab();
    let ports = lasting_ports();
    let broker = Broker::start_on(&lab, &ports);
    let _worker = Worker::start(&lab, &broker, "alpha", 1);
    broker.await_status(&lab, "the worker is there", |status| status["workers"].as_array().is_some_and(|all| !all.is_empty()));
    let options = ["top", "--every", "0.2", "--connect-timeout", "1", "--broker", &broker.clients];
    let mut seat = Seat::take(&lab, &options, [80, 24], &[]);
    let epoch = |screen: &str| screen.split("epoch ").nth(1).and_then(|rest| rest.split_whitespace().next()).map(str::to_owned);
    let first = seat.sees("the page", |screen| screen.contains("WORKERS 1") && epoch(screen).is_some());
    broker.process.kill();
    drop(broker);
    seat.sees("the last state, and that nobody answers", |screen| {
        screen.contains("no answer since ") && screen.contains("trying again") && screen.contains("alpha")
    });
    seat.sees("the silence grows", |screen| !screen.contains("no answer since 0 s") && screen.contains("no answer since "));
    let _broker = Broker::start_on(&lab, &ports);
    seat.sees("the next broker, and its worker", |screen| {
        !screen.contains("no answer") && epoch(screen) != epoch(&first) && screen.contains("alpha")
    });
    seat.press("q");
    assert_eq!(seat.left(), 0);
}

#[test]
fn stories_faults_and_other_sizes_are_shown_and_nothing_when_paused() {
    let lab = lab();
    let broker = Broker::start(&lab);
    let alpha = Worker::start(&lab, &broker, "alpha", 1);
    let beta = Worker::start(&lab, &broker, "beta", 1);
    let _render = render(&lab, &broker, "ada");
    wait_for_bands(&lab, &broker, &[&alpha, &beta]);
    let mut seat = Seat::take(&lab, &["top", "--every", "0.2", "--broker", &broker.clients], [80, 24], &[]);
    seat.sees("both workers", |screen| screen.contains("WORKERS 2") && screen.contains("JOBS 1"));
    beta.process.kill();
    seat.sees("that one is lost", |screen| {
        screen.contains("WORKERS 1") && screen.contains("1 worker lost") && screen.contains("the connection was lost")
    });
    seat.press("j");
    seat.sees("its tries", |screen| {
        let tells = |word| screen.contains(word);
        tells("running") && tells("failed") && tells("lives, ") && tells("beta") && !tells("FAULTS")
    });
    seat.press("j");
    seat.press("p");
    seat.sees("the pause", |screen| screen.contains("PAUSED") && screen.contains("WORKERS 1"));
    let _gamma = Worker::start(&lab, &broker, "gamma", 1);
    broker.await_status(&lab, "it is there", |status| status["workers"].as_array().map(Vec::len) == Some(2));
    seat.press("?");
    seat.sees("the help", |screen| screen.contains("sort workers"));
    assert!(!seat.text().contains("WORKERS 2"), "{}", seat.text());
    seat.press("?p");
    seat.sees("it goes on", |screen| screen.contains("WORKERS 2") && !screen.contains("PAUSED"));
    seat.resize([40, 10]);
    seat.sees("a small page", |screen| screen.contains("WORKERS") && screen.contains("q quit") && !screen.contains("KERNEL"));
    seat.resize([200, 60]);
    seat.sees("a large page", |screen| screen.contains("/THREAD") && screen.contains("gamma"));
    seat.press("q");
    assert_eq!(seat.left(), 0);
}

/// Names come from strangers: none of them gives orders to the terminal.
#[test]
fn names_give_no_orders_to_the_terminal() {
    const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{1b}[31mred\r\n\u{9b}2J\u{202e}kcab";
    let lab = lab();
    let broker = Broker::start(&lab);
    let worker = Worker::start(&lab, &broker, HOSTILE, 1);
    let _render = render(&lab, &broker, HOSTILE);
    wait_for_bands(&lab, &broker, &[&worker]);
    let printed = lab.run(["top", "--once", "--every", "0.1", "--broker", &broker.clients]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.contains("]0;owned"), "{printed}");
    assert!(!printed.contains(|c: char| (c.is_control() && c != '\n') || c == '\u{202e}'), "{printed:?}");
    for (environment, has_colours) in [(&[("NO_COLOR", "1")][..], false), (&[], true)] {
        let options = ["top", "--every", "0.2", "--broker", &broker.clients];
        let mut seat = Seat::take(&lab, &options, [80, 24], environment);
        seat.sees("the names", |screen| screen.contains("WORKERS 1") && screen.contains("]0;owned") && screen.contains('%'));
        seat.press("j");
        seat.sees("the story", |screen| screen.contains("running") && screen.contains("]0;owned"));
        let seen = seat.seen.lock().unwrap();
        let raw = String::from_utf8_lossy(&seen.raw).into_owned();
        for order in ["\u{1b}]", "\u{7}", "\u{1b}[31m", "\u{9b}", "\u{202e}"] {
            assert!(!raw.contains(order), "{order:?} in {raw:?}");
        }
        let screen = seen.screen.screen();
        let cells = (0..24).flat_map(|row| (0..80).map(move |column| (row, column)));
        let coloured =
            cells.filter_map(|(row, column)| screen.cell(row, column)).any(|cell| cell.fgcolor() != vt100::Color::Default);
        assert_eq!(coloured, has_colours);
        drop(seen);
        seat.press("q");
        assert_eq!(seat.left(), 0);
    }
}

/// Two looks that lie farther apart than an idle connection may wait in a pool.
#[test]
fn one_connection_does_for_all_looks() {
    let lab = lab();
    let broker = Broker::start_with(&lab, &["--client-port", "0", "--worker-port", "0"]);
    assert_eq!(lab.run(["top", "--every", "2.5", "--broker", &broker.clients]).code(), 0);
    broker.process.terminate();
    let run = broker.process.wait();
    let joined = run.stderr.lines().filter(|line| line.contains("client joined")).count();
    assert_eq!(joined, 1, "{run:?}");
}
