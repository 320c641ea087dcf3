//! Schema changes of a source: what a table needs so that the rows of a shape fit it. Decisions only.
//!
//! Columns are added, and widened where every value that may stand in them keeps its meaning. Nothing is ever
//! narrowed or dropped, and a sorting key stays as it is.

use super::convert::{self, Fit};
use super::ddl;
use super::keyed;
use super::names::identifier;
use super::policy::Policies;
use super::profile::Profile;
use super::table::{Table, planned_type, source_of_column};
use super::types::{ColumnType, DefaultKind, TableColumn};
use crate::debezium::shape::Shape;
use crate::transform::plan::{EPOCH, LINEAGE, Output, VERSION};

/// The most digits after a second that a DateTime64 is widened to: with more, its years are fewer.
const MAX_WIDENED_DIGITS: u8 = 7;

/// A change of a table's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The column.
    pub name: String,
    /// The type that it gets.
    pub ty: ColumnType,
    /// Whether it is there already, with a narrower type.
    pub widens: bool,
}

/// How a table and the rows of a shape differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What makes the rows fit.
    pub steps: Vec<Step>,
    /// Columns that the table has and the rows do not bring.
    pub idle: Vec<String>,
}

/// How `table` differs from what rows of `output`, for changes of `shape`, need.
pub fn difference(
    table: &Table,
    output: &Output,
    shape: &Shape,
    profile: &Profile,
    policies: &Policies,
) -> Difference {
    let mut steps = Vec::new();
    let ours = is_made_by_host(table, profile);
    for column in &output.columns {
        let planned = planned_type(column, shape, profile);
        let (planned, name) = match output.key.contains(&column.name) {
            true => (planned, column.name.clone()),
            false => {
                let planned = policies.created(&table.name, &column.name, planned);
                let name = ddl::created_name(&column.name, &planned);
                (planned, name)
            }
        };
        let is_it = |present: &&TableColumn| present.name == column.name || present.name == name;
        let Some(present) = table.columns.iter().find(is_it) else {
            // A key is part of how the table is sorted, and cannot come later.
            if !output.key.contains(&column.name) {
                // Rows that are there already have none: null where the type can say so.
                steps.push(Step { name, ty: planned.into_nullable(), widens: false });
            }
            continue;
        };
        let (source, nullable) = source_of_column(column, shape);
        let is_exact = matches!(convert::check(source, nullable, &present.ty), Ok(Fit::Exact));
        let is_fixed = table.sorting_key.contains(&column.name) || present.default_kind != DefaultKind::None;
        if ours && !is_exact && !is_fixed {
            let wider =
                wider(&present.ty, &planned).filter(|ty| convert::check(source, nullable, ty).is_ok());
            steps.extend(wider.map(|ty| Step { name: present.name.clone(), ty, widens: true }));
        }
    }
    let brought = |name: &str| {
        output.columns.iter().any(|column| column.name == name || ddl::plain_name(&column.name) == name)
    };
    let of_host =
        |name: &str| LINEAGE.contains(&name) || VERSION.contains(&name) || [EPOCH, "ts"].contains(&name);
    let idle = table.columns.iter().filter(|column| column.default_kind == DefaultKind::None);
    let idle = idle.filter(|column| !brought(&column.name) && !of_host(&column.name));
    Difference { steps, idle: idle.map(|column| column.name.clone()).collect() }
}

/// Whether the host made the table: it has the columns that the host adds, in the very types of its own.
pub fn is_made_by_host(table: &Table, profile: &Profile) -> bool {
    ddl::LINEAGE.iter().all(|(name, ty)| {
        let ty = ddl::own_type(ty, profile);
        table.columns.iter().any(|column| column.name == *name && column.ty == ty)
    })
}

/// Whether the table's columns are its own, so that changing them is all that is needed.
pub fn holds_rows(table: &Table) -> bool {
    table.engine.ends_with("MergeTree")
        || matches!(table.engine.as_str(), "Memory" | "Null" | "Log" | "TinyLog")
}

