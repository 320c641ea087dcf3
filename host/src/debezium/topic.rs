//! What a decoder remembers of one topic, and with it the way from a row on the tape to a shape and cells.
//!
//! Nearly every row has the columns of the row before it: its keys are compared with those as raw bytes,
//! one after the other, and no name is looked up.

use std::sync::Arc;

use crate::batch::Span;

use super::envelope::{Layout, Part, Role, Source, View};
use super::flat;
use super::placeholder::Lengths;
use super::report;
use super::scan::{Json, KeysId, Member, unescape};
use super::schema::{self, ValueSchema};
use super::shape::{Field, Guess, Shape, Shapes, TableName, Wire};
use super::walk;

/// Schemas, tables, and shapes of a table that are looked through for each record; more than these are
/// possible, and only slower.
const REMEMBERED: usize = 64;

/// What is remembered of one topic.
#[derive(Debug, Default)]
pub struct Topic {
    /// How values stand.
    pub values: Wrapping,
    /// How that stands which CloudEvents carry.
    pub data: Wrapping,
    /// Whether keys stand in a wrapper of `schema` and `payload`: they have a converter of their own.
    pub key_wrapped: Option<bool>,
    /// Whether it was said that nulls may have become defaults.
    pub said_defaults: bool,
    /// Whether it was said that flattened rows do not tell their operation.
    pub said_op_is_lost: bool,
    /// Schemas of values, the last used first.
    pub schemas: Vec<KnownSchema>,
    /// Texts of schemas of keys, the last used first.
    pub key_schemas: Vec<Box<[u8]>>,
    /// Of the last record's `source`.
    pub source: Layout<Role>,
    tables: Vec<KnownTable>,
    schemas_made: u32,
}

/// How events stand in values.
#[derive(Debug, Default)]
pub struct Wrapping {
    /// Whether in the converter's wrapper of `schema` and `payload`; settled by the first record, and asked where a
    /// record leaves it open.
    pub wrapped: Option<bool>,
    /// Of the last value, and of the payload in the last wrapper.
    pub layouts: [Layout<Part>; 2],
}

/// A schema's text and what it says.
#[derive(Debug)]
pub struct KnownSchema {
    text: Box<[u8]>,
    /// Unique within the topic.
    serial: u32,
    /// What it says, or what is wrong with it.
    pub parsed: Result<Arc<ValueSchema>, String>,
}

impl AsRef<[u8]> for KnownSchema {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

#[derive(Debug)]
struct KnownTable {
    /// The names' JSON in `source`, as [`Source::names`] gives it.
    raw: [Box<[u8]>; 4],
    name: TableName,
    /// The last used first.
    shapes: Vec<KnownShape>,
    /// The guesses that were said of its columns.
    said: Vec<String>,
}

/// A shape, and how the records look that have it.
#[derive(Debug)]
struct KnownShape {
    shape: Arc<Shape>,
    /// The serial of the records' schema.
    schema: Option<u32>,
    /// The members of the row, as they are written.
    names: Vec<Box<[u8]>>,
    /// For each field what its values look like; none where a schema or a hint says what they are.
    looks: Vec<Option<Guess>>,
    /// The keys of the last rows before and after a change that had all of these names.
    same: [Option<KeysId>; 2],
    /// The members of the records' key, as they are written.
    key: Vec<Box<[u8]>>,
}

/// What a record brings for finding its shape.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The record's value.
    pub view: View<'a>,
    /// Its `source` block.
    pub source: Source,
    /// The row before the change, an index on the tape.
    pub before: Option<u32>,
    /// The row after the change, an index on the tape.
    pub after: Option<u32>,
    /// The names of the key's members, as they are written.
    pub key: &'a [Span],
    /// Whether the row is the whole value, so that its schema's fields are the columns.
    pub flattened: bool,
}

impl Rows<'_> {
    /// The row that gives the shape where there is no schema.
    fn primary(&self) -> Option<u32> {
        self.after.or(self.before)
    }
}

/// A change's shape, and the first cells of its rows.
#[derive(Debug, Clone, Copy)]
pub struct Shaped {
    /// The shape's id.
    pub shape: u32,
    /// First cell of the row before.
    pub before: Option<u32>,
    /// First cell of the row after.
    pub after: Option<u32>,
}

