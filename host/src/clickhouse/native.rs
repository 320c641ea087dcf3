//! Blocks in ClickHouse's `Native` format, as `FORMAT Native` over HTTP reads them (revision 0).
//!
//! A block is its numbers of columns and rows, then each column: name, type name, and its values one
//! after the other: first a byte a row that says what is null, where the type is Nullable; an array's
//! offsets come before its elements. Numbers are little-endian. A column is sent as the very type that the
//! table has, except for `LowCardinality` and JSON (see [`ColumnType::sent`]).

use crate::columns::{Cells, Column, Kind, Plain, state};
use crate::debezium::value::{self, Value};

use super::convert::{Decode, Profile, calendar};
use super::names;
use super::policy::{Instead, Replaced, Rules};
use super::types::ColumnType;

mod join;
mod leaf;
mod nested;

pub use join::Joined;

use leaf::Leaf;

/// What a cell takes on average, about: so much room a block has at first, if that is not too much.
const USUAL_CELL_BYTES: usize = 8;
const MAX_ROOM_BYTES: usize = 4 << 20;

/// What encoding needs to know besides a column's type.
#[derive(Clone, Copy)]
pub struct Encoding<'a> {
    /// What the server can hold.
    pub profile: &'a Profile,
    /// Decodes the elements of arrays and maps.
    pub decode: Decode,
}

/// A block that is being built, column by column.
pub struct Block<'a> {
    encoding: Encoding<'a>,
    rows: usize,
    out: Vec<u8>,
    rules: Rules,
    blanks: Vec<bool>,
    failed: Vec<(usize, String)>,
    replaced: Replaced,
    /// Whether names and types stand before the columns' cells.
    has_heads: bool,
    /// Where each column begins, and where its cells do, behind its name and type.
    begins: Vec<(usize, usize)>,
    /// The parts of Nested columns so far: the name that they share, their own, and where their offsets begin.
    parts: Vec<(String, String, usize)>,
}

impl<'a> Block<'a> {
    /// A block that will have `columns` columns of `rows` rows.
    pub fn new(encoding: Encoding<'a>, columns: usize, rows: usize) -> Self {
        let mut out = Vec::with_capacity((columns * rows * USUAL_CELL_BYTES).min(MAX_ROOM_BYTES));
        put_varuint(&mut out, columns);
        put_varuint(&mut out, rows);
        let (rules, replaced) = (Rules::default(), Replaced::default());
        let (blanks, failed, begins, parts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Block { encoding, rows, out, rules, blanks, failed, replaced, has_heads: true, begins, parts }
    }

    /// Begins anew, with the same columns for so many other rows. Of these only the cells are written.
    fn go_on(&mut self, rows: usize) {
        (self.rows, self.has_heads) = (rows, false);
        self.out.clear();
        self.begins.clear();
    }

    /// What holds for the columns that are added from now on; at first, nothing is replaced.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Rows that have nothing in the next column, whatever its values are: null where it is Nullable, else the
    /// bytes of the type's default. No rule applies to them.
    pub fn set_blanks(&mut self, blanks: Vec<bool>) {
        self.blanks = blanks;
    }

    /// How many values were replaced by others, by column.
    pub fn replaced(&self) -> &Replaced {
        &self.replaced
    }

    fn put_header(&mut self, name: &str, ty: &ColumnType) {
        let begin = self.out.len();
        if self.has_heads {
            put_text(&mut self.out, name.as_bytes());
            put_text(&mut self.out, ty.sent().to_string().as_bytes());
        }
        self.begins.push((begin, self.out.len()));
    }

    /// The column that is added now: where its bytes go, and what becomes of values that do not fit.
    fn begin<'b>(&'b mut self, name: &'b str, ty: &'b ColumnType) -> (&'b mut Vec<u8>, Misfits<'b>) {
        self.put_header(name, ty);
        if let (Some((nested, _)), ColumnType::Array(inner)) = (name.split_once('.'), ty)
            && !inner.has_variant()
        {
            self.parts.push((nested.to_owned(), name.to_owned(), self.out.len()));
        }
        let Block { encoding, rules, blanks, failed, replaced, out, .. } = self;
        let blanks = std::mem::take(blanks);
        (out, Misfits { name, ty, rules: *rules, blanks, profile: encoding.profile, failed, replaced })
    }

