//! The HTTP client of a schema registry: every answer is bounded, and classified.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde_json::Value as Tree;
use tokio::runtime::Handle;

use super::SchemaId;
use crate::config;
use crate::error::Classify;
use crate::http::{secret_header, trusting};
use crate::pause::{Backoff, pause};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than what the last batches are given when the host is to stop.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may be.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// The first wait between two attempts; it doubles up to the longest, and the wait taken is a random part of it.
const WAITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(30)];

/// What a schema is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Avro.
    Avro,
    /// JSON Schema.
    Json,
    /// Protobuf.
    Protobuf,
    /// The schema that Kafka Connect's `JsonConverter` writes; Apicurio keeps it for its JSON converter.
    Connect,
}

/// A schema as a registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// What it is written in.
    pub format: Format,
    /// Its text.
    pub text: String,
    /// The schemas that it refers to.
    pub references: Vec<Reference>,
}

/// Another schema that one refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// As which it is referred to: an Avro type, a Protobuf file, a JSON Schema URL.
    pub name: String,
    /// Where it is, below the registry's URL.
    pub path: Vec<String>,
}

/// Why there is no schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The registry cannot be asked now.
    Wait(String),
    /// It says that there is none.
    Unknown(String),
    /// There is one that cannot be used.
    Unfit(String),
    /// There is no such place: what answers is no registry, or does not know this kind of id.
    Elsewhere(String),
    /// It refuses the host, or is no registry. Nothing that is read then can be right.
    Halt {
        /// What happened.
        what: String,
        /// What to do about it.
        help: String,
    },
}

/// Where schemas come from.
pub trait Source: fmt::Debug + Send {
    /// The schema of this id.
    ///
    /// # Errors
    /// See [`Trouble`].
    fn schema(&self, id: SchemaId) -> Result<Registered, Trouble>;

    /// A schema that another refers to.
    ///
    /// # Errors
    /// See [`Trouble`].
    fn referred(&self, reference: &Reference) -> Result<Registered, Trouble>;
}

/// Repeats `ask` until the registry answers. None: given up because `give_up` said so.
///
/// # Errors
/// Any trouble that is more than a wait.
pub(super) fn patiently<T>(
    give_up: &dyn Fn() -> bool,
    ask: impl Fn() -> Result<T, Trouble>,
) -> Result<Option<T>, Trouble> {
    let [first, longest] = WAITS;
    let mut backoff = Backoff::new(first, longest);
    loop {
        match ask() {
            Ok(answer) => return Ok(Some(answer)),
            Err(Trouble::Wait(why)) => {
                let wait = backoff.next();
                tracing::warn!(wait_ms = wait.as_millis() as u64, "waiting for the schema registry: {why}");
                if !pause(wait, give_up) {
                    return Ok(None);
                }
            }
            Err(trouble) => return Err(trouble),
        }
    }
}

/// A registry that speaks Confluent's protocol, or Apicurio's for its own ids.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
    authorization: Option<HeaderValue>,
    runtime: Handle,
}

impl Client {
    /// A client for the registry of `settings`. Asks it nothing yet.
    ///
    /// Calls block; they come from threads of their own, never from the runtime's.
    ///
    /// # Errors
    /// Credentials that no header can carry, a CA file that holds no certificates.
    pub fn new(settings: &config::Registry, runtime: Handle) -> Result<Self> {
        Client::with_timeout(settings, runtime, REQUEST_TIMEOUT)
    }

