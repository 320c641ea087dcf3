//! A decoded batch through the transform: from changes to rows, by table.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::anyhow;

use super::answer::Answer;
use super::keyed::{self, Standing};
use super::log::BatchLog;
use super::patience::Patience;
use super::plan::Plan;
use super::{CallError, Instance, MORE_MEMORY, Transform};
use crate::batch::Batch;
use crate::columns::{self, Cells, Column};
use crate::debezium::shape::Shape;
use crate::debezium::{Decoded, Op, Rejected};
use crate::error::Classify;
use crate::metrics::{Call, Outcome};

/// Changes of one table that must fail alone, one after the other, before the rest of the batch is given up
/// with them: a transform that fails on every change must not cost a call for each.
const MAX_LONE_FAILURES: usize = 16;

/// The rows of one output of one shape, in the order of their changes.
#[derive(Debug)]
pub struct ShapeRows {
    /// The shape that the rows' changes have.
    pub shape: Arc<Shape>,
    /// The plan that made them.
    pub plan: Arc<Plan>,
    /// Which of the plan's outputs they are of.
    pub output: usize,
    /// For each row its change, as an index into [`Decoded::changes`].
    pub changes: Vec<u32>,
    /// For each row its place among the rows of its change, over all outputs; `_seq`.
    pub seqs: Vec<u16>,
    /// For each row what becomes of its key; empty where the output has none.
    pub standings: Vec<Standing>,
    /// The output's computed columns.
    pub computed: Vec<Column>,
}

impl ShapeRows {
    /// An output of a plan without any row.
    pub fn none(shape: &Arc<Shape>, plan: &Arc<Plan>, output: usize) -> Self {
        let (shape, plan) = (shape.clone(), plan.clone());
        let (changes, seqs, standings, computed) = (vec![], vec![], vec![], vec![]);
        ShapeRows { shape, plan, output, changes, seqs, standings, computed }
    }

    /// Whether the newest row of a key replaces the ones before it.
    pub fn is_keyed(&self) -> bool {
        self.plan.outputs[self.output].is_keyed()
    }

    /// Keeps the rows whose change `keep` says yes to.
    pub fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        let kept: Vec<usize> = (0..self.changes.len()).filter(|row| keep(self.changes[*row])).collect();
        if kept.len() < self.changes.len() {
            self.pick(&kept);
        }
    }

    /// Has the rows of these indices, in this order; an index may come twice.
    pub fn pick(&mut self, which: &[usize]) {
        self.computed = self.computed.iter().map(|column| select(column, which)).collect();
        self.seqs = which.iter().map(|row| self.seqs[*row]).collect();
        if !self.standings.is_empty() {
            self.standings = which.iter().map(|row| self.standings[*row]).collect();
        }
        self.changes = which.iter().map(|row| self.changes[*row]).collect();
    }
}

/// What became of a batch's changes. Each change is in `rows` at least once, filtered, or in `rejected`.
#[derive(Debug, Default)]
pub struct Transformed {
    /// The rows, by shape and output.
    pub rows: Vec<ShapeRows>,
    /// Changes with at least one row.
    pub kept: u64,
    /// Changes without a row that are not rejected.
    pub filtered: u64,
    /// Changes that cannot be processed; ascending by record.
    pub rejected: Vec<Rejected>,
    /// How the calls of the transform ended, in their order.
    pub calls: Vec<Call>,
}

/// The plans of the shapes seen so far.
#[derive(Default)]
pub struct Plans {
    by_shape: HashMap<u32, Arc<Plan>>,
    /// The tables that feed outputs with a key, with the targets that these name.
    keyed: Vec<(Arc<Shape>, Option<String>)>,
}

impl Plans {
    fn keep(&mut self, shape: &Arc<Shape>, plan: Plan) -> Arc<Plan> {
        for output in plan.outputs.iter().filter(|output| output.is_keyed()) {
            let known = |(known, target): &(Arc<Shape>, Option<String>)| {
                known.is_of_table(shape) && *target == output.target
            };
            if !self.keyed.iter().any(known) {
                self.keyed.push((shape.clone(), output.target.clone()));
            }
        }
        let plan = Arc::new(plan);
        self.by_shape.insert(shape.id, plan.clone());
        plan
    }

