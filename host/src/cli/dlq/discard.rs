//! `host dlq discard`: letters marked as not to be processed.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context as _, Result, anyhow};
use serde_json::json;

use super::{letters, pages, who};
use crate::cli::show as print;
use crate::config::Settings;
use crate::dead_letter::filter::Filter;
use crate::dead_letter::marks::{How, Mark, State};
use crate::dead_letter::store::Store;
use crate::dead_letter::text::json_line;
use crate::error::Classify;

pub fn discard(
    store: Option<Store>,
    filter: &Filter,
    settings: &Settings,
    because: &str,
    yes: bool,
    json: bool,
) -> Result<()> {
    let Some(mut store) = store else {
        eprintln!("there are no dead letters: none was ever kept");
        return Ok(());
    };
    let found = store.count(filter, State::Open)?;
    let count = filter.limit.map_or(found, |limit| found.min(limit));
    if count == 0 {
        eprintln!("pipeline {} has no open dead letters of this kind", filter.pipeline);
        return Ok(());
    }
    if settings.dry_run {
        return super::ls::ls(Some(store), &Filter { limit: None, ..filter.clone() }, false, false, json)
            .map(|()| eprintln!("{} would be discarded", letters(count)));
    }
    if !yes && !is_agreed(count, filter)? {
        eprintln!("nothing was discarded");
        return Ok(());
    }
    let by = who();
    let mut done = 0;
    pages(Some(count), |after, wanted| {
        let page = store.outlines(filter, State::Open, after, wanted)?;
        let marks: Vec<Mark<'_>> = page
            .iter()
            .flat_map(|outline| outline.kept.iter().map(move |kept| (&outline.place, kept)))
            .map(|(place, letter)| Mark {
                pipeline: &filter.pipeline,
                place,
                letter,
                how: How::Discarded,
                transform: "",
                by: &by,
                reason: because,
            })
            .collect();
        store.mark(&marks)?;
        done += page.len() as u64;
        Ok(Some(page))
    })?;
    print(&match json {
        true => format!("{}\n", json_line(&json!({ "discarded": done }))),
        false => {
            format!("discarded {}; they stay in the table, marked in {}\n", letters(done), store.marks())
        }
    })
}

fn is_agreed(count: u64, filter: &Filter) -> Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(anyhow!("{} would be discarded, and nobody is there to ask", letters(count)))
            .usage()
            .help("look with --dry-run, then say --yes");
    }
    eprint!("discard {} of pipeline {}? They will not be retried. [y/N] ", letters(count), filter.pipeline);
    std::io::stderr().flush().context("cannot write the question").environment()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).context("cannot read the answer").environment()?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