    fn with_timeout(settings: &config::Registry, runtime: Handle, timeout: Duration) -> Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none());
        let http = trusting(http, settings.ca.as_deref(), "registry.ca_file")?;
        let authorization = settings.credentials.header().map(|text| secret_header(&text)).transpose();
        let authorization = authorization
            .context("the registry's credentials have characters that no HTTP header can carry")
            .usage()?;
        let http = http.build().context("setting up the HTTP client")?;
        Ok(Client { http, url: settings.url.clone(), authorization, runtime })
    }

    /// The answer at `path` below the registry's URL.
    fn get<S: AsRef<str>>(&self, path: &[S]) -> Result<Vec<u8>, Trouble> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let mut request = self.http.get(url);
        if let Some(value) = &self.authorization {
            request = request.header(AUTHORIZATION, value.clone());
        }
        self.runtime.block_on(async {
            let mut response = request.send().await.map_err(broken)?;
            let status = response.status().as_u16();
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(broken)? {
                if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                    return Err(Trouble::Unfit(format!(
                        "the registry's answer is larger than {} MiB",
                        MAX_ANSWER_BYTES >> 20
                    )));
                }
                body.extend_from_slice(&chunk);
            }
            classified(status, body)
        })
    }

    /// Whether it answers, and lets the host in.
    ///
    /// # Errors
    /// When it does not, or what answers is no registry.
    pub fn reach(&self) -> Result<()> {
        let place = || format!("the schema registry at {}", self.url);
        match self.get(&["subjects"]) {
            // What it says need not be short, or known: it answers as a registry.
            Ok(_) | Err(Trouble::Unknown(_) | Trouble::Unfit(_)) => Ok(()),
            Err(Trouble::Halt { what, help }) => {
                Err(anyhow!(what)).with_context(place).environment().help(help)
            }
            Err(Trouble::Wait(why)) => Err(anyhow!(why)).with_context(place).environment(),
            Err(Trouble::Elsewhere(why)) => {
                Err(anyhow!(why)).with_context(place).environment().help("check registry.url")
            }
        }
    }

    fn object(&self, path: &[impl AsRef<str>]) -> Result<Registered, Trouble> {
        let body = self.get(path)?;
        let tree: Option<Tree> = serde_json::from_slice(&body).ok();
        let text = tree.as_ref().and_then(|tree| tree.get("schema")?.as_str());
        let (Some(tree), Some(text)) = (&tree, text) else {
            return Err(no_registry("its answer to the question for a schema has none"));
        };
        let format = match tree.get("schemaType").and_then(Tree::as_str) {
            None | Some("AVRO") => Format::Avro,
            Some("JSON") => Format::Json,
            Some("PROTOBUF") => Format::Protobuf,
            Some("KCONNECT") => Format::Connect,
            Some(other) => return Err(Trouble::Unfit(format!("a schema of the type {:.40}", other))),
        };
        let references = tree.get("references").and_then(Tree::as_array).map_or(&[][..], Vec::as_slice);
        let reference = |tree: &Tree| {
            let text = |member: &str| Some(tree.get(member)?.as_str()?.to_owned());
            let version = tree.get("version")?.as_i64()?.to_string();
            let path = vec!["subjects".to_owned(), text("subject")?, "versions".to_owned(), version];
            Some(Reference { name: text("name")?, path })
        };
        let references: Option<Vec<_>> = references.iter().map(reference).collect();
        let references =
            references.ok_or_else(|| Trouble::Unfit("a reference without subject or version".into()))?;
        Ok(Registered { format, text: text.to_owned(), references })
    }

    /// A schema by Apicurio's own protocol: its text as it is, and its references at another place.
    fn artifact(&self, path: Vec<String>) -> Result<Registered, Trouble> {
        let text = String::from_utf8(self.get(&path)?);
        let text = text.map_err(|_| Trouble::Unfit("it is not utf-8".into()))?;
        let mut place = path;
        place.push("references".to_owned());
        let body = match self.get(&place) {
            Ok(body) => body,
            Err(Trouble::Unknown(_)) => b"[]".to_vec(),
            Err(trouble) => return Err(trouble),
        };
        let Ok(Tree::Array(references)) = serde_json::from_slice(&body) else {
            return Err(no_registry("its answer to the question for references is no list"));
        };
        let reference = |tree: &Tree| {
            let text = |member: &str| Some(tree.get(member)?.as_str()?.to_owned());
            let group = text("groupId").unwrap_or_else(|| "default".to_owned());
            let (artifact, version) = (text("artifactId")?, text("version")?);
            let path = [
                "groups".to_owned(),
                group,
                "artifacts".to_owned(),
                artifact,
                "versions".to_owned(),
                version,
            ];
            Some(Reference { name: text("name")?, path: path.into() })
        };
        let references: Option<Vec<_>> = references.iter().map(reference).collect();
        let references =
            references.ok_or_else(|| Trouble::Unfit("a reference without artifact or version".into()))?;
        Ok(Registered { format: guessed(&text), text, references })
    }
}

