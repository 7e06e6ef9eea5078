//! One question's way through an adapter: `begin`, then `resume` until there is a finding. Every
//! step that runs does so in a fresh instance, which is dropped before the next begins.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jumpgate_catalogue::{FaultCode, Finding, Reason};
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lift, Lower};
use wasmtime::{Store, Trap, WasmBacktrace};
use zeroize::Zeroizing;

use crate::begun::First;
use crate::contract;
use crate::engine::{Meter, Runtime};
use crate::load::{Adapter, Functions};

/// What the adapter is told of a question: never who asks, and the subject only where the
/// configuration allows.
pub type Given = contract::Query;

/// What a step asks for or found.
pub enum Step {
    /// Requests to make side by side.
    Fetch(Arc<[contract::FetchItem]>),
    /// The end.
    Finding(Finding),
}

/// What a step used, beside its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Fuel burnt and its limit.
    pub fuel: (u64, u64),
    /// Largest linear memory in bytes and its limit.
    pub memory_bytes: (usize, usize),
    /// Bytes of the requests' literal pieces and their limit.
    pub requests_bytes: (usize, usize),
    /// Bytes of the state and their limit.
    pub state_bytes: (usize, usize),
    /// Wall time; making the instance and wiping it are included.
    pub elapsed: Duration,
}

/// Where in which reply an adapter gave up. Only author tools show it: its text is the adapter's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Index into the replies of the step.
    pub reply: u32,
    /// Byte offset in the reply's body.
    pub offset: Option<u64>,
    /// JSON pointer or element path.
    pub path: Option<String>,
}

/// Why a step ended without a request or a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterFault {
    /// The closed code.
    pub code: FaultCode,
    /// The function it trapped in, from the component's own name section.
    pub function: Option<String>,
    /// Position the adapter gave with its failure.
    pub position: Option<Position>,
}

impl std::fmt::Display for AdapterFault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.code.code())?;
        match &self.function {
            Some(function) => write!(formatter, " in {function}"),
            None => Ok(()),
        }
    }
}

/// One question on its way through one adapter. Dropping it wipes the adapter's state.
pub struct Evaluation {
    adapter: Adapter,
    given: Given,
    /// True if the first step may be one that was kept.
    keeps_first: bool,
    state: Zeroizing<Vec<u8>>,
    steps: u32,
    usage: Option<Usage>,
}

impl Adapter {
    /// Starts a question.
    pub fn evaluate(&self, given: Given) -> Evaluation {
        let adapter = self.clone();
        let (keeps_first, state) = (false, Zeroizing::default());
        Evaluation { adapter, given, keeps_first, state, steps: 0, usage: None }
    }
}

impl Evaluation {
    /// Lets the first step be taken from an earlier question that gave the same, and be kept for
    /// later ones. What is given must then hold nothing about a person, no name to compare and no
    /// date of his; a question that is given the subject itself has no such leave.
    #[must_use]
    pub fn keeping_first(mut self) -> Self {
        self.keeps_first = self.given.subject.is_none();
        self
    }

    /// Runs the next step: `begin` first, unless what it asks for is kept, then `resume` with the
    /// replies to the last requests, in their order. Blocks the thread for as long as the step's
    /// fuel lasts, about 0.1 ms a million.
    ///
    /// # Errors
    /// The adapter trapped, met a limit, broke the contract or gave up.
    pub fn step(&mut self, replies: &[contract::Reply]) -> Result<Step, AdapterFault> {
        let started = Instant::now();
        let inner = &self.adapter.inner;
        let limits = inner.runtime.limits();
        if self.steps >= inner.manifest.steps_max {
            return Err(AdapterFault::of(FaultCode::AdapterSteps));
        }
        self.steps += 1;
        if self.steps == 1
            && self.keeps_first
            && let Some(first) = inner.begun.get(&self.given)
        {
            self.state = Zeroizing::new(first.state.clone());
            return Ok(Step::Fetch(Arc::clone(&first.requests)));
        }
        let fuel_max = limits.fuel_max(reply_bytes(replies));
        let mut store = store(&inner.runtime, fuel_max)?;
        let functions = &inner.functions;
        let called = if self.steps == 1 {
            call(&mut store, functions, &functions.begin, (&self.given,))
        } else {
            call(&mut store, functions, &functions.resume, (&self.given, &self.state[..], replies))
        };
        let fuel = fuel_max - store.get_fuel().unwrap_or(0);
        let memory_bytes = store.data().memory_bytes;
        drop(store);
        let mut usage = Usage {
            fuel: (fuel, fuel_max),
            memory_bytes: (memory_bytes, limits.memory_bytes_max),
            requests_bytes: (0, limits.requests_bytes_max),
            state_bytes: (0, limits.state_bytes_max),
            elapsed: started.elapsed(),
        };
        if let Ok(Ok(contract::Step::Fetch(fetch))) = &called {
            usage.requests_bytes.0 = requests_bytes(&fetch.requests);
            usage.state_bytes.0 = fetch.state.len();
        }
        self.usage = Some(usage);
        match called?.map_err(AdapterFault::given_up)? {
            contract::Step::Finding(finding) => Ok(Step::Finding(finding_of(finding))),
            contract::Step::Fetch(fetch) => self.accept(fetch, usage),
        }
    }