    /// Adds a column. A value that cannot be written leaves a placeholder, so that the columns stay aligned,
    /// and its row is listed by [`Block::finish`].
    pub fn column<'v>(
        &mut self,
        name: &str,
        ty: &ColumnType,
        values: impl Iterator<Item = Result<Value<'v>, String>>,
    ) {
        let (encoding, rows) = (self.encoding, self.rows);
        let (out, misfits) = self.begin(name, ty);
        encode_values(encoding, rows, values, out, misfits);
    }

    /// Adds a column of cells that stand in the events, row by row: the JSON of a cell where it has some, and
    /// its value. Cells that `plain` says can be copied are, where their JSON is as usual.
    pub fn copied<'v>(
        &mut self,
        name: &str,
        ty: &ColumnType,
        plain: Plain,
        json: impl Fn(usize) -> Option<&'v [u8]>,
        value: impl Fn(usize) -> Result<Value<'v>, String>,
    ) {
        let (encoding, rows) = (self.encoding, self.rows);
        let (out, misfits) = self.begin(name, ty);
        let micros = |micros: i64, out: &mut Vec<u8>| plain_micros(micros, encoding.profile, out);
        match (plain, ty.bare()) {
            (Plain::Int, ColumnType::Int { signed: true, bits: 64 }) => {
                copy(&leaf::int::<i64>(), from_json(&json, plain_int), rows, value, out, misfits);
            }
            (Plain::Text, ColumnType::String) => {
                copy(&leaf::string(encoding.decode), from_json(&json, plain_text), rows, value, out, misfits);
            }
            (Plain::Float, ColumnType::Float64) if !misfits.rules.in_key => {
                copy(&leaf::float64(), from_json(&json, plain_float), rows, value, out, misfits);
            }
            (Plain::Bool, ColumnType::Bool) => {
                copy(&leaf::boolean(), from_json(&json, plain_bool), rows, value, out, misfits);
            }
            (Plain::Micros, ColumnType::DateTime64(6, _)) => {
                let plain = |json: &[u8], out: &mut Vec<u8>| {
                    value::plain_int(json).is_some_and(|number| micros(number, out))
                };
                let leaf = leaf::datetime64(6, encoding.profile);
                copy(&leaf, from_json(&json, plain), rows, value, out, misfits);
            }
            _ => encode_values(encoding, rows, (0..rows).map(value), out, misfits),
        }
    }

    /// Adds a column that the transform computed: its cells at `cells`, one for each row of the block.
    pub fn computed(&mut self, name: &str, ty: &ColumnType, column: &Column, kind: Kind, cells: &[usize]) {
        let value = |row: usize| match cells.get(row) {
            Some(index) => cell(column, kind, *index),
            None => Err(NO_VALUE.to_owned()),
        };
        let (encoding, rows) = (self.encoding, self.rows);
        let (out, misfits) = self.begin(name, ty);
        match (kind, &column.cells, ty.bare()) {
            (Kind::Timestamp, Cells::Ints(ints), ColumnType::DateTime64(6, _)) => {
                let plain = |row: usize, out: &mut Vec<u8>| {
                    cells.get(row).is_some_and(|index| {
                        column.states.get(*index).is_none_or(|state| *state == state::PRESENT)
                            && ints
                                .get(*index)
                                .is_some_and(|micros| plain_micros(*micros, encoding.profile, out))
                    })
                };
                copy(&leaf::datetime64(6, encoding.profile), plain, rows, value, out, misfits);
            }
            _ => encode_values(encoding, rows, (0..rows).map(value), out, misfits),
        }
    }

    /// The arrays of a Nested column must be equally long in each row: the server would refuse the whole block.
    fn check_parts(&mut self) {
        for (index, (nested, name, at)) in self.parts.iter().enumerate() {
            let before = self.parts.iter().take(index).find(|(other, ..)| other == nested);
            let Some((_, other, other_at)) = before else { continue };
            for row in 0..self.rows {
                if length_at(&self.out, *at, row) != length_at(&self.out, *other_at, row) {
                    let (name, other) = (names::shown(name), names::shown(other));
                    let reason = format!(
                        "column {name}: its array is not as long as that of {other}, which is part of the same Nested column"
                    );
                    self.failed.push((row, reason));
                }
            }
        }
    }

    /// Adds a column that has the same text in each row. Where the type does not take it, every row fails.
    pub fn constant(&mut self, name: &str, ty: &ColumnType, text: &str) {
        let mut one = Vec::new();
        let (mut failed, mut replaced) = (Vec::new(), Replaced::default());
        let value = std::iter::once(Ok(Value::Text(text.into())));
        let profile = self.encoding.profile;
        let rules = Rules::default();
        let (blanks, failed_of, replaced_of) = (Vec::new(), &mut failed, &mut replaced);
        let misfits = Misfits { name, ty, rules, blanks, profile, failed: failed_of, replaced: replaced_of };
        encode_values(self.encoding, 1, value, &mut one, misfits);
        self.put_header(name, ty);
        // The null map of one row is a byte; the rest is the value.
        let nulls = usize::from(ty.is_nullable()).min(one.len());
        let (null, cell) = one.split_at(nulls);
        self.out.extend(null.iter().cycle().take(null.len() * self.rows));
        for _ in 0..self.rows {
            self.out.extend_from_slice(cell);
        }
        if let Some((_, reason)) = failed.pop() {
            self.failed.extend((0..self.rows).map(|row| (row, reason.clone())));
        }
    }

    /// The block's bytes, and the rows that failed: each once, ascending, with the first reason. If there are
    /// any, the block must be built again without them.
    pub fn finish(mut self) -> (Vec<u8>, Vec<(usize, String)>) {
        self.check_parts();
        once_each(&mut self.failed);
        (self.out, self.failed)
    }
}

