//! The escape-time counts of a program in another language, which shares no code with the one under test.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// A compiled `reference.c`.
pub struct Reference {
    folder: TempDir,
}

impl Reference {
    /// Compiles the program with the C compiler that Rust links with.
    pub fn compile() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the reference");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference.c");
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let compiled = Command::new(compiler)
            .args(["-O1", "-std=c99", "-ffp-contract=off", "-o"])
            .arg(folder.path().join("reference"))
            .arg(source)
            .status()
            .expect("a C compiler is there, since Rust links with it");
        assert!(compiled.success(), "reference.c does not compile");
        Self { folder }
    }

    /// Counts, row by row, of a view: c, centre, width, pixels of the image, iteration limit, bailout radius.
    pub fn counts(&self, c: [f64; 2], center: [f64; 2], width: f64, size: [u32; 2], iterations: u32, bailout: f64) -> Vec<u32> {
        // Hexadecimal floats carry every bit.
        let floats = [c[0], c[1], center[0], center[1], width, bailout].map(|x| format!("{:#018x}", x.to_bits()));
        let output = Command::new(self.folder.path().join("reference"))
            .args(floats)
            .args([size[0], size[1], iterations].map(|n| n.to_string()))
            .stdin(Stdio::null())
            .output()
            .expect("the reference runs");
        assert!(output.status.success(), "{output:?}");
        let (words, rest) = output.stdout.as_chunks::<4>();
        assert!(rest.is_empty());
        words.iter().map(|word| u32::from_le_bytes(*word)).collect()
    }
}

/// The counts in an `.npy` file, with the height and width that its head tells.
pub fn read_npy(path: &Path) -> (u32, u32, Vec<u32>) {
    let bytes = fs::read(path).expect("the file is there");
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let head_len = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let head = std::str::from_utf8(&bytes[10..head_len]).expect("the head is text");
    assert!(head.contains("'descr': '<u4'") && head.contains("'fortran_order': False"), "{head}");
    let shape = head.split_once('(').and_then(|(_, rest)| rest.split_once(')')).expect("a shape").0;
    let mut sides = shape.split(',').map(|side| side.trim().parse().expect("a number"));
    let mut side = || sides.next().expect("two sides");
    let (height, width) = (side(), side());
    let (words, rest) = bytes[head_len..].as_chunks::<4>();
    assert!(rest.is_empty());
    (height, width, words.iter().map(|word| u32::from_le_bytes(*word)).collect())
}
