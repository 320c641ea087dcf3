//! Components that are small and cost a compiler gigabytes or minutes, put together by hand.

use fastrand::Rng;

/// A component that no compiler should have to bear.
pub struct Bomb {
    /// Its kind.
    pub name: &'static str,
    /// Its bytes.
    pub component: Vec<u8>,
}

/// One of each kind.
pub fn all() -> Vec<Bomb> {
    let bomb = |name, module| Bomb { name, component: component(module) };
    vec![
        bomb("nested loops", module(&[nested_loops(20_000)])),
        bomb("live values", module(&[live_values(1_000, 1_000)])),
        bomb("many functions", module(&vec![body(0, &[]); 200_000])),
        bomb("large jump tables", module(&vec![jump_tables(20_000, 10); 20])),
    ]
}

/// One of 5 KB that takes a compiler some 150 MiB, and passes; no deeper than the host looks before it compiles.
pub fn bearable() -> Vec<u8> {
    component(module(&[live_values(360, 250)]))
}

/// One of any kind and size, about as far as a look at it lets it pass.
pub(crate) fn grown(rng: &mut Rng) -> Vec<u8> {
    component(match rng.u8(..4) {
        0 => module(&vec![nested_loops(rng.usize(1..=260)); rng.usize(1..=500)]),
        1 => module(&[live_values(rng.usize(1..=1010), rng.usize(1..=260))]),
        2 => {
            let function = live_values(rng.usize(1..=20), rng.usize(1..=10));
            module(&vec![function; rng.usize(1..=10_100)])
        }
        _ => {
            let tables = rng.usize(1..=3);
            module(&vec![jump_tables(rng.usize(1..=20_000), tables); rng.usize(1..=60)])
        }
    })
}

/// One that is no bomb, and takes the same way through the host.
pub fn harmless() -> Vec<u8> {
    component(module(&[live_values(1, 1)]))
}

const HEADER: &[u8] = b"\0asm\x0d\0\x01\0";

/// A component that fits by its names, with a module that it does not use.
fn component(module: Vec<u8>) -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    section(&mut bytes, 1, &module);
    // A type: an instance with nothing in it. An instance of no exports. Its export.
    section(&mut bytes, 7, &[1, 0x42, 0]);
    section(&mut bytes, 5, &[1, 1, 0]);
    let name = b"rowgate:transform/handler@0.1.0";
    section(&mut bytes, 11, &[&[1, 0, name.len() as u8], &name[..], &[5, 0, 0]].concat());
    bytes
}

/// A core module of functions from an i32 to nothing, with these bodies.
fn module(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    section(&mut bytes, 1, &[1, 0x60, 1, 0x7f, 0]);
    section(&mut bytes, 3, &[leb(bodies.len()), vec![0; bodies.len()]].concat());
    let mut code = leb(bodies.len());
    for body in bodies {
        code.extend(leb(body.len()));
        code.extend(body);
    }
    section(&mut bytes, 10, &code);
    bytes
}

/// A function's body with so many locals besides its parameter, all i32.
fn body(locals: usize, code: &[u8]) -> Vec<u8> {
    let declared = if locals == 0 { vec![0] } else { [vec![1], leb(locals), vec![0x7f]].concat() };
    [&declared, code, &[0x0b]].concat()
}

fn nested_loops(depth: usize) -> Vec<u8> {
    body(0, &[[0x03, 0x40].repeat(depth), vec![0x0b; depth]].concat())
}

/// Values that change within nested loops, so that each is another one in each of them.
fn live_values(values: usize, loops: usize) -> Vec<u8> {
    let mut code = [0x03, 0x40].repeat(loops);
    for local in (1..=values).map(leb) {
        // local.get, i32.const 1, i32.add, local.set
        code.extend([&[0x20], &local[..], &[0x41, 1, 0x6a, 0x21], &local].concat());
    }
    for depth in 0..loops {
        // local.get 0, br_if
        code.extend([0x20, 0, 0x0d]);
        code.extend(leb(depth));
    }
    code.extend(vec![0x0b; loops]);
    body(values, &code)
}

/// Jumps by a table of so many targets, each out of its own block whichever way.
fn jump_tables(targets: usize, tables: usize) -> Vec<u8> {
    let mut code = Vec::new();
    for _ in 0..tables {
        code.extend([0x02, 0x40, 0x20, 0, 0x0e]);
        code.extend(leb(targets));
        code.extend(vec![0; targets + 1]);
        code.push(0x0b);
    }
    body(0, &code)
}

fn section(bytes: &mut Vec<u8>, id: u8, content: &[u8]) {
    bytes.push(id);
    bytes.extend(leb(content.len()));
    bytes.extend(content);
}

fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
