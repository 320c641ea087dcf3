//! `host ls`: the pipelines of a running host.

use anyhow::Result;
use reqwest::Method;

use super::{Client, client, full_name, table};
use crate::admin::pipelines::{Pipeline, Pipelines};

pub fn ls(client: &Client, json: bool) -> Result<()> {
    let answer = client.ask(Method::GET, &["v1", "pipelines"], &[])?;
    if json {
        return crate::cli::show(&format!("{}\n", answer.trim_end()));
    }
    let all: Pipelines = client::read(&answer)?;
    let row = |pipeline: &Pipeline| {
        let counts = &pipeline.counts;
        vec![
            full_name(pipeline),
            pipeline.state.clone(),
            pipeline.since.to_string(),
            pipeline.lag.map_or_else(|| "-".to_owned(), |lag| lag.to_string()),
            counts.kept.to_string(),
            counts.filtered.to_string(),
            counts.rejected.to_string(),
            counts.rows.to_string(),
            pipeline.failed.as_ref().map(|failed| failed.error.clone()).unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = all.pipelines.iter().map(row).collect();
    table(&["pipeline", "state", "since", "lag", "kept", "filtered", "rejected", "rows", "error"], &rows)
}