impl Topic {
    /// Brings the schema at `text` to the front of [`Topic::schemas`]; `known` is its index there where the
    /// scanner recognised it.
    pub fn use_schema(&mut self, text: &str, known: Option<usize>) {
        let known = known.or_else(|| self.schemas.iter().position(|schema| *schema.text == *text.as_bytes()));
        match known {
            Some(0) => {}
            Some(index) if index < self.schemas.len() => self.schemas[..=index].rotate_right(1),
            _ => self.remember_schema(text.as_bytes(), schema::parse(text).map(Arc::new)),
        }
    }

    /// The same for a schema of a registry; `label` is what no other has, and no JSON begins with.
    pub fn use_registered(&mut self, label: &[u8], schema: &Arc<ValueSchema>) {
        match self.schemas.iter().position(|known| *known.text == *label) {
            Some(0) => {}
            Some(index) => self.schemas[..=index].rotate_right(1),
            None => self.remember_schema(label, Ok(Arc::clone(schema))),
        }
    }

    fn remember_schema(&mut self, text: &[u8], parsed: Result<Arc<ValueSchema>, String>) {
        let serial = self.schemas_made;
        self.schemas_made += 1;
        self.schemas.truncate(REMEMBERED - 1);
        if let (Ok(schema), false) = (&parsed, self.said_defaults) {
            self.said_defaults = report::defaults(schema);
        }
        self.schemas.insert(0, KnownSchema { text: text.into(), serial, parsed });
    }

    /// Remembers the text of a key's schema.
    pub fn use_key_schema(&mut self, text: &[u8], known: Option<usize>) {
        if known.is_none() {
            self.key_schemas.truncate(REMEMBERED - 1);
            self.key_schemas.insert(0, text.into());
        }
    }

    /// The shape of a change that has no rows: its table without fields.
    pub fn rowless(
        &mut self,
        topic: &Arc<str>,
        view: View<'_>,
        source: &Source,
        typed: bool,
        shapes: &mut Shapes,
    ) -> Result<u32, String> {
        let table = self.table(view, source)?;
        Ok(shapes.intern(topic, &table.name, typed, Vec::new())?.0.id)
    }

    /// Finds or makes the shape of a change with rows, and appends the cells of its rows. `typed`: the first
    /// of [`Topic::schemas`] is the record's.
    pub fn shape(
        &mut self,
        topic: &Arc<str>,
        rows: &Rows<'_>,
        typed: bool,
        shapes: &mut Shapes,
        cells: &mut Vec<Span>,
    ) -> Result<Shaped, String> {
        let schema = match self.schemas.first() {
            Some(known) if typed => {
                Some((known.serial, Arc::clone(known.parsed.as_ref().map_err(String::clone)?)))
            }
            _ => None,
        };
        let table = self.table(rows.view, &rows.source)?;
        let serial = schema.as_ref().map(|(serial, _)| *serial);
        if let Some(shaped) = table.known_shape(rows, serial, cells) {
            return Ok(shaped);
        }
        let fields = match &schema {
            Some((_, schema)) => table.typed_fields(rows, schema)?,
            None => match table.known_superset(rows, cells) {
                Some(shaped) => return Ok(shaped),
                None => table.guessed_fields(rows),
            },
        };
        let (shape, is_new) = shapes.intern(topic, &table.name, typed, fields)?;
        if is_new && !typed {
            report::guesses(rows, &shape, &mut table.said);
        }
        let before = rows.before.map(|row| fill_by_name(rows.view, row, &shape, cells)).transpose()?;
        let after = rows.after.map(|row| fill_by_name(rows.view, row, &shape, cells)).transpose()?;
        let id = shape.id;
        table.remember(rows, shape, serial);
        Ok(Shaped { shape: id, before, after })
    }

    /// The same for the key of a row that is gone: the shape is the last of the topic's last table that has
    /// the key's columns. The `source` of `rows` counts where the topic has told no table yet.
    pub fn shape_of_key(
        &mut self,
        topic: &Arc<str>,
        rows: &Rows<'_>,
        shapes: &mut Shapes,
        cells: &mut Vec<Span>,
    ) -> Result<Shaped, String> {
        let table = match self.tables.first_mut() {
            Some(table) => table,
            None => self.table(rows.view, &rows.source)?,
        };
        let row = rows.before.ok_or("a key without a row")?;
        let shape = match table.shapes.iter().find(|known| fits_by_name(rows.view, row, &known.shape)) {
            Some(known) => Arc::clone(&known.shape),
            None => shapes.intern(topic, &table.name, false, table.guessed_fields(rows))?.0,
        };
        let before = fill_by_name(rows.view, row, &shape, cells)?;
        Ok(Shaped { shape: shape.id, before: Some(before), after: None })
    }

