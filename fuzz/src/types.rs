//! Names of ClickHouse's types.

use std::panic;

use host::clickhouse::types::ColumnType;
use host::clickhouse::{ddl, evolve};

/// Deeper than this the other library might run out of stack.
const MAX_DEPTH: usize = 20;

/// A type's name: what is understood is written back so that it reads as the same, and as the client library
/// reads it, where that takes it too.
pub(crate) fn parse(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let _ = ddl::target_type(text);
    let Ok(ty) = ColumnType::parse(text) else { return };
    let name = ty.to_string();
    assert_eq!(ColumnType::parse(&name).as_ref(), Ok(&ty), "{name}");
    let _ = (ty.sent(), ty.clone().into_nullable());
    // Of a type that the host does not write it only keeps the name, in which the other library may see more.
    if ty.unsupported().is_some() || name.matches('(').count() > MAX_DEPTH || !is_plain(&name) {
        return;
    }
    if let Some(theirs) = theirs(&name) {
        assert_eq!(theirs, name);
    }
}

/// The type of a column, the type that is wanted there, and a view's text, with line's ends between them. What a type
/// is widened to holds both, so that neither widens it again.
pub(crate) fn widen(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let mut parts = text.splitn(3, '\n');
    let mut part = || parts.next().unwrap_or_default();
    let (present, wanted) = (ColumnType::parse(part()), ColumnType::parse(part()));
    let _ = evolve::columns_of_view(part(), "db", "t");
    let (Ok(present), Ok(wanted)) = (present, wanted) else { return };
    let Some(wider) = evolve::wider(&present, &wanted) else { return };
    assert_ne!(wider, present);
    assert_eq!(evolve::wider(&wider, &wanted), None, "{present} and {wanted} are {wider}");
    assert_eq!(evolve::wider(&wider, &present), None, "{present} and {wanted} are {wider}");
    assert!(wider.is_nullable() || !(present.is_nullable() || wanted.is_nullable()), "{wider} has no nulls");
    assert_eq!(ColumnType::parse(&wider.to_string()).as_ref(), Ok(&wider), "{wider}");
}

/// Whether the other library writes such a type as the server does. It does not quote, and leaves out what
/// further types are parametrized with.
fn is_plain(name: &str) -> bool {
    let others = ["Enum", "Tuple", "JSON", "Variant", "Dynamic", "AggregateFunction", "Time", "`", "\\"];
    others.iter().all(|other| !name.contains(other))
}

/// The name as the client library reads and writes it; none where it does not take it, or panics.
fn theirs(name: &str) -> Option<String> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let read = panic::catch_unwind(|| clickhouse_types::DataTypeNode::new(name).map(|ty| ty.to_string()));
    panic::set_hook(hook);
    read.ok()?.ok()
}
