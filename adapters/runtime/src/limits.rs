//! The limits of one step and of one component.

/// What one step may use. Every run reports used and limit side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Fuel for a step that reads nothing, in wasmtime's units; about 10 a nanosecond.
    pub fuel_base: u64,
    /// Fuel added for each byte of the replies a step is given. Reading SOAP with quick-xml burns
    /// about 107.
    pub fuel_per_reply_byte: u64,
    /// Largest linear memory, in bytes.
    pub memory_bytes_max: usize,
    /// Largest number of steps of one question, `begin` included.
    pub steps_max: u32,
    /// Largest state an adapter may hand to its next step, in bytes.
    pub state_bytes_max: usize,
    /// Largest sum of all literal pieces of one step's requests, in bytes.
    pub requests_bytes_max: usize,
    /// Largest number of requests made side by side.
    pub requests_max: usize,
}

/// A begin step of a Rust adapter burns 6,000 to 20,000; 2 million is 0.2 ms.
const FUEL_BASE: u64 = 2_000_000;
/// The worst legal XML measured, nothing but empty elements, burns 270; a SOAP reply 107.
const FUEL_PER_REPLY_BYTE: u64 = 300;
/// The kit's arena is 4 MiB; twice that leaves room for statics, stack and other kits.
const MEMORY_BYTES_MAX: usize = 8 << 20;
/// Three pages of contributions side by side need 3; 16 is the contract's own bound.
const STEPS_MAX: u32 = 16;
/// The contract's own bound.
const STATE_BYTES_MAX: usize = 4096;
/// A SOAP request is 1 to 2 kB; 64 KiB carries any form seen in practice.
const REQUESTS_BYTES_MAX: usize = 64 << 10;
/// The contract's own bound.
const REQUESTS_MAX: usize = 4;

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel_base: FUEL_BASE,
            fuel_per_reply_byte: FUEL_PER_REPLY_BYTE,
            memory_bytes_max: MEMORY_BYTES_MAX,
            steps_max: STEPS_MAX,
            state_bytes_max: STATE_BYTES_MAX,
            requests_bytes_max: REQUESTS_BYTES_MAX,
            requests_max: REQUESTS_MAX,
        }
    }
}

impl Limits {
    /// Fuel of a step that is given `reply_bytes` bytes.
    pub fn fuel_max(&self, reply_bytes: usize) -> u64 {
        self.fuel_base.saturating_add(self.fuel_per_reply_byte.saturating_mul(reply_bytes as u64))
    }
}
