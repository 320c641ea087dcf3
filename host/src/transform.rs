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
mod log;
pub mod memory;
mod patience;
pub mod plan;
pub mod run;
pub mod sandbox;
pub(crate) mod scan;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use sha2::{Digest as _, Sha256};
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use self::answer::{Answer, Asked};
use self::bindings::rowgate::transform::log as wit_log;
use self::bindings::rowgate::transform::types as wit;
use self::bindings::{Transform as Bindings, TransformPre};
use self::limits::SandboxLimits;
use self::log::BatchLog;
use self::memory::{Refusal, StoreLimiter};
use self::plan::Plan;
use self::sandbox::Sandbox;
use crate::clickhouse::ddl;
use crate::clickhouse::profile::Profile;
use crate::columns::{Blobs, Cells, Column};
use crate::debezium::shape::Shape;
use crate::error::Classify;
use crate::tenant::{Share, Turn};

pub use self::answer::Part;

/// The component that runs when no `--transform` is given; built from `guest-transforms/update-only`.
pub const BUILT_IN: &[u8] = include_bytes!("../builtin/update_only.wasm");

/// What to do about [`CallError::TooLarge`].
const MORE_MEMORY: &str = "give the host more memory, or one instance less (`limits.memory_mib`): then what needs more \
                           is a dead letter";

/// What is shown of a reason that a transform gives, bytes at most.
const MAX_REASON_BYTES: usize = 1024;

/// A loaded transform with its parameters. Cheap to clone.
#[derive(Clone)]
pub struct Transform {
    pre: TransformPre<State>,
    /// As long as it is held here, who loads the same has the same.
    _component: Arc<Component>,
    sandbox: Sandbox,
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
    /// It computed for too long, by its own fault or this machine's.
    #[error("{0}")]
    Slow(String),
    /// There was no room for it, by no fault of its own: another time there may be.
    #[error("{0}")]
    Busy(String),
    /// It needs more memory than there is for all transforms together: another time there is no more.
    #[error("{0}")]
    TooLarge(String),
}

impl CallError {
    /// The transform's own words may be long, and meant for a terminal.
    fn returned(what: &str, reason: &str) -> Self {
        CallError::Returned(format!("{what}: {}", log::sanitized(reason, MAX_REASON_BYTES)))
    }

    fn lied(reason: String) -> Self {
        CallError::Lied(log::sanitized(&reason, MAX_REASON_BYTES))
    }
}

