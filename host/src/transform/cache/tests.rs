//! What is kept is used; what anyone else could have put there is not.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::transform::BUILT_IN;
use crate::transform::compile::{CompileLimits, Compiler, Compiling, precompile, turn};

/// More than the built-in transform has.
const MAX_BYTES: u64 = 1 << 20;

/// A state directory with the native code of the built-in transform in it.
struct Kept {
    dir: tempfile::TempDir,
    engine: Engine,
    identity: Identity,
}

impl Kept {
    fn new() -> Self {
        let (dir, engine) = (tempfile::tempdir().unwrap(), Engine::new(1).unwrap());
        let identity = Identity::of(&engine, BUILT_IN);
        let kept = Kept { dir, engine, identity };
        kept.load();
        assert!(kept.is_used());
        kept
    }

    fn cache(&self) -> Cache {
        Cache::new(Some(self.dir.path()))
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("compiled").join(&self.identity.file)
    }

    fn key_file(&self) -> PathBuf {
        self.dir.path().join("compiled").join(KEY_FILE)
    }

    /// As a start of a host does.
    fn load(&self) {
        let compiling = Compiling { compiler: Compiler::ThisProcess, cache: self.cache() };
        compiling.component(&self.engine, BUILT_IN, CompileLimits::SMALL).unwrap();
    }

    fn read(&self, max_bytes: u64) -> Result<Option<Code>> {
        read(&self.dir.path().join("compiled"), &self.identity, max_bytes)
    }

    fn is_used(&self) -> bool {
        self.cache().load(&self.identity, MAX_BYTES).is_some()
    }

    /// Why what is there does not count; and that the next start replaces it with what does.
    fn is_replaced(&self) -> String {
        let why = self.read(MAX_BYTES).err().expect("it must not count");
        assert!(!self.is_used());
        self.load();
        assert!(self.is_used(), "{why:#}");
        format!("{why:#}")
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_is_kept_is_this_users_alone() {
    let kept = Kept::new();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(kept.file().parent().unwrap()), mode(&kept.file()), mode(&kept.key_file())),
        (0o700, 0o600, 0o600)
    );
    assert_eq!(fs::read(kept.key_file()).unwrap().len(), KEY_BYTES);
}

/// Waits until a thread of this process waits.
fn until_it_waits(thread: rustix::process::RawPid) {
    let begin = std::time::Instant::now();
    let stat = format!("/proc/self/task/{thread}/stat");
    while !fs::read_to_string(&stat).unwrap().rsplit(')').next().unwrap().starts_with(" S") {
        assert!(begin.elapsed().as_secs() < 30, "it goes on");
        std::thread::yield_now();
    }
}

#[test]
fn who_waited_for_the_turn_to_compile_uses_what_was_compiled_meanwhile() {
    use std::os::unix::fs::MetadataExt as _;
    let (dir, engine) = (tempfile::tempdir().unwrap(), Engine::new(1).unwrap());
    let kept = Kept { identity: Identity::of(&engine, BUILT_IN), dir, engine };
    let code = Code::copied(&*precompile(&kept.engine.inner, BUILT_IN).unwrap()).unwrap();
    let (turn, _) = turn();
    let inode = || fs::metadata(kept.file()).unwrap().ino();
    let saved = std::thread::scope(|scope| {
        let (send, receive) = std::sync::mpsc::channel();
        for _ in 0..3 {
            let (send, kept) = (send.clone(), &kept);
            scope.spawn(move || {
                send.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
                kept.load();
            });
        }
        receive.iter().take(3).for_each(until_it_waits);
        kept.cache().save(&kept.identity, &code);
        let saved = inode();
        drop(turn);
        saved
    });
    assert_eq!(inode(), saved, "compiled again");
}

#[test]
fn no_byte_of_a_file_can_change_and_none_be_missing() {
    let kept = Kept::new();
    let whole = fs::read(kept.file()).unwrap();
    let head = kept.identity.header.len() + 1;
    for at in [0, head - 1, head, head + MAC_BYTES - 1, head + MAC_BYTES, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(kept.file(), &changed).unwrap();
        kept.is_replaced();
        fs::write(kept.file(), &whole[..at]).unwrap();
        kept.is_replaced();
    }
    fs::write(kept.file(), [&whole[..], b"x"].concat()).unwrap();
    assert_eq!(kept.is_replaced(), "its MAC is wrong");
}

#[test]
fn what_has_more_native_code_than_the_profile_allows_is_not_loaded() {
    let kept = Kept::new();
    let bytes = kept.read(MAX_BYTES).unwrap().unwrap().bytes();
    assert_eq!(kept.read(bytes).unwrap().unwrap().bytes(), bytes);
    let why = format!("{:#}", kept.read(bytes - 1).err().expect("it must not count"));
    assert_eq!(why, format!("its {bytes} bytes of native code are for another profile only"));
}

