//! Only a transform of the right origin runs: the one that the configuration pins, or one that was signed as what is to
//! run, and no older one than has run before.

use std::fs;

use crate::support::minisign::SigningKey;
use crate::support::{Ended, Host, places};

const USAGE: i32 = 2;

/// A transform's file with a signature beside it, and the folder in which the host keeps its state.
struct Signed {
    key: SigningKey,
    file: String,
    state: String,
}

impl Signed {
    fn new() -> Self {
        let component = fs::read(places::transform("all_changes")).expect("it is built");
        let state = places::new_folder().to_str().expect("UTF-8").to_owned();
        Signed { key: SigningKey::new([1; 8]), file: places::file("rule.wasm", component), state }
    }

    fn sign(&self, by: &SigningKey, comment: &str) {
        let component = fs::read(&self.file).expect("it is there");
        fs::write(format!("{}.minisig", self.file), by.sign(&component, comment)).expect("a file");
    }

    fn host(&self) -> Host {
        Host::from_file(places::fixture("simple.ndjson"))
            .args(["--name", "orders", "--transform", &self.file, "--state-dir", &self.state])
            .args(["--transform-key", &self.key.public()])
    }

    /// Runs what is signed so.
    fn run(&self, comment: &str) -> Ended {
        self.sign(&self.key, comment);
        self.host().run()
    }
}

fn succeeds(ended: &Ended) {
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.counters().rows > 0);
}

#[test]
fn a_signed_transform_runs_and_an_older_version_of_it_never_again() {
    let signed = Signed::new();
    succeeds(&signed.run("name:orders version:1.4"));
    succeeds(&signed.run("name:orders version:1.10"));
    signed.run("name:orders version:1.9").fails(
        USAGE,
        &["rule.wasm", "it is of version 1.9, and this pipeline has run 1.10", "higher version"],
    );
    succeeds(&signed.run("name:orders version:1.10"));
    // Another pipeline has not run it, and it is signed for this one.
    signed.sign(&signed.key, "name:orders version:1.9");
    let other = || signed.host().set("--name", "other");
    other().run().fails(
        USAGE,
        &["it is signed as transform `orders`, and this pipeline runs `other`", "transform_name"],
    );
    succeeds(&other().args(["--transform-name", "orders"]).run());
}

#[test]
fn looking_at_a_transform_and_trying_it_does_not_count_as_having_run_it() {
    let signed = Signed::new();
    signed.sign(&signed.key, "name:orders version:2");
    signed.host().arg("--dry-run").succeed();
    let settings =
        ["--transform-key", &signed.key.public(), "--state-dir", &signed.state, "--name", "orders"];
    Host::new().args(["validate", "--transform", &signed.file]).args(settings).succeed();
    succeeds(&signed.run("name:orders version:1"));
}

#[test]
fn a_transform_that_is_not_signed_or_by_another_key_or_was_changed_is_refused_before_anything_reads_it() {
    let signed = Signed::new();
    // Not even WebAssembly: the signature is looked at first.
    fs::write(&signed.file, "no component").expect("a file");
    signed.host().run().fails(USAGE, &["rule.wasm", "it is not signed"]);
    signed.sign(&SigningKey::new([2; 8]), "name:orders version:1");
    signed
        .host()
        .run()
        .fails(USAGE, &["it is signed by key 0202020202020202, which is none of `transform_key`"]);
    // By another key that takes the name of one that is trusted.
    signed.sign(&SigningKey::new([1; 8]), "name:orders version:1");
    signed.host().run().fails(USAGE, &["its signature by key 0101010101010101 is wrong"]);
    signed.sign(&signed.key, "name:orders version:1");
    fs::write(&signed.file, "another one").expect("a file");
    signed.host().run().fails(USAGE, &["its signature by key 0101010101010101 is wrong"]);
    fs::write(format!("{}.minisig", signed.file), "none").expect("a file");
    signed.host().run().fails(USAGE, &["its signature is none of minisign"]);
}

#[test]
fn a_transform_with_another_digest_than_the_pinned_one_is_refused() {
    let file = places::transform("all_changes");
    let inspected = Host::new().args(["inspect", &file, "--json"]).succeed();
    let inspected: serde_json::Value = serde_json::from_str(&inspected.out).expect("JSON");
    let digest = format!("sha256:{}", inspected["sha256"].as_str().expect("a digest"));
    let host = |digest: &str| {
        Host::from_file(places::fixture("simple.ndjson")).args([
            "--transform",
            &file,
            "--transform-digest",
            digest,
        ])
    };
    host(&digest).succeed();
    let other = format!("sha256:{}", "0".repeat(64));
    host(&other)
        .run()
        .fails(USAGE, &["all_changes.wasm", &format!("it is {digest}, and `transform_digest` says {other}")]);
}

#[test]
fn inspect_tells_who_signed_as_what_and_whether_that_is_right() {
    let signed = Signed::new();
    let told = |arguments: &[&str]| {
        let ended = Host::new().args(["inspect", &signed.file]).args(arguments.iter().copied()).succeed();
        let line = ended.out.lines().find_map(|line| line.strip_prefix("signature "));
        line.expect("it is told").to_owned()
    };
    assert_eq!(told(&[]), "none");
    signed.sign(&signed.key, "name:orders version:1.4");
    let says = "key 0101010101010101, name orders, version 1.4";
    assert_eq!(told(&[]), format!("not checked, for no --key is given: {says}"));
    assert_eq!(told(&["--key", &signed.key.public()]), format!("good: {says}"));
    let other = SigningKey::new([1; 8]).public();
    assert!(told(&["--key", &other]).starts_with("bad: its signature by key 0101010101010101 is wrong"));
}

#[test]
fn where_what_has_run_cannot_be_known_nothing_runs() {
    let signed = Signed::new();
    succeeds(&signed.run("name:orders version:1"));
    fs::write(format!("{}/versions/orders.json", signed.state), "{").expect("this user's");
    signed.host().run().fails(3, &["versions/orders.json", "it is damaged"]);
}
