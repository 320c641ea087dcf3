//! Finds the parts of a change event on the tape of its record.

use crate::batch::Span;

use super::Op;
use super::options::Options;
use super::scan::{Json, KeysId, Member, Scanner};
use super::value;

/// A scanned record: the tape and the bytes that its spans are into.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Holds the tape.
    pub scanner: &'a Scanner,
    /// The batch's arena.
    pub arena: &'a [u8],
    /// How the record is to be read.
    pub options: &'a Options,
}

impl<'a> View<'a> {
    /// The text of a span; empty where it is not UTF-8, which no scanned span is.
    pub fn text(&self, span: Span) -> &'a str {
        str::from_utf8(span.of(self.arena)).unwrap_or_default()
    }
}

/// A member, and its index on the tape.
pub type Indexed<'a> = (u32, &'a Member);

/// The members of an object that an envelope has; each with its index on the tape.
#[derive(Debug, Clone, Copy, Default)]
pub struct Parts<'a> {
    before: Option<Indexed<'a>>,
    after: Option<Indexed<'a>>,
    source: Option<Indexed<'a>>,
    op: Option<Indexed<'a>>,
    ts: [Option<&'a Member>; 3],
}

/// What the `source` block says of a change: the values of its members as they stand, empty where absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// `connector`, `db`, `schema`, `table` (or `collection`).
    pub names: [Span; 4],
    /// When the change was committed, microseconds since 1970 in UTC.
    pub committed_at_us: Option<i64>,
    /// The whole block.
    pub span: Span,
}

impl<'a> Parts<'a> {
    /// Looks through the members of one object, given by its member, or [`scan::ROOT`](super::scan::ROOT);
    /// `layout` is that of an earlier one, and becomes this one's.
    pub fn find(view: View<'a>, object: u32, layout: &mut Layout<Part>) -> Self {
        let mut parts = Parts::default();
        let roles = layout.of(view, object, part);
        for ((index, member), part) in view.scanner.members_of(object).zip(roles) {
            match *part {
                Part::None => {}
                Part::Before => parts.before = Some((index, member)),
                Part::After => parts.after = Some((index, member)),
                Part::Source => parts.source = Some((index, member)),
                Part::Op => parts.op = Some((index, member)),
                Part::Time(unit) => parts.ts[unit] = Some(member),
            }
        }
        parts
    }

    /// Whether these are an envelope: text `op`, object `source`.
    pub fn is_envelope(&self) -> bool {
        matches!(self.op, Some((_, op)) if op.json == Json::Text)
            && matches!(self.source, Some((_, source)) if source.json == Json::Object)
    }

    /// Whether so much of an envelope is there that it is no row with columns of these names.
    pub fn resembles_envelope(&self) -> bool {
        let rows = self.before.is_some() || self.after.is_some();
        (self.op.is_some() && self.source.is_some()) || (rows && (self.op.is_some() || self.source.is_some()))
    }

    /// What happened.
    pub fn op(&self, view: View<'a>) -> Result<Op, String> {
        op_of(self.op.map_or("", |(_, op)| view.text(op.value)))
    }

    /// The rows before and after the change, as indices on the tape.
    pub fn rows(&self, op: Op) -> Result<[Option<u32>; 2], Unusual> {
        let rows = [row("before", self.before)?, row("after", self.after)?];
        let needed = if op == Op::Delete { 0 } else { 1 };
        if rows[needed].is_none() { Err(Unusual::Missing(op)) } else { Ok(rows) }
    }

    /// The texts of documents before and after the change.
    pub fn documents(&self) -> [Option<Span>; 2] {
        let text = |(_, member): Indexed<'_>| (member.json == Json::Text).then_some(member.value);
        [self.before.and_then(text), self.after.and_then(text)]
    }

    /// When the connector read the change, microseconds since 1970 in UTC.
    pub fn captured_at_us(&self, view: View<'a>) -> Result<Option<i64>, String> {
        time_us(view, self.ts)
    }

    /// The `source` block; `layout` is that of an earlier record, and becomes this one's.
    pub fn source(&self, view: View<'a>, layout: &mut Layout<Role>) -> Result<Source, String> {
        let Some((index, block)) = self.source else { return Err("the event has no `source`".into()) };
        let roles = layout.of(view, index, role);
        let mut source = Source { names: [Span::default(); 4], committed_at_us: None, span: block.value };
        let mut ts = [None; 3];
        for ((_, member), role) in view.scanner.members_of(index).zip(roles) {
            match *role {
                Role::None => {}
                Role::Name(name) => source.names[name] = member.value,
                Role::Collection if source.names[3].is_empty() => source.names[3] = member.value,
                Role::Collection => {}
                Role::Time(unit) => ts[unit] = Some(member),
            }
        }
        source.committed_at_us = time_us(view, ts).map_err(|reason| format!("in `source`, {reason}"))?;
        Ok(source)
    }
}

/// What the members of objects are, as long as these have the same keys, as nearly all records of a topic do.
#[derive(Debug)]
pub struct Layout<R> {
    keys: Option<KeysId>,
    roles: Vec<R>,
}

impl<R> Default for Layout<R> {
    fn default() -> Self {
        Layout { keys: None, roles: Vec::new() }
    }
}

impl<R> Layout<R> {
    /// The roles of an object's members, in their order; `role` tells them by the members' names.
    fn of(&mut self, view: View<'_>, object: u32, role: fn(&[u8]) -> R) -> &[R] {
        let keys = view.scanner.keys_of(object);
        if keys.is_none() || keys != self.keys {
            let members = view.scanner.members_of(object);
            self.roles.clear();
            self.roles.extend(members.map(|(_, member)| role(&member.name(view.arena))));
            self.keys = keys;
        }
        &self.roles
    }
}

