//! A look into a component before it is compiled (promise S13 of `docs/invariants.md`): compiling takes memory and time
//! out of all proportion where functions are large, deep, or very many.

use wasmparser::{BinaryReaderError, FunctionBody, Operator, Parser, Payload, Validator, WasmFeatures};
use wasmtime::component::Component;

use super::engine::FEATURES;
use super::limits::{SandboxLimits, SandboxProfile};

/// What is refused of WebAssembly, as people know it, with what each needs besides.
const REFUSED: [(&str, WasmFeatures); 9] = [
    ("threads", WasmFeatures::THREADS),
    ("64-bit memories", WasmFeatures::MEMORY64),
    ("several memories in one module", WasmFeatures::MULTI_MEMORY),
    ("garbage collection", GC),
    ("exceptions", WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS).union(GC)),
    ("stack switching", WasmFeatures::STACK_SWITCHING.union(GC)),
    ("custom page sizes", WasmFeatures::CUSTOM_PAGE_SIZES),
    ("wide arithmetic", WasmFeatures::WIDE_ARITHMETIC),
    (
        "asynchronous functions",
        WasmFeatures::CM_ASYNC
            .union(WasmFeatures::CM_ASYNC_STACKFUL)
            .union(WasmFeatures::CM_MORE_ASYNC_BUILTINS)
            .union(WasmFeatures::CM_THREADING)
            .union(WasmFeatures::CM_ERROR_CONTEXT),
    ),
];
/// A page of a memory.
const PAGE_BYTES: u64 = 64 << 10;
const GC: WasmFeatures =
    WasmFeatures::GC.union(WasmFeatures::GC_TYPES).union(WasmFeatures::FUNCTION_REFERENCES);

/// Refuses a component of which something is more than `limits`, that is not valid, or that uses what is refused.
///
/// # Errors
/// One message that says what is too much and what is allowed, or what is refused.
pub(super) fn check(bytes: &[u8], limits: &SandboxLimits) -> Result<(), String> {
    let mut seen = Seen { limits, functions: 0, modules: 0, components: 0, core_instances: 0 };
    for payload in Parser::new(0).parse_all(bytes) {
        seen.payload(&payload.map_err(broken)?)?;
    }
    valid(bytes)
}

/// Refuses a component of so many bytes, before anything of it is read.
///
/// # Errors
/// It is larger than the profile allows.
pub(crate) fn size(bytes: u64, limits: &SandboxLimits) -> Result<(), String> {
    at_most(limits, "bytes", bytes, limits.component_bytes)
}

fn broken(error: BinaryReaderError) -> String {
    format!("broken WebAssembly: {} at byte {}", error.message(), error.offset())
}

fn valid(bytes: &[u8]) -> Result<(), String> {
    let fault = |features| Validator::new_with_features(features).validate_all(bytes).err();
    let Some(error) = fault(FEATURES) else { return Ok(()) };
    // The feature without which it ends here; others may be missing further on.
    let needed = REFUSED.iter().find(|(_, feature)| {
        fault(FEATURES.union(*feature)).is_none_or(|next| next.offset() > error.offset())
    });
    Err(match needed {
        Some((name, _)) => {
            format!(
                "uses {name} (at byte {}), which this host does not run: build it without",
                error.offset()
            )
        }
        None => broken(error),
    })
}

fn at_most(limits: &SandboxLimits, what: &str, found: u64, most: u64) -> Result<(), String> {
    if found <= most {
        return Ok(());
    }
    let advice = match limits.profile {
        SandboxProfile::Small => {
            "; if it brings the runtime of a language along, such as JavaScript or Python, set `limits.profile` to `runtime`"
        }
        SandboxProfile::Runtime => "",
    };
    Err(format!("has {found} {what}, and the profile `{}` allows {most}{advice}", limits.profile.name()))
}

/// Refuses a compiled component whose instances need more than `limits` when they start.
pub(super) fn resources(component: &Component, limits: &SandboxLimits) -> Result<(), String> {
    let Some(needs) = component.resources_required() else {
        return Err("imports modules or components, which the host does not give".to_owned());
    };
    at_most(limits, "memories", needs.num_memories.into(), limits.memories.into())?;
    at_most(limits, "tables", needs.num_tables.into(), limits.tables.into())?;
    let starts_with = needs.max_initial_memory_size.unwrap_or(0).saturating_mul(PAGE_BYTES);
    if starts_with > u64::from(limits.memory_mib) << 20 {
        let mib = starts_with >> 20;
        return Err(format!(
            "starts with {mib} MiB of memory, and `limits.memory_mib` is {}",
            limits.memory_mib
        ));
    }
    Ok(())
}

/// What was found so far.
struct Seen<'a> {
    limits: &'a SandboxLimits,
    functions: u64,
    modules: u64,
    components: u64,
    core_instances: u64,
}

impl Seen<'_> {
    fn payload(&mut self, payload: &Payload<'_>) -> Result<(), String> {
        let limits = self.limits;
        match payload {
            Payload::ModuleSection { .. } => {
                self.modules += 1;
                at_most(limits, "modules", self.modules, limits.modules.into())
            }
            Payload::ComponentSection { .. } => {
                self.components += 1;
                at_most(limits, "components in it", self.components, limits.components.into())
            }
            Payload::InstanceSection(section) => {
                self.core_instances += u64::from(section.count());
                at_most(limits, "instances of modules", self.core_instances, limits.core_instances.into())
            }
            Payload::CodeSectionStart { count, .. } => {
                self.functions += u64::from(*count);
                at_most(limits, "functions", self.functions, limits.functions.into())
            }
            Payload::CodeSectionEntry(body) => self.body(body),
            _ => Ok(()),
        }
    }

    fn body(&self, body: &FunctionBody<'_>) -> Result<(), String> {
        let limits = self.limits;
        let at = |error: String| format!("the function at byte {} {error}", body.range().start);
        let bytes = body.range().len() as u64;
        at_most(limits, "bytes", bytes, limits.function_bytes.into()).map_err(at)?;
        let mut locals = 0_u64;
        for group in body.get_locals_reader().map_err(broken)? {
            locals += u64::from(group.map_err(broken)?.0);
        }
        at_most(limits, "locals", locals, limits.locals.into()).map_err(at)?;
        let mut depth = 0_u64;
        for operator in body.get_operators_reader().map_err(broken)? {
            match operator.map_err(broken)? {
                Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::Try { .. }
                | Operator::TryTable { .. } => depth += 1,
                Operator::End => depth = depth.saturating_sub(1),
                _ => {}
            }
            at_most(limits, "blocks within each other", depth, limits.depth.into()).map_err(at)?;
        }
        Ok(())
    }
}
