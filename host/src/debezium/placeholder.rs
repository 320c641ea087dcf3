//! The text that stands for a value that the source did not send, in all the forms that it takes.
//!
//! Debezium writes it in the column's own type (`unavailable.value.placeholder`), so that it looks different
//! in a column of bytes, of UUIDs, of numbers. The forms are made once. A value is one of them if it is the
//! whole value and the same to the byte; nearly every value is cleared by its length.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::decimal::unhex;

mod md5;

/// Debezium's default.
pub const DEFAULT: &str = "__debezium_unavailable_value";

/// A placeholder with its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    /// The JSON of each form, shortest first.
    forms: Vec<Box<str>>,
    lengths: Lengths,
}

/// The lengths of a placeholder's forms, roughly: small enough to be kept at hand in a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    least: u32,
    /// Bit `n % 64` is set where a form has `n` bytes.
    classes: u64,
}

impl Lengths {
    /// Whether a form may have this length.
    #[inline(always)]
    pub fn may_have(self, length: u32) -> bool {
        length >= self.least && self.classes >> (length % 64) & 1 == 1
    }
}

impl Default for Placeholder {
    fn default() -> Self {
        Placeholder::of(DEFAULT.as_bytes())
    }
}

impl Placeholder {
    /// Reads the connector's setting: a text, or bytes as `hex:…`.
    ///
    /// # Errors
    /// Says what is wrong: nothing at all, or no hex digits after `hex:`.
    pub fn parse(setting: &str) -> Result<Self, String> {
        let bytes = match setting.strip_prefix("hex:") {
            Some(digits) => unhex(digits)
                .ok_or_else(|| format!("`{setting}` has no even number of hex digits after `hex:`"))?,
            None => setting.as_bytes().to_vec(),
        };
        if bytes.is_empty() {
            return Err("an empty placeholder would stand for every empty value".into());
        }
        Ok(Placeholder::of(&bytes))
    }

    fn of(bytes: &[u8]) -> Self {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        // Java's bytes are signed, and so are the numbers that stand for them.
        let numbers: Vec<String> = bytes.iter().map(|byte| byte.cast_signed().to_string()).collect();
        let mut texts = vec![STANDARD.encode(bytes), URL_SAFE.encode(bytes), hex];
        let mut forms = vec![format!("[{}]", numbers.join(",")), format!("[{}]", quoted(&uuid(bytes)))];
        // Bytes that are no text have no form as text.
        if let Ok(text) = str::from_utf8(bytes) {
            texts.push(text.to_owned());
            let map = format!("{{{0}:{0}}}", quoted(text));
            forms.extend([quoted(&map), map]);
        }
        // An unbounded decimal's unscaled number.
        forms.push(format!("{{\"scale\":0,\"value\":{}}}", quoted(&texts[0])));
        forms.extend(texts.iter().map(|text| quoted(text)));
        forms.extend(texts.iter().map(|text| format!("[{}]", quoted(text))));
        forms.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        forms.dedup();
        let least = forms.first().map_or(0, |form| form.len() as u32);
        let classes = forms.iter().fold(0, |classes, form| classes | 1 << (form.len() % 64));
        let lengths = Lengths { least, classes };
        Placeholder { forms: forms.into_iter().map(Box::from).collect(), lengths }
    }

    /// Whether a value's JSON, without space around it, is one of the forms.
    #[inline(always)]
    pub fn is(&self, json: &[u8]) -> bool {
        self.lengths.may_have(json.len() as u32) && self.is_form(json)
    }

    /// For a look at a value's length before its bytes.
    #[inline(always)]
    pub fn lengths(&self) -> Lengths {
        self.lengths
    }

