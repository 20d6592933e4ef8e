//! Fetching an MTA-STS policy (RFC 8461 §3.3): HTTPS with a verified certificate, no redirect, 64 KiB, 5 s.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use hoofbeat_net::{dial, trust};
use hoofbeat_observation::{Failure, FailureKind, MtaStsFetch, Operation, Question, Record};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio_rustls::TlsConnector;

use crate::Context;

/// Longest fetch, everything together.
const LIMIT: Duration = Duration::from_secs(5);

/// Largest body, in bytes.
const LARGEST_BODY: usize = 64 << 10;

/// Most addresses of the policy host that are tried.
const MOST_ADDRESSES: usize = 2;

/// Fetches `https://mta-sts.<domain>/.well-known/mta-sts.txt`.
pub(crate) async fn policy(domain: &str, context: &Context) -> MtaStsFetch {
    let host = format!("mta-sts.{domain}");
    let whole = async {
        let addresses = addresses(&host, context).await?;
        from(&host, &addresses, context).await
    };
    let fetched = tokio::time::timeout(LIMIT.min(context.time_left()), whole).await;
    let fetched = fetched.unwrap_or_else(|_| {
        Err(failure(
            FailureKind::TimedOut,
            "the policy host is too slow".to_owned(),
        ))
    });
    let mut record = MtaStsFetch {
        domain: domain.to_owned(),
        http_status: None,
        content_type: None,
        body: Vec::new(),
        failure: None,
    };
    match fetched {
        Ok(page) => {
            record.http_status = Some(page.status);
            record.content_type = page.content_type;
            record.failure = page.failure;
            record.body = page.body;
        }
        Err(failure) => record.failure = Some(failure),
    }
    record
}

struct Page {
    status: u16,
    content_type: Option<String>,
    body: Vec<u8>,
    /// Of the body alone.
    failure: Option<Failure>,
}

fn failure(kind: FailureKind, raw: String) -> Failure {
    Failure {
        operation: Operation::Fetch,
        kind,
        raw,
    }
}

async fn addresses(host: &str, context: &Context) -> Result<Vec<SocketAddr>, Failure> {
    let (v4, v6) = futures_util::future::join(
        context.resolver.ask(host, Question::A, &context.clock),
        context.resolver.ask(host, Question::Aaaa, &context.clock),
    )
    .await;
    let found: Vec<IpAddr> = [&v4, &v6]
        .into_iter()
        .filter_map(|answer| {
            answer
                .lookup()
                .records
                .iter()
                .find_map(|record| match record {
                    Record::Address(address) if context.families.allow(*address) => Some(*address),
                    _ => None,
                })
        })
        .collect();
    if found.is_empty() {
        let told = v4
            .lookup()
            .failure
            .clone()
            .or_else(|| v6.lookup().failure.clone());
        return Err(told.unwrap_or_else(|| {
            failure(
                FailureKind::NoSuchRecord,
                "the policy host has no address".to_owned(),
            )
        }));
    }
    Ok(found
        .into_iter()
        .map(|address| (address, 443).into())
        .collect())
}

async fn from(host: &str, addresses: &[SocketAddr], context: &Context) -> Result<Page, Failure> {
    let mut refusal = failure(
        FailureKind::NoSuchRecord,
        "the policy host has no address".to_owned(),
    );
    for address in addresses.iter().take(MOST_ADDRESSES) {
        match dial(*address, &context.route, LIMIT / 2, &context.clock).await {
            Ok(dialled) => return get(host, dialled.stream, context).await,
            Err(failure) => refusal = failure,
        }
    }
    Err(refusal)
}

async fn get(
    host: &str,
    stream: tokio::net::TcpStream,
    context: &Context,
) -> Result<Page, Failure> {
    let other = |raw: String| failure(FailureKind::Other, raw);
    let config = ClientConfig::builder_with_provider(trust::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| other(error.to_string()))?
        .with_root_certificates(Arc::clone(context.trust.roots()))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| other(error.to_string()))?;
    let inside = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await;
    let inside =
        inside.map_err(|error| failure(hoofbeat_net::classify::kind(&error), error.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(inside))
        .await
        .map_err(|error| other(error.to_string()))?;
    // Ends by itself once the sender and the body are dropped.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    let request = Request::get("/.well-known/mta-sts.txt")
        .header(header::HOST, host)
        .header(header::USER_AGENT, context.tool.as_str())
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| other(error.to_string()))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| other(error.to_string()))?;
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let mut page = Page {
        status: response.status().as_u16(),
        content_type: content_type
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        body: Vec::new(),
        failure: None,
    };
    match Limited::new(response.into_body(), LARGEST_BODY)
        .collect()
        .await
    {
        Ok(body) => page.body = body.to_bytes().to_vec(),
        Err(error) => page.failure = Some(other(error.to_string())),
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoofbeat_net::Trust;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    /// A web server for one name that answers everything with these bytes.
    async fn serve(name: &str, answer: Vec<u8>) -> (SocketAddr, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![name.to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let config = rustls::ServerConfig::builder_with_provider(trust::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut inside) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut request = vec![0; 4096];
                let _ = inside.read(&mut request).await;
                let _ = inside.write_all(&answer).await;
                let _ = inside.shutdown().await;
            }
        });
        (address, certificate.pem())
    }

    async fn fetched(name: &str, answer: &[u8]) -> Result<Page, Failure> {
        let (address, pem) = serve(name, answer.to_vec()).await;
        let mut context = Context::new("test 0", "test");
        context.trust = Arc::new(Trust::none().with_pem(pem.as_bytes()).unwrap());
        from("mta-sts.example.org", &[address], &context).await
    }

    #[tokio::test]
    async fn a_policy_a_redirect_and_too_much() {
        let page = fetched(
            "mta-sts.example.org",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nbody",
        )
        .await
        .unwrap();
        assert_eq!(
            (
                page.status,
                page.content_type.as_deref(),
                page.body.as_slice()
            ),
            (200, Some("text/plain"), &b"body"[..])
        );
        let page = fetched(
            "mta-sts.example.org",
            b"HTTP/1.1 301 Moved\r\nLocation: https://x/\r\nContent-Length: 0\r\n\r\n",
        )
        .await
        .unwrap();
        assert_eq!((page.status, page.body.len()), (301, 0));
        let huge = [
            b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n".to_vec(),
            vec![b'x'; 70_000],
        ]
        .concat();
        let page = fetched("mta-sts.example.org", &huge).await.unwrap();
        assert!(page.body.is_empty() && page.failure.is_some());
    }

    #[tokio::test]
    async fn a_certificate_for_another_name_and_no_http() {
        assert!(
            fetched("other.example.org", b"HTTP/1.1 200 OK\r\n\r\n")
                .await
                .is_err()
        );
        assert!(fetched("mta-sts.example.org", b"220 mx\r\n").await.is_err());
    }

    #[tokio::test]
    async fn without_a_name_there_is_a_failure_and_no_panic() {
        let mut context = Context::new("test 0", "test");
        context.resolver = hoofbeat_net::Resolver::at("127.0.0.1:1".parse().unwrap())
            .with_limit(Duration::from_millis(50));
        let record = policy("example.org", &context).await;
        assert!(record.failure.is_some() && record.http_status.is_none());
    }
}
