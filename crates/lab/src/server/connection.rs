//! Drives one server dialogue over a socket: frames lines, obeys deeds, upgrades to TLS. Bounded in line length, buffer
//! and lifetime. It must not know what any command means.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::server::dialogue::{Deed, Dialogue};
use crate::server::spec::{Breakage, ServerSpec, Starttls};

/// A line longer than this ends the connection: RFC 5321 asks for 1,000, and nothing honest needs more here.
const LINE_LIMIT: usize = 64 * 1024;
/// How long a failing server waits for the ClientHello it is going to fail on.
const HELLO_WAIT: Duration = Duration::from_secs(5);
/// How long a closing server reads on, so that its last words are not lost to a reset.
const LINGER: Duration = Duration::from_millis(500);
/// And how much.
const LINGER_BYTES: usize = 256 * 1024;
/// No pause between segments or before a greeting is longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How a connection ended, for the server's memory.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Closed by either side.
    Closed,
    /// The TLS handshake failed. The socket is still open, so that the server can remember before the client knows.
    HandshakeFailed { _socket: TcpStream },
}

enum Stop {
    Upgrade,
    Close,
}

/// Serves one accepted connection to its end.
///
/// # Errors
/// Whatever the socket reports; a client that goes away is no fault of the lab.
pub(crate) async fn converse(
    mut stream: TcpStream,
    spec: &ServerSpec,
    implicit: bool,
    mut dialogue: Box<dyn Dialogue>,
    tls: Arc<ServerConfig>,
) -> io::Result<Ended> {
    let mut buffer = Vec::new();
    if !implicit {
        let greeting = dialogue.greet();
        match talk(
            &mut stream,
            spec,
            dialogue.as_mut(),
            greeting,
            &mut buffer,
            spec.tarpit_ms,
        )
        .await?
        {
            Stop::Close => {
                part(&mut stream).await;
                return Ok(Ended::Closed);
            }
            Stop::Upgrade => {}
        }
        if !spec.executes_injected {
            buffer.clear();
        }
    }
    if spec.starttls == Starttls::Broken {
        let words = dialogue.tls_fails();
        fail(&mut stream, spec, words).await?;
        return Ok(Ended::HandshakeFailed { _socket: stream });
    }
    let mut stream = match TlsAcceptor::from(tls).accept(stream).into_fallible().await {
        Ok(stream) => stream,
        Err((_, stream)) => return Ok(Ended::HandshakeFailed { _socket: stream }),
    };
    let first = if implicit {
        // Inside TLS from the first byte: everything after TLS is true, and the greeting is still owed.
        let mut first = dialogue.secured();
        first.clear();
        first.extend(dialogue.greet());
        first
    } else {
        dialogue.secured()
    };
    talk(&mut stream, spec, dialogue.as_mut(), first, &mut buffer, 0).await?;
    part(&mut stream).await;
    Ok(Ended::Closed)
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    spec: &ServerSpec,
    dialogue: &mut dyn Dialogue,
    first: Vec<Deed>,
    buffer: &mut Vec<u8>,
    tarpit_ms: u64,
) -> io::Result<Stop> {
    let mut forget = 0usize;
    if let Some(stop) = obey(stream, spec, first, &mut forget, tarpit_ms).await? {
        return Ok(stop);
    }
    loop {
        while let Some(line) = next_line(buffer, &mut forget) {
            let deeds = dialogue.line(&line);
            if let Some(stop) = obey(stream, spec, deeds, &mut forget, tarpit_ms).await? {
                return Ok(stop);
            }
        }
        if buffer.len() > LINE_LIMIT {
            return Ok(Stop::Close);
        }
        let mut chunk = [0u8; 4096];
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Ok(Stop::Close);
        }
        buffer.extend_from_slice(chunk.get(..read).unwrap_or_default());
    }
}

/// Takes the next complete line out of the buffer, after forgetting what is to be forgotten.
fn next_line(buffer: &mut Vec<u8>, forget: &mut usize) -> Option<Vec<u8>> {
    let gone = (*forget).min(buffer.len());
    buffer.drain(..gone);
    *forget -= gone;
    if *forget > 0 {
        return None;
    }
    let end = buffer.iter().position(|&byte| byte == b'\n')?;
    let mut line: Vec<u8> = buffer.drain(..=end).collect();
    line.pop();
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Some(line)
}