    /// The name of the table that `source` names.
    pub fn table_name(&mut self, view: View<'_>, source: &Source) -> Result<&TableName, String> {
        Ok(&self.table(view, source)?.name)
    }

    /// The table that `source` names, brought to the front.
    fn table(&mut self, view: View<'_>, source: &Source) -> Result<&mut KnownTable, String> {
        let raw = source.names.map(|span| span.of(view.arena));
        let same = |table: &KnownTable| table.raw.iter().zip(raw).all(|(known, raw)| **known == *raw);
        match self.tables.iter().position(same) {
            Some(0) => {}
            Some(index) => self.tables[..=index].rotate_right(1),
            None => {
                let [connector, database, schema, table] = source.names.map(|span| name(view.text(span)));
                let name =
                    TableName { connector: connector?, database: database?, schema: schema?, table: table? };
                self.tables.truncate(REMEMBERED - 1);
                self.tables.insert(
                    0,
                    KnownTable { raw: raw.map(Into::into), name, shapes: Vec::new(), said: Vec::new() },
                );
            }
        }
        self.tables.first_mut().ok_or_else(|| "no table is remembered".into())
    }
}

/// A name in `source`; absent and null are no name.
fn name(json: &str) -> Result<String, String> {
    match walk::inside(json) {
        Some(raw) => Ok(unescape(raw).into_owned()),
        None if json.is_empty() || json == "null" => Ok(String::new()),
        None => Err("`source` names its table with something other than text".into()),
    }
}

impl KnownTable {
    fn known_shape(&mut self, rows: &Rows<'_>, schema: Option<u32>, cells: &mut Vec<Span>) -> Option<Shaped> {
        for index in 0..self.shapes.len() {
            let known = &mut self.shapes[index];
            if known.schema != schema || !same_names(&known.key, rows.view.arena, rows.key) {
                continue;
            }
            let start = cells.len();
            if let Some(shaped) = known.fill(rows, cells) {
                self.shapes[..=index].rotate_right(1);
                return Some(shaped);
            }
            cells.truncate(start);
        }
        None
    }

    /// A shape that has all columns of a deleted row, and more: some connectors send no more than the key.
    fn known_superset(&mut self, rows: &Rows<'_>, cells: &mut Vec<Span>) -> Option<Shaped> {
        let (None, Some(row)) = (rows.after, rows.before) else { return None };
        let fits = |known: &&KnownShape| {
            known.schema.is_none()
                && same_names(&known.key, rows.view.arena, rows.key)
                && fits_by_name(rows.view, row, &known.shape)
        };
        let shape = &self.shapes.iter().find(fits)?.shape;
        let before = fill_by_name(rows.view, row, shape, cells).ok()?;
        Some(Shaped { shape: shape.id, before: Some(before), after: None })
    }

    /// Fields for a row without a schema, by what its values look like, or else what they looked like in the
    /// last row with the same columns.
    fn guessed_fields(&self, rows: &Rows<'_>) -> Vec<Field> {
        let key = key_names(rows);
        let mut fields: Vec<Field> = Vec::new();
        for row in rows.after.into_iter().chain(rows.before) {
            let others = fields.len();
            for (at, (_, member)) in rows.view.scanner.members_of(row).enumerate() {
                let name = member_name(rows.view, member);
                let guess = guess(rows.view, member);
                // The keys of one object differ, so only the other row can have had this one.
                match position(fields.get(..others).unwrap_or_default(), at, &name)
                    .and_then(|at| fields.get_mut(at))
                {
                    Some(Field { wire: Wire::Guess(known), .. }) => *known = known.join(guess),
                    Some(_) => {}
                    None => {
                        let key = key.contains(&name);
                        let wire = Wire::Guess(guess);
                        fields.push(Field { name, wire, nullable: !key, key, semantic: String::new() });
                    }
                }
            }
        }
        if let Some(earlier) = self.shapes.iter().find(|known| known.is_earlier(&fields)) {
            for (field, earlier) in fields.iter_mut().zip(&earlier.shape.fields) {
                if field.wire == Wire::Guess(Guess::Unknown) {
                    field.wire = earlier.wire.clone();
                }
            }
        }
        fields.iter_mut().for_each(|field| self.apply_hint(rows, field));
        fields
    }

