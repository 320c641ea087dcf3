//! One pass over one record: checks it, and tapes its members.

use super::keys;
use super::lanes::{Way, Work};
use super::token::{Step, Text, Value, Wrong};
use super::{Fault, Json, MAX_DEPTH, MAX_MEMBERS, MAX_VALUES, Member, ROOT, Scanned, Scanner, TAPE_DEPTH};
use crate::batch::Span;

/// An array or object that is not at its end yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    /// Array or object.
    json: Json,
    /// Whether its members go onto the tape.
    taped: bool,
    /// The member on the tape whose value it is, if it is one's.
    slot: Option<u32>,
    /// How many keys of the objects around it are listed.
    first_key: u32,
    /// What is remembered of its keys.
    known: Option<u32>,
    /// How many keys it has so far, if all of them are as remembered. They stand on the tape only.
    as_known: Option<u32>,
}

/// A key, and whether it has escapes.
type Key = (Span, bool);

/// Why the look at expected members stopped.
#[derive(Clone, Copy)]
enum Stop {
    /// Before a member.
    Before,
    /// Before a member with the remembered key, whose value is an object that begins here.
    Object(usize),
    /// After a member's value, which ends here, and no comma follows.
    After(usize),
}

/// How the look at an array or object ended, and where to go on.
enum Flow {
    /// At the first member or element of another one in it.
    Entered(usize),
    /// After its end.
    Left(usize),
}

/// One pass over one record. The position is passed on by value: it stays in a register that way.
pub(super) struct Pass<'a, 's, K, W> {
    text: Text<'a, W>,
    start: usize,
    scanner: &'s mut Scanner,
    known: &'a [K],
    found: Option<usize>,
    values: u32,
}

impl<K: AsRef<[u8]>, W: Way> Work for Pass<'_, '_, K, W> {
    type Done = Result<Scanned, Fault>;

    #[inline(always)]
    fn go(mut self) -> Self::Done {
        let start = self.start;
        match self.document(start) {
            Ok(root) => Ok(Scanned { root, known: self.found }),
            Err(Wrong(at, what)) => Err(Fault { at: at - start, what }),
        }
    }
}

impl<'a, 's, K: AsRef<[u8]>, W: Way> Pass<'a, 's, K, W> {
    /// A pass over `all[span]`; see [`Scanner::scan`].
    pub(super) fn new(all: &'a [u8], span: Span, scanner: &'s mut Scanner, known: &'a [K], way: W) -> Self {
        let text = Text { all, bytes: &all[..span.end as usize], way };
        Pass { text, start: span.start as usize, scanner, known, found: None, values: 0 }
    }

    #[inline(always)]
    fn document(&mut self, start: usize) -> Step<Json> {
        let at = space(self.text.bytes, start);
        let (json, end) = match self.scalar(at)? {
            Some(scalar) => scalar,
            None => match self.enter(None, at)? {
                (json, Flow::Left(end)) => (json, end),
                (json, Flow::Entered(first)) => (json, self.nested(first)?),
            },
        };
        let end = space(self.text.bytes, end);
        if end < self.text.bytes.len() { Err(Wrong(end, "something after the value")) } else { Ok(json) }
    }

    /// From the first member or element of the outermost array or object to its end.
    #[inline(always)]
    fn nested(&mut self, mut at: usize) -> Step<usize> {
        while let Some(open) = self.scanner.open.last().copied() {
            let flow = match open.json {
                Json::Object => self.members(at, open)?,
                _ => self.elements(at, open)?,
            };
            at = match flow {
                Flow::Entered(first) => first,
                Flow::Left(end) => self.next(end)?,
            };
        }
        Ok(at)
    }