/// The narrowest type that holds what both hold, if it is another than `present` and nothing that stands in
/// the column changes by it.
pub fn wider(present: &ColumnType, wanted: &ColumnType) -> Option<ColumnType> {
    // It can be in any type, and its own parts are not looked at.
    let bare = join(present.bare(), wanted.bare())?;
    let nullable = present.is_nullable() || wanted.is_nullable();
    let inner = if nullable { bare.into_nullable() } else { bare };
    if nullable && !inner.is_nullable() {
        return None;
    }
    let joined = match present {
        ColumnType::LowCardinality(_) => ColumnType::LowCardinality(Box::new(inner)),
        _ => inner,
    };
    (joined != *present).then_some(joined)
}

fn join(present: &ColumnType, wanted: &ColumnType) -> Option<ColumnType> {
    use ColumnType::{DateTime64, Decimal, Float32, Float64, Int, Time64};
    match (present, wanted) {
        (present, wanted) if present == wanted => Some(present.clone()),
        (Int { signed: a, bits: x }, Int { signed: b, bits: y }) if a == b => {
            Some(Int { signed: *a, bits: *x.max(y) })
        }
        (Int { signed: false, bits: x }, Int { signed: true, bits: y }) if y > x => Some(wanted.clone()),
        // A narrower source, which may be nullable all the same.
        (Int { signed: true, bits: x }, Int { signed: false, bits: y }) if x > y => Some(present.clone()),
        (Float32 | Float64, Float32 | Float64) => Some(Float64),
        (Decimal { precision: p, scale: s }, Decimal { precision: q, scale: t }) => {
            let scale = *s.max(t);
            let precision = (p - s).max(q - t) + scale;
            (precision <= 76).then_some(Decimal { precision, scale })
        }
        (DateTime64(x, zone), DateTime64(y, other)) if zone == other => {
            (x >= y || *y <= MAX_WIDENED_DIGITS).then(|| DateTime64(*x.max(y), zone.clone()))
        }
        // 999 hours in nanoseconds are far within 64 bits.
        (Time64(x), Time64(y)) => Some(Time64(*x.max(y))),
        _ => None,
    }
}

/// The table as it is once the steps are taken.
pub fn changed(table: &Table, steps: &[Step]) -> Table {
    let mut table = table.clone();
    for Step { name, ty, .. } in steps {
        match table.columns.iter_mut().find(|column| column.name == *name) {
            Some(column) => column.ty = ty.clone(),
            None => {
                let (name, ty) = (name.clone(), ty.clone());
                table.columns.push(TableColumn { name, ty, default_kind: DefaultKind::None, in_key: false });
            }
        }
    }
    table
}

/// The table once it says of which life of its topic a row's record is.
pub fn with_epoch(table: &Table, profile: &Profile) -> Table {
    let mut table = table.clone();
    let (name, ty) = (EPOCH.to_owned(), ddl::own_type(ddl::EPOCH.1, profile));
    table.columns.push(TableColumn { name, ty, default_kind: DefaultKind::Default, in_key: false });
    table
}

