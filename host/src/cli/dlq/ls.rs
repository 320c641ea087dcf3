//! `host dlq ls`: letters by groups that are alike, or one by one.

use anyhow::Result;
use serde_json::{Value, json};

use super::{letters, on_terminal, pages};
use crate::cli::last_rows::render;
use crate::cli::show as print;
use crate::dead_letter::filter::Filter;
use crate::dead_letter::marks::State;
use crate::dead_letter::read::{Group, Outline};
use crate::dead_letter::store::Store;
use crate::dead_letter::text::json_line;

/// What is listed at most where nothing is said.
const LIMIT: u64 = 100;

pub fn ls(store: Option<Store>, filter: &Filter, each: bool, all: bool, json: bool) -> Result<()> {
    let Some(store) = store else {
        eprintln!("there are no dead letters: none was ever kept");
        return Ok(());
    };
    let states = if all { &State::ALL[..] } else { &[State::Open] };
    let limit = filter.limit.unwrap_or(LIMIT);
    let listed = if each {
        list_each(&store, filter, states, limit, json)?
    } else {
        list_groups(&store, filter, states, limit, json)?
    };
    if listed == 0 {
        say_none(&store, filter, all)?;
    } else if listed >= limit && !json {
        let what = if each { "letters" } else { "groups" };
        eprintln!("{limit} {what} are shown, there may be more: --limit N");
    }
    Ok(())
}

/// So that nobody takes a wrong name for a clean pipeline.
fn say_none(store: &Store, filter: &Filter, all: bool) -> Result<()> {
    let open = if all { "" } else { "open " };
    eprintln!("pipeline {} has no {open}dead letters of this kind", filter.pipeline);
    let others: Vec<String> = store
        .pipelines()?
        .into_iter()
        .map(|(name, count)| format!("{} ({})", crate::dead_letter::text::line(&name), letters(count)))
        .collect();
    if !others.is_empty() {
        eprintln!("pipelines that ever had any: {}", others.join(", "));
    }
    Ok(())
}

fn list_groups(store: &Store, filter: &Filter, states: &[State], limit: u64, json: bool) -> Result<u64> {
    let mut listed = Vec::new();
    for state in states {
        let groups = store.groups(filter, *state, limit)?;
        listed.extend(groups.into_iter().map(|group| (*state, group)));
    }
    if listed.is_empty() {
        return Ok(0);
    }
    if json {
        for (state, group) in &listed {
            print(&format!("{}\n", json_line(&group_json(*state, group))))?;
        }
    } else {
        let all = states.len() > 1;
        let columns = ["pipeline", "topic", "stage", "letters", "first", "last", "reason"];
        let rows = listed.iter().map(|(state, group)| {
            let Group { pipeline, topic, stage, reason, count, first, last } = group.clone();
            with_state(all, *state, vec![pipeline, topic, stage, count.to_string(), first, last, reason])
        });
        table(all, &columns, rows.collect())?;
    }
    Ok(listed.len() as u64)
}

fn list_each(store: &Store, filter: &Filter, states: &[State], limit: u64, json: bool) -> Result<u64> {
    let all = states.len() > 1;
    let mut listed = 0;
    for state in states {
        pages(Some(limit.saturating_sub(listed)), |after, wanted| {
            let page = store.outlines(filter, *state, after, wanted)?;
            if json {
                for outline in &page {
                    print(&format!("{}\n", json_line(&outline_json(&filter.pipeline, *state, outline))))?;
                }
            } else if !page.is_empty() {
                let row = |outline: &Outline| {
                    let Outline { place, stage, reason, kept, bytes } = outline.clone();
                    let kept = kept.last().cloned().unwrap_or_default();
                    with_state(all, *state, vec![place.to_string(), stage, kept, bytes.to_string(), reason])
                };
                let columns = ["record", "stage", "kept", "bytes", "reason"];
                table(all, &columns, page.iter().map(row).collect())?;
            }
            listed += page.len() as u64;
            Ok(Some(page))
        })?;
    }
    Ok(listed)
}

fn with_state(all: bool, state: State, mut cells: Vec<String>) -> Vec<String> {
    if all {
        cells.insert(0, state.name().to_owned());
    }
    cells
}

fn table(all: bool, columns: &[&str], rows: Vec<Vec<String>>) -> Result<()> {
    let first = all.then_some("state");
    let columns: Vec<String> = first.iter().chain(columns).map(|name| (*name).to_owned()).collect();
    print(&render(&columns, &rows, on_terminal()))
}

fn group_json(state: State, group: &Group) -> Value {
    json!({
        "state": state.name(), "pipeline": group.pipeline, "topic": group.topic, "stage": group.stage,
        "letters": group.count, "first": group.first, "last": group.last, "reason": group.reason,
    })
}

fn outline_json(pipeline: &str, state: State, outline: &Outline) -> Value {
    let Outline { place, stage, reason, kept, bytes } = outline;
    json!({
        "state": state.name(), "pipeline": pipeline, "topic": place.topic, "partition": place.partition,
        "offset": place.offset, "stage": stage, "kept": kept.last(), "bytes": bytes, "reason": reason,
    })
}
