//! The parser of type names.

use super::ColumnType;
use crate::clickhouse::names;

/// Deeper nesting than any table has; bounds the recursion.
const MAX_DEPTH: usize = 16;

/// Reads a whole type name; the errors are those of [`ColumnType::parse`].
pub(super) fn parse(text: &str) -> Result<ColumnType, String> {
    let mut parser = Parser { text, at: 0 };
    let ty = parser.column_type(0).map_err(|reason| in_type(text, &reason))?;
    parser.spaces();
    if parser.at < text.len() {
        return Err(in_type(text, &format!("unexpected text at byte {}", parser.at)));
    }
    Ok(ty)
}

fn in_type(text: &str, reason: &str) -> String {
    format!("the column type {} cannot be read: {reason}", names::shown(text))
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

type Parsed<T> = Result<T, String>;

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn spaces(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Takes `byte` and the spaces before it, if it comes next.
    fn take(&mut self, byte: u8) -> bool {
        self.spaces();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Parsed<()> {
        if self.take(byte) { Ok(()) } else { Err(self.expected(&format!("`{}`", char::from(byte)))) }
    }

    fn expected(&self, what: &str) -> String {
        format!("expected {what} at byte {}", self.at)
    }

    fn since(&self, start: usize) -> &'t str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn word(&mut self) -> Parsed<&'t str> {
        self.spaces();
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.at += 1;
        }
        match self.since(start) {
            "" => Err(self.expected("a name")),
            word => Ok(word),
        }
    }

    fn number<T: std::str::FromStr>(&mut self) -> Parsed<T> {
        self.spaces();
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        let text = self.since(start);
        text.parse().map_err(|_| format!("expected a number that fits at byte {start}"))
    }

    /// `'…'` or `` `…` ``, with backslash escapes and doubled marks.
    fn quoted(&mut self, mark: u8) -> Parsed<String> {
        self.expect(mark)?;
        let mut bytes = Vec::new();
        loop {
            let byte = self.next_byte()?;
            if byte == b'\\' {
                let escaped = self.next_byte()?;
                bytes.push(self.unescape(escaped)?);
            } else if byte == mark {
                if self.peek() != Some(mark) {
                    break;
                }
                self.at += 1;
                bytes.push(mark);
            } else {
                bytes.push(byte);
            }
        }
        String::from_utf8(bytes).map_err(|_| format!("text that is not UTF-8 before byte {}", self.at))
    }

    fn next_byte(&mut self) -> Parsed<u8> {
        let byte = self.peek().ok_or_else(|| "it ends within quotes".to_owned())?;
        self.at += 1;
        Ok(byte)
    }

    fn unescape(&mut self, escaped: u8) -> Parsed<u8> {
        Ok(match escaped {
            b'0' => 0,
            b'a' => 0x07,
            b'b' => 0x08,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 0x0b,
            b'f' => 0x0c,
            b'r' => b'\r',
            b'x' => {
                let digits = self.text.get(self.at..self.at.saturating_add(2)).unwrap_or_default();
                let byte =
                    u8::from_str_radix(digits, 16).map_err(|_| self.expected("two hexadecimal digits"))?;
                self.at += 2;
                byte
            }
            other => other,
        })
    }

    fn column_type(&mut self, depth: usize) -> Parsed<ColumnType> {
        if depth > MAX_DEPTH {
            return Err(format!("it is nested more than {MAX_DEPTH} deep"));
        }
        self.spaces();
        let start = self.at;
        let name = self.word()?;
        let plain = match name {
            "Int8" | "Int16" | "Int32" | "Int64" | "Int128" | "Int256" => int(true, &name[3..]),
            "UInt8" | "UInt16" | "UInt32" | "UInt64" | "UInt128" | "UInt256" => int(false, &name[4..]),
            "Float32" => Some(ColumnType::Float32),
            "Float64" => Some(ColumnType::Float64),
            "Bool" => Some(ColumnType::Bool),
            "String" => Some(ColumnType::String),
            "Date" => Some(ColumnType::Date),
            "Date32" => Some(ColumnType::Date32),
            "Time" => Some(ColumnType::Time),
            "UUID" => Some(ColumnType::Uuid),
            "IPv4" => Some(ColumnType::Ipv4),
            "IPv6" => Some(ColumnType::Ipv6),
            "Point" => Some(ColumnType::Point),
            _ => None,
        };
        if let Some(ty) = plain {
            return Ok(ty);
        }
        if !self.take(b'(') {
            return Ok(match name {
                "DateTime" => ColumnType::DateTime(None),
                "DateTime64" => ColumnType::DateTime64(3, None),
                "Time64" => ColumnType::Time64(3),
                "JSON" => ColumnType::Json(name.to_owned()),
                _ => ColumnType::Unsupported(name.to_owned()),
            });
        }
        let ty = self.with_arguments(name, start, depth)?;
        self.expect(b')')?;
        Ok(match ty {
            // The closing bracket belongs to their text.
            ColumnType::Json(_) => ColumnType::Json(self.since(start).to_owned()),
            ColumnType::Unsupported(_) => ColumnType::Unsupported(self.since(start).to_owned()),
            other => other,
        })
    }

    /// What stands between a type's brackets.
    fn with_arguments(&mut self, name: &str, start: usize, depth: usize) -> Parsed<ColumnType> {
        let inner = |parser: &mut Self| parser.column_type(depth + 1);
        match name {
            "FixedString" => match self.number()? {
                0 => Err("FixedString has at least one byte".to_owned()),
                bytes => Ok(ColumnType::FixedString(bytes)),
            },
            "Decimal" => {
                let precision = self.number()?;
                let scale = if self.take(b',') { self.number()? } else { 0 };
                decimal(precision, scale)
            }
            "Decimal32" => decimal(9, self.number()?),
            "Decimal64" => decimal(18, self.number()?),
            "Decimal128" => decimal(38, self.number()?),
            "Decimal256" => decimal(76, self.number()?),
            "DateTime" => Ok(ColumnType::DateTime(Some(self.zone()?))),
            "DateTime64" => {
                let digits = self.digits()?;
                let zone = if self.take(b',') { Some(self.zone()?) } else { None };
                Ok(ColumnType::DateTime64(digits, zone))
            }
            "Time64" => Ok(ColumnType::Time64(self.digits()?)),
            "Enum8" | "Enum16" => self.labels(name == "Enum16"),
            "Nullable" => nullable(inner(self)?),
            "LowCardinality" => low_cardinality(inner(self)?),
            "Array" => Ok(ColumnType::Array(Box::new(inner(self)?))),
            "Map" => {
                let key = inner(self)?;
                self.expect(b',')?;
                Ok(ColumnType::Map(Box::new(key), Box::new(inner(self)?)))
            }
            "Tuple" => Ok(ColumnType::Tuple(self.elements(depth)?)),
            "Variant" => {
                let mut types: Vec<ColumnType> =
                    self.elements(depth)?.into_iter().map(|(_, element)| element).collect();
                types.sort_by_key(ColumnType::to_string);
                Ok(ColumnType::Variant(types))
            }
            "Nested" => Ok(ColumnType::Array(Box::new(ColumnType::Tuple(self.elements(depth)?)))),
            "SimpleAggregateFunction" => {
                self.word()?;
                if self.take(b'(') {
                    self.skip_arguments()?;
                    self.expect(b')')?;
                }
                self.expect(b',')?;
                inner(self)
            }
            _ => {
                self.skip_arguments()?;
                let text = self.since(start).to_owned();
                Ok(if name == "JSON" { ColumnType::Json(text) } else { ColumnType::Unsupported(text) })
            }
        }
    }

    fn digits(&mut self) -> Parsed<u8> {
        match self.number()? {
            digits @ 0..=9 => Ok(digits),
            _ => Err("a time has 0 to 9 digits after the second".to_owned()),
        }
    }

    fn zone(&mut self) -> Parsed<String> {
        self.spaces();
        self.quoted(b'\'')
    }

    fn labels(&mut self, wide: bool) -> Parsed<ColumnType> {
        let mut labels = Vec::new();
        loop {
            self.spaces();
            let label = self.quoted(b'\'')?;
            self.expect(b'=')?;
            let number: i16 = self.number()?;
            if !wide && i8::try_from(number).is_err() {
                return Err(format!("{number} does not fit an Enum8"));
            }
            labels.push((label, number));
            if !self.take(b',') {
                return Ok(ColumnType::Enum { wide, labels });
            }
        }
    }

    /// A tuple's elements: `T` or `name T`.
    fn elements(&mut self, depth: usize) -> Parsed<Vec<(Option<String>, ColumnType)>> {
        let mut elements = Vec::new();
        loop {
            self.spaces();
            let name = self.element_name()?;
            elements.push((name, self.column_type(depth + 1)?));
            if !self.take(b',') {
                return Ok(elements);
            }
        }
    }

    fn element_name(&mut self) -> Parsed<Option<String>> {
        if self.peek() == Some(b'`') {
            return self.quoted(b'`').map(Some);
        }
        let start = self.at;
        let word = self.word()?;
        self.spaces();
        // A word is a name where another word follows it.
        if self.peek().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_') {
            return Ok(Some(word.to_owned()));
        }
        self.at = start;
        Ok(None)
    }

    /// Passes over what stands between brackets, up to the closing one.
    fn skip_arguments(&mut self) -> Parsed<()> {
        let mut open = 0_usize;
        loop {
            match self.peek() {
                None => return Err("a bracket is not closed".to_owned()),
                Some(b')') if open == 0 => return Ok(()),
                Some(mark @ (b'\'' | b'`')) => {
                    self.quoted(mark)?;
                    continue;
                }
                Some(b'(') => open += 1,
                Some(b')') => open -= 1,
                Some(_) => {}
            }
            self.at += 1;
        }
    }
}

