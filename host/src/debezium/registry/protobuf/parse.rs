//! Reads the text of a `.proto` file, as far as data has anything of it.

use rustc_hash::FxHashMap;
use serde_json::Map;

use super::super::json::quoted;
use super::{Field, Id, Kind, Meant, Message, Protobuf};

/// How deep messages may nest in the text.
const MAX_NESTING: u32 = 32;
/// How many fields and symbols a schema may have, those of its imports counted.
const MAX_FIELDS: usize = 100_000;

/// Types that stand for others, with the kinds of their fields from the number 1 on.
const KNOWN: [(&str, Meant, &[Kind]); 13] = [
    ("confluent.type.Decimal", Meant::Decimal, &[Kind::Bytes, Kind::Uint32, Kind::Int32]),
    ("google.type.Date", Meant::Date, &[Kind::Int32, Kind::Int32, Kind::Int32]),
    ("google.type.TimeOfDay", Meant::Time, &[Kind::Int32, Kind::Int32, Kind::Int32, Kind::Int32]),
    ("google.protobuf.Timestamp", Meant::Timestamp, &[Kind::Int64, Kind::Int32]),
    ("google.protobuf.DoubleValue", Meant::Wrapper, &[Kind::Double]),
    ("google.protobuf.FloatValue", Meant::Wrapper, &[Kind::Float]),
    ("google.protobuf.Int64Value", Meant::Wrapper, &[Kind::Int64]),
    ("google.protobuf.UInt64Value", Meant::Wrapper, &[Kind::Uint64]),
    ("google.protobuf.Int32Value", Meant::Wrapper, &[Kind::Int32]),
    ("google.protobuf.UInt32Value", Meant::Wrapper, &[Kind::Uint32]),
    ("google.protobuf.BoolValue", Meant::Wrapper, &[Kind::Bool]),
    ("google.protobuf.StringValue", Meant::Wrapper, &[Kind::Text]),
    ("google.protobuf.BytesValue", Meant::Wrapper, &[Kind::Bytes]),
];

/// Reads a file after those that it imports.
pub(super) fn parse(text: &str, references: &[(String, String)]) -> Result<Protobuf, String> {
    let mut parser = Parser::default();
    for (name, meant, kinds) in KNOWN {
        let field = |kind: &Kind| Field {
            key: Box::default(),
            name: "value".into(),
            kind: *kind,
            repeated: false,
            optional: false,
            parameters: Map::new(),
        };
        let by_number = (1..).zip(0..kinds.len()).collect();
        let fields = kinds.iter().map(field).collect();
        parser.messages.push(Message { name: name.into(), fields, by_number, meant });
        parser.names.insert(name.into(), Named::Message(parser.messages.len() - 1));
    }
    for (name, text) in references {
        parser.file(text).map_err(|what| format!("in `{}` {what}", shown(name)))?;
    }
    let root = parser.file(text)?.ok_or("it has no message")?;
    parser.resolve()?;
    Ok(Protobuf { messages: parser.messages, enums: parser.enums, root })
}

#[derive(Debug, Clone, Copy)]
enum Named {
    Message(Id),
    Enum(usize),
}

/// A field whose type is a name yet.
struct Unresolved {
    message: Id,
    field: usize,
    type_name: String,
}

#[derive(Default)]
struct Parser<'t> {
    tokens: Tokens<'t>,
    proto2: bool,
    messages: Vec<Message>,
    enums: Vec<FxHashMap<i32, Box<[u8]>>>,
    names: FxHashMap<String, Named>,
    unresolved: Vec<Unresolved>,
    fields: usize,
}

impl<'t> Parser<'t> {
    /// Reads a file; the first of its messages.
    fn file(&mut self, text: &'t str) -> Result<Option<Id>, String> {
        self.tokens = Tokens { rest: text };
        self.proto2 = true;
        let (mut first, mut package) = (None, "");
        while let Some(token) = self.tokens.next()? {
            match token {
                Token::Word("message") => {
                    let id = self.message(package, 0)?;
                    first = first.or(id);
                }
                Token::Word("enum") => self.symbols(package)?,
                Token::Word("package") => {
                    package = self.word()?;
                    self.expect(";")?;
                }
                Token::Word("syntax" | "edition") => {
                    self.expect("=")?;
                    self.proto2 = matches!(self.tokens.next()?, Some(Token::Text(text)) if text == "proto2");
                    self.expect(";")?;
                }
                Token::Word(_) => self.skip()?,
                Token::Mark(";") => {}
                other => return Err(format!("{other} where a definition is expected")),
            }
        }
        Ok(first)
    }

