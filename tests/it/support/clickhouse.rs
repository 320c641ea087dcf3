//! Questions to ClickHouse, over HTTP.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Stack, wait_for};

/// A server.
#[derive(Clone)]
pub struct ClickHouse {
    url: String,
}

impl ClickHouse {
    /// The server at `url`, as the user `default` without a password.
    pub fn at(url: &str) -> Self {
        ClickHouse { url: url.to_owned() }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs a statement.
    pub fn try_query(&self, sql: &str) -> Result<String, String> {
        post(&self.url, sql.as_bytes())
    }

    /// Runs a statement that must succeed.
    pub fn query(&self, sql: &str) -> String {
        self.try_query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

/// A database of one test.
#[derive(Clone)]
pub struct Database {
    /// Its server.
    pub server: ClickHouse,
    /// Its name.
    pub name: String,
}

impl Database {
    /// A new one in the shared stack.
    pub fn new(name: &str) -> Self {
        Database::on(Stack::shared(), name)
    }

    /// A new one.
    pub fn on(stack: &Stack, name: &str) -> Self {
        let server = stack.clickhouse();
        server.query(&format!("CREATE DATABASE {name}"));
        Database { server, name: name.to_owned() }
    }

    /// A new one on the old server.
    pub fn on_old(name: &str) -> Self {
        let server = ClickHouse::at(Stack::with_old_clickhouse().old_clickhouse_url());
        server.query(&format!("CREATE DATABASE {name}"));
        Database { server, name: name.to_owned() }
    }

    /// Runs a statement in this database.
    pub fn try_query(&self, sql: &str) -> Result<String, String> {
        post(&format!("{}/?database={}", self.server.url, self.name), sql.as_bytes())
    }

    /// Runs a statement that must succeed, in this database. Its answer comes without the last line's end.
    pub fn query(&self, sql: &str) -> String {
        let answer = self.try_query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        answer.trim_end_matches('\n').to_owned()
    }

    /// The lines of an answer.
    pub fn lines(&self, sql: &str) -> Vec<String> {
        self.query(sql).lines().map(str::to_owned).collect()
    }

    /// The rows of an answer, as objects.
    pub fn rows(&self, sql: &str) -> Vec<Value> {
        let lines = self.lines(&format!("{sql} FORMAT JSONEachRow"));
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// How many rows a table has; 0 where there is none, or the server is away.
    pub fn count(&self, table: &str) -> u64 {
        let answer = self.try_query(&format!("SELECT count() FROM {table}"));
        answer.ok().and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// Waits until a table has so many rows, or more.
    pub fn wait_for_rows(&self, table: &str, count: u64) {
        let what = format!("{count} rows in {}.{table}", self.name);
        wait_for(&what, || (self.count(table) >= count).then_some(()));
    }

    /// `SELECT` of each row's identity, and of how often it is there where that is not once.
    pub fn doubled(&self, table: &str) -> Vec<String> {
        self.lines(&format!(
            "SELECT _topic, _partition, _offset, _seq, count() FROM {table} GROUP BY _topic, _partition, _offset, _seq HAVING count() > 1"
        ))
    }

    /// Checks that `table` has `count` rows of the updates of [`events::updates`](super::events::updates): each
    /// once, as it was made.
    pub fn has_updates_once(&self, table: &str, count: u64) {
        assert_eq!(self.doubled(table), [""; 0]);
        let sums = self.query(&format!(
            "SELECT count(), uniqExact(id), min(id), max(id), countIf(name = concat('name ', toString(id)) AND op = 'u') FROM {table}"
        ));
        assert_eq!(sums, format!("{count}\t{count}\t0\t{}\t{count}", count - 1));
    }

    /// Whether there is a table of this name.
    pub fn has_table(&self, table: &str) -> bool {
        self.query(&format!("EXISTS TABLE {table}")) == "1"
    }
}

/// A GET request.
pub fn get(url: &str) -> Result<String, String> {
    curl(url, &[], b"")
}

/// A POST request.
pub fn post(url: &str, body: &[u8]) -> Result<String, String> {
    curl(url, &["--data-binary", "@-"], body)
}

/// A PUT request.
pub fn put(url: &str, body: &[u8]) -> Result<String, String> {
    curl(url, &["-X", "PUT", "--data-binary", "@-"], body)
}

/// A DELETE request.
pub fn delete(url: &str) -> Result<String, String> {
    curl(url, &["-X", "DELETE"], b"")
}

/// A request by curl with these arguments.
pub fn curl(url: &str, arguments: &[&str], body: &[u8]) -> Result<String, String> {
    let mut child = Command::new("curl")
        .args(["-sS", "--fail-with-body", "--max-time", "60", url])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("curl runs");
    let mut input = child.stdin.take().expect("it is piped");
    // curl may end without reading it: the server is down.
    _ = input.write_all(body);
    drop(input);
    let output = child.wait_with_output().expect("curl ends");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(said.into_owned()) } else { Err(format!("{errors}{said}")) }
}