    /// Steps run so far.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// What the last step that ran used, whether it succeeded or not; none before that.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Fuel limit of a next step that is given `replies`.
    pub fn fuel_max(&self, replies: &[contract::Reply]) -> u64 {
        self.adapter.inner.runtime.limits().fuel_max(reply_bytes(replies))
    }

    fn accept(&mut self, fetch: contract::Fetch, usage: Usage) -> Result<Step, AdapterFault> {
        self.state = Zeroizing::new(fetch.state);
        let limits = self.adapter.inner.runtime.limits();
        let within = usage.requests_bytes.0 <= usage.requests_bytes.1
            && usage.state_bytes.0 <= usage.state_bytes.1
            && (1..=limits.requests_max).contains(&fetch.requests.len());
        if !within {
            return Err(AdapterFault::of(FaultCode::AdapterOutputTooLarge));
        }
        let requests: Arc<[_]> = fetch.requests.into();
        if self.steps == 1 && self.keeps_first {
            let first = First { requests: Arc::clone(&requests), state: self.state.to_vec() };
            self.adapter.inner.begun.keep(&self.given, first);
        }
        Ok(Step::Fetch(requests))
    }
}

impl AdapterFault {
    fn of(code: FaultCode) -> Self {
        Self { code, function: None, position: None }
    }

    fn given_up(failure: contract::Failure) -> Self {
        let (offset, path) = match failure.position {
            contract::Position::None => (None, None),
            contract::Position::Offset(offset) => (Some(offset), None),
            contract::Position::Path(path) => (None, Some(path)),
        };
        let position = Some(Position { reply: failure.reply, offset, path });
        Self { code: fault_code(failure.code), function: None, position }
    }
}

/// Runs `describe` in an instance of its own.
pub(crate) fn describe(
    runtime: &Runtime,
    functions: &Functions,
) -> Result<contract::Manifest, AdapterFault> {
    let mut store = store(runtime, runtime.limits().fuel_base)?;
    call(&mut store, functions, &functions.describe, ())
}

fn store(runtime: &Runtime, fuel_max: u64) -> Result<Store<Meter>, AdapterFault> {
    let meter = Meter {
        memory_bytes: 0,
        memory_bytes_max: runtime.limits().memory_bytes_max,
        memory_refused: false,
    };
    let mut store = Store::new(&runtime.inner.engine, meter);
    store.limiter(|meter| meter);
    // Fuel is switched on in the engine's configuration, so this cannot fail; if it could, no step
    // would run without its limit.
    store.set_fuel(fuel_max).map_err(|_| AdapterFault::of(FaultCode::GatewayInternal))?;
    Ok(store)
}

