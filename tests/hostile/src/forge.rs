//! Components put together by hand, for what no compiler makes.

use anyhow::{Context as _, Result};
use wasm_encoder::{ComponentSectionId, Encode, InstanceSection, ModuleArg};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The contract.
const WIT: &str = include_str!("../../../wit/transform.wit");

/// A transform's module, of whose parts each can be another. As it is, it filters all changes; its plan reads `op` and
/// computes the text `x`.
pub struct Forge<'a> {
    /// The limits of its memory, in pages of 64 KiB.
    pub memory: &'a str,
    /// Other imports.
    pub imports: &'a str,
    /// Other functions, globals and data, and a start function.
    pub more: &'a str,
    /// The body of `cabi_realloc (i32 i32 i32 i32) -> i32`, which the host calls for what it hands over.
    pub realloc: &'a str,
    /// The body of `configure (i32 i32) -> i32`.
    pub configure: &'a str,
    /// The body of `prepare (14 times i32) -> i32`.
    pub prepare: &'a str,
    /// The body of `apply (i32 i32 i32 i32) -> i32`; the second is the number of changes.
    pub apply: &'a str,
    /// The body of `apply`'s post-return function `(i32)`.
    pub post_return: &'a str,
    /// Data that is written over the plan and the answer.
    pub late: &'a str,
}

impl Default for Forge<'_> {
    fn default() -> Self {
        Forge {
            memory: "2",
            imports: "",
            more: "",
            realloc: REALLOC,
            configure: "(i32.const 16)",
            prepare: "(i32.const 1024)",
            apply: "(i32.const 2048)",
            post_return: "",
            late: "",
        }
    }
}

/// Hands out one place after the other, and takes memory where there is no more.
const REALLOC: &str = "(local $at i32)
    (local.set $at (i32.and
        (i32.add (global.get $top) (i32.sub (local.get 2) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get 2))))
    (global.set $top (i32.add (local.get $at) (local.get 3)))
    (loop $more
        (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
            (then
                (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))
                (br $more))))
    (local.get $at)";

impl Forge<'_> {
    /// The module, as text.
    pub fn text(&self) -> String {
        let Forge { memory, imports, more, realloc, configure, prepare, apply, post_return, late } = self;
        let handler = "rowgate:transform/handler@0.1.0";
        let (plan, answer) = (plan(), answer());
        format!(
            r#"(module
                {imports}
                (memory (export "memory") {memory})
                (global $top (mut i32) (i32.const 65536))
                {more}
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
                (func (export "{handler}#configure") (param i32 i32) (result i32) {configure})
                (func (export "{handler}#prepare")
                    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) {prepare})
                (func (export "{handler}#apply") (param i32 i32 i32 i32) (result i32) {apply})
                (func (export "cabi_post_{handler}#apply") (param i32) {post_return})
                (data (i32.const 1024) "{plan}")
                (data (i32.const 2048) "{answer}")
                {late})"#
        )
    }

    /// The module.
    pub fn module(&self) -> Vec<u8> {
        wat::parse_str(self.text()).expect("the text of a module")
    }

    /// The component.
    pub fn component(&self) -> Vec<u8> {
        from_module(&self.module()).expect("a module of the contract's world")
    }
}

/// A component of the contract's world.
///
/// # Errors
/// A module that is none of that world.
pub fn from_module(module: &[u8]) -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("transform.wit", WIT)?;
    let world = resolve.select_world(&[package], Some("transform"))?;
    let mut module = module.to_vec();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default().module(&module)?.validate(false).encode().context("making a component")
}

/// One that filters all changes, with so many functions that it never calls, each of 0.4 KB and some 18 KB of native code.
pub fn with_functions(count: usize) -> Vec<u8> {
    let checked = "i64.trunc_f64_s f64.convert_i64_s ".repeat(200);
    let more = format!("(func (param f64) (result f64) local.get 0 {checked})").repeat(count);
    Forge { more: &more, ..Forge::default() }.component()
}

/// `component` with so many instances of one more module, given as text.
pub fn with_instances(mut component: Vec<u8>, module: &str, instances: usize) -> Vec<u8> {
    let module = wat::parse_str(module).expect("the text of a module");
    // What is behind the last module has the next index.
    let index = modules_in(&component);
    component.push(ComponentSectionId::CoreModule.into());
    module.as_slice().encode(&mut component);
    let mut section = InstanceSection::new();
    for _ in 0..instances {
        section.instantiate(index, [("", ModuleArg::Instance(0)); 0]);
    }
    component.push(ComponentSectionId::CoreInstance.into());
    section.encode(&mut component);
    component
}

/// The modules that stand in the component itself.
fn modules_in(component: &[u8]) -> u32 {
    sections(component).iter().filter(|(id, _)| *id == u8::from(ComponentSectionId::CoreModule)).count()
        as u32
}

/// The sections of a component: their numbers, and where each stands, with its number and length.
pub fn sections(component: &[u8]) -> Vec<(u8, std::ops::Range<usize>)> {
    let mut found = Vec::new();
    let mut at = 8;
    while let Some(id) = component.get(at) {
        let mut length = 0_usize;
        let mut end = at + 1;
        for shift in (0..35).step_by(7) {
            let Some(byte) = component.get(end) else { return found };
            length |= usize::from(byte & 0x7f) << shift;
            end += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        end += length;
        if end > component.len() {
            return found;
        }
        found.push((*id, at..end));
        at = end;
    }
    found
}

/// `result<plan, string>` at 1024: one output with the computed column `x`, and one thing that is read.
fn plan() -> String {
    let mut bytes = words(&[0, 0x3f, 1100, 1, 1112, 1]);
    bytes.resize(1100 - 1024, 0);
    bytes.extend(words(&[3, 0, 0]));
    bytes.extend(words(&[0, 0, 0, 1140, 1, 0, 0]));
    bytes.extend(words(&[1168, 1, 2, 0x0104, 0, 0, 0]));
    bytes.push(b'x');
    escaped(&bytes)
}

/// `result<answer, string>` at 2048: a part without rows, whose column has no cells.
fn answer() -> String {
    let mut bytes = words(&[0, 2100, 1, 0, 0]);
    bytes.resize(2100 - 2048, 0);
    bytes.extend(words(&[0, 0, 0, 0, 2124, 1]));
    bytes.extend(words(&[0, 0, 3, 2152, 1, 0, 0]));
    bytes.extend(words(&[0]));
    escaped(&bytes)
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Bytes in the text of a module.
pub fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}
