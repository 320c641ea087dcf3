//! What a transform does with one table.

use crate::bindings::rowgate::transform::types::{self, Origin, Output, OutputColumn};
use crate::{Input, Kind, Ops, Out, Plan, Row, Table};

/// What is done with each change of a table, as [`Rule::each`] takes it.
pub(crate) type Each = Box<dyn Fn(&Row<'_>, &mut Out<'_>) -> Result<(), String>>;

/// A value that the closure sees, by [`Row::get`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read(pub(crate) usize);

/// A column that the closure fills in, by [`Out::set`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Computed {
    pub(crate) output: usize,
    pub(crate) column: usize,
}

/// One of the outputs of a rule that has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputId(pub(crate) usize);

/// What a transform does with one table: which changes it keeps, which values it sees, what rows it makes.
///
/// A rule without a closure makes one row of every change that it keeps, and is carried out by the host
/// alone.
pub struct Rule {
    pub(crate) ops: Ops,
    pub(crate) reads: Vec<Input>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) each: Option<Each>,
    /// Where `op` stands among `reads`, where the closure's answer needs it.
    pub(crate) op_read: Option<usize>,
}

impl Rule {
    /// Keeps the changes of these kinds, and has one output, without columns as yet, for the table that the
    /// host's configuration names.
    pub fn on(ops: Ops) -> Self {
        let output = Output { target: None, columns: Vec::new(), key: Vec::new() };
        Self { ops, reads: Vec::new(), outputs: vec![output], each: None, op_read: None }
    }

    /// Leaves the table out.
    pub fn leave_out() -> Self {
        Self { ops: Ops::empty(), reads: Vec::new(), outputs: Vec::new(), each: None, op_read: None }
    }

    /// Shows a value to the closure.
    pub fn read(&mut self, input: Input) -> Read {
        let at = self.reads.iter().position(|read| *read == input).unwrap_or_else(|| {
            self.reads.push(input);
            self.reads.len() - 1
        });
        Read(at)
    }

    /// Adds a column to the output that the host fills in.
    pub fn copy(&mut self, name: &str, input: Input) {
        self.column(name, Origin::Copy(input));
    }

    /// Adds a column to the output that has the same text in every row.
    pub fn constant(&mut self, name: &str, text: &str) {
        self.column(name, Origin::Constant(text.to_owned()));
    }

    /// Adds a column to the output that the closure fills in, and that may be null.
    pub fn compute(&mut self, name: &str, kind: Kind) -> Computed {
        self.computed(name, types::Computed { kind, nullable: true, target_type: None })
    }

    /// Adds a column to the output that the closure must fill in for each row. A row where it does not is
    /// rejected.
    pub fn compute_required(&mut self, name: &str, kind: Kind) -> Computed {
        self.computed(name, types::Computed { kind, nullable: false, target_type: None })
    }

    /// Gives a computed column another type in the target than the usual one for its kind, such as
    /// `Decimal(18, 4)`.
    pub fn typed(&mut self, column: Computed, target_type: &str) {
        let computed = self.outputs.get_mut(column.output).and_then(|output| {
            let computed = output.columns.iter_mut().filter_map(|column| match &mut column.origin {
                Origin::Computed(computed) => Some(computed),
                _ => None,
            });
            computed.into_iter().nth(column.column)
        });
        if let Some(computed) = computed {
            computed.target_type = Some(target_type.to_owned());
        }
    }

    /// Names the target table of the output.
    pub fn target(&mut self, table: &str) {
        self.last().target = Some(table.to_owned());
    }

    /// Makes the output keep one row, the newest, for each key; without it, the output is a log. The columns are
    /// named as in the output. The row of a delete takes its key out, as does [`Out::remove`]; both need the
    /// key's values, so copy these from `Input::Latest`: a delete has no row after it.
    pub fn key(&mut self, columns: &[&str]) {
        self.last().key = columns.iter().map(|&column| column.to_owned()).collect();
    }

    /// The output that columns are being added to.
    pub fn this_output(&self) -> OutputId {
        OutputId(self.outputs.len().saturating_sub(1))
    }

    /// Starts one more output; what is added from here on belongs to it.
    pub fn next_output(&mut self, target: &str) -> OutputId {
        self.outputs.push(Output { target: Some(target.to_owned()), columns: Vec::new(), key: Vec::new() });
        self.this_output()
    }

    /// Runs `closure` for each change. What it does not keep is filtered; where it returns an error, the
    /// change is rejected with that reason, and nothing of it is kept.
    pub fn each(mut self, closure: impl Fn(&Row<'_>, &mut Out<'_>) -> Result<(), String> + 'static) -> Self {
        self.each = Some(Box::new(closure));
        self
    }

    /// What the host is told. Also settles what the closure has to see beside what it asked for.
    pub(crate) fn plan(&mut self, table: &Table) -> Result<Plan, String> {
        if self.each.is_none() {
            self.reads.clear();
        } else if self.outputs.iter().any(|output| !output.key.is_empty()) || self.is_all_copied() {
            // With a key, a row of a delete is a removal unless said otherwise. And a plan that neither
            // reads nor computes would be carried out without the closure.
            self.op_read = Some(self.read(Input::Op).0);
        }
        self.check(table)?;
        Ok(Plan { ops: self.ops, reads: self.reads.clone(), outputs: self.outputs.clone() })
    }

    fn is_all_copied(&self) -> bool {
        self.reads.is_empty() && !self.columns().any(|column| matches!(column.origin, Origin::Computed(_)))
    }

    fn check(&self, table: &Table) -> Result<(), String> {
        let copied = self.columns().filter_map(|column| match &column.origin {
            Origin::Copy(input) => Some(input),
            _ => None,
        });
        for input in self.reads.iter().chain(copied) {
            field_of(table, input)?;
        }
        let computed = self.columns().find(|column| matches!(column.origin, Origin::Computed(_)));
        match computed {
            Some(column) if self.each.is_none() => {
                Err(format!("column `{}` is computed, but the rule has no closure", column.name))
            }
            _ => Ok(()),
        }
    }

    fn columns(&self) -> impl Iterator<Item = &OutputColumn> {
        self.outputs.iter().flat_map(|output| &output.columns)
    }

    fn computed(&mut self, name: &str, computed: types::Computed) -> Computed {
        self.column(name, Origin::Computed(computed));
        let output = self.this_output().0;
        let columns = &self.last().columns;
        let computed = columns.iter().filter(|column| matches!(column.origin, Origin::Computed(_))).count();
        Computed { output, column: computed - 1 }
    }

    fn column(&mut self, name: &str, origin: Origin) {
        self.last().columns.push(OutputColumn { name: name.to_owned(), origin });
    }

    /// The output that is being added to. A table that was left out gets one.
    fn last(&mut self) -> &mut Output {
        if self.outputs.is_empty() {
            *self = Self::on(self.ops);
        }
        let last = self.outputs.len() - 1;
        &mut self.outputs[last]
    }
}

/// The field that an input refers to, where it refers to one.
pub(crate) fn field_of<'t>(table: &'t Table, input: &Input) -> Result<Option<&'t types::Field>, String> {
    let (Input::After(at) | Input::Before(at) | Input::Latest(at)) = input else { return Ok(None) };
    let field = table.fields.get(*at as usize);
    field.map(Some).ok_or_else(|| {
        format!("the rule refers to field {at} of table `{}`, which has {}", table.name, table.fields.len())
    })
}
