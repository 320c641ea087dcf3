//! `host deploy` and `host rollback`: another transform for a running pipeline.

use std::path::Path;

use anyhow::{Result, anyhow};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::{Client, client, find, full_name, path, table};
use crate::admin::pipelines::Pipeline;
use crate::admin::transforms::Handed;
use crate::admin::upload::SIGNATURE;
use crate::error::Classify;
use crate::origin;
use crate::transform::describe;

/// What to do with a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Have it run from the next batch on.
    Run,
    /// Only check that it could.
    Check,
    /// Show what it would make of the last records.
    Try,
}

/// Hands over the component of `file`, with the signature beside it, where there is one.
pub fn deploy(client: &Client, pipeline: &str, file: &Path, purpose: Purpose, json: bool) -> Result<()> {
    let component = describe::bytes(file).usage()?;
    let signature = origin::beside(file)?;
    let found = find(client, pipeline)?;
    let (method, last) = match purpose {
        Purpose::Run => (Method::PUT, "transform"),
        Purpose::Check => (Method::POST, "validate"),
        Purpose::Try => (Method::POST, "try"),
    };
    let answer = client.send(method, &path(&found, &[last]), headers(signature)?, component)?;
    match purpose {
        Purpose::Try if !json => {
            let trial: serde_json::Value = client::read(&answer)?;
            crate::cli::show(&format!("{trial:#}\n"))
        }
        _ => show(&found, &answer, json),
    }
}

fn headers(signature: Option<String>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(text) = signature {
        let value = HeaderValue::from_str(&BASE64_STANDARD.encode(text));
        let value = value.map_err(|_| anyhow!("the signature is no header"))?;
        headers.insert(HeaderName::from_static(SIGNATURE), value);
    }
    Ok(headers)
}

/// Goes back to the transform that ran before, or to the one whose digest begins with `to`.
pub fn rollback(client: &Client, pipeline: &str, to: Option<&str>, json: bool) -> Result<()> {
    let found = find(client, pipeline)?;
    let query: Vec<(&str, &str)> = to.iter().map(|to| ("to", *to)).collect();
    let answer = client.ask(Method::POST, &path(&found, &["rollback"]), &query)?;
    show(&found, &answer, json)
}

fn show(pipeline: &Pipeline, answer: &str, json: bool) -> Result<()> {
    if json {
        return crate::cli::show(&format!("{}\n", answer.trim_end()));
    }
    let handed: Handed = client::read(answer)?;
    if handed.changed == Some(false) {
        eprintln!("it ran already");
    }
    if handed.kept == Some(false) {
        eprintln!("a restart does not know it: the host's log says why");
    }
    table(&["pipeline", "digest", "state"], &[vec![full_name(pipeline), handed.digest, handed.state]])
}
