//! The host as a process.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use super::log::Log;
use super::{BOUND, Database, Stack, Topic, cleanup, places, wait_for};

/// How the host is to be started.
pub struct Host {
    command: Command,
    arguments: Vec<String>,
    input: Option<Vec<u8>>,
    folder: PathBuf,
}

impl Host {
    /// Without any setting, in an empty folder.
    pub fn new() -> Self {
        let mut command = Command::new(binary());
        let settings = std::env::vars_os().map(|(name, _)| name);
        for name in settings.filter(|name| name.to_string_lossy().starts_with("ROWGATE_")) {
            command.env_remove(name);
        }
        let folder = places::new_folder();
        command.env_remove("RUST_LOG").env("NO_COLOR", "1").current_dir(&folder);
        // Never this user's own.
        command.env("XDG_STATE_HOME", &folder);
        Host { command, arguments: Vec::new(), input: None, folder }
    }

    /// From a file; what comes out goes to standard output.
    pub fn from_file(file: impl AsRef<Path>) -> Self {
        Host::new().args(["--output", "-", "--input"]).arg(file.as_ref().to_str().expect("UTF-8"))
    }

    /// From a topic of the shared stack to a database of whichever of its servers. The pipeline has the
    /// database's name, and small batches, so that there are many even in a short test.
    pub fn pipeline(topic: &Topic, database: &Database) -> Self {
        Host::pipeline_on(Stack::shared(), topic, database)
    }

    /// The same, for servers of its own.
    pub fn pipeline_on(stack: &Stack, topic: &Topic, database: &Database) -> Self {
        Host::between(stack.brokers(), database.server.url(), database).args(["--topic", &topic.name])
    }

    /// From any topic of one server to another.
    pub fn between(brokers: &str, clickhouse_url: &str, database: &Database) -> Self {
        Host::new()
            .args(["--brokers", brokers, "--clickhouse-url", clickhouse_url])
            .args(["--database", &database.name, "--name", &database.name])
            .args(["--linger-ms", "100"])
            .transform("update_only")
    }

    /// Another transform; see [`places::transform`].
    pub fn transform(self, name: &str) -> Self {
        self.set("--transform", &places::transform(name))
    }

    /// One more argument.
    pub fn arg(self, argument: &str) -> Self {
        self.args([argument])
    }

    /// More arguments.
    pub fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments.extend(arguments.into_iter().map(str::to_owned));
        self
    }

    /// A flag with its value, in place of the one that it has by now.
    pub fn set(mut self, flag: &str, value: &str) -> Self {
        if let Some(at) = self.arguments.iter().position(|argument| argument == flag) {
            self.arguments.drain(at..at + 2);
        }
        self.args([flag, value])
    }

    /// A variable of the environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// What it reads from standard input.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        self.command.args(&self.arguments);
        let line = format!("{:?}", self.command);
        self.command.stdin(if self.input.is_some() { Stdio::piped() } else { Stdio::null() });
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the host starts");
        cleanup::kill_at_end(child.id());
        let out = Log::of(child.stdout.take().expect("it is piped"));
        let err = Log::of(child.stderr.take().expect("it is piped"));
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), self.input) {
            // A host that has ended reads nothing; its message says why.
            std::thread::spawn(move || _ = stdin.write_all(&input));
        }
        Running { child, out, err, line, folder: self.folder, ended: false }
    }

    /// Runs it to its end.
    pub fn run(self) -> Ended {
        self.start().wait()
    }

    /// Runs it to its end, which must be a good one.
    pub fn succeed(self) -> Ended {
        let ended = self.run();
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        ended
    }
}

/// A host that was started. Killed, and its log shown, where a test fails before it has ended.
pub struct Running {
    child: Child,
    /// Its standard output.
    pub out: Log,
    /// Its standard error.
    pub err: Log,
    line: String,
    folder: PathBuf,
    ended: bool,
}

impl Running {
    /// Waits until it writes a line with `text` to standard error, and returns the line.
    pub fn wait_for_line(&self, text: &str) -> String {
        self.wait_for_line_from(text, 0)
    }

