//! Counters and times for the operator, in Prometheus' text format. Labels come from closed sets
//! and from configuration; none holds a subject, a case or a value of a record.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jumpgate_admission::{BreakerState, DepartmentReading};
use jumpgate_catalogue::{DepartmentId, Fault, RefusalCode, Verdict};
use jumpgate_querylog::{Health, Metrics};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::release::Alarm;

/// The process's metrics.
pub struct Telemetry {
    registry: Registry,
    queries: Family<Outcome, Counter>,
    refusals: Family<Code, Counter>,
    department_seconds: Family<Department, Histogram, fn() -> Histogram>,
    /// Connections open now.
    pub connections: Gauge,
    /// TLS handshakes that ended without a caller.
    pub handshakes_failed: Counter,
    /// Times that all callers together asked about one subject as often as raises an alarm.
    pub subject_alarms: Counter,
    disclosure_alarms: Family<DisclosureAlarm, Counter>,
    subject_counts: Gauge,
    department_gauges: Family<DepartmentGauge, Gauge>,
    log_gauges: Family<LogGauge, Gauge>,
    log_commit_seconds: Gauge<f64, AtomicU64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    department: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Department {
    department: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DepartmentGauge {
    department: String,
    reading: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DisclosureAlarm {
    alarm: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LogGauge {
    reading: &'static str,
}

fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// 0 before the first answer.
fn millis(time: Option<Duration>) -> i64 {
    time.and_then(|time| i64::try_from(time.as_millis()).ok()).unwrap_or(0)
}

/// From a department on the same machine to the longest default deadline.
const SECONDS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0];

impl Default for Telemetry {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("jumpgate");
        let queries = Family::default();
        registry.register("queries", "Queries concluded, by verdict or fault", queries.clone());
        let refusals = Family::default();
        registry.register("refusals", "Questions refused, by code", refusals.clone());
        let department_seconds =
            Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        let help = "Time from the durable ask to the department's outcome";
        registry.register("department_seconds", help, department_seconds.clone());
        let connections = Gauge::default();
        registry.register("connections", "Connections open", connections.clone());
        let handshakes_failed = Counter::default();
        let help = "TLS handshakes that ended without a caller";
        registry.register("handshakes_failed", help, handshakes_failed.clone());
        let subject_alarms = Counter::default();
        let help = "Times that questions about one subject reached subject_alarm_per_day";
        registry.register("subject_alarms", help, subject_alarms.clone());
        let disclosure_alarms = Family::default();
        let help = "Findings that contradict earlier answers, and callers that have used up their \
                    cuts about a person";
        registry.register("disclosure_alarms", help, disclosure_alarms.clone());
        let subject_counts = Gauge::default();
        let help = "Counts of callers about subjects that are held, in whole thousands";
        registry.register("subject_counts", help, subject_counts.clone());
        let department_gauges = Family::default();
        let help = "Bulkhead, breaker and switch of each department";
        registry.register("department", help, department_gauges.clone());
        let log_gauges = Family::default();
        registry.register("log", "State of the query log", log_gauges.clone());
        let log_commit_seconds = Gauge::default();
        let help = "Time spent in writes and syncs of the query log";
        registry.register("log_commit_seconds_sum", help, log_commit_seconds.clone());
        Self {
            registry,
            queries,
            refusals,
            department_seconds,
            connections,
            handshakes_failed,
            subject_alarms,
            disclosure_alarms,
            subject_counts,
            department_gauges,
            log_gauges,
            log_commit_seconds,
        }
    }
}

impl Telemetry {
    /// Counts an alarm of the auditor.
    pub(crate) fn disclosure_alarm(&self, alarm: Alarm) {
        let label = DisclosureAlarm { alarm: alarm.as_str() };
        self.disclosure_alarms.get_or_create(&label).inc();
    }

    /// Counts a concluded query.
    pub fn concluded(&self, department: &DepartmentId, said: Result<Verdict, Fault>) {
        let outcome = match said {
            Ok(verdict) => verdict.as_str(),
            Err(fault) => fault.code.code(),
        };
        let label = Outcome { department: department.to_string(), outcome };
        self.queries.get_or_create(&label).inc();
    }

    /// Counts a refusal.
    pub fn refused(&self, code: RefusalCode) {
        self.refusals.get_or_create(&Code { code: code.code() }).inc();
    }

    /// Notes how long a department took.
    pub fn department_took(&self, department: &DepartmentId, took: Duration) {
        let label = Department { department: department.to_string() };
        self.department_seconds.get_or_create(&label).observe(took.as_secs_f64());
    }

    /// Everything, in Prometheus' text format.
    pub fn render(
        &self,
        departments: &[DepartmentReading],
        subject_counts: u64,
        health: &Health,
        log: &Metrics,
    ) -> String {
        departments.iter().for_each(|reading| self.read_department(reading));
        // To the last one, the figure would tell whether somebody else had asked about a subject.
        self.subject_counts.set(count(subject_counts / 1000 * 1000));
        let readings = [
            ("entries", health.entries),
            ("durable_entries", health.durable_entries),
            ("published_entries", health.published_entries),
            ("lag_entries", health.durable_entries.saturating_sub(health.published_entries)),
            ("segments", health.segments),
            ("free_bytes", health.free_bytes),
            ("has_ballast", u64::from(health.has_ballast)),
            ("waiting", u64::from(health.waiting_for.is_some())),
            ("queue_entries", health.queue_entries as u64),
            ("handles", health.handles as u64),
            ("stopped", u64::from(health.poisoned.is_some())),
            ("batches", log.batches),
            ("bytes", log.bytes),
            ("batch_entries_max", log.batch_entries_max),
        ];
        for (reading, value) in readings {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            self.log_gauges.get_or_create(&LogGauge { reading }).set(value);
        }
        self.log_commit_seconds.set(log.commit_time_sum.as_secs_f64());
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn read_department(&self, reading: &DepartmentReading) {
        let breaker = match reading.breaker.state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        let readings = [
            ("in_flight", i64::from(reading.in_flight)),
            ("waiting", i64::from(reading.waiting)),
            ("concurrency_max", i64::from(reading.concurrency_max)),
            ("limit", i64::from(reading.limit)),
            ("typical_ms", millis(reading.typical)),
            ("switched_off", i64::from(reading.killed)),
            ("maintenance", i64::from(reading.maintenance.is_some())),
            ("breaker", breaker),
            ("trips", count(reading.breaker.trips)),
            ("admitted", count(reading.counts.admitted)),
            ("answered", count(reading.counts.ok)),
            ("failed", count(reading.counts.failed)),
            ("refused_policy", count(reading.counts.not_granted)),
            ("refused_quota", count(reading.counts.quota)),
            ("refused_subject", count(reading.counts.subject)),
            ("refused_switched_off", count(reading.counts.killed)),
            ("refused_maintenance", count(reading.counts.maintenance)),
            ("refused_resting", count(reading.counts.resting)),
            ("refused_busy", count(reading.counts.busy)),
        ];
        for (name, value) in readings {
            let department = reading.department.to_string();
            let label = DepartmentGauge { department, reading: name };
            self.department_gauges.get_or_create(&label).set(value);
        }
    }
}
