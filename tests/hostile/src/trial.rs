//! A component through all that the host does with one: look, compile, start, call, check what comes back.

use std::sync::Arc;
use std::time::Instant;

use host::batch::{Batch, Incoming, OpenBatch};
use host::config::SandboxLimits;
use host::debezium::{Decoded, Decoder};
use host::transform::Transform;
use host::transform::run::{self, Plans};
use host::transform::sandbox::Sandbox;

/// How a trial ended. That the host crashes or hangs is no end: whoever waits for it sees that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The component was not taken, or cannot run here.
    Refused(String),
    /// It ran.
    Ran {
        /// Changes that became rows, or that it filtered.
        done: usize,
        /// Why the others are dead letters.
        reasons: Vec<String>,
    },
}

/// A batch of updates.
pub struct Changes {
    batch: Batch,
    decoded: Decoded,
    decoder: Decoder,
}

impl Changes {
    /// So many.
    pub fn new(count: usize) -> Self {
        let mut open = OpenBatch::new("hostile.public.my_table".into(), 0, 0, None, Instant::now());
        for offset in 0..count as i64 {
            let value = format!(
                r#"{{"op":"u","before":null,"after":{{"id":{offset},"name":"name {offset}","created_at":1704067200000000}},
                "source":{{"connector":"postgresql","db":"hostile","schema":"public","table":"my_table"}}}}"#
            );
            let value = Some(value.as_bytes());
            open.push(&Incoming { offset, timestamp_ms: None, key: None, value, headers: &[] });
        }
        let mut batch = open.close();
        let mut decoder = Decoder::new();
        let decoded = decoder.decode(&mut batch);
        assert_eq!(decoded.changes.len(), count, "all are changes");
        Changes { batch, decoded, decoder }
    }

    /// Passes them through a transform, once.
    pub fn through(&self, transform: &Transform) -> End {
        let shape = |id| Arc::clone(self.decoder.shape(id));
        let never = || false;
        let done = run::run(transform, &mut Plans::default(), &self.batch, &self.decoded, shape, &never);
        let done = match done {
            Ok(done) => done.expect("nobody gives up"),
            Err(error) => return End::Refused(format!("{error:#}")),
        };
        let reasons: Vec<String> = done.rejected.into_iter().map(|rejected| rejected.reason).collect();
        assert_eq!((done.kept + done.filtered) as usize + reasons.len(), self.decoded.changes.len());
        End::Ran { done: (done.kept + done.filtered) as usize, reasons }
    }
}

/// Loads a component, with the parameter `mode` where one is given.
///
/// # Errors
/// Why it is not taken.
pub fn load(
    sandbox: &Sandbox,
    component: &[u8],
    mode: Option<&str>,
    limits: SandboxLimits,
) -> Result<Transform, String> {
    let params = mode.map(|mode| ("mode".to_owned(), mode.to_owned())).into_iter().collect();
    Transform::load(sandbox, component, params, limits).map_err(|error| format!("{error:#}"))
}
