//! From a component's bytes to an adapter that is known to keep the contract.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::Arc;

use jumpgate_catalogue::{Digest, InvalidId, PredicateId};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use crate::begun::Begun;
use crate::bindings::JumpgateAdapterPre;
use crate::cache::Cache;
use crate::contract;
use crate::engine::{Meter, Runtime};
use crate::evaluation::{self, AdapterFault};

/// A component that may run. Cheap to clone.
#[derive(Clone)]
pub struct Adapter {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) runtime: Runtime,
    pub(crate) functions: Functions,
    pub(crate) manifest: Manifest,
    pub(crate) begun: Begun,
    digest: Digest,
}

/// A component's functions, found once.
pub(crate) struct Functions {
    pub(crate) pre: InstancePre<Meter>,
    pub(crate) describe: ComponentExportIndex,
    pub(crate) begin: ComponentExportIndex,
    pub(crate) resume: ComponentExportIndex,
}

/// What an adapter says of itself, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The plugin's name.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// Predicates it answers.
    pub predicates: BTreeSet<PredicateId>,
    /// Logical names of the endpoints it fetches from.
    pub endpoints: BTreeSet<String>,
    /// The largest number of steps one question takes.
    pub steps_max: u32,
}

/// Why a component is refused.
#[derive(Debug, thiserror::Error)]
pub enum LoadFault {
    /// More bytes than a component may have.
    #[error("the component has {0} bytes; at most {COMPONENT_BYTES_MAX} are read")]
    TooLarge(usize),
    /// Not a component, or one that asks for features this engine leaves out.
    #[error("not a WebAssembly component this engine runs (a core module must be encoded first)")]
    NotAComponent(#[source] wasmtime::Error),
    /// The component imports something.
    #[error(
        "the component imports {} '{name}'{}; an adapter imports nothing (build for \
         wasm32-unknown-unknown, without WASI)",
        kind,
        more(*others)
    )]
    Imports {
        /// What sort of item the first import is.
        kind: &'static str,
        /// The first import's name.
        name: String,
        /// How many further imports there are.
        others: usize,
    },
    /// The component exports no adapter interface, or one of another version.
    #[error(
        "the component exports {found}; this gateway speaks jumpgate:adapter/adapter@{version}",
        version = crate::CONTRACT_VERSION
    )]
    Contract {
        /// What it exports instead.
        found: String,
    },
    /// The interface has the right name but a type differs.
    #[error(
        "the component's adapter@{version} differs from the contract",
        version = crate::CONTRACT_VERSION
    )]
    Types(#[source] wasmtime::Error),
    /// `describe` did not return.
    #[error("the component's describe() failed on trial: {0}")]
    Trial(AdapterFault),
    /// `describe` returned something outside the contract.
    #[error("the component's manifest: {field} {rule}")]
    Manifest {
        /// The manifest's field.
        field: &'static str,
        /// The rule it breaks.
        rule: String,
    },
}

fn more(others: usize) -> String {
    if others == 0 { String::new() } else { format!(" and {others} more") }
}

/// A Rust plugin has 50 kB; a scripted one 18 MB.
const COMPONENT_BYTES_MAX: usize = 32 << 20;
const INTERFACE: &str = "jumpgate:adapter/adapter@1.0.0";

impl Functions {
    fn find(pre: InstancePre<Meter>) -> Result<Self, LoadFault> {
        let component = pre.component();
        let missing = || LoadFault::Types(wasmtime::Error::msg("an exported function is missing"));
        let interface = component.get_export_index(None, INTERFACE).ok_or_else(missing)?;
        let find = |name| component.get_export_index(Some(&interface), name).ok_or_else(missing);
        let (describe, begin, resume) = (find("describe")?, find("begin")?, find("resume")?);
        Ok(Self { pre, describe, begin, resume })
    }
}

impl Adapter {
    /// Compiles (or takes from the cache) and checks a component, and runs it once on trial.
    ///
    /// # Errors
    /// The first rule the component breaks.
    pub fn load(runtime: &Runtime, cache: Option<&Cache>, bytes: &[u8]) -> Result<Self, LoadFault> {
        if bytes.len() > COMPONENT_BYTES_MAX {
            return Err(LoadFault::TooLarge(bytes.len()));
        }
        let digest = Digest::of(bytes);
        let component = compile(runtime, cache, bytes, digest)?;
        check_imports(runtime, &component)?;
        check_exports(runtime, &component)?;
        let pre = runtime.inner.linker.instantiate_pre(&component).map_err(LoadFault::Types)?;
        // The contract's types are checked here, all of them, before anything is run.
        let pre = JumpgateAdapterPre::new(pre).map_err(LoadFault::Types)?.instance_pre().clone();
        let functions = Functions::find(pre)?;
        let described = evaluation::describe(runtime, &functions).map_err(LoadFault::Trial)?;
        let manifest = Manifest::check(described, runtime.limits().steps_max)?;
        let runtime = runtime.clone();
        let begun = Begun::default();
        Ok(Self { inner: Arc::new(Inner { runtime, functions, manifest, begun, digest }) })
    }