#[test]
fn code_with_a_mac_by_another_key_or_of_another_component_is_compiled_again() {
    let (kept, other) = (Kept::new(), Kept::new());
    fs::copy(other.file(), kept.file()).unwrap();
    assert_eq!(kept.is_replaced(), "its MAC is wrong");
    // Under its own key, but in the place of another.
    let identity = Identity::of(&kept.engine, b"another component");
    fs::copy(kept.file(), kept.dir.path().join("compiled").join(&identity.file)).unwrap();
    assert!(kept.cache().load(&identity, MAX_BYTES).is_none());
    fs::remove_file(kept.key_file()).unwrap();
    assert_eq!(kept.is_replaced(), "there is no key that it could have a MAC by");
}

#[test]
fn links_pipes_and_files_that_others_may_use_are_compiled_again() {
    let kept = Kept::new();
    let elsewhere = kept.dir.path().join("elsewhere");
    fs::rename(kept.file(), &elsewhere).unwrap();
    symlink(&elsewhere, kept.file()).unwrap();
    assert_eq!(kept.is_replaced(), "it is a symbolic link");
    assert!(elsewhere.exists() && !kept.file().is_symlink(), "the link is replaced, not what it points to");
    fs::remove_file(kept.file()).unwrap();
    assert!(
        std::process::Command::new("mkfifo").args(["-m", "600"]).arg(kept.file()).status().unwrap().success()
    );
    assert_eq!(kept.is_replaced(), "it is no file");
    for rights in [0o640, 0o620, 0o604, 0o602] {
        mode(&kept.file(), rights);
        assert_eq!(kept.is_replaced(), format!("others may use it (mode {rights:o})"));
    }
}

#[test]
fn a_key_that_others_could_read_is_replaced_and_nothing_that_was_made_with_it_counts() {
    let kept = Kept::new();
    let known = fs::read(kept.key_file()).unwrap();
    mode(&kept.key_file(), 0o644);
    assert_eq!(kept.is_replaced(), "the key: others may use it (mode 644)");
    assert_ne!(fs::read(kept.key_file()).unwrap(), known);
    fs::write(kept.key_file(), b"short").unwrap();
    assert_eq!(kept.is_replaced(), "the key: it is cut off");
}

#[test]
fn a_folder_that_others_may_write_to_or_that_is_a_link_is_not_used() {
    let kept = Kept::new();
    let folder = kept.dir.path().join("compiled");
    mode(&folder, 0o770);
    kept.load();
    assert!(!kept.is_used());
    mode(&folder, 0o700);
    assert!(kept.is_used());
    let elsewhere = kept.dir.path().join("elsewhere");
    fs::rename(&folder, &elsewhere).unwrap();
    symlink(&elsewhere, &folder).unwrap();
    kept.load();
    assert!(!kept.is_used());
}

#[test]
fn two_hosts_that_make_the_key_at_once_have_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::create(dir.path()).unwrap();
    let keys: Vec<_> = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    folder.add(KEY_FILE, &[fastrand::u8(..); KEY_BYTES][..]).map(|()| key(&folder).unwrap())
                })
            })
            .collect();
        makers.into_iter().map(|maker| maker.join().unwrap().unwrap()).collect()
    });
    assert!(keys[0].is_some() && keys.iter().all(|key| *key == keys[0]));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_was_not_used_for_longest_is_removed_when_all_are_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::create(dir.path()).unwrap();
    let used_ago = |name: &str, seconds: u64| {
        let file = fs::File::options().append(true).open(dir.path().join(name)).unwrap();
        file.set_modified(SystemTime::now() - std::time::Duration::from_secs(seconds)).unwrap();
    };
    for (name, ago) in
        [("a.cwasm", 30), ("b.cwasm", 50), ("c.cwasm", 10), ("key", 9000), (".1.tmp", 20), (".2.tmp", 9000)]
    {
        folder.replace(name, &b"ten bytes!"[..]).unwrap();
        used_ago(name, ago);
    }
    folder.prune(ENDING, 29).unwrap();
    let left = || {
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(left(), [".1.tmp", "a.cwasm", "c.cwasm", "key"]);
    folder.prune(ENDING, 20).unwrap();
    assert_eq!(left().len(), 4);
    folder.prune(ENDING, 0).unwrap();
    assert_eq!(left(), [".1.tmp", "key"]);
}

#[test]
fn without_a_state_directory_nothing_is_kept_and_nothing_fails() {
    let engine = Engine::new(1).unwrap();
    Compiling::default().component(&engine, BUILT_IN, CompileLimits::SMALL).unwrap();
    assert!(Cache::default().load(&Identity::of(&engine, BUILT_IN), MAX_BYTES).is_none());
}