    /// Sets how a field's values are written, where a hint says so.
    fn apply_hint(&self, rows: &Rows<'_>, field: &mut Field) {
        let hints = &rows.view.options.hints;
        if let Some(wire) = hints.find(&self.name.schema, &self.name.table, &field.name) {
            field.wire = wire.clone();
            field.semantic = wire.semantic().to_owned();
        }
    }

    fn typed_fields(&self, rows: &Rows<'_>, schema: &ValueSchema) -> Result<Vec<Field>, String> {
        let key = key_names(rows);
        let prefix = rows.view.options.flattened_prefix.as_str();
        let columns = if rows.flattened { schema.own.as_ref() } else { schema.columns.as_ref() };
        let is_column =
            |column: &&schema::ColumnSchema| !rows.flattened || flat::added(&column.name, prefix).is_none();
        let field = |column: &schema::ColumnSchema| {
            let mut field = Field {
                name: column.name.clone(),
                wire: column.wire.clone(),
                nullable: column.nullable,
                key: key.contains(&column.name),
                semantic: column.semantic.clone(),
            };
            // A schema that says what a column is knows better than any hint.
            if field.semantic.is_empty() {
                self.apply_hint(rows, &mut field);
            }
            field
        };
        Ok(columns.map_err(String::clone)?.iter().filter(is_column).map(field).collect())
    }

    fn remember(&mut self, rows: &Rows<'_>, shape: Arc<Shape>, schema: Option<u32>) {
        // A shape that knew less of the same columns is never needed again.
        self.shapes.retain(|known| {
            !(schema.is_none() && known.is_earlier(&shape.fields) && known.knew_less(&shape))
        });
        let arena = rows.view.arena;
        let row = rows.primary().map(|row| rows.view.scanner.members_of(row));
        let mut names = Vec::with_capacity(shape.fields.len());
        for ((_, member), field) in row.into_iter().flatten().zip(&shape.fields) {
            if member_name(rows.view, member) == field.name {
                names.push(member.key.of(arena).into());
            }
        }
        let key = rows.key.iter().map(|span| span.of(arena).into()).collect();
        self.shapes.truncate(REMEMBERED - 1);
        let looks = shape.fields.iter().map(|field| look(&field.wire)).collect();
        self.shapes.insert(0, KnownShape { shape, schema, names, looks, same: [None; 2], key });
    }
}

impl KnownShape {
    /// Whether a shape without schema has the same columns, whatever they look like.
    fn is_earlier(&self, fields: &[Field]) -> bool {
        self.schema.is_none()
            && self.shape.fields.len() == fields.len()
            && self.shape.fields.iter().zip(fields).all(|(a, b)| a.name == b.name && a.key == b.key)
    }

    fn knew_less(&self, shape: &Shape) -> bool {
        let pairs = self.shape.fields.iter().zip(&shape.fields);
        pairs.into_iter().all(|(a, b)| a.wire == b.wire || a.wire == Wire::Guess(Guess::Unknown))
    }

    fn fill(&mut self, rows: &Rows<'_>, cells: &mut Vec<Span>) -> Option<Shaped> {
        let mut first = |which: usize, row: Option<u32>| match row {
            Some(row) => {
                let primary = rows.primary() == Some(row);
                self.fill_row(rows.view, (which, row), primary, cells).map(Some)
            }
            None => Some(None),
        };
        let (before, after) = (first(0, rows.before)?, first(1, rows.after)?);
        Some(Shaped { shape: self.shape.id, before, after })
    }

    /// Appends a row's cells; what it appended where it is none of this shape is the caller's to remove.
    ///
    /// Without a schema the row that gives the shape, the `primary` one, must have all its columns in their
    /// order; the other may lack some.
    fn fill_row(
        &mut self,
        view: View<'_>,
        (which, row): (usize, u32),
        primary: bool,
        cells: &mut Vec<Span>,
    ) -> Option<u32> {
        let start = cells.len();
        let keys = view.scanner.keys_of(row);
        let same = keys.is_some() && keys == self.same[which];
        if self.fill_in_order(view, row, same, cells) {
            self.same[which] = keys;
            return Some(start as u32);
        }
        cells.truncate(start);
        if self.shape.typed || (!primary && fits_by_name(view, row, &self.shape)) {
            return fill_by_name(view, row, &self.shape, cells).ok();
        }
        None
    }

