//! Transforms from a registry: fetched by digest once, and kept.

use std::fs;

use crate::support::minisign::SigningKey;
use crate::support::{Ended, Host, OciRegistry, places};

const USAGE: i32 = 2;
const ENVIRONMENT: i32 = 3;

fn component() -> Vec<u8> {
    fs::read(places::transform("all_changes")).expect("it is built")
}

fn from_fixture(transform: &str) -> Host {
    Host::from_file(places::fixture("simple.ndjson")).args(["--transform", transform])
}

fn state() -> String {
    places::new_folder().to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_transform_from_a_registry_makes_the_rows_of_its_file_and_does_so_while_the_registry_is_down() {
    let registry = OciRegistry::new();
    let reference = registry.push(&component());
    let of_file = from_fixture(&places::transform("all_changes")).succeed();
    let state = state();
    let again = || from_fixture(&reference).args(["--state-dir", &state]);
    let first = again().succeed();
    assert_eq!(first.out, of_file.out);
    assert!(first.counters().rows > 0);
    assert!(first.err.contains("transform fetched from its registry"), "{}", first.err);

    drop(registry);
    let second = again().succeed();
    assert_eq!(second.out, of_file.out);
    assert!(!second.err.contains("transform fetched"), "{}", second.err);
    let looked = |command: &'static str| {
        let host = Host::new().args([command, "--transform", &reference, "--state-dir", &state]);
        let input = places::fixture("simple.ndjson");
        host.args(["--output", "-", "--input", input.to_str().expect("UTF-8")]).succeed().out
    };
    let inspected = Host::new().args(["inspect", &places::transform("all_changes")]).succeed().out;
    let digest = inspected.lines().find_map(|line| line.strip_prefix("sha256 ")).expect("it is told").trim();
    let expected = format!("{reference}, sha256:{digest}");
    for command in ["validate", "doctor"] {
        let said = looked(command);
        assert!(said.contains(&expected), "{command}: {said}");
    }

    // What is kept counts only if it is what the reference names; and elsewhere nothing is kept.
    let kept = format!("{state}/components/{digest}.blob");
    let mut changed = fs::read(&kept).expect("it is kept");
    changed[100] ^= 1;
    fs::write(&kept, changed).expect("this user's");
    let ended = again().run();
    assert!(ended.err.contains("is not used, and fetched again: it is damaged"), "{}", ended.err);
    let host = reference.trim_start_matches("oci://").split('/').next().expect("it has a host");
    ended.fails(ENVIRONMENT, &[&reference, &format!("the registry at http://{host}/"), "is it up"]);
}

#[test]
fn a_registry_that_asks_for_a_user_is_told_the_one_of_the_configuration_and_no_log_is() {
    let registry = OciRegistry::with_a_user();
    let reference = registry.push(&component());
    let host = |password: &str| {
        let host = from_fixture(&reference).arg("-vvv").args(["--state-dir", &state()]);
        host.env("ROWGATE_OCI_USER", "me").env("ROWGATE_OCI_PASSWORD", password)
    };
    let refused = |ended: &Ended| {
        ended.fails(ENVIRONMENT, &["it refuses the host with status 401", "oci.user and oci.password_file"]);
    };
    refused(&from_fixture(&reference).run());
    refused(&host("hunter3").run());
    let ended = host("hunter2").succeed();
    assert!(ended.counters().rows > 0);
    for secret in ["hunter2", "bWU6aHVudGVyMg"] {
        assert!(!ended.err.contains(secret), "{}", ended.err);
    }
}

#[test]
fn what_the_reference_does_not_name_or_what_is_no_component_never_runs() {
    let registry = OciRegistry::new();
    let reference = registry.push(&component());
    let run = |reference: &str, more: &[&str]| from_fixture(reference).args(more.iter().copied()).run();
    let (place, digest) = reference.split_once('@').expect("it has a digest");
    run(&format!("{place}:latest"), &[]).fails(USAGE, &["names no digest", "end it with @sha256:"]);
    let other = format!("sha256:{}", "0".repeat(64));
    run(&format!("{place}@{other}"), &[]).fails(USAGE, &[&format!("it has no {other} in `team/rules`")]);
    let elsewhere = format!("{place}/x@{digest}");
    run(&elsewhere, &[]).fails(USAGE, &[&elsewhere, "in `team/rules/x`"]);
    let [image, list] = registry.push_image();
    run(&image, &[]).fails(USAGE, &[&image, "is no component", "vnd.oci.image.config", "wkg oci push"]);
    run(&list, &[]).fails(USAGE, &["is a list of manifests"]);
    let no_wasm = registry.push(b"no component");
    run(&no_wasm, &[]).fails(USAGE, &[&no_wasm, "not WebAssembly"]);
    // The digest of the component itself is another one than that of its manifest.
    run(&reference, &["--transform-digest", digest]).fails(USAGE, &["and `transform_digest` says"]);
    let key = SigningKey::new([1; 8]).public();
    run(&reference, &["--transform-key", &key]).fails(USAGE, &["no signature is looked for in a registry"]);
    run(&reference, &["--watch"]).fails(USAGE, &["there is no file to watch"]);

    registry.corrupt(&component());
    run(&reference, &[]).fails(ENVIRONMENT, &[&reference, "it was asked for sha256:", "and sends what is"]);
}
