//! `host dlq show`: one letter with its record, and what was done about it.

use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use crate::cli::show as print;
use crate::dead_letter::filter::Place;
use crate::dead_letter::marks::How;
use crate::dead_letter::read::{Done, Letter};
use crate::dead_letter::store::Store;
use crate::dead_letter::text::{as_json, json_line, line, pretty};
use crate::error::Classify;

pub fn show(store: Option<Store>, pipeline: &str, place: &Place, json: bool) -> Result<()> {
    let found = match &store {
        Some(store) => store.letters(pipeline, place, &[place.offset])?.pop(),
        None => None,
    };
    let (Some(store), Some(letter)) = (store, found) else {
        return Err(anyhow!("pipeline {pipeline} has no dead letter of the record {place}"))
            .usage()
            .help("`host dlq ls --each --all` lists all; --pipeline names another pipeline");
    };
    let history = store.history(pipeline, place)?;
    print(&if json {
        format!("{}\n", json_line(&as_object(pipeline, place, &letter, &history)))
    } else {
        as_text(pipeline, place, &letter, &history)
    })
}

/// What is left to do about it, by the marks on this letter.
fn state<'a>(letter: &Letter, history: &'a [Done]) -> &'a str {
    let ends = [How::Retried.name(), How::Discarded.name()];
    let mut own = history.iter().filter(|done| done.letter == letter.kept);
    own.find(|done| ends.contains(&done.how.as_str())).map_or("open", |done| &done.how)
}

fn as_text(pipeline: &str, place: &Place, letter: &Letter, history: &[Done]) -> String {
    let mut text = String::new();
    let mut member = |name: &str, value: &str| _ = writeln!(text, "{name:10} {value}");
    member("record", &line(&place.to_string()));
    member("timestamp", &line(letter.timestamp.as_deref().unwrap_or("none")));
    member("pipeline", &line(pipeline));
    member("stage", &line(&letter.stage));
    member("reason", &line(&letter.reason));
    member("transform", &line(&letter.transform));
    member("kept", &line(&letter.kept));
    member("state", state(letter, history));
    for done in history.iter().filter(|done| done.letter == letter.kept) {
        let why = if done.reason.is_empty() { String::new() } else { format!(": {}", done.reason) };
        member("", &line(&format!("{} {} by {}{why}", done.at, done.how, done.by)));
    }
    if !letter.headers.is_empty() {
        member("headers", &pretty(letter.headers.as_bytes()));
    }
    for (name, bytes) in [("key", &letter.key), ("value", &letter.value)] {
        _ = match bytes {
            None => writeln!(text, "{name:10} null"),
            Some(bytes) => writeln!(text, "{name:10} {} bytes\n{}", bytes.len(), pretty(bytes)),
        };
    }
    text
}

fn as_object(pipeline: &str, place: &Place, letter: &Letter, history: &[Done]) -> Value {
    let state = state(letter, history);
    let history: Vec<Value> = history
        .iter()
        .map(|done| {
            json!({
                "letter": done.letter, "how": done.how, "at": done.at, "by": done.by,
                "transform": done.transform, "reason": done.reason,
            })
        })
        .collect();
    json!({
        "pipeline": pipeline, "topic": place.topic, "partition": place.partition, "offset": place.offset,
        "timestamp": letter.timestamp, "stage": letter.stage, "reason": letter.reason,
        "transform": letter.transform, "kept": letter.kept, "state": state,
        "history": history, "headers": serde_json::from_str::<Value>(&letter.headers).ok(),
        "key": as_json(letter.key.as_deref()), "value": as_json(letter.value.as_deref()),
    })
}
