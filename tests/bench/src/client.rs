//! A connection that asks: HTTP/1.1 with keep-alive, over TLS or in clear, one request at a time.
//!
//! It shares the cores with what it measures, so it reads no more of a reply than its status, its
//! length and its body. Whole replies with a content length only; anything else is a fault.

use std::io;
use std::net::SocketAddr;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where to connect, and how.
#[derive(Clone)]
pub struct Door {
    /// The address.
    pub address: SocketAddr,
    /// The client's side of mutual TLS; none in clear.
    pub tls: Option<TlsConnector>,
}

/// An open connection.
pub struct Client {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
}

/// No reply.
#[derive(Debug, thiserror::Error)]
pub enum ClientFault {
    /// The connection cannot be opened or broke.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// Neither a content length nor a status that has none.
    #[error("the reply is not HTTP/1.1 with a content length")]
    NotPlain,
    /// Larger than any reply here.
    #[error("the reply has more than {REPLY_BYTES_MAX} bytes")]
    TooLarge,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Door {
    /// In clear.
    pub fn clear(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// TCP or the handshake fails.
    pub async fn open(&self) -> Result<Client, ClientFault> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Client::over(stream),
            Some(tls) => {
                let name = ServerName::IpAddress(self.address.ip().into());
                Client::over(tls.connect(name, stream).await?)
            }
        })
    }
}

impl Client {
    fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new() }
    }

    /// Sends a whole request and waits for the whole reply.
    ///
    /// # Errors
    /// [`ClientFault`]; the connection is then of no more use.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Reply<'_>, ClientFault> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            if let Some(found) = frame(&self.buffer)? {
                let body = &self.buffer[found.body_at..found.ends_at];
                return Ok(Reply { status: found.status, body });
            }
        }
    }
}

/// Where the parts of a whole reply stand.
struct Frame {
    status: u16,
    body_at: usize,
    ends_at: usize,
}

/// None while the reply is not whole.
fn frame(bytes: &[u8]) -> Result<Option<Frame>, ClientFault> {
    if bytes.len() > REPLY_BYTES_MAX {
        return Err(ClientFault::TooLarge);
    }
    let Some(head_ends) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..head_ends]).map_err(|_| ClientFault::NotPlain)?;
    let mut lines = head.split("\r\n");
    let status: u16 = (lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")))
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or(ClientFault::NotPlain)?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    let length = if status == NO_CONTENT { Some(0) } else { length };
    let length = length.ok_or(ClientFault::NotPlain)?;
    let body_at = head_ends + 4;
    let ends_at = body_at.checked_add(length).ok_or(ClientFault::TooLarge)?;
    Ok((bytes.len() >= ends_at).then_some(Frame { status, body_at, ends_at }))
}

const NO_CONTENT: u16 = 204;
/// The largest reply here is a record of 3 kB.
const REPLY_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// What the client makes of `reply`, sent in pieces of `piece` bytes.
    async fn check(reply: &'static [u8], piece: usize) -> Result<(u16, Vec<u8>), ClientFault> {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let server = tokio::spawn(async move {
            let mut asked = [0; 3];
            theirs.read_exact(&mut asked).await.unwrap();
            assert_eq!(&asked, b"ask");
            for part in reply.chunks(piece) {
                theirs.write_all(part).await.unwrap();
            }
        });
        let mut client = Client::over(ours);
        let said = client.exchange(b"ask").await;
        let said = said.map(|reply| (reply.status, reply.body.to_vec()));
        if said.is_ok() {
            server.await.unwrap();
        }
        said
    }

    #[tokio::test]
    async fn a_reply_is_whole_in_whatever_pieces_it_comes() {
        let reply = b"HTTP/1.1 504 Slow\r\na: b\r\nCONTENT-length: 5\r\n\r\nhello";
        for piece in [1, 2, 7, reply.len()] {
            assert_eq!(check(reply, piece).await.unwrap(), (504, b"hello".to_vec()));
        }
    }

    #[tokio::test]
    async fn no_content_needs_no_length() {
        let said = check(b"HTTP/1.1 204 No Content\r\n\r\n", 99).await;
        assert_eq!(said.unwrap(), (204, Vec::new()));
    }

    #[tokio::test]
    async fn what_cannot_be_framed_is_a_fault() {
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(matches!(check(chunked, 99).await, Err(ClientFault::NotPlain)));
        assert!(matches!(check(b"SSH-2.0\r\n\r\n", 99).await, Err(ClientFault::NotPlain)));
        let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello";
        assert!(matches!(check(cut, 99).await, Err(ClientFault::Io(_))));
    }
}