    fn word(&mut self) -> Result<&'t str, String> {
        match self.tokens.next()? {
            Some(Token::Word(word)) => Ok(word),
            Some(other) => Err(format!("{other} where a name or a number is expected")),
            None => Err("it ends where a name or a number is expected".into()),
        }
    }

    fn expect(&mut self, mark: &str) -> Result<(), String> {
        match self.tokens.next()? {
            Some(Token::Mark(found)) if found == mark => Ok(()),
            Some(other) => Err(format!("{other} where `{mark}` is expected")),
            None => Err(format!("it ends where `{mark}` is expected")),
        }
    }

    /// Steps over a statement: to its semicolon, or to the end of its braces.
    fn skip(&mut self) -> Result<(), String> {
        let mut depth = 0_u32;
        while let Some(token) = self.tokens.next()? {
            match token {
                Token::Mark("{" | "[" | "(") => depth += 1,
                Token::Mark("]" | ")") => depth = depth.saturating_sub(1),
                Token::Mark("}") => {
                    depth = depth.saturating_sub(1);
                    // An option's value in braces has a semicolon after it, which stands alone then.
                    if depth == 0 {
                        return Ok(());
                    }
                }
                Token::Mark(";") if depth == 0 => return Ok(()),
                _ => {}
            }
        }
        Err("it ends within a statement".into())
    }

    fn count(&mut self) -> Result<(), String> {
        self.fields += 1;
        if self.fields > MAX_FIELDS { Err(format!("it has more than {MAX_FIELDS} fields")) } else { Ok(()) }
    }

    /// Adds a message; none where its name is known as one that stands for another.
    fn add(&mut self, name: String, meant: Meant) -> Result<Option<Id>, String> {
        self.count()?;
        let id = self.messages.len();
        if KNOWN.iter().any(|(known, ..)| *known == name) {
            self.messages.push(Message { name, ..Message::default() });
            return Ok(None);
        }
        if self.names.insert(name.clone(), Named::Message(id)).is_some() {
            return Err(format!("the type `{}` is defined twice", shown(&name)));
        }
        self.messages.push(Message { name, meant, ..Message::default() });
        Ok(Some(id))
    }

    fn message(&mut self, scope: &str, depth: u32) -> Result<Option<Id>, String> {
        if depth > MAX_NESTING {
            return Err(format!("messages nest deeper than {MAX_NESTING}"));
        }
        let name = joined(scope, self.word()?);
        let added = self.add(name.clone(), Meant::Itself)?;
        let id = self.messages.len() - 1;
        self.expect("{")?;
        let mut in_oneof = false;
        loop {
            let Some(token) = self.tokens.next()? else { return Err("it ends within a message".into()) };
            match token {
                Token::Mark("}") if in_oneof => in_oneof = false,
                Token::Mark("}") => return Ok(added),
                Token::Mark(";") => {}
                Token::Word("message") => _ = self.message(&name, depth + 1)?,
                Token::Word("enum") => self.symbols(&name)?,
                Token::Word("oneof") => {
                    self.word()?;
                    self.expect("{")?;
                    in_oneof = true;
                }
                Token::Word("option" | "reserved" | "extensions" | "extend") => self.skip()?,
                Token::Word("group") => return Err("groups are not supported".into()),
                Token::Word("map") => self.map(id, &name)?,
                Token::Word(first) => self.field(id, first, in_oneof)?,
                other => return Err(format!("{other} where a field is expected")),
            }
        }
    }

    fn field(&mut self, message: Id, first: &'t str, in_oneof: bool) -> Result<(), String> {
        let (label, type_name) = match first {
            "optional" | "required" | "repeated" => (first, self.word()?),
            type_name => ("", type_name),
        };
        let optional = in_oneof || label == "optional" || (self.proto2 && label != "required");
        self.rest(message, type_name.to_owned(), label == "repeated", optional)
    }

    /// Reads a field from its name on.
    fn rest(&mut self, message: Id, type_name: String, repeated: bool, optional: bool) -> Result<(), String> {
        self.count()?;
        let name = self.word()?;
        self.expect("=")?;
        let number = self.word()?;
        let number: u32 = number.parse().map_err(|_| format!("`{}` is no field's number", shown(number)))?;
        let mut parameters = Map::new();
        match self.tokens.next()? {
            Some(Token::Mark(";")) => {}
            Some(Token::Mark("[")) => {
                self.options(&mut parameters)?;
                self.expect(";")?;
            }
            _ => return Err(format!("the field `{}` has no end", shown(name))),
        }
        let mut key = quoted(name);
        key.push(b':');
        let optional = optional && !repeated;
        let field =
            Field { key: key.into(), name: name.into(), kind: Kind::Bool, repeated, optional, parameters };
        let Some(place) = self.messages.get_mut(message) else { return Ok(()) };
        let index = place.fields.len();
        if place.by_number.insert(number, index).is_some() {
            return Err(format!("the number of the field `{}` is there twice", shown(name)));
        }
        place.fields.push(field);
        self.unresolved.push(Unresolved { message, field: index, type_name });
        Ok(())
    }

    /// Reads options to their end. Of Confluent's metadata the parameters are kept.
    fn options(&mut self, parameters: &mut Map<String, serde_json::Value>) -> Result<(), String> {
        let (mut depth, mut meta) = (1_u32, false);
        let (mut word, mut key) = ("", None);
        while let Some(token) = self.tokens.next()? {
            match token {
                Token::Mark("[" | "{" | "(" | "<") => depth += 1,
                Token::Mark("]" | "}" | ")" | ">") => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                Token::Mark(_) => {}
                Token::Word(found) => {
                    meta |= found.ends_with("confluent.field_meta");
                    word = found;
                }
                Token::Text(text) if word == "key" => key = Some(text),
                Token::Text(text) if word == "value" && meta => {
                    if let Some(key) = key.take() {
                        parameters.insert(key, text.into());
                    }
                }
                Token::Text(_) => {}
            }
        }
        Err("it ends within options".into())
    }

    fn map(&mut self, message: Id, scope: &str) -> Result<(), String> {
        self.expect("<")?;
        let key = self.word()?;
        self.expect(",")?;
        let value = self.word()?;
        self.expect(">")?;
        let entry = format!("{scope}.{}", self.messages.len());
        let optional = !is_scalar(value);
        self.add(entry.clone(), Meant::Entry)?;
        let id = self.messages.len() - 1;
        for (name, type_name, optional) in [("key", key, false), ("value", value, optional)] {
            let Some(place) = self.messages.get_mut(id) else { continue };
            let index = place.fields.len();
            place.by_number.insert(index as u32 + 1, index);
            place.fields.push(Field {
                key: Box::default(),
                name: name.into(),
                kind: Kind::Bool,
                repeated: false,
                optional,
                parameters: Map::new(),
            });
            self.unresolved.push(Unresolved { message: id, field: index, type_name: type_name.to_owned() });
        }
        self.rest(message, format!(".{entry}"), true, false)
    }

    fn symbols(&mut self, scope: &str) -> Result<(), String> {
        let name = joined(scope, self.word()?);
        if self.names.insert(name.clone(), Named::Enum(self.enums.len())).is_some() {
            return Err(format!("the type `{}` is defined twice", shown(&name)));
        }
        self.expect("{")?;
        let mut symbols = FxHashMap::default();
        loop {
            match self.tokens.next()? {
                Some(Token::Mark("}")) => break,
                Some(Token::Mark(";")) => {}
                Some(Token::Word("option" | "reserved")) => self.skip()?,
                Some(Token::Word(symbol)) => {
                    self.count()?;
                    self.expect("=")?;
                    let number = self.word()?;
                    let number =
                        number.parse().map_err(|_| format!("`{}` is no symbol's number", shown(number)))?;
                    symbols.entry(number).or_insert_with(|| quoted(symbol).into());
                    self.skip()?;
                }
                Some(other) => return Err(format!("{other} where a symbol is expected")),
                None => return Err("it ends within an enum".into()),
            }
        }
        self.enums.push(symbols);
        Ok(())
    }

    /// Finds the types of all fields.
    fn resolve(&mut self) -> Result<(), String> {
        for Unresolved { message, field, type_name } in std::mem::take(&mut self.unresolved) {
            let scope = self.messages.get(message).map_or("", |message| &message.name);
            let kind = match scalar(&type_name) {
                Some(kind) => kind,
                None => match self.find(scope, &type_name) {
                    Some(Named::Message(id)) => Kind::Message(id),
                    Some(Named::Enum(id)) => Kind::Enum(id),
                    None => return Err(format!("the type `{}` is nowhere", shown(&type_name))),
                },
            };
            if let Some(field) = self.messages.get_mut(message).and_then(|place| place.fields.get_mut(field))
            {
                field.kind = kind;
                field.optional |= matches!(kind, Kind::Message(_)) && !field.repeated;
            }
        }
        Ok(())
    }

    /// A type by a name that is used within `scope`: the innermost counts.
    fn find(&self, scope: &str, name: &str) -> Option<Named> {
        if let Some(absolute) = name.strip_prefix('.') {
            return self.names.get(absolute).copied();
        }
        let mut scope = scope;
        loop {
            if let Some(found) = self.names.get(&joined(scope, name)) {
                return Some(*found);
            }
            if scope.is_empty() {
                return None;
            }
            scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
    }
}

