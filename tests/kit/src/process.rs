//! A lab is a folder of its own for one test, and the processes that it started.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit, setrlimit};
use tempfile::TempDir;

use crate::eventually;

/// A folder of its own for one test. Local grids that run in it put their sockets below it, and every process started from it
/// can be told by its environment.
pub struct Lab {
    binary: PathBuf,
    folder: TempDir,
}

/// What a finished process said.
#[derive(Debug)]
pub struct Run {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: String,
}

/// A running process, killed when dropped.
pub struct Process {
    child: Child,
    stderr: Option<JoinHandle<String>>,
}

impl Lab {
    /// A new folder; `binary` is the program under test.
    pub fn new(binary: &str) -> Self {
        // Directly below /tmp: the paths of Unix sockets are short.
        let folder = tempfile::Builder::new().prefix("lab-").tempdir_in("/tmp").expect("a folder for the test");
        fs::create_dir(folder.path().join("t")).expect("a folder for temporary files");
        Self { binary: binary.into(), folder }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where processes of this lab put their temporary files.
    pub fn temporary(&self) -> PathBuf {
        self.path("t")
    }

    /// The program under test, to be started in the folder.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).current_dir(self.folder.path());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FRACTALLY_")) {
            command.env_remove(name);
        }
        command.env_remove("XDG_RUNTIME_DIR").env("TMPDIR", self.temporary());
        command
    }

    /// The same with at most so many open descriptors.
    pub fn command_with_descriptors<A: AsRef<OsStr>>(&self, descriptors: u32, args: impl IntoIterator<Item = A>) -> Command {
        let plain = self.command(args);
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"")])
            .arg(plain.get_program())
            .args(plain.get_args());
        command.current_dir(self.folder.path());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Runs the program to its end.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        self.start(self.command(args)).wait()
    }

    /// Runs `fractally render ARGS --json`, which must succeed, and gives its report.
    pub fn render<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> serde_json::Value {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        let all = [OsStr::new("render"), OsStr::new("--json")].map(ToOwned::to_owned).into_iter().chain(args);
        self.run(all).report()
    }

    /// Starts a command with both outputs captured.
    pub fn start(&self, mut command: Command) -> Process {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Process::of(command.spawn().expect("the program starts"))
    }

    /// Starts a command with both outputs captured, and hands each line of its standard error on as it comes.
    pub fn follow(&self, mut command: Command, mut on_line: impl FnMut(&str) + Send + 'static) -> Process {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stderr = child.stderr.take().expect("it is piped");
        let mut process = Process::of(child);
        process.stderr = Some(thread::spawn(move || {
            let mut all = String::new();
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                on_line(&line);
                all.extend([line.as_str(), "\n"]);
            }
            all
        }));
        process
    }

    /// Ids of the processes that were started from this lab, directly or by others, and still run.
    pub fn living(&self) -> Vec<i32> {
        let mark = format!("TMPDIR={}", self.temporary().display());
        let has_mark = |id: &i32| {
            let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|entry| entry == mark.as_bytes())
        };
        let entries = fs::read_dir("/proc").expect("Linux has /proc");
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        ids.filter(has_mark).collect()
    }

    /// SIGKILL to one of the [living](Self::living).
    pub fn kill(&self, id: i32) {
        assert!(self.living().contains(&id), "{id} is no process of this lab");
        signal(id, Signal::KILL);
    }

    /// SIGTERM to one of the [living](Self::living).
    pub fn terminate(&self, id: i32) {
        signal(id, Signal::TERM);
    }

    /// Waits until no process and no socket folder of this lab is left.
    pub fn expect_nothing_left(&self) {
        eventually("every process has gone", || self.living().is_empty().then_some(()));
        let left: Vec<_> = fs::read_dir(self.temporary()).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        let inside: Vec<_> = left.iter().flat_map(fs::read_dir).flatten().flatten().map(|entry| entry.path()).collect();
        let what = format!("every socket folder has gone, of {left:?} with {inside:?}");
        eventually(&what, || is_empty(&self.temporary()).then_some(()));
    }

    /// Names of the files in the folder, sorted, the temporary folder not counted.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("the folder can be read");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| name != "t").collect();
        names.sort();
        names
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A failed test may leave processes; they are ours, by their environment.
        self.living().into_iter().for_each(|id| signal(id, Signal::KILL));
    }
}