    /// The targets of all outputs with a key that the source table of `shape` was seen to feed; none for the
    /// one that the configuration names.
    pub fn keyed_targets(&self, shape: &Shape) -> Vec<Option<String>> {
        let of_table = self.keyed.iter().filter(|(known, _)| known.is_of_table(shape));
        of_table.map(|(_, target)| target.clone()).collect()
    }
}

/// Passes all changes of `decoded` through `transform`. `shape` finds a shape by its id.
///
/// A call that fails is repeated on fresh instances by halves, until the changes at fault are alone; these
/// are rejected and the others go on. One for which there is no room is repeated until there is, or until
/// `give_up` says so: none then.
///
/// # Errors
/// A change alone needs more memory than there is for all transforms together.
pub fn run(
    transform: &Transform,
    plans: &mut Plans,
    batch: &Batch,
    decoded: &Decoded,
    shape: impl Fn(u32) -> Arc<Shape>,
    give_up: &dyn Fn() -> bool,
) -> anyhow::Result<Option<Transformed>> {
    let mut groups: Vec<(u32, Vec<u32>)> = Vec::new();
    for (index, change) in decoded.changes.iter().enumerate() {
        match groups.iter_mut().rev().find(|(shape, _)| *shape == change.shape) {
            Some((_, changes)) => changes.push(index as u32),
            None => groups.push((change.shape, vec![index as u32])),
        }
    }
    let mut run = Run {
        transform,
        batch,
        decoded,
        instance: None,
        log: transform.batch_log(),
        patience: Patience::new(give_up),
        out: Transformed::default(),
        rows_of: vec![0; decoded.changes.len()],
        lone_failures: 0,
        too_large: None,
        answered_bytes: 0,
        fuel: 0,
    };
    for (id, changes) in groups {
        run.shape(plans, &shape(id), changes);
    }
    if let Some(why) = run.too_large {
        return Err(anyhow!(why)).usage().help(MORE_MEMORY);
    }
    Ok((!run.patience.is_over()).then(|| run.finish()))
}

struct Run<'a> {
    transform: &'a Transform,
    batch: &'a Batch,
    decoded: &'a Decoded,
    /// The batch's instance; gone after a failure.
    instance: Option<Instance>,
    log: Arc<BatchLog>,
    patience: Patience<'a>,
    out: Transformed,
    /// Rows made so far of each change.
    rows_of: Vec<u16>,
    lone_failures: usize,
    /// Which change needs more memory than there is.
    too_large: Option<String>,
    /// What the transform handed back so far, bytes.
    answered_bytes: usize,
    /// What calls have used so far, those that failed too.
    fuel: u64,
}

