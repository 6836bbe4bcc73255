//! Directories that are in use, newer, read-only or full, jobs that come and go, and what a caller may get wrong.
//!
//! Two tests need to mount a file system; where they may not, they say so on stderr and pass.

#![allow(missing_docs, clippy::missing_panics_doc, clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test")]

mod common;

use std::{fs, io, path::Path, process::Command};

use common::{ENGINE, end, read_all, record, store, strips};
use fractally_journal::{Error, Journal, KeptEnding, OpenError, ReadError, Stored};
use fractally_proto::{JobId, StripMeta};
use tempfile::TempDir;

const SMALL: usize = 100;

fn opened(dir: &Path) -> Journal {
    let (journal, _, lost) = Journal::open(dir).unwrap();
    assert_eq!(lost, []);
    journal
}

/// Where a folder can be had as a file system of its own, that; it goes away with the value.
struct Mount(TempDir);

impl Mount {
    fn new(options: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(folder.path()).output();
        let why = match mounted {
            Ok(output) if output.status.success() => return Some(Self(folder)),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        eprintln!("\n*** NOT TESTED: no file system can be mounted here ({why}) ***\n");
        None
    }

    fn remount(&self, options: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.0.path()).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_job_goes_through_its_life() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("state");
    let mut journal = opened(&path);
    journal.keep(&record(1, 10)).unwrap();
    store(&mut journal, 1, 0..4, SMALL);
    // What is appended and not synced is not read, and not there after a crash.
    let (metas, payload) = strips(1, 4..6, SMALL);
    journal.append(JobId(1), ENGINE, 4, &metas, &payload).unwrap();
    read_all(&mut journal, 1, 4, SMALL).unwrap();
    drop(journal);
    let (mut journal, recovered, _) = Journal::open(&path).unwrap();
    let [job] = &recovered[..] else { panic!("{recovered:?}") };
    assert_eq!((&job.record, job.have, job.engine.as_deref()), (&record(1, 10), 4, Some(ENGINE)));
    assert_eq!((job.bytes, &job.end), (4 * 4096, &None));
    assert!(job.healed.as_ref().unwrap().contains("bytes of strips are cut off"), "{job:?}");
    store(&mut journal, 1, 4..10, SMALL);
    journal.end(JobId(1), &end(KeptEnding::Done)).unwrap();
    drop(journal);
    let (mut journal, recovered, _) = Journal::open(&path).unwrap();
    assert_eq!((recovered[0].have, recovered[0].bytes), (10, 5 * 4096));
    assert_eq!((&recovered[0].end, &recovered[0].healed), (&Some(end(KeptEnding::Done)), &None));
    read_all(&mut journal, 1, 10, SMALL).unwrap();
    journal.remove(JobId(1)).unwrap();
    assert!(!path.join("jobs").join(JobId(1).to_string()).exists());
    assert!(fs::read_dir(path.join("tmp")).unwrap().next().is_none());
    drop(journal);
    assert_eq!(Journal::open(&path).unwrap().1, []);
}

#[test]
fn a_job_without_strips_comes_back() {
    let dir = TempDir::new().unwrap();
    let mut journal = opened(dir.path());
    journal.keep(&record(1, 10)).unwrap();
    journal.keep(&record(2, 10)).unwrap();
    journal.end(JobId(2), &end(KeptEnding::Failed("x".repeat(5000)))).unwrap();
    drop(journal);
    let (mut journal, recovered, _) = Journal::open(dir.path()).unwrap();
    assert_eq!(recovered.iter().map(|job| (job.have, job.bytes)).collect::<Vec<_>>(), [(0, 2 * 4096), (0, 3 * 4096)]);
    assert!(recovered.iter().all(|job| job.engine.is_none() && job.healed.is_none()));
    assert_eq!(recovered[1].end, Some(end(KeptEnding::Failed("x".repeat(1024)))));
    assert_eq!(journal.cut(JobId(2), 7).unwrap(), Stored { have: 0, bytes: 2 * 4096, strip_bytes: 0 });
    store(&mut journal, 2, 0..10, SMALL);
}

#[test]
fn a_directory_has_one_broker() {
    let dir = TempDir::new().unwrap();
    let journal = opened(dir.path());
    let error = Journal::open(dir.path()).unwrap_err();
    assert!(matches!(&error, OpenError::InUse { dir: named } if named == dir.path()), "{error}");
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
    drop(journal);
    opened(dir.path());
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let dir = TempDir::new().unwrap();
    opened(dir.path()).keep(&record(1, 1)).unwrap();
    let mut format = fs::read(dir.path().join("format")).unwrap();
    format[8] = 2;
    let sum = crc32fast::hash(&format[..12]);
    format[12..].copy_from_slice(&sum.to_le_bytes());
    // Newer versions may say more behind it.
    format.extend(b"and more");
    fs::write(dir.path().join("format"), &format).unwrap();
    fs::remove_file(dir.path().join("lock")).unwrap();
    let error = Journal::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }), "{error}");
    assert!(!dir.path().join("lock").exists());
}

