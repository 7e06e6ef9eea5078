//! The one engine of a process and its pool of instance slots.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use jumpgate_catalogue::Digest;
use ring::digest::{Context, SHA256};
use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, ResourceLimiter,
};

use crate::limits::Limits;

/// The engine cannot be made on this machine.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox engine cannot be set up")]
pub struct RuntimeFault(#[source] wasmtime::Error);

/// The process's engine. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    /// Empty for ever: an adapter imports nothing.
    pub(crate) linker: Linker<Meter>,
    pub(crate) limits: Limits,
    digest: Digest,
}

/// Per-step account of memory, and the gate that refuses growth.
pub(crate) struct Meter {
    pub(crate) memory_bytes: usize,
    pub(crate) memory_bytes_max: usize,
    pub(crate) memory_refused: bool,
}

impl Runtime {
    /// Makes the engine with room for `slots` steps at the same moment.
    ///
    /// # Errors
    /// The machine cannot reserve the address space: about 4 GiB a slot, never touched.
    pub fn new(limits: Limits, slots: u32) -> Result<Self, RuntimeFault> {
        let engine = Engine::new(&config(&limits, slots)).map_err(RuntimeFault)?;
        let linker = Linker::new(&engine);
        let digest = engine_digest(&engine, &limits);
        Ok(Self { inner: Arc::new(Inner { engine, linker, limits, digest }) })
    }

    /// Digest of everything that can change what a step computes or when it is stopped: wasmtime's
    /// version and settings, and the limits. Bound into every entry of the query log.
    pub fn digest(&self) -> Digest {
        self.inner.digest
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }
}

fn config(limits: &Limits, slots: u32) -> Config {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(slots);
    pool.total_core_instances(slots * CORE_INSTANCES_PER_COMPONENT);
    pool.total_memories(slots);
    pool.total_tables(slots * CORE_INSTANCES_PER_COMPONENT);
    pool.max_memories_per_component(1);
    pool.max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT);
    pool.max_memory_size(limits.memory_bytes_max);
    // With a resident size at least the guest's memory and a kernel that lists dirty pages, the
    // reset of a slot is one ioctl and a memset of the pages the step wrote.
    pool.linear_memory_keep_resident(limits.memory_bytes_max);
    pool.table_keep_resident(TABLE_BYTES_RESIDENT);
    pool.pagemap_scan(Enabled::Auto);

    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config.wasm_component_model(true);
    config.concurrency_support(false);
    config.consume_fuel(true);
    config.max_wasm_stack(STACK_BYTES_MAX);
    // Same input, same verdict: no NaN bit and no relaxed result may differ between machines.
    config.cranelift_nan_canonicalization(true);
    config.wasm_relaxed_simd(false);
    config
}

fn engine_digest(engine: &Engine, limits: &Limits) -> Digest {
    let mut hasher = Sha256Hasher(Context::new(&SHA256));
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.write(format!("{limits:?} stack={STACK_BYTES_MAX}").as_bytes());
    let mut digest = [0; 32];
    digest.copy_from_slice(hasher.0.finish().as_ref());
    Digest(digest)
}

/// Feeds a `Hash` value's bytes to SHA-256.
struct Sha256Hasher(Context);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > self.memory_bytes_max {
            self.memory_refused = true;
            return Err(wasmtime::Error::msg("the memory limit is reached"));
        }
        self.memory_bytes = desired;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}

/// A component made from one core module holds up to three small shims beside it.
const CORE_INSTANCES_PER_COMPONENT: u32 = 4;
/// wasmtime's own default; deep recursion traps long before the host's stack is touched.
const STACK_BYTES_MAX: usize = 512 << 10;
/// A table of a plugin holds some hundred function references of 8 bytes.
const TABLE_BYTES_RESIDENT: usize = 16 << 10;
/// The pool's own default.
const TABLE_ELEMENTS_MAX: usize = 20_000;
