//! What a component costs before it runs: compiling is bounded and happens elsewhere, and native code is kept and
//! cannot be planted.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use attacks::{bombs, forge};

use crate::support::{Ended, Host, host, places};

const USAGE: i32 = 2;
/// By how much compiling may raise the host's memory, KiB.
const RISE_KIB: u64 = 10 << 10;
const SIGABRT: i32 = 6;
const SIGXCPU: i32 = 24;
/// What the profile `small` allows of native code, MiB.
const CODE_MIB: u32 = 8;
/// So many functions of `forge::with_functions` have a little less than the native code that `small` allows.
const FITS: usize = 430;

/// Checks a transform, as a run does at its start: how that ended, and the most memory that the host had, KiB.
fn validate(component: &[u8]) -> (Ended, u64) {
    let file = places::file("transform.wasm", component);
    let host = Host::new().args(["validate", "--transform", &file]).start();
    let mut peak_kib = 0;
    while let Some(kib) = host.peak_kib() {
        peak_kib = kib;
    }
    (host.wait(), peak_kib)
}

#[test]
fn what_a_component_costs_to_compile_does_not_cost_the_host() {
    let reason = "its functions have other types";
    let (ended, harmless_kib) = validate(&bombs::harmless());
    ended.fails(USAGE, &[reason]);
    let (ended, peak_kib) = validate(&bombs::bearable());
    ended.fails(USAGE, &[reason]);
    assert!(peak_kib < harmless_kib + RISE_KIB, "{peak_kib} KiB, and {harmless_kib} of a harmless one");
}

/// The child process by which the host compiles, with limits of our own.
fn worker(component: &[u8], memory_mib: u32, cpu_s: u32) -> Output {
    let input = File::open(places::file("component.wasm", component)).expect("it was just made");
    let mut command = Command::new(host::binary());
    command.args(["compile-worker", "--memory-mib", &memory_mib.to_string(), "--cpu-s", &cpu_s.to_string()]);
    // That one is for files, and it writes to a pipe here.
    command.args(["--code-mib", &CODE_MIB.to_string()]);
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("it starts")
}

#[test]
fn each_kind_of_costly_component_meets_a_limit() {
    for bomb in bombs::all() {
        let ended = worker(&bomb.component, 400, 2);
        let words = String::from_utf8_lossy(&ended.stderr);
        match ended.status.signal() {
            Some(SIGABRT) => assert!(words.contains("memory allocation of"), "{}: {words}", bomb.name),
            Some(SIGXCPU) => {}
            _ => panic!("{}: {:?}, {words}", bomb.name, ended.status),
        }
        assert!(ended.stdout.is_empty(), "{}", bomb.name);
    }
}

#[test]
fn the_shipped_transforms_compile_far_below_the_limits() {
    for transform in ["update_only", "all_changes", "mirror", "audit"] {
        let component = fs::read(places::transform(transform)).expect("it is built");
        let ended = worker(&component, 384, 10);
        assert!(ended.status.success(), "{transform}: {}", String::from_utf8_lossy(&ended.stderr));
        assert!(ended.stdout.starts_with(b"\x7fELF"), "{transform}");
        assert!(ended.stdout.len() < (CODE_MIB << 20) as usize / 4, "{transform}: {}", ended.stdout.len());
    }
}

#[test]
fn native_code_costs_the_host_nothing_up_to_the_profiles_limit_and_beyond_it_is_refused() {
    let fits = forge::with_functions(FITS);
    let bytes = worker(&fits, 768, 20).stdout.len() as u64;
    let most = u64::from(CODE_MIB) << 20;
    assert!((most * 9 / 10..=most).contains(&bytes), "{bytes} bytes");
    let (ended, harmless_kib) = validate(&forge::with_functions(1));
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let (ended, peak_kib) = validate(&fits);
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(peak_kib < harmless_kib + RISE_KIB, "{peak_kib} KiB, and {harmless_kib} with hardly any code");

    let larger = forge::with_functions(FITS * 6 / 5);
    let (ended, peak_kib) = validate(&larger);
    ended.fails(USAGE, &["it is too expensive to compile: its native code has more than 8 MiB"]);
    assert!(peak_kib < harmless_kib + RISE_KIB, "{peak_kib} KiB, and {harmless_kib} with hardly any code");
}

/// A state directory, in which a host has run the transform that is built in.
fn warm() -> (PathBuf, PathBuf) {
    let state = places::new_folder();
    assert!(!run(&state).err.contains("native code"), "nothing was planted");
    let code =
        fs::read_dir(state.join("compiled")).expect("it is kept").map(|entry| entry.expect("it can be read"));
    let mut code =
        code.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "cwasm"));
    let only = code.next().expect("it is kept");
    assert_eq!(code.next(), None);
    (state, only)
}

/// Runs the transform that is built in.
fn run(state: &Path) -> Ended {
    let host = Host::from_file(places::fixture("simple.ndjson"));
    let ended = host.args(["-v", "--state-dir", state.to_str().expect("UTF-8")]).succeed();
    assert_eq!(ended.counters().rows, 2);
    ended
}

/// Whether it was compiled, and the warning.
fn told(ended: &Ended) -> (bool, Option<&str>) {
    let warning = ended.err.lines().find(|line| line.contains(" WARN ") && line.contains("native code"));
    (ended.err.contains("component compiled"), warning)
}

#[test]
fn the_second_start_compiles_nothing() {
    let (state, _) = warm();
    assert_eq!(told(&run(&state)), (false, None));
}

#[test]
fn native_code_that_someone_else_may_have_put_there_is_compiled_again_and_warned_of() {
    let (state, code) = warm();
    let whole = fs::read(&code).expect("it is kept");
    let planted = |plant: &dyn Fn(), why: &str| {
        plant();
        let ended = run(&state);
        let (compiled, warning) = told(&ended);
        assert!(compiled && warning.is_some_and(|warning| warning.contains(why)), "{why}: {ended:?}");
        assert_eq!(told(&run(&state)), (false, None), "{why}: it is replaced");
    };
    let (_, others) = warm();
    planted(&|| _ = fs::copy(&others, &code).expect("a copy"), "its MAC is wrong");
    let mut changed = whole.clone();
    *changed.last_mut().expect("it has bytes") ^= 1;
    planted(&|| fs::write(&code, &changed).expect("it is this user's"), "its MAC is wrong");
    planted(&|| fs::write(&code, &whole[..200]).expect("it is this user's"), "");
    let link = || {
        let elsewhere = state.join("elsewhere");
        fs::rename(&code, &elsewhere).expect("it is this user's");
        symlink(&elsewhere, &code).expect("a link");
    };
    planted(&link, "it is a symbolic link");
    let share = || fs::set_permissions(&code, fs::Permissions::from_mode(0o660)).expect("it is this user's");
    planted(&share, "others may use it (mode 660)");
}