#[test]
fn a_directory_of_somebody_else_is_refused_and_left_alone() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("thesis.tex"), "all of it").unwrap();
    let error = Journal::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::NotAJournal { .. }) && error.to_string().contains("thesis.tex"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    // A start that was interrupted, on a file system of its own.
    fs::remove_file(dir.path().join("thesis.tex")).unwrap();
    for folder in ["lost+found", "tmp", "jobs"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
    }
    fs::write(dir.path().join("tmp/format"), "FRLY").unwrap();
    drop(opened(dir.path()));
    // Jobs whose format is gone are nothing to start anew over.
    fs::create_dir(dir.path().join("jobs/0000000000000001")).unwrap();
    fs::remove_file(dir.path().join("format")).unwrap();
    let error = Journal::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::NotAJournal { .. }), "{error}");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Journal::open(&file), Err(OpenError::Io { path, .. }) if path == file));
}

#[test]
fn what_is_no_job_is_set_aside_and_told_on_every_start() {
    let dir = TempDir::new().unwrap();
    opened(dir.path()).keep(&record(1, 1)).unwrap();
    let jobs = dir.path().join("jobs");
    let home = jobs.join(JobId(1).to_string());
    fs::write(jobs.join("readme"), "hello").unwrap();
    fs::create_dir(jobs.join("00000000000000AB")).unwrap();
    fs::create_dir(jobs.join("0000000000000002")).unwrap();
    fs::copy(home.join("job"), jobs.join("0000000000000002/job")).unwrap();
    std::os::unix::fs::symlink(&home, jobs.join("0000000000000003")).unwrap();
    fs::create_dir_all(jobs.join("0000000000000004/job")).unwrap();
    let (journal, recovered, lost) = Journal::open(dir.path()).unwrap();
    assert_eq!(recovered.len(), 1);
    let told: Vec<_> = lost.iter().map(|lost| (lost.job, lost.why.as_str())).collect();
    let expected = [
        (Some(JobId(2)), "its record `job` cannot be read: it belongs to job 0000000000000001"),
        (Some(JobId(3)), "it is not a folder"),
        (Some(JobId(4)), "its record `job` cannot be read: it is not a file"),
        (None, "its name is not that of a job"),
        (None, "its name is not that of a job"),
    ];
    assert_eq!(told, expected);
    drop(journal);
    // A second one of the same name finds a name of its own.
    fs::write(jobs.join("readme"), "hello again").unwrap();
    let (journal, _, again) = Journal::open(dir.path()).unwrap();
    assert_eq!(again.len(), lost.len() + 1);
    assert_eq!(again.last().unwrap().path, dir.path().join("damaged/readme.2"));
    drop(journal);
    fs::remove_dir_all(dir.path().join("damaged")).unwrap();
    assert_eq!(Journal::open(dir.path()).unwrap().2, []);
}

#[test]
fn a_removal_that_was_interrupted_is_finished() {
    let dir = TempDir::new().unwrap();
    let mut journal = opened(dir.path());
    for job in 1..4 {
        journal.keep(&record(job, 10)).unwrap();
        store(&mut journal, job, 0..10, SMALL);
    }
    drop(journal);
    // The process died between the rename and the last deletion.
    let home = |job: u64| dir.path().join("jobs").join(JobId(job).to_string());
    fs::rename(home(1), dir.path().join("tmp/0000000000000001.7")).unwrap();
    fs::rename(home(2), dir.path().join("tmp/0000000000000002.8")).unwrap();
    fs::remove_file(dir.path().join("tmp/0000000000000002.8/job")).unwrap();
    let (mut journal, recovered, lost) = Journal::open(dir.path()).unwrap();
    assert_eq!((recovered.len(), lost.len(), recovered[0].record.job), (1, 0, JobId(3)));
    assert!(fs::read_dir(dir.path().join("tmp")).unwrap().next().is_none());
    read_all(&mut journal, 3, 10, SMALL).unwrap();
    // The same id may come again.
    journal.keep(&record(1, 10)).unwrap();
    // Somebody deleted the folder by hand.
    fs::remove_dir_all(home(3)).unwrap();
    journal.remove(JobId(3)).unwrap();
    assert!(matches!(journal.remove(JobId(3)), Err(Error::Unknown(JobId(3)))));
}

