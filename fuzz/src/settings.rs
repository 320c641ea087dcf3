//! What the configuration says about records: hints and placeholders.

use host::debezium::hints::Hints;
use host::debezium::placeholder::Placeholder;

/// A pattern, a type and a column's name, with line's ends between them.
pub(crate) fn hints(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let mut parts = text.splitn(3, '\n');
    let mut part = || parts.next().unwrap_or_default();
    let (pattern, ty, name) = (part(), part(), part());
    let mut hints = Hints::default();
    match hints.add(pattern, ty) {
        Ok(()) => {
            // What names a column finds it, and so does a star that stands for all of it.
            assert!(hints.find("", "", pattern).is_some() || pattern.contains('*'), "{pattern}");
            let _ = hints.find("s", "t", name);
            let mut all = Hints::default();
            assert!(all.add("*", ty).is_ok() && all.find("s", "t", name).is_some());
        }
        Err(what) => assert!(!what.is_empty() && hints.is_empty()),
    }
}

/// A setting and a value, with a line's end between them.
pub(crate) fn placeholder(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let (setting, value) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(placeholder) = Placeholder::parse(setting) else { return };
    let known = placeholder.is(value.as_bytes());
    // The lengths say no more often than the forms do.
    assert!(!known || placeholder.lengths().may_have(value.len() as u32));
    if !setting.starts_with("hex:") {
        let json = serde_json::Value::from(setting).to_string();
        assert!(placeholder.is(json.as_bytes()), "{json}");
    }
}
