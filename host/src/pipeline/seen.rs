//! What a pipeline has met lately, for transforms that are to be tried: the source's tables, and some records.

use std::collections::HashMap;
use std::sync::Arc;

use super::trial::Captured;
use crate::batch::Batch;
use crate::debezium::shape::{Shape, Shapes};

/// The source tables whose shapes are remembered, at most.
const MAX_TABLES: usize = 1_000;

/// The last shape of each source table, of one run, and the last records.
#[derive(Default)]
pub(super) struct Seen {
    /// By topic, database, schema and table.
    shapes: HashMap<[String; 4], Arc<Shape>>,
    /// How many shapes of this run are known.
    known: usize,
    /// The last records that were kept.
    captured: Option<Arc<Captured>>,
}

impl Seen {
    /// Another run begins. The ids of a run say nothing to another one: its first shapes take the place of all before.
    pub(super) fn begin(&mut self) {
        self.known = 0;
    }

    /// Adds the run's shapes that are not known yet, in the order in which they came.
    pub(super) fn add(&mut self, shapes: &Shapes) {
        let new = shapes.all_but(self.known);
        if self.known == 0 && !new.is_empty() {
            self.shapes.clear();
        }
        self.known += new.len();
        for shape in &new {
            let table = [&shape.topic, &shape.database, &shape.schema, &shape.table].map(String::clone);
            if self.shapes.len() < MAX_TABLES || self.shapes.contains_key(&table) {
                self.shapes.insert(table, shape.clone());
            }
        }
    }

    /// Keeps the last records of a batch, now and then.
    pub(super) fn capture(&mut self, batch: &Batch) {
        if let Some(captured) = Captured::of(batch, self.captured.as_deref()) {
            self.captured = Some(Arc::new(captured));
        }
    }

    /// The last records that were kept.
    pub(super) fn captured(&self) -> Option<Arc<Captured>> {
        self.captured.clone()
    }

    /// All shapes, in the order of their ids.
    pub(super) fn shapes(&self) -> Vec<Arc<Shape>> {
        let mut shapes: Vec<Arc<Shape>> = self.shapes.values().cloned().collect();
        shapes.sort_by_key(|shape| shape.id);
        shapes
    }
}
