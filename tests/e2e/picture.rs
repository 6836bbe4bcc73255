//! The same request gives the same bytes, whoever rendered it; and they are a picture.

use std::fs;

use fractally_testkit::{Broker, Worker};
use image::ImageReader;
use serde_json::Value;

use crate::{LONG, lab};

fn sha256(report: &Value) -> String {
    report["sha256"].as_str().expect("the report has a hash").to_owned()
}

#[test]
fn one_worker_and_three_give_the_same_file() {
    let lab = lab();
    for file in ["a.png", "a.npy"] {
        let size = ["--size", "1001x503", "-o", file];
        let one = lab.render([&["--workers", "1"], &size[..]].concat());
        let bytes = fs::read(lab.path(file)).unwrap();
        let three = lab.render([&["--workers", "3"], &size[..]].concat());
        assert_eq!(sha256(&one), sha256(&three));
        assert_eq!(fs::read(lab.path(file)).unwrap(), bytes);
        assert!(three["bands"].as_u64() > Some(1), "{three}");
    }
}

#[test]
fn equal_bands_are_as_many_as_asked_for_and_change_no_byte() {
    let lab = lab();
    let args = ["--size", "1001x503", "-o", "a.png"];
    let ours = lab.render(args);
    let broker = Broker::start_with(&lab, &["--private", "--bands", "3"]);
    let _worker = Worker::start(&lab, &broker, "w", 2);
    let equal = lab.render([&["--broker", &broker.clients], &args[..]].concat());
    assert_eq!((sha256(&equal), &equal["bands"]), (sha256(&ours), &Value::from(3)));
}

#[test]
fn what_workers_make_that_compute_nothing_is_not_taken_for_a_picture() {
    let lab = lab();
    let broker = Broker::start_with(&lab, &["--private", "--no-op"]);
    let _worker = Worker::start_with(&lab, &broker, "w", 1, &["--no-op", "--credit", "4"]);
    broker.await_status(&lab, "the worker is there", |status| status["workers"][0]["engine"] == "no-op");
    let run = lab.run(["render", "--broker", &broker.clients, "-o", "nothing.png"]);
    assert!(run.status.code() == Some(1) && run.stderr.contains("--no-op"), "{run:?}");
    assert!(!lab.path("nothing.png").exists());
}

#[test]
fn a_worker_that_joins_late_changes_nothing_but_the_time() {
    let lab = lab();
    let alone = sha256(&lab.render(LONG.iter().chain(&["--workers", "1"])));
    let broker = Broker::start(&lab);
    let first = Worker::start(&lab, &broker, "first", 1);
    let args = ["render", "--json", "--broker", &broker.clients, "-o", "late.png"];
    let render = lab.start(lab.command(args.iter().chain(&LONG)));
    broker.await_status(&lab, "the first worker works", |status| first.holds_a_band(status));
    let late = Worker::start(&lab, &broker, "late", 1);
    broker.await_status(&lab, "the late worker works", |status| late.holds_a_band(status));
    let report = render.wait().report();
    assert_eq!(sha256(&report), alone);
    assert_eq!(report["workers"], 2, "{report}");
}

#[test]
fn a_killed_workers_bands_are_rendered_by_others() {
    let lab = lab();
    let alone = sha256(&lab.render(LONG.iter().chain(&["--workers", "1"])));
    let broker = Broker::start(&lab);
    let victim = Worker::start(&lab, &broker, "victim", 1);
    let args = ["render", "--json", "--broker", &broker.clients, "-o", "killed.png"];
    let render = lab.start(lab.command(args.iter().chain(&LONG)));
    broker.await_status(&lab, "the victim works", |status| victim.holds_a_band(status));
    // Stopped first, so that it cannot deliver between the look and the kill.
    victim.process.stand_still();
    broker.await_status(&lab, "the victim still holds a band", |status| victim.holds_a_band(status));
    victim.process.kill();
    let _heir = Worker::start(&lab, &broker, "heir", 1);
    let report = render.wait().report();
    assert_eq!(sha256(&report), alone);
    assert!(report["attempts"].as_u64() > report["bands"].as_u64(), "at least one band was tried again: {report}");
}

#[test]
fn a_worker_of_the_local_grid_that_is_killed_is_replaced() {
    let lab = lab();
    let undisturbed = sha256(&lab.render(LONG.iter().chain(&["--workers", "1"])));
    let render = lab.start(lab.command(["render", "--json", "--workers", "1", "-o", "b.png"].iter().chain(&LONG)));
    let worker = fractally_testkit::eventually("the worker runs", || {
        lab.living().into_iter().find(|id| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            line.split(|&byte| byte == 0).any(|word| word == b"worker")
        })
    });
    lab.kill(worker);
    assert_eq!(sha256(&render.wait().report()), undisturbed);
    lab.expect_nothing_left();
}