    /// From after an array or object to what comes next in those around it; after the outermost, to its end.
    fn next(&mut self, mut at: usize) -> Step<usize> {
        while let Some(open) = self.scanner.open.last().copied() {
            let end = space(self.text.bytes, at);
            match (self.text.bytes.get(end), open.json) {
                (Some(b','), _) => return Ok(space(self.text.bytes, end + 1)),
                (Some(b'}'), Json::Object) => self.leave_object(end, open)?,
                (Some(b']'), Json::Array) => self.leave(end, open),
                (_, Json::Object) => return Err(Wrong(end, "neither a comma nor the end of an object")),
                _ => return Err(Wrong(end, "neither a comma nor the end of an array")),
            }
            at = end + 1;
        }
        Ok(at)
    }

    /// The members of the innermost object, from the one at `at` on, and of the objects in and around it, until an
    /// array begins, or goes on after an object in it, or all are at their ends.
    #[inline(always)]
    fn members(&mut self, mut at: usize, mut open: Open) -> Step<Flow> {
        loop {
            let stop;
            (at, stop) = self.expected(at, &mut open)?;
            let mut end = match stop {
                Stop::After(end) => end,
                Stop::Object(start) => match self.enter_expected(at, start, &open) {
                    Some(inner) => {
                        (at, open) = (start + 1, inner);
                        continue;
                    }
                    None => at,
                },
                Stop::Before => at,
            };
            if !matches!(stop, Stop::After(_)) {
                end = match self.member(at, &mut open)? {
                    Flow::Left(end) => end,
                    entered => return Ok(entered),
                };
            }
            loop {
                at = space(self.text.bytes, end);
                match self.text.bytes.get(at) {
                    Some(b',') => break,
                    Some(b'}') => self.leave_object(at, open)?,
                    _ => return Err(Wrong(at, "neither a comma nor the end of an object")),
                }
                end = at + 1;
                match self.scanner.open.last() {
                    Some(around) if around.json == Json::Object => open = *around,
                    _ => return Ok(Flow::Left(end)),
                }
            }
            at = space(self.text.bytes, at + 1);
        }
    }

    /// Members whose keys are as remembered and whose values hold no others, from the one at `at` on, as long
    /// as there is no space between them; and where it stopped.
    #[inline(always)]
    fn expected(&mut self, mut at: usize, open: &mut Open) -> Step<(usize, Stop)> {
        let Some(count) = open.as_known else { return Ok((at, Stop::Before)) };
        let text = self.text;
        let Scanner { memory, tape, .. } = &mut *self.scanner;
        let keys = memory.keys(open.known).get(count as usize..).unwrap_or_default();
        let keys = keys.get(..(MAX_VALUES - self.values) as usize).unwrap_or(keys);
        let (mut taken, mut stop) = (0, Stop::Before);
        for known in keys {
            let Some(Value { json, start, end }) = text.expected(at, known)? else { break };
            if json == Json::Object {
                stop = Stop::Object(start);
                break;
            }
            // What follows the record is none of it.
            let Some(separator) = text.bytes.get(end) else { break };
            let (key, escaped, next) = (span(at + 1, start - 2), known.escaped, tape.len() as u32 + 1);
            tape.push(Member { key, escaped, json, value: span(start, end), next });
            taken += 1;
            if *separator != b',' {
                stop = Stop::After(end);
                break;
            }
            at = end + 1;
        }
        self.values += taken;
        open.as_known = Some(count + taken);
        Ok((if taken > 0 { space(text.bytes, at) } else { at }, stop))
    }

    /// Enters the object that begins at `start` with a key, the value of the member at `at`, whose key is the next
    /// that is remembered of the object `around`. None where a closer look is needed.
    #[inline]
    fn enter_expected(&mut self, at: usize, start: usize, around: &Open) -> Option<Open> {
        let Scanner { tape, open, memory, keys, .. } = &mut *self.scanner;
        let depth = open.len();
        if depth >= TAPE_DEPTH || (depth == 1 && !self.known.is_empty()) || start + 1 >= self.text.bytes.len()
        {
            return None;
        }
        let count = around.as_known?;
        let known = memory.inside(around.known?, count);
        let escaped = memory.keys(around.known).get(count as usize)?.escaped;
        self.values += 1;
        if let Some(around) = open.last_mut() {
            around.as_known = Some(count + 1);
        }
        let slot = tape.len() as u32;
        let key = span(at + 1, start - 2);
        tape.push(Member { key, escaped, json: Json::Object, value: span(start, start), next: slot + 1 });
        let (first_key, as_known) = (keys.len() as u32, known.and(Some(0)));
        let inner = Open { json: Json::Object, taped: true, slot: Some(slot), first_key, known, as_known };
        open.push(inner);
        Some(inner)
    }

