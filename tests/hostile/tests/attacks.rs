//! Each known attack ends as it must, and the host lives.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use attacks::table::{ATTACKS, Attack, Must, PEACEFUL, Source};
use attacks::trial::{Changes, End, load};
use host::config::SandboxLimits;
use host::transform::compile::Compiling;
use host::transform::sandbox::Sandbox;

fn sandbox() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| Sandbox::alone(Compiling::default()).expect("an engine"))
}

/// What is wrong with how an attack ended; nothing where all is well.
fn wrong(attack: &Attack) -> Option<String> {
    let name = attack.name;
    let loaded = load(sandbox(), &attack.component(), Some(name), SandboxLimits::default());
    let end = match loaded {
        Err(reason) => End::Refused(reason),
        Ok(transform) => Changes::new(1).through(&transform),
    };
    let right = match (&attack.end, &end) {
        (Must::Refused(text), End::Refused(reason)) => reason.contains(text),
        (Must::Fail(text), End::Ran { done: 0, reasons }) => {
            reasons.iter().all(|reason| reason.contains(text))
        }
        (Must::Pass, End::Ran { reasons, .. }) => reasons.is_empty(),
        _ => false,
    };
    (!right).then(|| format!("{name} must {:?}, and {end:?}", attack.end))
}

fn all_of(numbers: &[u8]) {
    let of = ATTACKS.iter().filter(|attack| numbers.contains(&attack.number));
    let wrong: Vec<String> = of.filter_map(wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn computing_without_end_is_stopped_wherever_the_code_runs() {
    all_of(&[1, 16]);
}

#[test]
fn memory_tables_and_stack_are_bounded() {
    all_of(&[2, 4]);
}

#[test]
fn what_is_logged_or_returned_is_bounded_and_checked() {
    all_of(&[5, 6, 7, 8, 9, 10, 15]);
}

#[test]
fn a_transform_that_changes_its_mind_or_fails_fails_its_changes() {
    all_of(&[12, 13]);
}

#[test]
fn what_is_no_transform_is_refused_with_the_reason() {
    all_of(&[18]);
}

#[test]
fn every_component_that_misbehaves_is_an_attack_and_every_attack_has_its_component() {
    let of = |source: fn(&Source) -> bool| {
        let attacks = ATTACKS.iter().filter(move |attack| source(&attack.source));
        attacks.map(|attack| attack.name)
    };
    let modes: BTreeSet<&str> = hostile::MODES.iter().map(|(name, _)| *name).collect();
    let tried: BTreeSet<&str> = of(|source| matches!(source, Source::Mode)).chain(PEACEFUL).collect();
    assert_eq!(tried, modes);

    let folder = attacks::root().join("tests/guests/examples");
    let files = folder.read_dir().expect("the examples").map(|file| file.expect("a file").path());
    let files: BTreeSet<String> =
        files.map(|file| file.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
    // The one that takes a mode.
    let tried = of(|source| matches!(source, Source::Example)).chain(["hostile"]).map(str::to_owned);
    assert_eq!(tried.collect::<BTreeSet<_>>(), files);

    let mut names = BTreeSet::new();
    assert!(ATTACKS.iter().all(|attack| names.insert(attack.name)), "names are unique");
}
