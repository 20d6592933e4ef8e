//! Opening one TCP connection over a route, with the times that a diagnosis needs.
//!
//! `TCP_NODELAY` is always set: one write of a script is one segment on the wire. Through a proxy the
//! times are the proxy's: the caller knows the route.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hoofbeat_observation::{Failure, FailureKind, Operation};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream, UdpSocket},
};

use crate::{Clock, Route, classify, route::Proxy};

/// Most bytes of an HTTP proxy's answer that are read.
const LONGEST_PROXY_ANSWER: usize = 8 << 10;

/// An open connection.
#[derive(Debug)]
pub struct Dialled {
    /// The connection, without delays for small segments.
    pub stream: TcpStream,
    /// Our end.
    pub local: Option<SocketAddr>,
    /// When the SYN left, since the clock's zero.
    pub started: Duration,
    /// When the connection stood: on a direct route one round trip later.
    pub established: Duration,
}

/// Opens a connection to an address, within `limit`.
///
/// # Errors
/// Whatever the network, the proxy or the operating system refused, or the limit.
pub async fn dial(
    address: SocketAddr,
    route: &Route,
    limit: Duration,
    clock: &Clock,
) -> Result<Dialled, Failure> {
    let started = clock.now();
    let stream = tokio::time::timeout(limit, open(address, route))
        .await
        .unwrap_or_else(|_| {
            Err(classify::timed_out(
                Operation::Connect,
                "no answer to the connection attempt",
            ))
        })?;
    let established = clock.now();
    let failed = |error| classify::failure(Operation::Connect, &error);
    stream.set_nodelay(true).map_err(failed)?;
    Ok(Dialled {
        local: stream.local_addr().ok(),
        stream,
        started,
        established,
    })
}

/// Whether there is a route to an address at all, without sending anything.
pub async fn is_routable(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    // Connecting a UDP socket only asks the routing table.
    match UdpSocket::bind((any, 0)).await {
        Ok(socket) => socket.connect((address, 9)).await.is_ok(),
        Err(_) => false,
    }
}

async fn open(address: SocketAddr, route: &Route) -> Result<TcpStream, Failure> {
    let failed = |error: io::Error| classify::failure(Operation::Connect, &error);
    match route {
        Route::Direct => TcpStream::connect(address).await.map_err(failed),
        Route::Interface(name) => {
            let socket = if address.is_ipv4() {
                TcpSocket::new_v4()
            } else {
                TcpSocket::new_v6()
            };
            let socket = socket.map_err(failed)?;
            socket.bind_device(Some(name.as_bytes())).map_err(failed)?;
            socket.connect(address).await.map_err(failed)
        }
        Route::Socks5(proxy) => through_socks(proxy, address).await,
        Route::HttpConnect(proxy) => through_http(proxy, address).await,
    }
}

async fn reach(proxy: &Proxy) -> Result<TcpStream, Failure> {
    TcpStream::connect((proxy.host.as_str(), proxy.port))
        .await
        .map_err(|error| {
            // The target refused nothing: the proxy could not be reached.
            Failure {
                operation: Operation::Connect,
                kind: FailureKind::Other,
                raw: format!("the proxy {proxy} cannot be reached: {error}"),
            }
        })
}

async fn through_socks(proxy: &Proxy, address: SocketAddr) -> Result<TcpStream, Failure> {
    use tokio_socks::{Error, tcp::Socks5Stream};
    let stream = reach(proxy).await?;
    let opened = match &proxy.credentials {
        Some((user, password)) => {
            Socks5Stream::connect_with_password_and_socket(stream, address, user, password).await
        }
        None => Socks5Stream::connect_with_socket(stream, address).await,
    };
    opened.map(Socks5Stream::into_inner).map_err(|error| {
        let kind = match &error {
            Error::ConnectionRefused => FailureKind::Refused,
            Error::NetworkUnreachable => FailureKind::NetworkUnreachable,
            Error::HostUnreachable => FailureKind::HostUnreachable,
            Error::TtlExpired => FailureKind::TimedOut,
            Error::ConnectionNotAllowedByRuleset => FailureKind::Prohibited,
            _ => FailureKind::Other,
        };
        Failure {
            operation: Operation::Connect,
            kind,
            raw: format!("the proxy {proxy} says: {error}"),
        }
    })
}

async fn through_http(proxy: &Proxy, address: SocketAddr) -> Result<TcpStream, Failure> {
    let failed = |error: io::Error| Failure {
        operation: Operation::Connect,
        kind: FailureKind::Other,
        raw: format!("the proxy {proxy} ended the conversation: {error}"),
    };
    let mut stream = reach(proxy).await?;
    let mut request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n");
    if let Some((user, password)) = &proxy.credentials {
        request += &format!(
            "Proxy-Authorization: Basic {}\r\n",
            base64(format!("{user}:{password}").as_bytes())
        );
    }
    request += "\r\n";
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    // Byte by byte, because what follows the empty line is already the mail server's.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= LONGEST_PROXY_ANSWER {
            return Err(failed(io::Error::other("its answer is too long")));
        }
        answer.push(stream.read_u8().await.map_err(failed)?);
    }
    let line = String::from_utf8_lossy(answer.split(|&b| b == b'\r').next().unwrap_or_default())
        .into_owned();
    let status = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|code| code.parse::<u16>().ok());
    let kind = match status {
        Some(200..=299) => return Ok(stream),
        Some(401 | 403 | 405 | 407) => FailureKind::Prohibited,
        Some(504) => FailureKind::TimedOut,
        _ => FailureKind::Other,
    };
    Err(Failure {
        operation: Operation::Connect,
        kind,
        raw: format!("the proxy {proxy} says: {line:?}"),
    })
}

