//! The machine that measures: what it is, how busy it is, what a process has had of it, and when that was.

use std::{
    fs,
    num::NonZero,
    thread::available_parallelism,
    time::{Duration, Instant, SystemTime},
};

use fractally_measure::Host;

/// When a run began, and how busy the machine was.
pub(super) struct Moment {
    since_1970: Duration,
    /// Of the last minute, five and fifteen.
    pub(super) load: [f64; 3],
}

impl Moment {
    #[expect(clippy::disallowed_methods, reason = "a benchmark says when it was made")]
    pub(super) fn now() -> Self {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { since_1970, load: load() }
    }

    /// As in RFC 3339, UTC, in whole seconds.
    pub(super) fn rfc3339(&self) -> String {
        let seconds = self.since_1970.as_secs();
        let (year, month, day) = civil(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Year, month and day in the Gregorian calendar, so many days after 1 January 1970. Years are counted from March, so that the leap day
/// is the last of its year, and in spans of 400, which have 146097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    /// From 1 March of the year 0 to 1 January 1970.
    const FROM_YEAR_0: u64 = 719_468;
    let days = days + FROM_YEAR_0;
    let (span, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // March to July and August to December have 153 days each, and so has every five months after them.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (span * 400 + year, month, day)
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub(super) fn read_clock() -> Instant {
    Instant::now()
}

/// What is known of this machine, but its load.
pub(super) fn host() -> Host {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Host {
        name: text(uname.nodename()),
        system: format!("{} {}", text(uname.sysname()), text(uname.release())),
        // Not every architecture names its processors.
        processor: field(&info, "model name").map_or_else(|| text(uname.machine()), str::to_owned),
        cores: cores(),
        memory_bytes: field(&memory, "MemTotal").and_then(kibibytes).unwrap_or(0),
        ..Host::default()
    }
}

/// Cores that this process may use.
pub(super) fn cores() -> u32 {
    u32::try_from(available_parallelism().map_or(1, NonZero::get)).unwrap_or(u32::MAX)
}

/// Of the last minute, five and fifteen; zeros where the system does not tell.
pub(super) fn load() -> [f64; 3] {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut loads = text.split(' ').map(|load| load.parse().unwrap_or(0.0));
    std::array::from_fn(|_| loads.next().unwrap_or(0.0))
}

/// What stands behind a name and a colon, on the first line that has the name.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

/// `2048 kB`.
fn kibibytes(text: &str) -> Option<u64> {
    text.split(' ').next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Processor time of all threads of a process so far: in nanoseconds of those that live, where the system counts them, else in its ticks.
/// Nothing where it tells neither.
pub(super) fn processor_time(process: u32) -> Option<Duration> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten();
    let fine: Option<Vec<u64>> =
        threads.map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok()?.split(' ').next()?.parse().ok()).collect();
    match fine {
        Some(nanoseconds) => Some(Duration::from_nanos(nanoseconds.iter().sum())),
        None => ticks(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?),
    }
}

/// User and system time in a line of `/proc/PID/stat`.
fn ticks(stat: &str) -> Option<Duration> {
    /// Ticks a second of /proc on Linux, whatever the kernel's own clock.
    const TICKS: u64 = 100;
    // Behind the name in brackets, which may hold anything, stand 11 fields and then the two times.
    let fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.map(|field| field.parse::<u64>().ok()).sum::<Option<_>>()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}

/// The command that measures, as it can be given again.
pub(super) fn command_line() -> String {
    let args = std::env::args_os().skip(1).map(|arg| quoted(&arg.to_string_lossy()));
    std::iter::once("fractally".to_owned()).chain(args).collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=+.,:/@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_in_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_000_000_000, "2001-09-09T01:46:40Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Moment { since_1970: Duration::from_secs(seconds), load: [0.0; 3] }.rfc3339(), text);
        }
    }

    #[test]
    fn the_machine_is_known() {
        let host = host();
        assert!(host.cores > 0 && host.memory_bytes > 1 << 20 && host.system.starts_with("Linux "), "{host:?}");
        assert!(!host.name.is_empty() && !host.processor.is_empty(), "{host:?}");
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 17\nmodel name\t: A: B\nMemTotal:  2048 kB\n";
        assert_eq!((field(text, "model name"), field(text, "name")), (Some("A: B"), None));
        assert_eq!(field(text, "MemTotal").and_then(kibibytes), Some(2 << 20));
    }

    #[test]
    fn processor_time_is_told_of_what_runs() {
        assert_eq!(ticks("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0"), Some(Duration::from_secs(2)));
        assert_eq!(ticks("nothing"), None);
        assert!(processor_time(std::process::id()).is_some());
        assert_eq!(processor_time(u32::MAX), None);
    }

    #[test]
    fn words_of_a_command_are_quoted_where_a_shell_would_read_them_otherwise() {
        assert_eq!(["--c=-0.8+0.1i", "#123456", "it's", ""].map(quoted), ["--c=-0.8+0.1i", "'#123456'", "'it'\\''s'", "''"]);
    }
}
