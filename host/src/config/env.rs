//! The environment, and files of variables that stand below it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::keys::{CLIENT_VARIABLES, Form, KEYS, Key, LAYER_VARIABLES, PREFIX, nearest};
use super::layer::{Item, Layer, Origin};
use super::mistake::Mistakes;

/// The settings among the variables of the process. A variable without text counts as not set. Those that
/// start like ours and are none are warned of.
pub fn layer(
    variables: &[(OsString, OsString)],
    mistakes: &mut Mistakes,
    warnings: &mut Vec<String>,
) -> Layer {
    let mut layer = Layer::default();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let origin = Origin::Env(name.to_owned());
        match value.to_str() {
            Some(text) => set(&mut layer, name, text, &origin, mistakes, warnings),
            None => mistakes.at(origin, "not UTF-8"),
        }
    }
    layer
}

/// Where the host's state is where nobody says it, by the XDG specification; none where the surroundings name no
/// place.
pub fn state_dir(variables: &[(OsString, OsString)]) -> Option<String> {
    let folder = |name| path(variables, name).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
    state?.join("rowgate").into_os_string().into_string().ok()
}

/// The settings of a file of `NAME=VALUE` lines. Names that do not start like ours are passed over: such
/// files are shared with other programs.
pub fn file_layer(
    path: &Path,
    named_by: Origin,
    mistakes: &mut Mistakes,
    warnings: &mut Vec<String>,
) -> Layer {
    let mut layer = Layer::default();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            mistakes.at(named_by, format!("cannot read `{}`: {error}", path.display()));
            return layer;
        }
    };
    let place = |line: usize| Origin::File { path: path.to_owned(), line: line as u64, column: 1 };
    if let Some(line) = substitution(&text) {
        let what = "a value has a `$`, and nothing is substituted here: put the value in single quotes";
        mistakes.at(place(line), what);
        return layer;
    }
    for entry in dotenvy::from_read_iter(text.as_bytes()) {
        match entry {
            Ok((name, value)) if name.starts_with(PREFIX) => {
                let origin = Origin::EnvFile { path: path.to_owned(), variable: name.clone() };
                set(&mut layer, &name, &value, &origin, mistakes, warnings);
            }
            Ok(_) => {}
            Err(error) => {
                // The line itself may hold a secret.
                let line = match error {
                    dotenvy::Error::LineParse(bad, _) => text.lines().position(|line| line == bad),
                    _ => None,
                };
                mistakes.at(place(line.map_or(0, |index| index + 1)), "not a line of the form `NAME=VALUE`");
                break;
            }
        }
    }
    layer
}

/// The first line whose value the parser would fill in from the environment.
fn substitution(text: &str) -> Option<usize> {
    let substitutes = |line: &str| {
        let value = line.split_once('=').map_or("", |(_, value)| value.trim());
        let mut escaped = false;
        !line.trim_start().starts_with('#')
            && !value.starts_with('\'')
            && value.chars().any(|letter| {
                let found = letter == '$' && !escaped;
                escaped = letter == '\\' && !escaped;
                found
            })
    };
    text.lines().position(substitutes).map(|index| index + 1)
}

fn set(
    layer: &mut Layer,
    variable: &str,
    text: &str,
    origin: &Origin,
    mistakes: &mut Mistakes,
    warnings: &mut Vec<String>,
) {
    let Some(key) = KEYS.iter().find(|key| key.variable() == variable) else {
        if CLIENT_VARIABLES.contains(&variable) {
            return;
        }
        match (LAYER_VARIABLES.contains(&variable), origin) {
            (true, Origin::Env(_)) => {}
            (true, _) => warnings.push(format!("{origin}: counts in the real environment only")),
            (false, _) => warnings.push(unknown(variable, origin)),
        }
        return;
    };
    if text.is_empty() {
        return;
    }
    let mut push = |name: Option<&str>, text: &str| {
        let item = Item { name: name.map(str::to_owned), text: text.to_owned(), origin: origin.clone() };
        layer.push(key, item);
    };
    match key.form {
        Form::Value | Form::Switch => push(None, text),
        Form::List => {
            text.split(',').map(str::trim).filter(|one| !one.is_empty()).for_each(|one| push(None, one))
        }
        Form::Map => {
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
                match pair(key, line) {
                    Ok((name, value)) => push(Some(name), value),
                    Err(what) => mistakes.at(origin.clone(), what),
                }
            }
        }
    }
}

/// Splits `NAME=VALUE`.
pub fn pair<'a>(key: &Key, text: &'a str) -> Result<(&'a str, &'a str), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim(), value)),
        _ => Err(format!("not of the form `{}`", key.value)),
    }
}

fn unknown(variable: &str, origin: &Origin) -> String {
    let known: Vec<String> = KEYS.iter().map(Key::variable).collect();
    let known = known.iter().map(String::as_str).chain(LAYER_VARIABLES);
    match nearest(variable, known) {
        Some(name) => format!("{origin}: no setting has this name; the nearest is {name}"),
        None => format!("{origin}: no setting has this name"),
    }
}

