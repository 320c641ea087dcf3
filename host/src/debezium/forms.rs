//! Records that are changes, but no plain envelopes: each form on a way of its own, away from the usual one.

use super::flat::Added;
use super::*;

/// Rows that are no objects, the documents that stand in their place, and further members of the event.
pub(super) type Documents = (Unusual, [Option<Span>; 2], Vec<(&'static str, Span)>);

/// Members of an event that transforms can ask for as if they were of its `source` block.
pub(super) fn details(view: View<'_>, opened: &Opened<'_>) -> Vec<(&'static str, Span)> {
    let members = match opened.payload {
        Some((payload, _)) => view.scanner.members_of(payload),
        None => view.scanner.members(),
    };
    let detail = |(_, member): (u32, &Member)| {
        let name = mongo::DETAILS.iter().find(|name| member.name(view.arena).as_ref() == name.as_bytes())?;
        (member.json != Json::Null).then_some((*name, member.value))
    };
    members.filter_map(detail).collect()
}

impl Decoder {
    /// A null value.
    pub(super) fn tombstone(
        &mut self,
        topic: &mut Topic,
        batch: &mut Batch,
        record: u32,
        cells: &mut Vec<Span>,
    ) -> Result<Outcome, String> {
        let nothing = Ok(Outcome::NotChange(NotChange::Tombstone));
        if self.options.tombstones == Tombstones::Ignore {
            return nothing;
        }
        let key = self.plain_key(batch, record)?;
        let options = (batch.arena.as_slice(), &self.options);
        let key = read_key(&mut self.key, topic, options, key, &mut self.key_names);
        let Some(row) = key.filter(|_| !self.key_names.is_empty()) else { return nothing };
        self.block.begin();
        self.block.member("table", &last_segment(&batch.topic))?;
        let source = self.block.place(&mut batch.arena)?;
        let view = View { scanner: &self.key, arena: &batch.arena, options: &self.options };
        let key = &self.key_names;
        let rows = Rows { view, source, before: Some(row), after: None, key, flattened: true };
        let shaped = topic.shape_of_key(&batch.topic, &rows, &mut self.shapes, cells)?;
        let head = Head { record, op: Op::Delete, source, captured_at_us: None, typed: false, key: None };
        Ok(head.change(shaped))
    }

    /// A row without an envelope, the members of `row`.
    pub(super) fn flattened(
        &mut self,
        topic: &mut Topic,
        batch: &mut Batch,
        (record, key, typed): (u32, Option<u32>, bool),
        row: u32,
        cells: &mut Vec<Span>,
    ) -> Result<Outcome, String> {
        let prefix = self.options.flattened_prefix.as_str();
        let mut added = Added::default();
        self.block.begin();
        let view = View { scanner: &self.value, arena: &batch.arena, options: &self.options };
        for (_, member) in self.value.members_of(row) {
            let name = String::from_utf8_lossy(&member.name(view.arena)).into_owned();
            if let Some(name) = flat::added(&name, prefix) {
                added.take(name, view.text(member.value), &mut self.block)?;
            }
        }
        added.take_headers(batch, record, prefix, &mut self.block)?;
        let arena = batch.arena.as_slice();
        self.value.take_out(row, |member| {
            flat::added(&String::from_utf8_lossy(&member.name(arena)), prefix).is_some()
        });
        let op = added.op().unwrap_or_else(|| {
            say_that_op_is_lost(topic, &batch.topic, prefix);
            Op::Read
        });
        if !self.block.has_table() {
            self.block.member("table", &last_segment(&batch.topic))?;
        }
        let source = self.block.place(&mut batch.arena)?;
        let captured_at_us = added.captured_at_us()?;
        let head = Head { record, op, source, captured_at_us, typed, key };
        let view = View { scanner: &self.value, arena: &batch.arena, options: &self.options };
        if matches!(op, Op::Truncate | Op::Message) {
            let shape = topic.rowless(&batch.topic, view, &source, typed, &mut self.shapes)?;
            return Ok(head.change(Shaped { shape, before: None, after: None }));
        }
        if self.value.members_of(row).next().is_none() {
            return Err("a flattened row without a column".into());
        }
        let (before, after) = if op == Op::Delete { (Some(row), None) } else { (None, Some(row)) };
        let rows = Rows { view, source, before, after, key: &self.key_names, flattened: true };
        Ok(head.change(topic.shape(&batch.topic, &rows, typed, &mut self.shapes, cells)?))
    }

    /// A CloudEvent, the members of `event`.
    pub(super) fn cloud_event(
        &mut self,
        topic: &mut Topic,
        batch: &mut Batch,
        (record, key): (u32, Option<u32>),
        event: u32,
        cells: &mut Vec<Span>,
    ) -> Result<Outcome, String> {
        self.block.begin();
        let view = View { scanner: &self.value, arena: &batch.arena, options: &self.options };
        let event = cloud::read(view, self.value.members_of(event), &mut self.block)?;
        let mut source = self.block.place(&mut batch.arena)?;
        let arena = batch.arena.as_slice();
        let scanned =
            self.inner.scan(arena, event.data, &topic.schemas).map_err(|fault| fault.to_string())?;
        let view = View { scanner: &self.inner, arena, options: &self.options };
        let opened = Opened::find(view, &mut topic.data);
        if let Some(schema) = opened.schema {
            topic.use_schema(view.text(schema), scanned.known);
        }
        let typed = opened.schema.is_some();
        let mut captured_at_us = event.captured_at_us;
        // The attributes can be switched off; the data is a whole envelope then.
        let op = match event.op {
            _ if opened.parts.is_envelope() => {
                source = opened.parts.source(view, &mut topic.source)?;
                captured_at_us = opened.parts.captured_at_us(view)?.or(captured_at_us);
                opened.parts.op(view)?
            }
            Some(op) => op,
            None => {
                return Err(
                    "a cloudevent without the attribute `iodebeziumop`: nothing says what happened".into()
                );
            }
        };
        let head = Head { record, op, source, captured_at_us, typed, key };
        if matches!(op, Op::Truncate | Op::Message) {
            let shape = topic.rowless(&batch.topic, view, &source, typed, &mut self.shapes)?;
            return Ok(head.change(Shaped { shape, before: None, after: None }));
        }
        let [before, after] = match opened.parts.rows(op) {
            Ok(rows) => rows,
            Err(unusual) => {
                let (documents, details) = (opened.parts.documents(), details(view, &opened));
                return self.unusual(topic, batch, head, (unusual, documents, details), cells);
            }
        };
        let rows = Rows { view, source, before, after, key: &self.key_names, flattened: false };
        Ok(head.change(topic.shape(&batch.topic, &rows, typed, &mut self.shapes, cells)?))
    }

    /// A change whose rows are no objects.
    pub(super) fn unusual(
        &mut self,
        topic: &mut Topic,
        batch: &mut Batch,
        mut head: Head,
        (unusual, documents, details): Documents,
        cells: &mut Vec<Span>,
    ) -> Result<Outcome, String> {
        let view = View { scanner: &self.value, arena: &batch.arena, options: &self.options };
        if !mongo::is_document(view, &head.source, unusual) {
            return Err(unusual.reason());
        }
        let key = head.key.and_then(|row| {
            let id = |(_, member): &(u32, &Member)| member.name(view.arena).as_ref() == b"id";
            let (_, member) = self.key.members_of(row).find(id)?;
            (member.json == Json::Text).then_some(member.value)
        });
        let table = topic.table_name(view, &head.source)?;
        let shape = self.shapes.intern(&batch.topic, table, head.typed, mongo::fields())?.0.id;
        head.source.span = mongo::with_details(&mut batch.arena, head.source.span, &details)?;
        let [before, after] = documents;
        let (needs_before, needs_after) = (head.op == Op::Delete, head.op != Op::Delete);
        if head.op != Op::Update && head.op != Op::Delete && after.is_none() {
            return Err(Unusual::Missing(head.op).reason());
        }
        let mut row = |document: Option<Span>, needed: bool| -> Result<Option<u32>, String> {
            if document.is_none() && !needed {
                return Ok(None);
            }
            let row = mongo::row(&mut batch.arena, &mut self.inner, key, document)?;
            let first = cells.len() as u32;
            cells.extend(row);
            Ok(Some(first))
        };
        let (before, after) = (row(before, needs_before)?, row(after, needs_after)?);
        Ok(head.change(Shaped { shape, before, after }))
    }
}

/// The table's name in a topic's, as JSON.
fn last_segment(topic: &str) -> String {
    serde_json::Value::from(topic.rsplit('.').next().unwrap_or(topic)).to_string()
}

fn say_that_op_is_lost(topic: &mut Topic, name: &str, prefix: &str) {
    if !std::mem::replace(&mut topic.said_op_is_lost, true) {
        tracing::warn!(
            topic = name,
            "flattened rows do not say what happened to them, and count as read (`r`): let the connector add it \
             (add.fields=op,source.ts_ms), under names that begin with `{prefix}`"
        );
    }
}

#[cfg(test)]
mod tests;