/// Lets this process, and those that it starts from now on, have so many files and connections open at once.
pub fn allow_open_files(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return;
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(count));
    let wanted = Rlimit { current: Some(count), maximum };
    setrlimit(Resource::Nofile, wanted).unwrap_or_else(|error| panic!("{count} open files: {error}; see `ulimit -n`"));
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn signal(id: i32, signal: Signal) {
    if let Some(id) = Pid::from_raw(id) {
        // It fails when the process has gone, which is as good.
        let _ = kill_process(id, signal);
    }
}

impl Process {
    pub(crate) fn of(mut child: Child) -> Self {
        let stderr = child.stderr.take().map(|mut pipe| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = pipe.read_to_end(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            })
        });
        Self { child, stderr }
    }

    /// Its id.
    pub fn id(&self) -> i32 {
        i32::try_from(self.child.id()).expect("ids are positive")
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id())).expect("it runs").count()
    }

    /// Lowers the limit of open descriptors to so many, or gives it back the one that it may have (`None`).
    pub fn limit_descriptors(&self, limit: Option<usize>) {
        let id = Pid::from_raw(self.id()).expect("ids are positive");
        let mut limits = getrlimit(Resource::Nofile);
        limits.current = limit.map_or(limits.maximum, |limit| Some(limit as u64));
        prlimit(Some(id), Resource::Nofile, limits).expect("a child's limits may be set");
    }

    /// SIGKILL: it cannot do anything about it.
    pub fn kill(&self) {
        signal(self.id(), Signal::KILL);
    }

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&self) {
        signal(self.id(), Signal::INT);
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        signal(self.id(), Signal::TERM);
    }

    /// SIGSTOP: it stands still until [`Process::go_on`].
    pub fn stand_still(&self) {
        signal(self.id(), Signal::STOP);
    }

    /// Does something while the process stands still, each thread of it: also one that was in the middle of a call.
    pub fn while_it_stands_still<T>(&self, body: impl FnOnce() -> T) -> T {
        self.stand_still();
        let tasks = format!("/proc/{}/task", self.id());
        eventually("all threads stand still", || {
            let threads = fs::read_dir(&tasks).expect("the process runs").flatten();
            let mut states = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
            // The state stands behind the name in brackets, which may hold anything.
            states.all(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))).then_some(())
        });
        let result = body();
        self.go_on();
        result
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        signal(self.id(), Signal::CONT);
    }

    /// User and system time of all its threads so far.
    pub fn cpu_time(&self) -> Duration {
        /// Ticks a second of /proc on Linux, whatever the kernel's own clock.
        const TICKS: u64 = 100;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("the process runs");
        // Behind the name in brackets, which may hold anything, stand 11 fields and then the two times.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 1000 / TICKS)
    }

    /// Bytes of memory that it has now and that it had at the most (VmRSS and VmHWM).
    pub fn memory(&self) -> [u64; 2] {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("the process runs");
        ["VmRSS:", "VmHWM:"].map(|name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells it");
            line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") * 1024
        })
    }

    /// Waits for its end, which must come.
    pub fn wait(mut self) -> Run {
        let mut stdout = Vec::new();
        let reader = self.child.stdout.take().map(|mut pipe| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = pipe.read_to_end(&mut bytes);
                bytes
            })
        });
        let status = eventually("the process ends", || self.child.try_wait().expect("its state can be asked"));
        if let Some(reader) = reader {
            stdout = reader.join().expect("reading does not panic");
        }
        let stderr = self.stderr.take().map_or_else(String::new, |reader| reader.join().expect("reading does not panic"));
        Run { status, stdout, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Run {
    /// The exit code; a signal is a failure of the test.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }

    /// The JSON on stdout of a run that must have succeeded.
    pub fn report(&self) -> serde_json::Value {
        assert!(self.status.success(), "{self:?}");
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
