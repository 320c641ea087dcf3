//! Random code that is valid: what a compiler would never make, but an engine must run or refuse.

use std::fmt::Write as _;

use fastrand::Rng;

/// The types of values.
const TYPES: [&str; 4] = ["i32", "i64", "f32", "f64"];
/// Functions that the code may call: each takes and returns one value of the type of its number modulo 4.
const FUNCTIONS: usize = 8;

/// Code that grows out of random numbers.
pub struct Code<'a> {
    rng: &'a mut Rng,
    /// Expressions that may still be made of more than one instruction.
    left: usize,
}

impl<'a> Code<'a> {
    /// Of so many expressions, roughly.
    pub fn new(rng: &'a mut Rng, expressions: usize) -> Self {
        Code { rng, left: expressions }
    }

    /// Functions `$f0` to `$f7`, a table of them, globals of each type, and in one of four cases a start function.
    pub fn functions(&mut self) -> String {
        let mut text = String::from(
            "(type $t0 (func (param i32) (result i32))) (type $t1 (func (param i64) (result i64)))
             (type $t2 (func (param f32) (result f32))) (type $t3 (func (param f64) (result f64)))
             (table $t 8 5000 funcref) (elem (i32.const 0) func $f0 $f1 $f2 $f3 $f4 $f5)
             (global $g0 (mut i32) (i32.const 0)) (global $g1 (mut i64) (i64.const -1))
             (global $g2 (mut f32) (f32.const nan)) (global $g3 (mut f64) (f64.const -0))",
        );
        for function in 0..FUNCTIONS {
            let (name, body) = (TYPES[function % 4], self.body(function % 4));
            _ = write!(text, "(func $f{function} (param {name}) (result {name}) {body})");
        }
        if self.rng.u8(..4) == 0 {
            let body = self.body(0);
            _ = write!(text, "(func $begin (drop (block (result i32) {body})))(start $begin)")
        }
        text
    }

    /// The body of a function that returns an i32: some statements, and a value.
    pub fn body(&mut self, ty: usize) -> String {
        let statements: String = (0..self.rng.usize(..6)).map(|_| self.statement()).collect();
        format!("{statements} {}", self.value(ty))
    }

    fn statement(&mut self) -> String {
        let ty = self.rng.usize(..4);
        match self.rng.u8(..9) {
            0 => format!("(global.set $g{ty} {})", self.value(ty)),
            1 => {
                format!("({}.store offset={} {} {})", TYPES[ty], self.offset(), self.value(0), self.value(ty))
            }
            2 => format!("(memory.fill {} {} {})", self.value(0), self.value(0), self.value(0)),
            3 => format!("(memory.copy {} {} {})", self.value(0), self.value(0), self.value(0)),
            4 => format!("(if {} (then {}))", self.value(0), self.statement()),
            // It ends when its condition or its fuel does.
            5 => format!("(loop $l {} (br_if $l {}))", self.statement(), self.value(0)),
            6 => format!("(block $b {} (br_if $b {}) {})", self.statement(), self.value(0), self.statement()),
            7 => format!("(table.set $t {} (table.get $t {}))", self.value(0), self.value(0)),
            _ => format!("(drop {})", self.value(ty)),
        }
    }

    fn value(&mut self, ty: usize) -> String {
        let name = TYPES[ty];
        if self.left == 0 {
            return self.constant(ty);
        }
        self.left -= 1;
        match self.rng.u8(..12) {
            0 => self.constant(ty),
            1 => format!("(global.get $g{ty})"),
            2 => format!("({name}.load offset={} {})", self.offset(), self.value(0)),
            3 => format!("(call $f{} {})", ty + 4 * self.rng.usize(..2), self.value(ty)),
            4 => format!("(call_indirect (type $t{ty}) {} {})", self.value(ty), self.value(0)),
            5 => format!(
                "(if (result {name}) {} (then {}) (else {}))",
                self.value(0),
                self.value(ty),
                self.value(ty)
            ),
            6 => format!("(select {} {} {})", self.value(ty), self.value(ty), self.value(0)),
            7 if ty == 0 => format!("(memory.grow {})", self.value(0)),
            8 if ty == 0 => format!("(table.grow $t (ref.null func) {})", self.value(0)),
            9 => self.converted(ty),
            _ => {
                let operators: &[&str] = match ty {
                    0 | 1 => &[
                        "add", "sub", "mul", "div_s", "div_u", "rem_s", "rem_u", "and", "shl", "shr_s",
                        "rotl",
                    ],
                    _ => &["add", "sub", "mul", "div", "min", "max", "copysign"],
                };
                let operator = operators[self.rng.usize(..operators.len())];
                format!("({name}.{operator} {} {})", self.value(ty), self.value(ty))
            }
        }
    }

    fn converted(&mut self, ty: usize) -> String {
        let (operator, from) = match ty {
            0 => [("i32.wrap_i64", 1), ("i32.trunc_f64_s", 3), ("i32.trunc_sat_f32_u", 2), ("i32.eqz", 0)],
            1 => {
                [("i64.extend_i32_s", 0), ("i64.trunc_f32_u", 2), ("i64.reinterpret_f64", 3), ("i64.clz", 1)]
            }
            2 => {
                [("f32.demote_f64", 3), ("f32.convert_i64_u", 1), ("f32.reinterpret_i32", 0), ("f32.sqrt", 2)]
            }
            _ => [
                ("f64.promote_f32", 2),
                ("f64.convert_i32_s", 0),
                ("f64.reinterpret_i64", 1),
                ("f64.nearest", 3),
            ],
        }[self.rng.usize(..4)];
        format!("({operator} {})", self.value(from))
    }

    fn constant(&mut self, ty: usize) -> String {
        let odd = ["0", "1", "-1", "7", "1024", "2048", "65536", "131072"];
        let text = match (ty, self.rng.u8(..3)) {
            (0, 0) => self.rng.i32(..).to_string(),
            (1, 0) => self.rng.i64(..).to_string(),
            (2 | 3, 0) => ["nan", "inf", "-inf", "-0"][self.rng.usize(..4)].to_owned(),
            _ => odd[self.rng.usize(..odd.len())].to_owned(),
        };
        format!("({}.const {text})", TYPES[ty])
    }

    fn offset(&mut self) -> u32 {
        if self.rng.bool() { self.rng.u32(..64) } else { self.rng.u32(..) }
    }
}
