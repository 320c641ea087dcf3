//! The HTTP client of a registry: every answer is bounded, is what its digest says, and credentials go where they belong.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use super::Remote;
use super::challenge::{self, Challenge};
use super::manifest::{INDEX, Layer, MANIFEST, MAX_MANIFEST_BYTES};
use super::reference::is_local;
use crate::error::{self, Classify, Exit};
use crate::http::{secret_header, trusting};
use crate::origin::SHA256;
use crate::pause::Backoff;
use crate::transform::digest;
use crate::transform::limits::SandboxLimits;

/// How often something is asked for that a registry does not give now.
const MAX_ATTEMPTS: u32 = 4;
/// How often a registry may send the host elsewhere for one thing: to a storage, and that to a place near by.
const MAX_REDIRECTS: usize = 3;
/// The length of a token server's answer at most. Tokens have some 2 KiB.
const MAX_TOKEN_BYTES: u64 = 64 << 10;
const CREDENTIALS: &str = "check oci.user and oci.password_file, and what the user may read";

/// How long it is waited for a registry.
pub(super) struct Times {
    connect: Duration,
    /// For the next bytes of an answer.
    idle: Duration,
    /// For all together. Below it a component of 24 MiB comes at 200 KiB a second.
    total: Duration,
    /// The longest first wait before something is asked for again; it doubles, and the wait taken is a random part of it.
    wait: Duration,
}

/// Those of a run.
pub(super) const TIMES: Times = Times {
    connect: Duration::from_secs(5),
    idle: Duration::from_secs(10),
    total: Duration::from_secs(120),
    wait: Duration::from_secs(1),
};

/// What was fetched.
pub(super) struct Fetched {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// What the manifest says of the component.
    pub layer: Layer,
    /// The component.
    pub component: Vec<u8>,
}

/// Fetches the component that `remote` names. Nothing is believed that has another digest.
///
/// # Errors
/// As of [`super::component`].
pub(super) async fn fetch(remote: &Remote, limits: &SandboxLimits, times: &Times) -> Result<Fetched> {
    let place = || format!("the registry at {}", remote.root);
    let fetching = async {
        let mut client = Client::new(remote, times)?;
        let manifest = client.bytes(&client.manifest()?).await.with_context(place)?;
        let layer = Layer::of_manifest(&manifest, limits)?;
        let component = client.bytes(&client.blob(&layer)?).await.with_context(place)?;
        Ok(Fetched { manifest, layer, component })
    };
    let in_time = tokio::time::timeout(times.total, fetching).await;
    let late = || anyhow!("{} has not sent it within {} s", place(), times.total.as_secs());
    in_time.map_err(|_| late()).environment()?
}

/// Something that is asked for by its digest.
struct Wanted {
    url: Url,
    digest: String,
    max_bytes: u64,
    is_manifest: bool,
}

/// Why there is no answer.
enum Trouble {
    /// Another time there may be one.
    Passing(String),
    /// There will be none.
    Lasting(anyhow::Error),
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Trouble::Lasting(error)
    }
}

struct Client<'a> {
    http: reqwest::Client,
    remote: &'a Remote,
    times: &'a Times,
    /// What the registry has asked for, once it has.
    authorization: Option<HeaderValue>,
}

