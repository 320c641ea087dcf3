//! The transform compiled into the host: the very crate that the component is built from, called natively.
//!
//! Neither a sandbox nor copies nor checks of the answer: what wasm costs, and nothing else, is the
//! difference between the twin and the host.

use std::sync::Arc;

use host::batch::Batch;
use host::clickhouse::ddl;
use host::clickhouse::profile::Profile;
use host::columns::{self, Blobs, Cells, Column, Kind};
use host::debezium::shape::Shape;
use host::debezium::{Decoded, Decoder};
use host::transform::Transform;
use host::transform::plan::Plan;
use host::transform::run::ShapeRows;
use rowgate_transform::bindings::rowgate::transform::types as sdk;
use rowgate_transform::{Field, Instance, Table};
use update_only::UpdateOnly;

use crate::pipeline::Step;

/// The transform without wasm.
pub struct Twin {
    /// Asked once for the plan in the host's types.
    transform: Transform,
    known: Option<Known>,
}

struct Known {
    shape: Arc<Shape>,
    plan: Arc<Plan>,
    table: Table,
}

impl Twin {
    pub fn new(transform: Transform) -> Self {
        Twin { transform, known: None }
    }
}

impl Step for Twin {
    fn rows(&mut self, batch: &Batch, decoded: &Decoded, decoder: &Decoder) -> ShapeRows {
        let shape = decoder.shape(decoded.changes[0].shape);
        let Known { shape, plan, table } = self.known.get_or_insert_with(|| {
            let plan = self.transform.open().unwrap().prepare(shape).unwrap();
            Known { shape: shape.clone(), plan: plan.into(), table: table(shape) }
        });
        let kept = (0..).zip(&decoded.changes).filter(|(_, change)| {
            assert_eq!(change.shape, shape.id, "the corpus has one shape");
            plan.ops.has(change.op)
        });
        let kept: Vec<u32> = kept.map(|(index, _)| index).collect();
        let columns = plan.reads.iter().map(|input| {
            let read = columns::read(batch, decoded, shape, &kept, input);
            assert!(read.failures.is_empty());
            sdk::Column { states: read.column.states, cells: to_sdk(read.column.cells) }
        });
        let input = sdk::Batch { table: shape.id, rows: kept.len() as u32, columns: columns.collect() };

        // As fresh as the host's.
        let mut instance = Instance::<UpdateOnly>::new();
        instance.configure(vec![]).unwrap();
        instance.prepare(table).unwrap();
        let mut answer = instance.apply(&input).unwrap();

        assert!(answer.rejects.is_empty());
        let part = answer.parts.pop().unwrap();
        let computed = part.computed.into_iter();
        ShapeRows {
            shape: shape.clone(),
            plan: plan.clone(),
            output: 0,
            seqs: vec![0; part.rows.len()],
            standings: vec![],
            changes: part.rows.into_iter().map(|row| kept[row as usize]).collect(),
            computed: computed
                .map(|column| Column { states: column.states, cells: from_sdk(column.cells) })
                .collect(),
        }
    }
}

fn table(shape: &Shape) -> Table {
    let fields = shape.fields.iter().map(|field| Field {
        name: field.name.clone(),
        kind: kind(field.wire.kind()),
        nullable: field.nullable,
        key: field.key,
        semantic: field.semantic.clone(),
        target_type: ddl::column_type(&field.wire, field.nullable, &Profile::default()).to_string(),
    });
    Table {
        id: shape.id,
        topic: shape.topic.clone(),
        connector: shape.connector.clone(),
        database: shape.database.clone(),
        schema: shape.schema.clone(),
        name: shape.table.clone(),
        typed: shape.typed,
        fields: fields.collect(),
    }
}

fn kind(kind: Kind) -> rowgate_transform::Kind {
    use rowgate_transform::Kind as Sdk;
    match kind {
        Kind::Boolean => Sdk::Boolean,
        Kind::Int => Sdk::Int,
        Kind::Float => Sdk::Float,
        Kind::Decimal => Sdk::Decimal,
        Kind::Text => Sdk::Text,
        Kind::Json => Sdk::Json,
        Kind::Bytes => Sdk::Bytes,
        Kind::Date => Sdk::Date,
        Kind::Time => Sdk::Time,
        Kind::Timestamp => Sdk::Timestamp,
    }
}

fn to_sdk(cells: Cells) -> sdk::Cells {
    match cells {
        Cells::Small(cells) => sdk::Cells::Small(cells),
        Cells::Ints(cells) => sdk::Cells::Ints(cells),
        Cells::Floats(cells) => sdk::Cells::Floats(cells),
        Cells::Blobs(Blobs { offsets, bytes }) => sdk::Cells::Blobs(sdk::Blobs { offsets, bytes }),
    }
}

fn from_sdk(cells: sdk::Cells) -> Cells {
    match cells {
        sdk::Cells::Small(cells) => Cells::Small(cells),
        sdk::Cells::Ints(cells) => Cells::Ints(cells),
        sdk::Cells::Floats(cells) => Cells::Floats(cells),
        sdk::Cells::Blobs(sdk::Blobs { offsets, bytes }) => Cells::Blobs(Blobs { offsets, bytes }),
    }
}
