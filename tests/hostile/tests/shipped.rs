//! What is no attack is taken.

use attacks::trial::load;
use host::config::{SandboxLimits, SandboxProfile};
use host::transform::compile::Compiling;
use host::transform::sandbox::Sandbox;

#[test]
fn the_shipped_transforms_are_far_below_the_small_profile() {
    let sandbox = Sandbox::alone(Compiling::default()).expect("an engine");
    let small = SandboxLimits::of(SandboxProfile::Small);
    // A half of each limit on what a component is.
    let half = SandboxLimits {
        component_bytes: small.component_bytes / 2,
        functions: small.functions / 2,
        function_bytes: small.function_bytes / 2,
        depth: small.depth / 2,
        locals: small.locals / 2,
        modules: small.modules / 2,
        components: small.components / 2,
        core_instances: small.core_instances / 2,
        ..small
    };
    for name in ["update_only", "all_changes", "mirror", "audit"] {
        let component = std::fs::read(attacks::guest(name)).expect("run `make guests`");
        load(&sandbox, &component, None, half).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
