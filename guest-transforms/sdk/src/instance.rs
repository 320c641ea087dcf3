//! A transform at work: the contract's three functions over [`Transform`].

use crate::input::{InputColumn, Meaning, Row};
use crate::{Answer, Batch, Out, Params, Plan, Rule, Table};

/// What an author writes.
pub trait Transform: Sized + 'static {
    /// Takes the pipeline's parameters. Called first, once an instance.
    ///
    /// # Errors
    /// Names the parameter at fault; the pipeline does not start.
    fn configure(params: &Params) -> Result<Self, String>;

    /// Says what is done with a table. Called once an instance for each shape of each table; the same table and
    /// parameters must always give the same rule. Truncations and messages have a shape of their own, without
    /// fields: a rule that needs a column should leave that out, not fail.
    ///
    /// # Errors
    /// The table cannot be processed.
    fn prepare(&self, table: &Table) -> Result<Rule, String>;
}

/// An instance of a transform: what the host talks to.
pub struct Instance<T> {
    transform: Option<T>,
    /// Few: an instance lives for one batch.
    tables: Vec<Prepared>,
}

struct Prepared {
    /// The table's id.
    id: u32,
    rule: Rule,
    /// What each of the rule's reads means.
    meanings: Vec<Meaning>,
}

impl<T: Transform> Instance<T> {
    /// One that is not configured yet.
    pub const fn new() -> Self {
        Self { transform: None, tables: Vec::new() }
    }

    /// `configure` of the contract.
    ///
    /// # Errors
    /// As [`Transform::configure`], and when a parameter is given twice.
    pub fn configure(&mut self, params: Vec<(String, String)>) -> Result<(), String> {
        self.transform = Some(T::configure(&Params::new(params)?)?);
        self.tables.clear();
        Ok(())
    }

    /// `prepare` of the contract.
    ///
    /// # Errors
    /// As [`Transform::prepare`], and when the rule refers to fields that the table does not have.
    pub fn prepare(&mut self, table: &Table) -> Result<Plan, String> {
        let transform = self.transform.as_ref().ok_or("the transform is not configured")?;
        let mut rule = transform.prepare(table)?;
        let plan = rule.plan(table)?;
        let meanings = rule.reads.iter().map(|input| Meaning::of(table, input)).collect::<Result<_, _>>()?;
        self.tables.retain(|prepared| prepared.id != table.id);
        self.tables.push(Prepared { id: table.id, rule, meanings });
        Ok(plan)
    }

    /// `apply` of the contract.
    ///
    /// # Errors
    /// When the batch is not what the plan asked for.
    pub fn apply(&mut self, batch: &Batch) -> Result<Answer, String> {
        let unknown = || format!("the host sent a batch of table {}, which is not prepared", batch.table);
        let prepared = self.tables.iter().find(|prepared| prepared.id == batch.table);
        let Prepared { rule, meanings, .. } = prepared.ok_or_else(unknown)?;
        if meanings.len() != batch.columns.len() {
            return Err(format!("the host sent {} columns for {}", batch.columns.len(), meanings.len()));
        }
        let rows = batch.rows as usize;
        let columns = batch.columns.iter().zip(meanings);
        let columns: Vec<InputColumn<'_>> = columns
            .map(|(column, &meaning)| InputColumn::new(column, meaning, rows))
            .collect::<Result<_, _>>()?;
        let ops = rule.op_read.and_then(|at| columns.get(at));

        let mut out = Out::new(rule, rows);
        for at in 0..rows {
            out.begin(at as u32, ops.is_some_and(|ops| ops.is_delete(at)));
            let result = match &rule.each {
                Some(closure) => closure(&Row::new(&columns, at), &mut out),
                None => {
                    out.keep();
                    Ok(())
                }
            };
            out.end(result);
        }
        Ok(out.finish())
    }
}

impl<T: Transform> Default for Instance<T> {
    fn default() -> Self {
        Self::new()
    }
}
