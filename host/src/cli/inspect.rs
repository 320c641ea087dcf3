//! `host inspect`: what is in a file that is meant to be a transform?

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::origin::{self, Key, Signed};
use crate::transform::describe::{self, Description, Form};

/// What is to be said of a component's signature.
enum Signature {
    /// There is none.
    None,
    /// No key was given to check it with.
    Unchecked(Signed),
    /// One of the keys has signed the component.
    Good(Signed),
    /// Why it does not count.
    Bad(String),
}

impl Signature {
    fn of(file: &Path, component: &[u8], keys: &[Key]) -> anyhow::Result<Self> {
        let Some(text) = origin::beside(file)? else { return Ok(Signature::None) };
        let checked = match keys {
            [] => origin::told(&text).map(Signature::Unchecked),
            keys => origin::check_signature(component, &text, keys).map(Signature::Good),
        };
        Ok(checked.unwrap_or_else(|error| Signature::Bad(format!("{error:#}"))))
    }

    fn as_text(&self) -> String {
        let shown = |state: &str, Signed { key, name, version }: &Signed| {
            format!("{state}: key {key}, name {name}, version {version}")
        };
        match self {
            Signature::None => "none".to_owned(),
            Signature::Unchecked(signed) => shown("not checked, for no --key is given", signed),
            Signature::Good(signed) => shown("good", signed),
            Signature::Bad(why) => format!("bad: {why}"),
        }
    }

    fn as_json(&self) -> Value {
        let shown = |state: &str, Signed { key, name, version }: &Signed| json!({ "state": state, "key": key, "name": name, "version": version.to_string() });
        match self {
            Signature::None => Value::Null,
            Signature::Unchecked(signed) => shown("unchecked", signed),
            Signature::Good(signed) => shown("good", signed),
            Signature::Bad(why) => json!({ "state": "bad", "reason": why }),
        }
    }
}

/// Shows what `file` is, whether it fits or not, and whether one of `keys` has signed it. Nothing is compiled: `fits`
/// goes by names alone.
///
/// # Errors
/// When it cannot be read, or is no WebAssembly.
pub fn inspect(file: &Path, keys: &[Key], json: bool) -> anyhow::Result<()> {
    let (description, bytes) = describe::read(file)?;
    let signature = Signature::of(file, &bytes, keys)?;
    super::show(&if json {
        format!("{:#}\n", as_json(file, &description, &signature))
    } else {
        as_text(file, &description, &signature)
    })
}

fn as_text(file: &Path, description: &Description, signature: &Signature) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| _ = writeln!(text, "{name:<9} {value}");
    line("file", &file.display().to_string());
    line("form", form(description.form));
    line("contract", description.contract.as_deref().unwrap_or("none of ours"));
    match description.fit() {
        Ok(()) => line("fits", "yes, by its names"),
        Err(reason) => line("fits", &format!("no: {reason}")),
    }
    line("size", &format!("{} bytes", description.size_bytes));
    line("sha256", &description.sha256);
    line("signature", &signature.as_text());
    for (name, values) in [
        ("made with", &description.producers),
        ("imports", &description.imports),
        ("exports", &description.exports),
    ] {
        match values.as_slice() {
            [] => line(name, "nothing"),
            [first, rest @ ..] => {
                line(name, first);
                rest.iter().for_each(|value| line("", value));
            }
        }
    }
    text
}

fn as_json(file: &Path, description: &Description, signature: &Signature) -> Value {
    let Description { form: kind, contract, size_bytes, sha256, imports, exports, producers } = description;
    json!({
        "file": file.display().to_string(),
        "form": form(*kind),
        "contract": contract,
        "fits": description.fit().is_ok(),
        "reason": description.fit().err(),
        "size_bytes": size_bytes,
        "sha256": sha256,
        "signature": signature.as_json(),
        "producers": producers,
        "imports": imports,
        "exports": exports,
    })
}

fn form(form: Form) -> &'static str {
    match form {
        Form::Component => "component",
        Form::CoreModule => "core module",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::describe::samples;

    #[test]
    fn a_fitting_component_is_told_line_by_line() {
        let bytes = samples::transform();
        let text = as_text(Path::new("rule.wasm"), &describe::describe(&bytes).unwrap(), &Signature::None);
        let start = format!(
            "file      rule.wasm\nform      component\ncontract  rowgate:transform@0.1.0, world transform\n\
             fits      yes, by its names\nsize      {} bytes\nsha256    ",
            bytes.len()
        );
        assert!(text.starts_with(&start), "{text}");
        let end = "signature none\nmade with nothing\nimports   rowgate:transform/log@0.1.0\nexports   rowgate:transform/handler@0.1.0\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn what_does_not_fit_is_told_with_the_reason() {
        let description = describe::describe(&samples::core_module()).unwrap();
        assert!(
            as_text(Path::new("core.wasm"), &description, &Signature::None)
                .contains("fits      no: a core module")
        );
        let json = as_json(Path::new("core.wasm"), &description, &Signature::None);
        assert_eq!(json["fits"], false);
        assert_eq!(json["form"], "core module");
        assert!(json["reason"].as_str().unwrap().starts_with("a core module"), "{json}");
    }
}
