//! Writes JSON as Kafka Connect's `JsonConverter` does: its escapes, its numbers, its base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::debezium::text::plain_end;

/// Appends JSON to a batch's arena, up to a limit.
pub(super) struct Out<'a> {
    bytes: &'a mut Vec<u8>,
    end: usize,
}

type Written = Result<(), String>;

impl<'a> Out<'a> {
    /// Writes at most `limit` bytes after those that are there.
    pub(super) fn new(bytes: &'a mut Vec<u8>, limit: usize) -> Self {
        let end = bytes.len().saturating_add(limit);
        Out { bytes, end }
    }

    fn room(&self, more: usize) -> Written {
        match self.end.checked_sub(self.bytes.len()) {
            Some(left) if left >= more => Ok(()),
            _ => Err("as json the record would be larger than 16 MiB".into()),
        }
    }

    /// Writes what is JSON already.
    pub(super) fn raw(&mut self, json: &[u8]) -> Written {
        self.room(json.len())?;
        self.bytes.extend_from_slice(json);
        Ok(())
    }

    /// Writes an integer.
    pub(super) fn int(&mut self, number: i64) -> Written {
        self.raw(itoa::Buffer::new().format(number).as_bytes())
    }

    /// Writes an integer without sign.
    pub(super) fn uint(&mut self, number: u64) -> Written {
        self.raw(itoa::Buffer::new().format(number).as_bytes())
    }

    /// Writes `true` or `false`.
    pub(super) fn bool(&mut self, value: bool) -> Written {
        self.raw(if value { b"true" } else { b"false" })
    }

    /// Writes a 64-bit float.
    pub(super) fn float64(&mut self, number: f64) -> Written {
        let size = number.abs();
        if let Some(text) = no_number(number) {
            return self.raw(text);
        }
        if size == 0.0 || (1e-3..1e7).contains(&size) {
            self.raw(format!("{number:?}").as_bytes())
        } else {
            self.raw(exponential(format!("{number:e}")).as_bytes())
        }
    }

    /// Writes a 32-bit float: with the fewest digits that mean it.
    pub(super) fn float32(&mut self, number: f32) -> Written {
        let size = number.abs();
        if let Some(text) = no_number(f64::from(number)) {
            return self.raw(text);
        }
        if size == 0.0 || (1e-3..1e7).contains(&size) {
            self.raw(format!("{number:?}").as_bytes())
        } else {
            self.raw(exponential(format!("{number:e}")).as_bytes())
        }
    }

    /// Writes a string; it must be UTF-8.
    pub(super) fn text(&mut self, text: &[u8]) -> Written {
        if str::from_utf8(text).is_err() {
            return Err("text that is not utf-8".into());
        }
        self.raw(b"\"")?;
        let mut at = 0;
        loop {
            let (end, _) = plain_end(text, at);
            self.raw(text.get(at..end).unwrap_or_default())?;
            let Some(special) = text.get(end) else { break };
            self.escape(*special)?;
            at = end + 1;
        }
        self.raw(b"\"")
    }

    fn escape(&mut self, byte: u8) -> Written {
        match byte {
            b'"' => self.raw(b"\\\""),
            b'\\' => self.raw(b"\\\\"),
            8 => self.raw(b"\\b"),
            b'\t' => self.raw(b"\\t"),
            b'\n' => self.raw(b"\\n"),
            12 => self.raw(b"\\f"),
            b'\r' => self.raw(b"\\r"),
            control => self.raw(format!("\\u{control:04X}").as_bytes()),
        }
    }

    /// Writes bytes, as a string of base64.
    pub(super) fn base64(&mut self, bytes: &[u8]) -> Written {
        let length = bytes.len().div_ceil(3) * 4;
        self.room(length + 2)?;
        self.bytes.push(b'"');
        let start = self.bytes.len();
        self.bytes.resize(start + length, 0);
        let encoded = STANDARD.encode_slice(bytes, self.bytes.get_mut(start..).unwrap_or_default());
        debug_assert_eq!(encoded, Ok(length));
        self.bytes.push(b'"');
        Ok(())
    }
}

/// The text of a string.
pub(super) fn quoted(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + 2);
    // Text is UTF-8, and there is no limit.
    _ = Out::new(&mut bytes, usize::MAX).text(text.as_bytes());
    bytes
}

/// What stands for a float that is no number.
fn no_number(number: f64) -> Option<&'static [u8]> {
    if number.is_nan() {
        Some(b"\"NaN\"")
    } else if number.is_infinite() {
        Some(if number > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" })
    } else {
        None
    }
}

/// Java's way of writing `1.5e10`, and `1e10`.
fn exponential(text: String) -> String {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let fraction = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{fraction}E{exponent}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Out<'_>) -> Written) -> String {
        let mut bytes = Vec::new();
        write(&mut Out::new(&mut bytes, usize::MAX)).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn floats_are_written_as_java_writes_them() {
        for (number, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (1.5e-3, "0.0015"),
            (9.99e-4, "9.99E-4"),
            (9_999_999.5, "9999999.5"),
            (1e7, "1.0E7"),
            (-1.25e300, "-1.25E300"),
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"Infinity\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ] {
            assert_eq!(written(|out| out.float64(number)), expected);
        }
        assert_eq!(written(|out| out.float32(0.1)), "0.1");
        assert_eq!(written(|out| out.float32(f32::MAX)), "3.4028235E38");
    }

    #[test]
    fn nothing_is_written_beyond_the_limit() {
        let mut bytes = b"before".to_vec();
        let mut out = Out::new(&mut bytes, 4);
        assert!(out.text(b"abc").is_err());
        assert!(Out::new(&mut bytes, 4).base64(b"abc").is_err());
        assert!(bytes.len() <= 10 && bytes.starts_with(b"before"));
    }

    #[test]
    fn text_that_is_not_utf_8_is_refused() {
        assert!(Out::new(&mut Vec::new(), 99).text(b"\xff").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in any::<String>(), bytes in any::<Vec<u8>>(), number in any::<f64>(), short in any::<f32>()) {
            let read: String = serde_json::from_str(&written(|out| out.text(text.as_bytes()))).unwrap();
            prop_assert_eq!(read, text);
            let read: String = serde_json::from_str(&written(|out| out.base64(&bytes))).unwrap();
            prop_assert_eq!(STANDARD.decode(read).unwrap(), bytes);
            if number.is_finite() {
                prop_assert_eq!(written(|out| out.float64(number)).parse::<f64>().unwrap(), number);
            }
            if short.is_finite() {
                prop_assert_eq!(written(|out| out.float32(short)).parse::<f32>().unwrap(), short);
            }
        }
    }
}