/// Each row that failed once, ascending, with the first reason.
fn once_each(failed: &mut Vec<(usize, String)>) {
    failed.sort_by_key(|(row, _)| *row);
    failed.dedup_by_key(|(row, _)| *row);
}

/// A computed column's cell as a value.
///
/// # Errors
/// A cell that is not there, or not stored as its kind is.
pub fn cell(column: &Column, kind: Kind, index: usize) -> Result<Value<'_>, String> {
    let missing = || format!("the transform's answer has no cell {index}");
    if !column.states.is_empty() {
        match *column.states.get(index).ok_or_else(missing)? {
            state::PRESENT => {}
            state::NULL => return Ok(Value::Null),
            state::UNAVAILABLE => return Ok(Value::Unavailable),
            other => return Err(format!("the transform's answer has the unknown cell state {other}")),
        }
    }
    match &column.cells {
        Cells::Small(cells) => match (kind, *cells.get(index).ok_or_else(missing)?) {
            (Kind::Boolean, flag @ (0 | 1)) => Ok(Value::Bool(flag == 1)),
            (Kind::Boolean, _) => Err("the transform's answer has neither 0 nor 1 for a boolean".into()),
            _ => Err(format!("the transform's answer has bytes of flags for a {kind:?}")),
        },
        Cells::Ints(cells) => int_cell(*cells.get(index).ok_or_else(missing)?, kind),
        Cells::Floats(cells) if kind == Kind::Float => {
            cells.get(index).map(|number| Value::Float(*number)).ok_or_else(missing)
        }
        Cells::Floats(_) => Err(format!("the transform's answer has floats for a {kind:?}")),
        Cells::Blobs(blobs) => {
            let start = *blobs.offsets.get(index).ok_or_else(missing)?;
            let end = *blobs.offsets.get(index + 1).ok_or_else(missing)?;
            blob_cell(blobs.bytes.get(start as usize..end as usize).ok_or_else(missing)?, kind)
        }
    }
}

fn int_cell(number: i64, kind: Kind) -> Result<Value<'static>, String> {
    match kind {
        Kind::Int => Ok(Value::Int(number)),
        // So the contract says that infinity stands.
        Kind::Date | Kind::Timestamp if matches!(number, i64::MIN | i64::MAX) => {
            Ok(Value::Infinite { negative: number < 0 })
        }
        Kind::Date => Ok(Value::Date(number)),
        Kind::Time => number
            .checked_mul(1_000)
            .map(Value::Time)
            .ok_or_else(|| "the time of day is beyond every column's range".to_owned()),
        Kind::Timestamp => Ok(Value::Timestamp {
            seconds: number.div_euclid(1_000_000),
            // Below a thousand million.
            nanos: number.rem_euclid(1_000_000) as u32 * 1_000,
        }),
        _ => Err(format!("the transform's answer has integers for a {kind:?}")),
    }
}

fn blob_cell(bytes: &[u8], kind: Kind) -> Result<Value<'_>, String> {
    if kind == Kind::Bytes {
        return Ok(Value::Bytes(bytes.into()));
    }
    let text = str::from_utf8(bytes)
        .map_err(|_| format!("the transform's answer has a {kind:?} that is not UTF-8"))?
        .into();
    match kind {
        Kind::Decimal => Ok(Value::Decimal(text)),
        Kind::Text => Ok(Value::Text(text)),
        Kind::Json => Ok(Value::Json(text)),
        _ => Err(format!("the transform's answer has text for a {kind:?}")),
    }
}