fn joined(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

fn is_scalar(name: &str) -> bool {
    scalar(name).is_some()
}

fn scalar(name: &str) -> Option<Kind> {
    Some(match name {
        "int32" => Kind::Int32,
        "sint32" => Kind::Sint32,
        "uint32" => Kind::Uint32,
        "int64" => Kind::Int64,
        "sint64" => Kind::Sint64,
        "uint64" => Kind::Uint64,
        "fixed32" => Kind::Fixed32,
        "sfixed32" => Kind::Sfixed32,
        "fixed64" => Kind::Fixed64,
        "sfixed64" => Kind::Sfixed64,
        "float" => Kind::Float,
        "double" => Kind::Double,
        "bool" => Kind::Bool,
        "string" => Kind::Text,
        "bytes" => Kind::Bytes,
        _ => return None,
    })
}

/// The start of a name, for a message.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

/// A piece of the text.
#[derive(Debug, PartialEq, Eq)]
enum Token<'t> {
    /// A name, with its dots, or a number.
    Word(&'t str),
    /// A string, without its quotes; escapes stay.
    Text(String),
    /// Anything else, one character.
    Mark(&'t str),
}

impl std::fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Word(text) | Token::Mark(text) => write!(f, "`{}`", shown(text)),
            Token::Text(_) => write!(f, "a string"),
        }
    }
}

