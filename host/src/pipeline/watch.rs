//! Watching a transform's file: what it becomes is deployed. Whatever it becomes, the transform that runs goes on until
//! another one is ready.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result};

use super::control::{Candidate, Control};
use crate::config::Component;
use crate::error::{Classify, Exit, exit_of};
use crate::origin;
use crate::pins::deployed::By;
use crate::signal::{Hangups, Shutdown};
use crate::transform::{describe, digest};

/// How often the file is looked at. A file that changed is taken when it is the same at the next look.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After so long a component is tried again that something around the host kept from running.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Watches the file of the pipeline's transform, on a thread that ends after `shutdown`. A SIGHUP is a look at once,
/// which takes the file for whole.
///
/// # Errors
/// The operating system refuses the thread.
pub fn start(control: &Control, hangups: &Hangups, shutdown: &Shutdown) -> Result<()> {
    let Component::File(path) = control.settings().transform.clone() else { return Ok(()) };
    let (control, hangups, shutdown) = (control.clone(), hangups.clone(), shutdown.clone());
    let span = tracing::Span::current();
    let watching = move || {
        let _of = span.entered();
        let mut watch = Watch::new(control, path);
        let mut seen = 0;
        while !shutdown.is_requested() {
            let now = hangups.wait(&mut seen, LOOK_EVERY);
            watch.look(now);
        }
    };
    let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(watching);
    thread.map(drop).context("starting the thread that watches the transform").environment()
}

/// What tells that a file is another one, or was written to.
type Stamp = (SystemTime, u64, u64);
/// The same of a component's file and of its signature's, where there is one.
type Stamps = (Stamp, Option<Stamp>);

struct Watch {
    control: Control,
    path: PathBuf,
    /// The file as it was taken, or refused.
    known: Option<Stamps>,
    /// The file as the last look found it, where that was not `known`.
    changed: Option<Stamps>,
    /// The digest and the signature of what was refused.
    refused: Option<(String, Option<String>)>,
    /// When that is tried again, where the component was not at fault.
    again: Option<Instant>,
    /// What was said last of a file that cannot be taken.
    said: String,
}

impl Watch {
    fn new(control: Control, path: PathBuf) -> Self {
        let (known, changed, refused, again, said) = (None, None, None, None, String::new());
        Watch { control, path, known, changed, refused, again, said }
    }

    /// Looks at the file, and deploys what it became. `now`: also what may not be whole yet.
    fn look(&mut self, now: bool) {
        // Before the pipeline has read it, it is not known what has changed.
        let Some(configured) = self.control.status().configured else { return };
        let stamp = match stamps(&self.path) {
            Ok(stamp) => stamp,
            Err(error) => return self.say(&format!("it cannot be read: {error}")),
        };
        let is_due = now || self.again.is_some_and(|again| again <= Instant::now());
        if self.known == Some(stamp) && !is_due {
            if self.refused.is_none() {
                self.said.clear();
            }
            return;
        }
        if !is_due && self.changed != Some(stamp) {
            self.changed = Some(stamp);
            return;
        }
        let read =
            describe::bytes(&self.path).and_then(|component| Ok((component, origin::beside(&self.path)?)));
        let (component, signature) = match read {
            Ok(read) => read,
            Err(error) => return self.say(&format!("{error:#}")),
        };
        // Written to while it was read: the next look sees more.
        if stamps(&self.path).ok() != Some(stamp) {
            return;
        }
        self.known = Some(stamp);
        let digest = digest(&component);
        if digest == configured {
            (self.refused, self.again) = (None, None);
            self.said.clear();
            return;
        }
        let which = (digest, signature);
        if is_due || self.refused.as_ref() != Some(&which) {
            self.deploy(component, which);
        }
    }

    fn deploy(&mut self, component: Vec<u8>, which: (String, Option<String>)) {
        let params = Some(self.control.settings().params.clone());
        let candidate = Candidate { component, signature: which.1.clone(), params };
        match self.control.deploy(candidate, By::Watch) {
            Ok(_) => {
                (self.refused, self.again) = (None, None);
                self.said.clear();
            }
            Err(error) => {
                self.refused = Some(which);
                self.again = (exit_of(&error) != Exit::Usage).then(|| Instant::now() + TRY_AGAIN);
                self.say(&format!("{error:#}"));
            }
        }
    }

    /// Says once what is wrong with the file.
    fn say(&mut self, what: &str) {
        if self.said != what {
            what.clone_into(&mut self.said);
            tracing::warn!(file = %self.path.display(), "the transform's file is not taken, and the one that runs goes on: {what}");
        }
    }
}

fn stamps(path: &Path) -> io::Result<Stamps> {
    Ok((stamp(path)?, stamp(&origin::signature_path(path)).ok()))
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let facts = fs::metadata(path)?;
    Ok((facts.modified()?, facts.len(), facts.ino()))
}
