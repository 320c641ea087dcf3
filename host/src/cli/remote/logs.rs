//! `host logs`: what a pipeline logged last, and what it logs.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use reqwest::Method;

use super::{Client, client, find, path};
use crate::admin::pipelines::Lines;
use crate::dead_letter::text::line as visible;
use crate::telemetry::ring::Line;

/// How often a host is asked for what is new.
const LOOK: Duration = Duration::from_secs(1);

pub fn logs(
    client: &Client,
    pipeline: &str,
    since: Option<Timestamp>,
    follow: bool,
    json: bool,
) -> Result<()> {
    let found = find(client, pipeline)?;
    let path = path(&found, &["logs"]);
    let since = since.map(|since| since.to_string());
    let mut after = 0;
    loop {
        let number = after.to_string();
        let mut query = vec![("after", number.as_str())];
        query.extend(since.as_deref().map(|since| ("since", since)));
        let Lines { lines } = client::read(&client.ask(Method::GET, &path, &query)?)?;
        for line in &lines {
            if after > 0 && line.number > after + 1 {
                eprintln!("{} lines were not kept long enough to be shown", line.number - after - 1);
            }
            after = line.number;
            crate::cli::show(&shown(line, json)?)?;
        }
        if !follow {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
}

fn shown(line: &Line, json: bool) -> Result<String> {
    if json {
        return Ok(format!("{}\n", serde_json::to_string(line)?));
    }
    let Line { at, level, target, message, .. } = line;
    Ok(format!("{at} {level:>5} {target}: {}\n", visible(message)))
}
