//! How the gateway and its departments stand, for people at the admin socket. Nothing of a query.

use jiff::Timestamp;
use jumpgate_admission::{BreakerState, DepartmentReading};
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::live::Waiting;

/// `GET /status`.
pub(super) fn status(gateway: &Gateway, since: Timestamp, waiting: &[Waiting]) -> Value {
    let log = gateway.record.log().health();
    let trust = &gateway.trust;
    let not_after = Timestamp::from_second(trust.certificate_not_after_s()).ok();
    let waiting: Vec<Value> = (waiting.iter())
        .map(|it| json!({ "number": it.id, "until": it.until.to_string(), "changes": it.lines }))
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "since": since.to_string(),
        "now": gateway.now().to_string(),
        "draining": gateway.drain.is_draining(),
        "connections": gateway.telemetry.connections.get(),
        "queries_running": gateway.drain.running(),
        "in_force": {
            "reloads": gateway.edition,
            "configuration": gateway.config_digest.to_string(),
            "policy": gateway.digests.policy.to_string(),
            "rules": gateway.admission.policy().rules(),
            "rules_of_departments": gateway.admission.policy().serials(),
            "catalogue": gateway.digests.catalogue.to_string(),
            "engine": gateway.digests.engine.to_string(),
            "trust_anchors": trust.anchors().to_string(),
            "revocation_lists": trust.revocation_lists().to_string(),
            "certificate": trust.certificate().to_string(),
            "certificate_expires": not_after.map(|time| time.to_string()),
        },
        "query_log": {
            "state": log.state(),
            "entries": log.entries,
            "published": log.published_entries,
            "segments": log.segments,
            "free_bytes": log.free_bytes,
        },
        "waiting_for_a_second_person": waiting,
    })
}

/// `GET /departments`.
pub(super) fn departments(gateway: &Gateway) -> Value {
    let readings = gateway.admission.departments();
    Value::Array(readings.iter().map(|reading| department(gateway, reading)).collect())
}

fn department(gateway: &Gateway, reading: &DepartmentReading) -> Value {
    let adapter = gateway.adapter(&reading.department);
    let state = match (reading.killed, reading.maintenance.is_some(), reading.breaker.state) {
        (true, ..) => "switched off",
        (false, true, _) => "maintenance",
        (false, false, BreakerState::Open) => "resting",
        (false, false, BreakerState::HalfOpen) => "probed",
        (false, false, BreakerState::Closed) if reading.limit < reading.concurrency_max => {
            "recovering"
        }
        (false, false, BreakerState::Closed) => "on",
    };
    let counts = &reading.counts;
    json!({
        "department": reading.department.as_str(),
        "state": if adapter.is_some() { state } else { "not configured" },
        "adapter": adapter.map(|adapter| {
            let manifest = adapter.manifest();
            json!({
                "name": manifest.name,
                "version": manifest.version,
                "digest": adapter.digest().to_string(),
            })
        }),
        "message": reading.notice.as_ref().map(|it| json!({ "en": it.en, "zh": it.zh })),
        "maintenance_s": reading.maintenance.map(|it| it.as_secs()),
        "in_flight": reading.in_flight,
        "limit": reading.limit,
        "concurrency_max": reading.concurrency_max,
        "typical_ms": reading.typical.map(|it| it.as_millis() as u64),
        "waiting": reading.waiting,
        "breaker": {
            "state": reading.breaker.state.as_str(),
            "trips": reading.breaker.trips,
            "last_trip": reading.breaker.last_trip.map(|reason| reason.as_str()),
        },
        "since_the_start": {
            "admitted": counts.admitted,
            "answered": counts.ok,
            "failed": counts.failed,
            "neutral": counts.neutral,
            "refused": {
                "policy": counts.not_granted,
                "quota": counts.quota,
                "subject": counts.subject,
                "switched_off": counts.killed,
                "maintenance": counts.maintenance,
                "resting": counts.resting,
                "busy": counts.busy,
            },
        },
    })
}
