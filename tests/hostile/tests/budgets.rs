//! Attack 3: many transforms, each of which takes what it may.

use attacks::forge::Forge;
use attacks::trial::{Changes, End, load};
use host::config::SandboxLimits;
use host::tenant::Share;
use host::transform::compile::Compiling;
use host::transform::engine::Engine;
use host::transform::memory::MemoryBudget;
use host::transform::sandbox::Sandbox;

/// Takes 40 MiB in each call, and filters all changes.
fn hoarder() -> Vec<u8> {
    let apply = "(if (i32.eq (memory.grow (i32.const 640)) (i32.const -1)) (then (unreachable)))
        (memory.fill (i32.const 131072) (i32.const 1) (i32.const 41943040))
        (i32.const 2048)";
    Forge { apply, ..Forge::default() }.component()
}

/// All tenants' transforms at once, each for some batches; how each batch ended.
fn all_at_once(engine: &Engine, tenants: &[MemoryBudget]) -> Vec<End> {
    let component = hoarder();
    std::thread::scope(|scope| {
        let running: Vec<_> = tenants
            .iter()
            .map(|tenant| {
                let sandbox = Sandbox::new(engine, Compiling::default(), tenant.clone(), Share::alone());
                let component = &component;
                scope.spawn(move || {
                    let transform =
                        load(&sandbox, component, None, SandboxLimits::default()).expect("it fits");
                    let changes = Changes::new(1);
                    (0..5).map(|_| changes.through(&transform)).collect::<Vec<_>>()
                })
            })
            .collect();
        running.into_iter().flat_map(|thread| thread.join().expect("the host lives")).collect()
    })
}

#[test]
fn transforms_that_together_need_more_than_the_host_has_all_finish() {
    let engine = Engine::new(8).expect("an engine");
    let host = MemoryBudget::new("the host", 100 << 20);
    let tenants: Vec<_> = (0..6).map(|tenant| host.part(&format!("tenant {tenant}"), 64 << 20)).collect();
    let ends = all_at_once(&engine, &tenants);
    assert_eq!(ends, vec![End::Ran { done: 1, reasons: vec![] }; 30]);
    assert_eq!(host.used_bytes(), 0);
}

#[test]
fn transforms_that_are_more_than_the_pool_has_places_all_finish() {
    let engine = Engine::new(2).expect("an engine");
    let host = MemoryBudget::new("the host", 1 << 30);
    // Loading finds the pool full at once: it is given room first.
    let component = hoarder();
    let sandbox = Sandbox::new(&engine, Compiling::default(), host.clone(), Share::alone());
    let transforms: Vec<_> = (0..6)
        .map(|_| load(&sandbox, &component, None, SandboxLimits::default()).expect("it fits"))
        .collect();
    let ends: Vec<End> = std::thread::scope(|scope| {
        let running: Vec<_> = transforms
            .iter()
            .map(|transform| {
                scope.spawn(|| {
                    let changes = Changes::new(1);
                    (0..5).map(|_| changes.through(transform)).collect::<Vec<_>>()
                })
            })
            .collect();
        running.into_iter().flat_map(|thread| thread.join().expect("the host lives")).collect()
    });
    assert_eq!(ends, vec![End::Ran { done: 1, reasons: vec![] }; 30]);
    assert_eq!(host.used_bytes(), 0);
}

#[test]
fn a_transform_that_needs_more_than_one_instance_may_have_fails_whatever_the_host_has() {
    let engine = Engine::new(2).expect("an engine");
    let host = MemoryBudget::new("the host", 1 << 30);
    let sandbox = Sandbox::new(&engine, Compiling::default(), host, Share::alone());
    let limits = SandboxLimits { memory_mib: 16, ..SandboxLimits::default() };
    let transform = load(&sandbox, &hoarder(), None, limits).expect("it starts with less");
    let End::Ran { done: 0, reasons } = Changes::new(1).through(&transform) else { panic!("it fits") };
    assert!(reasons[0].contains("apply needs more than 16 MiB of memory"), "{reasons:?}");
}

#[test]
fn a_transform_that_needs_more_than_the_whole_host_has_is_told_so_and_does_not_wait() {
    let engine = Engine::new(2).expect("an engine");
    let host = MemoryBudget::new("the host", 32 << 20);
    let sandbox = Sandbox::new(&engine, Compiling::default(), host.clone(), Share::alone());
    let transform = load(&sandbox, &hoarder(), None, SandboxLimits::default()).expect("it starts with less");
    let End::Refused(why) = Changes::new(4).through(&transform) else { panic!("there is no room for it") };
    for part in
        ["hostile.public.my_table/0@0: apply needs ", "the transforms of the host may have 32 MiB together"]
    {
        assert!(why.contains(part), "no {part:?} in {why}");
    }
    assert_eq!(host.used_bytes(), 0);
}