/// What becomes of the values of a column that do not fit it.
struct Misfits<'b> {
    name: &'b str,
    ty: &'b ColumnType,
    rules: Rules,
    /// See [`Block::set_blanks`]; empty: no row is blank.
    blanks: Vec<bool>,
    profile: &'b Profile,
    failed: &'b mut Vec<(usize, String)>,
    replaced: &'b mut Replaced,
}

impl Misfits<'_> {
    fn is_blank(&self, row: usize) -> bool {
        self.blanks.get(row).copied().unwrap_or(false)
    }

    /// Notes a row that cannot be written.
    fn fail(&mut self, row: usize, reason: &str) {
        let Misfits { name, ty, .. } = self;
        self.failed.push((row, format!("column {} ({ty}): {reason}", names::shown(name))));
    }

    /// What to write in place of a value that was refused. Where nothing may stand for it, its row has failed,
    /// and a placeholder keeps the columns aligned.
    fn instead(&mut self, row: usize, value: &Value<'_>, reason: &str) -> Instead {
        match self.rules.instead(value, self.ty, self.ty.is_nullable(), self.profile) {
            Some((instead, replacement)) => {
                self.replaced.add(self.name, replacement, 1);
                instead
            }
            None => {
                match value::shown_in_errors() {
                    true => self.fail(row, &format!("{reason}; the value is {}", start_of(value))),
                    false => self.fail(row, reason),
                }
                Instead::Empty
            }
        }
    }
}

/// The beginning of a value, for those who asked to see values.
fn start_of(value: &Value<'_>) -> String {
    let text = format!("{value:?}");
    let start: String = text.chars().take(60).collect();
    if start.len() < text.len() { format!("{start}…") } else { start }
}

/// Chooses how the column's values are written, once.
fn encode_values<'v>(
    encoding: Encoding<'_>,
    rows: usize,
    values: impl Iterator<Item = Result<Value<'v>, String>>,
    out: &mut Vec<u8>,
    misfits: Misfits<'_>,
) {
    let ty = misfits.ty;
    match ty.bare() {
        // NaN has no place in an order.
        ColumnType::Float32 | ColumnType::Float64 if misfits.rules.in_key => {
            let values = values.map(|value| match value {
                Ok(Value::Float(number)) if number.is_nan() => Err(NAN_IN_KEY.to_owned()),
                Ok(Value::Text(text)) if text == "NaN" => Err(NAN_IN_KEY.to_owned()),
                other => other,
            });
            fill(&leaf::any(ty.bare(), encoding), rows, values, out, misfits);
        }
        // Those that most columns have are written by code of their own.
        ColumnType::Int { signed: true, bits: 32 } => fill(&leaf::int::<i32>(), rows, values, out, misfits),
        ColumnType::Int { signed: true, bits: 64 } => fill(&leaf::int::<i64>(), rows, values, out, misfits),
        ColumnType::Float64 => fill(&leaf::float64(), rows, values, out, misfits),
        ColumnType::String => fill(&leaf::string(encoding.decode), rows, values, out, misfits),
        ColumnType::DateTime64(digits, _) => {
            fill(&leaf::datetime64(*digits, encoding.profile), rows, values, out, misfits);
        }
        bare if bare.is_nested() => nested::fill(encoding, rows, values, out, misfits),
        bare => fill(&leaf::any(bare, encoding), rows, values, out, misfits),
    }
}

const NAN_IN_KEY: &str = "NaN in a column that the table is sorted by has no place in its order";

fn fill<'v, W: Fn(&Value<'_>, &mut Vec<u8>) -> Result<(), String>>(
    leaf: &Leaf<W>,
    rows: usize,
    mut values: impl Iterator<Item = Result<Value<'v>, String>>,
    out: &mut Vec<u8>,
    mut misfits: Misfits<'_>,
) {
    let nulls = put_nulls(misfits.ty.is_nullable(), rows, out);
    for row in 0..rows {
        let value = values.next().unwrap_or_else(|| Err(NO_VALUE.to_owned()));
        put(leaf, row, &value, nulls, out, &mut misfits);
    }
}

const NO_VALUE: &str = "it has no value for this row";