    #[cold]
    #[inline(never)]
    fn is_form(&self, json: &[u8]) -> bool {
        self.forms.iter().any(|form| form.as_bytes() == json)
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The UUID that Java names after these bytes.
fn uuid(bytes: &[u8]) -> String {
    let mut digest = md5::digest(bytes);
    digest[6] = digest[6] & 0x0f | 0x30;
    digest[8] = digest[8] & 0x3f | 0x80;
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORMS: [&str; 11] = [
        r#""__debezium_unavailable_value""#,
        r#""X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==""#,
        r#""5f5f646562657a69756d5f756e617661696c61626c655f76616c7565""#,
        r#"["__debezium_unavailable_value"]"#,
        r#"["X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="]"#,
        r#"["5f5f646562657a69756d5f756e617661696c61626c655f76616c7565"]"#,
        "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101]",
        r#"["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]"#,
        r#"{"__debezium_unavailable_value":"__debezium_unavailable_value"}"#,
        r#"{"scale":0,"value":"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="}"#,
        r#""{\"__debezium_unavailable_value\":\"__debezium_unavailable_value\"}""#,
    ];

    #[test]
    fn all_forms_of_the_default_are_known_and_nothing_that_looks_similar() {
        let placeholder = Placeholder::default();
        assert_eq!(placeholder.forms.len(), FORMS.len());
        for form in FORMS {
            assert!(placeholder.is(form.as_bytes()), "{form}");
            assert!(!placeholder.is(&form.as_bytes()[1..]));
            let mut similar = form.as_bytes().to_vec();
            let last = similar.len() - 3;
            similar[last] ^= 1;
            assert!(!placeholder.is(&similar), "{form}");
            assert!(!placeholder.is(format!("[{form}]").as_bytes()) || FORMS[..3].contains(&form), "{form}");
        }
        for other in
            ["", "null", "\"__DEBEZIUM_UNAVAILABLE_VALUE\"", r#"["a","__debezium_unavailable_value"]"#]
        {
            assert!(!placeholder.is(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_placeholder_of_ones_own_takes_the_place_of_the_default() {
        let own = Placeholder::parse("n/a?>").unwrap();
        for form in [
            r#""n/a?>""#,
            r#""bi9hPz4=""#,
            r#""6e2f613f3e""#,
            "[110,47,97,63,62]",
            r#"{"n/a?>":"n/a?>"}"#,
            r#"["n/a?>"]"#,
        ] {
            assert!(own.is(form.as_bytes()), "{form}");
        }
        assert!(!own.is(FORMS[0].as_bytes()));
        assert_eq!(Placeholder::parse("hex:6e2F613f3e"), Ok(own));
        let quoted = Placeholder::parse("say \"no\"").unwrap();
        assert!(quoted.is(br#""say \"no\"""#));
    }

    #[test]
    fn bytes_that_are_no_text_are_known_as_bytes() {
        let bytes = Placeholder::parse("hex:fffe00fb").unwrap();
        for form in [r#""//4A+w==""#, r#""__4A-w==""#, r#""fffe00fb""#, "[-1,-2,0,-5]", r#"["//4A+w=="]"#] {
            assert!(bytes.is(form.as_bytes()), "{form}");
        }
    }

    #[test]
    fn a_setting_that_is_no_placeholder_is_refused() {
        for (setting, why) in
            [("", "empty"), ("hex:", "empty"), ("hex:f", "hex digits"), ("hex:fg", "hex digits")]
        {
            assert!(Placeholder::parse(setting).unwrap_err().contains(why), "{setting}");
        }
    }

    proptest! {
        #[test]
        fn a_text_in_quotes_is_its_placeholder_and_no_other_text_is(text in "\\PC{1,40}", other in "\\PC{0,40}") {
            prop_assume!(!text.starts_with("hex:"));
            let placeholder = Placeholder::parse(&text).unwrap();
            prop_assert!(placeholder.is(quoted(&text).as_bytes()));
            let known = placeholder.forms.iter().any(|form| **form == quoted(&other));
            prop_assert_eq!(placeholder.is(quoted(&other).as_bytes()), known);
        }
    }
}
