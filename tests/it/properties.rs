//! Any value of any source type comes back from ClickHouse as it was, or is refused before it is sent.
//!
//! Each kind of value is made at random, written as Debezium writes it, decoded, put into a `Native` block, inserted
//! into a table of its own, and read again. What must come back is computed here from the value itself, by
//! code that has nothing of the host's. `PROPERTY_CASES` says how many values of each kind: 2,000 where it is not
//! set, and `make properties` takes 100,000.

mod expected;
mod kinds;
mod random;

use std::time::Instant;

use host::clickhouse::ddl;
use host::clickhouse::native::{Block, Encoding};
use host::clickhouse::profile::{Catalogue, Profile, catalogue_sql};
use host::clickhouse::types::ColumnType;
use host::debezium::shape::Wire;
use host::debezium::value::{Value, decode};

use self::kinds::{Case, Kind};
use self::random::Random;
use crate::support::Database;
use crate::support::clickhouse::post;

/// Values of each kind.
fn cases() -> usize {
    std::env::var("PROPERTY_CASES").map_or(2_000, |text| text.parse().expect("a number of cases"))
}

#[test]
fn every_value_comes_back_as_it_was_or_is_refused() {
    let database = Database::new("properties");
    let profile = profile(&database);
    let begin = Instant::now();
    let (mut written, mut refused, mut wrong) = (0, 0, Vec::new());
    let kinds = kinds::all(&profile);
    for (index, kind) in kinds.iter().enumerate() {
        // Any seed is as good; a fixed one makes a failure come again.
        let mut random = Random::new(index as u64 + 1);
        let cases: Vec<Case> = (0..cases()).map(|_| (kind.make)(&mut random)).collect();
        match check(&database, &profile, index, kind, &cases) {
            Ok(counts) => {
                written += counts.0;
                refused += counts.1;
            }
            Err(what) => wrong.push(format!("{} to {}: {what}", kind.name, kind.ty)),
        }
    }
    println!(
        "{} kinds, {written} values came back as they were, {refused} were refused as they should be, in {:.1} s",
        kinds.len(),
        begin.elapsed().as_secs_f64()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The profile of the server, as the host asks for it.
fn profile(database: &Database) -> Profile {
    let catalogue = Catalogue::read(&database.query(&catalogue_sql()));
    catalogue.profile(&database.query(&catalogue.ranges_sql()), true, true)
}

/// Writes and reads the cases of one kind; gives back how many were written, and how many refused.
fn check(
    database: &Database,
    profile: &Profile,
    index: usize,
    kind: &Kind,
    cases: &[Case],
) -> Result<(usize, usize), String> {
    let all: Vec<usize> = (0..cases.len()).collect();
    let (_, failed) = encode(kind, profile, cases, &all);
    let failed: Vec<usize> = failed.into_iter().map(|(row, _)| row).collect();
    for (row, case) in cases.iter().enumerate() {
        let is_refused = failed.binary_search(&row).is_ok();
        if is_refused != case.expected.is_none() {
            let verb = if is_refused { "was refused" } else { "was not refused" };
            return Err(format!("{} {verb}", case.json));
        }
    }
    let good: Vec<usize> = all.into_iter().filter(|row| failed.binary_search(row).is_err()).collect();
    let (body, _) = encode(kind, profile, cases, &good);
    database.query(&format!("CREATE TABLE k{index} (id UInt32, x {}) ENGINE = Memory", kind.ty));
    let insert = format!(
        "{}/?database={}&query=INSERT+INTO+k{index}+FORMAT+Native",
        database.server.url(),
        database.name
    );
    post(&insert, &body)?;
    let found = database.lines(&format!(
        "SELECT {} FROM k{index} ORDER BY id SETTINGS output_format_decimal_trailing_zeros = 1 FORMAT TSVRaw",
        kind.shown
    ));
    database.query(&format!("DROP TABLE k{index}"));
    if found.len() != good.len() {
        return Err(format!("{} values were written, {} came back", good.len(), found.len()));
    }
    for (row, found) in good.iter().zip(&found) {
        let case = &cases[*row];
        if case.expected.as_ref() != Some(found) {
            return Err(format!("{} came back as {found}, not as {:?}", case.json, case.expected));
        }
    }
    Ok((good.len(), failed.len()))
}

/// The cases of these rows as a block.
fn encode(kind: &Kind, profile: &Profile, cases: &[Case], rows: &[usize]) -> (Vec<u8>, Vec<(usize, String)>) {
    let ty = ColumnType::parse(&kind.ty).expect("a type");
    let id = ColumnType::parse("UInt32").expect("a type");
    let mut block = Block::new(Encoding { profile, decode }, 2, rows.len());
    block.column("id", &id, rows.iter().map(|row| Ok(Value::Int(*row as i64))));
    block.column("x", &ty, rows.iter().map(|row| decode(&kind.wire, &cases[*row].json)));
    block.finish()
}

/// The type that the host would create a column of.
fn created(wire: &Wire, nullable: bool, profile: &Profile) -> String {
    ddl::column_type(wire, nullable, profile).to_string()
}