    /// The member at `at`: where its value ends.
    #[inline]
    fn member(&mut self, at: usize, open: &mut Open) -> Step<Flow> {
        let (key, start) = self.key(at, open)?;
        let (json, end) = match self.scalar(start)? {
            Some(scalar) => scalar,
            None => {
                if let Some(innermost) = self.scanner.open.last_mut() {
                    *innermost = *open;
                }
                match self.enter(open.taped.then_some(key), start)? {
                    (json, Flow::Left(end)) => (json, end),
                    (_, entered) => return Ok(entered),
                }
            }
        };
        if open.taped {
            let (next, (key, escaped)) = (self.scanner.tape.len() as u32 + 1, key);
            self.scanner.tape.push(Member { key, escaped, json, value: span(start, end), next });
        }
        Ok(Flow::Left(end))
    }

    /// The elements of the innermost array, from the one at `at` on.
    #[inline(always)]
    fn elements(&mut self, mut at: usize, open: Open) -> Step<Flow> {
        loop {
            let end = match self.scalar(at)? {
                Some((_, end)) => end,
                None => match self.enter(None, at)? {
                    (_, Flow::Left(end)) => end,
                    (_, entered) => return Ok(entered),
                },
            };
            at = space(self.text.bytes, end);
            match self.text.bytes.get(at) {
                Some(b',') => at = space(self.text.bytes, at + 1),
                Some(b']') => {
                    self.leave(at, open);
                    return Ok(Flow::Left(at + 1));
                }
                _ => return Err(Wrong(at, "neither a comma nor the end of an array")),
            }
        }
    }

