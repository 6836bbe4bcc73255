//! Other formats than PNG: the same picture, converted by who takes it, within limits that are told before the work.

use std::fs;

use fractally_testkit::{Broker, Lab, Worker};
use image::{ImageFormat, RgbImage};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::lab;

const SMALL: [&str; 4] = ["-c", "i", "--size", "301x202"];
/// A long, thin picture that costs nothing, and that neither JPEG nor WebP can hold.
const LONG_SIDE: [&str; 4] = ["--size", "70000x2", "--iter", "2"];

/// A file's picture, which must have the format that its name promises.
fn picture(lab: &Lab, file: &str, format: ImageFormat) -> RgbImage {
    let bytes = fs::read(lab.path(file)).unwrap();
    assert_eq!(image::guess_format(&bytes).unwrap(), format, "{file}");
    image::load_from_memory_with_format(&bytes, format).unwrap().into_rgb8()
}

/// Whether a report tells of the file that was written.
fn tells_of_the_file(lab: &Lab, report: &Value, file: &str) {
    let bytes = fs::read(lab.path(file)).unwrap();
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(report["file"], file);
    assert_eq!(
        (report["bytes"].as_u64(), report["sha256"].as_str()),
        (Some(bytes.len() as u64), Some(sha256.as_str())),
        "{file}"
    );
}

#[test]
fn other_formats_hold_the_same_picture() {
    let lab = lab();
    lab.render(SMALL.iter().chain(&["-o", "a.png"]));
    let png = picture(&lab, "a.png", ImageFormat::Png);
    for (file, format) in [("a.webp", ImageFormat::WebP), ("a.tif", ImageFormat::Tiff), ("a.TIFF", ImageFormat::Tiff)] {
        let report = lab.render(SMALL.iter().chain(&["-o", file]));
        tells_of_the_file(&lab, &report, file);
        assert!(picture(&lab, file, format) == png, "{file}");
    }
    for file in ["a.jpg", "a.jpeg"] {
        let report = lab.render(SMALL.iter().chain(&["-o", file]));
        tells_of_the_file(&lab, &report, file);
        let jpeg = picture(&lab, file, ImageFormat::Jpeg);
        assert_eq!(jpeg.dimensions(), png.dimensions());
        let off: u64 = jpeg.iter().zip(png.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        assert!(off / (png.len() as u64) < 8, "{file} is off by {off} in {} bytes", png.len());
    }
    // Said by an option, the format counts for more than the name; and a pipe takes any.
    lab.render(SMALL.iter().chain(&["-o", "b.png", "--format", "webp"]));
    assert!(picture(&lab, "b.png", ImageFormat::WebP) == png);
    let run = lab.run(["render", "-o", "-", "--format", "webp"].iter().chain(&SMALL));
    assert!(run.stdout == fs::read(lab.path("a.webp")).unwrap());
}

#[test]
fn what_a_format_cannot_hold_is_told_before_the_work_and_leaves_nothing_behind() {
    let lab = lab();
    fs::write(lab.path("old.jpg"), "old").unwrap();
    let cases: [(&[&str], &[&str]); 6] = [
        (&["--size", "70000x100", "-o", "out.jpg"], &["--size", "JPEG", "65535", "70000x100", "write a PNG"]),
        (&["--size", "70000x100", "-o", "old.jpg"], &["--size", "JPEG", "65535"]),
        (&["--size", "100x16384", "-o", "out.webp"], &["--size", "WebP", "16383", "100x16384", "write a PNG"]),
        (&["--size", "9000x9000", "-o", "out.tiff"], &["--size", "TIFF", "67108864", "81000000", "write a PNG"]),
        (&["--size", "9000x9000", "-o", "-", "--format", "jpeg"], &["--size", "67108864"]),
        (&["--size", "99999x99999", "--window", "20000x10+0+0", "-o", "out.webp"], &["--window", "16383", "20000x10"]),
    ];
    for (options, words) in cases {
        // A broker that is not there: nobody is even asked.
        let run = lab.run(["render", "--broker", "tcp://127.0.0.1:1"].iter().chain(options));
        assert_eq!(run.code(), 2, "{options:?}: {run:?}");
        assert!(run.stdout.is_empty());
        for word in words {
            assert!(run.stderr.contains(word), "{options:?} does not mention {word}: {}", run.stderr);
        }
    }
    assert_eq!(lab.files(), ["old.jpg"]);
    assert_eq!(fs::read(lab.path("old.jpg")).unwrap(), b"old");
    // What counts is what is drawn, not what it is a part of.
    lab.render(["--size", "99999x99999", "--window", "20x10+0+0", "-o", "part.webp"]);
    assert_eq!(picture(&lab, "part.webp", ImageFormat::WebP).dimensions(), (20, 10));
}

#[test]
fn a_detached_job_is_a_png_that_whoever_takes_it_may_convert() {
    let lab = lab();
    let broker = Broker::keeping(&lab, "state", &[]);
    let refused = broker.ask(&lab, "submit", &["--format", "webp"]);
    assert_eq!(refused.code(), 2, "{refused:?}");
    assert!(refused.stderr.contains("--format") && refused.stderr.contains("fetch JOB -o FILE.webp"), "{refused:?}");
    let _worker = Worker::start(&lab, &broker, "w", 1);
    let [small, long, counts] =
        [&SMALL[..], &LONG_SIDE, &[&SMALL[..], &["--format", "npy"]].concat()].map(|picture| broker.submit(&lab, picture));
    assert_eq!(broker.ask(&lab, "attach", &[&small, "-o", "a.png"]).code(), 0);
    let png = picture(&lab, "a.png", ImageFormat::Png);
    let report = broker.ask(&lab, "attach", &[&small, "--json", "-o", "a.tiff"]).report();
    tells_of_the_file(&lab, &report, "a.tiff");
    let report = broker.ask(&lab, "fetch", &[&small, "--json", "-o", "a.webp"]).report();
    tells_of_the_file(&lab, &report, "a.webp");
    assert_eq!(broker.ask(&lab, "fetch", &[&small, "--format", "webp"]).code(), 0);
    for (file, format) in
        [("a.tiff", ImageFormat::Tiff), ("a.webp", ImageFormat::WebP), (&format!("{small}.webp"), ImageFormat::WebP)]
    {
        assert!(picture(&lab, file, format) == png, "{file}");
    }
    broker.await_done(&lab, &long);
    broker.await_done(&lab, &counts);
    let files = lab.files();
    for (job, output, words) in [
        (&long, "no.jpg", ["--output", "65535", "write a PNG"]),
        (&long, "no.webp", ["--output", "16383", "write a PNG"]),
        (&counts, "no.webp", ["--output", "raw counts", ".npy"]),
        (&small, "no.npy", ["--output", "no counts", ".png"]),
    ] {
        for verb in ["attach", "fetch"] {
            let run = broker.ask(&lab, verb, &[job, "-o", output]);
            assert_eq!(run.code(), 2, "{run:?}");
            for word in words {
                assert!(run.stderr.contains(word), "{verb} -o {output} does not mention {word}: {}", run.stderr);
            }
        }
    }
    assert_eq!(lab.files(), files, "nothing is left behind");
    assert_eq!(broker.ask(&lab, "fetch", &[&long, "-o", "long.tif"]).code(), 0);
    assert_eq!(picture(&lab, "long.tif", ImageFormat::Tiff).dimensions(), (70_000, 2));
}