/// As [`fill`], but for rows of which `plain` can write the value.
fn copy<'v, W: Fn(&Value<'_>, &mut Vec<u8>) -> Result<(), String>>(
    leaf: &Leaf<W>,
    plain: impl Fn(usize, &mut Vec<u8>) -> bool,
    rows: usize,
    value: impl Fn(usize) -> Result<Value<'v>, String>,
    out: &mut Vec<u8>,
    mut misfits: Misfits<'_>,
) {
    let nulls = put_nulls(misfits.ty.is_nullable(), rows, out);
    for row in 0..rows {
        if misfits.is_blank(row) || !plain(row, out) {
            put(leaf, row, &value(row), nulls, out, &mut misfits);
        }
    }
}

/// What writes a row's value if it can be copied from its JSON.
fn from_json<'v>(
    json: impl Fn(usize) -> Option<&'v [u8]>,
    plain: impl Fn(&[u8], &mut Vec<u8>) -> bool,
) -> impl Fn(usize, &mut Vec<u8>) -> bool {
    move |row, out| json(row).is_some_and(|json| plain(json, out))
}

/// How long a row's array is; the column's offsets begin at `at`.
fn length_at(out: &[u8], at: usize, row: usize) -> u64 {
    let end = |row: usize| {
        let bytes = out.get(at + row * 8..).and_then(<[u8]>::first_chunk::<8>);
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    end(row).wrapping_sub(row.checked_sub(1).map_or(0, end))
}

/// Appends the null map of a column that has one, all zeros; gives back where it begins.
fn put_nulls(nullable: bool, rows: usize, out: &mut Vec<u8>) -> Option<usize> {
    let nulls = out.len();
    nullable.then(|| out.resize(nulls + rows, 0)).map(|()| nulls)
}

/// Appends one value; `nulls` is where the null map begins. One that cannot be written leaves what may stand
/// for it, or a placeholder.
fn put<W: Fn(&Value<'_>, &mut Vec<u8>) -> Result<(), String>>(
    leaf: &Leaf<W>,
    row: usize,
    value: &Result<Value<'_>, String>,
    nulls: Option<usize>,
    out: &mut Vec<u8>,
    misfits: &mut Misfits<'_>,
) {
    let instead = match value {
        _ if misfits.is_blank(row) && nulls.is_some() => Instead::Null,
        _ if misfits.is_blank(row) => Instead::Empty,
        Ok(Value::Null) if nulls.is_some() => Instead::Null,
        Ok(value) => match (leaf.write)(value, out) {
            Ok(()) => return,
            Err(reason) => misfits.instead(row, value, &reason),
        },
        Err(reason) => {
            misfits.fail(row, reason);
            Instead::Empty
        }
    };
    match instead {
        Instead::Value(value) => match (leaf.write)(&value, out) {
            Ok(()) => return,
            Err(reason) => misfits.fail(row, &reason),
        },
        Instead::Null => {
            if let Some(null) = nulls.and_then(|nulls| out.get_mut(nulls + row)) {
                *null = 1;
            }
        }
        Instead::Empty => {}
    }
    out.extend_from_slice(&leaf.empty);
}

fn plain_int(json: &[u8], out: &mut Vec<u8>) -> bool {
    value::plain_int(json).is_some_and(|number| {
        out.extend_from_slice(&number.to_le_bytes());
        true
    })
}

fn plain_text(json: &[u8], out: &mut Vec<u8>) -> bool {
    value::plain_text(json).is_some_and(|text| {
        put_text(out, text);
        true
    })
}

fn plain_float(json: &[u8], out: &mut Vec<u8>) -> bool {
    value::plain_float(json).is_some_and(|number| {
        out.extend_from_slice(&number.to_le_bytes());
        true
    })
}

fn plain_bool(json: &[u8], out: &mut Vec<u8>) -> bool {
    match json {
        b"true" => out.push(1),
        b"false" => out.push(0),
        _ => return false,
    }
    true
}

/// Microseconds since 1970, for a column that counts them.
fn plain_micros(micros: i64, profile: &Profile, out: &mut Vec<u8>) -> bool {
    let (first, last) = profile.datetime64_seconds.unwrap_or(calendar::NOWHERE);
    let fits = (first..=last).contains(&micros.div_euclid(1_000_000));
    if fits {
        out.extend_from_slice(&micros.to_le_bytes());
    }
    fits
}

/// Appends a number in seven-bit groups, the lowest first.
pub fn put_varuint(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends bytes with their length before them.
fn put_text(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varuint(out, bytes.len());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