/// RFC 4648 §4, for one header.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let number =
            group.iter().fold(0_u32, |n, &b| n << 8 | u32::from(b)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= group.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    const SECOND: Duration = Duration::from_secs(1);

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn a_listener_and_a_closed_port() {
        let (listener, address) = listener().await;
        let clock = Clock::start();
        let dialled = dial(address, &Route::Direct, SECOND, &clock).await.unwrap();
        assert!(dialled.started <= dialled.established && dialled.stream.nodelay().unwrap());
        assert_eq!(dialled.local.unwrap().ip(), address.ip());
        drop(listener);
        let failure = dial(address, &Route::Direct, SECOND, &clock)
            .await
            .unwrap_err();
        assert_eq!(
            (failure.operation, failure.kind),
            (Operation::Connect, FailureKind::Refused)
        );
    }

    #[tokio::test]
    async fn an_http_proxy_hands_over_the_first_byte_behind_its_answer() {
        let (listener, address) = listener().await;
        let proxy = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let n = stream.read(&mut request).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 ok\r\nA: b\r\n\r\n220 mx\r\n")
                .await
                .unwrap();
            String::from_utf8(request[..n].to_vec()).unwrap()
        });
        let route: Route = format!("http://u:p@{address}").parse().unwrap();
        let target: SocketAddr = "192.0.2.1:25".parse().unwrap();
        let mut dialled = dial(target, &route, SECOND, &Clock::start()).await.unwrap();
        let mut greeting = Vec::new();
        dialled.stream.read_to_end(&mut greeting).await.unwrap();
        assert_eq!(greeting, b"220 mx\r\n");
        let request = proxy.await.unwrap();
        assert!(
            request.starts_with("CONNECT 192.0.2.1:25 HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(
            request.contains("Proxy-Authorization: Basic dTpw\r\n"),
            "{request}"
        );
    }

    #[tokio::test]
    async fn a_refusing_a_babbling_and_a_silent_proxy() {
        for (answer, kind) in [
            (b"HTTP/1.1 403 no\r\n\r\n".to_vec(), FailureKind::Prohibited),
            (b"HTTP/1.1 504 late\r\n\r\n".to_vec(), FailureKind::TimedOut),
            (vec![b'x'; 100_000], FailureKind::Other),
            (Vec::new(), FailureKind::Other),
        ] {
            let (listener, address) = listener().await;
            tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.write_all(&answer).await;
            });
            let route: Route = format!("http://{address}").parse().unwrap();
            let failure = dial(address, &route, SECOND, &Clock::start())
                .await
                .unwrap_err();
            assert_eq!(failure.kind, kind, "{failure}");
        }
        let (_listener, address) = listener().await;
        let route: Route = format!("socks5://{address}").parse().unwrap();
        let failure = dial(address, &route, Duration::from_millis(50), &Clock::start())
            .await
            .unwrap_err();
        assert_eq!(failure.kind, FailureKind::TimedOut);
    }

    #[tokio::test]
    async fn a_socks_proxy_is_given_the_pinned_address() {
        for (reply, wanted) in [
            (0_u8, None),
            (5, Some(FailureKind::Refused)),
            (2, Some(FailureKind::Prohibited)),
        ] {
            let (listener, address) = listener().await;
            let proxy = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut hello = [0; 3];
                stream.read_exact(&mut hello).await.unwrap();
                stream.write_all(&[5, 0]).await.unwrap();
                let mut request = [0; 10];
                stream.read_exact(&mut request).await.unwrap();
                stream
                    .write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0])
                    .await
                    .unwrap();
                request
            });
            let route: Route = format!("socks5://{address}").parse().unwrap();
            let target: SocketAddr = "192.0.2.1:25".parse().unwrap();
            let dialled = dial(target, &route, SECOND, &Clock::start()).await;
            assert_eq!(dialled.err().map(|failure| failure.kind), wanted);
            assert_eq!(proxy.await.unwrap(), [5, 1, 0, 1, 192, 0, 2, 1, 0, 25]);
        }
    }

    #[tokio::test]
    async fn an_interface_that_does_not_exist() {
        let (_listener, address) = listener().await;
        let route = Route::Interface("no-such-if0".into());
        assert!(
            dial(address, &route, SECOND, &Clock::start())
                .await
                .is_err()
        );
        assert!(is_routable(address.ip()).await);
    }

    #[test]
    fn base64_of_the_rfc() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
