//! The admin interface: what an operator, a team, a probe and a scraper ask the running host over HTTP.
//!
//! [`routes`] lists what can be asked, and the rule of each route: who may. [`server`] bounds what a caller can take.
//! It listens on this machine only, unless tokens are configured ([`access`]).

pub mod access;
pub mod health;
pub mod pipelines;
pub mod problem;
pub mod routes;
pub mod server;
pub mod staged;
pub mod transforms;
pub mod upload;

mod openapi;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use axum::http::{HeaderMap, header};
use tokio::task::JoinHandle;

use self::access::{Caller, Tokens};
use self::problem::Problem;
use self::staged::Staged;
use self::upload::Places;
use crate::config;
use crate::error::Classify;
use crate::metrics::Metrics;
use crate::signal::Shutdown;
use crate::supervisor::Supervisor;
use crate::telemetry::Logs;

/// What the routes look at and act on. Clones share it.
#[derive(Clone)]
pub struct Admin {
    shared: Arc<Shared>,
}

struct Shared {
    supervisor: Supervisor,
    metrics: Metrics,
    logs: Logs,
    /// None: whoever is on this machine may do everything.
    tokens: Option<Tokens>,
    shutdown: Shutdown,
    /// Components that wait to be activated.
    staged: Staged,
    /// Where components are taken in, and what is asked with them is done.
    uploads: Places,
    /// Where what is there is activated or gone back to, so that nobody who sends slowly keeps others from it.
    swaps: Places,
    /// Whether each pipeline has been past its start; see [`health`].
    started: AtomicBool,
}

impl Admin {
    /// For the pipelines of `supervisor`. `shutdown`: the process is to end.
    pub fn new(
        supervisor: Supervisor,
        metrics: Metrics,
        logs: Logs,
        tokens: Option<Tokens>,
        shutdown: Shutdown,
    ) -> Self {
        let (staged, started) = (Staged::default(), AtomicBool::new(false));
        let (uploads, swaps) = (Places::default(), Places::default());
        let shared = Shared { supervisor, metrics, logs, tokens, shutdown, staged, uploads, swaps, started };
        Admin { shared: Arc::new(shared) }
    }

    /// Who sends a request with these headers; none: nobody in particular.
    ///
    /// # Errors
    /// A token that is none, or a request that a web page on another site made.
    fn caller(&self, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).unwrap_or_default();
        if headers.contains_key(header::ORIGIN) {
            let origin = text(header::ORIGIN).unwrap_or_default();
            let of_origin = origin.split_once("://").map_or("", |(_, host)| host);
            if of_origin.is_empty() || of_origin != host {
                return Err(Problem::forbidden("a web page of another site sent this"));
            }
        }
        let Some(tokens) = &self.shared.tokens else {
            // A page may have had its own name lead to this machine (DNS rebinding), and is its own site then.
            return match is_this_machine(host) {
                true => Ok(Some(Caller::local())),
                false => Err(Problem::forbidden("without tokens the host is asked by its address only")
                    .help("use http://127.0.0.1:PORT or http://localhost:PORT, or configure `admin.tokens_file`")),
            };
        };
        let Some(given) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
        let given = given.to_str().unwrap_or_default();
        match given.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                tokens.caller(token.trim()).map(Some)
            }
            _ => Err(Problem::unauthorized("the header Authorization has no bearer token")),
        }
    }
}

/// The interface while it answers.
pub struct Serving {
    over: Shutdown,
    task: JoinHandle<()>,
}

impl Serving {
    /// Lets what is under way come to its end, and stops.
    pub async fn end(self) {
        self.over.request();
        _ = self.task.await;
    }
}

/// Listens where `settings` say, and answers from now on.
///
/// # Errors
/// The address is taken; the tokens cannot be read.
pub async fn start(
    settings: &config::Admin,
    supervisor: Supervisor,
    metrics: Metrics,
    logs: Logs,
    shutdown: Shutdown,
) -> anyhow::Result<Serving> {
    let tokens = settings.tokens_file.clone().map(Tokens::open).transpose();
    let tokens = tokens.context("cannot read the tokens of the admin interface").usage()?;
    let listener = server::bind(settings.listen).await?;
    let address = listener.local_addr().context("the admin interface has no address").environment()?;
    let who = if tokens.is_some() { "bearers of tokens" } else { "this machine" };
    let admin = Admin::new(supervisor, metrics, logs, tokens, shutdown);
    let over = Shutdown::new();
    let task = tokio::spawn(server::serve(listener, routes::router(&admin), over.clone()));
    tracing::info!(address = %format!("http://{address}"), who, "the admin interface listens");
    Ok(Serving { over, task })
}

/// Whether the header `Host` names this machine by an address of its own, or as `localhost`.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
