//! `host inspect`: what is in a file that is meant to be a transform?

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::transform::describe::{self, Description, Form};

/// Shows what `file` is, whether it fits or not. Nothing is compiled: `fits` goes by names alone.
///
/// # Errors
/// When it cannot be read, or is no WebAssembly.
pub fn inspect(file: &Path, json: bool) -> anyhow::Result<()> {
    let description = describe::read(file)?;
    super::show(&if json {
        format!("{:#}\n", as_json(file, &description))
    } else {
        as_text(file, &description)
    })
}

fn as_text(file: &Path, description: &Description) -> String {
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

fn as_json(file: &Path, description: &Description) -> Value {
    let Description { form: kind, contract, size_bytes, sha256, imports, exports, producers } = description;
    json!({
        "file": file.display().to_string(),
        "form": form(*kind),
        "contract": contract,
        "fits": description.fit().is_ok(),
        "reason": description.fit().err(),
        "size_bytes": size_bytes,
        "sha256": sha256,
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
        let text = as_text(Path::new("rule.wasm"), &describe::describe(&bytes).unwrap());
        let start = format!(
            "file      rule.wasm\nform      component\ncontract  rowgate:transform@0.1.0, world transform\n\
             fits      yes, by its names\nsize      {} bytes\nsha256    ",
            bytes.len()
        );
        assert!(text.starts_with(&start), "{text}");
        let end = "made with nothing\nimports   rowgate:transform/log@0.1.0\nexports   rowgate:transform/handler@0.1.0\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn what_does_not_fit_is_told_with_the_reason() {
        let description = describe::describe(&samples::core_module()).unwrap();
        assert!(as_text(Path::new("core.wasm"), &description).contains("fits      no: a core module"));
        let json = as_json(Path::new("core.wasm"), &description);
        assert_eq!(json["fits"], false);
        assert_eq!(json["form"], "core module");
        assert!(json["reason"].as_str().unwrap().starts_with("a core module"), "{json}");
    }
}
