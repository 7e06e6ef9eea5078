//! Bodies of replies: whole, or piece by piece.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// A body.
pub(crate) enum Payload {
    Whole(Option<Bytes>),
    /// What a task sends; chunked on the wire if the length is not said.
    Pieces {
        pieces: mpsc::Receiver<Bytes>,
        left_bytes: Option<u64>,
    },
}

impl Payload {
    pub fn whole(body: Bytes) -> Self {
        Self::Whole(Some(body).filter(|body| !body.is_empty()))
    }

    /// Small pieces with pauses between.
    pub fn trickle(body: Bytes, pause: Duration) -> Self {
        let (sender, pieces) = mpsc::channel(1);
        let left_bytes = Some(body.len() as u64);
        tokio::spawn(async move {
            let mut rest = body;
            while !rest.is_empty() {
                let piece = rest.split_to(rest.len().min(TRICKLE_BYTES));
                if sender.send(piece).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
            }
        });
        Self::Pieces { pieces, left_bytes }
    }

    /// The body with white space at an offset.
    pub fn padded(body: Bytes, offset: usize, padding_bytes: u64, is_chunked: bool) -> Self {
        let (sender, pieces) = mpsc::channel(1);
        let left_bytes = (!is_chunked).then_some(body.len() as u64 + padding_bytes);
        tokio::spawn(async move {
            let mut end = body;
            let beginning = end.split_to(offset);
            let mut is_heard = sender.send(beginning).await.is_ok();
            let mut left_bytes = padding_bytes;
            while is_heard && left_bytes > 0 {
                let blank = Bytes::from_static(&BLANK);
                let piece = blank.slice(..left_bytes.min(BLANK.len() as u64) as usize);
                left_bytes -= piece.len() as u64;
                is_heard = sender.send(piece).await.is_ok();
            }
            if is_heard {
                // The last piece; nothing is left to stop if nobody takes it.
                let _ = sender.send(end).await;
            }
        });
        Self::Pieces { pieces, left_bytes }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Pieces { pieces, left_bytes } => pieces.poll_recv(context).map(|piece| {
                let piece = piece?;
                if let Some(left_bytes) = left_bytes {
                    *left_bytes = left_bytes.saturating_sub(piece.len() as u64);
                }
                Some(Ok(Frame::data(piece)))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_none(),
            Self::Pieces { left_bytes, .. } => *left_bytes == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            Self::Pieces { left_bytes: Some(bytes), .. } => SizeHint::with_exact(*bytes),
            Self::Pieces { left_bytes: None, .. } => SizeHint::default(),
        }
    }
}

/// A slow reply of 2.6 kB in about forty pieces.
const TRICKLE_BYTES: usize = 64;
/// One static block of white space, so that padding costs no memory.
static BLANK: [u8; 64 * 1024] = [b' '; 64 * 1024];
