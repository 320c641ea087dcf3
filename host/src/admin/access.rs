//! Who may do what: tokens, the roles that they give, and the rules of the routes.
//!
//! A token is 256 random bits, so its SHA-256 is all that has to be kept: nobody guesses what has no pattern, and a
//! slow hash, which passwords need, would only let anybody keep the host busy. A file that cannot be read, or has
//! a line that makes no sense, lets nobody in.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use anyhow::{Context as _, anyhow};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use openssl::memcmp;

use super::problem::Problem;
use crate::config::secret::Secret;
use crate::locked::locked;
use crate::origin::{SHA256, parse_digest};
use crate::random::random;
use crate::transform::digest;

/// What each token begins with, so that it is known for one wherever it turns up.
const PREFIX: &str = "rgt_";
/// Random bytes of a token.
const RANDOM_BYTES: usize = 32;
/// No list of tokens that people keep is longer.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// In place of a tenant in a line of the file: all of them.
const ALL: &str = "*";

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// To look.
    Viewer,
    /// To change the pipelines of a tenant, too.
    Author,
    /// Everything.
    Operator,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Author, Role::Operator];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Author => "author",
            Role::Operator => "operator",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Role::ALL
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or_else(|| format!("`{text}` is no role: viewer, author, or operator"))
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The token's name, for the log.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// Of which tenant; none: of all.
    pub tenant: Option<String>,
}

impl Caller {
    /// Whoever asks where no tokens are configured, which is on this machine only.
    pub fn local() -> Self {
        Caller { name: "local".to_owned(), role: Role::Operator, tenant: None }
    }

    /// Whether the caller may know of this tenant's pipelines; `""` are those without a tenant.
    pub fn sees(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|own| own == tenant)
    }

    /// Whether the caller may know of everything.
    pub fn sees_all(&self) -> bool {
        self.tenant.is_none()
    }
}

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nothing, not even a token.
    Anyone,
    /// A token; the answer is about what the caller may see.
    Listing,
    /// One that sees all tenants.
    SeeAll,
    /// One that sees the pipeline in the path.
    See,
    /// One that may change the pipeline in the path.
    Change,
}

impl Rule {
    /// Whether `caller` may go on. `tenant` is that of the pipeline in the path, if there is such a pipeline.
    ///
    /// # Errors
    /// What the caller is told. A pipeline that is not the caller's to see is one that is not there.
    pub fn check(self, caller: Option<&Caller>, pipeline: &str, tenant: Option<&str>) -> Result<(), Problem> {
        if self == Rule::Anyone {
            return Ok(());
        }
        let caller = caller.ok_or_else(|| Problem::unauthorized("this needs a token"))?;
        match self {
            Rule::Anyone | Rule::Listing => Ok(()),
            Rule::SeeAll if caller.sees_all() => Ok(()),
            Rule::SeeAll => Err(Problem::forbidden("this is about all tenants, and the token is of one")),
            Rule::See | Rule::Change => {
                if !tenant.is_some_and(|tenant| caller.sees(tenant)) {
                    return Err(Problem::no_pipeline(pipeline));
                }
                if self == Rule::Change && caller.role < Role::Author {
                    return Err(Problem::forbidden(format!(
                        "a {} may look, and this changes something",
                        caller.role.name()
                    ))
                    .help("use the token of an author of the tenant, or of an operator"));
                }
                Ok(())
            }
        }
    }
}

/// A line of the file of tokens: what is kept of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    caller: Caller,
    /// In hexadecimal.
    sha256: String,
}

impl Entry {
    /// What is kept of `token`.
    ///
    /// # Errors
    /// A name or a combination that makes no sense.
    pub fn new(name: &str, role: Role, tenant: Option<&str>, token: &Secret) -> Result<Self, String> {
        let caller = Caller { name: name.to_owned(), role, tenant: tenant.map(str::to_owned) };
        check(&caller)?;
        Ok(Entry { caller, sha256: digest(token.expose().as_bytes()) })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Caller { name, role, tenant } = &self.caller;
        let tenant = tenant.as_deref().unwrap_or(ALL);
        write!(f, "{name} {} {tenant} {SHA256}{}", role.name(), self.sha256)
    }
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, role, tenant, hash] = words.as_slice() else {
            return Err("not of the form `NAME ROLE TENANT sha256:HASH`".to_owned());
        };
        let tenant = (*tenant != ALL).then(|| (*tenant).to_owned());
        let caller = Caller { name: (*name).to_owned(), role: role.parse()?, tenant };
        check(&caller)?;
        if !hash.starts_with(SHA256) {
            return Err(format!("the hash does not begin with `{SHA256}`"));
        }
        let sha256 = parse_digest(hash).map_err(|_| "the hash has not 64 hexadecimal digits")?;
        Ok(Entry { caller, sha256 })
    }
}

