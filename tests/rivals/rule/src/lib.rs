//! The default transform's rule for one table, as a module that faucet's `wasm` transform can call.
//!
//! It is written to be fast: columns are compiled in, and what the rule does not look at is copied as it stands.
//! What faucet asks of a module: `alloc`, `free`, and `transform`, which takes a record as JSON and answers with
//! the place and length of another, 0 to drop it, or all ones where it fails.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A record of Kafka, as faucet shows it.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    value: Value<'a>,
}

/// An event, or what the converter writes around one.
#[derive(Deserialize)]
struct Value<'a> {
    #[serde(borrow)]
    payload: Option<Event<'a>>,
    op: Option<&'a str>,
    #[serde(borrow)]
    after: Option<Row<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    op: &'a str,
    #[serde(borrow)]
    after: Option<Row<'a>>,
}

#[derive(Deserialize, Serialize)]
struct Row<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    customer_id: &'a RawValue,
    #[serde(borrow)]
    status: &'a RawValue,
    #[serde(borrow)]
    currency: &'a RawValue,
    #[serde(borrow)]
    total: &'a RawValue,
    #[serde(borrow)]
    is_gift: &'a RawValue,
    #[serde(borrow)]
    email: &'a RawValue,
    #[serde(borrow)]
    note: &'a RawValue,
    #[serde(borrow)]
    created_at: &'a RawValue,
    updated_at: &'a str,
}

/// What is written.
#[derive(Serialize)]
struct Update<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    op: &'a str,
}

/// The row of an update as JSON; none for any other event.
///
/// # Errors
/// The record is no event of this table.
pub fn row(record: &[u8]) -> serde_json::Result<Option<Vec<u8>>> {
    let Value { payload, op, after } = serde_json::from_slice::<Record<'_>>(record)?.value;
    let (op, after) = payload.map_or((op, after), |event| (Some(event.op), event.after));
    let (Some(op @ "u"), Some(mut row)) = (op, after) else { return Ok(None) };
    // As ClickHouse reads a time in UTC.
    let updated_at = row.updated_at.trim_end_matches('Z').replacen('T', " ", 1);
    row.updated_at = &updated_at;
    serde_json::to_vec(&Update { row, op }).map(Some)
}

#[cfg(target_family = "wasm")]
mod exports {
    use std::alloc::{Layout, alloc as allocate, dealloc};
    use std::slice;

    /// Bytes of any alignment.
    fn layout(len: usize) -> Layout {
        Layout::array::<u8>(len.max(1)).unwrap()
    }

    /// Room for a record.
    #[unsafe(no_mangle)]
    extern "C" fn alloc(len: usize) -> *mut u8 {
        // SAFETY: the layout is of at least one byte.
        unsafe { allocate(layout(len)) }
    }

    /// # Safety
    /// `at` is what `alloc(len)` or `transform` gave, and was not given back yet.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn free(at: *mut u8, len: usize) {
        // SAFETY: both allocate by this layout: a boxed slice of bytes has that of its length.
        unsafe { dealloc(at, layout(len)) }
    }

    /// # Safety
    /// There are `len` bytes at `at`, which nobody writes to meanwhile.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn transform(at: *const u8, len: usize) -> u64 {
        // SAFETY: the caller's promise.
        match super::row(unsafe { slice::from_raw_parts(at, len) }) {
            Ok(Some(row)) => {
                let row = Box::leak(row.into_boxed_slice());
                (row.as_ptr() as u64) << 32 | row.len() as u64
            }
            Ok(None) => 0,
            Err(_) => u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = r#"{"id":1,"customer_id":2,"status":"new","currency":"EUR","total":1.5,"is_gift":true,"email":"a@b","note":null,"created_at":7,"updated_at":"2024-11-22T01:02:03.000004Z"}"#;

    fn of(value: &str) -> Option<String> {
        let record = format!(r#"{{"headers":{{}},"key":null,"offset":0,"value":{value}}}"#);
        row(record.as_bytes()).unwrap().map(|row| String::from_utf8(row).unwrap())
    }

    #[test]
    fn an_update_is_a_row_with_or_without_the_converters_schema_and_all_else_is_none() {
        let event = |op: &str| format!(r#"{{"after":{ROW},"op":"{op}"}}"#);
        let expected =
            ROW.replace("2024-11-22T01:02:03.000004Z\"}", "2024-11-22 01:02:03.000004\",\"op\":\"u\"}");
        assert_eq!(of(&event("u")), Some(expected.clone()));
        assert_eq!(of(&format!(r#"{{"schema":{{}},"payload":{}}}"#, event("u"))), Some(expected));
        assert_eq!(of(&event("c")), None);
        assert_eq!(of(r#"{"after":null,"op":"d"}"#), None);
        assert!(row(b"{}").is_err());
    }
}