impl Run<'_> {
    fn instance(&mut self) -> Result<&mut Instance, CallError> {
        match &mut self.instance {
            Some(instance) => Ok(instance),
            none => Ok(none.insert(self.transform.open_with(&self.log)?)),
        }
    }

    /// A call, on the batch's instance; repeated on a fresh one as long as [`Patience`] lasts.
    fn patiently<T>(&mut self, call: impl Fn(&mut Instance) -> Result<T, CallError>) -> Result<T, CallError> {
        loop {
            let done = self.instance().and_then(&call);
            self.fuel = self.fuel.saturating_add(self.instance.as_ref().map_or(0, Instance::fuel_used));
            let Err(error) = &done else { return done };
            self.instance = None;
            if !self.patience.waits_after(error) {
                return done;
            }
        }
    }

    fn shape(&mut self, plans: &mut Plans, shape: &Arc<Shape>, changes: Vec<u32>) {
        let plan = match plans.by_shape.get(&shape.id) {
            Some(plan) => plan.clone(),
            None => match self.prepare(shape) {
                Ok(plan) => plans.keep(shape, plan),
                Err(error) => return self.refuse(&changes, &error),
            },
        };
        let asked = |change: &u32| plan.ops.has(self.decoded.changes[*change as usize].op);
        let kept: Vec<u32> = changes.into_iter().filter(asked).collect();
        if !plan.outputs.is_empty() && !kept.is_empty() {
            let first_output = self.out.rows.len();
            let outputs = 0..plan.outputs.len();
            self.out.rows.extend(outputs.map(|output| ShapeRows::none(shape, &plan, output)));
            self.changes(shape, &plan, first_output, kept);
        }
    }

    fn prepare(&mut self, shape: &Shape) -> Result<Plan, CallError> {
        self.patiently(|instance| instance.prepare(shape))
    }

    fn changes(&mut self, shape: &Shape, plan: &Plan, first_output: usize, changes: Vec<u32>) {
        if plan.is_pure_copy() {
            for output in 0..plan.outputs.len() {
                self.add(first_output + output, &changes, 0..changes.len() as u32, &[], vec![]);
            }
            return;
        }
        let turn = self.transform.sandbox.share().turn();
        let mut columns = Vec::with_capacity(plan.reads.len());
        let mut failed: Vec<(u32, String)> = Vec::new();
        for read in columns::read(self.batch, self.decoded, shape, &changes, &plan.reads) {
            columns.push(read.column);
            failed.extend(read.failures);
        }
        drop(turn);
        if failed.is_empty() {
            return self.apply(shape, plan, first_output, &changes, &columns);
        }
        failed.sort_by_key(|(position, _)| *position);
        failed.dedup_by_key(|(position, _)| *position);
        let bad: Vec<u32> = failed.iter().map(|(position, _)| changes[*position as usize]).collect();
        for (change, (_, reason)) in bad.iter().zip(failed) {
            self.reject(*change, reason);
        }
        let good = changes.into_iter().filter(|change| bad.binary_search(change).is_err()).collect();
        self.changes(shape, plan, first_output, good);
    }

    /// One call, or two of its halves where it fails.
    fn apply(
        &mut self,
        shape: &Shape,
        plan: &Plan,
        first_output: usize,
        changes: &[u32],
        columns: &[Column],
    ) {
        if changes.is_empty() || self.patience.is_over() || self.too_large.is_some() {
            return;
        }
        let failed_before = self.lone_failures;
        let answer = self.call(shape, plan, changes.len(), columns);
        match answer {
            Ok(answer) => {
                self.lone_failures = 0;
                self.take(first_output, changes, answer);
            }
            Err(error) if changes.len() == 1 => {
                self.lone_failures += 1;
                self.refuse(changes, &error);
            }
            Err(error) if failed_before >= MAX_LONE_FAILURES && !matches!(error, CallError::TooLarge(_)) => {
                let reason =
                    format!("given up after {MAX_LONE_FAILURES} changes in a row failed alone: {error}");
                self.reject_all(changes, &reason);
            }
            Err(error) => {
                tracing::debug!(changes = changes.len(), "{error}: trying again by halves");
                let middle = changes.len() / 2;
                for (from, to) in [(0, middle), (middle, changes.len())] {
                    let half: Vec<_> = columns.iter().map(|column| slice(column, from, to)).collect();
                    self.apply(shape, plan, first_output, &changes[from..to], &half);
                }
            }
        }
    }

    /// `apply`, of a shape whose plan is known.
    fn call(
        &mut self,
        shape: &Shape,
        plan: &Plan,
        changes: usize,
        columns: &[Column],
    ) -> Result<Answer, CallError> {
        let (begin, fuel_before) = (Instant::now(), self.fuel);
        let answer = self.patiently(|instance| {
            // The contract: `prepare` comes before `apply` in each instance, and always gives the same.
            if instance.prepare(shape)? != *plan {
                return Err(CallError::Lied("prepare gave another plan for the same table".into()));
            }
            instance.apply(shape.id, plan, changes, columns)
        });
        let fuel = self.fuel.saturating_sub(fuel_before);
        self.out.calls.push(Call { outcome: outcome(&answer), fuel, took: begin.elapsed() });
        answer
    }

    fn take(&mut self, first_output: usize, changes: &[u32], answer: Answer) {
        let columns = answer.parts.iter().flat_map(|part| &part.computed);
        self.answered_bytes = columns.map(Column::bytes).fold(self.answered_bytes, usize::saturating_add);
        let most = self.transform.limits.batch_answer_bytes;
        if self.answered_bytes > most {
            let most = most >> 20;
            let reason = format!("the transform's rows for this batch have more than {most} MiB");
            return self.reject_all(changes, &reason);
        }
        for (output, part) in answer.parts.into_iter().enumerate() {
            let rows = part.rows.into_iter();
            self.add(first_output + output, changes, rows, &part.removed, part.computed);
        }
        let rejected: Vec<u32> = answer.rejects.iter().map(|(row, _)| changes[*row as usize]).collect();
        for (change, (_, reason)) in rejected.iter().zip(answer.rejects) {
            self.reject(*change, reason);
        }
    }

    /// Adds rows, given as indices into `changes`, to an output. `removed` is that of the answer.
    fn add(
        &mut self,
        output: usize,
        changes: &[u32],
        rows: impl Iterator<Item = u32>,
        removed: &[u8],
        computed: Vec<Column>,
    ) {
        let into = &mut self.out.rows[output];
        let keyed = into.is_keyed();
        for (at, row) in rows.enumerate() {
            let change = changes[row as usize];
            if keyed {
                let leaves = match removed.get(at) {
                    Some(flag) => *flag == 1,
                    None => self.decoded.changes[change as usize].op == Op::Delete,
                };
                into.standings.push(if leaves { Standing::Leaves } else { Standing::Lives });
            }
            let seq = &mut self.rows_of[change as usize];
            into.changes.push(change);
            into.seqs.push(*seq);
            *seq = seq.saturating_add(1);
        }
        if into.computed.is_empty() {
            into.computed = computed;
        } else {
            let before = into.changes.len();
            for (column, more) in into.computed.iter_mut().zip(computed) {
                append(column, more, before);
            }
        }
    }

    /// Rejects changes that a call failed with, unless that is no fault of theirs.
    fn refuse(&mut self, changes: &[u32], error: &CallError) {
        if !matches!(error, CallError::TooLarge(_)) {
            return self.reject_all(changes, &error.to_string());
        }
        let first = changes.first().map(|change| self.decoded.changes[*change as usize].record);
        let offset = first.map_or(self.batch.first, |record| self.batch.records[record as usize].offset);
        self.too_large = Some(format!("{}/{}@{offset}: {error}", self.batch.topic, self.batch.partition));
    }

    fn reject(&mut self, change: u32, reason: String) {
        let record = self.decoded.changes[change as usize].record;
        self.out.rejected.push(Rejected { record, reason });
    }

    fn reject_all(&mut self, changes: &[u32], reason: &str) {
        for change in changes {
            self.reject(*change, reason.to_owned());
        }
    }

    fn finish(mut self) -> Transformed {
        self.refuse_many_rows();
        let keyed::Completed { refused } =
            keyed::complete(self.batch, self.decoded, &mut self.out.rows, &mut self.rows_of);
        for (change, reason) in refused {
            self.reject(change, reason);
        }
        self.out.rows.retain(|rows| !rows.changes.is_empty());
        self.count();
        self.out.rejected.sort_by_key(|rejected| rejected.record);
        self.out
    }

    /// Takes out the changes of which the transform makes more rows than it may of one.
    fn refuse_many_rows(&mut self) {
        let most = self.transform.limits.rows_of_change;
        let with_rows = (0..).zip(&self.rows_of);
        let many: Vec<u32> = with_rows.filter(|(_, rows)| **rows > most).map(|(change, _)| change).collect();
        if many.is_empty() {
            return;
        }
        self.out.rows.iter_mut().for_each(|rows| rows.retain(|change| many.binary_search(&change).is_err()));
        for change in many {
            let reason = format!("it makes more than {most} rows of the change (`budget.rows_per_change`)");
            self.reject(change, reason);
        }
    }

    /// Counts the changes that have rows by now, and those that have none and are not rejected.
    fn count(&mut self) {
        let mut kept = vec![false; self.decoded.changes.len()];
        for change in self.out.rows.iter().flat_map(|rows| &rows.changes) {
            kept[*change as usize] = true;
        }
        self.out.kept = kept.iter().filter(|kept| **kept).count() as u64;
        let rest = kept.len() as u64 - self.out.kept;
        self.out.filtered = rest.saturating_sub(self.out.rejected.len() as u64);
    }
}

