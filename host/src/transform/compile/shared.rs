//! The components that are in use: pipelines of a process with the same one have its native code, and the pages that
//! instances leave in place, once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use wasmtime::component::Component;

use super::CompileLimits;
use crate::locked::locked;
use crate::transform::cache::Identity;

/// By what they are made of, and what they may take: what one profile allows may be too large for another.
#[derive(Default)]
pub(in crate::transform) struct Shared(Mutex<HashMap<(Identity, CompileLimits), Weak<Component>>>);

impl Shared {
    /// The one that is in use.
    pub(super) fn get(&self, identity: &Identity, limits: CompileLimits) -> Option<Arc<Component>> {
        locked(&self.0).get(&(identity.clone(), limits))?.upgrade()
    }

    /// Gives `component` to whoever asks for it as long as it is in use; or what somebody else has loaded meanwhile.
    pub(super) fn share(
        &self,
        identity: &Identity,
        limits: CompileLimits,
        component: Component,
    ) -> Arc<Component> {
        let mut all = locked(&self.0);
        all.retain(|_, component| component.strong_count() > 0);
        let key = (identity.clone(), limits);
        if let Some(component) = all.get(&key).and_then(Weak::upgrade) {
            return component;
        }
        let component = Arc::new(component);
        all.insert(key, Arc::downgrade(&component));
        component
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::BUILT_IN;
    use crate::transform::compile::Compiling;
    use crate::transform::engine::Engine;

    #[test]
    fn a_component_that_is_in_use_is_there_once_for_all_that_allow_it_as_much() {
        let engine = Engine::new(1).unwrap();
        let load = |limits| Compiling::default().component(&engine, BUILT_IN, limits).unwrap();
        let (one, another) = (load(CompileLimits::SMALL), load(CompileLimits::SMALL));
        assert!(Arc::ptr_eq(&one, &another));
        assert!(!Arc::ptr_eq(&one, &load(CompileLimits::RUNTIME)));
        let known = || engine.shared.get(&Identity::of(&engine, BUILT_IN), CompileLimits::SMALL).is_some();
        drop(one);
        assert!(known());
        drop(another);
        assert!(!known(), "nobody uses it any more");
    }
}
