//! The published tree, for callers who may mirror the log.
//!
//! Owns the paths under `/v1/log/` and how long a cache may keep what they give: C2SP tlog-tiles,
//! to be read with any client of it. The files are the query log's own.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use jumpgate_catalogue::{Refusal, RefusalCode};
use jumpgate_querylog::Published;

use crate::caller::Caller;
use crate::gateway::Gateway;
use crate::record::LogUnavailable;
use crate::resource::Unread;
use crate::respond::Reply;

/// Where a tlog-tiles client finds the log.
pub const PREFIX: &str = "/v1/log/";

/// `GET /v1/log/checkpoint` and `GET /v1/log/tile/…`.
///
/// # Errors
/// `NotFound`, alike for a file that is not there and a caller who may not mirror; the file cannot
/// be read.
pub async fn read(gateway: &Gateway, caller: &Caller, path: &str) -> Result<Reply, Unread> {
    let none = |mend| Refusal::new(RefusalCode::NotFound, mend);
    if !caller.rights().may_mirror {
        let mend = "only a caller whose configuration says may_mirror may read the log";
        return Err(none(mend).into());
    }
    let (log, path) = (gateway.record.log().clone(), path.to_owned());
    let found = tokio::task::spawn_blocking(move || log.published_file(&path)).await;
    let found = found.map_err(|_| Unread::Unavailable(LogUnavailable::Panicked))?;
    let found = found.map_err(|fault| Unread::fault(&fault))?;
    let (published, bytes) = found.ok_or_else(|| {
        none(
            "ask for checkpoint, or for a tile of the tree that it is signed for; a partial tile \
              may be gone once the full one is there",
        )
    })?;
    let (content_type, cache) = match published {
        Published::Checkpoint => ("text/plain; charset=utf-8", "private, no-cache"),
        Published::Tile => ("application/octet-stream", "private, max-age=31536000, immutable"),
    };
    let mut reply = Response::new(bytes);
    *reply.status_mut() = StatusCode::OK;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(reply)
}