/// How a call ended, for those who count.
fn outcome(answer: &Result<Answer, CallError>) -> Outcome {
    match answer {
        Ok(answer) if answer.parts.iter().all(|part| part.rows.is_empty()) => Outcome::Filtered,
        Ok(_) => Outcome::Rows,
        Err(CallError::Returned(_) | CallError::Lied(_)) => Outcome::Error,
        Err(CallError::Trapped(_) | CallError::Slow(_) | CallError::Busy(_) | CallError::TooLarge(_)) => {
            Outcome::Trap
        }
    }
}

/// Cells `from..to` of a column.
fn slice(column: &Column, from: usize, to: usize) -> Column {
    let states = if column.states.is_empty() { vec![] } else { column.states[from..to].to_vec() };
    let cells = match &column.cells {
        Cells::Small(cells) => Cells::Small(cells[from..to].to_vec()),
        Cells::Ints(cells) => Cells::Ints(cells[from..to].to_vec()),
        Cells::Floats(cells) => Cells::Floats(cells[from..to].to_vec()),
        Cells::Blobs(blobs) => {
            let start = blobs.offsets[from];
            let offsets = blobs.offsets[from..=to].iter().map(|offset| offset - start).collect();
            let bytes = blobs.bytes[start as usize..blobs.offsets[to] as usize].to_vec();
            Cells::Blobs(columns::Blobs { offsets, bytes })
        }
    };
    Column { states, cells }
}

