//! Schema types, guesses, hints, computed columns: what is created for each.

use serde_json::json;

use super::{code, kind_name, meaning, table};
use crate::clickhouse::ddl::{column_type, computed_type};
use crate::clickhouse::policy::{OutOfRange, Policies};
use crate::clickhouse::profile::Profile;
use crate::clickhouse::types::ColumnType;
use crate::columns::Kind;
use crate::debezium::hints;
use crate::debezium::schema::{self, AS_THEIR_BASE, LOGICAL};
use crate::debezium::shape::{Guess, Wire};
use crate::debezium::value::decode;

/// What the created column cannot hold of what the source may send, and the policy for it.
fn misfits(ty: &ColumnType) -> String {
    let policies = Policies { out_of_range: OutOfRange::AsString, ..Policies::default() };
    // A column becomes text by this policy where its type has a range.
    let ranged = policies.created("t", "c", ty.clone()) != *ty;
    let words = match ty.bare() {
        ColumnType::Decimal { .. } => "more digits, NaN",
        ColumnType::Time64(_) => "beyond ±999:59:59",
        ColumnType::Array(_) | ColumnType::Map(..) => "the elements' own",
        _ if ranged => "range, infinite",
        _ => "",
    };
    assert_eq!(ranged, !matches!(words, "" | "the elements' own"), "{ty}");
    words.to_owned()
}

fn row(name: String, base: &str, wire: &Wire) -> Vec<String> {
    let nullable = [Profile::default(), Profile::oldest()].map(|profile| column_type(wire, true, &profile));
    let [kind, today, old] = meaning(wire);
    let nullable_old =
        if nullable[1] == nullable[0] { String::new() } else { code(&nullable[1].to_string()) };
    let misfits = misfits(&column_type(wire, false, &Profile::default()));
    vec![name, base.to_owned(), kind, today, code(&nullable[0].to_string()), old, nullable_old, misfits]
}

fn parsed(schema: &serde_json::Value) -> Wire {
    schema::wire(schema).unwrap_or_else(|what| panic!("{schema}: {what}"))
}

/// Schemas of decimals and bits differ by their parameters.
fn variants(name: &str, base: &str) -> Vec<(String, serde_json::Value)> {
    let with = |note: &str, parameters| {
        (format!("`{name}`{note}"), json!({"type": base, "name": name, "parameters": parameters}))
    };
    if name.ends_with(".Decimal") {
        let digits =
            |precision: &str, scale: &str| json!({"connect.decimal.precision": precision, "scale": scale});
        return vec![
            with(", 18 digits, 4 after the point", digits("18", "4")),
            with(", 60 digits, 10 after the point", digits("60", "10")),
            with(", 77 digits", digits("77", "0")),
            with(", scale 4, no precision", json!({"scale": "4"})),
            with(", scale 39, no precision", json!({"scale": "39"})),
            with(", scale -2", digits("5", "-2")),
        ];
    }
    vec![with("", json!({}))]
}

/// Every logical name that is known, then base types and what is made of them.
pub fn schemas() -> String {
    let mut rows = Vec::new();
    for logical in &LOGICAL {
        for (label, mut schema) in variants(logical.name, "") {
            let wires: Vec<Wire> = logical
                .bases
                .iter()
                .map(|base| {
                    schema["type"] = (*base).into();
                    parsed(&schema)
                })
                .collect();
            assert!(wires.windows(2).all(|pair| pair[0] == pair[1]), "{}", logical.name);
            rows.push(row(label, &codes(logical.bases), &wires[0]));
        }
    }
    for (name, base, _) in &AS_THEIR_BASE {
        rows.push(row(code(name), &code(base), &parsed(&json!({"type": base, "name": name}))));
    }
    let bases =
        ["boolean", "int8", "int16", "int32", "int64", "float", "double", "string", "bytes", "struct"];
    for base in bases {
        rows.push(row(String::new(), &code(base), &parsed(&json!({"type": base}))));
    }
    let text = json!({"type": "string"});
    let date = json!({"type": "int32", "name": "io.debezium.time.Date"});
    for (label, schema) in [
        ("`array` of `int32`", json!({"type": "array", "items": {"type": "int32"}})),
        ("`array` of `…time.Date`", json!({"type": "array", "items": date})),
        (
            "`array` of `array` of `string`",
            json!({"type": "array", "items": {"type": "array", "items": text}}),
        ),
        ("`map` of `string` to `int64`", json!({"type": "map", "keys": text, "values": {"type": "int64"}})),
        ("`map` of `int32` to `string`", json!({"type": "map", "keys": {"type": "int32"}, "values": text})),
    ] {
        rows.push(row(String::new(), label, &parsed(&schema)));
    }
    let vectors = [("io.debezium.data.DoubleVector", "double"), ("io.debezium.data.FloatVector", "float")];
    for (name, element) in vectors {
        let schema = json!({"type": "array", "name": name, "items": {"type": element}});
        rows.push(row(code(name), &format!("`array` of `{element}`"), &parsed(&schema)));
    }
    let heads = [
        "schema name",
        "base type",
        "kind",
        "column",
        "nullable",
        "2018: column",
        "2018: nullable",
        "may not fit",
    ];
    table(&heads, &rows)
}

/// Names as code, with commas.
fn codes(names: &[&str]) -> String {
    names.iter().map(|name| code(name)).collect::<Vec<_>>().join(", ")
}