/// The columns of a view that the host made over a keyed table, by its `as_select` in `system.tables`; none for a
/// view that somebody else made.
pub fn columns_of_view(as_select: &str, database: &str, table: &str) -> Option<Vec<String>> {
    let text = as_select.split_whitespace().collect::<Vec<_>>().join(" ");
    let (columns, rest) = text.strip_prefix("SELECT ")?.rsplit_once(" FROM ")?;
    // The server quotes names only where it must.
    let quoted = |name: &str| [name.to_owned(), identifier(name)];
    let is_ours = quoted(database).iter().any(|database| {
        quoted(table).iter().any(|table| {
            let flag = ["_is_deleted", "`_is_deleted`"];
            flag.iter().any(|flag| {
                let condition = format!("{flag} = 0");
                rest == format!("{database}.{table} FINAL WHERE {condition}")
                    || rest == format!("{database}.{table} FINAL WHERE ({condition})")
            })
        })
    });
    is_ours.then(|| keyed::columns(columns))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::columns::Input;
    use crate::debezium::shape::{Field, Wire};
    use crate::transform::plan::{Origin, OutputColumn};

    fn ty(text: &str) -> ColumnType {
        ColumnType::parse(text).unwrap()
    }

    fn field(name: &str, wire: Wire, nullable: bool) -> Field {
        Field { name: name.into(), wire, nullable, key: name == "id", semantic: String::new() }
    }

    /// A table that the host made with these columns, and a shape and a plan that copies all of its columns.
    fn case(present: &[(&str, &str)], fields: Vec<Field>, key: &[&str]) -> (Table, Output, Shape) {
        let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
        let columns: Vec<_> = present.iter().map(|(name, text)| ((*name).to_owned(), ty(text))).collect();
        let columns_of = |fields: &[Field]| -> Vec<OutputColumn> {
            let copied = (0..).zip(fields).map(|(index, field)| OutputColumn {
                name: field.name.clone(),
                origin: Origin::Copy(Input::Latest(index)),
            });
            copied.collect()
        };
        let output = Output { target: None, columns: columns_of(&fields), key: key.clone() };
        let shape = Shape {
            id: 0,
            topic: "a.b.t".into(),
            connector: "postgresql".into(),
            database: "a".into(),
            schema: "b".into(),
            table: "t".into(),
            typed: true,
            fields,
        };
        (Table::planned("db", "t", &columns, &key, &Profile::default()).unwrap(), output, shape)
    }

    fn steps(present: &[(&str, &str)], fields: Vec<Field>, key: &[&str]) -> Vec<(String, String, bool)> {
        let (table, output, shape) = case(present, fields, key);
        let steps = difference(&table, &output, &shape, &Profile::default(), &Policies::default()).steps;
        steps.into_iter().map(|step| (step.name, step.ty.to_string(), step.widens)).collect()
    }

    #[test]
    fn a_column_that_the_table_lacks_is_added_and_may_be_null() {
        let fields = || {
            vec![
                field("id", Wire::Int(32), false),
                field("size", Wire::Int(32), false),
                field("tags", Wire::Array(Box::new(Wire::Text)), false),
            ]
        };
        assert_eq!(
            steps(&[("id", "Int32")], fields(), &["id"]),
            [
                ("size".to_owned(), "Nullable(Int32)".to_owned(), false),
                ("tags".to_owned(), "Array(Nullable(String))".to_owned(), false),
            ]
        );
        let whole = [("id", "Int32"), ("size", "Nullable(Int32)"), ("tags", "Array(Nullable(String))")];
        assert_eq!(steps(&whole, fields(), &["id"]), []);
    }

    #[test]
    fn a_key_is_neither_added_nor_widened() {
        let fields = || vec![field("id", Wire::Int(64), false), field("n", Wire::Int(64), false)];
        assert_eq!(steps(&[("n", "Int64")], fields(), &["id"]), []);
        let expected = [("n".to_owned(), "Int64".to_owned(), true)];
        assert_eq!(steps(&[("id", "Int32"), ("n", "Int32")], fields(), &["id"]), expected);
    }

    #[test]
    fn only_tables_that_the_host_made_are_widened_but_all_get_columns() {
        let fields = vec![field("id", Wire::Int(64), false), field("more", Wire::Text, true)];
        let (mut table, output, shape) = case(&[("id", "Int32")], fields, &[]);
        assert_eq!(
            difference(&table, &output, &shape, &Profile::default(), &Policies::default()).steps.len(),
            2
        );
        table.columns.retain(|column| column.name != "_transform");
        let steps = difference(&table, &output, &shape, &Profile::default(), &Policies::default()).steps;
        assert_eq!(steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["more"]);
    }

    #[test]
    fn columns_that_the_rows_do_not_bring_are_told_and_no_others() {
        let present = [("id", "Int32"), ("gone", "String"), ("ts", "DateTime64(3)")];
        let (table, output, shape) = case(&present, vec![field("id", Wire::Int(32), false)], &["id"]);
        assert_eq!(
            difference(&table, &output, &shape, &Profile::default(), &Policies::default()),
            Difference { steps: vec![], idle: vec!["gone".into()] }
        );
    }

    #[test]
    fn types_are_widened_where_nothing_is_lost() {
        for (present, wanted, expected) in [
            ("Int32", "Int64", Some("Int64")),
            ("Int64", "Int32", None),
            ("Int32", "Nullable(Int64)", Some("Nullable(Int64)")),
            ("Nullable(Int32)", "Int64", Some("Nullable(Int64)")),
            ("Int64", "Nullable(Int32)", Some("Nullable(Int64)")),
            ("UInt16", "UInt64", Some("UInt64")),
            ("UInt16", "Int32", Some("Int32")),
            ("UInt32", "Int32", None),
            ("Float32", "Float64", Some("Float64")),
            ("Float64", "Float32", None),
            ("Decimal(10, 2)", "Decimal(18, 4)", Some("Decimal(18, 4)")),
            ("Decimal(10, 2)", "Decimal(10, 4)", Some("Decimal(12, 4)")),
            ("Decimal(18, 4)", "Decimal(10, 2)", None),
            ("Decimal(76, 0)", "Decimal(10, 5)", None),
            ("String", "Nullable(String)", Some("Nullable(String)")),
            ("String", "Int64", None),
            ("Int64", "String", None),
            ("LowCardinality(String)", "Nullable(String)", Some("LowCardinality(Nullable(String))")),
            ("DateTime64(3, 'UTC')", "DateTime64(6, 'UTC')", Some("DateTime64(6, 'UTC')")),
            ("DateTime64(6, 'UTC')", "DateTime64(3, 'UTC')", None),
            ("DateTime64(6, 'UTC')", "DateTime64(9, 'UTC')", None),
            ("DateTime64(3, 'Europe/Berlin')", "DateTime64(6, 'UTC')", None),
            ("Time64(3)", "Time64(6)", Some("Time64(6)")),
            ("Time64(6)", "Nullable(Time64(9))", Some("Nullable(Time64(9))")),
            ("Time64(9)", "Time64(3)", None),
            ("Int64", "Time64(6)", None),
            ("Nullable(Int64)", "Nullable(Time64(6))", None),
            ("Time64(6)", "Int64", None),
            ("Array(Int32)", "Nullable(String)", None),
            ("Bool", "Int64", None),
            // What a column of a type that is not known holds is not known either.
            ("Nullable(Int16x)", "Nullable(Int16x)", None),
            ("Nullable(Int16x)", "Int16x", None),
        ] {
            let found = wider(&ty(present), &ty(wanted)).map(|ty| ty.to_string());
            assert_eq!(found.as_deref(), expected, "{present} and {wanted}");
        }
    }

    proptest! {
        #[test]
        fn widening_twice_is_widening_once(a in 0_usize..8, b in 0_usize..8, null: bool) {
            let types = ["Int8", "Int32", "Int64", "UInt8", "UInt32", "Float32", "Decimal(9, 3)", "Decimal(20, 1)"];
            let wanted = if null { format!("Nullable({})", types[b]) } else { types[b].to_owned() };
            if let Some(once) = wider(&ty(types[a]), &ty(&wanted)) {
                prop_assert_eq!(wider(&once, &ty(&wanted)), None);
                prop_assert_eq!(wider(&once, &ty(types[a])), None, "what was there still fits");
            }
        }
    }

    #[test]
    fn a_view_of_the_hosts_is_known_by_its_text() {
        let ours = "SELECT\n    id,\n    `na me`\nFROM db.t\nFINAL\nWHERE _is_deleted = 0";
        assert_eq!(columns_of_view(ours, "db", "t"), Some(vec!["id".to_owned(), "na me".to_owned()]));
        for other in [
            "SELECT id FROM db.other FINAL WHERE _is_deleted = 0",
            "SELECT id FROM db.t FINAL WHERE _is_deleted = 0 AND id > 3",
            "SELECT id FROM db.t",
            "",
        ] {
            assert_eq!(columns_of_view(other, "db", "t"), None, "{other}");
        }
    }
}