/// What a member of an envelope is.
#[derive(Debug, Clone, Copy)]
pub enum Part {
    /// Nothing that is asked for.
    None,
    /// `before`
    Before,
    /// `after`
    After,
    /// `source`
    Source,
    /// `op`
    Op,
    /// In microseconds, nanoseconds, milliseconds.
    Time(usize),
}

fn part(name: &[u8]) -> Part {
    match name {
        b"before" => Part::Before,
        b"after" => Part::After,
        b"source" => Part::Source,
        b"op" => Part::Op,
        b"ts_us" => Part::Time(0),
        b"ts_ns" => Part::Time(1),
        b"ts_ms" => Part::Time(2),
        _ => Part::None,
    }
}

/// What a member of a `source` block is.
#[derive(Debug, Clone, Copy)]
pub enum Role {
    /// Nothing that is asked for.
    None,
    /// An index into [`Source::names`].
    Name(usize),
    /// Stands for the table's name where there is none.
    Collection,
    /// In microseconds, nanoseconds, milliseconds.
    Time(usize),
}

fn role(name: &[u8]) -> Role {
    match name {
        b"connector" => Role::Name(0),
        b"db" => Role::Name(1),
        b"schema" => Role::Name(2),
        b"table" => Role::Name(3),
        b"collection" => Role::Collection,
        b"ts_us" => Role::Time(0),
        b"ts_ns" => Role::Time(1),
        b"ts_ms" => Role::Time(2),
        _ => Role::None,
    }
}

/// Rows that are no objects of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusual {
    /// One of them is text.
    Text(&'static str),
    /// The one that the operation needs is not there.
    Missing(Op),
    /// One of them is neither an object nor null.
    Odd(&'static str),
}

impl Unusual {
    /// Why a change with such rows is refused.
    pub fn reason(self) -> String {
        match self {
            Unusual::Text(name) => {
                format!("`{name}` is text, and the connector is not mongodb: nothing says what is in it")
            }
            Unusual::Missing(op) => {
                let needed = if op == Op::Delete { "before" } else { "after" };
                format!("op {} without `{needed}`: nothing says which row", op.letter())
            }
            Unusual::Odd(name) => format!("`{name}` is neither an object nor null"),
        }
    }
}

/// The operation that the JSON of an `op` stands for. Debezium's own look-up ignores case.
pub fn op_of(json: &str) -> Result<Op, String> {
    match json.as_bytes() {
        [b'"', op, b'"'] => match op.to_ascii_lowercase() {
            b'c' => Ok(Op::Create),
            b'u' => Ok(Op::Update),
            b'd' => Ok(Op::Delete),
            b'r' => Ok(Op::Read),
            b't' => Ok(Op::Truncate),
            b'm' => Ok(Op::Message),
            _ => Err(unknown_op()),
        },
        _ => Err(unknown_op()),
    }
}

#[cold]
fn unknown_op() -> String {
    "unknown op: expected one of c, u, d, r, t, m".into()
}

fn row(name: &'static str, member: Option<(u32, &Member)>) -> Result<Option<u32>, Unusual> {
    match member {
        Some((index, member)) => match member.json {
            Json::Object => Ok(Some(index)),
            Json::Null => Ok(None),
            Json::Text => Err(Unusual::Text(name)),
            _ => Err(Unusual::Odd(name)),
        },
        None => Ok(None),
    }
}

/// Times in microseconds, nanoseconds, milliseconds: the first of them that is there, in microseconds. Of
/// nanoseconds the fraction is dropped, towards the past.
pub fn micros([us, ns, ms]: [Option<i64>; 3]) -> Result<Option<i64>, String> {
    match (us, ns, ms) {
        (Some(us), ..) => Ok(Some(us)),
        (None, Some(ns), _) => Ok(Some(ns.div_euclid(1_000))),
        (None, None, Some(ms)) => {
            ms.checked_mul(1_000).map(Some).ok_or_else(|| "`ts_ms` is out of range".into())
        }
        _ => Ok(None),
    }
}

/// The same of members, of which no more than needed are read.
fn time_us(view: View<'_>, [us, ns, ms]: [Option<&Member>; 3]) -> Result<Option<i64>, String> {
    if let Some(us) = integer(view, "ts_us", us)? {
        return Ok(Some(us));
    }
    if let Some(ns) = integer(view, "ts_ns", ns)? {
        return micros([None, Some(ns), None]);
    }
    micros([None, None, integer(view, "ts_ms", ms)?])
}

/// An integer, which Debezium's own examples also show in quotes.
fn integer(view: View<'_>, name: &str, member: Option<&Member>) -> Result<Option<i64>, String> {
    let Some(member) = member else { return Ok(None) };
    if member.json == Json::Null {
        return Ok(None);
    }
    let json = member.value.of(view.arena);
    if let Some(number) = value::plain_int(json) {
        return Ok(Some(number));
    }
    let text = view.text(member.value).trim_matches('"');
    text.parse().map(Some).map_err(|_| format!("`{name}` is not a 64-bit integer"))
}

/// The members `schema` and `payload` of an object that has just these two, where `schema` can be one.
pub fn wrapper<'a>(view: View<'a>) -> Option<(Indexed<'a>, Indexed<'a>)> {
    let (mut schema, mut payload) = (None, None);
    for (index, member) in view.scanner.members() {
        match member.name(view.arena).as_ref() {
            b"schema" if matches!(member.json, Json::Object | Json::Null) => schema = Some((index, member)),
            b"payload" => payload = Some((index, member)),
            _ => return None,
        }
    }
    Some((schema?, payload?))
}
