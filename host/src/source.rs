//! Where records come from: Kafka, or lines of a file. Both hand over closed batches.

pub mod kafka;
pub mod reading;
pub mod lines;

use std::sync::Arc;

use crate::batch::Batch;
use crate::commit::Seal;
use crate::epochs::Incarnation;

/// A batch as its source hands it over.
#[derive(Debug)]
pub struct SourceBatch {
    /// The records.
    pub batch: Batch,
    /// Which assignment of the partition it was read under; a later assignment makes it void.
    pub assignment: u64,
    /// The seal of an earlier attempt on exactly this range: its rows may have landed already.
    pub recovered: Option<Seal>,
    /// What the topic is to the pipeline, under this assignment.
    pub incarnation: Arc<Incarnation>,
    /// A person set the position back, and rows of this range may stand already from before.
    pub written_before: bool,
}
