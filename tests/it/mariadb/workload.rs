//! Random changes of a table in MariaDB, the same for the same seed. MariaDB itself keeps a log of what they did.

use super::Column;

/// The table, and triggers that write down each change of it. A change of a key is two: the old row goes, and the
/// new one comes.
pub const SETUP: &str = "\
create table work (id int, part varchar(10) collate utf8mb4_bin, n bigint not null, name text,
  amount decimal(20, 4), changed_at datetime(6), raw varbinary(20), primary key (id, part));
create table work_log (seq bigint auto_increment primary key, op char(1)) as select * from work;
create trigger came after insert on work for each row
  insert into work_log select null, 'c', new.id, new.part, new.n, new.name, new.amount, new.changed_at, new.raw;
create trigger went after delete on work for each row
  insert into work_log select null, 'd', old.id, old.part, old.n, old.name, old.amount, old.changed_at, old.raw;
create trigger changed after update on work for each row
  insert into work_log select null, 'u', new.id, new.part, new.n, new.name, new.amount, new.changed_at, new.raw
  from dual where new.id = old.id and new.part = old.part;
create trigger moved_from after update on work for each row follows changed
  insert into work_log select null, 'd', old.id, old.part, old.n, old.name, old.amount, old.changed_at, old.raw
  from dual where new.id != old.id or new.part != old.part;
create trigger moved_to after update on work for each row follows moved_from
  insert into work_log select null, 'c', new.id, new.part, new.n, new.name, new.amount, new.changed_at, new.raw
  from dual where new.id != old.id or new.part != old.part;
";

/// Lets the log begin with the rows that a snapshot will read.
pub const SNAPSHOT: &str = "\
delete from work_log;
insert into work_log select null, 'r', work.* from work;
";

/// The columns of the log, as both servers write them.
pub fn columns() -> Vec<Column> {
    let text = |name| Column::new(name, "hex($)", "hex($)");
    vec![
        Column::new("op", "$", "$"),
        Column::new("id", "$", "$"),
        text("part"),
        Column::new("n", "$", "$"),
        text("name"),
        // Without a schema, times are their microseconds, or the text of these where a table was made of rows that
        // had none; and bytes are the text in which JSON has them.
        Column::new("amount", "$", "$"),
        Column::new(
            "changed_at",
            "date_format($, '%Y-%m-%d %H:%i:%s.%f')",
            "fromUnixTimestamp64Micro(toInt64($), 'UTC')",
        ),
        Column::new("raw", "to_base64($)", "$"),
    ]
}

/// So many statements, in transactions of a few each, some of which are rolled back. Many of them change no row or
/// several.
pub fn changes(seed: u64, count: usize) -> Vec<String> {
    let mut random = Random(seed);
    let mut statements = Vec::new();
    for _ in 0..count {
        let (id, other) = (random.below(40), random.below(40));
        let (part, from, value) = (part(&mut random), part(&mut random), values(&mut random));
        let [name, amount, changed_at, raw] = &value;
        let set =
            format!("n = n + 1, name = {name}, amount = {amount}, changed_at = {changed_at}, raw = {raw}");
        let values = format!("({id}, {part}, 0, {name}, {amount}, {changed_at}, {raw})");
        statements.push(match random.below(20) {
            0..7 => format!("insert into work values {values} on duplicate key update {set};"),
            7..9 => format!("replace into work values {values};"),
            9..14 => format!("update work set {set} where id = {id};"),
            14..16 => format!("delete from work where id = {id} and part = {part};"),
            16..18 => moved(&other.to_string(), "a.part", &format!("a.id = {id}")),
            18 => moved("a.id", part, &format!("a.id = {id} and a.part = {from}")),
            _ => "update work set n = n + 1 where id % 10 = 3;".to_owned(),
        });
        match random.below(12) {
            0 => statements.push("rollback; begin;".to_owned()),
            1..5 => statements.push("commit; begin;".to_owned()),
            _ => {}
        }
    }
    statements.insert(0, "begin;".to_owned());
    statements.push("commit;".to_owned());
    statements
}

/// Gives the rows for which `condition` holds another key, where that is free. An `update ignore` would call the
/// triggers for the others, too.
fn moved(id: &str, part: &str, condition: &str) -> String {
    format!(
        "update work a left join work b on b.id = {id} and b.part = {part} \
         set a.id = {id}, a.part = {part}, a.n = a.n + 1 where {condition} and b.id is null;"
    )
}

fn part(random: &mut Random) -> &'static str {
    ["'a'", "'A'", "'größe'"][random.below(3) as usize]
}

/// A name, an amount, a time and bytes, as SQL; each may be null.
fn values(random: &mut Random) -> [String; 4] {
    let name = match random.below(6) {
        0 => "null".to_owned(),
        1 => "''".to_owned(),
        2 => "'O''Brien \"the\" \\\\ \\n\\t größe 🙂'".to_owned(),
        3 => format!("repeat('x', {})", random.below(3000)),
        _ => format!("'name {}'", random.below(1_000_000)),
    };
    let amount = match random.below(5) {
        0 => "null".to_owned(),
        1 => format!("-{}.{:04}", random.below(1 << 50), random.below(10_000)),
        _ => format!("{}.{:04}", random.below(1000), random.below(10_000)),
    };
    let changed_at = match random.below(5) {
        0 => "null".to_owned(),
        1 => "'1969-12-31 23:59:59.999999'".to_owned(),
        _ => format!(
            "'20{:02}-{:02}-{:02} {:02}:30:59.{:06}'",
            random.below(99),
            1 + random.below(12),
            1 + random.below(28),
            random.below(24),
            random.below(1_000_000)
        ),
    };
    let raw = match random.below(4) {
        0 => "null".to_owned(),
        1 => "''".to_owned(),
        _ => format!("x'00{:016x}ff'", random.next()),
    };
    [name, amount, changed_at, raw]
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number from 0 on, below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
