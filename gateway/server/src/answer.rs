//! The path of one query.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use tokio::runtime::Handle;

use crate::admitted::{Admitted, Posed, Refused};
use crate::caller::Caller;
use crate::gateway::Gateway;
use crate::record::{LogUnavailable, Logged};
use crate::replay::Claim;
use crate::wire::Asked;

/// Answers one question: resolve, claim its id, count it, admit, log the ask, ask the department,
/// log the outcome. Each stage consumes what the last one made, and only a [`Logged`] can be
/// spoken.
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
        Ok(Claim::Done(kept)) => return gateway.record.again(&kept),
        Ok(Claim::Fresh(claimed)) => Ok(claimed),
        Err(refusal) => Err(refusal),
    };
    let posed = match Posed::by(gateway, &caller, query, token)? {
        Ok(posed) => posed,
        Err(why) => return Ok(gateway.record.count(Some(&caller), why.refusal).with(why.reading)),
    };
    let claimed = match claimed {
        Ok(claimed) => claimed,
        Err(refusal) => return gateway.record.refuse(Refused::early(posed, refusal)).await,
    };
    let deadline = gateway.deadline(&posed.query);
    let admitted = match Admitted::by(&gateway.admission, posed, deadline).await {
        Ok(admitted) => admitted,
        Err(refused) => return gateway.record.refuse(*refused).await,
    };
    let mut asked = gateway.record.ask(admitted).await?;
    let outcome = gateway.ask_department(&mut asked).await;
    let logged = gateway.record.conclude(asked, outcome).await?;
    claimed.keep(logged.kept());
    Ok(logged)
}

/// Runs [`answer`] to its end even where nobody waits for it any more: a caller who hangs up cannot
/// cut a query off between the department and the query log.
///
/// # Errors
/// As `answer`; a panic inside it has its own closing entry and is reported as unavailable here.
pub async fn answer_to_the_end(
    gateway: Arc<Gateway>,
    caller: Caller,
    asked: Asked,
) -> Result<Logged, LogUnavailable> {
    let running = gateway.drain.enter();
    let answering = async move {
        let (_running, rights) = (running, caller.rights());
        let logged = answer(&gateway, caller, asked).await?;
        if rights.proof_inline { gateway.record.prove(logged).await } else { Ok(logged) }
    };
    // What a panic leaves behind is dropped; everything shared is behind locks that outlive one.
    let answered = ToTheEnd::new(AssertUnwindSafe(answering).catch_unwind()).await;
    answered.unwrap_or(Err(LogUnavailable::Panicked))
}

/// A future that runs where it is awaited, and goes on as a task of its own if it is dropped before
/// its end. A task from the start would cost two wake-ups a query for the few that are cut off.
struct ToTheEnd<F: Future<Output: Send> + Send + 'static> {
    rest: Option<Pin<Box<F>>>,
}

impl<F: Future<Output: Send> + Send + 'static> ToTheEnd<F> {
    fn new(whole: F) -> Self {
        Self { rest: Some(Box::pin(whole)) }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for ToTheEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // As every future may, this one panics if it is polled after its end.
        let rest = self.rest.as_mut().expect("polled after its end");
        let polled = rest.as_mut().poll(context);
        if polled.is_ready() {
            self.rest = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for ToTheEnd<F> {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and recovery closes the question.
        if let (Some(rest), Ok(runtime)) = (self.rest.take(), Handle::try_current()) {
            runtime.spawn(rest);
        }
    }
}
