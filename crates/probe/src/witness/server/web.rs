//! Plain HTTP and TLS ports: the request or the ClientHello is kept as it came, and answered in few words.

use std::{io, sync::Arc, time::Duration};

use hoofbeat_observation::{Ending, WitnessService};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::LazyConfigAcceptor;

use super::{
    Shared,
    connection::{Arrival, ending, until_due},
    registry::Place,
};
use crate::witness::{Errandry, Token, token, wire::Wire};

/// Longest request, in bytes: what boxes insert is short.
const LONGEST_REQUEST: usize = 16 << 10;
/// How long the client may take to close.
const PARTING: Duration = Duration::from_millis(500);

/// Serves one request.
pub(super) async fn http(stream: TcpStream, arrival: Arrival, shared: Arc<Shared>, place: Place) {
    let (mut wire, record) = Wire::of_server(stream, shared.clock);
    let mut request = Vec::new();
    let silence = shared.registry.limits().silence;
    let talk = async {
        let mut buffer = [0; 4096];
        while !is_whole(&request) && request.len() < LONGEST_REQUEST {
            let length = wire.read(&mut buffer).await?;
            if length == 0 {
                return Ok(Ending::Peer);
            }
            request.extend_from_slice(buffer.get(..length).unwrap_or_default());
        }
        let said = token::of_request(first_line(&request));
        wire.write_all(answer(&request, said.as_ref()).as_bytes())
            .await?;
        wire.shutdown().await?;
        let _ = tokio::time::timeout(PARTING, drained(&mut wire)).await;
        Ok(Ending::Ours)
    };
    let ended = bounded(silence, &shared, &arrival, talk).await;
    let said = token::of_request(first_line(&request));
    let token = begun(said, &shared);
    let peer = arrival.peer.ip();
    let mut kept = arrival.record(token.as_ref(), WitnessService::Http, shared.tap.as_deref());
    kept.transcript = record.take();
    kept.ending = ended;
    shared.registry.deliver(peer, token.as_ref(), kept);
    drop(place);
}

/// Completes one handshake, whatever name is asked for.
pub(super) async fn tls(stream: TcpStream, arrival: Arrival, shared: Arc<Shared>, place: Place) {
    let (wire, record) = Wire::of_server(stream, shared.clock);
    let mut said = None;
    let mut completed = false;
    let handshake = shared.registry.limits().handshake;
    let talk = async {
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), wire).await?;
        said = start.client_hello().alpn().and_then(|mut names| {
            names.find_map(|name| std::str::from_utf8(name).ok()?.parse::<Token>().ok())
        });
        let mut inside = start.into_stream(Arc::clone(&shared.tls)).await?;
        completed = true;
        // The client says goodbye first; both then have the same bytes.
        let _ = tokio::time::timeout(PARTING * 4, drained(&mut inside)).await;
        inside.shutdown().await?;
        Ok(Ending::Peer)
    };
    let ended = bounded(handshake, &shared, &arrival, talk).await;
    let token = begun(said, &shared);
    let peer = arrival.peer.ip();
    let mut kept = arrival.record(token.as_ref(), WitnessService::Tls, shared.tap.as_deref());
    kept.transcript = record.take();
    kept.tls_completed = Some(completed);
    kept.ending = ended;
    shared.registry.deliver(peer, token.as_ref(), kept);
    drop(place);
}

/// Turns a connection away.
pub(super) async fn refuse(mut stream: TcpStream, why: &str) {
    let words = page("503 Service Unavailable", &format!("{why}\n"));
    let goodbye = async {
        stream.write_all(words.as_bytes()).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(PARTING, goodbye).await;
}

async fn bounded(
    limit: Duration,
    shared: &Shared,
    arrival: &Arrival,
    talk: impl Future<Output = io::Result<Ending>>,
) -> Ending {
    let lent = shared.registry.only(arrival.peer.ip());
    let mut due = lent.map(|lent| lent.due);
    let talked = tokio::select! {
        talked = tokio::time::timeout(limit, talk) => talked.ok(),
        () = until_due(&mut due) => None,
    };
    match talked {
        Some(Ok(ended)) => ended,
        Some(Err(error)) => ending(&error),
        None => Ending::Limit,
    }
}

/// The token, where its session stands and it is of this kind.
fn begun(token: Option<Token>, shared: &Shared) -> Option<Token> {
    token.filter(|token| token.errandry == Errandry::Web && shared.registry.begun(token).is_some())
}

async fn drained(stream: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let mut buffer = [0; 1024];
    let mut most = LONGEST_REQUEST;
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        most = most.saturating_sub(length);
        if most == 0 {
            break;
        }
    }
}

fn is_whole(request: &[u8]) -> bool {
    request.windows(4).any(|end| end == b"\r\n\r\n") || request.windows(2).any(|end| end == b"\n\n")
}

fn first_line(request: &[u8]) -> &[u8] {
    request
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default()
}

fn answer(request: &[u8], token: Option<&Token>) -> String {
    let is_get = first_line(request).starts_with(b"GET ");
    let (status, body) = match token {
        _ if !is_whole(request) => (
            "431 Request Header Fields Too Large",
            "too long\n".to_owned(),
        ),
        _ if !is_get => ("405 Method Not Allowed", "only GET\n".to_owned()),
        Some(token) => ("200 OK", format!("seen {token}\n")),
        None => ("404 Not Found", "nothing here\n".to_owned()),
    };
    page(status, &body)
}

fn page(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("POST / HTTP/1.1\r\n\r\n", "405"),
            ("GET / HTTP/1.1\r\n", "431"),
        ] {
            let found = answer(request.as_bytes(), None);
            assert!(found.starts_with(&format!("HTTP/1.1 {status} ")), "{found}");
        }
        let token: Token = "abcdefghijkmw07".parse().unwrap();
        let found = answer(b"GET /abcdefghijkmw07 HTTP/1.1\n\n", Some(&token));
        assert!(found.ends_with("\r\n\r\nseen abcdefghijkmw07\n"), "{found}");
    }
}
