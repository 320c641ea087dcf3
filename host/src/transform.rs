//! The user's component: loading it, asking it for plans, and passing batches through it.
//!
//! An instance lives for one batch: `configure`, `prepare` for each table, `apply` for each table. So a
//! transform cannot carry anything from one batch to the next, and whatever it does ends with the batch.

mod answer;
mod bindings;
mod cache;
pub mod compile;
pub mod describe;
pub mod engine;
pub mod keyed;
pub mod limits;
pub mod plan;
pub mod run;

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use sha2::{Digest as _, Sha256};
use wasmtime::Store;
use wasmtime::component::{HasSelf, Linker};

use self::answer::{Answer, Asked};
use self::bindings::rowgate::transform::log as wit_log;
use self::bindings::rowgate::transform::types as wit;
use self::bindings::{Transform as Bindings, TransformPre};
use self::compile::Compiling;
use self::engine::Engine;
use self::limits::{MAX_ANSWER_BYTES, MAX_ROWS_PER_CHANGE, StoreLimiter};
use self::plan::Plan;
use crate::clickhouse::ddl;
use crate::clickhouse::profile::Profile;
use crate::columns::{Blobs, Cells, Column};
use crate::config::SandboxLimits;
use crate::debezium::shape::Shape;
use crate::error::Classify;

pub use self::answer::Part;

/// The component that runs when no `--transform` is given; built from `guest-transforms/update-only`.
pub const BUILT_IN: &[u8] = include_bytes!("../builtin/update_only.wasm");

/// Log lines that one instance may write; the rest are counted.
const MAX_LOG_LINES: u32 = 16;
/// A log line's length at most, bytes.
const MAX_LOG_BYTES: usize = 4096;

/// A loaded transform with its parameters. Cheap to clone.
#[derive(Clone)]
pub struct Transform {
    pre: TransformPre<State>,
    engine: Engine,
    params: Arc<Vec<(String, String)>>,
    limits: SandboxLimits,
    digest: Arc<str>,
}

/// Why a call did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The transform itself returned an error.
    #[error("{0}")]
    Returned(String),
    /// It trapped, or used up a limit.
    #[error("{0}")]
    Trapped(String),
    /// What it returned breaks the contract.
    #[error("the transform broke its contract: {0}")]
    Lied(String),
}

impl Transform {
    /// Compiles `bytes` and instantiates it once, since some mismatches show only then.
    ///
    /// # Errors
    /// A component that does not fit, with its world and version, or does not compile, or refuses its parameters
    /// (exit 2); a compiler that cannot do its work (exit 3).
    pub fn load(
        engine: &Engine,
        compiling: &Compiling,
        bytes: &[u8],
        params: Vec<(String, String)>,
        limits: SandboxLimits,
    ) -> Result<Self> {
        describe::fit(bytes).map_err(|reason| anyhow!(reason)).usage()?;
        let component = compiling.component(engine, bytes)?;
        let mut linker = Linker::new(&engine.inner);
        wit_log::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)
            .map_err(|e| anyhow!("{e:#}"))?;
        let pre = linker.instantiate_pre(&component).and_then(TransformPre::new).map_err(|e| {
            anyhow!("its functions have other types than those of rowgate:transform@0.1.0, rebuild it: {e:#}")
        });
        let transform = Transform {
            pre: pre.usage()?,
            engine: engine.clone(),
            params: Arc::new(params),
            limits,
            digest: digest(bytes).into(),
        };
        transform.open().map_err(|e| anyhow!("{e}")).usage()?;
        Ok(transform)
    }

    /// SHA-256 of the component's bytes, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// A fresh, configured instance, for one batch.
    pub fn open(&self) -> Result<Instance, CallError> {
        let state = State { limiter: StoreLimiter::new(&self.limits), log_lines: 0 };
        let mut store = Store::new(&self.engine.inner, state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(MAX_ANSWER_BYTES);
        store.epoch_deadline_trap();
        let mut instance = Instance { store, bindings: None, limits: self.limits, fuel: 0 };
        instance.arm(limits::START_FUEL)?;
        let bindings = match self.pre.instantiate(&mut instance.store) {
            Ok(bindings) => bindings,
            Err(error) if error.is::<wasmtime::Trap>() || instance.store.data().limiter.refused => {
                return Err(instance.trap("starting", &error));
            }
            Err(error) => {
                return Err(CallError::Lied(format!(
                    "its functions have other types than those of rowgate:transform@0.1.0, rebuild it: {}",
                    sanitized(&error.root_cause().to_string())
                )));
            }
        };
        let params: Vec<_> = self.params.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        instance.arm(limits::START_FUEL)?;
        let configured = bindings.rowgate_transform_handler().call_configure(&mut instance.store, &params);
        instance.bindings = Some(Arc::new(bindings));
        match configured {
            Ok(Ok(())) => Ok(instance),
            Ok(Err(reason)) => {
                Err(CallError::Returned(format!("the transform refuses its parameters: {reason}")))
            }
            Err(error) => Err(instance.trap("configure", &error)),
        }
    }
}