#[derive(Debug, Default)]
struct Tokens<'t> {
    rest: &'t str,
}

impl<'t> Tokens<'t> {
    fn next(&mut self) -> Result<Option<Token<'t>>, String> {
        loop {
            self.rest = self.rest.trim_start();
            let after = |rest: &'t str, end: &str| rest.find(end).and_then(|at| rest.get(at + end.len()..));
            self.rest = match self.rest {
                rest if rest.starts_with("//") => after(rest, "\n").unwrap_or(""),
                rest if rest.starts_with("/*") => {
                    after(rest.get(2..).unwrap_or(""), "*/").ok_or("a comment without end")?
                }
                _ => break,
            };
        }
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        if matches!(first, '"' | '\'') {
            return self.text(first).map(Some);
        }
        let is_word = |letter: char| letter.is_ascii_alphanumeric() || "_.+-".contains(letter);
        let length = match self.rest.find(|letter| !is_word(letter)) {
            Some(0) => first.len_utf8(),
            Some(length) => length,
            None => self.rest.len(),
        };
        let (token, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        Ok(Some(if is_word(first) { Token::Word(token) } else { Token::Mark(token) }))
    }

    fn text(&mut self, quote: char) -> Result<Token<'t>, String> {
        let inside = self.rest.get(1..).unwrap_or("");
        let mut escaped = false;
        let end = inside.find(|letter| {
            let is_end = letter == quote && !escaped;
            escaped = letter == '\\' && !escaped;
            is_end
        });
        let end = end.ok_or("a string without end")?;
        self.rest = inside.get(end + 1..).unwrap_or("");
        Ok(Token::Text(inside.get(..end).unwrap_or("").to_owned()))
    }
}