#[test]
fn more_jobs_than_open_files() {
    let dir = TempDir::new().unwrap();
    let mut journal = opened(dir.path());
    let open_files = || fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let before = open_files();
    for job in 1..=100 {
        journal.keep(&record(job, 20)).unwrap();
        let (metas, payload) = strips(job, 0..2, SMALL);
        journal.append(JobId(job), ENGINE, 0, &metas, &payload).unwrap();
    }
    // Other tests open some as well.
    assert!(open_files() < before + 150, "{} files are open", open_files() - before);
    let synced = journal.sync();
    assert!(synced.len() == 100 && synced.iter().all(|(_, stored)| stored.as_ref().unwrap().have == 2));
    assert!(journal.sync().is_empty());
    for job in (1..=100).rev() {
        read_all(&mut journal, job, 2, SMALL).unwrap();
    }
}

#[test]
fn a_caller_who_errs_is_told_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let mut journal = opened(dir.path());
    let job = JobId(1);
    journal.keep(&record(1, 10)).unwrap();
    assert!(matches!(journal.keep(&record(1, 10)), Err(Error::Exists(JobId(1)))));
    let mut wrong = record(2, 10);
    wrong.account = "x".repeat(257);
    assert!(matches!(journal.keep(&wrong), Err(Error::Invalid { .. })));
    wrong = record(2, 10);
    wrong.request.c[0] = f64::NAN;
    assert!(matches!(journal.keep(&wrong), Err(Error::Invalid { .. })));
    wrong = record(2, 1);
    (wrong.request.size.w, wrong.request.window.w) = (4_000_000, 4_000_000);
    let error = journal.keep(&wrong).unwrap_err();
    assert!(error.to_string().contains("its strips may have"), "{error}");

    let (metas, payload) = strips(1, 0..3, SMALL);
    let mut append = |job: u64, engine: &str, first: u32, metas: &[StripMeta], payload: &[u8]| {
        journal.append(JobId(job), engine, first, metas, payload)
    };
    assert!(matches!(append(2, ENGINE, 0, &metas, &payload), Err(Error::Unknown(JobId(2)))));
    assert!(matches!(append(1, ENGINE, 1, &metas, &payload), Err(Error::NotNext { first: 1, next: 0, .. })));
    assert!(matches!(append(1, "", 0, &metas, &payload), Err(Error::Invalid { .. })));
    assert!(matches!(append(1, &"e".repeat(257), 0, &metas, &payload), Err(Error::Invalid { .. })));
    assert!(matches!(append(1, ENGINE, 0, &metas, &payload[1..]), Err(Error::Invalid { .. })));
    assert!(matches!(append(1, ENGINE, 0, &metas[..2], &payload), Err(Error::Invalid { .. })));
    let too_long = vec![0; 262_178];
    assert!(matches!(append(1, ENGINE, 0, &[StripMeta(262_178, 1)], &too_long), Err(Error::Invalid { .. })));
    assert!(matches!(append(1, ENGINE, 0, &[StripMeta(0, 1)], &[]), Err(Error::Invalid { .. })));
    append(1, ENGINE, 0, &[], &[]).unwrap();
    append(1, ENGINE, 0, &metas, &payload).unwrap();
    assert!(matches!(append(1, "other", 3, &metas, &payload), Err(Error::Engine { .. })));
    let (all, every) = strips(1, 3..11, SMALL);
    assert!(matches!(append(1, ENGINE, 3, &all, &every), Err(Error::Invalid { .. })));
    assert!(matches!(journal.read(job, 0, 1, 1), Err(ReadError::NotStored { have: 0, .. })));
    assert!(matches!(journal.end(job, &end(KeptEnding::Done)), Err(Error::Invalid { .. })));
    assert_eq!(journal.sync()[0].1.as_ref().unwrap().have, 3);
    read_all(&mut journal, 1, 3, SMALL).unwrap();
    // One strip is read, however short the bound; nothing beyond it.
    assert_eq!(journal.read(job, 1, 0, 0).unwrap().metas.len(), 1);
    assert_eq!(journal.read(job, 0, u32::MAX, u64::MAX).unwrap().metas.len(), 3);
    // One that did not end well gives up its strips, and takes no more.
    journal.end(job, &end(KeptEnding::Cancelled("enough".into()))).unwrap();
    let (metas, payload) = strips(1, 3..5, SMALL);
    assert!(matches!(journal.append(job, ENGINE, 3, &metas, &payload), Err(Error::Ended(_))));
    assert_eq!(journal.stored(job), Some(Stored { have: 0, bytes: 3 * 4096, strip_bytes: 0 }));
    // After a cut to nothing another engine may begin.
    assert_eq!(journal.cut(job, 0).unwrap(), Stored { have: 0, bytes: 2 * 4096, strip_bytes: 0 });
    let (metas, payload) = strips(1, 0..5, SMALL);
    journal.append(job, "other", 0, &metas, &payload).unwrap();
    assert_eq!(journal.sync()[0].1.as_ref().unwrap().have, 5);
    assert_eq!(journal.read(job, 2, 9, 9999).unwrap().engine, "other");
}

