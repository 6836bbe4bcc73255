//! Writes the first inputs of a target, before it reads its corpus. They are made from examples, so none is kept in the repository.

use std::{env, fs, path::PathBuf};

/// Writes `inputs` to the folder that `FRACTALLY_FUZZ_SEEDS` names, where it names one.
pub fn write(inputs: &[Vec<u8>]) {
    let Some(folder) = env::var_os("FRACTALLY_FUZZ_SEEDS").map(PathBuf::from) else { return };
    fs::create_dir_all(&folder).expect("the folder for seeds can be made");
    for (index, input) in inputs.iter().enumerate() {
        fs::write(folder.join(format!("{index:03}")), input).expect("a seed can be written");
    }
}