fn check(caller: &Caller) -> Result<(), String> {
    let is_name = |text: &str| {
        (1..=128).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
    };
    if !is_name(&caller.name) {
        return Err(format!("`{}` is no name: letters, digits, `.`, `_`, `-`", caller.name.escape_debug()));
    }
    match (&caller.tenant, caller.role) {
        (Some(tenant), _) if !is_name(tenant) || tenant.contains('.') => {
            Err(format!("`{}` is no name of a tenant", tenant.escape_debug()))
        }
        (Some(_), Role::Operator) => Err("an operator is of all tenants: `*`".to_owned()),
        (None, Role::Author) => {
            Err("an author is of one tenant; who may change all is an operator".to_owned())
        }
        _ => Ok(()),
    }
}

/// A token that nobody has yet.
///
/// # Errors
/// The operating system gives no randomness.
pub fn new_token() -> anyhow::Result<Secret> {
    let bytes = random::<RANDOM_BYTES>().context("the operating system gives no randomness")?;
    Ok(Secret::new(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))))
}

/// All tokens of a file, read again when the file has changed: a token that was taken out is refused from the next
/// request on.
#[derive(Debug, Clone)]
pub struct Tokens {
    path: Arc<PathBuf>,
    read: Arc<Mutex<Read>>,
}

#[derive(Debug)]
struct Read {
    /// The file's time and length.
    version: Option<(SystemTime, u64)>,
    entries: Result<Vec<Entry>, String>,
}

impl Tokens {
    /// Those of the file at `path`.
    ///
    /// # Errors
    /// A file that cannot be read, or that makes no sense.
    pub fn open(path: PathBuf) -> anyhow::Result<Self> {
        let (version, entries) = (version(&path), read(&path));
        if let Err(what) = &entries {
            return Err(anyhow!("{}: {what}", path.display()));
        }
        let read = Arc::new(Mutex::new(Read { version, entries }));
        Ok(Tokens { path: Arc::new(path), read })
    }

    /// Who has `token`.
    ///
    /// # Errors
    /// What the caller is told: the token is none, or the file makes no sense any more.
    pub fn caller(&self, token: &str) -> Result<Caller, Problem> {
        let mut read = locked(&self.read);
        let version = version(&self.path);
        if version.is_none() || version != read.version {
            *read = Read { version, entries: self::read(&self.path) };
            match &read.entries {
                Ok(entries) => tracing::info!(tokens = entries.len(), "the tokens were read again"),
                Err(what) => tracing::error!("nobody is let in: {}: {what}", self.path.display()),
            }
        }
        let Ok(entries) = &read.entries else {
            let status = axum::http::StatusCode::FORBIDDEN;
            return Err(Problem::new(status, "no_tokens", "the host cannot read its list of tokens")
                .help("the host's log says why"));
        };
        let given = digest(token.as_bytes());
        let mut found = None;
        // All are compared, each in the same time: how long it takes tells nothing. All are of one length.
        for entry in entries {
            if memcmp::eq(entry.sha256.as_bytes(), given.as_bytes()) {
                found = Some(&entry.caller);
            }
        }
        found.cloned().ok_or_else(|| Problem::unauthorized("the token is not known"))
    }
}

fn version(path: &PathBuf) -> Option<(SystemTime, u64)> {
    let facts = std::fs::metadata(path).ok()?;
    Some((facts.modified().ok()?, facts.len()))
}

fn read(path: &PathBuf) -> Result<Vec<Entry>, String> {
    let text = match std::fs::metadata(path) {
        Ok(facts) if facts.len() > FILE_BYTES_MAX => return Err(format!("more than {FILE_BYTES_MAX} bytes")),
        Ok(_) => std::fs::read_to_string(path),
        Err(error) => Err(error),
    };
    parse(&text.map_err(|error| error.to_string())?)
}