/// Makes the store's instance and calls one of its functions. Only this one is looked up and its
/// types compared; the generated bindings would do it for all three.
fn call<Given, Returned>(
    store: &mut Store<Meter>,
    functions: &Functions,
    function: &ComponentExportIndex,
    given: Given,
) -> Result<Returned, AdapterFault>
where
    Given: ComponentNamedList + Lower,
    Returned: Send + Sync + 'static,
    (Returned,): ComponentNamedList + Lift,
{
    let called = functions.pre.instantiate(&mut *store).and_then(|instance| {
        let function = instance.get_typed_func::<Given, (Returned,)>(&mut *store, function)?;
        function.call(&mut *store, given)
    });
    match called {
        Ok((returned,)) => Ok(returned),
        // The pool has a slot for each step that can run at once; without one the fault is ours.
        Err(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => {
            Err(AdapterFault::of(FaultCode::GatewayInternal))
        }
        Err(error) => Err(trapped(store, &error)),
    }
}

fn trapped(store: &Store<Meter>, error: &wasmtime::Error) -> AdapterFault {
    let code = if store.data().memory_refused {
        FaultCode::AdapterMemory
    } else if error.downcast_ref::<Trap>() == Some(&Trap::OutOfFuel) {
        FaultCode::AdapterFuel
    } else {
        FaultCode::AdapterTrapped
    };
    let function = error.downcast_ref::<WasmBacktrace>().and_then(blamed_function);
    AdapterFault { code, function, position: None }
}

/// The innermost function that is the author's own: panic and allocation machinery is left out.
fn blamed_function(backtrace: &WasmBacktrace) -> Option<String> {
    const MACHINERY: [&str; 8] =
        ["core::", "std::", "alloc::", "__rust", "rust_", "_<", "<alloc", "<core"];
    let mut names = backtrace.frames().iter().filter_map(|frame| {
        frame.func_name().map(|name| format!("{:#}", rustc_demangle::demangle(name)))
    });
    let first = names.next()?;
    let is_machinery = |name: &str| MACHINERY.iter().any(|prefix| name.starts_with(prefix));
    if !is_machinery(&first) {
        return Some(first);
    }
    names.find(|name| !is_machinery(name)).or(Some(first))
}

fn reply_bytes(replies: &[contract::Reply]) -> usize {
    replies
        .iter()
        .map(|reply| match reply {
            contract::Reply::Http(http) => http.body.len() + http.content_type.len(),
            contract::Reply::Sql(sql) => sql.rows.iter().flatten().map(sql_value_bytes).sum(),
        })
        .sum()
}

fn sql_value_bytes(value: &contract::SqlValue) -> usize {
    match value {
        contract::SqlValue::Null => 1,
        contract::SqlValue::Integer(_) | contract::SqlValue::Date(_) => 8,
        contract::SqlValue::Text(text) => text.len(),
    }
}

fn requests_bytes(items: &[contract::FetchItem]) -> usize {
    items
        .iter()
        .map(|item| match &item.request {
            contract::Request::Http(http) => {
                let headers = http.headers.iter();
                chunks_bytes(&http.path)
                    + chunks_bytes(&http.body)
                    + headers.map(|h| h.name.len() + chunks_bytes(&h.value)).sum::<usize>()
            }
            contract::Request::Sql(sql) => {
                let texts = sql.parameters.iter().map(|parameter| match parameter {
                    contract::SqlParameter::Text(text) => text.len(),
                    contract::SqlParameter::Integer(_)
                    | contract::SqlParameter::Date(_)
                    | contract::SqlParameter::Subject => 8,
                });
                sql.statement.len() + texts.sum::<usize>()
            }
        })
        .sum()
}

fn chunks_bytes(chunks: &[contract::Chunk]) -> usize {
    chunks
        .iter()
        .map(|chunk| match chunk {
            contract::Chunk::Literal(bytes) => bytes.len(),
            contract::Chunk::Subject(_) => 0,
        })
        .sum()
}

fn finding_of(finding: contract::Finding) -> Finding {
    match finding {
        contract::Finding::Yes => Finding::Yes,
        contract::Finding::No => Finding::No,
        contract::Finding::Absent => Finding::Absent,
        contract::Finding::Undetermined(reason) => Finding::Undetermined(match reason {
            contract::Reason::MissingField => Reason::MissingField,
            contract::Reason::UnusableField => Reason::UnusableField,
            contract::Reason::SeveralRecords => Reason::SeveralRecords,
            contract::Reason::ConflictingFields => Reason::ConflictingFields,
            contract::Reason::RecordSuspended => Reason::RecordSuspended,
        }),
    }
}

fn fault_code(code: contract::FailureCode) -> FaultCode {
    match code {
        contract::FailureCode::DepartmentError => FaultCode::DepartmentError,
        contract::FailureCode::DepartmentDenied => FaultCode::DepartmentDenied,
        contract::FailureCode::UnexpectedStatus => FaultCode::DepartmentStatus,
        contract::FailureCode::MalformedReply => FaultCode::ReplyMalformed,
        contract::FailureCode::UnexpectedReply => FaultCode::ReplyUnexpected,
        contract::FailureCode::ReplyTooLarge => FaultCode::ReplyTooLarge,
        contract::FailureCode::UnsupportedQuery => FaultCode::AdapterUnsupported,
    }
}
