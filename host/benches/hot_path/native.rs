//! A transform compiled into the host: the very crate that the component is built from, called natively.
//!
//! Neither a sandbox nor copies nor checks of the answer: what wasm costs, and nothing else, is the
//! difference between the twin and the host.

use std::marker::PhantomData;
use std::sync::Arc;

use host::batch::Batch;
use host::clickhouse::ddl;
use host::clickhouse::profile::Profile;
use host::columns::{self, Blobs, Cells, Column, Input, Kind};
use host::debezium::shape::Shape;
use host::debezium::{Decoded, Decoder, Op};
use host::transform::plan::{Origin, Output, OutputColumn, Plan};
use host::transform::run::ShapeRows;
use rowgate_transform::bindings::rowgate::transform::types as sdk;
use rowgate_transform::{Field, Instance, Table, Transform};

use crate::pipeline::Step;

/// The transform `T` without wasm.
pub struct Twin<T> {
    known: Option<Known>,
    transform: PhantomData<T>,
}

impl<T> Twin<T> {
    /// One that has met no table.
    pub fn new() -> Self {
        Twin { known: None, transform: PhantomData }
    }
}

struct Known {
    shape: Arc<Shape>,
    plan: Arc<Plan>,
    table: Table,
}

impl Known {
    fn new<T: Transform>(shape: &Arc<Shape>) -> Self {
        let table = table(shape);
        let plan = prepared::<T>(&table).1;
        Known { shape: shape.clone(), plan: plan_of(plan).into(), table }
    }
}

/// As fresh as the host's.
fn prepared<T: Transform>(table: &Table) -> (Instance<T>, sdk::Plan) {
    let mut instance = Instance::<T>::new();
    instance.configure(vec![]).unwrap();
    let plan = instance.prepare(table).unwrap();
    (instance, plan)
}

impl<T: Transform> Step for Twin<T> {
    fn rows(&mut self, batch: &Batch, decoded: &Decoded, decoder: &Decoder) -> ShapeRows {
        let shape = decoder.shape(decoded.changes[0].shape);
        let Known { shape, plan, table } = self.known.get_or_insert_with(|| Known::new::<T>(shape));
        let (kept, columns) = asked(batch, decoded, shape, plan);
        let columns = columns.into_iter();
        let columns =
            columns.map(|column| sdk::Column { states: column.states, cells: to_sdk(column.cells) });
        let input = sdk::Batch { table: shape.id, rows: kept.len() as u32, columns: columns.collect() };
        let (mut instance, _) = prepared::<T>(table);
        let mut answer = instance.apply(&input).unwrap();
        assert!(answer.rejects.is_empty());
        let part = answer.parts.pop().unwrap();
        let computed = part.computed.into_iter();
        let computed = computed.map(|column| Column { states: column.states, cells: from_sdk(column.cells) });
        made(shape, plan, &kept, part.rows, computed.collect())
    }
}

/// The changes that the plan asks for, and the columns that it reads of them.
pub fn asked(batch: &Batch, decoded: &Decoded, shape: &Shape, plan: &Plan) -> (Vec<u32>, Vec<Column>) {
    let kept = (0..).zip(&decoded.changes).filter(|(_, change)| {
        assert_eq!(change.shape, shape.id, "the corpus has one shape");
        plan.ops.has(change.op)
    });
    let kept: Vec<u32> = kept.map(|(index, _)| index).collect();
    let columns = columns::read(batch, decoded, shape, &kept, &plan.reads).into_iter().map(|read| {
        assert!(read.failures.is_empty());
        read.column
    });
    let columns = columns.collect();
    (kept, columns)
}

/// The rows of an answer that has a row at most of each of the changes `kept`.
pub fn made(
    shape: &Arc<Shape>,
    plan: &Arc<Plan>,
    kept: &[u32],
    rows: Vec<u32>,
    computed: Vec<Column>,
) -> ShapeRows {
    ShapeRows {
        shape: shape.clone(),
        plan: plan.clone(),
        output: 0,
        seqs: vec![0; rows.len()],
        standings: vec![],
        changes: rows.into_iter().map(|row| kept[row as usize]).collect(),
        computed,
    }
}

/// The plan in the host's types.
fn plan_of(plan: sdk::Plan) -> Plan {
    assert!(plan.ops == sdk::Ops::UPDATE, "the transform keeps updates");
    let ops = [Op::Update].into_iter().collect();
    let input = |input| match input {
        sdk::Input::After(field) => Input::After(field),
        sdk::Input::Op => Input::Op,
        other => panic!("the transform asks for {other:?}"),
    };
    let origin = |origin| match origin {
        sdk::Origin::Copy(from) => Origin::Copy(input(from)),
        sdk::Origin::Computed(sdk::Computed { kind, nullable, target_type: None }) => {
            Origin::Computed { kind: kind_of(kind), nullable, target_type: None }
        }
        other => panic!("the transform makes {other:?}"),
    };
    let output = |output: sdk::Output| {
        let columns = output.columns.into_iter();
        let columns = columns.map(|column| OutputColumn { name: column.name, origin: origin(column.origin) });
        Output { target: output.target, columns: columns.collect(), key: output.key }
    };
    Plan {
        ops,
        reads: plan.reads.into_iter().map(input).collect(),
        outputs: plan.outputs.into_iter().map(output).collect(),
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

/// The kinds, here and there.
const KINDS: [(Kind, sdk::Kind); 10] = [
    (Kind::Boolean, sdk::Kind::Boolean),
    (Kind::Int, sdk::Kind::Int),
    (Kind::Float, sdk::Kind::Float),
    (Kind::Decimal, sdk::Kind::Decimal),
    (Kind::Text, sdk::Kind::Text),
    (Kind::Json, sdk::Kind::Json),
    (Kind::Bytes, sdk::Kind::Bytes),
    (Kind::Date, sdk::Kind::Date),
    (Kind::Time, sdk::Kind::Time),
    (Kind::Timestamp, sdk::Kind::Timestamp),
];

fn kind(kind: Kind) -> sdk::Kind {
    KINDS.into_iter().find_map(|(here, there)| (here == kind).then_some(there)).expect("all are listed")
}

fn kind_of(kind: sdk::Kind) -> Kind {
    KINDS.into_iter().find_map(|(here, there)| (there == kind).then_some(here)).expect("all are listed")
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