impl Transform {
    /// Compiles `bytes` and instantiates it once, since some mismatches show only then.
    ///
    /// # Errors
    /// A component that is too large, does not fit, or does not compile, with the limit or the world and version where
    /// these are why, that refuses its parameters, or needs more memory than there is (exit 2); no room for an instance, or a compiler that cannot do
    /// its work (exit 3).
    pub fn load(
        sandbox: &Sandbox,
        bytes: &[u8],
        params: Vec<(String, String)>,
        limits: SandboxLimits,
    ) -> Result<Self> {
        let checked = scan::size(bytes.len() as u64, &limits).and_then(|()| describe::fit(bytes));
        checked.and_then(|_| scan::check(bytes, &limits)).map_err(|reason| anyhow!(reason)).usage()?;
        let component = sandbox.compiling.component(&sandbox.engine, bytes, limits.compile)?;
        scan::resources(&component, &limits).map_err(|reason| anyhow!(reason)).usage()?;
        let mut linker = Linker::new(&sandbox.engine.inner);
        wit_log::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)
            .map_err(|e| anyhow!("{e:#}"))?;
        let pre = linker.instantiate_pre(&component).and_then(TransformPre::new).map_err(|e| {
            anyhow!("its functions have other types than those of rowgate:transform@0.1.0, rebuild it: {e:#}")
        });
        let transform = Transform {
            pre: pre.usage()?,
            _component: component,
            sandbox: sandbox.clone(),
            params: Arc::new(params),
            limits,
            digest: digest(bytes).into(),
        };
        match transform.open() {
            Ok(_) => Ok(transform),
            Err(error @ CallError::Busy(_)) => Err(error).environment(),
            Err(error @ CallError::TooLarge(_)) => Err(error).usage().help(MORE_MEMORY),
            Err(error) => Err(error).usage(),
        }
    }

    /// SHA-256 of the component's bytes, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Where it runs.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// A fresh, configured instance.
    ///
    /// # Errors
    /// What ended its start.
    pub fn open(&self) -> Result<Instance, CallError> {
        self.open_with(&self.batch_log())
    }

    /// What one batch may log.
    fn batch_log(&self) -> Arc<BatchLog> {
        BatchLog::new(&self.sandbox.log, self.limits)
    }

    /// One for a batch, in whose log it writes.
    fn open_with(&self, log: &Arc<BatchLog>) -> Result<Instance, CallError> {
        let Sandbox { engine, memory, share, .. } = &self.sandbox;
        let limiter = StoreLimiter::new(self.limits, memory.clone());
        let time = CallTime { began: thread_time(), most: Duration::from_millis(self.limits.time_ms.into()) };
        let state = State { limiter, log: log.clone(), time, share: share.clone(), turn: None };
        let mut store = Store::new(&engine.inner, state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(self.limits.answer_bytes);
        store.epoch_deadline_callback(|mut store| {
            let State { time, turn, .. } = store.data_mut();
            if time.is_over() {
                return Err(Trap::Interrupt.into());
            }
            turn.iter_mut().for_each(Turn::give_way);
            Ok(UpdateDeadline::Continue(1))
        });
        let mut instance = Instance { store, bindings: None, limits: self.limits, fuel: 0 };
        // Its start functions run here.
        let started = instance.call(self.limits.start_fuel, |store| self.pre.instantiate(store))?;
        let bindings = started.map_err(|error| instance.not_started(&error))?;
        let params: Vec<_> = self.params.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let handler = bindings.rowgate_transform_handler();
        let configured =
            instance.call(self.limits.start_fuel, |store| handler.call_configure(store, &params))?;
        instance.bindings = Some(Arc::new(bindings));
        match configured {
            Ok(Ok(())) => Ok(instance),
            Ok(Err(reason)) => Err(CallError::returned("the transform refuses its parameters", &reason)),
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
    log: Arc<BatchLog>,
    time: CallTime,
    share: Share,
    /// That of the call under way.
    turn: Option<Turn>,
}

impl wit_log::Host for State {
    fn write(&mut self, level: wit_log::Level, message: String) {
        self.log.write(level, &message);
    }
}

/// The time of the call under way: what this thread computes, for a call must not end because other threads do.
struct CallTime {
    began: Duration,
    most: Duration,
}

impl CallTime {
    fn is_over(&self) -> bool {
        thread_time().saturating_sub(self.began) >= self.most
    }
}

/// What the thread has computed so far.
fn thread_time() -> Duration {
    cpu_time::ThreadTime::now().as_duration()
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
    /// Lets the component compute in a turn, with its time and this fuel, which its tenant's budget is charged with.
    /// What the last call left is gone: a call's end depends on its own input alone.
    fn call<T>(&mut self, fuel: u64, call: impl FnOnce(&mut Store<State>) -> T) -> Result<T, CallError> {
        self.fuel = fuel;
        self.store.set_fuel(fuel).map_err(|e| CallError::Trapped(e.to_string()))?;
        let state = self.store.data_mut();
        state.turn = Some(state.share.turn());
        state.time.began = thread_time();
        // The next tick of the clock, and then each: it is looked whether the time is over, and who else waits.
        self.store.set_epoch_deadline(1);
        let done = call(&mut self.store);
        let left = self.store.get_fuel().unwrap_or_default();
        let state = self.store.data_mut();
        state.turn = None;
        state.share.use_fuel(fuel.saturating_sub(left));
        Ok(done)
    }

    /// Fuel that the last call used.
    fn fuel_used(&self) -> u64 {
        self.fuel.saturating_sub(self.store.get_fuel().unwrap_or(0))
    }

    fn bindings(&self) -> Result<Arc<Bindings>, CallError> {
        self.bindings.clone().ok_or_else(|| CallError::Trapped("the instance did not start".into()))
    }

    /// Asks for the plan of `shape`.
    pub fn prepare(&mut self, shape: &Shape) -> Result<Plan, CallError> {
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
        let handler = bindings.rowgate_transform_handler();
        match self.call(self.limits.start_fuel, |store| handler.call_prepare(store, table))? {
            Ok(Ok(plan)) => Plan::check(plan, shape).map_err(CallError::lied),
            Ok(Err(reason)) => Err(CallError::returned("the transform refuses the table", &reason)),
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
        let bindings = self.bindings()?;
        let columns: Vec<_> = columns.iter().map(wit_column).collect();
        let batch = wit::Batch { table: shape, rows: changes as u32, columns: &columns };
        let handler = bindings.rowgate_transform_handler();
        let fuel = self.limits.fuel_of_apply(changes);
        match self.call(fuel, |store| handler.call_apply(store, batch))? {
            Ok(Ok(answer)) => {
                let answer = from_wit(answer);
                let asked = Asked { plan, changes, limits: &self.limits };
                answer::check(answer, &asked).map_err(CallError::lied)
            }
            Ok(Err(reason)) => Err(CallError::returned("the transform failed", &reason)),
            Err(error) => Err(self.trap("apply", &error)),
        }
    }

    /// Why it did not come to life.
    fn not_started(&self, error: &wasmtime::Error) -> CallError {
        if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
            return CallError::Busy(format!("no transform can start now, as many as can run: {full}"));
        }
        if error.is::<Trap>() || self.store.data().limiter.refusal.is_some() {
            return self.trap("starting", error);
        }
        CallError::lied(format!(
            "its functions have other types than those of rowgate:transform@0.1.0, rebuild it: {}",
            error.root_cause()
        ))
    }

    /// What ended the call, for a person. The instance is of no use any more.
    fn trap(&self, call: &str, error: &wasmtime::Error) -> CallError {
        let limits = &self.limits;
        let refusal = &self.store.data().limiter.refusal;
        match refusal {
            Some(Refusal::Shared(why)) => return CallError::Busy(format!("{call} got no memory: {why}")),
            Some(Refusal::Never(why)) => return CallError::TooLarge(format!("{call} needs {why}")),
            Some(Refusal::Own) | None => {}
        }
        CallError::Trapped(match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => {
                return CallError::Slow(format!("{call} took more than {} ms", limits.time_ms));
            }
            Some(Trap::OutOfFuel) => format!("{call} used up its fuel of {}", self.fuel),
            Some(Trap::StackOverflow) => format!("{call} used up its stack"),
            _ if *refusal == Some(Refusal::Own) => {
                format!("{call} needs more than {} MiB of memory", limits.memory_mib)
            }
            Some(trap) => format!("{call} trapped: {trap}"),
            None => {
                let cause = error.root_cause().to_string();
                format!("{call} failed: {}", log::sanitized(&cause, MAX_REASON_BYTES))
            }
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