/// The value of one of [`LAYER_VARIABLES`] in the process's environment.
pub fn path(variables: &[(OsString, OsString)], name: &str) -> Option<PathBuf> {
    variables
        .iter()
        .find(|(variable, value)| variable == name && !value.is_empty())
        .map(|(_, value)| value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Layer, Mistakes, Vec<String>) {
        let variables: Vec<_> = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let (mut mistakes, mut warnings) = (Mistakes::default(), Vec::new());
        let layer = layer(&variables, &mut mistakes, &mut warnings);
        (layer, mistakes, warnings)
    }

    fn read_file(text: &str) -> (Layer, Vec<String>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.env");
        std::fs::write(&path, text).unwrap();
        let (mut mistakes, mut warnings) = (Mistakes::default(), Vec::new());
        let layer = file_layer(&path, Origin::Default, &mut mistakes, &mut warnings);
        let prefix = format!("{}/", folder.path().display());
        let plain = |text: String| text.replace(&prefix, "");
        (
            layer,
            mistakes.0.iter().map(|mistake| plain(mistake.to_string())).collect(),
            warnings.into_iter().map(plain).collect(),
        )
    }

    fn texts(layer: &Layer, name: &str) -> Vec<String> {
        layer.items(name).iter().map(|item| item.text.clone()).collect()
    }

    #[test]
    fn lists_have_commas_and_maps_have_lines() {
        let (layer, mistakes, warnings) = read(&[
            ("ROWGATE_TOPIC", "shop.public.orders, shop.public.users,"),
            ("ROWGATE_PARAM", "columns=a,b\n\n zone = UTC"),
            ("ROWGATE_DATABASE", ""),
            ("HOME", "/home/shop"),
        ]);
        assert_eq!(texts(&layer, "topic"), ["shop.public.orders", "shop.public.users"]);
        let params: Vec<_> =
            layer.items("params").iter().map(|item| (item.name.as_deref().unwrap(), &*item.text)).collect();
        assert_eq!(params, [("columns", "a,b"), ("zone", " UTC")]);
        assert!(!layer.has("database"));
        assert!(mistakes.0.is_empty() && warnings.is_empty());
    }

    #[test]
    fn the_state_is_where_xdg_says_or_nowhere() {
        let of = |variables: &[(&str, &str)]| {
            let variables: Vec<(OsString, OsString)> =
                variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
            state_dir(&variables)
        };
        let home = ("HOME", "/home/shop");
        assert_eq!(of(&[("XDG_STATE_HOME", "/var/state"), home]).as_deref(), Some("/var/state/rowgate"));
        assert_eq!(of(&[home]).as_deref(), Some("/home/shop/.local/state/rowgate"));
        // The specification: a path that is not absolute does not count.
        assert_eq!(
            of(&[("XDG_STATE_HOME", "state"), home]).as_deref(),
            Some("/home/shop/.local/state/rowgate")
        );
        assert_eq!(of(&[("HOME", ""), ("XDG_STATE_HOME", "")]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn an_unknown_variable_is_warned_of_with_the_nearest_name() {
        let (layer, mistakes, warnings) =
            read(&[("ROWGATE_BROKER", "x"), ("ROWGATE_CONFIG", "p.yaml"), ("ROWGATE_COLOUR_OF_SKY", "blue")]);
        assert!(layer.is_empty() && mistakes.0.is_empty());
        assert_eq!(
            warnings,
            [
                "ROWGATE_BROKER: no setting has this name; the nearest is ROWGATE_BROKERS",
                "ROWGATE_COLOUR_OF_SKY: no setting has this name"
            ]
        );
    }

    #[test]
    fn a_map_without_an_equals_sign_is_a_mistake_that_does_not_show_the_text() {
        let (_, mistakes, _) = read(&[("ROWGATE_KAFKA", "hunter2")]);
        assert_eq!(mistakes.to_string(), "ROWGATE_KAFKA: not of the form `NAME=VALUE`");
    }

    #[test]
    fn a_file_of_variables_is_read_with_quotes_and_comments() {
        let (layer, mistakes, warnings) = read_file(
            "# the shop\nROWGATE_USER=shop # who\nexport ROWGATE_PASSWORD='pa$$ \"word'\nOTHER=1\nROWGATE_DATABASE=\"a b\"\n",
        );
        assert_eq!((mistakes, warnings), (vec![], vec![]));
        assert_eq!(texts(&layer, "user"), ["shop"]);
        assert_eq!(texts(&layer, "password"), ["pa$$ \"word"]);
        assert_eq!(texts(&layer, "database"), ["a b"]);
    }

    #[test]
    fn a_file_of_variables_substitutes_nothing_in_silence() {
        let (layer, mistakes, _) = read_file("ROWGATE_USER=shop\nROWGATE_PASSWORD=hunter$HOME\n");
        assert!(layer.is_empty());
        let expected =
            "v.env:2:1: a value has a `$`, and nothing is substituted here: put the value in single quotes";
        assert_eq!(mistakes, [expected]);
        assert_eq!(texts(&read_file("ROWGATE_PASSWORD=hunter\\$2\n").0, "password"), ["hunter$2"]);
    }

    #[test]
    fn a_file_of_variables_names_no_further_file() {
        let (layer, _, warnings) = read_file("ROWGATE_CONFIG=p.yaml\n");
        assert!(layer.is_empty());
        assert_eq!(warnings, ["v.env: ROWGATE_CONFIG: counts in the real environment only"]);
    }

    #[test]
    fn a_broken_line_is_named_by_its_number_and_not_shown() {
        let (_, mistakes, _) = read_file("ROWGATE_USER=shop\nhunter2 hunter2\n");
        assert_eq!(mistakes, ["v.env:2:1: not a line of the form `NAME=VALUE`"]);
    }
}