    /// `same`: the row is known to have these names.
    fn fill_in_order(&self, view: View<'_>, row: u32, same: bool, cells: &mut Vec<Span>) -> bool {
        let lengths = view.options.placeholder.lengths();
        let mut members = view.scanner.members_of(row);
        cells.reserve(self.looks.len());
        for (name, look) in self.names.iter().zip(&self.looks) {
            match members.next() {
                Some((_, member))
                    if (same || member.key.of(view.arena) == &**name) && fits(view, member, *look) =>
                {
                    cells.push(cell(view, lengths, member));
                }
                _ => return false,
            }
        }
        // Fewer names than fields: the columns of the shape did not stand in its order.
        members.next().is_none() && self.names.len() == self.looks.len()
    }
}

fn same_names(known: &[Box<[u8]>], arena: &[u8], names: &[Span]) -> bool {
    known.len() == names.len() && known.iter().zip(names).all(|(known, name)| name.of(arena) == &**known)
}

/// Where a field stands, looked for from `near` on: rows mostly have their columns in the same order.
fn position(fields: &[Field], near: usize, name: &str) -> Option<usize> {
    let near = near.min(fields.len());
    let (earlier, later) = fields.split_at(near);
    let found = later.iter().position(|field| field.name == name).map(|at| at + near);
    found.or_else(|| earlier.iter().position(|field| field.name == name))
}

fn member_name(view: View<'_>, member: &Member) -> String {
    unescape(view.text(member.key)).into_owned()
}

fn key_names(rows: &Rows<'_>) -> Vec<String> {
    rows.key.iter().map(|span| unescape(rows.view.text(*span)).into_owned()).collect()
}

/// What a value looks like; the placeholder of one that was not sent looks like nothing.
fn guess(view: View<'_>, member: &Member) -> Guess {
    if view.options.placeholder.is(member.value.of(view.arena)) {
        return Guess::Unknown;
    }
    Guess::from(member.json)
}

/// The cell of a value; none for one that the source did not send. `lengths` are those of the placeholder.
#[inline(always)]
fn cell(view: View<'_>, lengths: Lengths, member: &Member) -> Span {
    let value = member.value;
    let absent =
        lengths.may_have(value.end - value.start) && view.options.placeholder.is(value.of(view.arena));
    if absent { Span::default() } else { value }
}

#[inline(always)]
fn fits(view: View<'_>, member: &Member, look: Option<Guess>) -> bool {
    look.is_none_or(|look| {
        Guess::from(member.json) == look || member.json == Json::Null || guess(view, member) == Guess::Unknown
    })
}

/// What values look like that are written so; none where that is said.
fn look(wire: &Wire) -> Option<Guess> {
    match wire {
        Wire::Guess(look) => Some(*look),
        _ => None,
    }
}

fn fits_by_name(view: View<'_>, row: u32, shape: &Shape) -> bool {
    view.scanner.members_of(row).enumerate().all(|(at, (_, member))| {
        let found = position(&shape.fields, at, &member_name(view, member));
        found.and_then(|at| shape.fields.get(at)).is_some_and(|field| fits(view, member, look(&field.wire)))
    })
}

/// Appends a row's cells in the order of the shape; a column that the row lacks is unavailable.
fn fill_by_name(view: View<'_>, row: u32, shape: &Shape, cells: &mut Vec<Span>) -> Result<u32, String> {
    let start = cells.len();
    cells.resize(start + shape.fields.len(), Span::default());
    let lengths = view.options.placeholder.lengths();
    for (at, (_, member)) in view.scanner.members_of(row).enumerate() {
        let name = member_name(view, member);
        let place = position(&shape.fields, at, &name).and_then(|index| cells.get_mut(start + index));
        *place.ok_or_else(|| format!("a row has the column `{name}`, which its schema lacks"))? =
            cell(view, lengths, member);
    }
    Ok(start as u32)
}
