//! Delivery against a simulated log, server and clock: the very code that runs in production, stopped before each
//! call to the outside, and taken through crashes, lost answers, inserts that come late, servers that forget,
//! and partitions that move.
//!
//! [`breadth_first`] takes every history of few faults, [`random`] draws longer ones. A promise that breaks
//! prints the steps that led there, and the seed.

mod explore;
mod host;
mod run;
mod work;
mod world;

use self::explore::{Failed, Figures, breadth_first, random};
use self::run::Plan;
use self::world::Level;
use crate::chaos::{self, Bug};

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect(name))
}

fn told(name: &str, result: Result<Figures, Failed>) -> Figures {
    match result {
        Ok(figures) => {
            println!("{name}: {figures}");
            figures
        }
        Err(failed) => panic!("{name}: {failed}"),
    }
}

/// With how many faults at most every history is taken.
fn faults() -> u32 {
    from_env("ROWGATE_FAULTS", 1) as u32
}

fn histories() -> u64 {
    from_env("ROWGATE_HISTORIES", 2000)
}

fn seed() -> u64 {
    from_env("ROWGATE_SEED", 1)
}

#[test]
fn every_crash_and_fault_leaves_each_record_there_once_where_there_are_lineage_and_tokens() {
    let figures = told("level A, every history", breadth_first(&Plan::small(Level::A), faults()));
    assert_eq!(figures.points, figures.covered);
}

#[test]
fn every_crash_and_fault_leaves_each_record_there_once_where_there_is_lineage_alone() {
    let figures = told("level B, every history", breadth_first(&Plan::small(Level::B), faults()));
    assert_eq!(figures.points, figures.covered);
}

#[test]
fn every_crash_and_fault_leaves_each_record_there_where_rows_converge() {
    let figures = told("level C, every history", breadth_first(&Plan::small(Level::C), faults()));
    assert_eq!(figures.points, figures.covered);
}

#[test]
fn random_histories_leave_each_record_there_once() {
    for (level, histories) in
        [(Level::A, histories()), (Level::B, histories() / 4), (Level::C, histories() / 4)]
    {
        told(&format!("level {level:?}, random"), random(level, seed(), histories));
    }
}

#[test]
fn without_lineage_and_tokens_rows_are_doubled() {
    let failed = breadth_first(&Plan::small(Level::D), 1).expect_err("the check would not see a double");
    assert!(failed.why.contains("is there twice"), "{failed}");
}

#[test]
fn a_token_alone_loses_rows_when_the_server_is_killed() {
    let failed =
        breadth_first(&Plan::small(Level::TokensAlone), 1).expect_err("the check would not see a loss");
    assert!(failed.why.contains("is 0 times"), "{failed}");
}

#[test]
fn without_sessions_lineage_alone_doubles_what_arrives_after_it_was_looked_for() {
    let failed = breadth_first(&Plan::small(Level::LineageAlone), 1).expect_err("sessions would be needless");
    assert!(failed.why.contains("is there twice"), "{failed}");
}

#[test]
fn every_planted_bug_is_caught() {
    let bugs = [
        (Level::A, Bug::CommitBeforeInsert),
        (Level::A, Bug::TokenOfAttempt),
        (Level::A, Bug::NoWindow),
        (Level::A, Bug::OtherCutOnReplay),
        (Level::A, Bug::CommitAfterRevocation),
        (Level::B, Bug::SessionsIgnored),
    ];
    let mut caught = 0;
    for (level, bug) in bugs {
        let found = chaos::with(Some(bug), || random(level, seed(), histories()));
        match found {
            Err(failed) => {
                caught += 1;
                println!("{bug:?}: caught in history {}: {}", failed.history, failed.why);
            }
            Ok(_) => println!("{bug:?}: not caught"),
        }
    }
    println!("planted bugs caught: {caught} of {}", bugs.len());
    assert_eq!(caught, bugs.len());
}
