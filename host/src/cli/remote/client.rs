//! The client of the admin interface.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use crate::admin::problem::Problem;
use crate::config::secret::Secret;
use crate::error::{self, Classify, Exit};
use crate::http::secret_header;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the host takes to compile and try a component.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// An answer's length at most: the log lines that the host keeps of a pipeline are far less.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A host that is asked.
pub struct Client {
    http: reqwest::Client,
    url: Url,
    token: Option<HeaderValue>,
    runtime: Runtime,
}

impl Client {
    /// The host at `url`. Nothing is sent yet.
    ///
    /// # Errors
    /// A token that no header can hold.
    pub fn new(url: &Url, token: Option<&Secret>) -> Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .context("setting up the HTTP client")?;
        let token = token.map(|token| secret_header(&format!("Bearer {}", token.expose()))).transpose();
        let token = token.context("the token has characters that no token has").usage()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the HTTP client")
            .environment()?;
        Ok(Client { http, url: url.clone(), token, runtime })
    }

    /// Asks, without a body.
    ///
    /// # Errors
    /// The host is not reached, exit 3; it refuses, exit 2.
    pub fn ask(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<String> {
        self.success(self.sent(method, path, query, HeaderMap::new(), Vec::new())?)
    }

    /// Asks with a body.
    ///
    /// # Errors
    /// See [`Client::ask`].
    pub fn send(&self, method: Method, path: &[&str], headers: HeaderMap, body: Vec<u8>) -> Result<String> {
        self.success(self.sent(method, path, &[], headers, body)?)
    }

    fn success(&self, (status, text): (StatusCode, String)) -> Result<String> {
        if status.is_success() { Ok(text) } else { Err(refusal(status, &text, &self.place())) }
    }

    /// Asks, and takes any answer for one.
    ///
    /// # Errors
    /// The host is not reached, exit 3.
    pub fn answer(&self, method: Method, path: &[&str]) -> Result<(StatusCode, String)> {
        self.sent(method, path, &[], HeaderMap::new(), Vec::new())
    }

    fn sent(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<(StatusCode, String)> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url).headers(headers).body(body);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        let answered = self.runtime.block_on(async {
            let mut answer = request.send().await?;
            let status = answer.status();
            let mut text = Vec::new();
            while let Some(bytes) = answer.chunk().await?.filter(|_| text.len() < MAX_ANSWER_BYTES) {
                text.extend_from_slice(&bytes);
            }
            Ok::<_, reqwest::Error>((status, text))
        });
        let (status, text) = answered.map_err(|error| self.unanswered(error.without_url()))?;
        Ok((status, String::from_utf8_lossy(&text).into_owned()))
    }

    fn unanswered(&self, error: reqwest::Error) -> anyhow::Error {
        let place = self.place();
        let (what, help) = match error.is_timeout() && !error.is_connect() {
            true => (
                format!("{place} has not answered within {} s", REQUEST_TIMEOUT.as_secs()),
                "what was asked may still be done: `host ls` and `host logs` tell",
            ),
            false => (
                format!("cannot reach {place}"),
                "is the host running with --admin-listen, and is --admin its address?",
            ),
        };
        error::of_class(anyhow::Error::new(error).context(what), Exit::Environment, Some(help.to_owned()))
    }

    fn place(&self) -> String {
        format!("the host's admin interface at {}", self.url)
    }
}

/// What an answer says that is no success.
fn refusal(status: StatusCode, text: &str, place: &str) -> anyhow::Error {
    let (what, help) = match serde_json::from_str::<Problem>(text) {
        Ok(Problem { detail, help, code, .. }) => (anyhow!("{detail} ({code})"), help),
        Err(_) => {
            let what = anyhow!("{place} answers {status}, and not as Rowgate's host does");
            (what, Some("is --admin the address of a host?".to_owned()))
        }
    };
    // The host's own advice is for programs.
    let help = match status {
        StatusCode::UNAUTHORIZED => Some(
            "give a token with --token-file or ROWGATE_ADMIN_TOKEN; `host token new` makes them".to_owned(),
        ),
        _ => help,
    };
    let exit = match status.as_u16() {
        429 | 502..=504 => Exit::Environment,
        500.. => Exit::Internal,
        _ => Exit::Usage,
    };
    error::of_class(what, exit, help)
}

/// An answer's value.
///
/// # Errors
/// It is no such value: the host is of another version.
pub fn read<T: DeserializeOwned>(answer: &str) -> Result<T> {
    serde_json::from_str(answer)
        .context("the host's answer is not what this version expects")
        .environment()
        .help("use the command of the host's own version")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit_of, help_of};

    #[test]
    fn a_refusal_says_what_the_host_said_and_has_the_class_of_its_status() {
        let problem = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            let text =
                serde_json::to_string(&Problem::new(status, "a_code", "no such thing").help("look")).unwrap();
            refusal(status, &text, "the host")
        };
        for (status, exit) in [
            (400, Exit::Usage),
            (401, Exit::Usage),
            (404, Exit::Usage),
            (409, Exit::Usage),
            (429, Exit::Environment),
            (500, Exit::Internal),
            (503, Exit::Environment),
        ] {
            let error = problem(status);
            assert_eq!(
                (exit_of(&error), error.to_string()),
                (exit, "no such thing (a_code)".to_owned()),
                "{status}"
            );
            let help = if status == 401 { "give a token with --token-file" } else { "look" };
            assert!(help_of(&error).unwrap().starts_with(help), "{status}");
        }
        let error = refusal(StatusCode::OK, "<html>", "the host");
        assert_eq!(error.to_string(), "the host answers 200 OK, and not as Rowgate's host does");
    }
}