/// The tokens in `text`; empty lines and those that begin with `#` say nothing.
fn parse(text: &str) -> Result<Vec<Entry>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = |what: String| format!("line {}: {what}", number + 1);
        let entry: Entry = line.parse().map_err(place)?;
        if entries.iter().any(|known| known.caller.name == entry.caller.name) {
            return Err(place(format!("`{}` is there twice", entry.caller.name)));
        }
        if entries.iter().any(|known| known.sha256 == entry.sha256) {
            return Err(place("the same token is there twice".to_owned()));
        }
        entries.push(entry);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> Secret {
        new_token().unwrap()
    }

    #[test]
    fn tokens_differ_are_long_and_are_known_for_what_they_are() {
        let (one, other) = (token(), token());
        assert_ne!(one, other);
        assert!(one.expose().starts_with(PREFIX));
        assert_eq!(one.expose().len(), PREFIX.len() + 43);
    }

    #[test]
    fn what_is_kept_of_a_token_reads_back_and_says_nothing_of_it() {
        let token = token();
        for (role, tenant) in [
            (Role::Operator, None),
            (Role::Author, Some("shop")),
            (Role::Viewer, None),
            (Role::Viewer, Some("shop")),
        ] {
            let entry = Entry::new("ci", role, tenant, &token).unwrap();
            let line = entry.to_string();
            assert_eq!(line.parse::<Entry>().unwrap(), entry);
            assert!(!line.contains(&token.expose()[PREFIX.len()..]), "{line}");
        }
    }

    #[test]
    fn lines_that_make_no_sense_are_named() {
        let hash = "0".repeat(64);
        for (text, what) in [
            ("ci operator *".to_owned(), "line 1: not of the form"),
            (format!("# tokens\n\nci king * sha256:{hash}"), "line 3: `king` is no role"),
            (format!("ci operator shop sha256:{hash}"), "line 1: an operator is of all tenants"),
            (format!("ci author * sha256:{hash}"), "line 1: an author is of one tenant"),
            (format!("ci/x viewer * sha256:{hash}"), "line 1: `ci/x` is no name"),
            (format!("ci viewer a/b sha256:{hash}"), "line 1: `a/b` is no name of a tenant"),
            ("ci viewer * sha256:12".to_owned(), "line 1: the hash has not 64"),
            (format!("ci viewer * md5:{hash}"), "line 1: the hash does not begin"),
            (format!("a viewer * sha256:{hash}\na viewer * sha256:{hash}"), "line 2: `a` is there twice"),
            (format!("a viewer * sha256:{hash}\nb viewer * sha256:{hash}"), "line 2: the same token"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.starts_with(what), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_token_is_known_until_it_leaves_the_file_and_a_broken_file_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let (ci, ops) = (token(), token());
        let line =
            |name: &str, token: &Secret| Entry::new(name, Role::Operator, None, token).unwrap().to_string();
        std::fs::write(&path, format!("{}\n{}\n", line("ci", &ci), line("ops", &ops))).unwrap();
        let tokens = Tokens::open(path.clone()).unwrap();
        assert_eq!(tokens.caller(ci.expose()).unwrap().name, "ci");
        assert_eq!(tokens.caller(token().expose()).unwrap_err().status, 401);
        assert_eq!(tokens.caller("").unwrap_err().status, 401);
        std::fs::write(&path, line("ops", &ops)).unwrap();
        assert_eq!(tokens.caller(ci.expose()).unwrap_err().status, 401);
        assert_eq!(tokens.caller(ops.expose()).unwrap().name, "ops");
        std::fs::write(&path, "nonsense").unwrap();
        assert_eq!(tokens.caller(ops.expose()).unwrap_err().code, "no_tokens");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(tokens.caller(ops.expose()).unwrap_err().code, "no_tokens");
        std::fs::write(&path, line("ops", &ops)).unwrap();
        assert_eq!(tokens.caller(ops.expose()).unwrap().name, "ops");
    }

    proptest! {
        #[test]
        fn no_text_panics_or_lets_anybody_in_by_chance(text in "[a-z0-9:* \\n#]{0,80}") {
            if let Ok(entries) = parse(&text) {
                prop_assert!(entries.is_empty());
            }
        }
    }
}
