//! A socket that keeps the exact bytes of both directions, up to a bound: for traffic that is not mail.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use hoofbeat_net::Clock;
use hoofbeat_session::{Direction, Elapsed, Layer, Transcript};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Most bytes that are kept, both directions together: a request, or a handshake with a long chain.
pub(crate) const KEPT: u64 = 48 << 10;

/// What was kept, readable once the socket is gone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record(Arc<Mutex<Transcript>>);

impl Record {
    pub(crate) fn take(&self) -> Transcript {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, direction: Direction, at: Elapsed, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let length = kept.length(Direction::ToServer) + kept.length(Direction::ToClient);
        let room = usize::try_from(KEPT.saturating_sub(length)).unwrap_or(0);
        let (now, rest) = bytes.split_at(room.min(bytes.len()));
        kept.push(direction, Layer::Plain, at, now);
        kept.discarded = kept
            .discarded
            .saturating_add(u64::try_from(rest.len()).unwrap_or(u64::MAX));
    }
}

/// The socket.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    record: Record,
    clock: Clock,
    reads: Direction,
    writes: Direction,
}

impl Wire {
    /// The client's end.
    pub(crate) fn of_client(stream: TcpStream, clock: Clock) -> (Self, Record) {
        Self::new(stream, clock, Direction::ToClient, Direction::ToServer)
    }

    /// The server's end; directions as the client counts them.
    pub(crate) fn of_server(stream: TcpStream, clock: Clock) -> (Self, Record) {
        Self::new(stream, clock, Direction::ToServer, Direction::ToClient)
    }

    fn new(stream: TcpStream, clock: Clock, reads: Direction, writes: Direction) -> (Self, Record) {
        let record = Record::default();
        let wire = Self {
            stream,
            record: record.clone(),
            clock,
            reads,
            writes,
        };
        (wire, record)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        let read = buffer.filled().get(before..).unwrap_or_default();
        if !read.is_empty() {
            this.record
                .keep(this.reads, Elapsed(this.clock.now()), read);
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            let written = bytes.get(..written).unwrap_or_default();
            this.record
                .keep(this.writes, Elapsed(this.clock.now()), written);
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
