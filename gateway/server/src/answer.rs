//! The path of one query.

use std::sync::Arc;

use crate::admitted::{Admitted, Refused};
use crate::caller::Caller;
use crate::gateway::Gateway;
use crate::record::{LogUnavailable, Logged};
use crate::replay::Claim;
use crate::wire::Asked;

/// Answers one question: resolve, claim its id, admit, log the ask, ask the department, log the
/// outcome. Each stage consumes what the last one made, and only a [`Logged`] can be spoken.
///
/// # Errors
/// The query log cannot be written: nothing is answered.
pub async fn answer(
    gateway: &Gateway,
    caller: Caller,
    asked: Asked,
) -> Result<Logged, LogUnavailable> {
    let (query, token) = match gateway.resolve(&caller, asked) {
        Ok(resolved) => resolved,
        Err(refusal) => return Ok(gateway.record.count(Some(&caller), refusal)),
    };
    let claimed = match gateway.claim(&caller, &query, token) {
        Ok(Claim::Fresh(claimed)) => claimed,
        Ok(Claim::Done(kept)) => return Ok(Logged::again(kept)),
        Err(refusal) => {
            return gateway.record.refuse(Refused { caller, query, refusal }, token.token).await;
        }
    };
    let deadline = gateway.deadline(&query);
    let admitted = match Admitted::by(&gateway.admission, caller, query, deadline).await {
        Ok(admitted) => admitted,
        Err(refused) => return gateway.record.refuse(*refused, token.token).await,
    };
    let asked = gateway.record.ask(admitted, token.token).await?;
    let outcome = gateway.ask_department(&asked).await;
    let logged = gateway.record.conclude(asked, outcome).await?;
    claimed.keep(logged.kept());
    Ok(logged)
}

/// Runs [`answer`] apart from the connection: a caller who hangs up cannot cut a query off between
/// the department and the query log.
///
/// # Errors
/// As `answer`; a panic inside it has its own closing entry and is reported as unavailable here.
pub async fn answer_detached(
    gateway: Arc<Gateway>,
    caller: Caller,
    asked: Asked,
) -> Result<Logged, LogUnavailable> {
    let running = gateway.drain.enter();
    let task = tokio::spawn(async move {
        let _running = running;
        answer(&gateway, caller, asked).await
    });
    task.await.unwrap_or(Err(LogUnavailable::Panicked))
}
