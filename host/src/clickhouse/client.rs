//! The HTTP client: one statement a request, credentials in headers, every answer classified.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use reqwest::Url;
use reqwest::header::{CONTENT_ENCODING, HeaderValue};
use tokio::runtime::Handle;

use super::names::{identifier, literal};
use super::profile::{self, Catalogue, Profile};
use super::request::{Compression, Insert};
use super::response::{self, Broken, Failure, Outcome};
use crate::config;
use crate::config::secret::Secret;
use crate::error::Classify;
use crate::http::{secret_header, system_tls};
use crate::locked::locked;

/// How long the server may work on one insert; the client waits longer than that.
pub(super) const MAX_EXECUTION_TIME_S: u32 = 60;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(MAX_EXECUTION_TIME_S as u64 + 15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest statement that goes into the URL, where proxies and logs see it.
const MAX_URL_SQL_BYTES: usize = 8 << 10;
/// An answer's length at most: identities of a range are 10 bytes each.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// A ClickHouse server. Calls block; they come from threads of their own, never from the runtime's.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    user: String,
    /// As it was read last.
    password: Arc<Mutex<HeaderValue>>,
    password_file: Option<PathBuf>,
    compression: Compression,
    profile: Arc<Profile>,
    runtime: Handle,
}

impl Client {
    /// A client for the server of `settings`. Asks it who it is, and what its types can hold, so that a wrong
    /// address or password shows at once.
    pub fn connect(settings: &config::ClickHouse, runtime: Handle) -> Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .tls_backend_preconfigured(system_tls()?)
            .build()
            .context("setting up the HTTP client")?;
        let password = password_header(&settings.password).usage()?;
        let mut client = Client {
            http,
            url: settings.url.clone(),
            user: settings.user.clone(),
            password: Arc::new(Mutex::new(password)),
            password_file: settings.password_file.clone(),
            compression: settings.compression,
            profile: Arc::default(),
            runtime,
        };
        client.probe(&settings.database)?;
        Ok(client)
    }

    fn probe(&mut self, database: &str) -> Result<()> {
        let place = || format!("ClickHouse at {}", self.url);
        let asked = |sql: &str| {
            let answer = self.query(sql).map_err(|failure| anyhow!("{failure}")).with_context(place);
            let answer = answer.environment().help("check --clickhouse-url, --user and --password-file")?;
            Ok::<_, anyhow::Error>(String::from_utf8_lossy(&answer).into_owned())
        };
        let catalogue = Catalogue::read(&asked(&profile::catalogue_sql())?);
        let sql = format!("SELECT count() FROM system.databases WHERE name = {}", literal(database));
        if asked(&sql)?.trim() == "0" {
            let user = &self.user;
            let what = anyhow!("{} has no database {database:?} that the user `{user}` may see", place());
            return Err(what).environment().help(format!(
                "create it (CREATE DATABASE {}), give the user its rights there, or name another with --database",
                identifier(database)
            ));
        }
        let ranges = asked(&catalogue.ranges_sql())?;
        let modern = self.post(&[("param_x", "1")], profile::SYNTAX_SQL.as_bytes(), Compression::None);
        let sessions = self.has_sessions();
        self.profile = Arc::new(catalogue.profile(&ranges, modern.is_ok(), sessions));
        self.agree_on_compression();
        let Profile { version, date32_days, datetime64_seconds, tokens, sessions, .. } = &*self.profile;
        tracing::debug!(
            version,
            database,
            ?date32_days,
            ?datetime64_seconds,
            tokens,
            sessions,
            "ClickHouse answers"
        );
        if !tokens {
            tracing::warn!(
                version,
                "this ClickHouse knows no deduplication tokens: rows are told apart by their lineage columns alone"
            );
        }
        Ok(())
    }

    /// Sends bodies as they are where the server does not read the compression that was chosen.
    fn agree_on_compression(&mut self) {
        let chosen = self.compression;
        if chosen == Compression::None || self.post(&[], b"SELECT 1", chosen).is_ok() {
            return;
        }
        tracing::warn!("this ClickHouse cannot read inserts in {chosen:?}: they are sent uncompressed");
        self.compression = Compression::None;
    }

    /// What the server can do.
    pub fn profile(&self) -> Arc<Profile> {
        self.profile.clone()
    }

    /// Runs a statement and returns its answer.
    pub fn query(&self, sql: &str) -> Result<Vec<u8>, Failure> {
        self.post(&[("wait_end_of_query", "1")], sql.as_bytes(), Compression::None)
    }

    pub(super) fn post(
        &self,
        parameters: &[(&str, &str)],
        body: &[u8],
        compression: Compression,
    ) -> Result<Vec<u8>, Failure> {
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(parameters);
        let body = compression.compress(body).map_err(|error| {
            Failure::broken(Broken::BeforeSending, &format!("the body was not compressed: {error}"))
        })?;
        let mut request = self.http.post(url).body(body);
        if let Some(encoding) = compression.content_encoding() {
            request = request.header(CONTENT_ENCODING, encoding);
        }
        let again = request.try_clone();
        let used = self.password();
        match self.send(request, used.clone()) {
            Err(failure) if failure.is_login() && self.reads_new_password(&used) => {
                again.map_or(Err(failure), |request| self.send(request, self.password()))
            }
            answer => answer,
        }
    }

    fn password(&self) -> HeaderValue {
        locked(&self.password).clone()
    }

    /// Whether the password's file has another one than `used` by now; that is used from then on.
    fn reads_new_password(&self, used: &HeaderValue) -> bool {
        let Some(path) = &self.password_file else { return false };
        let read = std::fs::read_to_string(path).context("reading it");
        match read.and_then(|text| password_header(&Secret::of_file(&text))) {
            Ok(new) => {
                let is_new = new != used;
                *locked(&self.password) = new;
                if is_new {
                    tracing::info!("the password's file has another one by now: it is used from here on");
                }
                is_new
            }
            Err(error) => {
                tracing::warn!("the password's file {}: {error:#}", path.display());
                false
            }
        }
    }

    /// Inserts a `Native` block. What the server does not know of the insert's settings is left out.
    pub fn insert(&self, insert: &Insert<'_>, block: &[u8]) -> Result<(), Failure> {
        // Without tokens a replicated table knows blocks by their content, and would drop rows that are equal.
        let insert = Insert { token: insert.token.filter(|_| self.profile.tokens), ..*insert };
        let sql = insert.sql();
        let mut parameters = insert.parameters();
        // Since 26.2, on by default: without it, `insert_deduplicate` = 0 does nothing there.
        let word = if insert.token.is_some() { "enable" } else { "disable" };
        parameters.push(("deduplicate_insert", word.to_owned()));
        let mut parameters: Vec<(&str, &str)> = parameters
            .iter()
            .filter(|(name, _)| self.profile.takes_setting(name))
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        // A URL may have 64 KiB; a statement that is longer goes before the block.
        let answer = if sql.len() <= MAX_URL_SQL_BYTES {
            parameters.push(("query", &sql));
            self.post(&parameters, block, self.compression)
        } else {
            self.post(&parameters, &[sql.as_bytes(), b"\n", block].concat(), self.compression)
        }?;
        match answer.is_empty() {
            true => Ok(()),
            // An insert has nothing to say when all is well.
            false => Err(Failure::broken(Broken::AfterSending, &String::from_utf8_lossy(&answer))),
        }
    }

    fn send(&self, request: reqwest::RequestBuilder, password: HeaderValue) -> Result<Vec<u8>, Failure> {
        let request = request.header("X-ClickHouse-User", &self.user).header("X-ClickHouse-Key", password);
        self.runtime.block_on(async {
            let mut response = request.send().await.map_err(broken)?;
            let status = response.status().as_u16();
            let header =
                |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let (code, tag) = (header("X-ClickHouse-Exception-Code"), header("X-ClickHouse-Exception-Tag"));
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(broken)? {
                if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                    let message = format!("the answer is larger than {} MiB", MAX_ANSWER_BYTES >> 20);
                    return Err(Failure::halt(&message));
                }
                body.extend_from_slice(&chunk);
            }
            match response::outcome(status, code.as_deref(), tag.as_deref(), &body) {
                Outcome::Ok => Ok(body),
                Outcome::Failed(failure) => Err(failure),
            }
        })
    }
}

fn password_header(password: &Secret) -> Result<HeaderValue> {
    secret_header(password.expose())
        .context("the ClickHouse password has characters that no HTTP header can carry")
}

/// A request that got no whole answer. Before the connection stood nothing was sent; after that nobody knows
/// what the server did.
fn broken(error: reqwest::Error) -> Failure {
    if error.is_builder() {
        return Failure::halt(&format!(
            "the request cannot be made: {:#}",
            anyhow::Error::new(error.without_url())
        ));
    }
    let when = if error.is_connect() { Broken::BeforeSending } else { Broken::AfterSending };
    let error = anyhow::Error::new(error.without_url());
    Failure::broken(when, &format!("{error:#}"))
}