#[test]
fn a_full_disk_is_survived() {
    let Some(mount) = Mount::new("size=1m") else { return };
    let dir = mount.0.path().join("state");
    let mut journal = opened(&dir);
    journal.keep(&record(1, 20)).unwrap();
    let ballast = mount.0.path().join("ballast");
    store(&mut journal, 1, 0..2, 60_000);
    fs::write(&ballast, vec![1; 800_000]).unwrap();
    let (metas, payload) = strips(1, 2..14, 60_000);
    let error = journal.append(JobId(1), ENGINE, 2, &metas, &payload).unwrap_err();
    assert!(error.is_full() && error.to_string().contains("strips"), "{error}");
    assert!(journal.sync().is_empty());
    read_all(&mut journal, 1, 2, 60_000).unwrap();
    let error = journal.keep(&record(2, 20)).unwrap_err();
    assert!(error.is_full(), "{error}");
    let error = journal.end(JobId(1), &end(KeptEnding::Failed("the disk is full".into()))).unwrap_err();
    assert!(error.is_full(), "{error}");
    fs::remove_file(&ballast).unwrap();
    journal.append(JobId(1), ENGINE, 2, &metas, &payload).unwrap();
    assert_eq!(journal.sync()[0].1.as_ref().unwrap().have, 14);
    journal.keep(&record(2, 20)).unwrap();
    // Room for the strips and none for their entries: all of it comes again.
    let (metas, payload) = strips(2, 0..1, 4000);
    journal.append(JobId(2), ENGINE, 0, &metas, &payload).unwrap();
    let _ = fs::write(&ballast, vec![1; 1_000_000]);
    let synced = journal.sync();
    assert!(synced[0].1.as_ref().is_err_and(Error::is_full), "{synced:?}");
    fs::remove_file(&ballast).unwrap();
    store(&mut journal, 2, 0..1, 4000);
    drop(journal);
    let (mut journal, recovered, _) = Journal::open(&dir).unwrap();
    assert_eq!(recovered.iter().map(|job| job.have).collect::<Vec<_>>(), [14, 1]);
    read_all(&mut journal, 1, 14, 60_000).unwrap();
    read_all(&mut journal, 2, 1, 4000).unwrap();
}

#[test]
fn a_read_only_directory_is_refused_by_name() {
    let Some(mount) = Mount::new("size=1m") else { return };
    let dir = mount.0.path().join("state");
    drop(opened(&dir));
    mount.remount("ro");
    for path in [dir, mount.0.path().join("new")] {
        let error = Journal::open(&path).unwrap_err();
        let is_named = error.to_string().contains(&path.display().to_string());
        let is_read_only = matches!(&error, OpenError::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem);
        assert!(is_named && is_read_only, "{error}");
    }
    // It was neither locked nor changed.
    mount.remount("rw");
    opened(&mount.0.path().join("state")).keep(&record(1, 5)).unwrap();
}
