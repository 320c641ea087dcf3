//! An insert as an HTTP request, without sending it.

use std::io::{self, Write as _};

use super::names::identifier;

/// How a request's body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4 frames: least processor time.
    #[default]
    Lz4,
    /// Zstandard: fewest bytes.
    Zstd,
}

/// Zstandard's level that costs least.
const ZSTD_LEVEL: i32 = 1;

impl Compression {
    /// Reads a configured word: `none`, `lz4`, `zstd`.
    ///
    /// # Errors
    /// Any other word.
    pub fn parse(word: &str) -> Result<Self, String> {
        match word {
            "none" => Ok(Compression::None),
            "lz4" => Ok(Compression::Lz4),
            "zstd" => Ok(Compression::Zstd),
            _ => Err(format!("unknown compression {word:?}: use none, lz4 or zstd")),
        }
    }

    /// The value of the header `Content-Encoding`, where it needs one.
    pub fn content_encoding(self) -> Option<&'static str> {
        match self {
            Compression::None => None,
            Compression::Lz4 => Some("lz4"),
            Compression::Zstd => Some("zstd"),
        }
    }

    /// A body, compressed.
    ///
    /// # Errors
    /// None that the bytes could cause; the libraries can report want of memory.
    pub fn compress(self, body: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Compression::None => Ok(body.to_vec()),
            Compression::Zstd => zstd::bulk::compress(body, ZSTD_LEVEL),
            Compression::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::with_capacity(body.len() / 2));
                encoder.write_all(body)?;
                encoder.finish().map_err(io::Error::other)
            }
        }
    }
}

/// An insert of one block.
#[derive(Debug, Clone, Copy)]
pub struct Insert<'a> {
    /// The target's database.
    pub database: &'a str,
    /// The target table.
    pub table: &'a str,
    /// The block's columns, in its order.
    pub columns: &'a [&'a str],
    /// Names the batch, so that the server drops a repetition. None: repetitions are inserted, too.
    pub token: Option<&'a str>,
    /// Names this attempt, so that it can be found and ended.
    pub query_id: &'a str,
    /// The session that it goes in: it begins only if that is open. None: in none.
    pub session: Option<&'a str>,
    /// After so many seconds the server gives up. The client must wait longer.
    pub max_execution_time_s: u32,
}

/// How long the server keeps a session that nobody uses. Its default is a minute, what it allows an hour.
pub const SESSION_TIMEOUT_S: u32 = 300;

impl Insert<'_> {
    /// The statement.
    pub fn sql(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|name| identifier(name)).collect();
        format!(
            "INSERT INTO {}.{} ({}) FORMAT Native",
            identifier(self.database),
            identifier(self.table),
            columns.join(", ")
        )
    }

    /// The URL's parameters besides the statement: the query's id and the settings, all of them sent with each
    /// insert because the server's defaults differ by version and profile. They still have to be
    /// percent-encoded.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let deduplicates = if self.token.is_some() { "1" } else { "0" };
        let mut parameters = vec![
            ("query_id", self.query_id.to_owned()),
            // The answer comes when all is done, with a status that says how.
            ("wait_end_of_query", "1".to_owned()),
            ("async_insert", "0".to_owned()),
            ("max_execution_time", self.max_execution_time_s.to_string()),
            // The body is one block and stays one: a token counts blocks, and a block is what is atomic.
            ("min_insert_block_size_rows", "0".to_owned()),
            ("min_insert_block_size_bytes", "0".to_owned()),
            ("max_insert_block_size", MAX_BLOCK_ROWS.to_string()),
            ("insert_deduplicate", deduplicates.to_owned()),
            ("deduplicate_blocks_in_dependent_materialized_views", deduplicates.to_owned()),
        ];
        if let Some(token) = self.token {
            parameters.push(("insert_deduplication_token", token.to_owned()));
        }
        if let Some(session) = self.session {
            parameters.push(("session_id", session.to_owned()));
            parameters.push(("session_check", "1".to_owned()));
            parameters.push(("session_timeout", SESSION_TIMEOUT_S.to_string()));
        }
        parameters
    }
}

/// More rows than any batch has.
const MAX_BLOCK_ROWS: u32 = 100_000_000;

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn insert<'a>() -> Insert<'a> {
        Insert {
            database: "db",
            table: "a`b",
            columns: &["x", "y\\"],
            token: Some("t1"),
            query_id: "t1-0",
            session: None,
            max_execution_time_s: 60,
        }
    }

    #[test]
    fn the_statement_quotes_each_name() {
        assert_eq!(insert().sql(), "INSERT INTO `db`.`a\\`b` (`x`, `y\\\\`) FORMAT Native");
    }

    #[test]
    fn every_insert_carries_the_settings_that_delivery_rests_on() {
        let parameters = insert().parameters();
        for expected in [
            ("query_id", "t1-0"),
            ("wait_end_of_query", "1"),
            ("async_insert", "0"),
            ("insert_deduplicate", "1"),
            ("insert_deduplication_token", "t1"),
            ("max_execution_time", "60"),
            ("min_insert_block_size_rows", "0"),
            ("min_insert_block_size_bytes", "0"),
            ("deduplicate_blocks_in_dependent_materialized_views", "1"),
        ] {
            assert!(
                parameters.iter().any(|(name, value)| (*name, value.as_str()) == expected),
                "{expected:?}"
            );
        }
        assert!(parameters.iter().all(|(name, _)| *name != "send_progress_in_http_headers"));
    }

    #[test]
    fn an_insert_in_a_session_opens_none() {
        let parameters = Insert { session: Some("s"), ..insert() }.parameters();
        assert!(parameters.contains(&("session_id", "s".to_owned())));
        assert!(parameters.contains(&("session_check", "1".to_owned())));
        assert!(insert().parameters().iter().all(|(name, _)| !name.starts_with("session")));
    }

    #[test]
    fn an_insert_without_a_token_is_not_deduplicated_by_its_content() {
        let parameters = Insert { token: None, ..insert() }.parameters();
        assert!(parameters.iter().all(|(name, _)| *name != "insert_deduplication_token"));
        assert!(parameters.contains(&("insert_deduplicate", "0".to_owned())));
    }

    #[test]
    fn a_compressed_body_reads_back() {
        let body: Vec<u8> = (0..200_000_u32).flat_map(|number| (number / 7).to_le_bytes()).collect();
        assert_eq!(Compression::None.compress(&body).expect("it is copied"), body);
        let packed = Compression::Zstd.compress(&body).expect("it compresses");
        assert!(packed.len() < body.len() / 2);
        assert_eq!(zstd::stream::decode_all(packed.as_slice()).expect("good zstd"), body);
        let packed = Compression::Lz4.compress(&body).expect("it compresses");
        assert!(packed.len() < body.len());
        assert_eq!(packed.get(..4), Some(&[0x04, 0x22, 0x4d, 0x18][..]), "the frame format's magic");
        let mut unpacked = Vec::new();
        lz4_flex::frame::FrameDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).expect("good lz4");
        assert_eq!(unpacked, body);
    }

    #[test]
    fn words_name_compressions() {
        for (word, compression) in
            [("none", Compression::None), ("lz4", Compression::Lz4), ("zstd", Compression::Zstd)]
        {
            assert_eq!(Compression::parse(word), Ok(compression));
        }
        assert!(Compression::parse("gzip").is_err());
        assert_eq!(Compression::Zstd.content_encoding(), Some("zstd"));
    }
}
