//! Signals: the first SIGINT or SIGTERM asks the pipeline to drain, the second ends the process at once. Where files are
//! watched, SIGHUP asks to look at them now.

use crate::locked::locked;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The wish to stop, shared by everything that takes in work. Asynchronous code waits for it, other code asks.
#[derive(Debug, Clone)]
pub struct Shutdown {
    wanted: watch::Sender<bool>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A wish that nobody has yet.
    pub fn new() -> Self {
        Self { wanted: watch::Sender::new(false) }
    }

    /// Asks to stop. Asking again changes nothing.
    pub fn request(&self) {
        self.wanted.send_replace(true);
    }

    /// Whether somebody has asked to stop.
    pub fn is_requested(&self) -> bool {
        *self.wanted.borrow()
    }

    /// Returns once somebody has asked to stop.
    pub async fn requested(&self) {
        let mut wanted = self.wanted.subscribe();
        // It fails only when the sender is gone, and `self` holds one.
        let _ = wanted.wait_for(|wanted| *wanted).await;
    }
}

/// Starts listening for SIGINT and SIGTERM, on a thread of its own: a pipeline that keeps every other
/// thread busy can still be stopped.
///
/// # Errors
/// When the operating system refuses the thread or the handlers.
pub fn install() -> io::Result<Shutdown> {
    let shutdown = Shutdown::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _context = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let asked = shutdown.clone();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async move {
            loop {
                let (name, code) = tokio::select! {
                    _ = interrupt.recv() => ("SIGINT", 130),
                    _ = terminate.recv() => ("SIGTERM", 143),
                };
                if asked.is_requested() {
                    tracing::warn!(signal = name, "second signal: leaving at once");
                    std::process::exit(code);
                }
                tracing::info!(signal = name, "draining: once more to leave at once");
                asked.request();
            }
        });
    })?;
    Ok(shutdown)
}

/// The SIGHUPs that have come, for all who wait for one. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Hangups {
    come: Arc<(Mutex<u64>, Condvar)>,
}

impl Hangups {
    /// Starts listening, on a thread of its own. From here on SIGHUP does not end the process any more.
    ///
    /// # Errors
    /// When the operating system refuses the thread or the handler.
    pub fn install() -> io::Result<Self> {
        let hangups = Hangups::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let mut hangup = {
            let _context = runtime.enter();
            signal(SignalKind::hangup())?
        };
        let told = hangups.clone();
        std::thread::Builder::new().name("hangups".to_owned()).spawn(move || {
            runtime.block_on(async move {
                while hangup.recv().await.is_some() {
                    told.tell()
                }
            });
        })?;
        Ok(hangups)
    }

    fn tell(&self) {
        let (come, changed) = &*self.come;
        *locked(come) += 1;
        changed.notify_all();
    }

    /// Waits so long, or until more have come than the caller has `seen`. True: one has.
    pub fn wait(&self, seen: &mut u64, most: Duration) -> bool {
        let (come, changed) = &*self.come;
        let come = locked(come);
        let none = |come: &mut u64| *come == *seen;
        let (come, _) = changed.wait_timeout_while(come, most, none).unwrap_or_else(PoisonError::into_inner);
        let is_new = *come != *seen;
        *seen = *come;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    #[test]
    fn a_request_reaches_every_clone() {
        let shutdown = Shutdown::new();
        let other = shutdown.clone();
        assert!(!other.is_requested());
        shutdown.request();
        shutdown.request();
        assert!(other.is_requested());
    }

    #[test]
    fn each_who_waits_for_a_hangup_gets_it_once_also_when_it_came_before() {
        let hangups = Hangups::default();
        hangups.tell();
        let (mut first, mut second) = (0, 0);
        assert!(hangups.wait(&mut first, Duration::from_secs(60)));
        assert!(!hangups.wait(&mut first, Duration::ZERO));
        hangups.tell();
        hangups.tell();
        let other = hangups.clone();
        for seen in [&mut first, &mut second] {
            assert!(other.wait(seen, Duration::from_secs(60)));
            assert!(!other.wait(seen, Duration::ZERO));
        }
    }

    #[tokio::test]
    async fn waiting_ends_with_the_request_and_not_before() {
        let shutdown = Shutdown::new();
        let mut waiting = Box::pin(shutdown.requested());
        tokio::select! {
            biased;
            () = &mut waiting => panic!("nobody has asked"),
            () = std::future::ready(()) => {}
        }
        shutdown.request();
        waiting.await;
        shutdown.requested().await;
    }

    /// Not a test by itself: the process that the next one sends signals to.
    #[test]
    fn process_that_waits_for_signals() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        let shutdown = install().unwrap();
        println!("\nlistening");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(shutdown.requested());
        println!("draining");
        loop {
            std::thread::park();
        }
    }

    const CHILD: &str = "SIGNAL_TEST_CHILD";

    /// Ends with the test, however that ends.
    struct Process(Child);

    impl Drop for Process {
        fn drop(&mut self) {
            _ = self.0.kill();
            _ = self.0.wait();
        }
    }

    #[test]
    fn the_first_signal_drains_and_the_second_ends_the_process_with_its_own_code() {
        for (first, second, code) in [("TERM", "TERM", 143), ("INT", "INT", 130), ("TERM", "INT", 130)] {
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "signal::tests::process_that_waits_for_signals", "--nocapture"])
                .env(CHILD, "1")
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut child = Process(child);
            let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
            let mut until =
                |wanted: &str| assert!(lines.any(|line| line.unwrap() == wanted), "no line `{wanted}`");
            let send = |signal: &str| {
                let kill = format!("kill -{signal} {}", child.0.id());
                assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
            };
            until("listening");
            send(first);
            until("draining");
            send(second);
            assert_eq!(child.0.wait().unwrap().code(), Some(code), "{first}, {second}");
        }
    }
}