fn int(signed: bool, bits: &str) -> Option<ColumnType> {
    Some(ColumnType::Int { signed, bits: bits.parse().ok()? })
}

fn decimal(precision: u8, scale: u8) -> Parsed<ColumnType> {
    if !(1..=76).contains(&precision) || scale > precision {
        return Err("a Decimal has 1 to 76 digits, and not more of them after the point".to_owned());
    }
    Ok(ColumnType::Decimal { precision, scale })
}

fn nullable(inner: ColumnType) -> Parsed<ColumnType> {
    match inner {
        ColumnType::Nullable(_)
        | ColumnType::LowCardinality(_)
        | ColumnType::Array(_)
        | ColumnType::Variant(_)
        | ColumnType::Map(..) => Err(format!("there is no Nullable({inner})")),
        inner => Ok(ColumnType::Nullable(Box::new(inner))),
    }
}

fn low_cardinality(inner: ColumnType) -> Parsed<ColumnType> {
    match inner {
        ColumnType::LowCardinality(_) | ColumnType::Array(_) | ColumnType::Map(..) | ColumnType::Tuple(_) => {
            Err(format!("there is no LowCardinality({inner})"))
        }
        inner => Ok(ColumnType::LowCardinality(Box::new(inner))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: [&str; 10] =
        ["Int8", "Int64", "UInt32", "UInt256", "Float64", "Bool", "String", "Date32", "UUID", "IPv6"];

    fn leaf() -> impl Strategy<Value = String> {
        prop_oneof![
            proptest::sample::select(&PLAIN[..]).prop_map(str::to_owned),
            (1_u8..=76).prop_flat_map(|p| (Just(p), 0..=p)).prop_map(|(p, s)| format!("Decimal({p}, {s})")),
            (0_u8..=9).prop_map(|digits| format!("DateTime64({digits}, 'UTC')")),
            (1_u32..5000).prop_map(|size| format!("FixedString({size})")),
        ]
    }

    fn nested() -> impl Strategy<Value = String> {
        leaf().prop_recursive(4, 16, 2, |inner| {
            prop_oneof![
                leaf().prop_map(|ty| format!("Nullable({ty})")),
                inner.clone().prop_map(|ty| format!("Array({ty})")),
                inner.prop_map(|ty| format!("Map(String, {ty})")),
            ]
        })
    }

    proptest! {
        // Its parser is not the host's own because it can panic on malformed text, recurses without a limit,
        // and refuses named tuples; on what both take they must agree.
        #[test]
        fn the_parser_agrees_with_the_client_librarys(text in nested()) {
            let theirs = clickhouse_types::DataTypeNode::new(&text);
            prop_assert_eq!(theirs.unwrap().to_string(), parse(&text).unwrap().to_string());
        }
    }

    #[test]
    fn names_in_the_servers_form_read_and_write_back_the_same() {
        for text in [
            "Int8",
            "Int256",
            "UInt8",
            "UInt64",
            "UInt128",
            "Float32",
            "Float64",
            "Bool",
            "String",
            "FixedString(16)",
            "Decimal(76, 38)",
            "Date",
            "Date32",
            "DateTime",
            "DateTime('Europe/Berlin')",
            "DateTime64(6)",
            "DateTime64(9, 'UTC')",
            "Time",
            "Time64(6)",
            "UUID",
            "IPv4",
            "IPv6",
            "Enum8('a' = -1, 'b\\'\\\\(' = 2)",
            "Enum16('' = 300)",
            "Nullable(Int32)",
            "LowCardinality(Nullable(String))",
            "Array(Array(Nullable(Decimal(18, 4))))",
            "Map(LowCardinality(String), Array(UInt8))",
            "Tuple(String, Int8)",
            "Tuple(`a` String, `b c` Int8)",
            "JSON",
            "JSON(max_dynamic_paths=10, `a.b` UInt32, SKIP REGEXP '(')",
            "Dynamic",
            "Point",
            "BFloat16",
            "Variant(String, UInt64)",
            "AggregateFunction(quantiles(0.5, 0.9), Float64)",
        ] {
            assert_eq!(ColumnType::parse(text).map(|ty| ty.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn other_spellings_read_as_the_type_they_mean() {
        for (text, canonical) in [
            ("Decimal(18,4)", "Decimal(18, 4)"),
            (" Decimal64( 3 ) ", "Decimal(18, 3)"),
            ("Decimal(5)", "Decimal(5, 0)"),
            ("DateTime64", "DateTime64(3)"),
            ("SimpleAggregateFunction(anyLast, Nullable(String))", "Nullable(String)"),
            ("SimpleAggregateFunction(groupArrayArray(10), Array(UInt8))", "Array(UInt8)"),
            ("Tuple(a UInt8, b Array(String))", "Tuple(`a` UInt8, `b` Array(String))"),
            ("Nested(a UInt8)", "Array(Tuple(`a` UInt8))"),
            ("Enum8('it''s'=1)", "Enum8('it\\'s' = 1)"),
        ] {
            assert_eq!(ColumnType::parse(text).map(|ty| ty.to_string()), Ok(canonical.to_owned()));
        }
    }

    #[test]
    fn text_that_is_no_type_is_an_error() {
        for text in [
            "",
            "(",
            "Array",
            "Array(",
            "Array()",
            "Nullable(Array(Int8))",
            "LowCardinality(Array(Int8))",
            "Nullable(Nullable(Int8))",
            "Decimal(77, 0)",
            "Decimal(4, 5)",
            "Decimal(0)",
            "FixedString(0)",
            "FixedString(x)",
            "DateTime64(10)",
            "DateTime(3)",
            "Enum8()",
            "Enum8('a' = 200)",
            "Enum8('a'",
            "Int8; DROP TABLE x",
            "Int8)",
            "String DEFAULT 1",
            "Map(String)",
            "Tuple()",
            "é",
            "Array(é)",
            "Foo(",
        ] {
            let parsed = ColumnType::parse(text);
            let unsupported = matches!(parsed, Ok(ColumnType::Unsupported(ref name)) if name == text);
            assert!(parsed.is_err() || (text == "Array" && unsupported), "{text}: {parsed:?}");
        }
    }

    #[test]
    fn nesting_without_end_is_an_error_and_no_overflow() {
        let text = format!("{}Int8{}", "Array(".repeat(100_000), ")".repeat(100_000));
        assert!(ColumnType::parse(&text).is_err());
        let text = format!("{}{}", "Foo(".repeat(100_000), ")".repeat(100_000));
        assert!(ColumnType::parse(&text).is_ok_and(|ty| ty.unsupported().is_some()));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(
            text in "(Array|Nullable|Enum8|Tuple|Map|DateTime64|Decimal|JSON|SimpleAggregateFunction|[(),'`\\\\ =a-c0-9é]){0,12}"
        ) {
            if let Ok(ty) = ColumnType::parse(&text) {
                prop_assert_eq!(ColumnType::parse(&ty.to_string()), Ok(ty));
            }
        }
    }
}