    /// What the adapter says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// How many first steps are kept for questions that give the same.
    pub fn firsts_kept(&self) -> usize {
        self.inner.begun.count()
    }

    /// SHA-256 of the component's bytes.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }
}

fn compile(
    runtime: &Runtime,
    cache: Option<&Cache>,
    bytes: &[u8],
    digest: Digest,
) -> Result<Component, LoadFault> {
    let engine = &runtime.inner.engine;
    if let Some(kept) = cache.and_then(|cache| cache.load(engine, digest, runtime.digest())) {
        return Ok(kept);
    }
    let component = Component::new(engine, bytes).map_err(LoadFault::NotAComponent)?;
    if let Some(cache) = cache {
        // A cache that cannot be written only costs the next start a compilation.
        let _ = cache.store(digest, runtime.digest(), &component);
    }
    Ok(component)
}

fn check_imports(runtime: &Runtime, component: &Component) -> Result<(), LoadFault> {
    let component_type = component.component_type();
    let mut imports = component_type.imports(&runtime.inner.engine);
    match imports.next() {
        None => Ok(()),
        Some((name, item)) => Err(LoadFault::Imports {
            kind: kind_of(&item.ty),
            name: name.to_owned(),
            others: imports.count(),
        }),
    }
}

fn check_exports(runtime: &Runtime, component: &Component) -> Result<(), LoadFault> {
    let component_type = component.component_type();
    let names: Vec<String> =
        component_type.exports(&runtime.inner.engine).map(|(name, _)| name.to_owned()).collect();
    if names.iter().any(|name| name == INTERFACE) {
        return Ok(());
    }
    let found = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    Err(LoadFault::Contract { found })
}

fn kind_of(item: &ComponentItem) -> &'static str {
    match item {
        ComponentItem::ComponentFunc(_) => "function",
        ComponentItem::CoreFunc(_) => "core function",
        ComponentItem::Module(_) => "module",
        ComponentItem::Component(_) => "component",
        ComponentItem::ComponentInstance(_) => "interface",
        ComponentItem::Type(_) => "type",
        ComponentItem::Resource(_) => "resource",
    }
}

impl Manifest {
    fn check(described: contract::Manifest, steps_allowed_max: u32) -> Result<Self, LoadFault> {
        let fault = |field, rule: &str| LoadFault::Manifest { field, rule: rule.to_owned() };
        if !is_name(&described.name) {
            return Err(fault("name", "must be 1 to 64 of a-z, 0-9 and '-'"));
        }
        if described.version.is_empty() || described.version.len() > VERSION_BYTES_MAX {
            return Err(fault("version", "must have 1 to 32 bytes"));
        }
        if described.predicates.is_empty() || described.predicates.len() > PREDICATES_MAX {
            return Err(fault("predicates", "must name 1 to 64 predicates"));
        }
        if described.endpoints.len() > ENDPOINTS_MAX
            || !described.endpoints.iter().all(|endpoint| is_name(endpoint))
        {
            return Err(fault("endpoints", "must be at most 8 names of a-z, 0-9 and '-'"));
        }
        if described.steps_max == 0 || described.steps_max > steps_allowed_max {
            let rule = format!("must be 1 to {steps_allowed_max}");
            return Err(LoadFault::Manifest { field: "steps_max", rule });
        }
        let predicates: Result<_, InvalidId> =
            described.predicates.iter().map(|id| PredicateId::from_str(id)).collect();
        let predicates = predicates.map_err(|invalid| fault("predicates", &invalid.to_string()))?;
        Ok(Self {
            name: described.name,
            version: described.version,
            predicates,
            endpoints: described.endpoints.into_iter().collect(),
            steps_max: described.steps_max,
        })
    }
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// The contract's own bounds.
const VERSION_BYTES_MAX: usize = 32;
const PREDICATES_MAX: usize = 64;
const ENDPOINTS_MAX: usize = 8;