async fn obey<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    spec: &ServerSpec,
    deeds: Vec<Deed>,
    forget: &mut usize,
    tarpit_ms: u64,
) -> io::Result<Option<Stop>> {
    for deed in deeds {
        match deed {
            Deed::Say(bytes) => write(stream, &bytes, tarpit_ms).await?,
            Deed::Offer(bytes) => match &spec.split {
                Some(split) => {
                    let mut from = 0;
                    for &at in split.at.iter().filter(|&&at| at < bytes.len()) {
                        if at <= from {
                            continue;
                        }
                        write(stream, bytes.get(from..at).unwrap_or_default(), 0).await?;
                        pause(split.pause_ms).await;
                        from = at;
                    }
                    write(stream, bytes.get(from..).unwrap_or_default(), 0).await?;
                }
                None => write(stream, &bytes, tarpit_ms).await?,
            },
            Deed::Pause(ms) => pause(ms).await,
            Deed::Forget(size) => *forget += size,
            Deed::StartTls => return Ok(Some(Stop::Upgrade)),
            Deed::Close => return Ok(Some(Stop::Close)),
        }
    }
    Ok(None)
}

async fn pause(ms: u64) {
    sleep(Duration::from_millis(ms).min(LONGEST_PAUSE)).await;
}

async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    bytes: &[u8],
    tarpit_ms: u64,
) -> io::Result<()> {
    if tarpit_ms == 0 {
        stream.write_all(bytes).await?;
    } else {
        for byte in bytes {
            stream.write_all(std::slice::from_ref(byte)).await?;
            stream.flush().await?;
            pause(tarpit_ms).await;
        }
    }
    stream.flush().await
}

/// Ends in order: our end first, then read to the client's, for a while and up to a bound.
async fn part<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    if stream.shutdown().await.is_ok() {
        drain(stream).await;
    }
}

/// Reads and forgets, so that our last words are not lost to a reset; at most for [`LINGER`] and [`LINGER_BYTES`].
pub(crate) async fn drain<S: AsyncRead + Unpin>(stream: &mut S) {
    let mut sink = [0u8; 4096];
    let mut left = LINGER_BYTES;
    // The result does not matter: the conversation is over either way.
    let _ = timeout(LINGER, async {
        while left > 0 {
            match stream.read(&mut sink).await {
                Ok(read) if read > 0 => left = left.saturating_sub(read),
                _ => return,
            }
        }
    })
    .await;
}

async fn fail(stream: &mut TcpStream, spec: &ServerSpec, words: Deed) -> io::Result<()> {
    let mut hello = [0u8; 4096];
    let got = timeout(HELLO_WAIT, stream.read(&mut hello)).await;
    if !matches!(got, Ok(Ok(read)) if read > 0) {
        return Ok(());
    }
    match spec.breakage {
        Breakage::Close => {}
        Breakage::Reset => {
            stream.set_zero_linger()?;
            return Ok(());
        }
        Breakage::Plaintext => {
            obey(stream, spec, vec![words], &mut 0, 0).await?;
        }
        // RFC 8446 §6: alert record, fatal, internal_error(80) or protocol_version(70).
        Breakage::Alert => stream.write_all(&[21, 3, 3, 0, 2, 2, 80]).await?,
        Breakage::OldTls => stream.write_all(&[21, 3, 1, 0, 2, 2, 70]).await?,
    }
    part(stream).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_lf_with_or_without_cr_and_literals_are_forgotten() {
        let mut buffer = b"NOOP\r\nRSET\nabcQU".to_vec();
        let mut forget = 0;
        assert_eq!(
            next_line(&mut buffer, &mut forget).as_deref(),
            Some(&b"NOOP"[..])
        );
        assert_eq!(
            next_line(&mut buffer, &mut forget).as_deref(),
            Some(&b"RSET"[..])
        );
        forget = 3;
        assert_eq!(next_line(&mut buffer, &mut forget), None);
        assert_eq!((buffer.as_slice(), forget), (&b"QU"[..], 0));
    }
}
