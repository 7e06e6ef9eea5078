//! HTTP/2 frames (RFC 9113 §4.1) as a client writes them that keeps no rule.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::harness::PATIENCE;
use crate::harness::client::Tls;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const GOAWAY: u8 = 7;
const HEADERS: u8 = 1;
const PING: u8 = 6;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// RFC 9113 §7.
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame that the gateway sent.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// One connection.
pub struct Raw {
    stream: Tls,
}

impl Raw {
    /// Opens the connection: preface and empty settings.
    pub async fn open(mut stream: Tls) -> Self {
        stream.write_all(PREFACE).await.unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        stream.flush().await.unwrap();
        Self { stream }
    }

    /// Writes bytes, or says that the connection is closed.
    pub async fn write(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout(PATIENCE, written).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(_)) => ControlFlow::Break(()),
            Err(_) => panic!("the gateway reads no more and does not close"),
        }
    }

    /// The next frame; none once the connection is closed.
    pub async fn read(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            Some(Frame { kind: head[3], flags: head[4], stream, payload })
        };
        timeout(PATIENCE + Duration::from_secs(1), read).await.expect("no frame came")
    }

    /// Reads frames, answering pings and settings, until one fits.
    pub async fn read_until(&mut self, fits: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            let read = self.read().await?;
            if fits(&read) {
                return Some(read);
            }
            if matches!(read.kind, SETTINGS | PING) && read.flags & ACK == 0 {
                let payload = if read.kind == PING { &read.payload[..] } else { &[] };
                let _ = self.write(&frame(read.kind, ACK, 0, payload)).await;
            }
        }
    }
}

impl Frame {
    /// The error code of a reset.
    pub fn reset_code(&self) -> u32 {
        code(&self.payload)
    }

    /// The error code of a GOAWAY, after its last stream.
    pub fn goaway_code(&self) -> u32 {
        code(&self.payload[4..])
    }

    /// A setting's value.
    pub fn setting(&self, id: u16) -> Option<u32> {
        let mut pairs = self.payload.chunks_exact(6);
        let pair = pairs.find(|pair| pair[..2] == id.to_be_bytes())?;
        Some(code(&pair[2..]))
    }
}

fn code(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().unwrap())
}

/// The head of a question whose body is still to come.
pub fn question_head(stream: u32) -> Vec<u8> {
    // Indexed fields of the static table (RFC 7541 appendix A), the others literal and not indexed.
    let (method_post, scheme_https) = (0x83, 0x87);
    let mut block = vec![method_post, scheme_https];
    literal(&mut block, &[0x01], "localhost");
    literal(&mut block, &[0x04], "/v1/queries");
    literal(&mut block, &[0x0f, 0x10], "application/json");
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// A reset of a stream.
pub fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

fn literal(block: &mut Vec<u8>, name: &[u8], value: &str) {
    block.extend_from_slice(name);
    block.push(u8::try_from(value.len()).unwrap());
    block.extend_from_slice(value.as_bytes());
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}
