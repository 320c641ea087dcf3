//! Iterates over arrays and objects in JSON text that [`super::scan`] has accepted.
//!
//! Nothing is checked a second time: on any other text the iterators stop early, and never panic.

use std::borrow::Cow;

use super::text::{plain_end, unescape};

/// The texts of an array's elements; none where `json` is no array.
pub fn elements(json: &str) -> Elements<'_> {
    Elements(Walk::new(json, b'['))
}

/// The keys, unescaped, and the values' texts of an object; none where `json` is no object.
pub fn entries(json: &str) -> Entries<'_> {
    Entries(Walk::new(json, b'{'))
}

/// The text of the value of the member `name` of an object.
pub fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    entries(json).find(|(key, _)| key == name).map(|(_, value)| value)
}

/// The text between the quotes of a JSON string; none where `json` is no string.
pub fn inside(json: &str) -> Option<&str> {
    json.strip_prefix('"')?.strip_suffix('"')
}

/// See [`elements`].
#[derive(Debug, Clone)]
pub struct Elements<'a>(Walk<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0.separator()?;
        self.0.value()
    }
}

/// See [`entries`].
#[derive(Debug, Clone)]
pub struct Entries<'a>(Walk<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = (Cow<'a, str>, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.separator()?;
        let key = inside(self.0.value()?)?;
        self.0.space();
        self.0.at += 1;
        Some((unescape(key), self.0.value()?))
    }
}

#[derive(Debug, Clone)]
struct Walk<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Walk<'a> {
    fn new(json: &'a str, open: u8) -> Self {
        Walk { json, at: if json.as_bytes().first() == Some(&open) { 1 } else { json.len() } }
    }

    fn peek(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Steps to the next element or member; none at the end.
    fn separator(&mut self) -> Option<()> {
        self.space();
        match self.peek()? {
            b']' | b'}' => None,
            b',' => {
                self.at += 1;
                Some(())
            }
            _ => Some(()),
        }
    }

    fn value(&mut self) -> Option<&'a str> {
        self.space();
        let start = self.at;
        match self.peek()? {
            b'"' => self.string(),
            b'[' | b'{' => self.nested(),
            _ => {
                while !matches!(self.peek(), None | Some(b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r')) {
                    self.at += 1;
                }
            }
        }
        self.json.get(start..self.at).filter(|value| !value.is_empty())
    }

    fn string(&mut self) {
        self.at += 1;
        loop {
            (self.at, _) = plain_end(self.json.as_bytes(), self.at);
            match self.peek() {
                Some(b'\\') => self.at += 2,
                Some(b'"') | None => break self.at += 1,
                Some(_) => self.at += 1,
            }
        }
    }

    fn nested(&mut self) {
        let mut depth = 0_u32;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.string();
                    continue;
                }
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_gives_its_elements_as_they_stand() {
        let json = r#"[1, "a,]\"b" ,[2,[3]],{"k":[4]} , null]"#;
        let expected = ["1", r#""a,]\"b""#, "[2,[3]]", r#"{"k":[4]}"#, "null"];
        assert_eq!(elements(json).collect::<Vec<_>>(), expected);
        assert_eq!(elements("[ ]").count(), 0);
        assert_eq!(elements("{}").count(), 0);
    }

    #[test]
    fn an_object_gives_its_keys_unescaped() {
        let json = r#"{"a\u0062" : 1,"c":{"d":"}"},"":[] }"#;
        let expected = [("ab", "1"), ("c", r#"{"d":"}"}"#), ("", "[]")];
        let found: Vec<_> = entries(json).collect();
        assert_eq!(found.iter().map(|(key, value)| (key.as_ref(), *value)).collect::<Vec<_>>(), expected);
        assert_eq!(member(json, "c"), Some(r#"{"d":"}"}"#));
        assert_eq!(member(json, "d"), None);
    }

    #[test]
    fn text_that_is_no_json_ends_the_walk() {
        for text in ["", "[", "[,", "{\"a\"", "{\"a\":", "[\"", "[\"\\", "{1", "[}", "[]]", "{]:}", "[é\"é"]
        {
            assert!(elements(text).count() < 3);
            assert!(entries(text).count() < 3);
        }
    }
}