/// SHA-256 of `bytes` in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a store holds for the host.
struct State {
    limiter: StoreLimiter,
    log_lines: u32,
}

impl wit_log::Host for State {
    fn write(&mut self, level: wit_log::Level, message: String) {
        self.log_lines = self.log_lines.saturating_add(1);
        if self.log_lines > MAX_LOG_LINES {
            if self.log_lines == MAX_LOG_LINES + 1 {
                tracing::warn!(
                    "the transform writes more than {MAX_LOG_LINES} log lines a batch: the rest is dropped"
                );
            }
            return;
        }
        let message = sanitized(&message);
        match level {
            wit_log::Level::Debug => tracing::debug!(target: "transform", "{message}"),
            wit_log::Level::Info => tracing::info!(target: "transform", "{message}"),
            wit_log::Level::Warn => tracing::warn!(target: "transform", "{message}"),
            wit_log::Level::Error => tracing::error!(target: "transform", "{message}"),
        }
    }
}

/// `message` cut to [`MAX_LOG_BYTES`], with control and bidirectional characters escaped: a transform must
/// not be able to forge a log line or drive a terminal.
fn sanitized(message: &str) -> String {
    let mut text = String::with_capacity(message.len().min(MAX_LOG_BYTES));
    for c in message.chars() {
        if text.len() >= MAX_LOG_BYTES {
            text.push('…');
            break;
        }
        match c {
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                text.extend(c.escape_unicode());
            }
            c if c.is_control() => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
    text
}

/// One instance of a transform, for one batch.
pub struct Instance {
    store: Store<State>,
    bindings: Option<Arc<Bindings>>,
    limits: SandboxLimits,
    /// What the call under way was given.
    fuel: u64,
}

impl Instance {
    /// Gives the next call its time and its fuel. What the last one left is gone: a call's end depends on
    /// its own input alone.
    fn arm(&mut self, fuel: u64) -> Result<(), CallError> {
        let ticks = u64::from(self.limits.time_ms).div_ceil(engine::TICK.as_millis() as u64);
        self.store.set_epoch_deadline(ticks.max(1));
        self.fuel = fuel;
        self.store.set_fuel(fuel).map_err(|e| CallError::Trapped(e.to_string()))
    }

    fn bindings(&self) -> Result<Arc<Bindings>, CallError> {
        self.bindings.clone().ok_or_else(|| CallError::Trapped("the instance did not start".into()))
    }

    /// Asks for the plan of `shape`.
    pub fn prepare(&mut self, shape: &Shape) -> Result<Plan, CallError> {
        self.arm(limits::START_FUEL)?;
        let bindings = self.bindings()?;
        let target_types: Vec<String> = shape
            .fields
            .iter()
            .map(|field| ddl::column_type(&field.wire, field.nullable, &Profile::default()).to_string())
            .collect();
        let fields = shape.fields.iter().zip(&target_types).map(|(field, target_type)| wit::Field {
            name: &field.name,
            kind: plan::wit_kind(field.wire.kind()),
            nullable: field.nullable,
            key: field.key,
            semantic: &field.semantic,
            target_type,
        });
        let fields: Vec<_> = fields.collect();
        let table = wit::Table {
            id: shape.id,
            topic: &shape.topic,
            connector: &shape.connector,
            database: &shape.database,
            schema: &shape.schema,
            name: &shape.table,
            typed: shape.typed,
            fields: &fields,
        };
        match bindings.rowgate_transform_handler().call_prepare(&mut self.store, table) {
            Ok(Ok(plan)) => Plan::check(plan, shape).map_err(CallError::Lied),
            Ok(Err(reason)) => Err(CallError::Returned(format!("the transform refuses the table: {reason}"))),
            Err(error) => Err(self.trap("prepare", &error)),
        }
    }

    /// Passes changes through the transform: `columns` are those that `plan` reads, each of `changes` cells.
    pub fn apply(
        &mut self,
        shape: u32,
        plan: &Plan,
        changes: usize,
        columns: &[Column],
    ) -> Result<Answer, CallError> {
        self.arm(limits::apply_fuel(&self.limits, changes))?;
        let bindings = self.bindings()?;
        let columns: Vec<_> = columns.iter().map(wit_column).collect();
        let batch = wit::Batch { table: shape, rows: changes as u32, columns: &columns };
        match bindings.rowgate_transform_handler().call_apply(&mut self.store, batch) {
            Ok(Ok(answer)) => {
                let answer = from_wit(answer);
                let max_rows = changes.saturating_mul(MAX_ROWS_PER_CHANGE);
                answer::check(answer, &Asked { plan, changes, max_rows }).map_err(CallError::Lied)
            }
            Ok(Err(reason)) => Err(CallError::Returned(format!("the transform failed: {reason}"))),
            Err(error) => Err(self.trap("apply", &error)),
        }
    }

    /// What ended the call, for a person. The instance is of no use any more.
    fn trap(&self, call: &str, error: &wasmtime::Error) -> CallError {
        let limits = &self.limits;
        CallError::Trapped(match error.downcast_ref::<wasmtime::Trap>() {
            Some(wasmtime::Trap::OutOfFuel) => format!("{call} used up its fuel of {}", self.fuel),
            Some(wasmtime::Trap::Interrupt) => {
                format!("{call} took more than {} ms", limits.time_ms)
            }
            Some(wasmtime::Trap::StackOverflow) => format!("{call} used up its stack"),
            _ if self.store.data().limiter.refused => {
                format!("{call} needs more than {} MiB of memory", limits.memory_mib)
            }
            Some(trap) => format!("{call} trapped: {trap}"),
            None => format!("{call} failed: {}", sanitized(&error.root_cause().to_string())),
        })
    }
}

fn wit_column(column: &Column) -> wit::ColumnParam<'_> {
    wit::ColumnParam {
        states: &column.states,
        cells: match &column.cells {
            Cells::Small(cells) => wit::CellsParam::Small(cells),
            Cells::Ints(cells) => wit::CellsParam::Ints(cells),
            Cells::Floats(cells) => wit::CellsParam::Floats(cells),
            Cells::Blobs(blobs) => {
                wit::CellsParam::Blobs(wit::BlobsParam { offsets: &blobs.offsets, bytes: &blobs.bytes })
            }
        },
    }
}

/// The answer in the host's types.
fn from_wit(answer: wit::Answer) -> Answer {
    let parts = answer.parts.into_iter().map(|part| {
        let computed = part.computed.into_iter().map(|column| Column {
            states: column.states,
            cells: match column.cells {
                wit::CellsResult::Small(cells) => Cells::Small(cells),
                wit::CellsResult::Ints(cells) => Cells::Ints(cells),
                wit::CellsResult::Floats(cells) => Cells::Floats(cells),
                wit::CellsResult::Blobs(blobs) => {
                    Cells::Blobs(Blobs { offsets: blobs.offsets, bytes: blobs.bytes })
                }
            },
        });
        Part { rows: part.rows, removed: part.removed, computed: computed.collect() }
    });
    let parts = parts.collect();
    let rejects = answer.rejects.into_iter().map(|reject| (reject.row, reject.reason)).collect();
    Answer { parts, rejects }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_cannot_forge_another_or_drive_a_terminal() {
        assert_eq!(sanitized("a\nb\u{1b}[2Jc\u{202e}"), "a\\nb\\u{1b}[2Jc\\u{202e}");
        assert!(sanitized(&"x".repeat(1 << 20)).len() <= MAX_LOG_BYTES + 3);
    }
}