    /// The same, for lines from this number on.
    pub fn wait_for_line_from(&self, text: &str, from: usize) -> String {
        let line = self.err.wait_for(text, from, BOUND);
        line.unwrap_or_else(|| panic!("the host did not say {text:?}"))
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "the host has ended");
    }

    /// Ends it with SIGKILL.
    pub fn kill(mut self) -> Ended {
        self.child.kill().expect("it can be killed");
        self.wait()
    }

    /// Asks it to drain, and waits for its end, which must be a good one.
    pub fn drain(self) -> Ended {
        self.signal("TERM");
        let ended = self.wait();
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        ended
    }

    /// The most memory that it has had at once by now, in KiB; none where it has ended.
    pub fn peak_kib(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        peak.trim().strip_suffix(" kB")?.parse().ok()
    }

    /// What it takes now.
    pub fn usage(&self) -> Usage {
        let read =
            |file: &str| fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("it runs");
        let status = read("status");
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the system says it");
            line.trim().trim_end_matches(" kB").parse().expect("a number")
        };
        // After the program's name, which may have spaces: the 12th and 13th are ticks of 10 ms.
        let stat = read("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("it has a name").split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
        Usage { rss_kib: of("VmRSS:"), threads: of("Threads:"), cpu_ms: (ticks(11) + ticks(12)) * 10 }
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        let begin = Instant::now();
        let status = wait_for("the host's end", || self.child.try_wait().expect("it is a child"));
        self.ended = true;
        let (out, err) = (self.out.all(), self.err.all());
        Ended { status, out, err, folder: self.folder.clone(), took_ms: begin.elapsed().as_millis() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            _ = self.child.kill();
            _ = self.child.wait();
            eprintln!("{}\n{}{}", self.line, self.out.all(), self.err.all());
        }
    }
}

/// What a process takes.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Memory that it has, KiB.
    pub rss_kib: u64,
    /// Its threads.
    pub threads: u64,
    /// What it has computed so far, ms.
    pub cpu_ms: u64,
}

/// A host that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
    /// The folder that it ran in.
    pub folder: PathBuf,
    /// How long it was waited for.
    pub took_ms: u128,
}

/// What the host counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Records read.
    pub consumed: u64,
    /// Changes with rows.
    pub kept: u64,
    /// Records without rows, rightly.
    pub filtered: u64,
    /// Records that went to the dead letters.
    pub rejected: u64,
    /// Rows written.
    pub rows: u64,
}

impl Ended {
    /// The exit code; none where a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    pub fn by_signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// The counters at its end.
    pub fn counters(&self) -> Counters {
        let of = |name: &str| {
            let mut lines = self.out.lines().chain(self.err.lines());
            let value =
                lines.find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
            value.unwrap_or_else(|| panic!("the host does not say how many {name}: {self:?}"))
        };
        let counters = Counters {
            consumed: of("consumed "),
            kept: of("kept "),
            filtered: of("filtered "),
            rejected: of("rejected "),
            rows: of("rows written "),
        };
        assert_eq!(counters.consumed, counters.kept + counters.filtered + counters.rejected, "{self:?}");
        counters
    }

    /// The error that it ended with: the last lines, from the one that begins with `error:`.
    pub fn error(&self) -> String {
        let lines = self.err.lines().skip_while(|line| !line.starts_with("error: "));
        let lines: Vec<&str> = lines.collect();
        assert!(!lines.is_empty(), "there is no error: {self:?}");
        lines.join("\n")
    }

    /// Checks the exit code, and that the error's text has all of these.
    pub fn fails(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code(), Some(code), "{self:?}");
        for text in texts {
            assert!(self.error().contains(text), "no {text:?} in: {}", self.error());
        }
        assert!(!self.err.contains("panicked"), "{self:?}");
    }
}

/// The host's binary as it is now, built if need be. A copy, for a later build replaces the original.
///
/// `TEST_HOST` names one that is tested in its place, such as a release build.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let built = std::env::var_os("TEST_HOST")
            .map_or_else(|| build(&["--bin", "host"]).join("host"), PathBuf::from);
        let copy = places::run_folder().join("host");
        fs::copy(&built, &copy).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
        copy
    })
}

/// The host with fail points and planted bugs, built as it is now. A copy, like [`binary`].
pub fn with_faults() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let built = build(&["--features", "host/chaos", "--bin", "host-chaos"]).join("host-chaos");
        let copy = places::run_folder().join("host-chaos");
        fs::copy(&built, &copy).unwrap_or_else(|error| panic!("{}: {error}", built.display()));
        copy
    })
}

/// Builds it into the folder in which this test lies, and returns that.
///
/// The packages and the test are named as in `make test`: for others cargo would take the dependencies with other
/// features, and compile all of them once more.
fn build(more: &[&str]) -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let folder = test.ancestors().nth(2).expect("tests lie in the folder `deps` of a profile");
    let target = folder.parent().expect("a profile lies in a target folder");
    let profile: &[&str] = if folder.ends_with("release") { &["--release"] } else { &[] };
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--locked",
            "--workspace",
            "--exclude",
            "fuzz",
            "--test",
            "it",
            "--target-dir",
        ])
        .arg(target)
        .args(profile)
        .args(more)
        .current_dir(places::root())
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "building the host:\n{}", String::from_utf8_lossy(&built.stderr));
    folder.to_owned()
}