/// The cells of these indices.
fn select(column: &Column, which: &[usize]) -> Column {
    let mut selected = slice(column, 0, 0);
    for (total, row) in which.iter().enumerate() {
        append(&mut selected, slice(column, *row, *row + 1), total + 1);
    }
    selected
}

/// Appends `more` to `column`; both have the stored form of the same plan. `total` is the number of cells
/// that there are then.
fn append(column: &mut Column, more: Column, total: usize) {
    let added = more.cells.len();
    if !(column.states.is_empty() && more.states.is_empty()) {
        column.states.resize(total - added, columns::state::PRESENT);
        column.states.extend(&more.states);
        column.states.resize(total, columns::state::PRESENT);
    }
    match (&mut column.cells, more.cells) {
        (Cells::Small(cells), Cells::Small(more)) => cells.extend(more),
        (Cells::Ints(cells), Cells::Ints(more)) => cells.extend(more),
        (Cells::Floats(cells), Cells::Floats(more)) => cells.extend(more),
        (Cells::Blobs(blobs), Cells::Blobs(more)) => {
            let end = blobs.bytes.len() as u32;
            blobs.offsets.extend(more.offsets[1..].iter().map(|offset| offset + end));
            blobs.bytes.extend(more.bytes);
        }
        // The answer's check holds every column to the plan's kind.
        _ => unreachable!("two stored forms of one planned column"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Blobs;
    use crate::config::SandboxLimits;
    use crate::debezium::fixture;
    use crate::transform::BUILT_IN;
    use crate::transform::compile::Compiling;
    use crate::transform::sandbox::Sandbox;

    fn built_in() -> Transform {
        let sandbox = Sandbox::alone(Compiling::default()).unwrap();
        Transform::load(&sandbox, BUILT_IN, vec![], SandboxLimits::default()).unwrap()
    }

    fn event(op: &str, created_at: &str) -> String {
        let row = format!(r#"{{"id":1,"created_at":{created_at}}}"#);
        let (before, after) = if op == "d" { (row.as_str(), "null") } else { ("null", row.as_str()) };
        format!(
            r#"{{"before":{before},"after":{after},"source":{{"connector":"postgresql","db":"d","schema":"s","table":"t"}},"op":"{op}"}}"#
        )
    }

    fn transformed(transform: &Transform, values: &[&str]) -> Transformed {
        let decoded = fixture::Run::of_values(values);
        let (batch, changes) = &decoded.batches[0];
        let shape = |id| decoded.decoder.shape(id).clone();
        run(transform, &mut Plans::default(), batch, changes, shape, &|| false).unwrap().unwrap()
    }

    #[test]
    fn each_change_is_kept_filtered_or_rejected_and_counted_once() {
        let events = [
            event("u", "1704067200000000"),
            event("c", "1704067200000000"),
            event("u", r#""yesterday""#),
            event("d", "null"),
            event("u", "null"),
        ];
        let done = transformed(&built_in(), &events.each_ref().map(String::as_str));
        assert_eq!((done.kept, done.filtered, done.rejected.len()), (2, 2, 1));
        assert_eq!(done.rejected[0].record, 2);
        assert!(done.rejected[0].reason.contains("created_at"), "{}", done.rejected[0].reason);
        let changes: Vec<u32> = done.rows.iter().flat_map(|rows| rows.changes.clone()).collect();
        assert_eq!(changes, [0, 4]);
        assert_eq!(done.rows[0].computed[0].cells, Cells::Ints(vec![1_704_067_200_000_000]));
    }

    #[test]
    fn a_change_of_more_rows_than_one_may_have_is_rejected_and_the_others_are_kept() {
        let (update, delete) = (event("u", "1704067200000"), event("d", "null"));
        let sandbox = Sandbox::alone(Compiling::default()).unwrap();
        let limits = SandboxLimits { rows_of_change: 0, ..SandboxLimits::default() };
        let none = Transform::load(&sandbox, BUILT_IN, vec![], limits).unwrap();
        let done = transformed(&none, &[&update, &delete, &update]);
        assert_eq!((done.kept, done.filtered, done.rejected.len(), done.rows.len()), (0, 1, 2, 0));
        assert!(done.rejected[1].reason.contains("more than 0 rows"), "{}", done.rejected[1].reason);
        let one = SandboxLimits { rows_of_change: 1, ..SandboxLimits::default() };
        let one = Transform::load(&sandbox, BUILT_IN, vec![], one).unwrap();
        assert_eq!(transformed(&one, &[&update, &delete, &update]).kept, 2);
    }

    #[test]
    fn the_same_batch_gives_the_same_rows_whatever_came_before() {
        let transform = built_in();
        let event = event("u", "1704067200000");
        let first = format!("{:?}", transformed(&transform, &[&event]).rows);
        transformed(&transform, &[r#"{"op":"u"}"#, "[]"]);
        assert_eq!(format!("{:?}", transformed(&transform, &[&event]).rows), first);
    }

    fn blobs(cells: &[&str]) -> Column {
        let mut offsets = vec![0];
        let mut bytes = vec![];
        for cell in cells {
            bytes.extend(cell.as_bytes());
            offsets.push(bytes.len() as u32);
        }
        Column { states: vec![], cells: Cells::Blobs(Blobs { offsets, bytes }) }
    }

    #[test]
    fn slices_of_a_column_put_together_again_are_the_column() {
        let mut column = blobs(&["a", "", "bcd", "e"]);
        column.states = vec![0, 1, 0, 0];
        let mut front = slice(&column, 0, 2);
        append(&mut front, slice(&column, 2, 4), 4);
        assert_eq!(front, column);
    }

    #[test]
    fn appending_states_to_a_column_without_any_keeps_each_at_its_cell() {
        let mut column = blobs(&["a"]);
        let mut more = blobs(&["", "b"]);
        more.states = vec![1, 0];
        append(&mut column, more, 3);
        assert_eq!(column.states, [0, 1, 0]);
    }
}
