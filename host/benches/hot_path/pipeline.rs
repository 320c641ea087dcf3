//! The host's own stages, with the transform in wasm or compiled in.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use host::batch::{Batch, Incoming, OpenBatch, Room};
use host::clickhouse::block::{self, Values};
use host::clickhouse::convert::Profile;
use host::clickhouse::table::{Binding, Table, planned_columns};
use host::config::{BatchLimits, SandboxLimits};
use host::debezium::scan::Lanes;
use host::debezium::{Decoded, Decoder};
use host::transform::compile::Compiling;
use host::transform::plan::Plan;
use host::transform::run::{self, Plans, ShapeRows};
use host::transform::sandbox::Sandbox;
use host::transform::{self, Instance, Transform};

use crate::corpus::{Record, TOPIC};
use crate::native::{self, Twin};
use crate::{Design, TRANSFORM_DIGITS};

/// Never reached: the bench cuts its batches itself.
const BATCH: BatchLimits = BatchLimits { rows: u32::MAX, bytes: u32::MAX, linger_ms: 1_000 };

/// How a decoded batch becomes rows.
pub trait Step {
    /// The rows of a batch in which there is one table with one shape.
    fn rows(&mut self, batch: &Batch, decoded: &Decoded, decoder: &Decoder) -> ShapeRows;
}

/// Batch, decode, transform, encode.
pub struct Pipeline<S> {
    name: &'static str,
    step: S,
    topic: Arc<str>,
    decoder: Decoder,
    room: Room,
    binding: Option<Binding>,
    profile: Profile,
    digest: String,
}

/// The transform as the host runs it: a fresh instance of the component for each batch.
pub struct Wasm {
    transform: Transform,
    plans: Plans,
}

impl Step for Wasm {
    fn rows(&mut self, batch: &Batch, decoded: &Decoded, decoder: &Decoder) -> ShapeRows {
        let shape = |id| decoder.shape(id).clone();
        let out = run::run(&self.transform, &mut self.plans, batch, decoded, shape, &|| false).unwrap();
        let mut out = out.expect("nothing gives up");
        assert!(out.rejected.is_empty() && out.rows.len() == 1, "the corpus has one shape and nothing wrong");
        out.rows.pop().unwrap()
    }
}

/// The same in one instance for all batches, which the host never does.
pub struct Reused {
    instance: Instance,
    plan: Option<Arc<Plan>>,
}

impl Step for Reused {
    fn rows(&mut self, batch: &Batch, decoded: &Decoded, decoder: &Decoder) -> ShapeRows {
        let shape = decoder.shape(decoded.changes[0].shape);
        let plan = self.plan.get_or_insert_with(|| self.instance.prepare(shape).unwrap().into());
        let (kept, columns) = native::asked(batch, decoded, shape, plan);
        let mut answer = self.instance.apply(shape.id, plan, kept.len(), &columns).unwrap();
        assert!(answer.rejects.is_empty());
        let part = answer.parts.pop().unwrap();
        native::made(shape, plan, &kept, part.rows, part.computed)
    }
}

/// The host with the transform that it ships.
pub fn host() -> Pipeline<Wasm> {
    wasm("host", built_in())
}

/// The host with one of the transforms that `make guests` builds for the bench.
///
/// # Errors
/// It is not there, or not to be run.
pub fn guest(name: &'static str, file: &str) -> Result<Pipeline<Wasm>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-transforms/dist").join(file);
    let component = std::fs::read(&path).with_context(|| format!("{}: run `make guests`", path.display()))?;
    let sandbox = Sandbox::alone(Compiling::default())?;
    Ok(wasm(name, Transform::load(&sandbox, &component, vec![], SandboxLimits::default())?))
}

/// The host with a transform that makes the rows of the one that it ships.
pub fn wasm(name: &'static str, transform: Transform) -> Pipeline<Wasm> {
    Pipeline::new(name, Wasm { transform, plans: Plans::default() }, &digest())
}

/// The host with one instance for all batches.
pub fn reused() -> Pipeline<Reused> {
    kept("reused instance", &built_in())
}

/// [`wasm`] with one instance for all batches.
pub fn kept(name: &'static str, transform: &Transform) -> Pipeline<Reused> {
    let instance = transform.open().unwrap();
    Pipeline::new(name, Reused { instance, plan: None }, &digest())
}

/// The host with a transform compiled in.
pub fn twin<T: rowgate_transform::Transform>(name: &'static str) -> Pipeline<Twin<T>> {
    Pipeline::new(name, Twin::new(), &digest())
}

/// The digest of the transform that the host ships, as the host writes it into rows.
pub fn digest() -> String {
    transform::digest(transform::BUILT_IN)[..TRANSFORM_DIGITS].to_owned()
}

fn built_in() -> Transform {
    let sandbox = Sandbox::alone(Compiling::default()).unwrap();
    Transform::load(&sandbox, transform::BUILT_IN, vec![], SandboxLimits::default()).unwrap()
}

impl<S: Step> Pipeline<S> {
    /// The same, where scanners look at bytes in this way.
    pub fn with(mut self, name: &'static str, lanes: Lanes) -> Self {
        (self.name, self.decoder) = (name, self.decoder.with_lanes(lanes));
        self
    }

    fn new(name: &'static str, step: S, digest: &str) -> Self {
        Pipeline {
            name,
            step,
            topic: TOPIC.into(),
            decoder: Decoder::new(),
            room: Room::default(),
            binding: None,
            profile: Profile::default(),
            digest: digest.to_owned(),
        }
    }

    /// The records copied into a batch, as the source does.
    fn batch(&mut self, first: i64, records: &[Record<'_>]) -> Batch {
        let mut open =
            OpenBatch::new(self.topic.clone(), 0, first, None, Instant::now()).with_room(self.room);
        for (offset, (key, value)) in (first..).zip(records) {
            let (key, value) = (Some(*key), Some(*value));
            let record = Incoming { offset, timestamp_ms: None, key, value, headers: &[] };
            assert!(open.takes(&record, &BATCH));
            open.push(&record);
        }
        let batch = open.close();
        self.room = Room::of(&batch);
        batch
    }
}

impl<S: Step> Design for Pipeline<S> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn block(&mut self, first: i64, records: &[Record<'_>]) -> Vec<u8> {
        let mut batch = self.batch(first, records);
        let decoded = self.decoder.decode(&mut batch);
        assert_eq!(decoded.rejected.first(), None);
        let rows = self.step.rows(&batch, &decoded, &self.decoder);
        let binding = self.binding.get_or_insert_with(|| bind(&rows));
        let values =
            Values { batch: &batch, decoded: &decoded, transform: &self.digest, profile: &self.profile };
        let all: Vec<usize> = (0..rows.changes.len()).collect();
        let encoded = block::encode(&values, binding, &rows, &all);
        assert_eq!(encoded.unfit.first(), None);
        encoded.body
    }
}

/// The binding to the table that the host would create.
fn bind(rows: &ShapeRows) -> Binding {
    let output = &rows.plan.outputs[rows.output];
    let profile = Profile::default();
    let columns = planned_columns(output, &rows.shape, &profile);
    Table::planned("default", &rows.shape.table, &columns, &[], &profile)
        .unwrap()
        .bind(output, &rows.shape, false)
        .unwrap()
}