    /// A value that holds no others, and its end; none at the start of an array or object.
    #[inline(always)]
    fn scalar(&mut self, at: usize) -> Step<Option<(Json, usize)>> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(Wrong(at, "more than 1,000,000 values"));
        }
        match self.text.scalar(at)? {
            None => match self.text.bytes.get(at) {
                Some(b'{' | b'[') => Ok(None),
                Some(_) => Err(Wrong(at, "no value")),
                None => Err(Wrong(at, "the end instead of a value")),
            },
            scalar => Ok(scalar),
        }
    }

    /// Enters the array or object at `at`, the value of `key` if it is taped; its type. One that is empty or
    /// known is stepped over.
    fn enter(&mut self, key: Option<Key>, at: usize) -> Step<(Json, Flow)> {
        let json = if self.text.bytes[at] == b'{' { Json::Object } else { Json::Array };
        let depth = self.scanner.open.len();
        if depth >= MAX_DEPTH {
            return Err(Wrong(at, "nesting deeper than 128"));
        }
        if let Some(end) = self.known_schema(key, depth, at) {
            return Ok((json, Flow::Left(end)));
        }
        let first = space(self.text.bytes, at + 1);
        match (self.text.bytes.get(first), json) {
            (Some(b'}'), Json::Object) | (Some(b']'), Json::Array) => {
                return Ok((json, Flow::Left(first + 1)));
            }
            _ => {}
        }
        let slot = key.map(|(key, escaped)| {
            let slot = self.scanner.tape.len() as u32;
            self.scanner.tape.push(Member { key, escaped, json, value: span(at, at), next: slot + 1 });
            slot
        });
        let taped = json == Json::Object && depth < TAPE_DEPTH && (depth == 0 || slot.is_some());
        let known = if taped { self.remembered() } else { None };
        let first_key = self.scanner.keys.len() as u32;
        self.scanner.open.push(Open { json, taped, slot, first_key, known, as_known: known.and(Some(0)) });
        Ok((json, Flow::Entered(first)))
    }

    /// What is remembered of the keys of the object that is about to be entered, the value of the last key.
    fn remembered(&mut self) -> Option<u32> {
        let Some(around) = self.scanner.open.last() else { return Some(self.scanner.memory.root()) };
        self.scanner.memory.inside(around.known?, around.as_known?.checked_sub(1)?)
    }

    /// Reads the key at `at`, up to its value.
    #[inline(always)]
    fn key(&mut self, at: usize, open: &mut Open) -> Step<(Key, usize)> {
        if let Some(count) = open.as_known {
            let known = self.scanner.memory.keys(open.known).get(count as usize);
            if let Some((start, known)) = known.and_then(|key| Some((self.text.after(at, key)?, key))) {
                open.as_known = Some(count + 1);
                let key = (span(at + 1, start - 2), known.escaped);
                return Ok((key, space(self.text.bytes, start)));
            }
            open.as_known = None;
            self.scanner.list_keys(open.slot);
        }
        if self.text.bytes.get(at) != Some(&b'"') {
            return Err(Wrong(at, "no key"));
        }
        let (end, escaped) = self.text.string(at + 1)?;
        let key = (span(at + 1, end - 1), escaped);
        self.scanner.keys.push(key);
        let colon = space(self.text.bytes, end);
        if self.text.bytes.get(colon) != Some(&b':') {
            return Err(Wrong(colon, "no colon after a key"));
        }
        Ok((key, space(self.text.bytes, colon + 1)))
    }

    fn leave_object(&mut self, at: usize, open: Open) -> Step<()> {
        let Scanner { keys, hashes, memory, alike, .. } = &mut *self.scanner;
        let first = open.first_key as usize;
        // What is remembered has no duplicates, and so has its beginning none; nor is it too long.
        if let Some(count) = open.as_known {
            let same = memory.keep(open.known, count);
            alike.extend(same.map(|same| (open.slot.unwrap_or(ROOT), same)));
        } else {
            let own = &keys[first..];
            if own.len() > MAX_MEMBERS {
                return Err(Wrong(at, "an object of more than 10,000 members"));
            }
            if keys::has_duplicate(self.text.bytes, own, hashes) {
                return Err(Wrong(at, "a key that comes twice in the object that ends"));
            }
            memory.learn(open.known, self.text.bytes, own);
        }
        keys.truncate(first);
        self.leave(at, open);
        Ok(())
    }

    fn leave(&mut self, at: usize, open: Open) {
        self.scanner.open.pop();
        let next = self.scanner.tape.len() as u32;
        if let Some(member) = open.slot.and_then(|slot| self.scanner.tape.get_mut(slot as usize)) {
            member.value.end = at as u32 + 1;
            member.next = next;
        }
    }

    /// The end of the root's member `schema` where its text is known. A text that was accepted as an object
    /// ends with that object, so whatever starts with it has the whole object there.
    #[inline]
    fn known_schema(&mut self, key: Option<Key>, depth: usize, at: usize) -> Option<usize> {
        if self.known.is_empty() || depth != 1 || key?.0.of(self.text.bytes) != b"schema" {
            return None;
        }
        let rest = &self.text.bytes[at..];
        self.found = self.known.iter().position(|text| rest.starts_with(text.as_ref()));
        Some(at + self.known[self.found?].as_ref().len())
    }
}

#[inline(always)]
fn span(start: usize, end: usize) -> Span {
    // A batch's arena is indexed by 32 bits, so neither is cut.
    Span { start: start as u32, end: end as u32 }
}

#[inline(always)]
fn space(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'\0'..=b' ') => space_from(bytes, at),
        _ => at,
    }
}

#[cold]
fn space_from(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}