#[test]
fn a_png_decodes_elsewhere_and_is_small() {
    let lab = lab();
    lab.render(["--size", "1200x600", "-o", "a.png"]);
    let picture = ImageReader::open(lab.path("a.png")).unwrap().decode().unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (1200, 600));
    // The set of this c is symmetric under z -> -z.
    for (x, y) in [(0, 0), (600, 300), (333, 77), (1199, 599)] {
        assert_eq!(picture.get_pixel(x, y), picture.get_pixel(1199 - x, 599 - y));
    }
    let mut usual = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut usual, image::ImageFormat::Png).unwrap();
    let (ours, usual) = (fs::metadata(lab.path("a.png")).unwrap().len(), usual.get_ref().len() as u64);
    assert!(ours * 10 <= usual * 11, "{ours} bytes, the image crate makes {usual}");
}

#[test]
fn a_window_is_a_crop_of_the_whole() {
    let lab = lab();
    lab.render(["--size", "320x200", "-o", "whole.png"]);
    lab.render(["--size", "320x200", "--window", "100x50+30+120", "-o", "part.png"]);
    let open = |name| ImageReader::open(lab.path(name)).unwrap().decode().unwrap().into_rgb8();
    let crop = image::imageops::crop_imm(&open("whole.png"), 30, 120, 100, 50).to_image();
    assert_eq!(open("part.png"), crop);
}

#[test]
fn the_interior_has_the_colour_that_was_asked_for() {
    let lab = lab();
    lab.render(["-c", "0", "--width", "0.5", "--size", "40x40", "--interior", "#102030", "-o", "disk.png"]);
    let picture = ImageReader::open(lab.path("disk.png")).unwrap().decode().unwrap().into_rgb8();
    assert!(picture.pixels().all(|pixel| pixel.0 == [0x10, 0x20, 0x30]));
}

#[test]
fn dash_writes_the_picture_to_stdout() {
    let lab = lab();
    lab.render(["--size", "64x48", "-o", "a.png"]);
    let run = lab.run(["render", "--size", "64x48", "--quiet", "-o", "-"]);
    assert!(run.status.success(), "{run:?}");
    assert_eq!(run.stdout, fs::read(lab.path("a.png")).unwrap());
}

#[test]
fn every_kernel_gives_the_same_file() {
    let lab = lab();
    let doctor = String::from_utf8(lab.run(["doctor"]).stdout).unwrap();
    let kernels = doctor.lines().find_map(|line| line.strip_prefix("kernels  ")).unwrap();
    let kernels: Vec<_> = kernels.split(" (").next().unwrap().split(", ").collect();
    assert!(kernels.contains(&"scalar") && kernels.len() > 1, "{doctor}");
    for scene in
        [["-c", "-0.8+0.156i", "--iter", "500"], ["-c", "-0.123+0.745i", "--iter", "2000"], ["-c", "-2.1+0.3i", "--iter", "50"]]
    {
        let with = |kernel: &str| lab.render(scene.iter().copied().chain(["--size", "403x201", "--kernel", kernel]));
        let scalar = with("scalar");
        for kernel in &kernels {
            let report = with(kernel);
            assert_eq!(sha256(&report), sha256(&scalar), "{kernel} on {scene:?}");
            assert_eq!(report["iterations"], scalar["iterations"], "{kernel} on {scene:?}");
        }
    }
}

/// Whole files, as any host must write them. A hash that changes means another engine: `fractal/` says when its id must change.
#[test]
fn files_are_what_they_always_were() {
    const INTERIOR: &[&str] =
        &["-c", "-0.123+0.745i", "--width", "3.2", "--iter", "1000", "--cmap", "twilight", "--interior", "navy"];
    let golden: [(&[&str], &str, &str, &str); 3] = [
        (&[], "640x320", "a.png", "f8fab2d1fdbc1dddfbb4cbc12e68dd9a66105e2e1a0e0d93c62076da31692fb5"),
        (&[], "640x320", "a.npy", "e532b31266635ac58591573e6c8ecb4c7a9fbd157a32d4029a123f67c7ac15dd"),
        (INTERIOR, "641x641", "a.png", "8715880f8b61c68c21b1490906bbad6bac91ac866f1c6e4caae08986f8df6175"),
    ];
    let lab = lab();
    for (scene, size, file, hash) in golden {
        let report = lab.render(scene.iter().chain(&["--size", size, "-o", file]));
        assert_eq!(sha256(&report), hash, "{scene:?} {size} {file}");
    }
}

#[test]
fn mirror_images_of_bands_change_no_byte() {
    let lab = lab();
    for (file, scene) in [("a.png", ["--size", "701x611"]), ("b.npy", ["--size", "700x610"])] {
        let render = |flags: &[&str]| {
            let args = ["render", "--json", "--workers", "2", "--iter", "300", "-o", file];
            let mut command = lab.command(args.iter().chain(&scene).chain(flags));
            command.env("FRACTALLY_LOG", "debug");
            let run = lab.start(command).wait();
            (run.report(), run.stderr.lines().filter(|line| line.contains(" mirror=")).count())
        };
        let ((with, mirrors), (without, _)) = (render(&[]), render(&["--no-mirror"]));
        assert!(mirrors > 0, "no band was leased with its mirror: {with}");
        assert_eq!(sha256(&with), sha256(&without));
        assert_eq!(with["iterations"], without["iterations"]);
    }
}