impl<'a> Client<'a> {
    fn new(remote: &'a Remote, times: &'a Times) -> Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(times.connect)
            .read_timeout(times.idle)
            // They are followed here, where it is known what may go along.
            .redirect(reqwest::redirect::Policy::none());
        let http = trusting(http, remote.ca.as_deref(), "oci.ca_file")?;
        let http = http.build().context("setting up the HTTP client")?;
        Ok(Client { http, remote, times, authorization: None })
    }

    fn manifest(&self) -> Result<Wanted> {
        let digest = &self.remote.reference.digest;
        self.wanted("manifests", digest, MAX_MANIFEST_BYTES, true)
    }

    fn blob(&self, layer: &Layer) -> Result<Wanted> {
        self.wanted("blobs", &layer.digest, layer.bytes, false)
    }

    fn wanted(&self, what: &str, digest: &str, max_bytes: u64, is_manifest: bool) -> Result<Wanted> {
        let Remote { root, reference, .. } = self.remote;
        let url = root.join(&format!("v2/{}/{what}/{SHA256}{digest}", reference.name))?;
        Ok(Wanted { url, digest: digest.to_owned(), max_bytes, is_manifest })
    }

    /// Asks for something, again where that helps.
    async fn bytes(&mut self, wanted: &Wanted) -> Result<Vec<u8>> {
        let (mut backoff, mut attempt) = (Backoff::new(self.times.wait, self.times.total), 1);
        loop {
            let why = match self.attempt(wanted).await {
                Ok(bytes) => return Ok(bytes),
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::Passing(why)) => why,
            };
            if attempt == MAX_ATTEMPTS {
                return Err(anyhow!(why)).environment().help("is it up, and is the reference right?");
            }
            let wait = backoff.next();
            tracing::warn!(wait_ms = wait.as_millis() as u64, "waiting for the transform's registry: {why}");
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn attempt(&mut self, wanted: &Wanted) -> Result<Vec<u8>, Trouble> {
        let response = self.answer(wanted).await?;
        if wanted.is_manifest {
            let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let media_type = media_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
            if ![MANIFEST, INDEX].contains(&media_type) {
                return Err(lasting(format!("it answers with {media_type:?}, and not as a registry does")));
            }
        }
        let bytes = read(response, wanted.max_bytes, "it").await?;
        let found = digest(&bytes);
        if found != wanted.digest {
            let what =
                format!("it was asked for {SHA256}{}, and sends what is {SHA256}{found}", wanted.digest);
            return Err(lasting(what));
        }
        Ok(bytes)
    }

    /// The answer, once the registry knows who asks, where it wants to know that.
    async fn answer(&mut self, wanted: &Wanted) -> Result<Response, Trouble> {
        let mut response = self.follow(&wanted.url).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.is_registry(response.url()) {
            self.authorization = Some(self.authorize(&response).await?);
            response = self.follow(&wanted.url).await?;
        }
        match response.status().as_u16() {
            200 => Ok(response),
            401 | 403 => Err(refused(response.status())),
            404 => {
                let what = format!("it has no {SHA256}{} in `{}`", wanted.digest, self.remote.reference.name);
                let help = "check the reference, and what the user of oci.user may read".to_owned();
                Err(Trouble::Lasting(error::of_class(anyhow!(what), Exit::Usage, Some(help))))
            }
            status => Err(by_status(status, "it")),
        }
    }

    /// The answer to a question at `url`, wherever the registry sends the host for it.
    async fn follow(&self, url: &Url) -> Result<Response, Trouble> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request =
                self.http.get(url.clone()).header(ACCEPT, format!("{MANIFEST}, {INDEX}, */*;q=0.1"));
            // Another host must not learn it.
            if let Some(value) = self.authorization.as_ref().filter(|_| self.is_registry(&url)) {
                request = request.header(AUTHORIZATION, value.clone());
            }
            let response = request.send().await.map_err(broken)?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let target = target.and_then(|target| url.join(target).ok());
            url = target
                .ok_or_else(|| lasting("it sends the host elsewhere, and does not say where".into()))?;
            self.allow(&url).map_err(lasting)?;
        }
        Err(lasting(format!("it sends the host elsewhere more than {MAX_REDIRECTS} times")))
    }

    fn is_registry(&self, url: &Url) -> bool {
        url.origin() == self.remote.root.origin()
    }

    /// Refuses an address that the registry has named, and that must not be asked: without TLS there is only the
    /// registry's own host, where the host speaks so with that, and this machine, where the registry is on it.
    fn allow(&self, url: &Url) -> Result<(), String> {
        let root = &self.remote.root;
        let is_near = root.host() == url.host() || is_local(root) && is_local(url);
        let is_plain = url.scheme() == "http" && root.scheme() == "http" && is_near;
        let is_bare = url.username().is_empty() && url.password().is_none();
        if is_bare && (url.scheme() == "https" || is_plain) {
            return Ok(());
        }
        let origin = url.origin().ascii_serialization();
        let why = match is_bare {
            true => "the way there is not encrypted",
            false => "its address carries credentials",
        };
        Err(format!("it sends the host to {origin}, which is not asked: {why}"))
    }

    /// The header by which the registry knows the host, as it asks for it.
    async fn authorize(&self, response: &Response) -> Result<HeaderValue, Trouble> {
        let headers = response.headers().get_all(WWW_AUTHENTICATE);
        let challenges: Vec<_> =
            headers.iter().filter_map(|value| value.to_str().ok()).flat_map(challenge::parse).collect();
        let bearer = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer { realm, service } => Some((realm, service)),
            Challenge::Basic => None,
        });
        if let Some((realm, service)) = bearer {
            return self.token(realm, service.as_deref()).await;
        }
        match self.own_header()? {
            Some(header) if challenges.contains(&Challenge::Basic) => Ok(header),
            _ => Err(refused(response.status())),
        }
    }

    /// The header of the configuration's user; none: there is none.
    fn own_header(&self) -> Result<Option<HeaderValue>, Trouble> {
        let header = self.remote.credentials.header().map(|text| secret_header(&text)).transpose();
        let header =
            header.context("oci.user and its password have characters that no HTTP header can carry");
        Ok(header.usage()?)
    }

    /// A token to read the one repository, from the server that the registry names. Only that server sees the
    /// configuration's user.
    async fn token(&self, realm: &str, service: Option<&str>) -> Result<HeaderValue, Trouble> {
        let mut url = Url::parse(realm).map_err(|_| lasting("its token server has no address".into()))?;
        self.allow(&url).map_err(lasting)?;
        let place = format!("its token server at {}", url.origin().ascii_serialization());
        let scope = format!("repository:{}:pull", self.remote.reference.name);
        let service = service.map(|service| ("service", service));
        url.query_pairs_mut().extend_pairs(service).append_pair("scope", &scope);
        let mut request = self.http.get(url);
        if let Some(header) = self.own_header()? {
            request = request.header(AUTHORIZATION, header);
        }
        let response = request.send().await.map_err(broken)?;
        match response.status().as_u16() {
            200 => {}
            401 | 403 => return Err(refused(response.status())),
            status => return Err(by_status(status, &place)),
        }
        let answer = read(response, MAX_TOKEN_BYTES, &place).await?;
        let token = serde_json::from_slice(&answer)
            .ok()
            .and_then(|Token { token, access_token }| token.or(access_token));
        let header = token.and_then(|token| secret_header(&format!("Bearer {token}")).ok());
        header.ok_or_else(|| lasting(format!("{place} gives no token")))
    }
}

/// All of an answer, which must have `max_bytes` at most.
async fn read(mut response: Response, max_bytes: u64, who: &str) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if (bytes.len() + chunk.len()) as u64 > max_bytes {
            return Err(lasting(format!("{who} sends more than {max_bytes} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// What a token server answers. Both names are in use.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// What a registry does that no registry should.
fn lasting(what: String) -> Trouble {
    Trouble::Lasting(error::of_class(anyhow!(what), Exit::Environment, None))
}

fn refused(status: StatusCode) -> Trouble {
    let error = anyhow!("it refuses the host with status {}", status.as_u16());
    Trouble::Lasting(error::of_class(error, Exit::Environment, Some(CREDENTIALS.to_owned())))
}

/// An answer that is neither what was asked for nor a refusal.
fn by_status(status: u16, who: &str) -> Trouble {
    match status {
        408 | 429 | 500..=599 => Trouble::Passing(format!("{who} answers with status {status}")),
        _ => lasting(format!("{who} answers with status {status}, and not as a registry does")),
    }
}

/// A request that got no whole answer.
fn broken(error: reqwest::Error) -> Trouble {
    let error = anyhow::Error::new(error.without_url());
    Trouble::Passing(format!("{error:#}"))
}

#[cfg(test)]
mod tests;