/// What the values of a column without a schema look like.
pub fn guesses() -> String {
    use Guess::{BigInt, Bool, Float, Int, Json, Text, Unknown};
    let all = [Unknown, Bool, Int, BigInt, Float, Text, Json];
    let (name, sample) = (
        |guess| match guess {
            Unknown => "only nulls",
            Bool => "boolean",
            Int => "integer of 64 bits",
            BigInt => "longer integer",
            Float => "number with fraction or exponent",
            Text => "text",
            Json => "array, object",
        },
        |guess| match guess {
            Unknown => "null",
            Bool => "true",
            Int => "19782",
            BigInt => "18446744073709551615",
            Float => "1.5e-7",
            Text => "\"2024-01-31\"",
            Json => "[1,null]",
        },
    );
    let rows = all.map(|guess| {
        decode(&Wire::Guess(guess), sample(guess)).expect("a sample of its guess");
        let [kind, today, old] = meaning(&Wire::Guess(guess));
        vec![name(guess).to_owned(), code(sample(guess)), kind, today, old]
    });
    table(&["looks like", "such as", "kind", "column", "2018"], &rows)
}

/// Every form of a hint, with what stands for the words in capitals, and a value that it reads.
pub fn hints() -> String {
    let mut rows = Vec::new();
    for word in &hints::WORDS {
        for form in word.forms {
            let also = match word.also {
                Some(also) if form == &word.forms[0] => code(&form.replacen(word.word, also, 1)),
                _ => String::new(),
            };
            for unit in if form.contains("UNIT") { &["millis", "micros", "nanos"][..] } else { &[""] } {
                let example = form
                    .replace("UNIT", unit)
                    .replace("P,S", "10,2")
                    .replace("(P)", "(10)")
                    .replace("(N)", "(8)")
                    .replace("TYPE", "int64");
                let wire = hints::parse(&example).unwrap_or_else(|what| panic!("{example}: {what}"));
                let [kind, today, old] = meaning(&wire);
                let samples = sample(&example);
                for sample in samples {
                    decode(&wire, sample).unwrap_or_else(|what| panic!("{example} {sample}: {what}"));
                }
                rows.push(vec![code(&example), also.clone(), codes(samples), kind, today, old]);
            }
        }
    }
    table(&["hint", "also", "reads", "kind", "column", "2018"], &rows)
}

/// Values that a hint reads.
fn sample(hint: &str) -> &'static [&'static str] {
    match hint {
        "bool" => &["true"],
        "uint64" => &["-1"],
        "float32" | "float64" => &["1.5", "\"NaN\""],
        "text" => &["\"x\""],
        "json" => &["\"{\\\"a\\\":1}\"", "{\"a\":1}"],
        "uuid" => &["\"11111111-2222-3333-4444-555555555555\""],
        "date" => &["19782"],
        "date iso" => &["\"2024-02-29Z\"", "\"2024-02-29\""],
        "time(millis)" => &["45296789"],
        "time(micros)" => &["45296789012"],
        "time(nanos)" => &["45296789012000"],
        "timestamp(millis)" => &["1709251199999"],
        "timestamp(micros)" => &["1709251199999999"],
        "timestamp(nanos)" => &["1709251199999999000"],
        "timestamp iso" => &["\"2024-02-29T23:59:59.999Z\"", "\"2024-02-29T23:59:59+02:00\""],
        "decimal" => &["\"12.50\"", "12.5", "\"NAN\"", "{\"scale\":1,\"value\":\"fQ==\"}"],
        "decimal(10)" => &["\"12\"", "12"],
        "decimal(10,2)" => &["\"12.50\"", "12.5"],
        "decimal(10,2) base64" => &["\"BOI=\""],
        "bytes" | "bytes base64" => &["\"3q2+7w==\""],
        "bytes base64url" => &["\"3q2-7w==\""],
        "bytes hex" => &["\"deadbeef\""],
        "bits(8)" => &["\"qg==\""],
        "array(int64)" => &["[1,null]"],
        "map(int64)" => &["{\"a\":1}"],
        _ => &["1"],
    }
}

/// What stands between two marks of the document.
fn between(begin: &str, end: &str) -> String {
    let document = super::document();
    let (_, rest) = document.split_once(begin).expect("the beginning");
    rest.split_once(end).expect("the end").0.to_owned()
}

#[test]
fn the_grammar_of_hints_has_the_forms_of_the_parser_and_no_others() {
    let grammar = between("```text\nTYPE  =", "UNIT  =").replace('\n', " ");
    let documented: Vec<&str> = grammar.split('|').map(str::trim).collect();
    let forms: Vec<&str> = hints::WORDS.iter().flat_map(|word| word.forms).copied().collect();
    assert_eq!(documented, forms);
}

#[test]
fn the_examples_of_hints_are_hints() {
    let lines = between("```yaml\ncolumns:\n", "```");
    assert!(lines.lines().count() > 3);
    for line in lines.lines() {
        let (name, ty) =
            line.split('#').next().unwrap_or_default().split_once(": ").expect("a name and a type");
        let mut hints = hints::Hints::default();
        hints.add(name.trim().trim_matches('"'), ty.trim()).unwrap_or_else(|what| panic!("{line}: {what}"));
    }
}

/// Columns that the transform computes, without a target type.
pub fn computed() -> String {
    let kinds = [
        Kind::Boolean,
        Kind::Int,
        Kind::Float,
        Kind::Decimal,
        Kind::Text,
        Kind::Json,
        Kind::Bytes,
        Kind::Date,
        Kind::Time,
        Kind::Timestamp,
    ];
    let rows = kinds.map(|kind| {
        let [today, old] =
            [Profile::default(), Profile::oldest()].map(|profile| computed_type(kind, false, &profile));
        let old = if old == today { String::new() } else { code(&old.to_string()) };
        vec![kind_name(kind).to_owned(), code(&today.to_string()), old]
    });
    table(&["kind", "column", "2018"], &rows)
}
