//! Whether the hot path allocates for each record: a test alone in its process, since it counts what the
//! allocator is asked for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use host::batch::{Batch, Incoming, OpenBatch};
use host::clickhouse::block::{self, Values};
use host::clickhouse::convert::Profile;
use host::clickhouse::table::{Binding, Table, planned_columns};
use host::config::{BatchLimits, SandboxLimits};
use host::debezium::Decoder;
use host::transform::compile::Compiling;
use host::transform::run::{self, Plans, ShapeRows};
use host::transform::sandbox::Sandbox;
use host::transform::{BUILT_IN, Transform};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: it hands everything on to the system's allocator, and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller vouches for the layout.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller vouches for the block.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller vouches for the block.
        unsafe { System.realloc(block, layout, size) }
    }
}

fn event(id: usize) -> String {
    let row = format!(
        r#"{{"id":{id},"name":"customer {id}","total":{id}.25,"gift":true,"note":null,"created_at":1725329706{:06}}}"#,
        id % 1_000_000
    );
    format!(
        r#"{{"before":{row},"after":{row},"source":{{"connector":"postgresql","db":"d","schema":"s","table":"t","ts_us":{}}},"op":"u","ts_us":{}}}"#,
        1_725_329_706_000_000 + id,
        1_725_329_706_000_100 + id
    )
}

fn batch(first: usize, records: usize) -> Batch {
    let limits = BatchLimits { rows: u32::MAX, bytes: u32::MAX, linger_ms: 1_000 };
    let mut open = OpenBatch::new("a.s.t".into(), 0, first as i64, None, Instant::now());
    for id in first..first + records {
        let (key, value) = (format!(r#"{{"id":{id}}}"#), event(id));
        let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
        let record = Incoming { offset: id as i64, timestamp_ms: None, key, value, headers: &[] };
        assert!(open.takes(&record, &limits));
        open.push(&record);
    }
    open.close()
}

fn bind(rows: &ShapeRows) -> Binding {
    let output = &rows.plan.outputs[rows.output];
    let profile = Profile::default();
    let columns = planned_columns(output, &rows.shape, &profile);
    let table = Table::planned("default", &rows.shape.table, &columns, &[], &profile).expect("a table");
    table.bind(output, &rows.shape, false).expect("a binding")
}

#[test]
fn a_larger_batch_takes_no_more_allocations_than_growing_buffers_do() {
    let limits = SandboxLimits::default();
    let sandbox = Sandbox::alone(Compiling::default()).expect("an engine");
    let transform = Transform::load(&sandbox, BUILT_IN, vec![], limits).expect("the built-in transform");
    let (mut decoder, mut plans, mut binding) = (Decoder::new(), Plans::default(), None);
    let profile = Profile::default();
    let mut count = |records: usize| {
        let mut batch = batch(records, records);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let decoded = decoder.decode(&mut batch);
        assert_eq!(decoded.changes.len(), records, "{:?}", decoded.rejected.first());
        let shape = |id| decoder.shape(id).clone();
        let done = run::run(&transform, &mut plans, &batch, &decoded, shape, &|| false).unwrap();
        let mut done = done.expect("nobody gives up");
        let rows = done.rows.pop().expect("there are rows");
        let binding = binding.get_or_insert_with(|| bind(&rows));
        let values = Values { batch: &batch, decoded: &decoded, transform: "", profile: &profile };
        let all: Vec<usize> = (0..rows.changes.len()).collect();
        let encoded = block::encode(&values, binding, &rows, &all);
        assert_eq!(encoded.unfit.first(), None);
        ALLOCATIONS.load(Ordering::Relaxed) - before
    };
    count(500);
    let (small, large) = (count(500), count(4_000));
    // Eight times as much doubles a buffer three times; there are some forty.
    assert!(large < small + 150, "{small} allocations for 500 records, {large} for 4,000");
}
