//! Bad input gives one clear line that names the field, the limit and the way out, and loses nothing.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt};

use crate::lab;

/// Each case: options of `render`, and words that the line must hold.
const CASES: &[(&[&str], &[&str])] = &[
    (&["-c", "nan"], &["-c", "real", "1e9"]),
    (&["-c", "0+infi"], &["-c", "imaginary", "1e9"]),
    (&["-c", "one"], &["-c", "-0.8+0.156i"]),
    (&["--center", "2e9"], &["--center", "1e9"]),
    (&["--width", "0"], &["--width", "above 0"]),
    (&["--width", "-1"], &["--width", "above 0"]),
    (&["--width", "nan"], &["--width", "above 0"]),
    (&["--width", "1e-14", "--center", "0.5"], &["--width", "double precision", "at least"]),
    (&["--size", "0x100"], &["--size", "from 1"]),
    (&["--size", "-5x100"], &["--size", "WIDTHxHEIGHT"]),
    (&["--size", "1000001x1"], &["--size", "1000000x1000000"]),
    (&["--size", "9000000x9000000"], &["--size", "1000000x1000000"]),
    (&["--size", "100x100", "--window", "50x50+60+0"], &["--window", "100x100"]),
    (&["--iter", "0"], &["--iter", "1000000000"]),
    (&["--iter", "-3"], &["--iter"]),
    (&["--iter", "2000000000"], &["--iter", "1000000000"]),
    (&["--size", "1000000x1000000", "--iter", "1000000000"], &["--iter", "1000000000000000000"]),
    (&["--bailout", "1.9"], &["--bailout", "from 2"]),
    (&["--bailout", "inf"], &["--bailout", "1e9"]),
    (&["--cmap", "infern"], &["infern", "viridis"]),
    (&["--interior", "#12"], &["--interior", "#RRGGBB"]),
    (&["--workers", "0"], &["--workers", "1"]),
    (&["--workers", "2", "--broker", "tcp://127.0.0.1:1"], &["--workers", "--broker"]),
    (&["--kernel", "scalar", "--broker", "tcp://127.0.0.1:1"], &["--kernel", "--broker"]),
    (&["--kernel", "abacus"], &["--kernel", "abacus", "scalar"]),
    (&["-o", "a.gif"], &["--output", ".png", ".webp", ".jpg", ".tiff", ".npy", "--format"]),
    (&["--broker", "localhost"], &["--broker", "tcp://HOST:PORT"]),
];

#[test]
fn a_bad_option_is_told_in_a_line_that_names_it() {
    let lab = lab();
    for (options, words) in CASES {
        let run = lab.run(["render"].iter().chain(*options));
        assert_eq!(run.code(), 2, "{options:?}: {run:?}");
        assert!(run.stdout.is_empty());
        for word in *words {
            assert!(run.stderr.contains(word), "{options:?} does not mention {word}: {}", run.stderr);
        }
        assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    }
    assert!(lab.files().is_empty());
}

#[test]
fn an_output_that_cannot_be_written_is_told_before_the_work() {
    let lab = lab();
    let folder = lab.path("folder.png");
    fs::create_dir(&folder).unwrap();
    for output in ["no/such/folder/a.png", "folder.png", "/proc/a.png"] {
        let run = lab.run(["render", "--size", "10x10", "-o", output]);
        assert_eq!(run.code(), 1, "{run:?}");
        assert!(run.stderr.contains("--output") && run.stderr.contains(output), "{run:?}");
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_broker_that_is_not_there_is_told() {
    let lab = lab();
    // A port that was free a moment ago, and one where somebody listens who is no broker.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [free, mute.local_addr().unwrap()] {
        let broker = format!("tcp://{address}");
        for command in ["render", "status"] {
            let run = lab.run([command, "--broker", &broker, "--connect-timeout", "0.5"]);
            assert_eq!(run.code(), 3, "{run:?}");
            assert!(run.stderr.contains(&broker), "{run:?}");
        }
    }
    assert!(lab.files().is_empty());
}

#[test]
fn a_port_in_use_is_told() {
    let lab = lab();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let run = lab.run(["broker", "--client-port", &port, "--worker-port", "0"]);
    assert_eq!(run.code(), 1, "{run:?}");
    assert!(run.stderr.contains(&port) && run.stderr.contains("--client-port"), "{run:?}");
}

#[test]
fn listening_off_the_loopback_asks_for_trust() {
    let lab = lab();
    let run = lab.run(["broker", "--listen", "0.0.0.0", "--client-port", "0", "--worker-port", "0"]);
    assert_eq!(run.code(), 2, "{run:?}");
    assert!(run.stderr.contains("--trust-network") && run.stderr.contains("authenticated"), "{run:?}");
}

#[test]
fn help_shows_the_exit_codes_and_examples() {
    let lab = lab();
    let help = |args: &[&str]| String::from_utf8(lab.run(args).stdout).unwrap();
    assert!(help(&["--help"]).contains("130"));
    let render = help(&["render", "--help"]);
    assert!(render.contains("replaced") && render.contains("130"), "{render}");
    // The first example works as pasted, but for the size.
    assert!(render.contains("fractally render -o julia.png"));
}
