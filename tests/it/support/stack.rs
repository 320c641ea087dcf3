//! The servers, by `tests/stack/stack`.

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::Value;

use super::clickhouse::{self, ClickHouse};
use super::{cleanup, places};

/// Servers with a state and ports of their own.
pub struct Stack {
    dir: PathBuf,
    port_base: u16,
    variables: Vec<(String, String)>,
    addresses: OnceLock<HashMap<String, String>>,
}

impl Stack {
    /// Kafka, ClickHouse and the proxy that injects faults, for all tests together. Nobody stops these.
    pub fn shared() -> &'static Stack {
        static SHARED: OnceLock<Stack> = OnceLock::new();
        SHARED.get_or_init(|| Stack::start(&["kafka", "clickhouse", "faults"]))
    }

    /// The same servers with PostgreSQL, and Connect with Debezium.
    pub fn with_debezium() -> &'static Stack {
        static STARTED: OnceLock<()> = OnceLock::new();
        STARTED.get_or_init(|| _ = Stack::shared().run(&["up", "postgres", "connect"]));
        Stack::shared()
    }

    /// The same servers with a ClickHouse of 2018.
    pub fn with_old_clickhouse() -> &'static Stack {
        static STARTED: OnceLock<()> = OnceLock::new();
        STARTED.get_or_init(|| {
            let stack = Stack::shared();
            stack.run(&["fetch", "clickhouse-old"]);
            stack.run(&["up", "clickhouse-old"]);
        });
        Stack::shared()
    }

    /// The same servers with MariaDB, and Connect with Debezium.
    pub fn with_mariadb() -> &'static Stack {
        static STARTED: OnceLock<()> = OnceLock::new();
        STARTED.get_or_init(|| _ = Stack::shared().run(&["up", "mariadb", "connect"]));
        Stack::shared()
    }

    /// Servers for one test. They are stopped when it ends.
    pub fn start(components: &[&str]) -> Stack {
        Stack::start_with(components, &[])
    }

    /// The same, with settings of the stack.
    pub fn start_with(components: &[&str], settings: &[(&str, &str)]) -> Stack {
        let stack = Stack::at_rest(settings);
        cleanup::stop_at_end(&stack.dir);
        let up: Vec<&str> = ["up"].into_iter().chain(components.iter().copied()).collect();
        stack.run(&up);
        stack
    }

    /// One of which nothing runs.
    fn at_rest(settings: &[(&str, &str)]) -> Stack {
        let variables = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Stack {
            dir: places::new_folder(),
            port_base: free_ports(),
            variables: variables.collect(),
            addresses: OnceLock::new(),
        }
    }

    /// The program of a registry of transforms, fetched if need be.
    pub fn docker_registry() -> PathBuf {
        let stack = Stack::at_rest(&[]);
        stack.run(&["fetch", "docker-registry"]);
        stack.address("DOCKER_REGISTRY").into()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(places::root().join("tests/stack/stack"));
        command.args(arguments).env("STACK_DIR", &self.dir).env("PORT_BASE", self.port_base.to_string());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The variables that name this stack, for programs that work on it themselves.
    pub fn place(&self) -> [(&'static str, String); 2] {
        [("STACK_DIR", self.dir.display().to_string()), ("PORT_BASE", self.port_base.to_string())]
    }

    /// Runs a command of the stack, and returns what it prints.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().expect("bash runs");
        let (said, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "stack {arguments:?}: {}\n{said}{errors}", output.status);
        said.into_owned()
    }

    fn address(&self, name: &str) -> &str {
        let addresses = self.addresses.get_or_init(|| {
            let said = self.run(&["env"]);
            let pairs = said.lines().filter_map(|line| line.split_once('='));
            pairs.map(|(name, value)| (name.to_owned(), value.replace(['\\', '\''], ""))).collect()
        });
        addresses.get(name).unwrap_or_else(|| panic!("the stack has no {name}"))
    }

    /// Kafka's.
    pub fn brokers(&self) -> &str {
        self.address("BROKERS")
    }

    /// ClickHouse's.
    pub fn clickhouse_url(&self) -> &str {
        self.address("CLICKHOUSE_URL")
    }

    /// The old ClickHouse's.
    pub fn old_clickhouse_url(&self) -> &str {
        self.address("CLICKHOUSE_OLD_URL")
    }

    /// ClickHouse, through the proxy that injects faults.
    pub fn faults_url(&self) -> &str {
        self.address("FAULTS_URL")
    }

    /// PostgreSQL's.
    pub fn postgres_url(&self) -> &str {
        self.address("PG_URL")
    }

    /// The program that talks to it.
    pub fn psql(&self) -> &str {
        self.address("PSQL")
    }

    /// The schema registry's, where it speaks Confluent's protocol.
    pub fn registry_url(&self) -> &str {
        self.address("REGISTRY_URL")
    }

    /// A client.
    pub fn clickhouse(&self) -> ClickHouse {
        ClickHouse::at(self.clickhouse_url())
    }

    /// Runs the statements of a file in another database of PostgreSQL.
    pub fn sql_file(&self, database: &str, file: &Path) {
        let connect = format!("\\connect {database}");
        self.run(&["sql", "-c", &connect, "-f", file.to_str().expect("UTF-8")]);
    }

    /// Runs statements in PostgreSQL and returns the lines they print, columns separated by `|`.
    pub fn sql(&self, statements: &str) -> Vec<String> {
        self.run(&["sql", "-c", statements]).lines().map(str::to_owned).collect()
    }

    /// Runs statements in a database of MariaDB and returns the lines they print, columns separated by tabs.
    pub fn mariadb(&self, database: &str, statements: &str) -> Vec<String> {
        let mut child = self
            .command(&["mariadb", "-D", database])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash runs");
        // By its input, for an argument has a limit; statements that print much are short.
        let mut input = child.stdin.take().expect("it is piped");
        input.write_all(statements.as_bytes()).expect("the client reads");
        drop(input);
        let output = child.wait_with_output().expect("bash ends");
        assert!(output.status.success(), "MariaDB: {}: {statements:.1000}", output.status);
        String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
    }

    /// Arms a fault in the proxy; it fires for statements in which `matching` is found.
    pub fn arm(&self, matching: &str, mut fault: Value) {
        fault["match"] = matching.into();
        clickhouse::post(&self.faults_admin("_fault"), fault.to_string().as_bytes()).expect("a fault");
    }

    /// How many of the armed faults with exactly this match have not fired, each as often as it still may.
    pub fn armed(&self, matching: &str) -> u64 {
        let faults = self.faults_answer("_fault");
        let faults = faults.as_array().expect("a list").iter();
        faults.filter(|fault| fault["match"] == matching).filter_map(|fault| fault["left"].as_u64()).sum()
    }

    /// Disarms all faults: for a stack of one test.
    pub fn disarm(&self) {
        clickhouse::delete(&self.faults_admin("_fault")).expect("the proxy answers");
    }

    /// One of the proxy's counters.
    pub fn fault_counter(&self, name: &str) -> u64 {
        self.faults_answer("_stats")["count"][name].as_u64().unwrap_or(0)
    }

    /// Whether all requests that the proxy held back have come to the server.
    pub fn none_is_late(&self) -> bool {
        let [applied, lost, all] =
            ["applied_late", "late_lost", "fault:late"].map(|name| self.fault_counter(name));
        applied + lost >= all
    }

    fn faults_admin(&self, what: &str) -> String {
        format!("{}/{what}", self.address("FAULTS_ADMIN_URL"))
    }

    fn faults_answer(&self, what: &str) -> Value {
        let answer = clickhouse::get(&self.faults_admin(what)).expect("the proxy answers");
        serde_json::from_str(&answer).expect("the proxy answers with JSON")
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // What this cannot end is ended when the process does.
        _ = self.command(&["wipe"]).output();
    }
}

/// The first of ten free ports in a row, below those that the system gives to outgoing connections.
fn free_ports() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // Two runs at once begin at different places.
    let begin = std::process::id() as u16 % 100 * 10;
    for _ in 0..1000 {
        let base = 20_000 + (begin + NEXT.fetch_add(1, Ordering::Relaxed) * 10) % 10_000;
        if (base..base + 10).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
    panic!("no ten free ports in a row between 20000 and 30000");
}