impl Source for Client {
    fn schema(&self, id: SchemaId) -> Result<Registered, Trouble> {
        let path = |words: [&str; 2], id: String| words.map(str::to_owned).into_iter().chain([id]).collect();
        match id {
            // To no registry such numbers are ids, and what it says to them tells nothing about it.
            SchemaId::Number(id) if i32::try_from(id).is_err() => Err(no_id()),
            SchemaId::Global(id) | SchemaId::Content(id) if i64::try_from(id).is_err() => Err(no_id()),
            SchemaId::Number(id) => self.object(&["schemas", "ids", &id.to_string()]),
            SchemaId::Guid(id) => match self.object(&["schemas", "guids", &super::hyphenated(id)]) {
                Err(Trouble::Elsewhere(_)) => Err(Trouble::Unknown("it finds nothing by a guid".into())),
                answer => answer,
            },
            SchemaId::Global(id) => self.artifact(path(["ids", "globalIds"], id.to_string())),
            SchemaId::Content(id) => self.artifact(path(["ids", "contentIds"], id.to_string())),
        }
    }

    fn referred(&self, reference: &Reference) -> Result<Registered, Trouble> {
        let answer = match reference.path.first().map(String::as_str) {
            Some("subjects") => self.object(&reference.path),
            _ => self.artifact(reference.path.clone()),
        };
        match answer {
            Err(Trouble::Elsewhere(what)) => Err(Trouble::Unknown(what)),
            answer => answer,
        }
    }
}

/// What a text looks like where nobody says what it is written in.
fn guessed(text: &str) -> Format {
    if !text.trim_start().starts_with(['{', '[', '"']) {
        return Format::Protobuf;
    }
    let tree: Tree = serde_json::from_str(text).unwrap_or_default();
    match tree.get("type").and_then(Tree::as_str) {
        Some("struct") => Format::Connect,
        Some("object") => Format::Json,
        _ if ["$schema", "properties", "oneOf", "$ref"].iter().any(|member| tree.get(member).is_some()) => {
            Format::Json
        }
        _ => Format::Avro,
    }
}

/// What to do where something answers that is no registry.
pub(super) const NO_REGISTRY: &str = "check registry.url and registry.framing: `confluent` needs the root of \
     Confluent's API (of Apicurio's registry .../apis/ccompat/v7), `apicurio` that of Apicurio's \
     (.../apis/registry/v2)";

fn no_registry(what: &str) -> Trouble {
    Trouble::Halt { what: what.to_owned(), help: NO_REGISTRY.into() }
}

fn no_id() -> Trouble {
    Trouble::Unknown("ids are not so large".into())
}

fn classified(status: u16, body: Vec<u8>) -> Result<Vec<u8>, Trouble> {
    let said = Said::of(&body);
    let shown = said.as_ref().map_or("", |said| &said.message);
    match (status, &said) {
        (200, _) => Ok(body),
        (401 | 403, _) => Err(Trouble::Halt {
            what: format!("it refuses the host with status {status} {shown}").trim_end().to_owned(),
            help: "check registry.user and registry.password_file, or registry.token_file, and what they may read"
                .into(),
        }),
        (404, Some(Said { found_nothing: true, message })) => Err(Trouble::Unknown(message.clone())),
        (404, _) => Err(Trouble::Elsewhere(format!("it answers with status 404 {shown}").trim_end().to_owned())),
        (408 | 429 | 500..=599, _) => {
            Err(Trouble::Wait(format!("it answers with status {status} {shown}").trim_end().to_owned()))
        }
        (400..=499, Some(said)) => {
            Err(Trouble::Unfit(format!("the registry answers with status {status}: {}", said.message)))
        }
        _ => Err(no_registry(&format!("it answers with status {status}, and not as a registry does"))),
    }
}

/// What a registry says of an error.
struct Said {
    message: String,
    /// The question was understood: a schema, subject or version is not there.
    found_nothing: bool,
}

impl Said {
    /// None: the answer is no registry's.
    fn of(body: &[u8]) -> Option<Said> {
        let tree: Tree = serde_json::from_slice(body).ok()?;
        let text = |member: &str| tree.get(member).and_then(Tree::as_str).unwrap_or_default();
        let code = tree.get("error_code")?.as_i64()?;
        let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
        let message: String = text("message").chars().take(200).map(plain).collect();
        // Both say 404, or 0, where they have nothing at an address. Apicurio says 404 of what it has not, too.
        let found_nothing =
            (40_400..40_500).contains(&code) || (code == 404 && text("name").ends_with("NotFoundException"));
        Some(Said { message: format!("{message} (error {code})"), found_nothing })
    }
}

/// A request that got no whole answer. Asking twice harms nobody.
fn broken(error: reqwest::Error) -> Trouble {
    let error = error.without_url();
    if error.is_builder() {
        return no_registry(&format!("the request cannot be made: {:#}", anyhow::Error::new(error)));
    }
    Trouble::Wait(format!("{:#}", anyhow::Error::new(error)))
}

#[cfg(test)]
mod tests;
